// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/mount.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <utility>

namespace dragonfly::testing {

// A FUSE file system (bindfs) that shows the directory `behind` at `path`. It refuses rename flags and nameless files,
// as network file systems do.
class FuseMirror {
 public:
  FuseMirror(const std::string& behind, std::string path) : path_(std::move(path)) {
    std::filesystem::create_directories(behind);
    std::filesystem::create_directories(path_);
    const std::string line = "bindfs '" + behind + "' '" + path_ + "' >/dev/null 2>&1";
    mounted_ = std::system(line.c_str()) == 0;
  }
  FuseMirror(const FuseMirror&) = delete;
  FuseMirror& operator=(const FuseMirror&) = delete;
  ~FuseMirror() {
    if (mounted_) ::umount2(path_.c_str(), MNT_DETACH);
  }

  // False without bindfs, /dev/fuse or the right to mount.
  bool mounted() const { return mounted_; }
  const std::string& path() const { return path_; }

 private:
  const std::string path_;
  bool mounted_ = false;
};

}  // namespace dragonfly::testing
