// SPDX-License-Identifier: Apache-2.0
#include "db/value.h"

#include "base/text.h"

namespace dragonfly::db {

std::string TimeText(absl::Time time) { return absl::FormatTime("%Y-%m-%d %H:%M:%E3S", time, absl::UTCTimeZone()); }

std::optional<absl::Time> ParseTimeText(std::string_view text) {
  for (const std::string_view zone : {"+00:00", "+00", "Z"}) {
    if (!text.ends_with(zone)) continue;
    text.remove_suffix(zone.size());
    break;
  }
  for (const char* const format : {"%Y-%m-%d %H:%M:%E*S", "%Y-%m-%dT%H:%M:%E*S"}) {
    absl::Time time;
    if (absl::ParseTime(format, ToAbsl(text), absl::UTCTimeZone(), &time, nullptr)) return time;
  }
  return std::nullopt;
}

int64_t Row::Int(size_t column) const {
  const std::string text = Text(column);
  if (text == "t" || text == "true") return 1;
  return ParseDecimal<int64_t>(text).value_or(0);
}

bool Row::Bool(size_t column) const { return Int(column) != 0; }

std::optional<absl::Time> Row::Time(size_t column) const { return ParseTimeText(Text(column)); }

}  // namespace dragonfly::db
