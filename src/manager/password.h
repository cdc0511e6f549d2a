// SPDX-License-Identifier: Apache-2.0
// Passwords as bcrypt hashes ("$2a$..."), as golang.org/x/crypto/bcrypt writes and reads them.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace dragonfly::manager {

inline constexpr int kPasswordCost = 10;  // about 50 ms: a hash that leaks is not tried at speed

// Takes long on purpose: for a pool of its own. Errors: INVALID_ARGUMENT above 72 bytes, which bcrypt would cut off, or
// with a zero byte.
absl::StatusOr<std::string> HashPassword(std::string_view password, int cost = kPasswordCost);

// Whether `hash`, of any cost, is of this password; false for what is no hash. Takes long on purpose.
bool PasswordMatches(std::string_view password, const std::string& hash);

// Random, of letters and digits, 20 of them: 119 bits.
std::string RandomPassword();

}  // namespace dragonfly::manager
