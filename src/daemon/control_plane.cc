// SPDX-License-Identifier: Apache-2.0
#include "daemon/control_plane.h"

#include <utility>

#include "base/status.h"
#include "base/text.h"
#include "daemon/file_dynconfig.h"
#include "daemon/manager_announcer.h"
#include "daemon/manager_dynconfig.h"
#include "daemon/manager_link.h"
#include "rpc/channel.h"
#include "rpc/tls_files.h"

namespace dragonfly::daemon {
namespace asio = boost::asio;
namespace {

rpc::TlsFiles TlsOf(const DaemonConfig::TlsFiles& files, std::string section) {
  rpc::TlsFiles tls;
  tls.ca_cert = files.ca_cert;
  tls.cert = files.cert;
  tls.key = files.key;
  tls.section = std::move(section);
  return tls;
}

rpc::ChannelOptions ChannelsWith(rpc::TlsFiles tls) {
  rpc::ChannelOptions options;
  options.tls = std::move(tls);
  return options;
}

}  // namespace

struct ControlPlane::State {
  State(const DaemonConfig& configuration, asio::io_context& context, runtime::BlockingPool& workers)
      : config(configuration),
        io(context),
        blocking(workers),
        scheduler_tls(TlsOf(config.scheduler.tls, "scheduler")),
        channels(ChannelsWith(scheduler_tls)) {}

  absl::Status MakeDynconfig(const HostIdentity& identity, const telemetry::SpanParent& trace);

  const DaemonConfig config;
  asio::io_context& io;
  runtime::BlockingPool& blocking;
  const rpc::TlsFiles scheduler_tls;

  // In the order of their making; what stands below uses what stands above.
  rpc::ChannelPool channels;  // to schedulers
  std::unique_ptr<ManagerLink> manager;
  std::unique_ptr<Dynconfig> dynconfig;
  std::unique_ptr<SchedulerSet> schedulers;
  std::unique_ptr<ManagerAnnouncer> announcer;
};

absl::Status ControlPlane::State::MakeDynconfig(const HostIdentity& identity, const telemetry::SpanParent& trace) {
  if (!config.manager.addr.empty()) {
    DF_ASSIGN_OR_RETURN(manager, ManagerLink::Make(config.manager.addr, TlsOf(config.manager.tls, "manager")));
  }
  if (!config.dynconfig.path.empty()) {
    FileDynconfigOptions options;
    options.path = config.dynconfig.path;
    options.seed = identity.seed;
    DF_ASSIGN_OR_RETURN(dynconfig, FileDynconfig::Make(std::move(options), io, blocking));
  } else if (!config.scheduler.addrs.empty() || manager == nullptr) {
    dynconfig = std::make_unique<StaticDynconfig>(config.scheduler.addrs);
  } else {
    ManagerDynconfigOptions options;
    options.hostname = identity.hostname;
    options.ip = identity.ip;
    options.idc = config.host.idc;
    options.location = config.host.location;
    options.seed = identity.seed;
    options.scheduler_cluster_id = config.host.scheduler_cluster_id;
    options.refresh_interval = absl::ToChronoNanoseconds(config.dynconfig.refresh_interval);
    options.trace = trace;
    dynconfig = std::make_unique<ManagerDynconfig>(std::move(options), *manager, io, channels, blocking);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<ControlPlane>> ControlPlane::Make(const DaemonConfig& config,
                                                                 const HostIdentity& identity, asio::io_context& io,
                                                                 runtime::BlockingPool& blocking,
                                                                 telemetry::Tracer* tracer) {
  auto state = std::make_unique<State>(config, io, blocking);
  state->channels.UseTracer(tracer);
  DF_RETURN_IF_ERROR(rpc::CheckTlsFiles(state->scheduler_tls));
  const telemetry::SpanParent trace = tracer != nullptr ? tracer->Root() : telemetry::SpanParent();
  DF_RETURN_IF_ERROR(state->MakeDynconfig(identity, trace));
  if (state->manager != nullptr) state->manager->UseTracer(tracer);
  SchedulerSetOptions options;
  options.refresh_interval = absl::ToChronoNanoseconds(config.dynconfig.refresh_interval);
  options.tls = state->scheduler_tls;
  options.trace = trace;
  state->schedulers =
      std::make_unique<SchedulerSet>(std::move(options), io, *state->dynconfig, state->channels, blocking);
  return std::unique_ptr<ControlPlane>(new ControlPlane(std::move(state)));
}

ControlPlane::ControlPlane(std::unique_ptr<State> state) : state_(std::move(state)) {}

ControlPlane::~ControlPlane() = default;

void ControlPlane::Start() {
  state_->dynconfig->Start();
  state_->schedulers->Start();
}

void ControlPlane::AnnounceToManager(const HostIdentity& identity) {
  if (state_->manager == nullptr || !identity.seed) return;
  ManagerAnnouncerOptions options;
  options.identity = identity;
  options.idc = state_->config.host.idc;
  options.location = state_->config.host.location;
  options.type = state_->config.seed_peer.type;
  options.cluster_id = state_->config.seed_peer.cluster_id;
  options.keepalive_interval = absl::ToChronoNanoseconds(state_->config.seed_peer.keepalive_interval);
  state_->announcer = std::make_unique<ManagerAnnouncer>(std::move(options), state_->io, *state_->manager);
  state_->announcer->Start();
}

asio::awaitable<void> ControlPlane::LeaveManager(TimePoint deadline) {
  if (state_->announcer != nullptr) co_await state_->announcer->Leave(deadline);
}

asio::awaitable<void> ControlPlane::Stop() {
  co_await state_->schedulers->Stop();
  co_await state_->dynconfig->Stop();
}

Dynconfig& ControlPlane::dynconfig() { return *state_->dynconfig; }
SchedulerSet& ControlPlane::schedulers() { return *state_->schedulers; }

bool ControlPlane::wants_schedulers() const {
  return state_->manager != nullptr || !state_->dynconfig->data()->scheduler_addrs.empty();
}

// Declared in daemon/config.h.
absl::Status ResolveSchedulerAddrs(const std::string& dynconfig_path, LoadedConfig& loaded) {
  DaemonConfig& config = loaded.config;
  DF_RETURN_IF_ERROR(rpc::CheckTlsFiles(TlsOf(config.scheduler.tls, "scheduler")));
  if (!config.manager.addr.empty()) {
    DF_RETURN_IF_ERROR(ManagerLink::Make(config.manager.addr, TlsOf(config.manager.tls, "manager")).status());
  }
  if (!config.scheduler.addrs.empty()) {
    if (!config.manager.addr.empty()) {
      loaded.warnings.push_back(
          StrCat("manager.addr ", config.manager.addr, " is not asked for schedulers: scheduler.addrs names them"));
    }
    return absl::OkStatus();
  }
  if (!config.manager.addr.empty()) return absl::OkStatus();
  const auto file = LoadDynconfigFile(dynconfig_path, config.seed_peer.enable);
  if (absl::IsNotFound(file.status())) {
    return absl::FailedPreconditionError(StrCat(
        "no scheduler is configured: set manager.addr or scheduler.addrs in dfdaemon.yaml, or scheduler.addr in ",
        dynconfig_path));
  }
  if (!file.ok()) return file.status();
  loaded.warnings.insert(loaded.warnings.end(), file->warnings.begin(), file->warnings.end());
  config.dynconfig.path = dynconfig_path;
  config.scheduler.addrs = file->data.scheduler_addrs;  // for who prints the configuration
  return absl::OkStatus();
}

}  // namespace dragonfly::daemon
