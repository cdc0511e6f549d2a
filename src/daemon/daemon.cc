// SPDX-License-Identifier: Apache-2.0
#include "daemon/daemon.h"

#include <atomic>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/use_future.hpp>
#include <chrono>
#include <future>
#include <thread>
#include <utility>

#include "base/ids.h"
#include "base/status.h"
#include "base/text.h"
#include "daemon/announcer.h"
#include "daemon/call_gate.h"
#include "daemon/control_plane.h"
#include "daemon/diagnosis_service.h"
#include "daemon/download_service.h"
#include "daemon/garbage_collector.h"
#include "daemon/grpc_scheduler_link.h"
#include "daemon/host_gauges.h"
#include "daemon/host_info.h"
#include "daemon/persistent_calls.h"
#include "daemon/persistent_link.h"
#include "daemon/persistent_tasks.h"
#include "daemon/piece_provider.h"
#include "daemon/probe.h"
#include "daemon/proxy/server.h"
#include "daemon/status_page.h"
#include "daemon/task_manager.h"
#include "daemon/tracing.h"
#include "daemon/upload_service.h"
#include "http/pages.h"
#include "http/server.h"
#include "rpc/channel.h"
#include "rpc/server.h"
#include "rpc/tls_files.h"
#include "runtime/local_address.h"
#include "runtime/timeout.h"
#include "runtime/token_bucket.h"
#include "storage/content_store.h"
#include "telemetry/log.h"
#include "telemetry/metrics.h"
#include "vortex/quic_server.h"
#include "vortex/server.h"

namespace dragonfly::daemon {
namespace asio = boost::asio;
namespace {

constexpr char kUploadService[] = "dfdaemon.v2.DfdaemonUpload";
constexpr char kDownloadService[] = "dfdaemon.v2.DfdaemonDownload";

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

struct Daemon::State {
  State(const DaemonConfig& configuration, runtime::IoThreads& threads, runtime::BlockingPool& workers)
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

  absl::Status Start();
  absl::Status Identify();
  absl::Status OpenStore();
  absl::Status LinkSchedulers();
  void MakeGates();
  absl::Status OpenPersistentCache();
  absl::Status ServePeers();
  absl::Status ServeProxy();
  void Announce();
  absl::Status ServeLocalPrograms();
  absl::Status ServeHttp();
  void CollectGarbage();
  absl::Status Stop(TimePoint deadline);
  void LeaveSchedulers(TimePoint deadline);
  void StopServers(TimePoint deadline);

  asio::awaitable<absl::Status> AnnounceTo(std::string address);
  std::vector<http::ReadinessCheck> Readiness() const;
  DaemonStatus Status() const;

  const DaemonConfig config;
  runtime::IoThreads& io;
  runtime::BlockingPool& blocking;
  asio::io_context& loop;  // of the background work
  HostIdentity identity;
  std::atomic<bool> ready = false;
  const TimePoint begun = Clock::now();
  bool stopped = false;

  // In the order of their making; what stands below uses what stands above.
  telemetry::Metrics metrics;
  std::unique_ptr<telemetry::Tracer> tracer;  // null: no traces are exported
  runtime::TokenBucket download_limiter;
  runtime::TokenBucket upload_limiter;
  runtime::TokenBucket back_to_source_limiter;
  runtime::TokenBucket prefetch_limiter;
  Probe probe;
  HostGauges gauges;
  std::unique_ptr<OverloadMonitor> overload;
  std::unique_ptr<CallGate> upload_gate;
  std::unique_ptr<CallGate> download_gate;
  rpc::ChannelPool channels;  // to peers
  std::unique_ptr<storage::ContentStore> store;
  std::unique_ptr<ControlPlane> control;
  std::unique_ptr<GrpcSchedulerLink> link;
  TaskHistory history;
  std::unique_ptr<TaskManager> tasks;
  std::unique_ptr<PersistentLink> persistent_link;
  std::unique_ptr<PersistentTasks> persistent;
  std::unique_ptr<vortex::PieceProvider> pieces;
  std::unique_ptr<vortex::Server> vortex_server;
  std::unique_ptr<vortex::QuicServer> quic_server;
  std::unique_ptr<proxy::Server> proxy_server;
  std::unique_ptr<HostInfo> host_owner;
  // Both are used by what runs before they are made: null until then.
  std::atomic<HostInfo*> host = nullptr;
  std::unique_ptr<Service> upload_service;
  std::unique_ptr<rpc::Server> upload_server;
  std::unique_ptr<Announcer> announcer_owner;
  std::atomic<Announcer*> announcer = nullptr;
  std::unique_ptr<Service> download_service;
  std::unique_ptr<Service> diagnosis_service;
  std::unique_ptr<Service> persistent_service;
  std::unique_ptr<Service> copies_service;
  std::unique_ptr<rpc::Server> download_server;
  std::unique_ptr<http::Server> health_server;
  std::unique_ptr<http::Server> metrics_server;
  std::unique_ptr<http::Server> stats_server;
  std::unique_ptr<GarbageCollector> garbage;
};

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

absl::Status Daemon::State::ServePeers() {
  pieces = MakePieceProvider(*store, probe, config.upload.disable_shared, &persistent->store());
  vortex::ServerOptions vortex_options;
  vortex_options.ip = config.storage.ip;
  vortex_options.port = config.storage.tcp_port;
  vortex_options.fast_open = config.storage.tcp_fastopen;
  auto served = vortex::Server::Start(vortex_options, io, *pieces, upload_limiter);
  if (!served.ok()) return Annotate(served.status(), "storage.server");
  vortex_server = *std::move(served);
  identity.vortex_port = vortex_server->port();
  vortex::QuicServerOptions quic_options;
  quic_options.ip = config.storage.ip;
  quic_options.port = config.storage.quic_port;
  auto served_by_quic = vortex::QuicServer::Start(quic_options, io, *pieces, upload_limiter);
  if (!served_by_quic.ok()) return Annotate(served_by_quic.status(), "storage.server.quicPort");
  quic_server = *std::move(served_by_quic);
  identity.quic_port = quic_server->port();

  UploadServiceOptions upload;
  upload.identity = identity;
  upload.fill_host = [this](common::v2::Host& out) {
    if (HostInfo* const known = host.load()) known->FillNetwork(out);
  };
  upload.disable_shared = config.upload.disable_shared;
  upload.persistent = persistent.get();
  upload_service = MakeUploadService(*tasks, io, *upload_gate, upload_limiter, std::move(upload));
  rpc::ServerOptions options;
  options.addresses = {rpc::HostPort(config.upload.ip, config.upload.port)};
  options.tls.section = "upload.server";
  options.tls.ca_cert = config.upload.ca_cert;
  options.tls.cert = config.upload.cert;
  options.tls.key = config.upload.key;
  copies_service = MakePersistentCopiesService(*persistent, io, *upload_gate);
  options.services = {upload_service->grpc(), copies_service->grpc()};
  DF_RETURN_IF_ERROR(rpc::CheckTlsFiles(options.tls));
  options.tracer = tracer.get();
  options.describe_call = DescribeCalls(identity.host_id);
  auto listening = rpc::Server::Start(options);
  if (!listening.ok()) return Annotate(listening.status(), "upload.server");
  upload_server = *std::move(listening);
  identity.upload_port = static_cast<uint16_t>(upload_server->port());
  return absl::OkStatus();
}

absl::Status Daemon::State::ServeProxy() {
  proxy::Server::Options options;
  options.authority_dir = StrCat(config.storage.dir, "/proxy");
  auto served = proxy::Server::Start(config, std::move(options), io, *tasks, *download_gate);
  if (!served.ok()) return Annotate(served.status(), "proxy.server");
  proxy_server = *std::move(served);
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

absl::Status Daemon::State::ServeLocalPrograms() {
  download_service = MakeDownloadService(*tasks, io, *download_gate, persistent.get());
  rpc::ServerOptions options;
  options.addresses = {StrCat("unix:", config.download.socket_path)};
  options.unix_socket_mode = config.download.socket_mode;
  diagnosis_service = MakeDiagnosisService(history, config);
  persistent_service = MakePersistentCacheService(*persistent, io, *download_gate);
  options.services = {download_service->grpc(), diagnosis_service->grpc(), persistent_service->grpc()};
  options.tracer = tracer.get();
  options.describe_call = DescribeCalls(identity.host_id);
  auto listening = rpc::Server::Start(options);
  if (!listening.ok()) return Annotate(listening.status(), "download.server");
  download_server = *std::move(listening);
  return absl::OkStatus();
}

std::vector<http::ReadinessCheck> Daemon::State::Readiness() const {
  using Check = http::ReadinessCheck::State;
  std::vector<http::ReadinessCheck> checks;
  checks.push_back({"servers", ready ? Check::kOk : Check::kFailed, ready ? "all serve" : "not all serve"});
  if (!ready) return checks;  // the parts are on their way, or on their way out

  // Downloads work without a scheduler, from their origin: that is a matter for people, not for a restart.
  const bool wanted = control->wants_schedulers();
  const size_t serving = control->schedulers().members().size();
  if (const absl::Status health = control->dynconfig().health(); !health.ok()) {
    checks.push_back({"dynconfig", Check::kWarning, StrCat(control->dynconfig().name(), ": ", MessageOf(health))});
  }
  checks.push_back({"schedulers", serving > 0 || !wanted ? Check::kOk : Check::kWarning,
                    serving > 0 ? StrCat(serving, " serve") : "none serves: downloads come from their origin"});
  for (const auto& [address, result] : control->schedulers().checks()) {
    if (!result.ok()) {
      checks.push_back({StrCat("scheduler ", address), Check::kWarning, std::string(MessageOf(result))});
    }
  }
  const std::optional<TimePoint> announced = announcer.load()->last_known();
  checks.push_back({"announcement", announced || !wanted ? Check::kOk : Check::kWarning,
                    announced
                        ? StrCat("taken ", absl::ToInt64Seconds(absl::FromChrono(Clock::now() - *announced)), " s ago")
                        : "taken by no scheduler yet"});
  const storage::ContentStore::Usage usage = store->usage();
  checks.push_back(
      {"disk", usage.available_bytes > 0 ? Check::kOk : Check::kFailed,
       StrCat(usage.available_bytes, " of ", usage.total_bytes, " bytes are left in ", config.storage.dir)});
  if (tracer != nullptr) {
    const telemetry::Tracer::Counts counts = tracer->counts();
    checks.push_back({"traces", counts.exported > 0 || counts.failed_exports == 0 ? Check::kOk : Check::kWarning,
                      StrCat(counts.exported, " spans exported, ", counts.dropped, " dropped")});
  }
  return checks;
}

DaemonStatus Daemon::State::Status() const {
  DaemonStatus status;
  if (!ready) return status;  // the parts are on their way, or on their way out
  status.host_id = identity.host_id;
  status.seed = identity.seed;
  status.uptime = absl::FromChrono(Clock::now() - begun);
  for (const SchedulerSet::Member& member : control->schedulers().members())
    status.schedulers.push_back(member.address);
  for (const auto& content : store->List()) {
    ++status.tasks;
    if (content->complete()) ++status.complete_tasks;
  }
  const storage::ContentStore::Usage usage = store->usage();
  status.content_bytes = usage.content_bytes;
  status.available_bytes = usage.available_bytes;
  status.total_bytes = usage.total_bytes;
  status.download_limit = config.download.rate_limit;
  status.upload_limit = config.upload.rate_limit;
  status.back_to_source_limit = config.download.back_to_source_rate_limit;
  status.peer_bytes = history.traffic().from_peers;
  status.origin_bytes = history.traffic().from_origins;
  status.downloads = history.Latest(kStatusDownloads);
  return status;
}

absl::Status Daemon::State::ServeHttp() {
  const auto serve = [this](const DaemonConfig::HttpServer& where, std::string_view key, http::Router pages,
                            std::unique_ptr<http::Server>& out) -> absl::Status {
    http::ServerOptions options;
    options.ip = where.ip;
    options.port = where.port;
    auto served = http::Server::Start(options, io, std::move(pages));
    if (!served.ok()) return Annotate(served.status(), key);
    out = *std::move(served);
    return absl::OkStatus();
  };
  http::Router health = http::MakeHealthPages([this] { return ready.load(); }, [this] { return Readiness(); });
  AddStatusPages(health, [this] { return Status(); });
  DF_RETURN_IF_ERROR(serve(config.health, "health.server", std::move(health), health_server));
  DF_RETURN_IF_ERROR(serve(config.metrics, "metrics.server",
                           http::MakeMetricsPages(metrics, [this] { gauges.Refresh(); }), metrics_server));
  // Profiles are for engineers: a daemon does its work without them.
  const absl::Status stats = serve(config.stats, "stats.server", http::MakeStatsPages(blocking), stats_server);
  if (!stats.ok()) DF_LOG(Warn, "no profiles: {}", MessageOf(stats));
  return absl::OkStatus();
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
  upload_server->SetServing(kUploadService, true);
  download_server->SetServing(kDownloadService, true);
  ready = true;
  DF_LOG(Info, "dfdaemon {} serves on {}, {} and {}", identity.host_id, config.download.socket_path,
         rpc::HostPort(identity.ip, identity.upload_port), rpc::HostPort(identity.ip, identity.vortex_port));
  return absl::OkStatus();
}

// The two servers together, since each may use the whole time.
void Daemon::State::StopServers(TimePoint deadline) {
  std::thread local;
  if (download_server != nullptr) local = std::thread([&] { download_server->Shutdown(deadline); });
  if (upload_server != nullptr) upload_server->Shutdown(deadline);
  if (local.joinable()) local.join();
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
  if (upload_server != nullptr) upload_server->SetServing(kUploadService, false);
  if (download_server != nullptr) download_server->SetServing(kDownloadService, false);

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
