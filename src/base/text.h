// SPDX-License-Identifier: Apache-2.0
// Text, where the distribution's abseil has a string_view of its own: it takes std::string and literals, but neither
// takes nor gives std::string_view. Our interfaces use std::string_view; this is the bridge.
#pragma once

#include <charconv>
#include <concepts>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace dragonfly {

inline absl::string_view ToAbsl(std::string_view text) { return absl::string_view(text.data(), text.size()); }
inline std::string_view ToStd(absl::string_view text) { return std::string_view(text.data(), text.size()); }

namespace text_internal {
inline absl::string_view Argument(std::string_view text) { return ToAbsl(text); }
template <typename T>
  requires(!std::same_as<T, std::string_view>)
const T& Argument(const T& value) {
  return value;
}
}  // namespace text_internal

// absl::StrCat that takes std::string_view, too.
template <typename... Parts>
std::string StrCat(const Parts&... parts) {
  return absl::StrCat(text_internal::Argument(parts)...);
}

// `text` in double quotes, cut to its first `max` bytes and with everything but printable ASCII escaped: how text from
// a stranger is shown in a message.
std::string Quoted(std::string_view text, size_t max = 80);

// Without ASCII white space at both ends.
std::string_view TrimSpace(std::string_view text);

// ASCII only.
bool EqualsIgnoreCase(std::string_view a, std::string_view b);
std::string ToLowerAscii(std::string_view text);

// The whole of `text` as a decimal number that fits T; nullopt otherwise. Takes no blanks and no '+'; '-' for signed T.
template <std::integral T>
std::optional<T> ParseDecimal(std::string_view text) {
  T value{};
  const char* const end = text.data() + text.size();
  const std::from_chars_result result = std::from_chars(text.data(), end, value);
  if (result.ec != std::errc() || result.ptr != end) return std::nullopt;
  return value;
}

}  // namespace dragonfly
