// SPDX-License-Identifier: Apache-2.0
// TLS of connections to a server. Internal to redis.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "redis/options.h"

struct ssl_ctx_st;

namespace dragonfly::redis {

// Shared by the connections of one client. Thread-safe.
using TlsContext = std::shared_ptr<ssl_ctx_st>;

// Errors: INVALID_ARGUMENT naming the file that cannot be used.
absl::StatusOr<TlsContext> MakeTlsContext(const TlsOptions& options);

// The first error of OpenSSL's queue, which is emptied.
std::string TakeTlsError();

}  // namespace dragonfly::redis
