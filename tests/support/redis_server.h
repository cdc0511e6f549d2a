// SPDX-License-Identifier: Apache-2.0
// A real redis-server on loopback.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "tests/support/temp_dir.h"

namespace dragonfly::testing {

// One process; its data lies in a directory of its own and, with appendonly, survives Restart(). Ended by the
// destructor, and with the test program, too.
class RedisServer {
 public:
  // `arguments` go behind the program's name ("--requirepass", "secret"). Throws std::runtime_error when it does not
  // start.
  explicit RedisServer(std::vector<std::string> arguments = {});
  ~RedisServer();
  RedisServer(const RedisServer&) = delete;
  RedisServer& operator=(const RedisServer&) = delete;

  uint16_t port() const { return port_; }
  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }
  const TempDir& dir() const { return dir_; }

  void Kill();     // SIGKILL
  void Restart();  // on the same port, with what is on the disk
  void Pause();    // answers nobody until Resume()
  void Resume();

 private:
  void Start();

  TempDir dir_;
  std::vector<std::string> arguments_;
  uint16_t port_ = 0;
  pid_t pid_ = -1;
};

}  // namespace dragonfly::testing
