// SPDX-License-Identifier: Apache-2.0
#include "manager/secret.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include <cstdlib>

#include "absl/strings/escaping.h"
#include "base/text.h"

namespace dragonfly::manager {

std::string RandomBytes(size_t count) {
  std::string bytes(count, '\0');
  // Without a generator nothing of what follows would be secret.
  if (RAND_bytes(reinterpret_cast<unsigned char*>(bytes.data()), static_cast<int>(count)) != 1) std::abort();
  return bytes;
}

bool EqualInConstantTime(std::string_view a, std::string_view b) {
  // Of hashes, so that neither a length nor a place is told.
  const std::string key = RandomBytes(32);
  const std::string first = HmacSha256(key, a);
  const std::string second = HmacSha256(key, b);
  return CRYPTO_memcmp(first.data(), second.data(), first.size()) == 0;
}

std::string Sha256(std::string_view text) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  EVP_Digest(text.data(), text.size(), digest, &size, EVP_sha256(), nullptr);
  return std::string(reinterpret_cast<const char*>(digest), size);
}

std::string Sha256Hex(std::string_view text) { return absl::BytesToHexString(Sha256(text)); }

std::string HmacSha256(std::string_view key, std::string_view text) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), reinterpret_cast<const unsigned char*>(text.data()),
       text.size(), digest, &size);
  return std::string(reinterpret_cast<const char*>(digest), size);
}

std::string Base64Url(std::string_view bytes) { return absl::WebSafeBase64Escape(ToAbsl(bytes)); }

std::string Base64UrlDecode(std::string_view text) {
  std::string bytes;
  if (!absl::WebSafeBase64Unescape(ToAbsl(text), &bytes)) return "";
  return bytes;
}

}  // namespace dragonfly::manager
