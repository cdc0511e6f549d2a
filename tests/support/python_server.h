// SPDX-License-Identifier: Apache-2.0
// A server of tests/support/*.py as a process of its own.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/unique_fd.h"

namespace dragonfly::testing {

// Runs until it is destroyed; ends with the test program, too.
class PythonServer {
 public:
  // `script`: "webhdfs_server.py". Returns when it has told its ports. Throws std::runtime_error when it does not
  // start.
  PythonServer(const std::string& script, const std::vector<std::string>& arguments);
  ~PythonServer();
  PythonServer(const PythonServer&) = delete;
  PythonServer& operator=(const PythonServer&) = delete;

  uint16_t port(size_t index = 0) const { return ports_.at(index); }

 private:
  pid_t pid_ = -1;
  UniqueFd input_;  // the server ends with it
  std::vector<uint16_t> ports_;
};

}  // namespace dragonfly::testing
