// SPDX-License-Identifier: Apache-2.0
#include "manager/schema.h"

#include <set>
#include <string_view>

#include "absl/strings/str_join.h"
#include "base/status.h"
#include "base/text.h"
#include "db/migration.h"

namespace dragonfly::manager {
namespace {

using db::Engine;

enum class Type { kName, kShort, kLine, kText, kLongText, kInt, kBigint, kBool, kTime, kStamp };

struct Column {
  const char* name;
  Type type;
  const char* rest = "";  // NOT NULL, DEFAULT
};

struct Index {
  const char* name;
  std::vector<const char*> columns;
  bool unique = true;
};

struct Table {
  const char* name;
  std::vector<Column> columns;  // beyond the four that every model has
  std::vector<Index> indexes;
  // Tables without a model have no id of their own, or this key.
  bool model = true;
  std::vector<const char*> primary_key = {};
};

constexpr char kNotNull[] = " NOT NULL";
constexpr char kInactive[] = " DEFAULT 'inactive'";

std::string Quote(std::string_view name) { return StrCat("\"", name, "\""); }

std::string TypeName(Engine engine, Type type) {
  switch (type) {
    case Type::kShort:
      return "varchar(100)";
    case Type::kName:
      return "varchar(256)";
    case Type::kLine:
      return "varchar(1024)";
    case Type::kText:
      return "text";
    case Type::kLongText:
      return engine == Engine::kMysql ? "longtext" : "text";
    case Type::kInt:
      return "int";
    case Type::kBigint:
      return engine == Engine::kMysql ? "bigint unsigned" : "bigint";
    case Type::kBool:
      return "boolean";
    case Type::kTime:
      return engine == Engine::kPostgres ? "timestamptz" : "datetime(3)";
    case Type::kStamp:
      return engine == Engine::kMysql ? "timestamp" : engine == Engine::kPostgres ? "timestamp" : "datetime";
  }
  return "";
}

std::string IdColumn(Engine engine) {
  switch (engine) {
    case Engine::kSqlite:
      return "id integer PRIMARY KEY AUTOINCREMENT";
    case Engine::kPostgres:
      return "id bigserial PRIMARY KEY";
    case Engine::kMysql:
      return "id bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY";
  }
  return "";
}

const std::vector<Table>& Tables() {
  using enum Type;
  static const std::vector<Table> tables = {
      {"user",
       {{"email", kName, kNotNull},
        {"name", kName, kNotNull},
        {"encrypted_password", kLine},
        {"avatar", kName},
        {"phone", kName},
        {"private_token", kName},
        {"state", kName, " DEFAULT 'enable'"},
        {"location", kName},
        {"bio", kName}},
       {{"uk_user_email", {"email"}}, {"uk_user_name", {"name"}}}},
      {"oauth",
       {{"name", kName, kNotNull},
        {"bio", kLine},
        {"client_id", kName, kNotNull},
        {"client_secret", kLine, kNotNull},
        {"redirect_url", kLine},
        // Ours: of OpenID Connect.
        {"issuer", kLine}},
       {{"uk_oauth2_name", {"name"}}, {"uk_oauth2_client_id", {"client_id"}}}},
      {"config",
       {{"name", kName, kNotNull}, {"value", kLine, kNotNull}, {"bio", kLine}, {"user_id", kBigint}},
       {{"uk_config_name", {"name"}}}},
      {"application",
       {{"name", kName, kNotNull},
        {"url", kLongText, kNotNull},
        {"bio", kLine},
        {"priority", kText, kNotNull},
        {"user_id", kBigint}},
       {{"uk_application_name", {"name"}}}},
      {"personal_access_token",
       {{"name", kName, kNotNull},
        {"bio", kLine},
        {"token", kName, kNotNull},
        {"scopes", kText, kNotNull},
        {"state", kName, kInactive},
        {"expired_at", kStamp, " NOT NULL DEFAULT CURRENT_TIMESTAMP"},
        {"user_id", kBigint}},
       {{"uk_personal_access_token_name", {"name"}}, {"uk_personal_access_token", {"token"}}}},
      {"scheduler_cluster",
       {{"name", kName, kNotNull},
        {"bio", kLine},
        {"config", kLongText, kNotNull},
        {"client_config", kLongText, kNotNull},
        {"seed_client_config", kLongText},
        {"scopes", kLongText},
        {"is_default", kBool, " NOT NULL DEFAULT false"}},
       {{"uk_scheduler_cluster_name", {"name"}}}},
      {"scheduler",
       {{"host_name", kName, kNotNull},
        {"idc", kLine},
        {"location", kLine},
        {"ip", kName, kNotNull},
        {"port", kInt, kNotNull},
        {"state", kName, kInactive},
        {"features", kText},
        {"config", kText},
        {"last_keep_alive_at", kTime},
        {"scheduler_cluster_id", kBigint, kNotNull}},
       {{"uk_scheduler", {"host_name", "ip", "scheduler_cluster_id"}}}},
      {"seed_peer_cluster",
       {{"name", kName, kNotNull}, {"bio", kLine}, {"config", kLongText, kNotNull}},
       {{"uk_seed_peer_cluster_name", {"name"}}}},
      {"seed_peer",
       {{"host_name", kName, kNotNull},
        {"type", kName},
        {"idc", kLine},
        {"location", kLine},
        {"ip", kName, kNotNull},
        {"port", kInt, kNotNull},
        {"download_port", kInt, kNotNull},
        {"object_storage_port", kInt},
        {"state", kName, kInactive},
        {"seed_peer_cluster_id", kBigint, kNotNull}},
       {{"uk_seed_peer", {"host_name", "ip", "seed_peer_cluster_id"}}}},
      {"peer",
       {{"host_name", kName, kNotNull},
        {"type", kName},
        {"idc", kLine},
        {"location", kLine},
        {"ip", kName, kNotNull},
        {"port", kInt, kNotNull},
        {"download_port", kInt, kNotNull},
        {"object_storage_port", kInt},
        {"proxy_port", kInt, " NOT NULL DEFAULT 0"},
        {"state", kName, kInactive},
        {"os", kName},
        {"platform", kName},
        {"platform_family", kName},
        {"platform_version", kName},
        {"kernel_version", kName},
        {"git_version", kName},
        {"git_commit", kName},
        {"build_platform", kName},
        {"scheduler_cluster_id", kBigint, kNotNull}},
       {{"uk_peer", {"host_name", "ip", "scheduler_cluster_id"}},
        {"idx_peer_type", {"type"}, false},
        {"idx_peer_git_version", {"git_version"}, false},
        {"idx_peer_git_commit", {"git_commit"}, false}}},
      {"job",
       {{"task_id", kName, kNotNull},
        {"bio", kLine},
        {"type", kName},
        {"state", kName, " NOT NULL DEFAULT 'PENDING'"},
        {"args", kText, kNotNull},
        {"result", kText},
        {"task_result", kLongText},
        {"user_id", kBigint}},
       {{"idx_job_created_at", {"created_at"}, false}}},
      {"audit",
       {{"actor_type", kName, kNotNull},
        {"actor_name", kName, kNotNull},
        {"event_type", kShort, kNotNull},
        {"operation", kName, kNotNull},
        {"operated_at", kStamp, " DEFAULT CURRENT_TIMESTAMP"},
        {"state", kShort, kNotNull},
        {"path", kLine},
        {"status_code", kInt},
        {"detail", kText}},
       {{"idx_audit_created_at", {"created_at"}, false}}},
      {"casbin_rule",
       {{"ptype", kShort},
        {"v0", kShort},
        {"v1", kShort},
        {"v2", kShort},
        {"v3", kShort},
        {"v4", kShort},
        {"v5", kShort}},
       {{"idx_dragonfly_casbin_rule", {"ptype", "v0"}, false}},
       false},
      {"job_scheduler_cluster",
       {{"job_id", kBigint, kNotNull}, {"scheduler_cluster_id", kBigint, kNotNull}},
       {},
       false,
       {"job_id", "scheduler_cluster_id"}},
      {"job_seed_peer_cluster",
       {{"job_id", kBigint, kNotNull}, {"seed_peer_cluster_id", kBigint, kNotNull}},
       {},
       false,
       {"job_id", "seed_peer_cluster_id"}},
      {"seed_peer_cluster_scheduler_cluster",
       {{"seed_peer_cluster_id", kBigint, kNotNull}, {"scheduler_cluster_id", kBigint, kNotNull}},
       {},
       false,
       {"seed_peer_cluster_id", "scheduler_cluster_id"}},
      // Ours: who of a provider of sign-in is which user.
      {"dragonfly_identity",
       {{"provider", kShort, kNotNull}, {"subject", kName, kNotNull}, {"user_id", kBigint, kNotNull}},
       {},
       false,
       {"provider", "subject"}},
      // Ours: what all managers on one database must agree on, and nobody may read.
      {"dragonfly_secret", {{"name", kShort, kNotNull}, {"value", kText, kNotNull}}, {}, false, {"name"}},
  };
  return tables;
}

std::vector<Column> ColumnsOf(const Table& table) {
  if (!table.model) return table.columns;
  std::vector<Column> columns = {
      {"created_at", Type::kTime}, {"updated_at", Type::kTime}, {"is_del", Type::kBigint, " DEFAULT 0"}};
  columns.insert(columns.end(), table.columns.begin(), table.columns.end());
  return columns;
}

std::string Definition(Engine engine, const Column& column) {
  return StrCat(Quote(column.name), " ", TypeName(engine, column.type), column.rest);
}

std::string CreateTable(Engine engine, const Table& table) {
  std::vector<std::string> lines;
  if (table.primary_key.empty()) lines.push_back(IdColumn(engine));
  for (const Column& column : ColumnsOf(table)) lines.push_back(Definition(engine, column));
  if (!table.primary_key.empty()) lines.push_back(StrCat("PRIMARY KEY (", absl::StrJoin(table.primary_key, ", "), ")"));
  return StrCat("CREATE TABLE ", Quote(table.name), " (", absl::StrJoin(lines, ", "), ")",
                engine == Engine::kMysql ? " DEFAULT CHARACTER SET utf8mb4" : "");
}

std::string CreateIndex(const Table& table, const Index& index) {
  return StrCat("CREATE ", index.unique ? "UNIQUE " : "", "INDEX ", index.name, " ON ", Quote(table.name), " (",
                absl::StrJoin(index.columns, ", "), ")");
}

absl::StatusOr<bool> HasIndex(db::Connection& connection, const Table& table, const Index& index) {
  const db::Values values = {std::string(table.name), std::string(index.name)};
  absl::StatusOr<db::Rows> rows;
  switch (connection.engine()) {
    case Engine::kSqlite:
      rows =
          connection.Select({"name"}, "FROM sqlite_master WHERE type = 'index' AND tbl_name = ? AND name = ?", values);
      break;
    case Engine::kPostgres:
      rows = connection.Select(
          {"indexname"}, "FROM pg_indexes WHERE schemaname = current_schema() AND tablename = ? AND indexname = ?",
          values);
      break;
    case Engine::kMysql:
      rows = connection.Select({"index_name"},
                               "FROM information_schema.statistics WHERE table_schema = DATABASE() AND table_name = ? "
                               "AND index_name = ? LIMIT 1",
                               values);
      break;
  }
  if (!rows.ok()) return rows.status();
  return !rows->empty();
}

absl::Status Complete(db::Connection& connection, const Table& table) {
  const Engine engine = connection.engine();
  DF_ASSIGN_OR_RETURN(const std::set<std::string> present, db::ColumnsOf(connection, table.name));
  if (present.empty()) DF_RETURN_IF_ERROR(connection.Execute(CreateTable(engine, table)).status());
  for (const Column& column : ColumnsOf(table)) {
    if (present.empty() || present.contains(column.name)) continue;
    DF_RETURN_IF_ERROR(
        connection.Execute(StrCat("ALTER TABLE ", Quote(table.name), " ADD COLUMN ", Definition(engine, column)))
            .status());
  }
  for (const Index& index : table.indexes) {
    DF_ASSIGN_OR_RETURN(const bool there, HasIndex(connection, table, index));
    if (!there) DF_RETURN_IF_ERROR(connection.Execute(CreateIndex(table, index)).status());
  }
  return absl::OkStatus();
}

absl::Status CompleteAll(db::Connection& connection) {
  for (const Table& table : Tables()) {
    const absl::Status status = Complete(connection, table);
    if (!status.ok()) return Annotate(status, StrCat("table ", table.name));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status MigrateSchema(db::Connection& connection) {
  // A later release of ours appends what it adds; a step that was applied is never changed.
  return db::Migrate(connection, "dragonfly_migration",
                     {{1, "union of v2.3.0 and v2.5.1", CompleteAll}, {2, "sign-in by providers", CompleteAll}});
}

std::vector<std::string> SchemaStatements(Engine engine) {
  std::vector<std::string> statements;
  for (const Table& table : Tables()) {
    statements.push_back(CreateTable(engine, table));
    for (const Index& index : table.indexes) statements.push_back(CreateIndex(table, index));
  }
  return statements;
}

}  // namespace dragonfly::manager
