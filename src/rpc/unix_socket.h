// SPDX-License-Identifier: Apache-2.0
// The file of a listening Unix socket: who may take its path, how it appears and when it goes.
#pragma once

#include <sys/types.h>

#include <string>

#include "absl/status/statusor.h"

namespace dragonfly::rpc {

// A server binds bind_path(), a name beside the final one, and calls Publish(), which gives the socket its mode and
// then its final name in one step: no client meets it with the wrong mode, and no moment is without a socket when a
// stale one is replaced.
class UnixSocketFile {
 public:
  // Makes the directory. Errors: ALREADY_EXISTS when a live process serves the path or it is no socket;
  // INVALID_ARGUMENT when the path is too long for a socket address (107 bytes, some taken by the name beside it).
  static absl::StatusOr<UnixSocketFile> Prepare(const std::string& path, mode_t mode);

  const std::string& bind_path() const { return bind_path_; }
  absl::Status Publish();
  // Removes the socket, unless another process has taken the path meanwhile.
  void Remove();

 private:
  UnixSocketFile() = default;
  std::string path_;
  std::string bind_path_;
  mode_t mode_ = 0;
  dev_t device_ = 0;
  ino_t inode_ = 0;
};

}  // namespace dragonfly::rpc
