// SPDX-License-Identifier: Apache-2.0
// A scheduler in a process of its own, to be measured from outside.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "tests/support/temp_dir.h"

namespace dragonfly::scheduler {

class SchedulerProcess {
 public:
  // Serves on loopback when it returns. Before this process uses gRPC or has made a thread, since it forks.
  SchedulerProcess();
  ~SchedulerProcess();
  SchedulerProcess(const SchedulerProcess&) = delete;
  SchedulerProcess& operator=(const SchedulerProcess&) = delete;

  std::string address() const;
  // Used so far, in user and system mode.
  double CpuSeconds() const;
  double ResidentMiB() const;
  // The sum of a metric over all its labels, now.
  double Metric(const std::string& name) const;

 private:
  [[noreturn]] static void Serve(const std::string& dir, int commands, int answers);

  const testing::TempDir dir_;  // of the scheduler's own files
  pid_t child_ = 0;
  int commands_ = -1;
  int answers_ = -1;
  uint16_t port_ = 0;
};

}  // namespace dragonfly::scheduler
