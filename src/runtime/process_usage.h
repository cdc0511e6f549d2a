// SPDX-License-Identifier: Apache-2.0
// How much of what it may have this process uses.
#pragma once

#include <string>

#include "runtime/cgroup.h"
#include "runtime/clock.h"

namespace dragonfly::runtime {

// How long the calling thread has had a processor since it began. A system call: about 0.3 us.
Clock::duration ThreadTime();

struct LoadSample {
  double cpu_percent = 0;     // of the cores' time since the sample before; 0 in the first one
  double memory_percent = 0;  // see ProcessUsage
};

// In a container with a memory limit: what its control group uses of it, without the pages of files; a store that
// serves files fills its group with these, and the kernel takes them back when it needs room. Elsewhere: the resident
// memory of the process out of the machine's. CPU time is measured against the group's quota, or against all cores.
// Thread rule: one thread at a time.
class ProcessUsage {
 public:
  // `root` is where /proc and /sys are found: "" outside of tests.
  explicit ProcessUsage(const std::string& root = "");

  // Reads a few small files. 0 stands for what cannot be told.
  LoadSample Sample(TimePoint now);

 private:
  const std::string root_;
  const Cgroup cgroup_;
  TimePoint sampled_at_ = TimePoint::min();
  double cpu_seconds_ = 0;
};

}  // namespace dragonfly::runtime
