// SPDX-License-Identifier: Apache-2.0
#include "manager/job_table.h"

#include <nlohmann/json.hpp>

#include "absl/strings/str_join.h"
#include "base/status.h"
#include "base/text.h"
#include "db/value.h"
#include "manager/resource.h"

namespace dragonfly::manager {
namespace {

using Json = nlohmann::ordered_json;

// What the column of the original holds in MySQL.
constexpr size_t kShortResultMax = 65'535;
constexpr absl::Duration kKeptByDefault = absl::Hours(6);
// Longer than any job may take.
constexpr absl::Duration kEndlessAfter = absl::Hours(24 * 8);

absl::Status LinkTo(db::Connection& connection, int64_t id, const char* table, const char* column,
                    const std::vector<uint64_t>& clusters) {
  for (const uint64_t cluster : clusters) {
    DF_RETURN_IF_ERROR(connection
                           .Execute(StrCat("INSERT INTO ", table, " (job_id, ", column, ") VALUES (?, ?)"),
                                    {id, static_cast<int64_t>(cluster)})
                           .status());
  }
  return absl::OkStatus();
}

absl::StatusOr<Json> ClustersOf(db::Connection& connection, int64_t id, const char* table, const char* column,
                                const char* path) {
  DF_ASSIGN_OR_RETURN(const db::Rows rows,
                      connection.Select({column}, StrCat("FROM ", table, " WHERE job_id = ? ORDER BY ", column), {id}));
  Json clusters = Json::array();
  for (const db::Row& row : rows) {
    const auto shown = ShowRow(connection, *FindResource(path), row.Int(0));
    if (absl::IsNotFound(shown.status())) continue;
    if (!shown.ok()) return shown.status();
    clusters.push_back(Json::parse(*shown, nullptr, /*allow_exceptions=*/false));
  }
  return clusters;
}

absl::StatusOr<std::vector<uint64_t>> IdsOf(db::Connection& connection, int64_t id, const char* table,
                                            const char* column) {
  DF_ASSIGN_OR_RETURN(const db::Rows rows,
                      connection.Select({column}, StrCat("FROM ", table, " WHERE job_id = ?"), {id}));
  std::vector<uint64_t> ids;
  for (const db::Row& row : rows) ids.push_back(static_cast<uint64_t>(row.Int(0)));
  return ids;
}

absl::StatusOr<JobRow> ToJob(db::Connection& connection, const db::Row& row) {
  JobRow job;
  job.id = row.Int(0);
  job.group_uuid = row.Text(1);
  job.type = row.Text(2);
  job.args = row.Text(3);
  job.state = row.Text(4);
  job.created_at = row.Time(5).value_or(absl::UnixEpoch());
  DF_ASSIGN_OR_RETURN(job.scheduler_clusters,
                      IdsOf(connection, job.id, "job_scheduler_cluster", "scheduler_cluster_id"));
  return job;
}

const std::vector<std::string> kColumns = {"id", "task_id", "type", "args", "state", "created_at"};

}  // namespace

absl::StatusOr<int64_t> InsertJob(db::Connection& connection, const JobRow& row) {
  const std::string now = db::TimeText(absl::Now());
  DF_ASSIGN_OR_RETURN(
      const int64_t id,
      connection.Insert("INSERT INTO job (created_at, updated_at, is_del, task_id, bio, type, state, "
                        "args, user_id) VALUES (?, ?, 0, ?, ?, ?, ?, ?, ?)",
                        {now, now, row.group_uuid, row.bio, row.type, row.state, row.args, row.user_id}));
  DF_RETURN_IF_ERROR(LinkTo(connection, id, "job_scheduler_cluster", "scheduler_cluster_id", row.scheduler_clusters));
  DF_RETURN_IF_ERROR(LinkTo(connection, id, "job_seed_peer_cluster", "seed_peer_cluster_id", row.seed_peer_clusters));
  return id;
}

absl::StatusOr<bool> EndJob(db::Connection& connection, int64_t id, const std::string& state,
                            const std::string& result) {
  // Original managers up to v2.3.0 read the first of the two, later ones the second.
  const db::Value brief = result.size() > kShortResultMax ? db::Value(db::Null{}) : db::Value(result);
  DF_ASSIGN_OR_RETURN(const int64_t changed,
                      connection.Execute("UPDATE job SET updated_at = ?, state = ?, result = ?, task_result = ? "
                                         "WHERE id = ? AND state = 'PENDING'",
                                         {db::TimeText(absl::Now()), state, brief, result, id}));
  return changed == 1;
}

absl::StatusOr<std::vector<JobRow>> PendingJobs(db::Connection& connection, absl::Time before, int64_t max) {
  DF_ASSIGN_OR_RETURN(
      const db::Rows rows,
      connection.Select(kColumns,
                        "FROM job WHERE is_del = 0 AND state = 'PENDING' AND created_at < ? AND type IN "
                        "('preheat', 'get_task', 'delete_task') ORDER BY created_at, id LIMIT ?",
                        {db::TimeText(before), max}));
  std::vector<JobRow> jobs;
  for (const db::Row& row : rows) {
    DF_ASSIGN_OR_RETURN(JobRow job, ToJob(connection, row));
    jobs.push_back(std::move(job));
  }
  return jobs;
}

absl::StatusOr<JobRow> FindJob(db::Connection& connection, int64_t id) {
  DF_ASSIGN_OR_RETURN(const db::Rows rows, connection.Select(kColumns, "FROM job WHERE id = ? AND is_del = 0", {id}));
  if (rows.empty()) return absl::NotFoundError("record not found");
  return ToJob(connection, rows.front());
}

absl::StatusOr<std::string> ShowJob(db::Connection& connection, int64_t id) {
  DF_ASSIGN_OR_RETURN(const std::string text, ShowRow(connection, *FindResource("jobs"), id));
  Json job = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!job.is_object()) return absl::InternalError(StrCat("job ", id, " cannot be shown"));
  DF_ASSIGN_OR_RETURN(job["scheduler_clusters"], ClustersOf(connection, id, "job_scheduler_cluster",
                                                            "scheduler_cluster_id", "scheduler-clusters"));
  DF_ASSIGN_OR_RETURN(job["seed_peer_clusters"], ClustersOf(connection, id, "job_seed_peer_cluster",
                                                            "seed_peer_cluster_id", "seed-peer-clusters"));
  if (job["result"].is_null()) {
    DF_ASSIGN_OR_RETURN(const db::Rows rows,
                        connection.Select({"task_result"}, "FROM job WHERE id = ? AND is_del = 0", {id}));
    if (!rows.empty() && !rows.front().Text(0).empty()) {
      Json result = Json::parse(rows.front().Text(0), nullptr, /*allow_exceptions=*/false);
      if (!result.is_discarded()) job["result"] = std::move(result);
    }
  }
  return job.dump(-1, ' ', false, Json::error_handler_t::replace);
}

absl::StatusOr<absl::Duration> KeptFor(db::Connection& connection, const std::string& type) {
  DF_ASSIGN_OR_RETURN(const db::Rows rows, connection.Select({"value"}, "FROM config WHERE name = 'gc'"));
  if (rows.empty()) return kKeptByDefault;
  const Json config = Json::parse(rows.front().Text(0), nullptr, /*allow_exceptions=*/false);
  if (!config.is_object() || !config.contains(type) || !config[type].is_object()) return kKeptByDefault;
  const auto ttl = config[type].find("ttl");
  if (ttl == config[type].end() || !ttl->is_number_integer() || ttl->get<int64_t>() <= 0) return kKeptByDefault;
  return absl::Nanoseconds(ttl->get<int64_t>());
}

absl::StatusOr<int64_t> ExpireJobs(db::Connection& connection, absl::Time now, int64_t max) {
  DF_ASSIGN_OR_RETURN(const absl::Duration kept, KeptFor(connection, "job"));
  DF_ASSIGN_OR_RETURN(const db::Rows rows,
                      connection.Select({"id"},
                                        "FROM job WHERE created_at < ? AND (state <> 'PENDING' OR created_at < ?) "
                                        "ORDER BY created_at LIMIT ?",
                                        {db::TimeText(now - kept), db::TimeText(now - kEndlessAfter), max}));
  if (rows.empty()) return 0;
  db::Values ids;
  for (const db::Row& row : rows) ids.emplace_back(row.Int(0));
  const std::string list = absl::StrJoin(std::vector<std::string>(ids.size(), "?"), ", ");
  for (const char* const table : {"job_scheduler_cluster", "job_seed_peer_cluster"}) {
    DF_RETURN_IF_ERROR(
        connection.Execute(StrCat("DELETE FROM ", table, " WHERE job_id IN (", list, ")"), ids).status());
  }
  return connection.Execute(StrCat("DELETE FROM job WHERE id IN (", list, ")"), ids);
}

}  // namespace dragonfly::manager
