// SPDX-License-Identifier: Apache-2.0
// What every manager's database has: a default cluster, the user root, the rights of the roles root and guest, and the
// key that signs tokens. dragonfly v2.3.0, manager/database/database.go and manager/permission/rbac.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "db/connection.h"

namespace dragonfly::manager {

// Things that rights are about: the first segments of the paths below /api/v1.
std::span<const std::string_view> ResourceNames();

// Adds what is missing, within the caller's transaction. `root_password`: of the user root when there is no user at
// all. Returns whether it was made.
absl::StatusOr<bool> SeedRows(db::Connection& connection, const std::string& root_password_hash);

// True when there is no user, so that SeedRows() will make root.
absl::StatusOr<bool> LacksUsers(db::Connection& connection);

// The value under `name`, made of 32 random bytes in hex when there is none: the same for all managers.
absl::StatusOr<std::string> SharedSecret(db::Connection& connection, const std::string& name);

}  // namespace dragonfly::manager
