// SPDX-License-Identifier: Apache-2.0
#include "rpc/wire_status.h"

#include <optional>

#include "absl/strings/cord.h"
#include "base/backend_error.h"
#include "base/text.h"

namespace dragonfly::rpc {

absl::Status StatusFromWire(int code, std::string_view message, std::string_view details) {
  if (code == 0) return absl::OkStatus();
  const bool known = code >= 1 && code <= 16;
  absl::Status status(known ? static_cast<absl::StatusCode>(code) : absl::StatusCode::kUnknown, ToAbsl(message));
  // Other servers put a google.rpc.Status there, which never begins like an object.
  if (details.empty() || details.front() != '{') return status;
  if (const std::optional<BackendError> error = BackendError::FromJson(details)) {
    MakeBackendErrorStatus(*error).ForEachPayload(
        [&](absl::string_view type, const absl::Cord& payload) { status.SetPayload(type, payload); });
  }
  return status;
}

}  // namespace dragonfly::rpc
