// SPDX-License-Identifier: Apache-2.0
#include "redis/script.h"

#include <openssl/sha.h>

#include <array>
#include <utility>

#include "absl/strings/escaping.h"

namespace dragonfly::redis {

Script::Script(std::string text) : text_(std::move(text)) {
  std::array<unsigned char, SHA_DIGEST_LENGTH> digest{};
  ::SHA1(reinterpret_cast<const unsigned char*>(text_.data()), text_.size(), digest.data());
  sha1_ = absl::BytesToHexString(absl::string_view(reinterpret_cast<const char*>(digest.data()), digest.size()));
}

}  // namespace dragonfly::redis
