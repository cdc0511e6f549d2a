// SPDX-License-Identifier: Apache-2.0
#include "source/object_crypto.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <array>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "base/digest.h"
#include "base/text.h"

namespace dragonfly::source {
namespace {

std::string Hmac(const EVP_MD* hash, std::string_view key, std::string_view text) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> bytes;
  unsigned size = 0;
  // OpenSSL takes a null key for "the key of before".
  const char* const data = key.empty() ? "" : key.data();
  HMAC(hash, data, static_cast<int>(key.size()), reinterpret_cast<const unsigned char*>(text.data()), text.size(),
       bytes.data(), &size);
  return std::string(reinterpret_cast<const char*>(bytes.data()), size);
}

}  // namespace

std::string HmacSha1(std::string_view key, std::string_view text) { return Hmac(EVP_sha1(), key, text); }
std::string HmacSha256(std::string_view key, std::string_view text) { return Hmac(EVP_sha256(), key, text); }

std::string ToHex(std::string_view bytes) { return absl::BytesToHexString(ToAbsl(bytes)); }

std::string Sha1Hex(std::string_view bytes) {
  Hasher hasher(DigestAlgorithm::kSha1);
  hasher.Update(bytes);
  return hasher.Finish().encoded();
}

std::string ToBase64(std::string_view bytes) { return absl::Base64Escape(ToAbsl(bytes)); }

std::optional<std::string> FromBase64(std::string_view text) {
  std::string bytes;
  if (!absl::Base64Unescape(ToAbsl(text), &bytes)) return std::nullopt;
  return bytes;
}

std::string UriEncode(std::string_view text, Slash slash) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  std::string encoded;
  encoded.reserve(text.size() + text.size() / 4);
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (absl::ascii_isalnum(byte) || c == '-' || c == '.' || c == '_' || c == '~' ||
        (c == '/' && slash == Slash::kKeep)) {
      encoded.push_back(c);
    } else {
      encoded.push_back('%');
      encoded.push_back(kDigits[byte >> 4]);
      encoded.push_back(kDigits[byte & 15]);
    }
  }
  return encoded;
}

}  // namespace dragonfly::source
