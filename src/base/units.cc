// SPDX-License-Identifier: Apache-2.0
#include "base/units.h"

#include <array>
#include <charconv>
#include <limits>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/str_format.h"
#include "base/text.h"

namespace dragonfly {
namespace {

constexpr uint64_t kMaxInt64 = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
// No honest number is longer; the rest would only be work.
constexpr size_t kTextLengthMax = 200;

absl::Status UnitError(std::string_view what, std::string_view text, std::string_view reason) {
  return absl::InvalidArgumentError(StrCat(what, " ", Quoted(text), ": ", reason));
}

bool IsDigit(char c) { return absl::ascii_isdigit(static_cast<unsigned char>(c)); }
bool IsSpace(char c) { return absl::ascii_isspace(static_cast<unsigned char>(c)); }

// Cuts the leading characters that satisfy `belongs` off `rest`.
template <typename Predicate>
std::string_view TakeWhile(std::string_view& rest, Predicate belongs) {
  size_t n = 0;
  while (n < rest.size() && belongs(rest[n])) ++n;
  const std::string_view taken = rest.substr(0, n);
  rest.remove_prefix(n);
  return taken;
}

// Cuts `c` off `rest` if it comes first.
bool Consume(std::string_view& rest, char c) {
  if (!rest.starts_with(c)) return false;
  rest.remove_prefix(1);
  return true;
}

void SkipSpace(std::string_view& rest) { TakeWhile(rest, IsSpace); }

std::optional<uint64_t> CheckedMultiply(std::optional<uint64_t> a, uint64_t b) {
  uint64_t product;
  if (!a || __builtin_mul_overflow(*a, b, &product)) return std::nullopt;
  return product;
}

// Bytes per unit. Source: crate bytesize 1.3.3; "e" units of later releases.
std::optional<uint64_t> BytesPerUnit(std::string_view unit) {
  if (unit.empty() || EqualsIgnoreCase(unit, "b")) return 1;
  constexpr std::string_view kPrefixes = "kmgtpe";
  const size_t power = kPrefixes.find(absl::ascii_tolower(static_cast<unsigned char>(unit[0])));
  if (power == std::string_view::npos) return std::nullopt;
  const std::string_view suffix = unit.substr(1);
  uint64_t base;
  if (suffix.empty() || EqualsIgnoreCase(suffix, "b")) {
    base = 1000;
  } else if (EqualsIgnoreCase(suffix, "i") || EqualsIgnoreCase(suffix, "ib")) {
    base = 1024;
  } else {
    return std::nullopt;
  }
  uint64_t bytes = 1;
  for (size_t i = 0; i <= power; ++i) bytes *= base;
  return bytes;
}

struct DurationUnit {
  std::string_view name;
  uint64_t nanoseconds;
};

constexpr uint64_t kNanosecond = 1;
constexpr uint64_t kMicrosecond = 1000;
constexpr uint64_t kMillisecond = 1000 * kMicrosecond;
constexpr uint64_t kSecond = 1000 * kMillisecond;
constexpr uint64_t kMinute = 60 * kSecond;
constexpr uint64_t kHour = 60 * kMinute;
constexpr uint64_t kDay = 24 * kHour;
constexpr uint64_t kMonth = 2'630'016 * kSecond;  // 30.44 days
constexpr uint64_t kYear = 31'557'600 * kSecond;  // 365.25 days

// Source: crate humantime 2.1.
constexpr auto kRustUnits = std::to_array<DurationUnit>({
    {"nsec", kNanosecond},  {"ns", kNanosecond},
    {"nanos", kNanosecond}, {"usec", kMicrosecond},
    {"us", kMicrosecond},   {"msec", kMillisecond},
    {"ms", kMillisecond},   {"millis", kMillisecond},
    {"seconds", kSecond},   {"second", kSecond},
    {"secs", kSecond},      {"sec", kSecond},
    {"s", kSecond},         {"minutes", kMinute},
    {"minute", kMinute},    {"mins", kMinute},
    {"min", kMinute},       {"m", kMinute},
    {"hours", kHour},       {"hour", kHour},
    {"hrs", kHour},         {"hr", kHour},
    {"h", kHour},           {"days", kDay},
    {"day", kDay},          {"d", kDay},
    {"weeks", 7 * kDay},    {"week", 7 * kDay},
    {"w", 7 * kDay},        {"months", kMonth},
    {"month", kMonth},      {"M", kMonth},
    {"years", kYear},       {"year", kYear},
    {"y", kYear},
});

// Source: Go, time.ParseDuration; both code points that look like a micro sign.
constexpr auto kGoUnits = std::to_array<DurationUnit>({
    {"ns", kNanosecond},
    {"us", kMicrosecond},
    {"\u00b5s", kMicrosecond},
    {"\u03bcs", kMicrosecond},
    {"ms", kMillisecond},
    {"s", kSecond},
    {"m", kMinute},
    {"h", kHour},
});

template <size_t N>
const DurationUnit* FindUnit(const std::array<DurationUnit, N>& units, std::string_view name) {
  for (const DurationUnit& unit : units) {
    if (unit.name == name) return &unit;
  }
  return nullptr;
}

absl::Duration Nanoseconds(uint64_t nanoseconds) { return absl::Nanoseconds(static_cast<int64_t>(nanoseconds)); }

}  // namespace

absl::StatusOr<uint64_t> ParseByteSize(std::string_view text) {
  constexpr std::string_view kWhat = "size";
  if (text.size() > kTextLengthMax) return UnitError(kWhat, text, "too long");
  std::string_view rest = TrimSpace(text);
  if (rest.starts_with('-')) return UnitError(kWhat, text, "must not be negative");
  const std::string_view whole = TakeWhile(rest, IsDigit);
  const bool has_point = Consume(rest, '.');
  const std::string_view fraction = has_point ? TakeWhile(rest, IsDigit) : std::string_view();
  if (whole.empty() && fraction.empty()) return UnitError(kWhat, text, "does not begin with a number");
  SkipSpace(rest);
  const std::optional<uint64_t> unit = BytesPerUnit(rest);
  if (!unit) return UnitError(kWhat, text, StrCat("unknown unit ", Quoted(rest)));

  if (!has_point) {
    const std::optional<uint64_t> bytes = CheckedMultiply(ParseDecimal<uint64_t>(whole), *unit);
    if (!bytes) return UnitError(kWhat, text, "too large");
    return *bytes;
  }
  if (rest.empty()) return UnitError(kWhat, text, "a number of bytes has no fraction");
  // In double and truncated, as the programs do that these files were written for.
  double number = 0;
  if (!absl::SimpleAtod(StrCat(whole, ".", fraction, "0"), &number)) return UnitError(kWhat, text, "not a number");
  const double bytes = number * static_cast<double>(*unit);
  if (!(bytes < 0x1p64)) return UnitError(kWhat, text, "too large");
  return static_cast<uint64_t>(bytes);
}

std::string FormatByteSize(uint64_t bytes) {
  if (bytes < kKiB) return StrCat(bytes, " B");
  constexpr std::array<std::string_view, 6> kUnits = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  double value = static_cast<double>(bytes) / 1024;
  size_t unit = 0;
  // 1023.995 would round to 1024.00 of the smaller unit.
  while (value >= 1023.995 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  return absl::StrFormat("%.2f %s", value, ToAbsl(kUnits[unit]));
}

absl::StatusOr<absl::Duration> ParseDuration(std::string_view text) {
  constexpr std::string_view kWhat = "duration";
  if (text.size() > kTextLengthMax) return UnitError(kWhat, text, "too long");
  std::string_view rest = TrimSpace(text);
  if (rest.empty()) return UnitError(kWhat, text, "empty");
  if (rest == "0") return absl::ZeroDuration();
  if (rest.front() == '-') return UnitError(kWhat, text, "must not be negative");

  uint64_t total = 0;  // nanoseconds
  while (!rest.empty()) {
    const std::string_view digits = TakeWhile(rest, IsDigit);
    if (digits.empty()) return UnitError(kWhat, text, "a number is missing");
    if (rest.starts_with('.')) return UnitError(kWhat, text, "fractions are not allowed; use a smaller unit");
    SkipSpace(rest);
    const std::string_view name = TakeWhile(rest, [](char c) { return !IsDigit(c) && !IsSpace(c); });
    if (name.empty()) return UnitError(kWhat, text, "a unit is missing, as in \"30s\"");
    const DurationUnit* unit = FindUnit(kRustUnits, name);
    if (unit == nullptr) return UnitError(kWhat, text, StrCat("unknown unit ", Quoted(name)));
    const std::optional<uint64_t> part = CheckedMultiply(ParseDecimal<uint64_t>(digits), unit->nanoseconds);
    if (!part || *part > kMaxInt64 - total) return UnitError(kWhat, text, "longer than 292 years");
    total += *part;
    SkipSpace(rest);
  }
  return Nanoseconds(total);
}

absl::StatusOr<absl::Duration> ParseGoDuration(std::string_view text) {
  constexpr std::string_view kWhat = "duration";
  if (text.size() > kTextLengthMax) return UnitError(kWhat, text, "too long");
  if (const std::optional<int64_t> bare = ParseDecimal<int64_t>(text)) return absl::Nanoseconds(*bare);
  std::string_view rest = text;
  const bool negative = Consume(rest, '-');
  if (!negative) Consume(rest, '+');
  if (rest.empty()) return UnitError(kWhat, text, "empty");

  uint64_t total = 0;  // nanoseconds
  while (!rest.empty()) {
    const std::string_view whole = TakeWhile(rest, IsDigit);
    const std::string_view fraction = Consume(rest, '.') ? TakeWhile(rest, IsDigit) : std::string_view();
    if (whole.empty() && fraction.empty()) return UnitError(kWhat, text, "a number is missing");
    const std::string_view name = TakeWhile(rest, [](char c) { return !IsDigit(c) && c != '.'; });
    if (name.empty()) return UnitError(kWhat, text, "a unit is missing, as in \"30s\"");
    const DurationUnit* unit = FindUnit(kGoUnits, name);
    if (unit == nullptr) return UnitError(kWhat, text, StrCat("unknown unit ", Quoted(name)));

    std::optional<uint64_t> part =
        CheckedMultiply(whole.empty() ? std::optional<uint64_t>(0) : ParseDecimal<uint64_t>(whole), unit->nanoseconds);
    // Digits behind the point, each worth a tenth of the one before, until they are worth less than a nanosecond.
    const auto scale = static_cast<double>(unit->nanoseconds);
    double below_one = 0;
    double weight = 1;
    for (const char c : fraction.substr(0, 18)) {
      below_one = below_one * 10 + (c - '0');
      weight *= 10;
    }
    if (!part || *part > kMaxInt64) return UnitError(kWhat, text, "longer than 292 years");
    *part += static_cast<uint64_t>(below_one * (scale / weight));
    if (*part > kMaxInt64 - total) return UnitError(kWhat, text, "longer than 292 years");
    total += *part;
  }
  const absl::Duration duration = Nanoseconds(total);
  return negative ? -duration : duration;
}

std::string DurationText(absl::Duration duration) {
  if (duration == absl::InfiniteDuration()) return "infinite";
  if (duration < absl::ZeroDuration()) return StrCat("-", DurationText(-duration));
  constexpr auto kParts = std::to_array<DurationUnit>({{"d", kDay},
                                                       {"h", kHour},
                                                       {"m", kMinute},
                                                       {"s", kSecond},
                                                       {"ms", kMillisecond},
                                                       {"us", kMicrosecond},
                                                       {"ns", kNanosecond}});
  std::string text;
  for (const DurationUnit& part : kParts) {
    const int64_t count = absl::IDivDuration(duration, Nanoseconds(part.nanoseconds), &duration);
    if (count != 0) text += StrCat(text.empty() ? "" : " ", count, part.name);
  }
  return text.empty() ? "0s" : text;
}

}  // namespace dragonfly
