// SPDX-License-Identifier: Apache-2.0
#include "daemon/proxy/http_error.h"

#include <optional>

#include "absl/strings/cord.h"
#include "base/text.h"

namespace dragonfly::daemon::proxy {
namespace {

constexpr char kPayload[] = "dragonfly/http-status";

absl::StatusCode CodeFor(int http_status) {
  if (http_status == 504) return absl::StatusCode::kDeadlineExceeded;
  if (http_status >= 500) return absl::StatusCode::kUnavailable;
  if (http_status == 429) return absl::StatusCode::kResourceExhausted;
  if (http_status == 401 || http_status == 407) return absl::StatusCode::kUnauthenticated;
  if (http_status == 403) return absl::StatusCode::kPermissionDenied;
  return absl::StatusCode::kInvalidArgument;
}

}  // namespace

absl::Status HttpError(int http_status, std::string_view message) {
  absl::Status status(CodeFor(http_status), ToAbsl(message));
  // As a view, as in base/backend_error.cc.
  status.SetPayload(kPayload, absl::Cord(ToAbsl(std::to_string(http_status))));
  return status;
}

int HttpStatusOf(const absl::Status& error) {
  if (const auto payload = error.GetPayload(kPayload)) {
    const std::string text(*payload);
    if (const std::optional<int> status = ParseDecimal<int>(text)) return *status;
  }
  switch (error.code()) {
    case absl::StatusCode::kDeadlineExceeded:
      return 504;
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kUnauthenticated:
      return 502;
    case absl::StatusCode::kResourceExhausted:
      return 507;
    case absl::StatusCode::kPermissionDenied:
      return 403;
    case absl::StatusCode::kNotFound:
      return 404;
    case absl::StatusCode::kInvalidArgument:
      return 400;
    default:
      return 500;
  }
}

}  // namespace dragonfly::daemon::proxy
