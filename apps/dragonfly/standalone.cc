// SPDX-License-Identifier: Apache-2.0
#include "standalone.h"

#include <filesystem>
#include <iostream>
#include <memory>
#include <string_view>
#include <utility>

#include "base/status.h"
#include "base/text.h"
#include "daemon/daemon.h"
#include "manager/config.h"
#include "manager/manager.h"
#include "rpc/channel.h"
#include "runtime/blocking_pool.h"
#include "runtime/io_threads.h"
#include "runtime/local_address.h"
#include "runtime/process.h"
#include "scheduler/config.h"
#include "scheduler/scheduler.h"
#include "telemetry/log.h"

namespace dragonfly {
namespace {

// Everything that runs; the members stop in reverse order.
struct Standalone {
  std::string ip;
  std::unique_ptr<manager::Manager> manager;
  std::unique_ptr<scheduler::Scheduler> scheduler;
  std::unique_ptr<daemon::Daemon> seed;
  std::unique_ptr<daemon::Daemon> peer;

  std::string manager_address() const { return rpc::HostPort(ip, manager->grpc_port()); }
  std::string scheduler_address() const { return rpc::HostPort(ip, scheduler->port()); }
};

daemon::DaemonConfig PeerConfig(const StandaloneOptions& options, const Standalone& all, std::string_view name) {
  daemon::DaemonConfig config;
  config.host.ip = all.ip;
  config.scheduler.addrs = {all.scheduler_address()};
  config.storage.dir = StrCat(options.data_dir, "/", name);
  config.storage.keep = !options.temporary;
  config.storage.tcp_port = 0;
  config.storage.quic_port = 0;
  config.health.port = 0;
  config.stats.port = 0;
  return config;
}

absl::Status Start(const StandaloneOptions& options, runtime::IoThreads& io, runtime::BlockingPool& blocking,
                   Standalone& all) {
  all.ip = options.ip;
  if (all.ip.empty()) {
    DF_ASSIGN_OR_RETURN(const runtime::LocalAddress found, runtime::FindLocalAddress(/*prefer_ipv6=*/false));
    all.ip = found.ip;
  }

  manager::ManagerConfig manager;
  manager.server.data_dir = options.data_dir;
  manager.server.grpc.port = options.manager_port;
  manager.server.rest.addr = StrCat(":", options.rest_port);
  auto managing = manager::Manager::Start(manager, io);
  if (!managing.ok()) return Annotate(managing.status(), "start the manager");
  all.manager = *std::move(managing);

  scheduler::SchedulerConfig scheduler;
  scheduler.manager.addr = all.manager_address();
  scheduler.server.advertise_ip = all.ip;
  scheduler.server.port = options.scheduler_port;
  scheduler.server.cache_dir = StrCat(options.data_dir, "/scheduler");
  auto served = scheduler::Scheduler::Start(scheduler, io);
  if (!served.ok()) return Annotate(served.status(), "start the scheduler");
  all.scheduler = *std::move(served);

  daemon::DaemonConfig seed = PeerConfig(options, all, "seed");
  seed.seed_peer.enable = true;
  // The scheduler finds it there.
  seed.manager.addr = StrCat("http://", all.manager_address());
  seed.download.socket_path = StrCat(options.data_dir, "/seed.sock");
  seed.upload.port = options.seed_port;
  seed.metrics.port = options.seed_metrics_port;
  seed.proxy.server.port = 0;
  auto seeding = daemon::Daemon::Start(seed, io, blocking);
  if (!seeding.ok()) return Annotate(seeding.status(), "start the seed peer");
  all.seed = *std::move(seeding);

  daemon::DaemonConfig peer = PeerConfig(options, all, "peer");
  peer.download.socket_path = StrCat(options.data_dir, "/dfdaemon.sock");
  peer.upload.port = options.peer_port;
  peer.metrics.port = options.peer_metrics_port;
  peer.proxy.server.port = options.proxy_port;
  auto serving = daemon::Daemon::Start(peer, io, blocking);
  if (!serving.ok()) return Annotate(serving.status(), "start the peer");
  all.peer = *std::move(serving);
  return absl::OkStatus();
}

void Stop(Standalone& all, TimePoint deadline) {
  for (daemon::Daemon* one : {all.peer.get(), all.seed.get()}) {
    if (one == nullptr) continue;
    const absl::Status stopped = one->Stop(deadline);
    if (!stopped.ok()) DF_LOG(Warn, "stop {}: {}", one->identity().host_id, MessageOf(stopped));
  }
  if (all.scheduler != nullptr) all.scheduler->Stop(deadline);
  if (all.manager != nullptr) all.manager->Stop(deadline);
}

void Introduce(const StandaloneOptions& options, const Standalone& all) {
  const std::string socket = all.peer->socket_path();
  std::cout << "Dragonfly runs.\n\n"
            << "  manager    " << all.manager_address() << ", API http://localhost:" << all.manager->rest_port() << "\n"
            << "  scheduler  " << all.scheduler_address() << "\n"
            << "  seed peer  " << rpc::HostPort(all.ip, all.seed->upload_port()) << ", pieces "
            << rpc::HostPort(all.ip, all.seed->vortex_port())
            << ", metrics http://localhost:" << all.seed->metrics_port() << "/metrics\n"
            << "  peer       " << rpc::HostPort(all.ip, all.peer->upload_port()) << ", pieces "
            << rpc::HostPort(all.ip, all.peer->vortex_port())
            << ", metrics http://localhost:" << all.peer->metrics_port() << "/metrics\n"
            << "  proxy      http://localhost:" << all.peer->proxy_port() << "\n"
            << "  socket     " << socket << "\n"
            << "  content    " << options.data_dir << "\n\n"
            << "Download a file through it:\n"
            << "  dfget https://example.com/file -O /tmp/file --endpoint " << socket << "\n\n"
            << "Let another host join: there, put this into dfdaemon.yaml and run  dfdaemon --config dfdaemon.yaml\n"
            << "  manager: {addr: \"http://" << all.manager_address() << "\"}\n"
            << std::endl;
  if (!all.manager->first_password().empty()) {
    // Not into the log: it would stay there.
    std::cout << "Sign in to the API as user root with password " << all.manager->first_password()
              << "\nIt is not shown again.\n"
              << std::endl;
  }
}

absl::Status SetUpLog(const StandaloneOptions& options) {
  log::Options log;
  DF_ASSIGN_OR_RETURN(log.level, log::ParseLevel(options.log_level));
  log.name = "dragonfly";
  log.console = options.console;
  if (!options.console) log.dir = options.data_dir + "/log";
  return log::Setup(log);
}

int Fail(const absl::Status& error) {
  std::cerr << "Error: " << MessageOf(error) << "\n";
  return 1;
}

}  // namespace

int RunStandalone(const StandaloneOptions& options) {
  std::error_code error;
  std::filesystem::create_directories(options.data_dir, error);
  if (error) return Fail(ErrnoStatus(error.value(), StrCat("make ", options.data_dir)));
  const absl::Status logging = SetUpLog(options);
  if (!logging.ok()) return Fail(logging);

  // Before any thread exists, so that all of them leave the signals alone.
  runtime::StopSignals signals;
  runtime::RaiseFileLimit();
  runtime::IoThreads io;
  runtime::BlockingPool blocking(2 * io.size(), 4096);
  Standalone all;
  const absl::Status started = Start(options, io, blocking, all);
  if (!started.ok()) {
    DF_LOG(Error, "{}", MessageOf(started));
    Stop(all, Clock::now());
    log::Flush();
    return Fail(started);
  }
  Introduce(options, all);

  DF_LOG(Info, "signal {}: stopping", signals.Wait());
  Stop(all, Clock::now() + absl::ToChronoNanoseconds(options.shutdown_timeout));
  log::Flush();
  return 0;
}

}  // namespace dragonfly
