// SPDX-License-Identifier: Apache-2.0
#include "base/byte_range.h"

#include <algorithm>
#include <limits>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/str_split.h"
#include "base/text.h"

namespace dragonfly {
namespace {

constexpr uint64_t kMaxUint64 = std::numeric_limits<uint64_t>::max();

// Digits of any count: a position behind 2^64 lies behind the end of every file, so the value saturates.
std::optional<uint64_t> ParsePosition(std::string_view digits) {
  if (digits.empty()) return std::nullopt;
  uint64_t value = 0;
  for (const char c : digits) {
    if (!absl::ascii_isdigit(static_cast<unsigned char>(c))) return std::nullopt;
    const auto digit = static_cast<uint64_t>(c - '0');
    value = value > (kMaxUint64 - digit) / 10 ? kMaxUint64 : value * 10 + digit;
  }
  return value;
}

// One range-spec of RFC 9110 §14.1.1: "first-last", "first-" or "-suffix".
struct RangeSpec {
  std::optional<uint64_t> first;
  std::optional<uint64_t> last;  // the suffix length when `first` is absent
};

std::optional<RangeSpec> ParseSpec(std::string_view text) {
  const size_t dash = text.find('-');
  if (dash == std::string_view::npos) return std::nullopt;
  const std::string_view before = text.substr(0, dash);
  const std::string_view after = text.substr(dash + 1);
  if (before.empty() && after.empty()) return std::nullopt;

  RangeSpec spec;
  if (!before.empty()) {
    spec.first = ParsePosition(before);
    if (!spec.first) return std::nullopt;
  }
  if (!after.empty()) {
    spec.last = ParsePosition(after);
    if (!spec.last) return std::nullopt;
  }
  if (spec.first && spec.last && *spec.last < *spec.first) return std::nullopt;
  return spec;
}

std::optional<ByteRange> Resolve(const RangeSpec& spec, uint64_t content_length) {
  if (!spec.first) {
    const uint64_t length = std::min(*spec.last, content_length);
    if (length == 0) return std::nullopt;
    return ByteRange{content_length - length, length};
  }
  if (*spec.first >= content_length) return std::nullopt;
  const uint64_t last = std::min(spec.last.value_or(kMaxUint64), content_length - 1);
  return ByteRange{*spec.first, last - *spec.first + 1};
}

absl::Status RangeError(std::string_view header, std::string_view reason) {
  return absl::FailedPreconditionError(StrCat("range ", Quoted(header), ": ", reason));
}

}  // namespace

absl::StatusOr<ByteRange> ClampRange(uint64_t offset, uint64_t length, uint64_t content_length) {
  if (length == 0) return absl::InvalidArgumentError("range of length 0");
  if (offset >= content_length) {
    return absl::InvalidArgumentError(
        StrCat("range offset ", offset, " is not inside the content of ", content_length, " bytes"));
  }
  return ByteRange{offset, std::min(length, content_length - offset)};
}

absl::StatusOr<ByteRange> ParseHttpRange(std::string_view header, uint64_t content_length) {
  const size_t equals = header.find('=');
  if (equals == std::string_view::npos || !EqualsIgnoreCase(TrimSpace(header.substr(0, equals)), "bytes")) {
    return RangeError(header, "not of the form bytes=<first>-<last>");
  }
  std::optional<RangeSpec> chosen;
  for (const absl::string_view element : absl::StrSplit(ToAbsl(header.substr(equals + 1)), ',')) {
    const std::string_view text = TrimSpace(ToStd(element));
    if (text.empty()) continue;  // RFC 9110 §5.6.1: empty list elements are skipped.
    const std::optional<RangeSpec> spec = ParseSpec(text);
    if (!spec) return RangeError(header, "not of the form bytes=<first>-<last>");
    if (!chosen) chosen = spec;
  }
  if (!chosen) return RangeError(header, "names no range");
  const std::optional<ByteRange> range = Resolve(*chosen, content_length);
  if (!range) return RangeError(header, StrCat("not satisfiable for ", content_length, " bytes"));
  return *range;
}

std::string ToHttpRange(const ByteRange& range) { return StrCat("bytes=", range.offset, "-", range.end() - 1); }

}  // namespace dragonfly
