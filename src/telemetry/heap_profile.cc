// SPDX-License-Identifier: Apache-2.0
#include "telemetry/heap_profile.h"

#include <dlfcn.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cinttypes>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "base/status.h"
#include "base/text.h"
#include "base/unique_fd.h"

// Of jemalloc, when the program is linked with it or has it preloaded.
extern "C" __attribute__((weak)) int mallctl(const char* name, void* old_value, size_t* old_size, void* new_value,
                                             size_t new_size);

namespace dragonfly::telemetry {
namespace {

// The file is in memory, and jemalloc opens it by a name.
absl::StatusOr<std::string> ReadAll(int fd) {
  std::string text;
  char buffer[64 << 10];
  for (off_t at = 0;;) {
    const ssize_t got = ::pread(fd, buffer, sizeof buffer, at);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return ErrnoStatus(errno, "read the heap dump");
    if (got == 0) return text;
    text.append(buffer, static_cast<size_t>(got));
    at += got;
  }
}

// Large allocations are sampled more often than small ones: by the inverse of the chance that one of the average size
// is taken (jemalloc's and pprof's rule).
double ScaleOf(int64_t objects, int64_t bytes, int64_t period) {
  if (objects <= 0 || bytes <= 0) return 0;
  if (period <= 1) return 1;
  const double average = static_cast<double>(bytes) / static_cast<double>(objects);
  return 1 / (1 - std::exp(-average / static_cast<double>(period)));
}

std::vector<uint64_t> ReadAddresses(std::string_view text) {
  std::vector<uint64_t> addresses;
  while (!(text = TrimSpace(text)).empty()) {
    const std::string word(text.substr(0, text.find(' ')));
    text.remove_prefix(word.size());
    const uint64_t address = std::strtoull(word.c_str(), nullptr, 16);
    // They are return addresses.
    if (address > 0) addresses.push_back(address - 1);
  }
  return addresses;
}

// Whether `address` is in the library that mallctl is in.
bool InAllocator(uint64_t address) {
  Dl_info allocator{};
  Dl_info here{};
  return ::dladdr(reinterpret_cast<const void*>(&mallctl), &allocator) != 0 &&
         ::dladdr(reinterpret_cast<const void*>(address), &here) != 0 && here.dli_fbase == allocator.dli_fbase;
}

// Who allocates is of interest, not how.
void DropAllocatorFrames(Profile& profile) {
  for (ProfileSample& sample : profile.samples) {
    const auto first = std::ranges::find_if_not(sample.addresses, InAllocator);
    if (first != sample.addresses.end()) sample.addresses.erase(sample.addresses.begin(), first);
  }
}

}  // namespace

absl::StatusOr<Profile> ParseHeapDump(const std::string& dump) {
  Profile profile;
  profile.value_types = {{"inuse_objects", "count"}, {"inuse_space", "bytes"}};
  profile.period_type = {"space", "bytes"};
  profile.begin = std::chrono::system_clock::now();
  if (std::sscanf(dump.c_str(), "heap_v2/%" SCNd64 "\n", &profile.period) != 1) {
    return absl::DataLossError(StrCat("no heap dump of jemalloc: ", Quoted(dump, 40)));
  }
  std::vector<uint64_t> addresses;
  for (std::string_view rest = dump; !rest.empty();) {
    const std::string line(rest.substr(0, rest.find('\n')));
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
    if (line.starts_with("MAPPED_LIBRARIES:")) break;
    if (line.starts_with("@")) {
      addresses = ReadAddresses(std::string_view(line).substr(1));
      continue;
    }
    // The total of the stack above: "t*: <objects>: <bytes> [...]". Before the first stack it is that of all.
    int64_t objects = 0;
    int64_t bytes = 0;
    if (addresses.empty() || std::sscanf(line.c_str(), " t*: %" SCNd64 ": %" SCNd64, &objects, &bytes) != 2) continue;
    const double scale = ScaleOf(objects, bytes, profile.period);
    ProfileSample sample;
    sample.addresses = std::move(addresses);
    sample.values = {std::llround(static_cast<double>(objects) * scale),
                     std::llround(static_cast<double>(bytes) * scale)};
    addresses.clear();
    if (sample.values[1] > 0) profile.samples.push_back(std::move(sample));
  }
  return profile;
}

absl::StatusOr<Profile> TakeHeapProfile() {
  if (mallctl == nullptr)
    return absl::UnimplementedError("heap profiles need jemalloc, which this program runs without");
  bool on = false;
  size_t size = sizeof on;
  if (mallctl("prof.active", &on, &size, nullptr, 0) != 0 || !on) {
    return absl::UnimplementedError("jemalloc's profiling is off; set MALLOC_CONF=prof:true");
  }
  const UniqueFd file(::memfd_create("heap_profile", MFD_CLOEXEC));
  if (!file.valid()) return ErrnoStatus(errno, "file for the heap dump");
  const std::string path = StrCat("/proc/self/fd/", file.get());
  const char* name = path.c_str();
  if (const int error = mallctl("prof.dump", nullptr, nullptr, &name, sizeof name); error != 0) {
    return ErrnoStatus(error, "dump the heap");
  }
  DF_ASSIGN_OR_RETURN(const std::string dump, ReadAll(file.get()));
  DF_ASSIGN_OR_RETURN(Profile profile, ParseHeapDump(dump));
  DropAllocatorFrames(profile);
  return profile;
}

}  // namespace dragonfly::telemetry
