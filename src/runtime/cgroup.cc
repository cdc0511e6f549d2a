// SPDX-License-Identifier: Apache-2.0
#include "runtime/cgroup.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string_view>
#include <utility>

#include "base/text.h"

namespace dragonfly::runtime {
namespace {

namespace fs = std::filesystem;

// "No limit" of version 1 is the largest number of pages in bytes.
constexpr uint64_t kLimitMax = uint64_t{1} << 60;

std::optional<std::string> ReadLine(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  if (!std::getline(file, line)) return std::nullopt;
  return std::string(TrimSpace(line));
}

std::optional<uint64_t> ReadNumber(const std::string& path) {
  const auto line = ReadLine(path);
  if (!line) return std::nullopt;
  return ParseDecimal<uint64_t>(*line);
}

// The value of `name` in a file of lines "name value".
std::optional<uint64_t> ReadEntry(const std::string& path, std::string_view name) {
  std::ifstream file(path);
  std::string key;
  uint64_t value = 0;
  while (file >> key >> value) {
    if (key == name) return value;
  }
  return std::nullopt;
}

bool Contains(std::string_view list, std::string_view name) {
  while (!list.empty()) {
    const size_t comma = list.find(',');
    if (list.substr(0, comma) == name) return true;
    if (comma == std::string_view::npos) break;
    list.remove_prefix(comma + 1);
  }
  return false;
}

// The paths of this process's groups by /proc/self/cgroup, "id:controllers:path" a line; version 2 has no controllers.
struct Paths {
  std::optional<std::string> version1;
  std::optional<std::string> version2;
};

Paths ReadPaths(const std::string& root, std::string_view controller) {
  Paths paths;
  std::ifstream file(root + "/proc/self/cgroup");
  std::string line;
  while (std::getline(file, line)) {
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string_view controllers = std::string_view(line).substr(first + 1, second - first - 1);
    const std::string path = line.substr(second + 1);
    if (controllers.empty()) {
      paths.version2 = path;
    } else if (Contains(controllers, controller)) {
      paths.version1 = path;
    }
  }
  return paths;
}

// `mount`/`path` and its ancestors down to `mount`, as far as they exist. In a container without a namespace of its own
// the path is the host's and cannot be seen: then the mount itself is the group.
std::vector<std::string> Ancestors(const std::string& mount, const std::string& path) {
  std::vector<std::string> directories;
  std::error_code ignored;
  for (fs::path at = fs::path(path).lexically_normal(); at.has_relative_path(); at = at.parent_path()) {
    const std::string directory = mount + at.string();
    if (path.find("..") == std::string::npos && fs::is_directory(directory, ignored)) directories.push_back(directory);
  }
  if (fs::is_directory(mount, ignored)) directories.push_back(mount);
  return directories;
}

bool RunsInContainer(const std::string& root) {
  std::error_code ignored;
  return fs::exists(root + "/.dockerenv", ignored) || fs::exists(root + "/run/.containerenv", ignored) ||
         std::getenv("KUBERNETES_SERVICE_HOST") != nullptr;
}

}  // namespace

Cgroup::Group Cgroup::Find(const std::string& root, const std::string& controller) {
  const Paths paths = ReadPaths(root, controller);
  Group group;
  if (paths.version1) {
    group.directories = Ancestors(root + "/sys/fs/cgroup/" + controller, *paths.version1);
    if (!group.directories.empty()) return group;
  }
  if (!paths.version2) return group;
  group.version2 = true;
  std::error_code ignored;
  const std::string unified = root + "/sys/fs/cgroup/unified";
  group.directories =
      Ancestors(fs::is_directory(unified, ignored) ? unified : root + "/sys/fs/cgroup", *paths.version2);
  return group;
}

Cgroup::Cgroup(const std::string& root)
    : in_container_(RunsInContainer(root)),
      cpu_(Find(root, "cpu")),
      cpu_time_(Find(root, "cpuacct")),
      memory_(Find(root, "memory")),
      io_(Find(root, "blkio")) {}

std::optional<CpuQuota> Cgroup::ReadCpuQuota() const {
  std::optional<CpuQuota> tightest;
  for (const std::string& directory : cpu_.directories) {
    std::optional<uint64_t> quota, period;
    if (cpu_.version2) {
      // "max 100000" or "50000 100000".
      std::istringstream fields(ReadLine(directory + "/cpu.max").value_or(""));
      std::string first, second;
      fields >> first >> second;
      quota = ParseDecimal<uint64_t>(first);
      period = ParseDecimal<uint64_t>(second);
    } else {
      quota = ReadNumber(directory + "/cpu.cfs_quota_us");  // -1: none
      period = ReadNumber(directory + "/cpu.cfs_period_us");
    }
    if (!quota || !period || *quota == 0 || *period == 0) continue;
    const CpuQuota found{.quota = *quota, .period = *period};
    if (!tightest || found.cores() < tightest->cores()) tightest = found;
  }
  return tightest;
}

std::optional<double> Cgroup::ReadCpuSeconds() const {
  if (cpu_time_.directories.empty()) return std::nullopt;
  const std::string& own = cpu_time_.directories.front();
  if (cpu_time_.version2) {
    const auto microseconds = ReadEntry(own + "/cpu.stat", "usage_usec");
    if (!microseconds) return std::nullopt;
    return static_cast<double>(*microseconds) * 1e-6;
  }
  const auto nanoseconds = ReadNumber(own + "/cpuacct.usage");
  if (!nanoseconds) return std::nullopt;
  return static_cast<double>(*nanoseconds) * 1e-9;
}

std::optional<uint64_t> Cgroup::ReadMemoryLimit() const {
  std::optional<uint64_t> tightest;
  for (const std::string& directory : memory_.directories) {
    const auto limit = ReadNumber(directory + (memory_.version2 ? "/memory.max" : "/memory.limit_in_bytes"));
    if (limit && *limit < kLimitMax && (!tightest || *limit < *tightest)) tightest = limit;
  }
  return tightest;
}

std::optional<uint64_t> Cgroup::ReadMemoryUsage() const {
  if (memory_.directories.empty()) return std::nullopt;
  const std::string& own = memory_.directories.front();
  const auto usage = ReadNumber(own + (memory_.version2 ? "/memory.current" : "/memory.usage_in_bytes"));
  if (!usage) return std::nullopt;
  const char* const cache = memory_.version2 ? "inactive_file" : "total_inactive_file";
  return *usage - std::min(*usage, ReadEntry(own + "/memory.stat", cache).value_or(0));
}

std::optional<uint64_t> Cgroup::ReadMemoryWithoutFiles() const {
  const std::optional<uint64_t> working_set = ReadMemoryUsage();
  if (!working_set) return std::nullopt;
  const std::string stat = memory_.directories.front() + "/memory.stat";
  const auto active = ReadEntry(stat, memory_.version2 ? "active_file" : "total_active_file");
  return *working_set - std::min(*working_set, active.value_or(0));
}

std::optional<Cgroup::IoBytes> Cgroup::ReadIo() const {
  if (io_.directories.empty()) return std::nullopt;
  const std::string& own = io_.directories.front();
  std::ifstream file(own + (io_.version2 ? "/io.stat" : "/blkio.throttle.io_service_bytes"));
  if (!file) return std::nullopt;
  IoBytes bytes;
  std::string line;
  while (std::getline(file, line)) {
    std::istringstream fields(line);
    std::string device, field;
    fields >> device;
    if (io_.version2) {
      // "8:0 rbytes=1 wbytes=2 rios=3 ..."
      while (fields >> field) {
        const std::string_view text = field;
        if (text.starts_with("rbytes=")) bytes.read += ParseDecimal<uint64_t>(text.substr(7)).value_or(0);
        if (text.starts_with("wbytes=")) bytes.written += ParseDecimal<uint64_t>(text.substr(7)).value_or(0);
      }
    } else {
      // "8:0 Read 1"; the last line, "Total 3", has no device.
      uint64_t count = 0;
      if (!(fields >> field >> count)) continue;
      if (field == "Read") bytes.read += count;
      if (field == "Write") bytes.written += count;
    }
  }
  return bytes;
}

}  // namespace dragonfly::runtime
