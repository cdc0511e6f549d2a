// SPDX-License-Identifier: Apache-2.0
#include "telemetry/process_metrics.h"

#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "base/text.h"

namespace dragonfly::telemetry {
namespace {

constexpr const char* kStatPath = "/proc/self/stat";

std::string ReadAll(const char* path) {
  std::ifstream file(path);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

// Fields of /proc/self/stat, numbered as in proc(5).
struct Stat {
  uint64_t utime_ticks = 0;     // 14
  uint64_t stime_ticks = 0;     // 15
  uint64_t threads = 0;         // 20
  uint64_t start_ticks = 0;     // 22, since boot
  uint64_t virtual_bytes = 0;   // 23
  uint64_t resident_pages = 0;  // 24
};

std::optional<Stat> ReadStat() {
  const std::string text = ReadAll(kStatPath);
  // Field 2 is the program's name in parentheses and may hold anything, ')' and blanks included.
  const size_t name_end = text.rfind(')');
  if (name_end == std::string::npos) return std::nullopt;
  constexpr size_t kFirst = 3;
  constexpr size_t kLast = 24;
  std::array<uint64_t, kLast + 1> fields{};
  std::string_view rest = std::string_view(text).substr(name_end + 1);
  for (size_t number = kFirst; number <= kLast; ++number) {
    rest.remove_prefix(std::min(rest.find_first_not_of(' '), rest.size()));
    const std::string_view field = rest.substr(0, rest.find(' '));
    if (field.empty()) return std::nullopt;
    // Some before the ones we read are letters or negative.
    fields[number] = ParseDecimal<uint64_t>(field).value_or(0);
    rest.remove_prefix(field.size());
  }
  return Stat{fields[14], fields[15], fields[20], fields[22], fields[23], fields[24]};
}

// Seconds since the epoch.
std::optional<uint64_t> BootTime() {
  std::ifstream file("/proc/stat");
  constexpr std::string_view kKey = "btime ";
  for (std::string line; std::getline(file, line);)
    if (line.starts_with(kKey)) return ParseDecimal<uint64_t>(TrimSpace(std::string_view(line).substr(kKey.size())));
  return std::nullopt;
}

std::optional<size_t> OpenFiles() {
  std::error_code error;
  std::filesystem::directory_iterator it("/proc/self/fd", error);
  if (error) return std::nullopt;
  size_t count = 0;
  for (const std::filesystem::directory_iterator end; !error && it != end; it.increment(error)) ++count;
  return count > 0 ? count - 1 : 0;  // one of them reads the directory
}

prometheus::MetricFamily Family(std::string name, std::string help, prometheus::MetricType type, double value) {
  prometheus::ClientMetric metric;
  if (type == prometheus::MetricType::Counter)
    metric.counter.value = value;
  else
    metric.gauge.value = value;
  prometheus::MetricFamily family;
  family.name = std::move(name);
  family.help = std::move(help);
  family.type = type;
  family.metric.push_back(std::move(metric));
  return family;
}

}  // namespace

std::vector<prometheus::MetricFamily> ProcessMetrics() {
  using prometheus::MetricType;
  std::vector<prometheus::MetricFamily> families;
  const auto ticks_per_second = static_cast<double>(::sysconf(_SC_CLK_TCK));
  if (const std::optional<Stat> stat = ReadStat()) {
    families.push_back(Family("process_cpu_seconds_total", "User and system CPU time spent, in seconds.",
                              MetricType::Counter,
                              static_cast<double>(stat->utime_ticks + stat->stime_ticks) / ticks_per_second));
    families.push_back(
        Family("process_resident_memory_bytes", "Resident memory, in bytes.", MetricType::Gauge,
               static_cast<double>(stat->resident_pages) * static_cast<double>(::sysconf(_SC_PAGESIZE))));
    families.push_back(Family("process_virtual_memory_bytes", "Virtual memory, in bytes.", MetricType::Gauge,
                              static_cast<double>(stat->virtual_bytes)));
    families.push_back(
        Family("process_threads", "Threads of the process.", MetricType::Gauge, static_cast<double>(stat->threads)));
    if (const std::optional<uint64_t> boot = BootTime())
      families.push_back(
          Family("process_start_time_seconds", "Start of the process, in seconds since the epoch.", MetricType::Gauge,
                 static_cast<double>(*boot) + static_cast<double>(stat->start_ticks) / ticks_per_second));
  }
  if (const std::optional<size_t> open = OpenFiles())
    families.push_back(
        Family("process_open_fds", "Open file descriptors.", MetricType::Gauge, static_cast<double>(*open)));
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0)
    families.push_back(Family("process_max_fds", "Limit of open file descriptors.", MetricType::Gauge,
                              static_cast<double>(limit.rlim_cur)));
  return families;
}

}  // namespace dragonfly::telemetry
