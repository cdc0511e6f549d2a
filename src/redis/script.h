// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace dragonfly::redis {

// A Lua script, named by the SHA-1 of its text, so that the server needs it once only.
class Script {
 public:
  explicit Script(std::string text);
  const std::string& text() const { return text_; }
  // Lower-case hexadecimal, as EVALSHA takes it.
  const std::string& sha1() const { return sha1_; }

 private:
  std::string text_;
  std::string sha1_;
};

}  // namespace dragonfly::redis
