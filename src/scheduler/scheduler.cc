// SPDX-License-Identifier: Apache-2.0
#include "scheduler/scheduler.h"

#include <algorithm>
#include <atomic>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/use_future.hpp>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "base/status.h"
#include "base/text.h"
#include "http/listen.h"
#include "http/networks.h"
#include "http/pages.h"
#include "http/server.h"
#include "jobs/redis_broker.h"
#include "jobs/worker.h"
#include "redis/configured.h"
#include "rpc/capability.h"
#include "rpc/channel.h"
#include "rpc/server.h"
#include "rpc/tls_files.h"
#include "runtime/blocking_pool.h"
#include "runtime/local_address.h"
#include "runtime/timeout.h"
#include "scheduler/cluster_config.h"
#include "scheduler/dynconfig.h"
#include "scheduler/evaluator.h"
#include "scheduler/job_runner.h"
#include "scheduler/manager_session.h"
#include "scheduler/persistent_service.h"
#include "scheduler/preheat.h"
#include "scheduler/probe.h"
#include "scheduler/service.h"
#include "scheduler/tracing.h"
#include "scheduler/wire.h"
#include "telemetry/log.h"
#include "telemetry/metrics.h"

namespace dragonfly::scheduler {
namespace asio = boost::asio;
namespace {

Clock::duration ToClock(absl::Duration duration) {
  return std::chrono::duration_cast<Clock::duration>(absl::ToChronoNanoseconds(duration));
}

ShardOptions ToShardOptions(const SchedulerConfig& config) {
  const SchedulerConfig::Scheduling& scheduling = config.scheduling;
  ShardOptions options;
  options.dispatch.limits.candidates = scheduling.candidate_parent_limit;
  options.dispatch.limits.sample = scheduling.filter_parent_limit;
  options.dispatch.back_to_source_count = static_cast<int>(scheduling.back_to_source_count);
  options.dispatch.retry_back_to_source_limit = static_cast<int>(scheduling.retry_back_to_source_limit);
  options.dispatch.retry_limit = static_cast<int>(scheduling.retry_limit);
  options.dispatch.retry_interval = ToClock(scheduling.retry_interval);
  options.dispatch.seeds_enabled = config.seed_peer.enable;
  options.stream_grace = ToClock(scheduling.stream_grace);
  options.piece_download_timeout = ToClock(scheduling.piece_download_timeout);
  options.peer_ttl = ToClock(scheduling.peer_ttl);
  options.host_ttl = ToClock(scheduling.host_ttl);
  return options;
}

rpc::ChannelOptions ChannelsWith(rpc::TlsFiles tls) {
  rpc::ChannelOptions options;
  options.tls = std::move(tls);
  return options;
}

absl::StatusOr<std::unique_ptr<PersistentStore>> OpenPersistentStore(const SchedulerConfig& config) {
  if (config.redis.addrs.empty()) {
    return OpenEmbeddedPersistentStore(StrCat(config.server.cache_dir, "/persistent-cache.db"));
  }
  DF_ASSIGN_OR_RETURN(std::unique_ptr<redis::Client> client, redis::Client::Make(redis::OptionsOf(config.redis)));
  return MakeRedisPersistentStore(std::move(client), config.manager.scheduler_cluster_id);
}

PersistentService::Options ToPersistentOptions(const SchedulerConfig& config) {
  // How often all tasks are looked at, when scheduler.gc.hostGCInterval does not say more often.
  constexpr absl::Duration kHealingInterval = absl::Seconds(30);
  PersistentService::Options options;
  options.peers.tls = rpc::FilesOf(config.peer.tls, "peer.tls");
  options.healing_interval = ToClock(std::min(config.scheduling.host_gc_interval, kHealingInterval));
  options.share_hosts = !config.redis.addrs.empty();
  options.cache.candidate_limit = config.scheduling.candidate_parent_limit;
  options.cache.running_max = config.scheduling.piece_download_timeout;
  return options;
}

absl::StatusOr<http::Networks> ForbiddenTo(const SchedulerConfig::Job::Preheat& config) {
  auto networks = http::Networks::Parse(config.forbidden_networks);
  if (!networks.ok()) return Annotate(networks.status(), "job.preheat.forbiddenNetworks");
  const auto allowed = http::Networks::Parse(config.allowed_networks);
  if (!allowed.ok()) return Annotate(allowed.status(), "job.preheat.allowedNetworks");
  networks->Except(*allowed);
  return networks;
}

// A file name for this scheduler alone, whatever its name is.
std::string CacheFile(const SchedulerConfig& config, const std::string& hostname, uint16_t port) {
  std::string name;
  for (const char c : hostname) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-';
    name += plain ? c : '_';
  }
  constexpr size_t kNameMax = 128;
  return StrCat(config.server.cache_dir, "/dynconfig/scheduler-", name.substr(0, kNameMax), "-", port, ".json");
}

}  // namespace

// In the order of need: each member uses only those above it.
struct Scheduler::State {
  State(const SchedulerConfig& from, std::unique_ptr<Evaluator> chosen, runtime::IoThreads& threads)
      : config(from),
        io(threads),
        evaluator(std::move(chosen)),
        cluster(DefaultClusterConfig(config)),
        probe(metrics, config.metrics.enable_host),
        seed_channels(ChannelsWith(rpc::FilesOf(config.seed_peer.tls, "seedPeer.tls"))),
        peer_channels(ChannelsWith(rpc::FilesOf(config.peer.tls, "peer.tls"))),
        manager_channels(ChannelsWith(rpc::FilesOf(config.manager.tls, "manager.tls"))),
        service(shards, hosts, probe, cluster, blocking, config.server.request_rate_limit),
        host_collection(threads.At(0).get_executor()) {}

  absl::Status Identify();
  absl::Status Start();
  absl::Status StartDynconfig(uint16_t port);
  void StartPersistent();
  absl::Status PrepareJobs();
  absl::Status ServeCalls();
  absl::Status ServePages();
  absl::Status ServeProfiles();
  void Apply(std::shared_ptr<const ClusterConfig> next);
  std::vector<http::ReadinessCheck> Readiness() const;
  asio::awaitable<void> CollectHosts(Clock::duration interval);
  void ForgetHost(const std::string& id);

  // Runs `work` on a thread of `io` and waits for its end.
  void WaitFor(asio::awaitable<void> work) { asio::co_spawn(io.At(0), std::move(work), asio::use_future).get(); }

  const SchedulerConfig config;
  std::string hostname;
  std::string ip;
  runtime::IoThreads& io;
  runtime::BlockingPool blocking{2, 64};
  const std::unique_ptr<Evaluator> evaluator;
  HostTable hosts;
  ClusterConfigs cluster;
  telemetry::Metrics metrics;
  Probe probe;
  std::unique_ptr<telemetry::Tracer> tracer;  // null: no traces are exported
  rpc::ChannelPool seed_channels;
  rpc::ChannelPool peer_channels;
  rpc::ChannelPool manager_channels;
  Shards shards;
  Service service;
  std::unique_ptr<PreheatService> preheat;
  std::unique_ptr<PersistentService> persistent;  // null: its store cannot be opened
  std::unique_ptr<JobRunner> job_runner;
  std::unique_ptr<jobs::RedisBroker> job_broker;  // null: jobs come by calls alone
  std::unique_ptr<jobs::Worker> job_worker;       // null: likewise
  runtime::TaskGroup host_collection;
  std::unique_ptr<rpc::Server> server;
  std::unique_ptr<Dynconfig> dynconfig;     // null: the defaults hold
  std::unique_ptr<ManagerSession> manager;  // null: there is none
  std::atomic<bool> serves{false};
  std::unique_ptr<http::Server> metrics_server;
  std::unique_ptr<http::Server> profile_server;
};

absl::Status Scheduler::State::Identify() {
  hostname = config.server.host;
  if (hostname.empty()) {
    DF_ASSIGN_OR_RETURN(hostname, runtime::SystemHostname());
  }
  ip = config.server.advertise_ip;
  if (ip.empty()) {
    DF_ASSIGN_OR_RETURN(const runtime::LocalAddress address, runtime::FindLocalAddress(config.enable_ipv6));
    if (address.loopback && !config.manager.addr.empty()) {
      DF_LOG(Warn,
             "no network interface has an address: announcing {}, which only this host can reach; set "
             "server.advertiseIP",
             address.ip);
    }
    ip = address.ip;
  }
  return absl::OkStatus();
}

// Any thread.
void Scheduler::State::Apply(std::shared_ptr<const ClusterConfig> next) {
  const ParentLimits limits = next->parents;
  const UploadLimits upload{next->upload_limit_normal, next->upload_limit_seed};
  std::vector<std::shared_ptr<const HostFacts>> seeds;
  for (const ListedSeed& seed : next->seeds) seeds.push_back(ToFacts(seed, upload));
  cluster.Set(std::move(next));
  for (size_t i = 0; i < shards.size(); ++i) {
    shards.At(i).Post([limits](Shard& shard, TimePoint) { shard.SetLimits(limits); });
  }
  for (const std::string& id : hosts.SetListed(seeds, Clock::now())) ForgetHost(id);
}

void Scheduler::State::ForgetHost(const std::string& id) {
  probe.Forget(id);
  if (persistent != nullptr) persistent->HostLeft(id);
  for (size_t i = 0; i < shards.size(); ++i) {
    shards.At(i).Post([id](Shard& shard, TimePoint now) { shard.DeleteHost(id, now); });
  }
}

asio::awaitable<void> Scheduler::State::CollectHosts(Clock::duration interval) {
  for (;;) {
    co_await runtime::SleepUntil(Clock::now() + interval);
    for (const std::string& id : hosts.RemoveSilent(Clock::now())) {
      DF_LOG(Info, "host {} has stopped announcing itself", id);
      ForgetHost(id);
    }
  }
}

void Scheduler::State::StartPersistent() {
  auto store = OpenPersistentStore(config);
  if (!store.ok()) {
    DF_LOG(Error, "persistent cache tasks are not served: {}", MessageOf(store.status()));
    return;
  }
  PersistentService::Options options = ToPersistentOptions(config);
  if (config.server.port != 0) options.name = StrCat(hostname, "-", rpc::HostPort(ip, config.server.port));
  persistent = std::make_unique<PersistentService>(io.At(0), *std::move(store), hosts, metrics, std::move(options));
  persistent->UseTracer(tracer.get());
  service.UsePersistent(*persistent);
  persistent->Start();
}

absl::Status Scheduler::State::PrepareJobs() {
  JobRunner::Options options;
  options.cluster_id = config.manager.scheduler_cluster_id;
  options.ip = ip;
  options.seeds_enabled = config.seed_peer.enable;
  job_runner = std::make_unique<JobRunner>(io.At(0), shards, hosts, seed_channels, peer_channels, persistent.get(),
                                           std::move(options));
  if (!config.job.enable || config.redis.addrs.empty()) return absl::OkStatus();
  jobs::RedisBrokerOptions broker;
  broker.redis = redis::OptionsOf(config.redis);
  broker.broker_db = config.redis.broker_db;
  broker.backend_db = config.redis.backend_db;
  DF_ASSIGN_OR_RETURN(job_broker, jobs::RedisBroker::Make(broker));
  jobs::WorkerOptions worker;
  worker.name = ip;
  // Managers up to v2.3.0 use the first, later ones the second.
  worker.queues = {jobs::SchedulerQueue(config.manager.scheduler_cluster_id, hostname),
                   jobs::SchedulerQueue(config.manager.scheduler_cluster_id, hostname, ip)};
  worker.handlers = job_runner->Handlers();
  worker.at_once = config.job.local_workers;
  job_worker = std::make_unique<jobs::Worker>(io.At(0), *job_broker, std::move(worker));
  return absl::OkStatus();
}

absl::Status Scheduler::State::ServeCalls() {
  rpc::ServerOptions options;
  const std::string any = config.enable_ipv6 ? "::" : "0.0.0.0";
  options.addresses = {
      rpc::HostPort(config.server.listen_ip.empty() ? any : config.server.listen_ip, config.server.port)};
  options.tls = rpc::FilesOf(config.server.tls, "server.tls");
  options.reflection = config.server.reflection;
  options.services = {&service};
  if (config.job.enable) options.services.push_back(job_runner.get());
  options.tracer = tracer.get();
  options.describe_call = &DescribeCall;
  if (config.metrics.enable) options.metrics = &metrics;
  DF_ASSIGN_OR_RETURN(server, rpc::Server::Start(options));
  server->SetServing(rpc::kUnknownLengthCapability, true);
  return absl::OkStatus();
}

absl::Status Scheduler::State::StartDynconfig(uint16_t port) {
  DynconfigOptions options;
  options.refresh_interval = ToClock(config.dynconfig.refresh_interval);
  OnClusterConfig publish = [this](std::shared_ptr<const ClusterConfig> next) { Apply(std::move(next)); };
  if (config.manager.addr.empty()) {
    if (config.dynconfig.path.empty()) return absl::OkStatus();
    DF_ASSIGN_OR_RETURN(dynconfig, MakeFileDynconfig(config.dynconfig.path, DefaultClusterConfig(config), options,
                                                     io.At(0), blocking, std::move(publish)));
    dynconfig->Start();
    return absl::OkStatus();
  }
  ManagerIdentity identity;
  identity.address = config.manager.addr;
  identity.hostname = hostname;
  identity.ip = ip;
  identity.port = config.server.advertise_port != 0 ? config.server.advertise_port : port;
  identity.idc = config.host.idc;
  identity.location = config.host.location;
  identity.cluster_id = config.manager.scheduler_cluster_id;
  identity.takes_jobs = job_worker != nullptr;
  dynconfig = MakeManagerDynconfig(identity, rpc::FilesOf(config.manager.tls, "manager.tls"), manager_channels,
                                   CacheFile(config, hostname, port), DefaultClusterConfig(config), options, io.At(0),
                                   blocking, std::move(publish), [this] { manager->Renew(); });
  // The manager knows this scheduler's cluster from the registration on.
  manager = std::make_unique<ManagerSession>(identity, ToClock(config.manager.keep_alive_interval), manager_channels,
                                             io.At(0), [source = dynconfig.get()] { source->Refresh(); });
  dynconfig->Start();
  manager->Start();
  return absl::OkStatus();
}

std::vector<http::ReadinessCheck> Scheduler::State::Readiness() const {
  using Check = http::ReadinessCheck::State;
  std::vector<http::ReadinessCheck> checks;
  checks.push_back({"server", serves ? Check::kOk : Check::kFailed, serves ? "serves" : "is stopping"});
  // Peers are served without these as well.
  const auto add = [&](std::string name, const absl::Status& status, std::string_view good) {
    checks.push_back({std::move(name), status.ok() ? Check::kOk : Check::kWarning,
                      std::string(status.ok() ? good : MessageOf(status))});
  };
  if (manager != nullptr) add("manager", manager->state(), "knows this scheduler");
  if (dynconfig != nullptr) add("dynconfig", dynconfig->state(), "is fresh");
  if (job_worker != nullptr) add("jobs", job_worker->state(), "are taken");
  checks.push_back({"hosts", Check::kOk, StrCat(hosts.size())});
  return checks;
}

absl::Status Scheduler::State::ServePages() {
  if (!config.metrics.enable) return absl::OkStatus();
  DF_ASSIGN_OR_RETURN(const http::ServerOptions options,
                      http::ListenOptions("metrics.addr", config.metrics.addr, config.enable_ipv6));
  http::Router pages = http::MakeMetricsPages(metrics, [] {});
  http::AddHealthPages(pages, [this] { return serves.load(); }, [this] { return Readiness(); });
  auto started = http::Server::Start(options, io, std::move(pages));
  if (!started.ok()) return Annotate(started.status(), "metrics server");
  metrics_server = *std::move(started);
  return absl::OkStatus();
}

absl::Status Scheduler::State::ServeProfiles() {
  if (config.pprof_port <= 0) return absl::OkStatus();
  http::ServerOptions options;
  options.ip = config.pprof_ip;
  options.port = static_cast<uint16_t>(config.pprof_port);
  auto started = http::Server::Start(options, io, http::MakeStatsPages(blocking));
  if (!started.ok()) return Annotate(started.status(), "profile server");
  profile_server = *std::move(started);
  return absl::OkStatus();
}

absl::Status Scheduler::State::Start() {
  DF_RETURN_IF_ERROR(Identify());
  for (const rpc::TlsFiles& tls :
       {rpc::FilesOf(config.seed_peer.tls, "seedPeer.tls"), rpc::FilesOf(config.manager.tls, "manager.tls"),
        rpc::FilesOf(config.peer.tls, "peer.tls")}) {
    const absl::Status usable = rpc::CheckTlsFiles(tls);
    if (!usable.ok()) return Annotate(usable, tls.section);
  }
  DF_ASSIGN_OR_RETURN(tracer, MakeTracer(config, hostname, ip));
  for (rpc::ChannelPool* const channels : {&seed_channels, &peer_channels, &manager_channels}) {
    channels->UseTracer(tracer.get());
    if (config.metrics.enable) channels->UseMetrics(&metrics);
  }
  const CollectionIntervals intervals{ToClock(config.scheduling.peer_gc_interval),
                                      ToClock(config.scheduling.task_gc_interval)};
  for (size_t i = 0; i < io.size(); ++i) {
    shards.Add(std::make_unique<ShardRunner>(io.At(i), ToShardOptions(config), intervals, hosts, *evaluator,
                                             seed_channels, probe));
  }
  host_collection.Spawn(CollectHosts(ToClock(config.scheduling.host_gc_interval)));
  StartPersistent();
  DF_RETURN_IF_ERROR(PrepareJobs());
  DF_ASSIGN_OR_RETURN(http::Networks forbidden, ForbiddenTo(config.job.preheat));
  preheat = std::make_unique<PreheatService>(io.At(0), hosts, probe, seed_channels, peer_channels,
                                             StrCat("cluster ", config.manager.scheduler_cluster_id, " scheduler ", ip),
                                             std::move(forbidden));
  service.UsePreheat(*preheat);
  DF_RETURN_IF_ERROR(ServeCalls());
  // Before the first peer can come by the manager.
  DF_RETURN_IF_ERROR(StartDynconfig(static_cast<uint16_t>(server->port())));
  DF_RETURN_IF_ERROR(ServePages());
  DF_RETURN_IF_ERROR(ServeProfiles());
  if (job_worker != nullptr) job_worker->Start();
  serves = true;
  return absl::OkStatus();
}

Scheduler::Scheduler(std::unique_ptr<State> state) : state_(std::move(state)) {}
Scheduler::~Scheduler() = default;

absl::StatusOr<std::unique_ptr<Scheduler>> Scheduler::Start(const SchedulerConfig& config, runtime::IoThreads& io) {
  DF_ASSIGN_OR_RETURN(std::unique_ptr<Evaluator> evaluator, MakeEvaluator(config.scheduling.algorithm));
  std::unique_ptr<Scheduler> scheduler(new Scheduler(std::make_unique<State>(config, std::move(evaluator), io)));
  const absl::Status started = scheduler->state_->Start();
  if (started.ok()) return scheduler;
  scheduler->Stop(Clock::now());
  return started;
}

uint16_t Scheduler::port() const { return static_cast<uint16_t>(state_->server->port()); }

uint16_t Scheduler::metrics_port() const {
  return state_->metrics_server == nullptr ? uint16_t{0} : state_->metrics_server->port();
}

telemetry::Metrics& Scheduler::metrics() { return state_->metrics; }

void Scheduler::Stop(TimePoint deadline) {
  State& state = *state_;
  state.serves = false;
  // First of all, so that no peer is sent here any more.
  if (state.manager != nullptr) state.WaitFor(state.manager->Stop());
  if (state.job_worker != nullptr) state.WaitFor(state.job_worker->Stop());
  if (state.server != nullptr) state.server->Shutdown(deadline);
  if (state.dynconfig != nullptr) state.WaitFor(state.dynconfig->Stop());
  if (state.metrics_server != nullptr) state.WaitFor(state.metrics_server->Stop());
  if (state.profile_server != nullptr) state.WaitFor(state.profile_server->Stop());
  state.WaitFor(state.host_collection.Stop());
  if (state.preheat != nullptr) state.WaitFor(state.preheat->Stop());
  if (state.job_runner != nullptr) state.WaitFor(state.job_runner->Stop());
  if (state.persistent != nullptr) state.WaitFor(state.persistent->Stop());
  for (size_t i = 0; i < state.shards.size(); ++i) state.WaitFor(state.shards.At(i).Stop());
  constexpr std::chrono::seconds kFlushWait{2};
  if (state.tracer != nullptr) state.tracer->Stop(Clock::now() + kFlushWait);
}

}  // namespace dragonfly::scheduler
