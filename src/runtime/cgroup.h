// SPDX-License-Identifier: Apache-2.0
// Limits and usage of the control group that this process runs in: a container, a pod, a systemd unit. Version 1,
// version 2 and both beside each other (cgroups(7)).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace dragonfly::runtime {

struct CpuQuota {
  uint64_t quota = 0;   // microseconds of CPU time in each period, of all cores together; above 0
  uint64_t period = 0;  // microseconds; above 0
  double cores() const { return static_cast<double>(quota) / static_cast<double>(period); }
};

// Reads when asked; finding the group's directories is done once, when it is made. Values that cannot be read are
// absent. Thread-safe: nothing changes after the constructor.
class Cgroup {
 public:
  // `root` is where /proc and /sys are found: "" outside of tests.
  explicit Cgroup(const std::string& root = "");

  // The tightest of the group's and its ancestors'; absent when none is set.
  std::optional<CpuQuota> ReadCpuQuota() const;
  // CPU time that the group has used since it exists.
  std::optional<double> ReadCpuSeconds() const;
  // Bytes; the tightest of the group's and its ancestors', absent when none is set.
  std::optional<uint64_t> ReadMemoryLimit() const;
  // Bytes that cannot be taken back without swapping: the page cache of files that nobody has used lately is left out,
  // as kubelet does for its "working set".
  std::optional<uint64_t> ReadMemoryUsage() const;
  // Bytes that are no pages of files: what cannot be taken back at all.
  std::optional<uint64_t> ReadMemoryWithoutFiles() const;
  // Bytes read from and written to block devices by the group since it exists.
  struct IoBytes {
    uint64_t read = 0;
    uint64_t written = 0;
  };
  std::optional<IoBytes> ReadIo() const;

  // Whether the process runs in a container: Docker's or Podman's mark, or a pod's environment.
  bool in_container() const { return in_container_; }

 private:
  // Of one resource: directories from the group up to the topmost that can be seen.
  struct Group {
    std::vector<std::string> directories;
    bool version2 = false;
  };
  static Group Find(const std::string& root, const std::string& controller);

  bool in_container_ = false;
  Group cpu_, cpu_time_, memory_, io_;
};

}  // namespace dragonfly::runtime
