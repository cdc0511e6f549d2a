// SPDX-License-Identifier: Apache-2.0
// Daemons in the process of a test, each with a directory of its own and free ports.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "daemon/daemon.h"
#include "runtime/blocking_pool.h"
#include "runtime/io_threads.h"

namespace dragonfly::daemon::test {

// Removed with what is in it.
class TempDir {
 public:
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

struct HttpAnswer {
  int status = 0;  // 0: no answer
  std::string body;
};
HttpAnswer HttpCall(uint16_t port, const std::string& method, const std::string& target);

// Downloads `url` through the daemon behind `socket_path` to the file `output`, as dfget does.
absl::Status Download(const std::string& socket_path, const std::string& url, const std::string& output);

std::string ReadFile(const std::string& path);
// The same bytes for the same seed.
std::string RandomBytes(size_t size, uint64_t seed = 1);

class DaemonFixture : public ::testing::Test {
 protected:
  // A configuration in <dir>/<name>: loopback, any ports, the scheduler at `scheduler` ("": none).
  DaemonConfig Config(const std::string& name, const std::string& scheduler = "", bool seed = false) const;
  absl::StatusOr<std::unique_ptr<Daemon>> TryStart(const DaemonConfig& config);
  // Fails the test when it does not start.
  std::unique_ptr<Daemon> Start(const DaemonConfig& config);

  TempDir dir_;
  runtime::IoThreads io_{2};
  runtime::BlockingPool blocking_{4, 4096};
};

}  // namespace dragonfly::daemon::test
