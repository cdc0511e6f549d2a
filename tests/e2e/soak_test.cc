// SPDX-License-Identifier: Apache-2.0
// What daemons with default settings need under load, and that they give it back: many small downloads in a row, and
// many large ones at once. The figures are printed, for docs/performance.md.
//
// DF_SOAK=full: 10 000 small ones, 500 large ones, and a wait until idle connections have been closed; else less of
// everything.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/text.h"
#include "dfdaemon/v2/dfdaemon.pb.h"
#include "rpc/unix_client.h"
#include "tests/e2e/harness/cluster.h"
#include "tests/e2e/harness/origin.h"

namespace dragonfly::e2e {
namespace {

using Clock = std::chrono::steady_clock;

constexpr uint64_t kIdleMax = 64 << 20;   // resident bytes
constexpr uint64_t kLoadMax = 128 << 20;  // resident bytes
constexpr uint64_t kTaskMax = 4 << 10;    // resident bytes of a task that is kept
constexpr uint64_t kSmallBytes = 64 << 10;
constexpr uint64_t kLargeBytes = 9'000'000;
constexpr std::chrono::seconds kPatience{240};

bool Full() {
  const char* const how = std::getenv("DF_SOAK");
  return how != nullptr && std::string_view(how) == "full";
}

// A field of /proc/<pid>/status in bytes.
uint64_t MemoryOf(const Process& process, std::string_view field) {
  std::ifstream file(StrCat("/proc/", process.pid(), "/status"));
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(field)) return std::strtoull(line.c_str() + field.size(), nullptr, 10) << 10;
  }
  return 0;
}
uint64_t Resident(const Process& process) { return MemoryOf(process, "VmRSS:"); }
uint64_t Peak(const Process& process) { return MemoryOf(process, "VmHWM:"); }
// From here on Peak() counts anew.
void ForgetPeak(const Process& process) { std::ofstream(StrCat("/proc/", process.pid(), "/clear_refs")) << "5"; }

size_t Descriptors(const Process& process) {
  size_t count = 0;
  for ([[maybe_unused]] const auto& entry :
       std::filesystem::directory_iterator(StrCat("/proc/", process.pid(), "/fd"))) {
    ++count;
  }
  return count;
}

struct Use {
  uint64_t resident = 0;
  uint64_t peak = 0;
  size_t descriptors = 0;
};
Use UseOf(const Process& process) { return {Resident(process), Peak(process), Descriptors(process)}; }

void Print(const char* what, const char* name, const Use& use) {
  std::printf("%-28s %-5s %4llu MiB resident, %4llu at most, %5zu descriptors\n", what, name,
              static_cast<unsigned long long>(use.resident >> 20), static_cast<unsigned long long>(use.peak >> 20),
              use.descriptors);
}

absl::Status Download(rpc::UnixClient& client, const std::string& url) {
  dfdaemon::v2::DownloadTaskRequest request;
  auto& download = *request.mutable_download();
  download.set_url(url);
  download.set_type(common::v2::STANDARD);
  download.set_priority(common::v2::LEVEL6);
  return client.Call(
      "/dfdaemon.v2.DfdaemonDownload/DownloadTask", request.SerializeAsString(),
      [](std::string_view) { return absl::OkStatus(); }, Clock::now() + kPatience);
}

class SoakTest : public ::testing::Test {
 protected:
  // <url>?0 to <url>?<count - 1>, `at_once` at a time, each of these on a connection of its own.
  void DownloadAll(const std::string& url, int count, int at_once) {
    std::atomic<int> next = 0;
    std::vector<std::thread> threads;
    for (int i = 0; i < at_once; ++i) {
      threads.emplace_back([&] {
        const auto client = rpc::UnixClient::Connect(peer_.socket());
        ASSERT_TRUE(client.ok()) << client.status();
        for (int number = next++; number < count; number = next++) {
          const absl::Status status = Download(**client, StrCat(url, "?", number));
          EXPECT_TRUE(status.ok()) << status;
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
  }

  void ForgetPeaks() {
    ForgetPeak(seed_.process());
    ForgetPeak(peer_.process());
  }

  // Both daemons, which keep `tasks`, are within the bounds of idle ones again, with at most `descriptors` more than
  // before.
  void ExpectIdle(const char* after, int tasks, size_t descriptors, std::chrono::seconds patience) {
    const uint64_t bytes = kIdleMax + static_cast<uint64_t>(tasks) * kTaskMax;
    for (Peer* daemon : {&seed_, &peer_}) {
      const size_t most = (daemon == &seed_ ? seed_before_ : peer_before_).descriptors + descriptors;
      EXPECT_TRUE(Await([&] { return Resident(daemon->process()) <= bytes && Descriptors(daemon->process()) <= most; },
                        patience))
          << daemon->name() << " after " << after << ": " << Descriptors(daemon->process()) << " descriptors, at most "
          << most << " expected";
      Print(StrCat("idle after ", after).c_str(), daemon->name().c_str(), UseOf(daemon->process()));
    }
  }

  void ExpectWithin(const char* under, uint64_t bound) {
    for (Peer* daemon : {&seed_, &peer_}) {
      const Use use = UseOf(daemon->process());
      Print(under, daemon->name().c_str(), use);
      EXPECT_LE(use.peak, bound) << daemon->name() << ": " << under;
    }
  }

  TempDir dir_;
  Origin origin_{dir_.path()};
  const SchedulerProcess scheduler_{dir_.path() + "/scheduler"};
  Peer seed_{dir_.path() + "/seed", scheduler_.port(), {.name = "seed", .seed = true, .log_level = "info"}};
  Peer peer_{dir_.path() + "/peer", scheduler_.port(), {.name = "peer", .log_level = "info"}};
  Use seed_before_;
  Use peer_before_;
};

TEST_F(SoakTest, MemoryAndDescriptorsStayBoundedAndReturn) {
  const int small_count = Full() ? 10'000 : 2'000;
  const int large_count = Full() ? 500 : 300;
  WriteRandomFile(origin_.root() + "/small", kSmallBytes);
  WriteRandomFile(origin_.root() + "/large", kLargeBytes);

  DownloadAll(StrCat(origin_.Url("small"), "?warm"), 8, 8);
  seed_before_ = UseOf(seed_.process());
  peer_before_ = UseOf(peer_.process());
  ExpectWithin("after the start", kIdleMax);

  ForgetPeaks();
  auto begin = Clock::now();
  DownloadAll(origin_.Url("small"), small_count, 1);
  std::printf("%d small downloads in a row: %.1f s\n", small_count,
              std::chrono::duration<double>(Clock::now() - begin).count());
  ExpectWithin("small ones in a row", kLoadMax);

  ForgetPeaks();
  begin = Clock::now();
  DownloadAll(origin_.Url("large"), large_count, large_count);
  std::printf("%d large downloads at once: %.1f s\n", large_count,
              std::chrono::duration<double>(Clock::now() - begin).count());
  ExpectWithin("large ones at once", kLoadMax);

  // Connections that may be used again are kept for a minute.
  ExpectIdle("the load", small_count + large_count, Full() ? 48 : 256, std::chrono::seconds(Full() ? 120 : 30));
}

}  // namespace
}  // namespace dragonfly::e2e
