// SPDX-License-Identifier: Apache-2.0
// Opens connections by SOCI. Internal to src/db.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "db/connection.h"
#include "db/database.h"

namespace dragonfly::db {

// A connection that knows whether it can be used further.
class DriverConnection : public Connection {
 public:
  // True after an UNAVAILABLE.
  virtual bool broken() const = 0;
  // Statements that have succeeded since the last ResetCount().
  virtual size_t count() const = 0;
  virtual void ResetCount() = 0;
};

// Blocks until options.connect_timeout. Errors: UNAVAILABLE with engine, address and reason; INVALID_ARGUMENT for an
// option that cannot be passed on.
absl::StatusOr<std::unique_ptr<DriverConnection>> Connect(const DatabaseOptions& options);

}  // namespace dragonfly::db
