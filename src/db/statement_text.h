// SPDX-License-Identifier: Apache-2.0
// The form of statements that SOCI reads. Internal to src/db.
#pragma once

#include <string>
#include <string_view>

namespace dragonfly::db {

// `sql` with its n-th '?' outside of quotes as ":pn"; quotes are '...' and "...". Colons must not stand outside of
// them.
std::string NameParameters(std::string_view sql);

}  // namespace dragonfly::db
