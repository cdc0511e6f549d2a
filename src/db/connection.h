// SPDX-License-Identifier: Apache-2.0
// One session with a database, for one thread at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "db/value.h"

namespace dragonfly::db {

enum class Engine { kSqlite, kPostgres, kMysql };  // kMysql is MariaDB as well

// "SQLite", "PostgreSQL", "MySQL".
std::string_view NameOf(Engine engine);

// Statements are written for all engines: names in double quotes where they must be ("user"), a '?' for each parameter,
// no backslashes and no colons outside of quotes. Every method blocks.
//
// Errors: ALREADY_EXISTS for a value that must be unique; OUT_OF_RANGE for one that its column cannot hold (SQLite
// holds any); ABORTED when another transaction was in the way and a repetition may succeed; UNAVAILABLE when the
// connection is lost or cannot be made; DEADLINE_EXCEEDED when the database gave up a statement that took too long;
// RESOURCE_EXHAUSTED for a result above kResultMax; else INTERNAL with what the database says, which may be internal to
// the schema: for logs, not for strangers. No message has parameters in it.
class Connection {
 public:
  static constexpr size_t kResultMax = 512 << 20;  // bytes of one result

  virtual ~Connection() = default;

  virtual Engine engine() const = 0;

  // SELECT `columns` `rest`, where rest begins with FROM.
  virtual absl::StatusOr<Rows> Select(const std::vector<std::string>& columns, std::string_view rest,
                                      const Values& values) = 0;
  absl::StatusOr<Rows> Select(const std::vector<std::string>& columns, std::string_view rest) {
    return Select(columns, rest, {});
  }
  // Returns how many rows it has changed.
  virtual absl::StatusOr<int64_t> Execute(std::string_view sql, const Values& values) = 0;
  absl::StatusOr<int64_t> Execute(std::string_view sql) { return Execute(sql, {}); }
  // An INSERT of one row into a table whose key `id` counts by itself; returns the id.
  virtual absl::StatusOr<int64_t> Insert(std::string_view sql, const Values& values) = 0;

  // Runs `work` in a transaction: committed when it returns OK, else taken back. Not to be nested.
  absl::Status Transact(const std::function<absl::Status()>& work);
};

}  // namespace dragonfly::db
