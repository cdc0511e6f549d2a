// SPDX-License-Identifier: Apache-2.0
#include "daemon/host_info.h"

#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <optional>
#include <set>
#include <sstream>
#include <string_view>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "base/text.h"
#include "base/version.h"
#include "common/v2/common.pb.h"
#include "runtime/cgroup.h"
#include "runtime/clock.h"
#include "runtime/local_address.h"

namespace dragonfly::daemon {
namespace {

// Assumed of an interface that does not tell its speed (loopback, most virtual ones) when no limit is configured.
constexpr uint64_t kUnknownSpeed = 10'000'000'000;  // bits a second

// Rates over less than this say more about the clock than about the network.
constexpr auto kNetworkSampleMin = std::chrono::milliseconds(500);

double Percent(double part, double whole) { return whole <= 0 ? 0 : std::clamp(part / whole * 100, 0.0, 100.0); }

double SecondsBetween(TimePoint from, TimePoint to) { return std::chrono::duration<double>(to - from).count(); }

uint64_t RateOf(uint64_t before, uint64_t after, double seconds) {
  if (after <= before || seconds <= 0) return 0;
  return static_cast<uint64_t>(static_cast<double>(after - before) / seconds);
}

// The first number of a file of one value.
std::optional<int64_t> ReadNumber(const std::string& path) {
  std::ifstream file(path);
  int64_t value = 0;
  if (file >> value) return value;
  return std::nullopt;
}

struct CpuTicks {
  uint64_t busy = 0;
  uint64_t total = 0;
};

// First line of /proc/stat: user nice system idle iowait irq softirq steal (proc(5)).
CpuTicks ReadCpuTicks() {
  std::ifstream file("/proc/stat");
  std::string label;
  file >> label;
  CpuTicks ticks;
  for (int i = 0; i < 8; ++i) {
    uint64_t value = 0;
    if (!(file >> value)) return CpuTicks();
    ticks.total += value;
    if (i != 3 && i != 4) ticks.busy += value;
  }
  return ticks;
}

double ProcessCpuSeconds() {
  timespec time{};
  if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time) != 0) return 0;
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

uint32_t LogicalCpus() { return static_cast<uint32_t>(std::max(1L, sysconf(_SC_NPROCESSORS_ONLN))); }

// Distinct cores of distinct packages; hyper-threads share one.
uint32_t PhysicalCpus(uint32_t logical) {
  std::set<std::pair<int64_t, int64_t>> cores;
  for (uint32_t cpu = 0; cpu < logical; ++cpu) {
    const std::string topology = StrCat("/sys/devices/system/cpu/cpu", cpu, "/topology/");
    const auto package = ReadNumber(topology + "physical_package_id");
    const auto core = ReadNumber(topology + "core_id");
    if (package && core) cores.emplace(*package, *core);
  }
  return cores.empty() ? logical : static_cast<uint32_t>(cores.size());
}

struct Meminfo {
  uint64_t total = 0;
  uint64_t free = 0;
  uint64_t available = 0;
};

Meminfo ReadMeminfo() {
  std::ifstream file("/proc/meminfo");
  Meminfo memory;
  std::string line;
  for (int i = 0; i < 8 && std::getline(file, line); ++i) {
    std::istringstream fields(line);
    std::string name;
    uint64_t kib = 0;
    if (!(fields >> name >> kib)) continue;
    if (name == "MemTotal:") memory.total = kib << 10;
    if (name == "MemFree:") memory.free = kib << 10;
    if (name == "MemAvailable:") memory.available = kib << 10;
  }
  return memory;
}

uint64_t ResidentBytes() {
  std::ifstream file("/proc/self/statm");
  uint64_t size = 0, resident = 0;
  if (!(file >> size >> resident)) return 0;
  return resident * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

struct ByteCounts {
  uint64_t in = 0;   // received, or read from disk
  uint64_t out = 0;  // sent, or written to disk
};

ByteCounts ReadProcessIo() {
  std::ifstream file("/proc/self/io");
  ByteCounts counts;
  std::string name;
  uint64_t value = 0;
  while (file >> name >> value) {
    if (name == "read_bytes:") counts.in = value;
    if (name == "write_bytes:") counts.out = value;
  }
  return counts;
}

// The counters of `interface` in /proc/net/dev.
ByteCounts ReadInterface(const std::string& interface) {
  std::ifstream file("/proc/net/dev");
  std::string line;
  while (std::getline(file, line)) {
    const size_t colon = line.find(':');
    if (colon == std::string::npos || TrimSpace(std::string_view(line).substr(0, colon)) != interface) continue;
    std::istringstream fields(line.substr(colon + 1));
    ByteCounts counts;
    uint64_t skipped = 0;
    fields >> counts.in;
    for (int i = 0; i < 7; ++i) fields >> skipped;
    fields >> counts.out;
    return fields ? counts : ByteCounts();
  }
  return ByteCounts();
}

// Bits a second that `interface` can carry, at most what the limit lets through.
uint64_t MaxBandwidth(const std::string& interface, uint64_t rate_limit) {
  const auto megabits = ReadNumber(StrCat("/sys/class/net/", interface, "/speed"));
  const uint64_t limit_bits = rate_limit > UINT64_MAX / 8 ? UINT64_MAX : rate_limit * 8;
  if (megabits && *megabits > 0) {
    const uint64_t speed = static_cast<uint64_t>(*megabits) * 1'000'000;
    return limit_bits == 0 ? speed : std::min(speed, limit_bits);
  }
  return limit_bits == 0 ? kUnknownSpeed : limit_bits;
}

std::string OsVersion() {
  std::ifstream file("/etc/os-release");
  std::string line;
  while (std::getline(file, line)) {
    if (!line.starts_with("VERSION_ID=")) continue;
    std::string value = line.substr(line.find('=') + 1);
    std::erase(value, '"');
    return value;
  }
  return "";
}

uint32_t HostType(const HostInfoOptions& options) {
  if (!options.identity.seed) return 0;
  if (options.seed_type == "super") return 1;
  if (options.seed_type == "strong") return 2;
  if (options.seed_type == "weak") return 3;
  return 0;
}

// "<namespace>-<pod>" inside Kubernetes, else the host name (client v1.2.2).
std::string UniqueName(const std::string& hostname) {
  const char* space = getenv("POD_NAMESPACE");
  const char* pod = getenv("POD_NAME");
  if (space == nullptr || pod == nullptr || *space == 0 || *pod == 0) return hostname;
  return StrCat(space, "-", pod);
}

}  // namespace

struct HostInfo::State {
  explicit State(HostInfoOptions opts) : options(std::move(opts)), cgroup(options.cgroup_root) {
    interface = runtime::InterfaceOf(options.identity.ip);
    logical = LogicalCpus();
    physical = PhysicalCpus(logical);
    os_version = OsVersion();
    name = UniqueName(options.identity.hostname);
    utsname system{};
    if (uname(&system) == 0) kernel = system.release;
    const absl::MutexLock lock(&mutex);
    load_at = network_at = Clock::now();
    cpu = ReadCpuTicks();
    process_cpu = ProcessCpuSeconds();
    io = ReadProcessIo();
    group_cpu = cgroup.ReadCpuSeconds();
    group_io = cgroup.ReadIo();
    network = ReadInterface(interface);
  }

  void FillIdentity(common::v2::Host& host) const;
  void FillLoad(common::v2::Host& host) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex);
  void FillDisk(common::v2::Disk& disk, const ByteCounts& now, double seconds) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex);
  void FillCgroup(common::v2::Host& host, double seconds) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex);
  void FillNetwork(common::v2::Network& out) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex);

  const HostInfoOptions options;
  const runtime::Cgroup cgroup;
  std::string interface, os_version, kernel, name;
  uint32_t logical = 0, physical = 0;

  absl::Mutex mutex;
  TimePoint load_at ABSL_GUARDED_BY(mutex);
  CpuTicks cpu ABSL_GUARDED_BY(mutex);
  double process_cpu ABSL_GUARDED_BY(mutex) = 0;
  ByteCounts io ABSL_GUARDED_BY(mutex);
  std::optional<double> group_cpu ABSL_GUARDED_BY(mutex);
  std::optional<runtime::Cgroup::IoBytes> group_io ABSL_GUARDED_BY(mutex);
  TimePoint network_at ABSL_GUARDED_BY(mutex);
  ByteCounts network ABSL_GUARDED_BY(mutex);
  std::optional<ByteCounts> network_rate ABSL_GUARDED_BY(mutex);  // bytes a second
};

void HostInfo::State::FillIdentity(common::v2::Host& host) const {
  const HostIdentity& identity = options.identity;
  host.set_id(identity.host_id);
  host.set_type(HostType(options));
  host.set_hostname(identity.hostname);
  host.set_ip(identity.ip);
  host.set_port(identity.upload_port);
  host.set_download_port(identity.upload_port);
  host.set_proxy_port(options.proxy_port);
  host.set_name(name);
  host.set_scheduler_cluster_id(options.scheduler_cluster_id);
  host.set_disable_shared(options.disable_shared);
}

void HostInfo::State::FillLoad(common::v2::Host& host) {
  const TimePoint now = Clock::now();
  const double seconds = SecondsBetween(load_at, now);

  const CpuTicks ticks = ReadCpuTicks();
  const double process = ProcessCpuSeconds();
  common::v2::CPU& processors = *host.mutable_cpu();
  processors.set_logical_count(logical);
  processors.set_physical_count(physical);
  if (ticks.total > cpu.total && ticks.busy >= cpu.busy) {
    processors.set_percent(
        Percent(static_cast<double>(ticks.busy - cpu.busy), static_cast<double>(ticks.total - cpu.total)));
  }
  if (seconds > 0) processors.set_process_percent(std::max(0.0, (process - process_cpu) / seconds * 100));

  const Meminfo meminfo = ReadMeminfo();
  common::v2::Memory& memory = *host.mutable_memory();
  memory.set_total(meminfo.total);
  memory.set_available(meminfo.available);
  memory.set_free(meminfo.free);
  memory.set_used(meminfo.total - std::min(meminfo.total, meminfo.available));
  memory.set_used_percent(Percent(static_cast<double>(memory.used()), static_cast<double>(meminfo.total)));
  memory.set_process_used_percent(Percent(static_cast<double>(ResidentBytes()), static_cast<double>(meminfo.total)));

  const ByteCounts process_io = ReadProcessIo();
  FillDisk(*host.mutable_disk(), process_io, seconds);
  FillCgroup(host, seconds);

  load_at = now;
  cpu = ticks;
  process_cpu = process;
  io = process_io;
}

void HostInfo::State::FillDisk(common::v2::Disk& disk, const ByteCounts& now, double seconds) {
  struct statvfs fs{};
  if (statvfs(options.storage_dir.c_str(), &fs) == 0) {
    disk.set_total(fs.f_blocks * fs.f_frsize);
    disk.set_free(fs.f_bavail * fs.f_frsize);
    disk.set_used((fs.f_blocks - fs.f_bfree) * fs.f_frsize);
    // Of what an unprivileged process can ever use, as df(1) counts.
    disk.set_used_percent(Percent(static_cast<double>(disk.used()), static_cast<double>(disk.used() + disk.free())));
    disk.set_inodes_total(fs.f_files);
    disk.set_inodes_free(fs.f_ffree);
    disk.set_inodes_used(fs.f_files - fs.f_ffree);
    disk.set_inodes_used_percent(Percent(static_cast<double>(disk.inodes_used()), static_cast<double>(fs.f_files)));
  }
  // The first announcement follows the start at once: no rate can be told then.
  if (seconds < 1) return;
  disk.set_read_bandwidth(RateOf(io.in, now.in, seconds));
  disk.set_write_bandwidth(RateOf(io.out, now.out, seconds));
}

void HostInfo::State::FillCgroup(common::v2::Host& host, double seconds) {
  const std::optional<runtime::CpuQuota> quota = cgroup.ReadCpuQuota();
  const std::optional<uint64_t> limit = cgroup.ReadMemoryLimit();
  if (!quota && !limit && !cgroup.in_container()) return;

  const std::optional<double> cpu_seconds = cgroup.ReadCpuSeconds();
  common::v2::CgroupCPU& processors = *host.mutable_cpu()->mutable_cgroup();
  processors.set_period(quota ? quota->period : 0);
  processors.set_quota(quota ? static_cast<int64_t>(quota->quota) : -1);
  if (cpu_seconds && group_cpu && seconds > 0) {
    processors.set_used_percent(Percent(*cpu_seconds - *group_cpu, seconds * (quota ? quota->cores() : logical)));
  }
  group_cpu = cpu_seconds;

  const uint64_t usage = cgroup.ReadMemoryUsage().value_or(0);
  common::v2::CgroupMemory& memory = *host.mutable_memory()->mutable_cgroup();
  memory.set_limit(limit ? static_cast<int64_t>(*limit) : -1);
  memory.set_usage(usage);
  memory.set_used_percent(
      Percent(static_cast<double>(usage), static_cast<double>(limit ? *limit : host.memory().total())));

  const std::optional<runtime::Cgroup::IoBytes> bytes = cgroup.ReadIo();
  if (bytes && group_io && seconds >= 1) {
    common::v2::CgroupDisk& disk = *host.mutable_disk()->mutable_cgroup();
    disk.set_read_bandwidth(RateOf(group_io->read, bytes->read, seconds));
    disk.set_write_bandwidth(RateOf(group_io->written, bytes->written, seconds));
  }
  group_io = bytes;
}

void HostInfo::State::FillNetwork(common::v2::Network& out) {
  const TimePoint now = Clock::now();
  if (!interface.empty() && now - network_at >= kNetworkSampleMin) {
    const ByteCounts counts = ReadInterface(interface);
    const double seconds = SecondsBetween(network_at, now);
    ByteCounts rate;
    rate.in = RateOf(network.in, counts.in, seconds);
    rate.out = RateOf(network.out, counts.out, seconds);
    network_rate = rate;
    network = counts;
    network_at = now;
  }
  if (!options.location.empty()) out.set_location(options.location);
  if (!options.idc.empty()) out.set_idc(options.idc);
  out.set_download_rate_limit(options.download_rate_limit);
  out.set_upload_rate_limit(options.upload_rate_limit);
  out.set_max_rx_bandwidth(MaxBandwidth(interface, options.download_rate_limit));
  out.set_max_tx_bandwidth(MaxBandwidth(interface, options.upload_rate_limit));
  if (network_rate) {
    out.set_download_rate(network_rate->in);
    out.set_upload_rate(network_rate->out);
    out.set_rx_bandwidth(network_rate->in * 8);
    out.set_tx_bandwidth(network_rate->out * 8);
  }
}

HostInfo::HostInfo(HostInfoOptions options) : state_(std::make_unique<State>(std::move(options))) {}
HostInfo::~HostInfo() = default;

void HostInfo::Fill(common::v2::Host& host) {
  state_->FillIdentity(host);
  host.set_os("linux");
  host.set_platform("linux");
  host.set_platform_family("unix");
  host.set_platform_version(state_->os_version);
  host.set_kernel_version(state_->kernel);
  host.mutable_build()->set_git_version(std::string(kVersion));
  host.mutable_build()->set_git_commit(std::string(GitCommit()));
  const absl::MutexLock lock(&state_->mutex);
  state_->FillLoad(host);
  state_->FillNetwork(*host.mutable_network());
}

void HostInfo::FillNetwork(common::v2::Host& host) {
  state_->FillIdentity(host);
  const absl::MutexLock lock(&state_->mutex);
  state_->FillNetwork(*host.mutable_network());
}

const HostIdentity& HostInfo::identity() const { return state_->options.identity; }

}  // namespace dragonfly::daemon
