// SPDX-License-Identifier: Apache-2.0
#include "telemetry/profile.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>
#include <zlib.h>

#include <atomic>
#include <chrono>
#include <fstream>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "perftools/profile.pb.h"
#include "telemetry/cpu_profile.h"
#include "telemetry/elf_symbols.h"
#include "telemetry/heap_profile.h"
#include "tests/unit/telemetry/temp_dir.h"

// Outside of any namespace and never inlined, so that its name is found as it stands.
// Returns when the thread has spent half a second of processor time, however slow the machine.
extern "C" __attribute__((noinline)) uint64_t SpendTimeHere() {
  uint64_t sum = 1;
  timespec used{};
  do {
    for (int i = 0; i < 1'000'000; ++i) sum = sum * 6364136223846793005u + 1442695040888963407u;
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
  } while (used.tv_sec == 0 && used.tv_nsec < 500'000'000);
  return sum;
}

namespace dragonfly::telemetry {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

std::string Gunzip(const std::string& data) {
  z_stream stream{};
  EXPECT_EQ(inflateInit2(&stream, 15 + 16), Z_OK);
  std::string out(16 << 20, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(data.data()));
  stream.avail_in = static_cast<uInt>(data.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(inflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(stream.total_out);
  inflateEnd(&stream);
  return out;
}

perftools::profiles::Profile Decode(const std::string& encoded) {
  perftools::profiles::Profile profile;
  EXPECT_TRUE(profile.ParseFromString(Gunzip(encoded)));
  return profile;
}

// Names of the functions of each sample, innermost first.
std::vector<std::vector<std::string>> Stacks(const perftools::profiles::Profile& profile) {
  std::map<uint64_t, std::string> names;
  for (const auto& function : profile.function()) {
    names[function.id()] = profile.string_table(static_cast<int>(function.name()));
  }
  std::vector<std::vector<std::string>> stacks;
  for (const auto& sample : profile.sample()) {
    std::vector<std::string> stack;
    for (const uint64_t id : sample.location_id()) {
      const auto& location = profile.location(static_cast<int>(id) - 1);
      stack.push_back(location.line_size() > 0 ? names[location.line(0).function_id()] : "?");
    }
    stacks.push_back(std::move(stack));
  }
  return stacks;
}

TEST(Profile, NamesTheFunctionsAndAddsEqualStacksUp) {
  const auto address = reinterpret_cast<uint64_t>(&SpendTimeHere) + 1;
  Profile profile;
  profile.value_types = {{"samples", "count"}, {"cpu", "nanoseconds"}};
  profile.period_type = {"cpu", "nanoseconds"};
  profile.period = 7;
  profile.samples = {{{address, 1}, {1, 7}}, {{address, 1}, {2, 14}}, {{1}, {1, 7}}};
  const perftools::profiles::Profile decoded = Decode(EncodeProfile(profile));
  EXPECT_EQ(decoded.string_table(0), "");
  EXPECT_EQ(decoded.string_table(static_cast<int>(decoded.sample_type(1).unit())), "nanoseconds");
  EXPECT_EQ(decoded.period(), 7);
  ASSERT_THAT(decoded.sample(), SizeIs(2));
  EXPECT_THAT(decoded.sample(1).value(), ElementsAre(3, 21));
  EXPECT_THAT(Stacks(decoded)[1], ElementsAre("SpendTimeHere", "?"));
  // The program comes first, and knows where its functions are.
  ASSERT_GT(decoded.mapping_size(), 1);
  EXPECT_THAT(decoded.string_table(static_cast<int>(decoded.mapping(0).filename())), HasSubstr("telemetry_test"));
}

TEST(Profile, DemanglesNamesOfSaneLength) {
  EXPECT_EQ(Demangle("_ZN9dragonfly6daemon6Daemon4StopEv"), "dragonfly::daemon::Daemon::Stop()");
  EXPECT_EQ(Demangle("main"), "main");
  const std::string endless = "_Z" + std::string(1 << 20, 'P');
  EXPECT_EQ(Demangle(endless), endless);
}

TEST(ElfSymbols, TakesNothingFromWhatIsNoElfFile) {
  const TempDir dir;
  const std::string path = dir.path() + "/file";
  EXPECT_EQ(ElfSymbols(path).At(0), std::nullopt);
  std::ofstream(path) << "text";
  EXPECT_EQ(ElfSymbols(path).At(0), std::nullopt);
  // A header whose tables leave the file.
  std::string header(64, '\xff');
  header.replace(0, 7,
                 "\x7f"
                 "ELF\x02\x01\x01");
  std::ofstream(path) << header;
  EXPECT_EQ(ElfSymbols(path).At(0), std::nullopt);
}

#if !defined(__SANITIZE_THREAD__) && !__has_feature(thread_sanitizer)
TEST(CpuProfile, FindsTheFunctionThatSpendsTheTime) {
  auto started = CpuProfile::Start(1000);
  ASSERT_TRUE(started.ok()) << started.status();
  EXPECT_EQ(CpuProfile::Start(100).status().code(), absl::StatusCode::kFailedPrecondition);
  std::vector<std::thread> threads;
  std::atomic<uint64_t> sum = 0;  // so that the work is not left out
  for (int i = 0; i < 2; ++i) threads.emplace_back([&] { sum += SpendTimeHere(); });
  for (std::thread& thread : threads) thread.join();
  const Profile profile = (*started)->Finish();

  ASSERT_GT(profile.samples.size(), 20u);
  const perftools::profiles::Profile decoded = Decode(EncodeProfile(profile));
  const auto stacks = Stacks(decoded);
  int64_t total = 0;
  int64_t here = 0;
  for (size_t i = 0; i < stacks.size(); ++i) {
    const int64_t nanoseconds = decoded.sample(static_cast<int>(i)).value(1);
    total += nanoseconds;
    if (!stacks[i].empty() && stacks[i][0] == "SpendTimeHere") here += nanoseconds;
  }
  EXPECT_GT(here, total * 3 / 4);
  // The callers are known, too.
  size_t deepest = 0;
  for (const auto& stack : stacks) deepest = std::max(deepest, stack.size());
  EXPECT_GE(deepest, 2u);
  // And again, since the first has ended.
  EXPECT_TRUE(CpuProfile::Start(100).ok());
}
#endif

TEST(CpuProfile, RefusesFrequenciesThatMakeNoSense) {
  for (const int frequency : {0, -1, CpuProfile::kFrequencyMax + 1}) {
    EXPECT_TRUE(absl::IsInvalidArgument(CpuProfile::Start(frequency).status())) << frequency;
  }
}

// As jemalloc 5.3 writes it.
constexpr char kDump[] =
    "heap_v2/524288\n"
    "  t*: 3: 1049600 [0: 0]\n"
    "  t0: 3: 1049600 [0: 0]\n"
    "@ 0x1001 0x2001\n"
    "  t*: 2: 1024 [0: 0]\n"
    "  t0: 2: 1024 [0: 0]\n"
    "@ 0x3001\n"
    "  t*: 1: 1048576 [0: 0]\n"
    "  t0: 1: 1048576 [0: 0]\n"
    "\n"
    "MAPPED_LIBRARIES:\n"
    "@ 0x5001\n"
    "  t*: 9: 9 [0: 0]\n";

TEST(HeapProfile, ScalesTheSamplesToTheWhole) {
  const absl::StatusOr<Profile> profile = ParseHeapDump(kDump);
  ASSERT_TRUE(profile.ok()) << profile.status();
  EXPECT_EQ(profile->period, 524288);
  ASSERT_THAT(profile->samples, SizeIs(2));
  EXPECT_THAT(profile->samples[0].addresses, ElementsAre(0x1000, 0x2000));
  // 1 / (1 - e^(-512 / 524288)) = 1024.5
  EXPECT_THAT(profile->samples[0].values, ElementsAre(2049, 1049088));
  // 1 / (1 - e^-2) = 1.1565
  EXPECT_THAT(profile->samples[1].values, ElementsAre(1, 1212697));
}

TEST(HeapProfile, SaysWhatIsMissing) {
  EXPECT_EQ(ParseHeapDump("something").status().code(), absl::StatusCode::kDataLoss);
  const absl::Status status = TakeHeapProfile().status();
  EXPECT_TRUE(absl::IsUnimplemented(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("jemalloc"));
}

}  // namespace
}  // namespace dragonfly::telemetry
