// SPDX-License-Identifier: Apache-2.0
#include "daemon/daemon.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/use_future.hpp>
#include <chrono>
#include <future>
#include <utility>

#include "base/ids.h"
#include "base/status.h"
#include "base/text.h"
#include "daemon/daemon_state.h"
#include "rpc/tls_files.h"
#include "runtime/local_address.h"
#include "runtime/timeout.h"
#include "telemetry/log.h"

namespace dragonfly::daemon {
namespace asio = boost::asio;
namespace {

// How long a start waits for the schedulers. Longer than a probe takes, so that one that is there is found.
constexpr auto kSchedulerWait = std::chrono::seconds(3);
// How long a stop waits for the collector to take the last spans, also when the shutdown has no time left.
constexpr auto kFlushWait = std::chrono::seconds(2);
// How long a stop waits for the schedulers to strike this host off.
constexpr auto kLeaveWait = std::chrono::seconds(2);

// Runs `work` on an io thread and waits for it on this one.
template <typename T>
T Await(asio::io_context& io, asio::awaitable<T> work) {
  return asio::co_spawn(io, std::move(work), asio::use_future).get();
}

rpc::TlsFiles UploadClientTls(const DaemonConfig& config) {
  rpc::TlsFiles tls;
  tls.ca_cert = config.upload.client_tls.ca_cert;
  tls.cert = config.upload.client_tls.cert;
  tls.key = config.upload.client_tls.key;
  tls.section = "upload.client";
  return tls;
}

rpc::ChannelOptions PeerChannels(const DaemonConfig& config) {
  rpc::ChannelOptions options;
  options.tls = UploadClientTls(config);
  return options;
}

asio::awaitable<absl::Status> Succeed(asio::awaitable<void> work) {
  co_await std::move(work);
  co_return absl::OkStatus();
}

}  // namespace

Daemon::State::State(const DaemonConfig& configuration, runtime::IoThreads& threads, runtime::BlockingPool& workers)
    : config(configuration),
      io(threads),
      blocking(workers),
      loop(threads.Next()),
      download_limiter(config.download.rate_limit),
      upload_limiter(config.upload.rate_limit),
      back_to_source_limiter(config.download.back_to_source_rate_limit),
      prefetch_limiter(config.proxy.prefetch_rate_limit),
      probe(metrics),
      gauges(metrics, config.storage.dir),
      channels(PeerChannels(config)) {}

absl::Status Daemon::State::Identify() {
  identity.hostname = config.host.hostname;
  if (identity.hostname.empty()) {
    DF_ASSIGN_OR_RETURN(identity.hostname, runtime::SystemHostname());
  }
  identity.ip = config.host.ip;
  if (identity.ip.empty()) {
    DF_ASSIGN_OR_RETURN(const runtime::LocalAddress address, runtime::FindLocalAddress(config.network.enable_ipv6));
    if (address.loopback) {
      DF_LOG(Warn, "no network interface has an address: announcing {}, which only this host can reach; set host.ip",
             address.ip);
    }
    identity.ip = address.ip;
  }
  identity.seed = config.seed_peer.enable;
  identity.host_id = MakeHostId(identity.ip, identity.hostname, identity.seed);
  return CheckNameId(identity.host_id, "host id");
}

absl::Status Daemon::State::OpenStore() {
  storage::StoreOptions options;
  options.dir = config.storage.dir;
  options.keep = config.storage.keep;
  options.capacity_bytes = config.gc.dist_threshold;
  auto opened = storage::ContentStore::Open(options);
  if (!opened.ok()) return Annotate(opened.status(), StrCat("storage.dir ", config.storage.dir));
  store = *std::move(opened);
  return absl::OkStatus();
}

asio::awaitable<absl::Status> Daemon::State::AnnounceTo(std::string address) {
  Announcer* const known = announcer.load();
  if (known == nullptr) co_return absl::UnavailableError("not started yet");
  co_return co_await known->AnnounceTo(std::move(address));
}

absl::Status Daemon::State::LinkSchedulers() {
  DF_ASSIGN_OR_RETURN(control, ControlPlane::Make(config, identity, loop, blocking, tracer.get()));
  GrpcSchedulerLinkOptions options;
  options.host_id = identity.host_id;
  options.announce = [this](std::string address) { return AnnounceTo(std::move(address)); };
  link = std::make_unique<GrpcSchedulerLink>(std::move(options), control->schedulers());
  // The first check runs while the servers are bound.
  control->Start();
  return absl::OkStatus();
}

void Daemon::State::MakeGates() {
  const auto make = [this](const char* server, uint64_t rate, uint64_t buffer) {
    CallGate::Options options;
    options.server = server;
    options.requests_per_second = rate;
    options.buffer_size = buffer;
    if (const auto& adaptive = config.server.adaptive_rate_limit) {
      options.adaptive.bucket_count = adaptive->bucket_count;
      options.adaptive.bucket_interval = absl::ToChronoNanoseconds(adaptive->bucket_interval);
      options.adaptive.cooldown = absl::ToChronoNanoseconds(adaptive->shed_cooldown);
    }
    return std::make_unique<CallGate>(std::move(options), overload.get(), control->dynconfig().block_lists(), probe);
  };
  if (const auto& adaptive = config.server.adaptive_rate_limit) {
    OverloadMonitor::Options options;
    options.cpu_threshold = adaptive->cpu_threshold;
    options.memory_threshold = adaptive->memory_threshold;
    options.collect_interval = absl::ToChronoNanoseconds(adaptive->collect_interval);
    auto usage = std::make_shared<runtime::ProcessUsage>();
    overload = std::make_unique<OverloadMonitor>(options, loop, [usage](TimePoint now) { return usage->Sample(now); });
    overload->Start();
  }
  upload_gate = make("upload", config.upload.request_rate_limit, config.upload.request_buffer_size);
  download_gate = make("download", config.download.request_rate_limit, config.download.request_buffer_size);
}

absl::Status Daemon::State::OpenPersistentCache() {
  PersistentLink::Options options;
  options.host_id = identity.host_id;
  options.announce = [this](std::string address) { return AnnounceTo(std::move(address)); };
  persistent_link = std::make_unique<PersistentLink>(std::move(options), control->schedulers());
  auto opened = PersistentTasks::Open(PersistentTasks::Parts{.config = config,
                                                             .identity = identity,
                                                             .io = io,
                                                             .blocking = blocking,
                                                             .tasks = *tasks,
                                                             .link = *persistent_link,
                                                             .channels = channels,
                                                             .probe = probe});
  if (!opened.ok()) return Annotate(opened.status(), StrCat("storage.dir ", config.storage.dir));
  persistent = *std::move(opened);
  return absl::OkStatus();
}

void Daemon::State::Announce() {
  HostInfoOptions info;
  info.identity = identity;
  info.proxy_port = proxy_server->port();
  info.idc = config.host.idc;
  info.location = config.host.location;
  info.seed_type = config.seed_peer.type;
  info.disable_shared = config.upload.disable_shared;
  info.scheduler_cluster_id = config.host.scheduler_cluster_id;
  info.storage_dir = config.storage.dir;
  info.download_rate_limit = config.download.rate_limit;
  info.upload_rate_limit = config.upload.rate_limit;
  host_owner = std::make_unique<HostInfo>(std::move(info));
  host = host_owner.get();

  AnnouncerOptions options;
  options.interval = config.scheduler.announce_interval;
  options.trace = probe.Root();
  announcer_owner = std::make_unique<Announcer>(options, loop, control->schedulers(), *host_owner);
  announcer = announcer_owner.get();
  announcer_owner->Start();
  control->AnnounceToManager(identity);
  if (!control->wants_schedulers()) return;

  const TimePoint deadline = Clock::now() + kSchedulerWait;
  const bool serves = Await(loop, control->schedulers().WaitForFirstCheck(deadline));
  if (!serves || !Await(loop, announcer_owner->WaitUntilKnown(deadline))) {
    DF_LOG(Warn, "no scheduler knows this host yet: downloads come from their origin until one does");
  }
}

void Daemon::State::CollectGarbage() {
  GarbagePolicy policy;
  policy.task_ttl = config.gc.task_ttl;
  policy.high_percent = config.gc.high_percent;
  policy.low_percent = config.gc.low_percent;
  policy.page_cache_idle = config.gc.page_cache_idle_timeout;
  GarbageCollector::Parts parts{.io = loop,
                                .blocking = blocking,
                                .store = *store,
                                .schedulers = *link,
                                .running = [this](const TaskId& id) { return tasks->Running(id); },
                                .trace = probe.Root()};
  garbage = std::make_unique<GarbageCollector>(policy, config.gc.interval, std::move(parts));
  garbage->Start();
  persistent->Start();
}

absl::Status Daemon::State::Start() {
  DF_RETURN_IF_ERROR(Identify());
  DF_ASSIGN_OR_RETURN(tracer, MakeTracer(config, identity));
  probe.UseTracer(tracer.get());
  DF_RETURN_IF_ERROR(rpc::CheckTlsFiles(UploadClientTls(config)));
  channels.UseTracer(tracer.get());
  DF_RETURN_IF_ERROR(OpenStore());
  DF_RETURN_IF_ERROR(LinkSchedulers());
  MakeGates();
  tasks = std::make_unique<TaskManager>(TaskManagerParts{.config = config,
                                                         .identity = identity,
                                                         .io = io,
                                                         .blocking = blocking,
                                                         .store = *store,
                                                         .schedulers = *link,
                                                         .limiters = {.download = download_limiter,
                                                                      .upload = upload_limiter,
                                                                      .back_to_source = back_to_source_limiter,
                                                                      .prefetch = prefetch_limiter},
                                                         .channels = channels,
                                                         .probe = probe,
                                                         .history = &history});
  DF_RETURN_IF_ERROR(OpenPersistentCache());
  // The health server first: it tells who asks that the daemon is on its way.
  DF_RETURN_IF_ERROR(ServeHttp());
  DF_RETURN_IF_ERROR(ServePeers());
  DF_RETURN_IF_ERROR(ServeProxy());
  Announce();
  DF_RETURN_IF_ERROR(ServeLocalPrograms());
  CollectGarbage();
  SetServing(true);
  ready = true;
  DF_LOG(Info, "dfdaemon {} serves on {}, {} and {}", identity.host_id, config.download.socket_path,
         rpc::HostPort(identity.ip, identity.upload_port), rpc::HostPort(identity.ip, identity.vortex_port));
  return absl::OkStatus();
}

void Daemon::State::LeaveSchedulers(TimePoint deadline) {
  // A daemon that is cut off leaves as if it had died: the others notice by themselves.
  if (deadline > Clock::now() && !control->schedulers().members().empty()) {
    const TimePoint leave_by = std::min(deadline, Clock::now() + kLeaveWait);
    const absl::Status left = Await(loop, runtime::WithDeadline(Succeed(link->DeleteHost()), leave_by));
    if (!left.ok()) DF_LOG(Warn, "leave the schedulers: {}", MessageOf(left));
  }
  Await(loop, control->LeaveManager(std::min(deadline, Clock::now() + kLeaveWait)));
}

absl::Status Daemon::State::Stop(TimePoint deadline) {
  if (std::exchange(stopped, true)) return absl::OkStatus();
  ready = false;
  SetServing(false);

  // First the books, so that nobody is sent here any more.
  if (garbage != nullptr) Await(loop, garbage->Stop());
  if (announcer_owner != nullptr) {
    Await(loop, announcer_owner->Stop());
    LeaveSchedulers(deadline);
  }

  // Together, since each may use the whole time.
  std::future<void> proxy_stopped;
  if (proxy_server != nullptr) proxy_stopped = asio::co_spawn(loop, proxy_server->Stop(deadline), asio::use_future);
  StopServers(deadline);
  if (proxy_stopped.valid()) proxy_stopped.get();
  const bool in_time = Clock::now() < deadline;
  if (download_service != nullptr) Await(loop, download_service->Stop());
  if (upload_service != nullptr) Await(loop, upload_service->Stop());
  if (persistent_service != nullptr) Await(loop, persistent_service->Stop());
  if (copies_service != nullptr) Await(loop, copies_service->Stop());
  if (persistent != nullptr) Await(loop, persistent->Stop());
  if (tasks != nullptr) Await(loop, tasks->Stop());
  if (vortex_server != nullptr) Await(loop, vortex_server->Stop(deadline));
  if (quic_server != nullptr) Await(loop, quic_server->Stop(deadline));
  if (health_server != nullptr) Await(loop, health_server->Stop());
  if (metrics_server != nullptr) Await(loop, metrics_server->Stop());
  if (stats_server != nullptr) Await(loop, stats_server->Stop());
  if (control != nullptr) Await(loop, control->Stop());
  if (overload != nullptr) Await(loop, overload->Stop());
  if (tracer != nullptr) tracer->Stop(Clock::now() + kFlushWait);
  DF_LOG(Info, "dfdaemon {} stopped", identity.host_id);
  if (!in_time) return absl::DeadlineExceededError("calls that still ran were cut at the deadline of the shutdown");
  return absl::OkStatus();
}

Daemon::Daemon(std::unique_ptr<State> state) : state_(std::move(state)) {}

absl::StatusOr<std::unique_ptr<Daemon>> Daemon::Start(const DaemonConfig& config, runtime::IoThreads& io,
                                                      runtime::BlockingPool& blocking) {
  auto state = std::make_unique<State>(config, io, blocking);
  const absl::Status started = state->Start();
  if (!started.ok()) {
    state->Stop(Clock::now()).IgnoreError();
    return started;
  }
  return std::unique_ptr<Daemon>(new Daemon(std::move(state)));
}

Daemon::~Daemon() { state_->Stop(Clock::now()).IgnoreError(); }

const HostIdentity& Daemon::identity() const { return state_->identity; }
const std::string& Daemon::socket_path() const { return state_->config.download.socket_path; }
uint16_t Daemon::upload_port() const { return state_->identity.upload_port; }
uint16_t Daemon::vortex_port() const { return state_->identity.vortex_port; }
uint16_t Daemon::quic_port() const { return state_->identity.quic_port; }
uint16_t Daemon::proxy_port() const { return state_->proxy_server->port(); }
uint16_t Daemon::health_port() const { return state_->health_server->port(); }
uint16_t Daemon::metrics_port() const { return state_->metrics_server->port(); }
uint16_t Daemon::stats_port() const { return state_->stats_server != nullptr ? state_->stats_server->port() : 0; }
size_t Daemon::scheduler_count() const { return state_->control->schedulers().members().size(); }

absl::Status Daemon::Stop(TimePoint deadline) { return state_->Stop(deadline); }

}  // namespace dragonfly::daemon
