// SPDX-License-Identifier: Apache-2.0
// Sizes and durations as people write them in configuration files and on command lines.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace dragonfly {

inline constexpr uint64_t kKiB = 1ull << 10;
inline constexpr uint64_t kMiB = 1ull << 20;
inline constexpr uint64_t kGiB = 1ull << 30;

// "4mib" = 4194304, "4MB" = 4000000, "1.5GiB", "64" = 64 bytes, "10 KiB"; case-insensitive. Returns bytes.
// Errors: INVALID_ARGUMENT with the text and the reason (negative, unknown unit, overflow).
absl::StatusOr<uint64_t> ParseByteSize(std::string_view text);

// Bytes with the largest binary unit that fits, two decimals: "12.34 MiB", "5 B".
std::string FormatByteSize(uint64_t bytes);

// The duration format of the Rust programs: one or more "<number><unit>" with ns, us, ms, s, m, h, d, w, month, year
// and their long names, blanks allowed: "1h 30m", "90s", "7d". A unit is required. Errors: INVALID_ARGUMENT.
absl::StatusOr<absl::Duration> ParseDuration(std::string_view text);

// The duration format of the Go programs: "1h30m", "500ms", "1.5s"; a bare integer is nanoseconds. Errors:
// INVALID_ARGUMENT.
absl::StatusOr<absl::Duration> ParseGoDuration(std::string_view text);

// "2h", "1h 30m", "500ms": what ParseDuration reads back.
std::string DurationText(absl::Duration duration);

}  // namespace dragonfly
