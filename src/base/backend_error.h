// SPDX-License-Identifier: Apache-2.0
// What an origin answered when it refused, carried inside absl::Status up to whoever talks to the user.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace dragonfly {

// The fields of errordetails.v2.Backend.
struct BackendError {
  std::string message;                        // status line text, e.g. "404 Not Found"
  std::map<std::string, std::string> header;  // lower-case names, one value each
  std::optional<int> status_code;             // HTTP status; absent when no answer came

  // The JSON object that dfdaemon puts into grpc-status-details-bin:
  // {"message": ..., "header": {...}, "status_code": int or null}.
  std::string ToJson() const;
  // Reads ToJson()'s form, as any peer may have written it: absent fields are empty, unknown ones are skipped. nullopt
  // when it is no JSON object, a field has another type, or it is longer than 1 MiB.
  static std::optional<BackendError> FromJson(std::string_view json);
};

// An INTERNAL status "backend error <message>" with `error` attached; Annotate() keeps it.
absl::Status MakeBackendErrorStatus(const BackendError& error);

// The attached error, if any.
std::optional<BackendError> GetBackendError(const absl::Status& status);

}  // namespace dragonfly
