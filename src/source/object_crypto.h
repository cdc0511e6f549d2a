// SPDX-License-Identifier: Apache-2.0
// What the signatures of object storages are made of.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace dragonfly::source {

// Raw bytes (20, 32).
std::string HmacSha1(std::string_view key, std::string_view text);
std::string HmacSha256(std::string_view key, std::string_view text);

// Lower-case hexadecimal.
std::string ToHex(std::string_view bytes);
std::string Sha1Hex(std::string_view bytes);

// RFC 4648 §4 with padding; nullopt when `text` is none.
std::string ToBase64(std::string_view bytes);
std::optional<std::string> FromBase64(std::string_view text);

enum class Slash { kEncode, kKeep };

// Percent-encodes every byte but the unreserved ones of RFC 3986 §2.3, in upper-case hexadecimal.
std::string UriEncode(std::string_view text, Slash slash);

}  // namespace dragonfly::source
