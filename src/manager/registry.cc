// SPDX-License-Identifier: Apache-2.0
#include "manager/registry.h"

#include <nlohmann/json.hpp>
#include <string_view>

#include "base/status.h"
#include "base/text.h"
#include "manager/cluster_config.h"

namespace dragonfly::manager {
namespace {

using db::Connection;
using db::Values;

int64_t Signed(uint64_t id) { return static_cast<int64_t>(id); }

absl::Status RequireCluster(Connection& connection, std::string_view table, uint64_t id) {
  DF_ASSIGN_OR_RETURN(const db::Rows rows,
                      connection.Select({"id"}, StrCat("FROM ", table, " WHERE id = ? AND is_del = 0"), {Signed(id)}));
  if (!rows.empty()) return absl::OkStatus();
  std::string name(table);
  for (char& c : name) c = c == '_' ? ' ' : c;
  return absl::NotFoundError(StrCat(name, " ", id, " not found"));
}

// An empty new value leaves the old one.
std::string KeepIfEmpty(std::string_view column) {
  return StrCat(column, " = CASE WHEN ? = '' THEN ", column, " ELSE ? END");
}
void Twice(Values& values, const std::string& text) {
  values.emplace_back(text);
  values.emplace_back(text);
}

void AddInstance(Values& values, const Instance& instance) {
  values.emplace_back(instance.hostname);
  values.emplace_back(instance.ip);
  values.emplace_back(Signed(instance.cluster_id));
}

struct Naming {
  std::string_view table;
  std::string_view cluster_column;
};

Naming NamesOf(InstanceKind kind) {
  if (kind == InstanceKind::kScheduler) return {"scheduler", "scheduler_cluster_id"};
  return {"seed_peer", "seed_peer_cluster_id"};
}

// " WHERE host_name = ? AND ...", and its values.
std::string WhereInstance(const Naming& names, const Instance& instance, Values& values) {
  values.emplace_back(instance.hostname);
  values.emplace_back(Signed(instance.cluster_id));
  std::string where = StrCat(" WHERE host_name = ? AND ", names.cluster_column, " = ? AND is_del = 0");
  if (!instance.ip.empty()) {
    values.emplace_back(instance.ip);
    where += " AND ip = ?";
  }
  return where;
}

absl::StatusOr<std::optional<int64_t>> FindId(Connection& connection, InstanceKind kind, const Instance& instance) {
  Values values;
  const Naming names = NamesOf(kind);
  const std::string where = WhereInstance(names, instance, values);
  DF_ASSIGN_OR_RETURN(const db::Rows rows,
                      connection.Select({"id"}, StrCat("FROM ", names.table, where, " ORDER BY id LIMIT 1"), values));
  if (rows.empty()) return std::optional<int64_t>();
  return std::optional<int64_t>(rows.front().Int(0));
}

}  // namespace

absl::StatusOr<int64_t> RegisterScheduler(Connection& connection, const SchedulerReport& report) {
  DF_RETURN_IF_ERROR(RequireCluster(connection, "scheduler_cluster", report.instance.cluster_id));
  DF_ASSIGN_OR_RETURN(const std::optional<int64_t> id, FindId(connection, InstanceKind::kScheduler, report.instance));
  const std::string now = db::TimeText(absl::Now());
  const db::Value config = report.config.empty() ? db::Value(db::Null()) : db::Value(report.config);
  if (id.has_value()) {
    Values values = {now, report.port, report.features, config};
    Twice(values, report.idc);
    Twice(values, report.location);
    values.emplace_back(*id);
    DF_RETURN_IF_ERROR(connection
                           .Execute(StrCat("UPDATE scheduler SET updated_at = ?, port = ?, features = ?, config = ?, ",
                                           KeepIfEmpty("idc"), ", ", KeepIfEmpty("location"), " WHERE id = ?"),
                                    values)
                           .status());
    return *id;
  }
  Values values = {now, now, report.idc, report.location, report.port, report.features, config};
  AddInstance(values, report.instance);
  return connection.Insert(
      "INSERT INTO scheduler (created_at, updated_at, is_del, idc, location, port, features, config, state, host_name, "
      "ip, scheduler_cluster_id) VALUES (?, ?, 0, ?, ?, ?, ?, ?, 'inactive', ?, ?, ?)",
      values);
}

absl::StatusOr<int64_t> RegisterSeedPeer(Connection& connection, const SeedPeerReport& report) {
  DF_RETURN_IF_ERROR(RequireCluster(connection, "seed_peer_cluster", report.instance.cluster_id));
  DF_ASSIGN_OR_RETURN(const std::optional<int64_t> id, FindId(connection, InstanceKind::kSeedPeer, report.instance));
  const std::string now = db::TimeText(absl::Now());
  if (id.has_value()) {
    Values values = {now, report.port, report.download_port};
    Twice(values, report.type);
    Twice(values, report.idc);
    Twice(values, report.location);
    values.emplace_back(*id);
    DF_RETURN_IF_ERROR(
        connection
            .Execute(
                StrCat("UPDATE seed_peer SET updated_at = ?, port = ?, download_port = ?, state = 'active', ",
                       KeepIfEmpty("type"), ", ", KeepIfEmpty("idc"), ", ", KeepIfEmpty("location"), " WHERE id = ?"),
                values)
            .status());
    return *id;
  }
  Values values = {now, now, report.type, report.idc, report.location, report.port, report.download_port};
  AddInstance(values, report.instance);
  return connection.Insert(
      "INSERT INTO seed_peer (created_at, updated_at, is_del, type, idc, location, port, download_port, "
      "object_storage_port, state, host_name, ip, seed_peer_cluster_id) "
      "VALUES (?, ?, 0, ?, ?, ?, ?, ?, 0, 'active', ?, ?, ?)",
      values);
}

absl::StatusOr<int64_t> RemoveSeedPeer(Connection& connection, const Instance& instance) {
  Values values;
  const std::string where = WhereInstance(NamesOf(InstanceKind::kSeedPeer), instance, values);
  return connection.Execute(StrCat("DELETE FROM seed_peer", where), values);
}

absl::Status KeepActive(Connection& connection, InstanceKind kind, const Instance& instance, absl::Time now) {
  DF_ASSIGN_OR_RETURN(const std::optional<int64_t> id, FindId(connection, kind, instance));
  if (!id.has_value()) {
    return absl::NotFoundError(StrCat(kind == InstanceKind::kScheduler ? "scheduler " : "seed peer ",
                                      Quoted(instance.hostname), " ", instance.ip, " of cluster ", instance.cluster_id,
                                      " not found"));
  }
  const std::string time = db::TimeText(now);
  if (kind == InstanceKind::kScheduler) {
    return connection
        .Execute("UPDATE scheduler SET state = 'active', last_keep_alive_at = ?, updated_at = ? WHERE id = ?",
                 {time, time, *id})
        .status();
  }
  // Most of the time there is nothing to write.
  DF_ASSIGN_OR_RETURN(const db::Rows rows, connection.Select({"state"}, "FROM seed_peer WHERE id = ?", {*id}));
  if (!rows.empty() && rows.front().Text(0) == "active") return absl::OkStatus();
  return connection.Execute("UPDATE seed_peer SET state = 'active', updated_at = ? WHERE id = ?", {time, *id}).status();
}

absl::Status MakeInactive(Connection& connection, InstanceKind kind, const Instance& instance, absl::Time last_heard) {
  const Naming names = NamesOf(kind);
  Values values = {db::TimeText(absl::Now())};
  std::string where = WhereInstance(names, instance, values);
  std::string forget;
  if (kind == InstanceKind::kScheduler) {
    // A manager of v2.3.0 that takes the scheduler over writes no times: none must be left to expire.
    forget = ", last_keep_alive_at = NULL";
    where += " AND (last_keep_alive_at IS NULL OR last_keep_alive_at <= ?)";
    values.emplace_back(db::TimeText(last_heard));
  }
  return connection
      .Execute(StrCat("UPDATE ", names.table, " SET state = 'inactive', updated_at = ?", forget, where), values)
      .status();
}

absl::StatusOr<int64_t> ExpireSchedulers(Connection& connection, absl::Time since) {
  return connection.Execute(
      "UPDATE scheduler SET state = 'inactive', last_keep_alive_at = NULL, updated_at = ? "
      "WHERE state = 'active' AND last_keep_alive_at IS NOT NULL AND last_keep_alive_at < ?",
      {db::TimeText(absl::Now()), db::TimeText(since)});
}

absl::StatusOr<int64_t> ExpireAudits(Connection& connection, absl::Time now, int64_t most) {
  absl::Duration age = absl::Hours(7 * 24);
  DF_ASSIGN_OR_RETURN(const db::Rows configs, connection.Select({"value"}, "FROM config WHERE name = 'gc'"));
  if (!configs.empty() && !CheckGcConfig(configs.front().Text(0)).has_value()) {
    const auto value = nlohmann::json::parse(configs.front().Text(0));
    age = absl::Nanoseconds(value.at("audit").at("ttl").get<int64_t>());
  }
  // The largest number of the batch: MySQL takes no LIMIT within a DELETE's own table.
  DF_ASSIGN_OR_RETURN(const db::Rows batch,
                      connection.Select({"id"}, "FROM audit WHERE created_at < ? ORDER BY id LIMIT ?",
                                        {db::TimeText(now - age), most}));
  if (batch.empty()) return 0;
  return connection.Execute("DELETE FROM audit WHERE created_at < ? AND id <= ?",
                            {db::TimeText(now - age), batch.back().Int(0)});
}

absl::StatusOr<int64_t> ForgetInactive(Connection& connection, absl::Time before, int64_t most) {
  int64_t forgotten = 0;
  const std::string since = db::TimeText(before);
  for (const char* const table : {"scheduler", "seed_peer"}) {
    const std::string gone = "WHERE state = 'inactive' AND updated_at < ?";
    DF_ASSIGN_OR_RETURN(
        const db::Rows batch,
        connection.Select({"id"}, StrCat("FROM ", table, " ", gone, " ORDER BY id LIMIT ?"), {since, most}));
    if (batch.empty()) continue;
    // The condition once more: who has come back meanwhile stays.
    DF_ASSIGN_OR_RETURN(
        const int64_t deleted,
        connection.Execute(StrCat("DELETE FROM ", table, " ", gone, " AND id <= ?"), {since, batch.back().Int(0)}));
    forgotten += deleted;
  }
  return forgotten;
}

absl::StatusOr<std::vector<ApplicationRow>> ListApplications(Connection& connection) {
  DF_ASSIGN_OR_RETURN(const db::Rows rows,
                      connection.Select({"id", "name", "url", "bio", "priority"},
                                        "FROM application WHERE is_del = 0 AND priority <> '' ORDER BY id"));
  std::vector<ApplicationRow> applications;
  for (const db::Row& row : rows) {
    ApplicationRow& application = applications.emplace_back();
    application.id = static_cast<uint64_t>(row.Int(0));
    application.name = row.Text(1);
    application.url = row.Text(2);
    application.bio = row.Text(3);
    application.priority = row.Text(4);
  }
  return applications;
}

}  // namespace dragonfly::manager
