// SPDX-License-Identifier: Apache-2.0
// The tables. Names, columns and types are those of dragonfly v2.3.0 to v2.5.1, manager/models/*.go, all of them
// together: a database that was made by any of these works here, and one that was made here works there. What is
// Later there may be missing in a row or stand in it: such columns are nullable.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "db/connection.h"

namespace dragonfly::manager {

// Makes what is missing; what is there stays as it is. Blocks. Errors: those of the statements, with the table.
absl::Status MigrateSchema(db::Connection& connection);

// The statements for an empty database, for whoever lets nobody but its administrator change a schema.
std::vector<std::string> SchemaStatements(db::Engine engine);

}  // namespace dragonfly::manager
