// SPDX-License-Identifier: Apache-2.0
// Small values that people and peers write: digests, sizes, durations, ranges, origin errors.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "base/backend_error.h"
#include "base/byte_range.h"
#include "base/digest.h"
#include "base/units.h"

namespace {

void Require(bool holds) {
  if (!holds) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);

  if (const auto digest = dragonfly::Digest::Parse(text); digest.ok()) {
    const auto again = dragonfly::Digest::Parse(digest->ToString());
    Require(again.ok() && *again == *digest);
  }
  (void)dragonfly::ParseByteSize(text);
  if (const auto duration = dragonfly::ParseDuration(text); duration.ok()) {
    const auto again = dragonfly::ParseDuration(dragonfly::DurationText(*duration));
    Require(again.ok() && *again == *duration);
  }
  if (const auto duration = dragonfly::ParseGoDuration(text); duration.ok()) {
    (void)dragonfly::DurationText(*duration);
  }
  for (const uint64_t length : {uint64_t{0}, uint64_t{1}, uint64_t{1000}, UINT64_MAX}) {
    const auto range = dragonfly::ParseHttpRange(text, length);
    if (!range.ok()) continue;
    Require(range->length > 0 && range->offset < length && range->length <= length - range->offset);
    const auto again = dragonfly::ParseHttpRange(dragonfly::ToHttpRange(*range), length);
    Require(again.ok() && *again == *range);
  }
  if (const auto error = dragonfly::BackendError::FromJson(text)) {
    const auto again = dragonfly::BackendError::FromJson(error->ToJson());
    Require(again && again->message == error->message && again->status_code == error->status_code);
  }
  return 0;
}
