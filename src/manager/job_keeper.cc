// SPDX-License-Identifier: Apache-2.0
#include "manager/job_keeper.h"

#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/status.h"
#include "base/text.h"
#include "manager/job_result.h"
#include "manager/json_body.h"
#include "runtime/timeout.h"
#include "telemetry/log.h"

namespace dragonfly::manager {
namespace asio = boost::asio;
namespace {

// What other managers have made is looked at when it is that old, and so often.
constexpr absl::Duration kForeignAge = absl::Seconds(20);
constexpr std::chrono::seconds kForeignInterval{10};
constexpr int64_t kForeignMax = 1000;
// Beyond the time that a job gives its schedulers.
constexpr absl::Duration kSlack = absl::Seconds(60);

}  // namespace

asio::awaitable<absl::StatusOr<int64_t>> JobKeeper::Create(JobRequest request, int64_t user_id) {
  DF_CO_ASSIGN_OR_RETURN(JobPlan plan, co_await planner_.Plan(request.kind, request.args, request.scheduler_clusters));
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
  DF_CO_ASSIGN_OR_RETURN(const int64_t id,
                         co_await database_.Transact<int64_t>(insert, Clock::now() + kJobDatabaseTimeout));
  own_.insert(id);
  // Also when whoever asked for it goes away in the midst of this: the job is then looked at as one of others.
  bool watched = false;
  const std::shared_ptr<void> gone(nullptr, [this, id, &watched](void*) {
    if (!watched) own_.erase(id);
  });
  const absl::Status sent = co_await broker_.Send(row.group_uuid, std::move(plan.messages));
  if (!sent.ok()) {
    (void)co_await broker_.Cancel(row.group_uuid, "it could not be sent as a whole");
    (void)co_await End(id, row.type, jobs::State::kFailure, DumpJson({{"error", std::string(MessageOf(sent))}}));
    co_return Annotate(sent, "send the job to its schedulers");
  }
  watched = true;
  group_.Spawn(
      Watch(id, row.type, row.group_uuid, Clock::now() + absl::ToChronoNanoseconds(request.args.timeout + kSlack)));
  co_return id;
}

asio::awaitable<absl::Status> JobKeeper::End(int64_t id, std::string type, jobs::State state, std::string result) {
  const std::string name(jobs::NameOf(state));
  const db::Database::Work<bool> end = [id, name, result](db::Connection& connection) {
    return EndJob(connection, id, name, result);
  };
  const auto ended = co_await database_.Transact<bool>(end, Clock::now() + kJobDatabaseTimeout);
  if (!ended.ok()) co_return ended.status();
  if (*ended && state == jobs::State::kSuccess) probe_.CountJobSuccess(type);
  if (*ended) DF_LOG(Info, "job {}, {}: {}", id, type, name);
  co_return absl::OkStatus();
}

// Until the job has ended, or its time is over; the database may be away meanwhile.
asio::awaitable<void> JobKeeper::Watch(int64_t id, std::string type, std::string group_uuid, TimePoint deadline) {
  const std::shared_ptr<void> gone(nullptr, [this, id](void*) { own_.erase(id); });
  for (;;) {
    auto states = co_await broker_.Await(group_uuid, deadline);
    if (states.ok() && !jobs::HaveEnded(*states)) {
      const absl::Status cancelled = co_await broker_.Cancel(group_uuid, "the time of the job is over");
      if (cancelled.ok()) states = co_await broker_.States(group_uuid);
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
asio::awaitable<void> JobKeeper::Adopt() {
  for (;;) {
    const absl::Time before = absl::Now() - kForeignAge;
    const db::Database::Work<std::vector<JobRow>> find = [before](db::Connection& connection) {
      return PendingJobs(connection, before, kForeignMax);
    };
    const auto rows = co_await database_.Transact<std::vector<JobRow>>(find, Clock::now() + kJobDatabaseTimeout);
    if (!rows.ok()) DF_LOG(Warn, "look for jobs without a manager: {}", MessageOf(rows.status()));
    if (rows.ok()) {
      for (const JobRow& row : *rows) {
        if (own_.contains(row.id)) continue;
        const absl::Status status = co_await LookAt(row);
        if (!status.ok()) DF_LOG(Warn, "job {}: {}", row.id, MessageOf(status));
      }
    }
    co_await runtime::SleepUntil(Clock::now() + kForeignInterval);
  }
}

asio::awaitable<absl::Status> JobKeeper::LookAt(JobRow row) {
  auto args = ParseShownArgs(row.type, row.args);
  const absl::Duration timeout = args.ok() ? args->timeout : absl::Hours(1);
  const bool late = absl::Now() > row.created_at + timeout + kSlack * 2;
  auto states = co_await broker_.States(row.group_uuid);
  if (states.ok() && !jobs::HaveEnded(*states) && late) {
    DF_CO_RETURN_IF_ERROR(co_await broker_.Cancel(row.group_uuid, "the time of the job is over"));
    states = co_await broker_.States(row.group_uuid);
  }
  if (states.ok() && jobs::HaveEnded(*states)) {
    co_return co_await End(row.id, row.type, jobs::StateOf(*states), ShowGroup(row.group_uuid, *states, absl::Now()));
  }
  if (!states.ok() && !absl::IsNotFound(states.status())) co_return states.status();
  if (states.ok()) {
    DF_CO_ASSIGN_OR_RETURN(const bool complete, co_await broker_.IsSent(row.group_uuid));
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
    auto plan = co_await planner_.Plan(kind, *args, row.scheduler_clusters);
    if (absl::IsInvalidArgument(plan.status())) reason = std::string(MessageOf(plan.status()));
    if (!plan.ok() && reason.empty()) co_return plan.status();
    if (plan.ok()) {
      const absl::Status sent = co_await broker_.Send(row.group_uuid, std::move(plan->messages));
      if (absl::IsAlreadyExists(sent)) co_return absl::OkStatus();
      if (sent.ok()) DF_LOG(Info, "job {}: sent again, after its manager has gone", row.id);
      co_return sent;
    }
  }
  // What of it is on its way all the same.
  if (states.ok()) DF_CO_RETURN_IF_ERROR(co_await broker_.Cancel(row.group_uuid, reason));
  co_return co_await End(row.id, row.type, jobs::State::kFailure, DumpJson({{"error", reason}}));
}

}  // namespace dragonfly::manager
