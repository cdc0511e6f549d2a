// SPDX-License-Identifier: Apache-2.0
// dynconfig.yaml: client v1.4.3, dragonfly-client/src/dynconfig/local.rs.
#pragma once

#include <boost/asio/io_context.hpp>
#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "daemon/dynconfig.h"
#include "runtime/blocking_pool.h"
#include "runtime/clock.h"

namespace dragonfly::daemon {

struct LoadedDynconfig {
  DynconfigData data;
  std::vector<std::string> warnings;
};

// Reads scheduler.addrs, else scheduler.addr (default dragonfly-scheduler:8002), and clientConfig, or seedClientConfig
// for a seed peer. Errors: NOT_FOUND; INVALID_ARGUMENT with file, line, key and reason of each wrong value.
absl::StatusOr<LoadedDynconfig> LoadDynconfigFile(const std::string& path, bool seed);

struct FileDynconfigOptions {
  FileDynconfigOptions() = default;
  std::string path;
  bool seed = false;
  // The file is looked at this often and read when it has changed. A look follows links, so that it also sees what a
  // Kubernetes volume does, and works where the kernel reports no changes (NFS).
  Clock::duration look_interval{std::chrono::seconds(1)};
};

class FileDynconfig final : public Dynconfig {
 public:
  // Reads the file; blocks. `io` and `blocking` must outlive the object. Errors: those of LoadDynconfigFile().
  static absl::StatusOr<std::unique_ptr<FileDynconfig>> Make(FileDynconfigOptions options, boost::asio::io_context& io,
                                                             runtime::BlockingPool& blocking);
  ~FileDynconfig() override;

  void Start() override;
  boost::asio::awaitable<void> Stop() override;
  std::string name() const override;

 private:
  struct State;
  explicit FileDynconfig(std::unique_ptr<State> state);
  boost::asio::awaitable<void> Watch();
  // Looks, and reads when the file has changed.
  absl::Status Look();

  const std::unique_ptr<State> state_;
};

}  // namespace dragonfly::daemon
