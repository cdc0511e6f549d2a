// SPDX-License-Identifier: Apache-2.0
// Random numbers and comparisons that give nothing away.
#pragma once

#include <string>
#include <string_view>

namespace dragonfly::manager {

// `count` bytes from the system's generator.
std::string RandomBytes(size_t count);

// Takes as long for texts that differ early as for those that differ late.
bool EqualInConstantTime(std::string_view a, std::string_view b);

std::string Sha256(std::string_view text);  // 32 bytes
std::string Sha256Hex(std::string_view text);
std::string HmacSha256(std::string_view key, std::string_view text);  // 32 bytes

// base64url without padding.
std::string Base64Url(std::string_view bytes);
// Empty for what is none.
std::string Base64UrlDecode(std::string_view text);

}  // namespace dragonfly::manager
