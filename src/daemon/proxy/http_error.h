// SPDX-License-Identifier: Apache-2.0
// Errors that know the HTTP status with which a client hears of them.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace dragonfly::daemon::proxy {

// An error that a client is told with status `http_status` (400 to 599); `message` becomes the body of the answer.
absl::Status HttpError(int http_status, std::string_view message);

// The status with which a client is told of `error`: that of HttpError(), else the one that fits the canonical code
// (504 for DEADLINE_EXCEEDED, 502 for UNAVAILABLE and failed TLS, 507 for a full disk, 403, 404, 400, else 500).
int HttpStatusOf(const absl::Status& error);

}  // namespace dragonfly::daemon::proxy
