// SPDX-License-Identifier: Apache-2.0
#include "db/migration.h"

#include "base/status.h"
#include "base/text.h"

namespace dragonfly::db {
namespace {

constexpr int64_t kLockKey = 0x647261676f6e;  // "dragon": any number that is ours
constexpr char kLockName[] = "dragonfly_migration";
constexpr int64_t kLockSeconds = 300;

absl::Status ApplyOne(Connection& connection, std::string_view table, const Migration& migration) {
  DF_RETURN_IF_ERROR(migration.apply(connection));
  return connection
      .Execute(StrCat("INSERT INTO ", table, " (version, name, applied_at) VALUES (?, ?, ?)"),
               {migration.version, migration.name, TimeText(absl::Now())})
      .status();
}

absl::Status ApplyMissing(Connection& connection, std::string_view table, const std::vector<Migration>& migrations) {
  DF_RETURN_IF_ERROR(
      connection
          .Execute(StrCat("CREATE TABLE IF NOT EXISTS ", table,
                          " (version bigint PRIMARY KEY, name varchar(256) NOT NULL, applied_at varchar(64) NOT NULL)"))
          .status());
  DF_ASSIGN_OR_RETURN(const Rows rows, connection.Select({"version"}, StrCat("FROM ", table)));
  std::set<int64_t> applied;
  for (const Row& row : rows) applied.insert(row.Int(0));
  for (const Migration& migration : migrations) {
    if (applied.contains(migration.version)) continue;
    const auto apply = [&] { return ApplyOne(connection, table, migration); };
    // SQLite's lock is a transaction around all of them.
    const absl::Status status = connection.engine() == Engine::kSqlite ? apply() : connection.Transact(apply);
    if (!status.ok()) return Annotate(status, StrCat("migration ", migration.version, " (", migration.name, ")"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status Migrate(Connection& connection, std::string_view table, const std::vector<Migration>& migrations) {
  const auto apply = [&] { return ApplyMissing(connection, table, migrations); };
  switch (connection.engine()) {
    case Engine::kSqlite:
      return connection.Transact(apply);
    case Engine::kPostgres: {
      const auto locked = connection.Select({"pg_advisory_lock(?)"}, "", {kLockKey});
      if (!locked.ok()) return Annotate(locked.status(), "wait for other migrations");
      absl::Status status = apply();
      // A session that cannot unlock is lost, and its locks with it.
      (void)connection.Select({"pg_advisory_unlock(?)"}, "", {kLockKey});
      return status;
    }
    case Engine::kMysql: {
      const auto locked = connection.Select({"GET_LOCK(?, ?)"}, "", {std::string(kLockName), kLockSeconds});
      if (!locked.ok()) return Annotate(locked.status(), "wait for other migrations");
      if (locked->empty() || locked->front().Int(0) != 1) {
        return absl::DeadlineExceededError("wait for other migrations: they take too long");
      }
      absl::Status status = apply();
      (void)connection.Select({"RELEASE_LOCK(?)"}, "", {std::string(kLockName)});
      return status;
    }
  }
  return absl::InternalError("unknown database");
}

absl::StatusOr<std::set<std::string>> ColumnsOf(Connection& connection, std::string_view table) {
  const Values values = {std::string(table)};
  absl::StatusOr<Rows> rows;
  switch (connection.engine()) {
    case Engine::kSqlite:
      rows = connection.Select({"name"}, "FROM pragma_table_info(?)", values);
      break;
    case Engine::kPostgres:
      rows = connection.Select(
          {"column_name"}, "FROM information_schema.columns WHERE table_schema = current_schema() AND table_name = ?",
          values);
      break;
    case Engine::kMysql:
      rows = connection.Select({"column_name"},
                               "FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = ?",
                               values);
      break;
  }
  if (!rows.ok()) return Annotate(rows.status(), StrCat("columns of ", table));
  std::set<std::string> columns;
  for (const Row& row : *rows) columns.insert(row.Text(0));
  return columns;
}

}  // namespace dragonfly::db
