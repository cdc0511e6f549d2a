// SPDX-License-Identifier: Apache-2.0
#include "storage/shortage.h"

#include <cerrno>

#include "absl/strings/cord.h"
#include "base/status.h"

namespace dragonfly::storage {
namespace {

constexpr const char* kOtherShortage = "dragonfly/storage/other_shortage";

}  // namespace

absl::Status OpenStatus(int error_number, std::string_view context) {
  absl::Status status = ErrnoStatus(error_number, context);
  if (error_number == EMFILE || error_number == ENFILE || error_number == ENOMEM) {
    status.SetPayload(kOtherShortage, absl::Cord());
  }
  return status;
}

bool LacksSpace(const absl::Status& status) {
  return absl::IsResourceExhausted(status) && !status.GetPayload(kOtherShortage);
}

}  // namespace dragonfly::storage
