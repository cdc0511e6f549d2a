// SPDX-License-Identifier: Apache-2.0
// The tokens of signed-in users: JWT with HS256 (RFC 7519), claims id, exp and orig_iat, as gin-jwt v2.10.3 makes and
// takes them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace dragonfly::manager {

struct Claims {
  int64_t user_id = 0;
  absl::Time expires;
  absl::Time signed_at;  // orig_iat
};

std::string SignToken(const Claims& claims, std::string_view key);

// Errors: UNAUTHENTICATED for what is no token, of another algorithm or key, or without a claim. Whether it has expired
// is for the caller to see.
absl::StatusOr<Claims> ParseToken(std::string_view token, std::string_view key);

}  // namespace dragonfly::manager
