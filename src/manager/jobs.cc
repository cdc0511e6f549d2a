// SPDX-License-Identifier: Apache-2.0
#include "manager/jobs.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "base/status.h"
#include "base/task_id.h"
#include "base/text.h"
#include "base/url.h"
#include "http/curl_client.h"
#include "jobs/embedded_broker.h"
#include "jobs/redis_broker.h"
#include "jobs/results.h"
#include "jobs/task_request.h"
#include "manager/job_forwarder.h"
#include "manager/job_result.h"
#include "manager/job_table.h"
#include "manager/peer_table.h"
#include "manager/preheat_tls.h"
#include "manager/registry.h"
#include "oci/registry_client.h"
#include "redis/configured.h"
#include "rpc/tls_files.h"
#include "runtime/run_on.h"
#include "runtime/timeout.h"
#include "telemetry/log.h"

namespace dragonfly::manager {
namespace asio = boost::asio;
namespace {

constexpr std::chrono::seconds kDatabaseTimeout{30};
// What other managers have made is looked at when it is that old, and so often.
constexpr absl::Duration kForeignAge = absl::Seconds(20);
constexpr std::chrono::seconds kForeignInterval{10};
constexpr int64_t kForeignMax = 1000;
// Beyond the time that a job gives its schedulers.
constexpr absl::Duration kSlack = absl::Seconds(60);
constexpr std::chrono::seconds kSearchTimeout{30};
constexpr std::chrono::seconds kListTimeout{60};
constexpr std::chrono::seconds kAskTimeout{10};
constexpr std::chrono::hours kGcInterval{1};
constexpr int64_t kGcBatch = 5000;
constexpr double kRateDefault = 10;

TimePoint In(absl::Duration duration) {
  return Clock::now() + std::chrono::duration_cast<Clock::duration>(absl::ToChronoNanoseconds(duration));
}

double RateOf(const SchedulerClusterRow& cluster) {
  const auto config = nlohmann::json::parse(cluster.config, nullptr, /*allow_exceptions=*/false);
  if (!config.is_object()) return kRateDefault;
  const auto rate = config.find("job_rate_limit");
  if (rate == config.end() || !rate->is_number()) return kRateDefault;
  const double value = rate->get<double>();
  return value > 0 ? value : kRateDefault;
}

// A scheduler that a job goes to.
struct Target {
  std::string queue;
  jobs::Form form = jobs::Form::kAllUrls;
  uint64_t cluster = 0;
};

// A span of the work by the original's name (dragonfly v2.3.0, manager/job and manager/config/constants_otel.go), with
// how it has ended. URLs lose their queries, where signatures stand.
telemetry::Span SpanOf(const JobRequest& request) {
  const auto named = [&request]() -> const char* {
    switch (request.kind) {
      case JobKind::kPreheat:
        return "preheat";
      case JobKind::kGetTask:
        return "get-task";
      case JobKind::kDeleteTask:
        return "delete-task";
      case JobKind::kSyncPeers:
        return "sync-peers";
      case JobKind::kGetImageDistribution:
        return "get-image-distribution";
      case JobKind::kListTaskEntries:
        return "list-task-entries";
      case JobKind::kGc:
        return "gc";
    }
    return "job";
  };
  telemetry::Span span = request.span.Start(named());
  if (!span.recording()) return span;
  const std::vector<std::string>& urls = request.args.download.urls;
  const std::string url = urls.empty() ? "" : urls.back().substr(0, urls.back().find_first_of("?#"));
  if (request.kind == JobKind::kPreheat) {
    span.Set("d7y.manager.preheat.type", request.args.image ? "image" : "file");
    span.Set("d7y.manager.preheat.url", url);
  }
  if (request.kind == JobKind::kGetTask) span.Set("d7y.manager.get_task.id", request.args.task_id);
  if (request.kind == JobKind::kDeleteTask) span.Set("d7y.manager.delete_task.id", request.args.task_id);
  if (request.kind == JobKind::kListTaskEntries) span.Set("d7y.manager.list_task_entries.url", url);
  return span;
}

template <typename T>
asio::awaitable<absl::StatusOr<T>> Traced(const JobRequest& request, asio::awaitable<absl::StatusOr<T>> work) {
  telemetry::Span span = SpanOf(request);
  absl::StatusOr<T> result = co_await std::move(work);
  span.SetStatus(result.status());
  co_return result;
}

// What a group is made of.
struct Plan {
  Plan() = default;
  std::vector<jobs::Message> messages;
  std::vector<uint64_t> clusters;
};

}  // namespace

struct JobService::State {
  State(asio::io_context& context, db::Database& db, DirectoryReader& reader, Probe& p, const ManagerConfig& given)
      : io(context), database(db), directory(reader), probe(p), config(given), group(context.get_executor()) {}

  template <typename T>
  asio::awaitable<absl::StatusOr<T>> OnHome(asio::awaitable<absl::StatusOr<T>> work) {
    co_return co_await runtime::RunOn<absl::StatusOr<T>>(io.get_executor(), std::move(work));
  }
  template <typename T>
  asio::awaitable<absl::StatusOr<T>> Do(db::Database::Work<T> work) {
    co_return co_await database.Transact<T>(std::move(work), Clock::now() + kDatabaseTimeout);
  }

  // -- Where to.
  Target TargetOf(const SchedulerRow& scheduler) const {
    Target target;
    target.cluster = scheduler.cluster_id;
    // Only releases from v2.3.1 on tell their configuration, and take jobs under the longer name. Calls need no form.
    const bool later = scheduler.has_config || forwarder != nullptr;
    target.form = later ? jobs::Form::kAllUrls : jobs::Form::kOneUrl;
    target.queue = later ? jobs::SchedulerQueue(scheduler.cluster_id, scheduler.hostname, scheduler.ip)
                         : jobs::SchedulerQueue(scheduler.cluster_id, scheduler.hostname);
    return target;
  }

  static absl::StatusOr<std::vector<uint64_t>> ClustersOf(const Directory& all, const std::vector<uint64_t>& wanted) {
    std::vector<uint64_t> ids;
    for (const uint64_t id : wanted) {
      if (!all.scheduler_clusters.contains(id)) {
        return absl::NotFoundError(StrCat("scheduler cluster id ", id, ": record not found"));
      }
      ids.push_back(id);
    }
    if (wanted.empty()) {
      for (const auto& [id, cluster] : all.scheduler_clusters) ids.push_back(id);
    }
    return ids;
  }

  // `first_only`: one of each cluster, for work that is the cluster's.
  absl::StatusOr<std::vector<Target>> TargetsOf(const Directory& all, const std::vector<uint64_t>& wanted,
                                                bool first_only, bool must_preheat) const {
    DF_ASSIGN_OR_RETURN(const std::vector<uint64_t> clusters, ClustersOf(all, wanted));
    std::vector<Target> targets;
    for (const uint64_t cluster : clusters) {
      bool found = false;
      for (const SchedulerRow* const scheduler : all.ActiveSchedulersOf(cluster)) {
        // Without Redis none of them says that it takes jobs from there.
        if (must_preheat && forwarder == nullptr && !scheduler->Has("preheat")) continue;
        if (found && first_only) break;
        found = true;
        targets.push_back(TargetOf(*scheduler));
      }
      if (!found && !wanted.empty()) {
        return absl::FailedPreconditionError(StrCat("scheduler cluster id ", cluster, ": ",
                                                    must_preheat ? "candidate" : "active", " schedulers not found"));
      }
    }
    if (targets.empty()) {
      return absl::FailedPreconditionError(must_preheat ? "candidate schedulers not found"
                                                        : "active schedulers not found");
    }
    return targets;
  }

  // -- What.
  asio::awaitable<absl::StatusOr<oci::ResolvedImage>> Resolve(const JobArgs& args, oci::ImageUrl* image) {
    oci::ImageRequest asked;
    DF_CO_ASSIGN_OR_RETURN(asked.image, oci::ImageUrl::Parse(args.download.urls.back()));
    if (!args.platform.empty()) {
      DF_CO_ASSIGN_OR_RETURN(asked.platform, oci::Platform::Parse(args.platform));
    }
    for (const auto& [name, value] : args.download.headers) asked.header.emplace_back(name, value);
    asked.username = args.username;
    asked.password = args.password;
    asked.verify_tls = !config.job.preheat.insecure_skip_verify;
    asked.ca_file = tls.ca_file;
    asked.deadline = In(config.job.preheat.registry_timeout);
    *image = asked.image;
    oci::RegistryClient registry(*http);
    auto resolved = co_await registry.Resolve(std::move(asked));
    // What is wrong with an image is wrong with the request.
    if (!resolved.ok()) co_return absl::InvalidArgumentError(StrCat("image: ", MessageOf(resolved.status())));
    co_return resolved;
  }

  void AddPreheat(const Target& target, jobs::PreheatRequest request, Plan& plan) const {
    jobs::Message& message = plan.messages.emplace_back();
    message.name = jobs::kPreheat;
    message.queue = target.queue;
    message.argument = jobs::ToJson(request, target.form);
  }

  absl::Status CheckUrls(const std::vector<std::string>& urls) const {
    // Names are looked up by the peers, and mean what they mean there; an address is the same everywhere.
    for (const std::string& text : urls) {
      DF_ASSIGN_OR_RETURN(const Url url, Url::Parse(text));
      std::string host = url.host;
      if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
      boost::system::error_code error;
      const auto address = asio::ip::make_address(host, error);
      if (!error && forbidden.Contains(address)) {
        return absl::InvalidArgumentError(StrCat("url: ", host, " is in a network that is forbidden"));
      }
    }
    return absl::OkStatus();
  }

  asio::awaitable<absl::StatusOr<Plan>> PlanPreheat(const JobArgs& args, const std::vector<uint64_t>& wanted) {
    DF_CO_ASSIGN_OR_RETURN(const auto all, co_await directory.Read(Clock::now() + kDatabaseTimeout));
    DF_CO_ASSIGN_OR_RETURN(const std::vector<Target> targets,
                           TargetsOf(*all, wanted, /*first_only=*/true, /*must_preheat=*/true));
    DF_CO_RETURN_IF_ERROR(CheckUrls(args.download.urls));
    std::vector<jobs::PreheatRequest> files;  // one URL each
    jobs::PreheatRequest base = args.download;
    base.certificate_chain = tls.certificates;
    base.insecure_skip_verify = config.job.preheat.insecure_skip_verify;
    if (args.image) {
      oci::ImageUrl image;
      DF_CO_ASSIGN_OR_RETURN(const oci::ResolvedImage resolved, co_await Resolve(args, &image));
      if (!resolved.authorization.empty()) base.headers["Authorization"] = resolved.authorization;
      for (const oci::Descriptor& blob : resolved.blobs) {
        jobs::PreheatRequest& file = files.emplace_back(base);
        file.urls = {image.BlobOf(blob.digest)};
        if (!blob.media_type.empty()) file.headers["Accept"] = blob.media_type;
      }
      base.urls.clear();
      for (const jobs::PreheatRequest& file : files) base.urls.push_back(file.urls.front());
    } else {
      for (const std::string& url : args.download.urls) files.emplace_back(base).urls = {url};
    }
    Plan plan;
    for (const Target& target : targets) {
      plan.clusters.push_back(target.cluster);
      if (target.form == jobs::Form::kAllUrls) {
        AddPreheat(target, base, plan);
      } else {
        for (const jobs::PreheatRequest& file : files) AddPreheat(target, file, plan);
      }
    }
    co_return plan;
  }

  asio::awaitable<absl::StatusOr<Plan>> PlanTask(const char* name, const JobArgs& args,
                                                 const std::vector<uint64_t>& wanted) {
    DF_CO_ASSIGN_OR_RETURN(const auto all, co_await directory.Read(Clock::now() + kDatabaseTimeout));
    DF_CO_ASSIGN_OR_RETURN(const std::vector<Target> targets,
                           TargetsOf(*all, wanted, /*first_only=*/false, /*must_preheat=*/false));
    jobs::TaskRequest request;
    request.task_id = args.task_id;
    request.timeout = args.timeout;
    Plan plan;
    for (const Target& target : targets) {
      jobs::Message& message = plan.messages.emplace_back();
      message.name = name;
      message.queue = target.queue;
      message.argument = jobs::ToJson(request);
      if (std::ranges::find(plan.clusters, target.cluster) == plan.clusters.end()) {
        plan.clusters.push_back(target.cluster);
      }
    }
    co_return plan;
  }

  asio::awaitable<absl::StatusOr<Plan>> PlanOf(JobKind kind, const JobArgs& args, const std::vector<uint64_t>& wanted) {
    switch (kind) {
      case JobKind::kPreheat:
        co_return co_await PlanPreheat(args, wanted);
      case JobKind::kGetTask:
        co_return co_await PlanTask(jobs::kGetTask, args, wanted);
      case JobKind::kDeleteTask:
        co_return co_await PlanTask(jobs::kDeleteTask, args, wanted);
      default:
        co_return absl::InternalError(StrCat(NameOf(kind), " is no job for schedulers"));
    }
  }

  // -- Life.
  asio::awaitable<absl::StatusOr<int64_t>> Create(JobRequest request, int64_t user_id) {
    DF_CO_ASSIGN_OR_RETURN(Plan plan, co_await PlanOf(request.kind, request.args, request.scheduler_clusters));
    JobRow row;
    row.group_uuid = jobs::MakeGroupUuid();
    row.type = std::string(NameOf(request.kind));
    row.bio = request.bio;
    row.args = request.args.shown;
    row.user_id = user_id;
    row.scheduler_clusters = plan.clusters;
    row.seed_peer_clusters = request.seed_peer_clusters;
    // The row comes first: a manager that finds it without its messages sends them.
    const db::Database::Work<int64_t> insert = [row](db::Connection& connection) { return InsertJob(connection, row); };
    DF_CO_ASSIGN_OR_RETURN(const int64_t id, co_await Do<int64_t>(insert));
    own.insert(id);
    // Also when whoever asked for it goes away in the midst of this: the job is then looked at as one of others.
    bool watched = false;
    const std::shared_ptr<void> gone(nullptr, [this, id, &watched](void*) {
      if (!watched) own.erase(id);
    });
    const absl::Status sent = co_await broker->Send(row.group_uuid, std::move(plan.messages));
    if (!sent.ok()) {
      (void)co_await broker->Cancel(row.group_uuid, "it could not be sent as a whole");
      (void)co_await End(id, row.type, jobs::State::kFailure,
                         StrCat("{\"error\":", nlohmann::json(std::string(MessageOf(sent))).dump(), "}"));
      co_return Annotate(sent, "send the job to its schedulers");
    }
    watched = true;
    group.Spawn(Watch(id, row.type, row.group_uuid, In(request.args.timeout + kSlack)));
    co_return id;
  }

  asio::awaitable<absl::Status> End(int64_t id, std::string type, jobs::State state, std::string result) {
    const std::string name(jobs::NameOf(state));
    const db::Database::Work<bool> end = [id, name, result](db::Connection& connection) {
      return EndJob(connection, id, name, result);
    };
    const auto ended = co_await Do<bool>(end);
    if (!ended.ok()) co_return ended.status();
    if (*ended && state == jobs::State::kSuccess) probe.CountJobSuccess(type);
    if (*ended) DF_LOG(Info, "job {}, {}: {}", id, type, name);
    co_return absl::OkStatus();
  }

  // Until the job has ended, or its time is over; the database may be away meanwhile.
  asio::awaitable<void> Watch(int64_t id, std::string type, std::string group_uuid, TimePoint deadline) {
    const std::shared_ptr<void> gone(nullptr, [this, id](void*) { own.erase(id); });
    for (;;) {
      auto states = co_await broker->Await(group_uuid, deadline);
      if (states.ok() && !jobs::HaveEnded(*states)) {
        const absl::Status cancelled = co_await broker->Cancel(group_uuid, "the time of the job is over");
        if (cancelled.ok()) states = co_await broker->States(group_uuid);
      }
      absl::Status ended = states.status();
      if (states.ok() && jobs::HaveEnded(*states)) {
        ended = co_await End(id, type, jobs::StateOf(*states), ShowGroup(group_uuid, *states, absl::Now()));
        if (ended.ok()) co_return;
      }
      // Nobody knows it any more: those who look at jobs without a manager find that, too.
      if (absl::IsNotFound(ended)) co_return;
      DF_LOG(Warn, "job {}: {}", id, MessageOf(ended));
      co_await runtime::SleepUntil(Clock::now() + std::chrono::seconds(1));
    }
  }

  // Jobs whose manager has perhaps gone, of this database.
  asio::awaitable<void> Adopt() {
    for (;;) {
      const absl::Time before = absl::Now() - kForeignAge;
      const db::Database::Work<std::vector<JobRow>> find = [before](db::Connection& connection) {
        return PendingJobs(connection, before, kForeignMax);
      };
      const auto rows = co_await Do<std::vector<JobRow>>(find);
      if (!rows.ok()) DF_LOG(Warn, "look for jobs without a manager: {}", MessageOf(rows.status()));
      if (rows.ok()) {
        for (const JobRow& row : *rows) {
          if (own.contains(row.id)) continue;
          const absl::Status status = co_await LookAt(row);
          if (!status.ok()) DF_LOG(Warn, "job {}: {}", row.id, MessageOf(status));
        }
      }
      co_await runtime::SleepUntil(Clock::now() + kForeignInterval);
    }
  }

  asio::awaitable<absl::Status> LookAt(JobRow row) {
    auto args = ParseShownArgs(row.type, row.args);
    const absl::Duration timeout = args.ok() ? args->timeout : absl::Hours(1);
    const bool late = absl::Now() > row.created_at + timeout + kSlack * 2;
    auto states = co_await broker->States(row.group_uuid);
    if (states.ok() && !jobs::HaveEnded(*states) && late) {
      DF_CO_RETURN_IF_ERROR(co_await broker->Cancel(row.group_uuid, "the time of the job is over"));
      states = co_await broker->States(row.group_uuid);
    }
    if (states.ok() && jobs::HaveEnded(*states)) {
      co_return co_await End(row.id, row.type, jobs::StateOf(*states), ShowGroup(row.group_uuid, *states, absl::Now()));
    }
    if (!states.ok() && !absl::IsNotFound(states.status())) co_return states.status();
    if (states.ok()) {
      DF_CO_ASSIGN_OR_RETURN(const bool complete, co_await broker->IsSent(row.group_uuid));
      if (complete) co_return absl::OkStatus();
    }
    // Its manager has gone before all of it was sent; a second sending does nothing to what was sent.
    std::string reason;
    if (!args.ok()) reason = StrCat("its arguments cannot be read: ", MessageOf(args.status()));
    if (args.ok() && args->secret) {
      reason = "its manager has gone before the job was sent, and the credentials in it are not kept; create it again";
    }
    if (!states.ok() && late) reason = "nobody knows it any more";
    if (reason.empty()) {
      const JobKind kind = row.type == "preheat"    ? JobKind::kPreheat
                           : row.type == "get_task" ? JobKind::kGetTask
                                                    : JobKind::kDeleteTask;
      auto plan = co_await PlanOf(kind, *args, row.scheduler_clusters);
      if (absl::IsInvalidArgument(plan.status())) reason = std::string(MessageOf(plan.status()));
      if (!plan.ok() && reason.empty()) co_return plan.status();
      if (plan.ok()) {
        const absl::Status sent = co_await broker->Send(row.group_uuid, std::move(plan->messages));
        if (absl::IsAlreadyExists(sent)) co_return absl::OkStatus();
        if (sent.ok()) DF_LOG(Info, "job {}: sent again, after its manager has gone", row.id);
        co_return sent;
      }
    }
    // What of it is on its way all the same.
    if (states.ok()) DF_CO_RETURN_IF_ERROR(co_await broker->Cancel(row.group_uuid, reason));
    co_return co_await End(row.id, row.type, jobs::State::kFailure,
                           StrCat("{\"error\":", nlohmann::json(reason).dump(), "}"));
  }

  // -- Synchronous ones.
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
    DF_CO_ASSIGN_OR_RETURN(const auto all, co_await directory.Read(Clock::now() + kDatabaseTimeout));
    DF_CO_ASSIGN_OR_RETURN(const std::vector<Target> targets,
                           TargetsOf(*all, wanted, /*first_only=*/true, /*must_preheat=*/false));
    std::vector<jobs::Message> messages;
    for (const Target& target : targets) {
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
      const auto hosts = jobs::ParseHosts(states[i].results.front());
      absl::Status merged = hosts.status();
      if (hosts.ok()) {
        const db::Database::Work<bool> merge = [cluster, &hosts](db::Connection& connection) -> absl::StatusOr<bool> {
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
    oci::ImageUrl image;
    DF_CO_ASSIGN_OR_RETURN(const auto all, co_await directory.Read(Clock::now() + kDatabaseTimeout));
    DF_CO_ASSIGN_OR_RETURN(const std::vector<Target> targets, TargetsOf(*all, request.scheduler_clusters,
                                                                        /*first_only=*/false, /*must_preheat=*/false));
    DF_CO_ASSIGN_OR_RETURN(const oci::ResolvedImage resolved, co_await Resolve(request.args, &image));
    std::vector<std::string> layers;
    std::vector<jobs::Message> messages;
    for (const oci::Descriptor& blob : resolved.blobs) {
      const std::string url = image.BlobOf(blob.digest);
      layers.push_back(url);
      UrlTaskKey key;
      key.url = url;
      key.filtered_query_params = request.args.download.FilteredQueryParams();
      key.tag = request.args.download.tag;
      key.application = request.args.download.application;
      key.piece_length = request.args.download.piece_length;
      DF_CO_ASSIGN_OR_RETURN(const TaskId id, UrlTaskId(key));
      jobs::TaskRequest task;
      task.task_id = id.str();
      for (const Target& target : targets) {
        jobs::Message& message = messages.emplace_back();
        message.name = jobs::kGetTask;
        message.queue = target.queue;
        message.argument = jobs::ToJson(task);
      }
    }
    const TimePoint deadline = std::min<TimePoint>(In(request.args.timeout), Clock::now() + kSearchTimeout);
    DF_CO_ASSIGN_OR_RETURN(const std::vector<jobs::TaskState> states,
                           co_await AskAndWait(std::move(messages), deadline));
    co_return ShowImageDistribution(layers, targets.size(), states);
  }

  asio::awaitable<absl::StatusOr<std::string>> ListEntries(JobRequest request) {
    DF_CO_ASSIGN_OR_RETURN(const auto all, co_await directory.Read(Clock::now() + kDatabaseTimeout));
    DF_CO_ASSIGN_OR_RETURN(const std::vector<Target> targets,
                           TargetsOf(*all, request.scheduler_clusters, /*first_only=*/true, /*must_preheat=*/false));
    DF_CO_RETURN_IF_ERROR(CheckUrls(request.args.download.urls));
    const TimePoint deadline = std::min<TimePoint>(In(request.args.timeout), Clock::now() + kListTimeout);
    absl::Status last = absl::UnavailableError("no scheduler has answered");
    // One after another, so that the origin is asked once.
    for (const Target& target : targets) {
      jobs::Message message;
      message.name = jobs::kListTaskEntries;
      message.queue = target.queue;
      message.argument = ListRequestOf(request.args, absl::FromChrono(deadline - Clock::now()));
      DF_CO_ASSIGN_OR_RETURN(const std::vector<jobs::TaskState> states,
                             co_await AskAndWait({std::move(message)}, deadline));
      const jobs::TaskState& state = states.front();
      if (state.state == jobs::State::kSuccess && !state.results.empty()) co_return state.results.front();
      if (state.state == jobs::State::kFailure) last = absl::FailedPreconditionError(state.error);
    }
    co_return last;
  }

  std::string ListRequestOf(const JobArgs& args, absl::Duration timeout) const {
    jobs::TaskRequest asked;
    asked.url = args.download.urls.front();
    UrlTaskKey key;
    key.url = asked.url;
    key.filtered_query_params = args.download.FilteredQueryParams();
    key.tag = args.download.tag;
    key.application = args.download.application;
    key.piece_length = args.download.piece_length;
    if (const auto id = UrlTaskId(key); id.ok()) asked.task_id = id->str();
    asked.timeout = timeout;
    asked.headers = args.download.headers;
    asked.certificate_chain = tls.certificates;
    asked.object_storage = args.download.object_storage;
    asked.hdfs = args.download.hdfs;
    return jobs::ToJson(asked);
  }

  asio::awaitable<absl::StatusOr<std::vector<std::string>>> Ask(uint64_t cluster, std::string name,
                                                                std::string argument) {
    DF_CO_ASSIGN_OR_RETURN(const auto all, co_await directory.Read(Clock::now() + kDatabaseTimeout));
    DF_CO_ASSIGN_OR_RETURN(const std::vector<Target> targets,
                           TargetsOf(*all, {cluster}, /*first_only=*/false, /*must_preheat=*/false));
    std::vector<jobs::Message> messages;
    for (const Target& target : targets) {
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
  http::Networks forbidden;
  PreheatTls tls;
  std::unique_ptr<JobLimiter> limiter;
  std::unique_ptr<jobs::EmbeddedBroker> embedded;
  std::unique_ptr<jobs::RedisBroker> redis;
  jobs::Broker* broker = nullptr;           // one of the two
  std::unique_ptr<JobForwarder> forwarder;  // of the embedded one
  std::unique_ptr<http::CurlClient> http;   // made, used and freed on the thread of io
  std::set<int64_t> own;                    // jobs that are watched here
  bool syncing = false;
  runtime::TaskGroup group;
};

JobService::JobService(std::unique_ptr<State> state) : state_(std::move(state)) {}
JobService::~JobService() = default;

absl::StatusOr<std::unique_ptr<JobService>> JobService::Make(asio::io_context& io, db::Database& database,
                                                             DirectoryReader& directory, Probe& probe,
                                                             const ManagerConfig& config, telemetry::Tracer* tracer) {
  auto state = std::make_unique<State>(io, database, directory, probe, config);
  auto forbidden = http::Networks::Parse(config.job.preheat.forbidden_networks);
  if (!forbidden.ok()) return Annotate(forbidden.status(), "job.preheat.forbiddenNetworks");
  const auto allowed = http::Networks::Parse(config.job.preheat.allowed_networks);
  if (!allowed.ok()) return Annotate(allowed.status(), "job.preheat.allowedNetworks");
  forbidden->Except(*allowed);
  state->forbidden = *std::move(forbidden);
  DF_ASSIGN_OR_RETURN(state->tls, LoadPreheatTls(config));
  rpc::TlsFiles schedulers = rpc::FilesOf(config.scheduler.tls, "scheduler.tls");
  DF_RETURN_IF_ERROR(rpc::CheckTlsFiles(schedulers));
  state->http = std::make_unique<http::CurlClient>(io, state->forbidden);
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
  return std::unique_ptr<JobService>(new JobService(std::move(state)));
}

void JobService::Start() {
  State& state = *state_;
  if (state.redis != nullptr) state.group.Spawn(state.redis->ListenForEnds());
  if (state.forwarder != nullptr) state.forwarder->Start();
  state.group.Spawn(state.Adopt());
  state.group.Spawn(state.CollectForever());
  state.group.Spawn(state.SyncForever());
}

asio::awaitable<void> JobService::Stop() {
  State* const state = state_.get();
  co_await state->group.Stop();
  const auto end = [](State* self) -> asio::awaitable<bool> {
    if (self->forwarder != nullptr) co_await self->forwarder->Stop();
    self->http.reset();
    co_return true;
  };
  (void)co_await runtime::RunOn<bool>(state->io.get_executor(), end(state));
}

asio::awaitable<absl::Status> JobService::Admit(const JobRequest& request, absl::Duration* retry_after) {
  DF_CO_ASSIGN_OR_RETURN(const auto all, co_await state_->directory.Read(Clock::now() + kDatabaseTimeout));
  DF_CO_ASSIGN_OR_RETURN(const std::vector<uint64_t> clusters, State::ClustersOf(*all, request.scheduler_clusters));
  std::vector<JobLimiter::Limit> limits;
  for (const uint64_t id : clusters) limits.push_back({id, RateOf(all->scheduler_clusters.at(id))});
  co_return co_await state_->limiter->Take(std::move(limits), retry_after);
}

JobService::Result<int64_t> JobService::Create(JobRequest request, int64_t user_id) {
  state_->probe.CountJob(std::string(NameOf(request.kind)));
  co_return co_await Traced<int64_t>(request, state_->OnHome<int64_t>(state_->Create(request, user_id)));
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
