// SPDX-License-Identifier: Apache-2.0
#include "base/text.h"

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"

namespace dragonfly {

std::string Quoted(std::string_view text, size_t max) {
  return absl::StrCat("\"", absl::CHexEscape(ToAbsl(text.substr(0, max))), text.size() > max ? "...\"" : "\"");
}

std::string_view TrimSpace(std::string_view text) { return ToStd(absl::StripAsciiWhitespace(ToAbsl(text))); }

bool EqualsIgnoreCase(std::string_view a, std::string_view b) { return absl::EqualsIgnoreCase(ToAbsl(a), ToAbsl(b)); }

std::string ToLowerAscii(std::string_view text) { return absl::AsciiStrToLower(ToAbsl(text)); }

}  // namespace dragonfly
