// SPDX-License-Identifier: Apache-2.0
#include "db/connection.h"

#include "base/status.h"

namespace dragonfly::db {

std::string_view NameOf(Engine engine) {
  switch (engine) {
    case Engine::kSqlite:
      return "SQLite";
    case Engine::kPostgres:
      return "PostgreSQL";
    case Engine::kMysql:
      return "MySQL";
  }
  return "";
}

absl::Status Connection::Transact(const std::function<absl::Status()>& work) {
  // SQLite takes its only lock for writing at once: a transaction that asks for it later cannot wait for it.
  const auto begun = Execute(engine() == Engine::kSqlite ? "BEGIN IMMEDIATE" : "BEGIN");
  if (!begun.ok()) return begun.status();
  absl::Status status = work();
  if (status.ok()) {
    status = Execute("COMMIT").status();
    if (status.ok()) return status;
  }
  // Fails only when the connection is lost, which ends the transaction, too; the reason is the work's.
  (void)Execute("ROLLBACK");
  return status;
}

}  // namespace dragonfly::db
