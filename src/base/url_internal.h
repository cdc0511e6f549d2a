// SPDX-License-Identifier: Apache-2.0
// Pieces of the URL parser that url.cc, url_host.cc and canonical_url.cc share.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace dragonfly::url_internal {

// A code point encoded in UTF-8 at the front of a text.
struct Utf8Step {
  bool valid;     // false: an ill-formed sequence, to be read as one U+FFFD
  size_t length;  // bytes to skip; for an ill-formed sequence its maximal subpart (Unicode 15, §3.9)
};
// `text` must not be empty.
Utf8Step DecodeUtf8(std::string_view text);
bool IsUtf8(std::string_view text);
// Ill-formed sequences become U+FFFD.
std::string ToValidUtf8(std::string_view text);

// Appends "%XX" in upper case.
void AppendPercentEncoded(std::string& out, char c);

// Percent-encodes C0 controls and everything but ASCII: the "C0 control percent-encode set".
std::string EncodeControls(std::string_view text);

// The host of a special URL: an IPv4 or IPv6 address or a domain in ASCII form, each in its one normal form.
// Errors: INVALID_ARGUMENT with the reason only.
absl::StatusOr<std::string> ParseSpecialHost(std::string_view text);

// The host of any other URL: an IPv6 address or an opaque host, percent-encoded. Errors: as above.
absl::StatusOr<std::string> ParseOpaqueHost(std::string_view text);

}  // namespace dragonfly::url_internal
