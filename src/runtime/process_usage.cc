// SPDX-License-Identifier: Apache-2.0
#include "runtime/process_usage.h"

#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <optional>

namespace dragonfly::runtime {
namespace {

double ProcessCpuSeconds() {
  timespec time{};
  if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time) != 0) return 0;
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

uint64_t TotalMemory(const std::string& root) {
  std::ifstream file(root + "/proc/meminfo");
  std::string name;
  uint64_t kib = 0;
  // Its first line is MemTotal (proc(5)).
  if (!(file >> name >> kib)) return 0;
  return kib << 10;
}

uint64_t ResidentMemory(const std::string& root) {
  std::ifstream file(root + "/proc/self/statm");
  uint64_t size = 0;
  uint64_t resident = 0;
  if (!(file >> size >> resident)) return 0;
  return resident * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

double Percent(double part, double whole) { return whole > 0 ? part / whole * 100 : 0; }

}  // namespace

ProcessUsage::ProcessUsage(const std::string& root) : root_(root), cgroup_(root) {}

Clock::duration ThreadTime() {
  timespec time{};
  if (clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time) != 0) return Clock::duration::zero();
  return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

LoadSample ProcessUsage::Sample(TimePoint now) {
  LoadSample sample;
  const std::optional<uint64_t> limit = cgroup_.ReadMemoryLimit();
  const std::optional<uint64_t> used = cgroup_.ReadMemoryWithoutFiles();
  if (limit && used) {
    sample.memory_percent = Percent(static_cast<double>(*used), static_cast<double>(*limit));
  } else {
    sample.memory_percent =
        Percent(static_cast<double>(ResidentMemory(root_)), static_cast<double>(TotalMemory(root_)));
  }
  const double cpu_seconds = ProcessCpuSeconds();
  if (sampled_at_ != TimePoint::min()) {
    const std::optional<CpuQuota> quota = cgroup_.ReadCpuQuota();
    const double cores = quota ? quota->cores() : static_cast<double>(std::max(1L, sysconf(_SC_NPROCESSORS_ONLN)));
    const double elapsed = std::chrono::duration<double>(now - sampled_at_).count();
    sample.cpu_percent = Percent(cpu_seconds - cpu_seconds_, elapsed * cores);
  }
  sampled_at_ = now;
  cpu_seconds_ = cpu_seconds;
  return sample;
}

}  // namespace dragonfly::runtime
