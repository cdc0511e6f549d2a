// SPDX-License-Identifier: Apache-2.0
// Schemas that grow: each step is applied once, by one of all programs that start on the same database.
#pragma once

#include <functional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "db/connection.h"

namespace dragonfly::db {

struct Migration {
  int64_t version;  // from 1, ascending
  std::string name;
  // Must be able to run again after it was interrupted: MySQL cannot take changes of a schema back.
  std::function<absl::Status(Connection&)> apply;
};

// Applies those of `migrations` that `table` ("dragonfly_migration") does not list, in order, and lists them there.
// Waits for other programs that do the same. A database of a later program, with more steps, is left as it is. Blocks.
// Errors: those of the steps, with version and name.
absl::Status Migrate(Connection& connection, std::string_view table, const std::vector<Migration>& migrations);

// The names of the table's columns; empty when there is no such table. Blocks.
absl::StatusOr<std::set<std::string>> ColumnsOf(Connection& connection, std::string_view table);

}  // namespace dragonfly::db
