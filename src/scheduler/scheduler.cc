// SPDX-License-Identifier: Apache-2.0
#include "scheduler/scheduler.h"

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/use_future.hpp>
#include <string>
#include <utility>

#include "absl/time/time.h"
#include "base/status.h"
#include "base/text.h"
#include "http/server.h"
#include "rpc/capability.h"
#include "rpc/channel.h"
#include "rpc/server.h"
#include "runtime/timeout.h"
#include "scheduler/evaluator.h"
#include "scheduler/persistent_service.h"
#include "scheduler/probe.h"
#include "scheduler/service.h"
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

rpc::ChannelOptions ToChannelOptions(const SchedulerConfig& config) {
  rpc::ChannelOptions options;
  options.tls.section = "seedPeer.tls";
  options.tls.ca_cert = config.seed_peer.tls.ca_cert;
  options.tls.cert = config.seed_peer.tls.cert;
  options.tls.key = config.seed_peer.tls.key;
  return options;
}

redis::Options ToRedisOptions(const SchedulerConfig::Redis& config) {
  redis::Options options;
  options.addresses = config.addrs;
  options.master_name = config.master_name;
  options.username = config.username;
  options.password = config.password;
  options.sentinel_username = config.sentinel_username;
  options.sentinel_password = config.sentinel_password;
  options.db = config.db;
  options.pool_size = static_cast<size_t>(std::max<int64_t>(1, config.pool_size));
  options.pool_timeout = config.pool_timeout;
  if (config.tls) {
    redis::TlsOptions& tls = options.tls.emplace();
    tls.ca_cert = config.tls->ca_cert;
    tls.cert = config.tls->cert;
    tls.key = config.tls->key;
    tls.verify = config.tls->verify;
  }
  return options;
}

absl::StatusOr<std::unique_ptr<PersistentStore>> OpenPersistentStore(const SchedulerConfig& config) {
  if (config.redis.addrs.empty()) {
    return OpenEmbeddedPersistentStore(StrCat(config.server.cache_dir, "/persistent-cache.db"));
  }
  DF_ASSIGN_OR_RETURN(std::unique_ptr<redis::Client> client, redis::Client::Make(ToRedisOptions(config.redis)));
  return MakeRedisPersistentStore(std::move(client), config.manager.scheduler_cluster_id);
}

PersistentService::Options ToPersistentOptions(const SchedulerConfig& config) {
  // How often all tasks are looked at, when scheduler.gc.hostGCInterval does not say more often.
  constexpr absl::Duration kHealingInterval = absl::Seconds(30);
  PersistentService::Options options;
  options.peers.tls.section = "peer.tls";
  options.peers.tls.ca_cert = config.peer.tls.ca_cert;
  options.peers.tls.cert = config.peer.tls.cert;
  options.peers.tls.key = config.peer.tls.key;
  options.healing_interval = ToClock(std::min(config.scheduling.host_gc_interval, kHealingInterval));
  options.share_hosts = !config.redis.addrs.empty();
  options.cache.candidate_limit = config.scheduling.candidate_parent_limit;
  options.cache.running_max = config.scheduling.piece_download_timeout;
  return options;
}

// "10.0.0.1:8000", "[::1]:8000", ":8000".
absl::Status ParseAddress(const std::string& address, bool ipv6, http::ServerOptions* options) {
  const size_t colon = address.rfind(':');
  const auto port =
      colon == std::string::npos ? std::nullopt : ParseDecimal<uint16_t>(std::string_view(address).substr(colon + 1));
  if (!port.has_value()) {
    return absl::InvalidArgumentError(StrCat("metrics.addr ", Quoted(address), " is not of the form [ip]:port"));
  }
  std::string ip = address.substr(0, colon);
  if (ip.size() > 2 && ip.front() == '[' && ip.back() == ']') ip = ip.substr(1, ip.size() - 2);
  options->ip = !ip.empty() ? ip : ipv6 ? "::" : "0.0.0.0";
  options->port = *port;
  return absl::OkStatus();
}

asio::awaitable<http::Response> Answer(const telemetry::Metrics& metrics, std::string target) {
  http::Response response;
  if (target == "/metrics") {
    response.content_type = "text/plain; version=0.0.4; charset=utf-8";
    response.body = metrics.Render();
  } else {
    response.status = 404;
    response.body = "only /metrics is here\n";
  }
  co_return response;
}

}  // namespace

// In the order of need: each member uses only those above it.
struct Scheduler::State {
  State(const SchedulerConfig& config, std::unique_ptr<Evaluator> chosen, runtime::IoThreads& threads)
      : io(threads),
        evaluator(std::move(chosen)),
        probe(metrics, config.metrics.enable_host),
        seed_channels(ToChannelOptions(config)),
        service(shards, hosts, probe,
                UploadLimits{config.scheduling.upload_limit_normal, config.scheduling.upload_limit_seed},
                config.server.request_rate_limit),
        host_collection(threads.At(0).get_executor()) {}

  asio::awaitable<void> CollectHosts(Clock::duration interval) {
    for (;;) {
      co_await runtime::SleepUntil(Clock::now() + interval);
      for (const std::string& id : hosts.RemoveSilent(Clock::now())) {
        DF_LOG(Info, "host {} has stopped announcing itself", id);
        probe.Forget(id);
        for (size_t i = 0; i < shards.size(); ++i) {
          shards.At(i).Post([id](Shard& shard, TimePoint now) { shard.DeleteHost(id, now); });
        }
      }
    }
  }

  runtime::IoThreads& io;
  const std::unique_ptr<Evaluator> evaluator;
  HostTable hosts;
  telemetry::Metrics metrics;
  Probe probe;
  rpc::ChannelPool seed_channels;
  Shards shards;
  Service service;
  std::unique_ptr<PersistentService> persistent;
  runtime::TaskGroup host_collection;
  std::unique_ptr<rpc::Server> server;
  std::unique_ptr<http::Server> metrics_server;
};

Scheduler::Scheduler(std::unique_ptr<State> state) : state_(std::move(state)) {}
Scheduler::~Scheduler() = default;

absl::StatusOr<std::unique_ptr<Scheduler>> Scheduler::Start(const SchedulerConfig& config, runtime::IoThreads& io) {
  DF_ASSIGN_OR_RETURN(std::unique_ptr<Evaluator> evaluator, MakeEvaluator(config.scheduling.algorithm));
  http::ServerOptions metrics_options;
  if (config.metrics.enable) {
    DF_RETURN_IF_ERROR(ParseAddress(config.metrics.addr, config.enable_ipv6, &metrics_options));
  }
  std::unique_ptr<Scheduler> scheduler(new Scheduler(std::make_unique<State>(config, std::move(evaluator), io)));
  State& state = *scheduler->state_;

  const CollectionIntervals intervals{ToClock(config.scheduling.peer_gc_interval),
                                      ToClock(config.scheduling.task_gc_interval)};
  for (size_t i = 0; i < io.size(); ++i) {
    state.shards.Add(std::make_unique<ShardRunner>(io.At(i), ToShardOptions(config), intervals, state.hosts,
                                                   *state.evaluator, state.seed_channels));
  }
  state.host_collection.Spawn(state.CollectHosts(ToClock(config.scheduling.host_gc_interval)));

  auto persistent_store = OpenPersistentStore(config);
  if (persistent_store.ok()) {
    state.persistent = std::make_unique<PersistentService>(io.At(0), *std::move(persistent_store), state.hosts,
                                                           state.metrics, ToPersistentOptions(config));
    state.service.UsePersistent(*state.persistent);
    state.persistent->Start();
  } else {
    DF_LOG(Error, "persistent cache tasks are not served: {}", MessageOf(persistent_store.status()));
  }

  rpc::ServerOptions options;
  const std::string any = config.enable_ipv6 ? "::" : "0.0.0.0";
  options.addresses = {
      rpc::HostPort(config.server.listen_ip.empty() ? any : config.server.listen_ip, config.server.port)};
  options.tls.section = "server.tls";
  options.tls.ca_cert = config.server.tls.ca_cert;
  options.tls.cert = config.server.tls.cert;
  options.tls.key = config.server.tls.key;
  options.reflection = config.server.reflection;
  options.services = {&state.service};
  auto server = rpc::Server::Start(options);
  if (server.ok()) {
    state.server = *std::move(server);
    state.server->SetServing(rpc::kUnknownLengthCapability, true);
    if (!config.metrics.enable) return scheduler;
    auto metrics_server = http::Server::Start(metrics_options, io, [&metrics = state.metrics](http::Request request) {
      return Answer(metrics, std::move(request.target));
    });
    if (metrics_server.ok()) {
      state.metrics_server = *std::move(metrics_server);
      return scheduler;
    }
    server = Annotate(metrics_server.status(), "metrics server");
  }
  scheduler->Stop(Clock::now());
  return server.status();
}

uint16_t Scheduler::port() const { return static_cast<uint16_t>(state_->server->port()); }

uint16_t Scheduler::metrics_port() const {
  return state_->metrics_server == nullptr ? uint16_t{0} : state_->metrics_server->port();
}

telemetry::Metrics& Scheduler::metrics() { return state_->metrics; }

void Scheduler::Stop(TimePoint deadline) {
  State& state = *state_;
  const auto wait_for = [&state](asio::awaitable<void> work) {
    asio::co_spawn(state.io.At(0), std::move(work), asio::use_future).get();
  };
  if (state.server != nullptr) state.server->Shutdown(deadline);
  if (state.metrics_server != nullptr) wait_for(state.metrics_server->Stop());
  wait_for(state.host_collection.Stop());
  if (state.persistent != nullptr) wait_for(state.persistent->Stop());
  for (size_t i = 0; i < state.shards.size(); ++i) wait_for(state.shards.At(i).Stop());
}

}  // namespace dragonfly::scheduler
