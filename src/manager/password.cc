// SPDX-License-Identifier: Apache-2.0
#include "manager/password.h"

#include <crypt.h>

#include <memory>

#include "base/text.h"
#include "manager/secret.h"

namespace dragonfly::manager {
namespace {

constexpr size_t kPasswordMax = 72;

std::string Crypt(const std::string& password, const std::string& setting) {
  const auto data = std::make_unique<crypt_data>();
  const char* const hash = ::crypt_r(password.c_str(), setting.c_str(), data.get());
  // What cannot be hashed gives a text that begins with '*'.
  return hash == nullptr || *hash == '*' ? "" : std::string(hash);
}

}  // namespace

absl::StatusOr<std::string> HashPassword(std::string_view password, int cost) {
  if (password.size() > kPasswordMax) return absl::InvalidArgumentError("the password is longer than 72 bytes");
  if (password.find('\0') != std::string_view::npos) return absl::InvalidArgumentError("the password has a zero byte");
  const std::string random = RandomBytes(16);
  char setting[CRYPT_GENSALT_OUTPUT_SIZE];
  if (::crypt_gensalt_rn("$2a$", static_cast<unsigned long>(cost), random.data(), static_cast<int>(random.size()),
                         setting, sizeof setting) == nullptr) {
    return absl::InternalError("no salt for a password");
  }
  std::string hash = Crypt(std::string(password), setting);
  if (hash.empty()) return absl::InternalError("the password cannot be hashed");
  return hash;
}

bool PasswordMatches(std::string_view password, const std::string& hash) {
  if (!hash.starts_with("$2") || password.size() > kPasswordMax || password.find('\0') != std::string_view::npos) {
    return false;
  }
  const std::string again = Crypt(std::string(password), hash);
  return !again.empty() && EqualInConstantTime(again, hash);
}

std::string RandomPassword() {
  static constexpr std::string_view kLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
  std::string password;
  while (password.size() < 20) {
    for (const char c : RandomBytes(32)) {
      // What would favour the first letters is thrown away.
      const auto byte = static_cast<unsigned char>(c);
      if (byte < kLetters.size() * 4 && password.size() < 20) password += kLetters[byte % kLetters.size()];
    }
  }
  return password;
}

}  // namespace dragonfly::manager
