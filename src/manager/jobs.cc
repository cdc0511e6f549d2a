// SPDX-License-Identifier: Apache-2.0
#include "manager/jobs.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/status.h"
#include "base/text.h"
#include "jobs/embedded_broker.h"
#include "jobs/redis_broker.h"
#include "jobs/results.h"
#include "manager/job_forwarder.h"
#include "manager/job_keeper.h"
#include "manager/job_planner.h"
#include "manager/job_result.h"
#include "manager/job_span.h"
#include "manager/job_table.h"
#include "manager/job_targets.h"
#include "manager/peer_table.h"
#include "manager/registry.h"
#include "redis/configured.h"
#include "rpc/tls_files.h"
#include "runtime/run_on.h"
#include "runtime/timeout.h"
#include "telemetry/log.h"

namespace dragonfly::manager {
namespace asio = boost::asio;
namespace {

constexpr std::chrono::seconds kSearchTimeout{30};
constexpr std::chrono::seconds kListTimeout{60};
constexpr std::chrono::seconds kAskTimeout{10};
constexpr std::chrono::hours kGcInterval{1};
constexpr int64_t kGcBatch = 5000;
constexpr double kRateDefault = 10;

TimePoint In(absl::Duration duration) { return Clock::now() + absl::ToChronoNanoseconds(duration); }

double RateOf(const SchedulerClusterRow& cluster) {
  const auto config = nlohmann::json::parse(cluster.config, nullptr, /*allow_exceptions=*/false);
  if (!config.is_object()) return kRateDefault;
  const auto rate = config.find("job_rate_limit");
  if (rate == config.end() || !rate->is_number()) return kRateDefault;
  const double value = rate->get<double>();
  return value > 0 ? value : kRateDefault;
}

// With how it has ended.
template <typename T>
asio::awaitable<absl::StatusOr<T>> Traced(const JobRequest& request, asio::awaitable<absl::StatusOr<T>> work) {
  telemetry::Span span = StartJobSpan(request);
  absl::StatusOr<T> result = co_await std::move(work);
  span.SetStatus(result.status());
  co_return result;
}

}  // namespace

struct JobService::State {
  State(asio::io_context& context, db::Database& db, DirectoryReader& reader, Probe& p, const ManagerConfig& given)
      : io(context),
        database(db),
        directory(reader),
        probe(p),
        config(given),
        job_targets(reader, /*by_calls=*/given.database.redis.addrs.empty()),
        group(context.get_executor()) {}

  template <typename T>
  asio::awaitable<absl::StatusOr<T>> OnHome(asio::awaitable<absl::StatusOr<T>> work) {
    co_return co_await runtime::RunOn<absl::StatusOr<T>>(io.get_executor(), std::move(work));
  }
  template <typename T>
  asio::awaitable<absl::StatusOr<T>> Do(db::Database::Work<T> work) {
    co_return co_await database.Transact<T>(std::move(work), Clock::now() + kJobDatabaseTimeout);
  }

  // The states of what was asked, in its order; what has not ended by `deadline` is cancelled.
  asio::awaitable<absl::StatusOr<std::vector<jobs::TaskState>>> AskAndWait(std::vector<jobs::Message> messages,
                                                                           TimePoint deadline) {
    const std::string uuid = jobs::MakeGroupUuid();
    DF_CO_RETURN_IF_ERROR(co_await broker->Send(uuid, std::move(messages)));
    DF_CO_ASSIGN_OR_RETURN(std::vector<jobs::TaskState> states, co_await broker->Await(uuid, deadline));
    if (!jobs::HaveEnded(states)) (void)co_await broker->Cancel(uuid, "the time of the job is over");
    co_return states;
  }

  asio::awaitable<absl::StatusOr<bool>> SyncPeers(std::vector<uint64_t> wanted) {
    DF_CO_ASSIGN_OR_RETURN(const std::vector<JobTarget> targets,
                           co_await job_targets.Find(wanted, JobReach::kOneOfEach));
    std::vector<jobs::Message> messages;
    for (const JobTarget& target : targets) {
      jobs::Message& message = messages.emplace_back();
      message.name = jobs::kSyncPeers;
      message.queue = target.queue;
    }
    DF_CO_ASSIGN_OR_RETURN(const std::vector<jobs::TaskState> states,
                           co_await AskAndWait(std::move(messages), In(config.job.sync_peers.timeout)));
    bool all_done = true;
    for (size_t i = 0; i < states.size(); ++i) {
      const uint64_t cluster = targets[i].cluster;
      if (states[i].state != jobs::State::kSuccess || states[i].results.empty()) {
        DF_LOG(Warn, "sync peers of cluster {}: {}", cluster,
               states[i].error.empty() ? "the scheduler does not answer" : states[i].error);
        all_done = false;
        continue;
      }
      auto parsed = jobs::ParseHosts(states[i].results.front());
      absl::Status merged = parsed.status();
      if (parsed.ok()) {
        // Owned by the work, which may outlast this call.
        const auto hosts = std::make_shared<const std::vector<jobs::HostEntry>>(*std::move(parsed));
        const db::Database::Work<bool> merge = [cluster, hosts](db::Connection& connection) -> absl::StatusOr<bool> {
          DF_RETURN_IF_ERROR(MergePeers(connection, cluster, *hosts));
          return true;
        };
        merged = (co_await Do<bool>(merge)).status();
      }
      if (!merged.ok()) DF_LOG(Warn, "sync peers of cluster {}: {}", cluster, MessageOf(merged));
      all_done = all_done && merged.ok();
    }
    co_return all_done;
  }

  asio::awaitable<absl::StatusOr<std::string>> GetImageDistribution(JobRequest request) {
    DF_CO_ASSIGN_OR_RETURN(ImageSearch search,
                           co_await planner->PlanImageSearch(request.args, request.scheduler_clusters));
    const TimePoint deadline = std::min<TimePoint>(In(request.args.timeout), Clock::now() + kSearchTimeout);
    DF_CO_ASSIGN_OR_RETURN(const std::vector<jobs::TaskState> states,
                           co_await AskAndWait(std::move(search.messages), deadline));
    co_return ShowImageDistribution(search.layers, search.schedulers, states);
  }

  asio::awaitable<absl::StatusOr<std::string>> ListEntries(JobRequest request) {
    DF_CO_ASSIGN_OR_RETURN(const std::vector<JobTarget> targets,
                           co_await job_targets.Find(request.scheduler_clusters, JobReach::kOneOfEach));
    DF_CO_RETURN_IF_ERROR(planner->CheckUrls(request.args.download.urls));
    const TimePoint deadline = std::min<TimePoint>(In(request.args.timeout), Clock::now() + kListTimeout);
    absl::Status last = absl::UnavailableError("no scheduler has answered");
    // One after another, so that the origin is asked once.
    for (const JobTarget& target : targets) {
      jobs::Message message = planner->ListMessage(target, request.args, absl::FromChrono(deadline - Clock::now()));
      DF_CO_ASSIGN_OR_RETURN(const std::vector<jobs::TaskState> states,
                             co_await AskAndWait({std::move(message)}, deadline));
      const jobs::TaskState& state = states.front();
      if (state.state == jobs::State::kSuccess && !state.results.empty()) co_return state.results.front();
      if (state.state == jobs::State::kFailure) last = absl::FailedPreconditionError(state.error);
    }
    co_return last;
  }

  asio::awaitable<absl::StatusOr<std::vector<std::string>>> Ask(uint64_t cluster, std::string name,
                                                                std::string argument) {
    const std::vector<uint64_t> wanted = {cluster};
    DF_CO_ASSIGN_OR_RETURN(const std::vector<JobTarget> targets, co_await job_targets.Find(wanted, JobReach::kAll));
    std::vector<jobs::Message> messages;
    for (const JobTarget& target : targets) {
      jobs::Message& message = messages.emplace_back();
      message.name = name;
      message.queue = target.queue;
      message.argument = argument;
    }
    DF_CO_ASSIGN_OR_RETURN(const std::vector<jobs::TaskState> states,
                           co_await AskAndWait(std::move(messages), Clock::now() + kAskTimeout));
    std::vector<std::string> answers;
    std::string error = "no scheduler of the cluster has answered";
    for (const jobs::TaskState& state : states) {
      if (state.state == jobs::State::kSuccess && !state.results.empty()) answers.push_back(state.results.front());
      if (state.state == jobs::State::kFailure) error = state.error;
    }
    if (answers.empty()) co_return absl::UnavailableError(error);
    co_return answers;
  }

  // -- Garbage.
  asio::awaitable<absl::StatusOr<int64_t>> Collect(std::string type, int64_t user_id, bool record) {
    int64_t purged = 0;
    absl::Status status;
    for (;;) {
      const absl::Time now = absl::Now();
      const db::Database::Work<int64_t> expire = [type, now](db::Connection& connection) {
        return type == "audit" ? ExpireAudits(connection, now, kGcBatch) : ExpireJobs(connection, now, kGcBatch);
      };
      const auto expired = co_await Do<int64_t>(expire);
      status = expired.status();
      if (!expired.ok() || *expired == 0) break;
      purged += *expired;
    }
    if (!record && purged == 0 && status.ok()) co_return 0;
    nlohmann::json result = {{"purged", purged}};
    if (!status.ok()) result["error"] = "the database refuses; see the manager's log";
    if (!status.ok()) DF_LOG(Warn, "delete old rows of {}: {}", type, MessageOf(status));
    const db::Database::Work<int64_t> note = [=](db::Connection& connection) -> absl::StatusOr<int64_t> {
      DF_ASSIGN_OR_RETURN(const absl::Duration kept, KeptFor(connection, type));
      JobRow row;
      row.group_uuid = user_id == 0 ? type : jobs::MakeGroupUuid().substr(6);
      row.type = "gc";
      row.user_id = user_id;
      row.args =
          nlohmann::json({{"type", type}, {"ttl", absl::ToInt64Nanoseconds(kept)}, {"batch_size", kGcBatch}}).dump();
      DF_ASSIGN_OR_RETURN(const int64_t id, InsertJob(connection, row));
      DF_RETURN_IF_ERROR(EndJob(connection, id, status.ok() ? "SUCCESS" : "FAILURE", result.dump()).status());
      return id;
    };
    co_return co_await Do<int64_t>(note);
  }

  asio::awaitable<void> CollectForever() {
    for (;;) {
      co_await runtime::SleepUntil(Clock::now() + kGcInterval);
      (void)co_await Collect("job", 0, /*record=*/false);
    }
  }

  asio::awaitable<void> SyncForever() {
    for (;;) {
      co_await runtime::SleepUntil(In(config.job.sync_peers.interval));
      const auto synced = co_await SyncPeers({});
      if (!synced.ok()) DF_LOG(Warn, "sync peers: {}", MessageOf(synced.status()));
    }
  }

  asio::io_context& io;
  db::Database& database;
  DirectoryReader& directory;
  Probe& probe;
  const ManagerConfig& config;
  const JobTargets job_targets;
  std::unique_ptr<JobPlanner> planner;
  std::unique_ptr<JobLimiter> limiter;
  std::unique_ptr<jobs::EmbeddedBroker> embedded;
  std::unique_ptr<jobs::RedisBroker> redis;
  jobs::Broker* broker = nullptr;           // one of the two
  std::unique_ptr<JobForwarder> forwarder;  // of the embedded one
  std::unique_ptr<JobKeeper> keeper;
  bool syncing = false;
  runtime::TaskGroup group;
};

JobService::JobService(std::unique_ptr<State> state) : state_(std::move(state)) {}
JobService::~JobService() = default;

absl::StatusOr<std::unique_ptr<JobService>> JobService::Make(asio::io_context& io, db::Database& database,
                                                             DirectoryReader& directory, Probe& probe,
                                                             const ManagerConfig& config, telemetry::Tracer* tracer) {
  auto state = std::make_unique<State>(io, database, directory, probe, config);
  DF_ASSIGN_OR_RETURN(state->planner, JobPlanner::Make(io, state->job_targets, config));
  rpc::TlsFiles schedulers = rpc::FilesOf(config.scheduler.tls, "scheduler.tls");
  DF_RETURN_IF_ERROR(rpc::CheckTlsFiles(schedulers));
  std::unique_ptr<redis::Client> counters;
  if (config.database.redis.addrs.empty()) {
    state->embedded = std::make_unique<jobs::EmbeddedBroker>();
    state->broker = state->embedded.get();
    state->forwarder = std::make_unique<JobForwarder>(io, *state->embedded, directory, std::move(schedulers), tracer);
  } else {
    jobs::RedisBrokerOptions options;
    options.redis = redis::OptionsOf(config.database.redis);
    options.broker_db = config.database.redis.broker_db;
    options.backend_db = config.database.redis.backend_db;
    options.waiting = 1;
    auto broker = jobs::RedisBroker::Make(options);
    if (!broker.ok()) return Annotate(broker.status(), "database.redis");
    state->redis = *std::move(broker);
    state->broker = state->redis.get();
    DF_ASSIGN_OR_RETURN(counters, redis::Client::Make(redis::OptionsOf(config.database.redis)));
  }
  state->limiter = std::make_unique<JobLimiter>(std::move(counters));
  state->keeper = std::make_unique<JobKeeper>(database, *state->broker, *state->planner, probe, state->group);
  return std::unique_ptr<JobService>(new JobService(std::move(state)));
}

void JobService::Start() {
  State& state = *state_;
  if (state.redis != nullptr) state.group.Spawn(state.redis->ListenForEnds());
  if (state.forwarder != nullptr) state.forwarder->Start();
  state.group.Spawn(state.keeper->Adopt());
  state.group.Spawn(state.CollectForever());
  state.group.Spawn(state.SyncForever());
}

asio::awaitable<void> JobService::Stop() {
  State* const state = state_.get();
  co_await state->group.Stop();
  const auto end = [](State* self) -> asio::awaitable<bool> {
    if (self->forwarder != nullptr) co_await self->forwarder->Stop();
    self->planner->Stop();
    co_return true;
  };
  (void)co_await runtime::RunOn<bool>(state->io.get_executor(), end(state));
}

asio::awaitable<absl::Status> JobService::Admit(const JobRequest& request, absl::Duration* retry_after) {
  DF_CO_ASSIGN_OR_RETURN(const auto all, co_await state_->directory.Read(Clock::now() + kJobDatabaseTimeout));
  DF_CO_ASSIGN_OR_RETURN(const std::vector<uint64_t> clusters, JobClusters(*all, request.scheduler_clusters));
  std::vector<JobLimiter::Limit> limits;
  for (const uint64_t id : clusters) limits.push_back({id, RateOf(all->scheduler_clusters.at(id))});
  co_return co_await state_->limiter->Take(std::move(limits), retry_after);
}

JobService::Result<int64_t> JobService::Create(JobRequest request, int64_t user_id) {
  state_->probe.CountJob(std::string(NameOf(request.kind)));
  co_return co_await Traced<int64_t>(request, state_->OnHome<int64_t>(state_->keeper->Create(request, user_id)));
}

asio::awaitable<absl::Status> JobService::SyncPeers(JobRequest request) {
  state_->probe.CountJob(std::string(NameOf(request.kind)));
  const auto once = [](State* state, std::vector<uint64_t> clusters) -> asio::awaitable<absl::StatusOr<bool>> {
    if (state->syncing) co_return absl::FailedPreconditionError("sync peers job is running");
    state->syncing = true;
    const std::shared_ptr<void> over(nullptr, [state](void*) { state->syncing = false; });
    co_return co_await state->SyncPeers(std::move(clusters));
  };
  DF_CO_ASSIGN_OR_RETURN(
      const bool all,
      co_await Traced<bool>(request, state_->OnHome<bool>(once(state_.get(), request.scheduler_clusters))));
  if (!all) co_return absl::UnavailableError("not every cluster has answered; the manager's log says why");
  co_return absl::OkStatus();
}

JobService::Result<std::string> JobService::GetImageDistribution(JobRequest request) {
  state_->probe.CountJob(std::string(NameOf(request.kind)));
  co_return co_await Traced<std::string>(request, state_->OnHome<std::string>(state_->GetImageDistribution(request)));
}

JobService::Result<std::string> JobService::ListEntries(JobRequest request) {
  state_->probe.CountJob(std::string(NameOf(request.kind)));
  co_return co_await Traced<std::string>(request, state_->OnHome<std::string>(state_->ListEntries(request)));
}

JobService::Result<std::vector<std::string>> JobService::Ask(uint64_t cluster, std::string name, std::string argument) {
  co_return co_await state_->OnHome<std::vector<std::string>>(
      state_->Ask(cluster, std::move(name), std::move(argument)));
}

JobService::Result<int64_t> JobService::CollectGarbage(std::string type, int64_t user_id) {
  state_->probe.CountJob("gc");
  co_return co_await state_->OnHome<int64_t>(state_->Collect(std::move(type), user_id, /*record=*/true));
}

asio::awaitable<absl::Status> JobService::Cancel(std::string group_uuid) {
  absl::Status status = co_await state_->broker->Cancel(std::move(group_uuid), "the job was deleted");
  co_return absl::IsNotFound(status) ? absl::OkStatus() : status;
}

JobService::Result<JobService::Current> JobService::Look(std::string, std::string group_uuid) {
  auto states = co_await state_->broker->States(group_uuid);
  if (!states.ok()) co_return states.status();
  Current current;
  current.state = std::string(jobs::NameOf(jobs::StateOf(*states)));
  current.result = ShowGroup(group_uuid, *states, absl::Now());
  co_return current;
}

}  // namespace dragonfly::manager
