// SPDX-License-Identifier: Apache-2.0
#include "manager/rest_jobs.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/status.h"
#include "base/text.h"
#include "manager/job_args.h"
#include "manager/job_table.h"
#include "manager/jobs.h"
#include "manager/resource.h"

namespace dragonfly::manager {
namespace {

namespace asio = boost::asio;
using Json = nlohmann::ordered_json;

// In the original's words, and with the time after which it is worth another try.
http::Response TooMany(absl::Duration retry_after) {
  http::Response response;
  response.status = 429;
  response.header.emplace_back("Content-Type", "text/plain; charset=utf-8");
  response.header.emplace_back(
      "Retry-After", StrCat(static_cast<int64_t>(std::ceil(std::max(1.0, absl::ToDoubleSeconds(retry_after))))));
  response.body = "rate limit exceeded";
  return response;
}

// The answer when the clusters of the job have had enough for now.
asio::awaitable<absl::StatusOr<std::optional<http::Response>>> RefusedForRate(RestContext& context,
                                                                              const JobRequest& request) {
  absl::Duration retry_after;
  const absl::Status admitted = co_await context.jobs->Admit(request, &retry_after);
  if (absl::IsResourceExhausted(admitted) && retry_after > absl::ZeroDuration()) co_return TooMany(retry_after);
  DF_CO_RETURN_IF_ERROR(admitted);
  co_return std::nullopt;
}

asio::awaitable<RestAnswer> ShowById(RestContext& context, int64_t id) {
  const db::Database::Work<std::string> show = [id](db::Connection& connection) { return ShowJob(connection, id); };
  DF_CO_ASSIGN_OR_RETURN(std::string body, co_await context.Read<std::string>(show));
  co_return JsonResponse(std::move(body));
}

asio::awaitable<absl::StatusOr<JobRow>> Find(RestContext& context, int64_t id) {
  const db::Database::Work<JobRow> find = [id](db::Connection& connection) { return FindJob(connection, id); };
  co_return co_await context.Read<JobRow>(find);
}

// What its schedulers say by now, which the row says when it has ended.
asio::awaitable<std::optional<JobService::Current>> CurrentOf(RestContext& context, const JobRow& row) {
  if (row.state != "PENDING" || row.type == "gc") co_return std::nullopt;
  auto current = co_await context.jobs->Look(row.type, row.group_uuid);
  if (!current.ok()) co_return std::nullopt;
  co_return *std::move(current);
}

}  // namespace

asio::awaitable<RestAnswer> CreateJob(RestContext& context, RestCall call) {
  DF_CO_ASSIGN_OR_RETURN(JobRequest request, ParseJobRequest(call.body));
  DF_CO_ASSIGN_OR_RETURN(std::optional<http::Response> refused, co_await RefusedForRate(context, request));
  if (refused.has_value()) co_return *std::move(refused);
  request.span = call.span;
  const int64_t user_id = call.caller.user_id;
  switch (request.kind) {
    case JobKind::kSyncPeers:
      DF_CO_RETURN_IF_ERROR(co_await context.jobs->SyncPeers(std::move(request)));
      co_return JsonResponse("\"OK\"");
    case JobKind::kGetImageDistribution: {
      DF_CO_ASSIGN_OR_RETURN(std::string body, co_await context.jobs->GetImageDistribution(std::move(request)));
      co_return JsonResponse(std::move(body));
    }
    case JobKind::kListTaskEntries: {
      DF_CO_ASSIGN_OR_RETURN(std::string body, co_await context.jobs->ListEntries(std::move(request)));
      co_return JsonResponse(std::move(body));
    }
    case JobKind::kGc: {
      DF_CO_ASSIGN_OR_RETURN(const int64_t id, co_await context.jobs->CollectGarbage(request.args.gc, user_id));
      co_return co_await ShowById(context, id);
    }
    default: {
      DF_CO_ASSIGN_OR_RETURN(const int64_t id, co_await context.jobs->Create(std::move(request), user_id));
      co_return co_await ShowById(context, id);
    }
  }
}

asio::awaitable<RestAnswer> GetJob(RestContext& context, RestCall call) {
  DF_CO_ASSIGN_OR_RETURN(const int64_t id, call.Id());
  struct Seen {
    JobRow row;
    std::string body;
  };
  const db::Database::Work<Seen> see = [id](db::Connection& connection) -> absl::StatusOr<Seen> {
    Seen seen;
    DF_ASSIGN_OR_RETURN(seen.row, FindJob(connection, id));
    DF_ASSIGN_OR_RETURN(seen.body, ShowJob(connection, id));
    return seen;
  };
  DF_CO_ASSIGN_OR_RETURN(Seen seen, co_await context.Read<Seen>(see));
  const std::optional<JobService::Current> current = co_await CurrentOf(context, seen.row);
  if (!current.has_value()) co_return JsonResponse(std::move(seen.body));
  RestAnswer answer = co_await ShowById(context, id);
  if (!answer.ok()) co_return answer;
  Json job = Json::parse(answer->body, nullptr, /*allow_exceptions=*/false);
  // The row may have got its own meanwhile.
  if (!job.is_object() || job["state"] != "PENDING") co_return answer;
  Json result = Json::parse(current->result, nullptr, /*allow_exceptions=*/false);
  if (!result.is_discarded()) job["result"] = std::move(result);
  answer->body = job.dump(-1, ' ', false, Json::error_handler_t::replace);
  co_return answer;
}

asio::awaitable<RestAnswer> DeleteJob(RestContext& context, RestCall call) {
  DF_CO_ASSIGN_OR_RETURN(const int64_t id, call.Id());
  DF_CO_ASSIGN_OR_RETURN(const JobRow row, co_await Find(context, id));
  if (row.state == "PENDING" && row.type != "gc") {
    DF_CO_RETURN_IF_ERROR(co_await context.jobs->Cancel(row.group_uuid));
  }
  static const RestHandler remove = DeleteHandler(*FindResource("jobs"));
  co_return co_await remove(context, std::move(call));
}

asio::awaitable<RestAnswer> CreateHarborPreheat(RestContext& context, RestCall call) {
  DF_CO_ASSIGN_OR_RETURN(JobRequest request, ParseHarborRequest(call.body));
  DF_CO_ASSIGN_OR_RETURN(std::optional<http::Response> refused, co_await RefusedForRate(context, request));
  if (refused.has_value()) co_return *std::move(refused);
  request.span = call.span;
  DF_CO_ASSIGN_OR_RETURN(const int64_t id, co_await context.jobs->Create(std::move(request), call.caller.user_id));
  co_return JsonResponse(StrCat("{\"id\":\"", id, "\"}"));
}

asio::awaitable<RestAnswer> GetHarborPreheat(RestContext& context, RestCall call) {
  DF_CO_ASSIGN_OR_RETURN(const int64_t id, call.Id());
  DF_CO_ASSIGN_OR_RETURN(const JobRow row, co_await Find(context, id));
  const std::optional<JobService::Current> current = co_await CurrentOf(context, row);
  const std::string state = current.has_value() ? current->state : row.state;
  const db::Database::Work<absl::Time> changed = [id](db::Connection& connection) -> absl::StatusOr<absl::Time> {
    DF_ASSIGN_OR_RETURN(const db::Rows rows, connection.Select({"updated_at"}, "FROM job WHERE id = ?", {id}));
    return rows.empty() ? absl::UnixEpoch() : rows.front().Time(0).value_or(absl::UnixEpoch());
  };
  DF_CO_ASSIGN_OR_RETURN(const absl::Time updated_at, co_await context.Read<absl::Time>(changed));
  const auto go_time = [](absl::Time time) {
    return absl::FormatTime("%Y-%m-%d %H:%M:%E*S +0000 UTC", time, absl::UTCTimeZone());
  };
  const char* status = "FAIL";
  if (state == "PENDING" || state == "RECEIVED" || state == "RETRY") status = "WAITING";
  if (state == "STARTED") status = "RUNNING";
  if (state == "SUCCESS") status = "SUCCESS";
  co_return JsonResponse(Json{
      {"id", StrCat(id)},
      {"status", status},
      {"startTime", go_time(row.created_at)},
      {"finishTime",
       go_time(updated_at)}}.dump());
}

}  // namespace dragonfly::manager
