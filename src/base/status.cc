// SPDX-License-Identifier: Apache-2.0
#include "base/status.h"

#include <cerrno>

#include "absl/strings/cord.h"
#include "base/text.h"

namespace dragonfly {

absl::Status Annotate(const absl::Status& status, std::string_view context) {
  if (status.ok()) return status;
  absl::Status annotated(status.code(), StrCat(context, ": ", status.message()));
  status.ForEachPayload(
      [&](absl::string_view type, const absl::Cord& payload) { annotated.SetPayload(type, payload); });
  return annotated;
}

absl::Status ErrnoStatus(int error_number, std::string_view context) {
  switch (error_number) {
    case 0:
      // A caller that lost errno still failed: OK would be a lie.
      return absl::UnknownError(StrCat(context, ": unknown error"));
    case EPIPE:
    case ENOTCONN:
    case ESHUTDOWN: {
      // abseil calls these FAILED_PRECONDITION; to us they mean that the other side has gone.
      const absl::Status status = absl::ErrnoToStatus(error_number, ToAbsl(context));
      return absl::UnavailableError(status.message());
    }
    default:
      return absl::ErrnoToStatus(error_number, ToAbsl(context));
  }
}

}  // namespace dragonfly
