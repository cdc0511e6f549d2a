// SPDX-License-Identifier: Apache-2.0
// The write path of the store against its limit, the same bytes by CRC-32 and pwrite(2) alone into a file that was made
// in the same way; and how many small tasks a second the store makes and completes. Both sides run by turns in one
// process; the first round warms the memory up and is not counted. Prints one line a measurement: value, limit, ratio.
#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "base/digest.h"
#include "base/text.h"
#include "base/unique_fd.h"
#include "base/units.h"
#include "storage/content_store.h"

namespace dragonfly::storage {
namespace {

constexpr uint64_t kPieceLength = 4 * kMiB;
constexpr double kGiBBytes = static_cast<double>(kGiB);

struct Settings {
  std::string parent = "/tmp";
  uint64_t mib = 512;
  uint64_t tasks = 5000;
  int rounds = 5;
};

struct Cost {
  double seconds = 0;
  double cpu_seconds = 0;
};

double CpuSeconds() {
  struct rusage usage;
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

Cost Measure(const std::function<void()>& work) {
  const double cpu = CpuSeconds();
  const auto start = std::chrono::steady_clock::now();
  work();
  const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - start;
  return {passed.count(), CpuSeconds() - cpu};
}

[[noreturn]] void Die(const absl::Status& status) {
  std::cerr << status << "\n";
  std::exit(1);
}

void Check(const absl::Status& status) {
  if (!status.ok()) Die(status);
}

template <typename T>
T Check(absl::StatusOr<T> value) {
  if (!value.ok()) Die(value.status());
  return *std::move(value);
}

TaskId IdOf(uint64_t number) { return Check(TaskId::Parse(Sha256Hex(std::to_string(number)))); }

// By time, so that one disturbed round does not count.
Cost Median(std::vector<Cost> costs) {
  std::sort(costs.begin(), costs.end(), [](const Cost& a, const Cost& b) { return a.seconds < b.seconds; });
  return costs[costs.size() / 2];
}

// `size` bytes in appends of `step`; the content is deleted outside of the measured time.
Cost StoreOnce(ContentStore& store, uint64_t size, std::span<const std::byte> bytes, size_t step) {
  ContentShape shape;
  shape.content_length = size;
  shape.piece_length = kPieceLength;
  const TaskId id = IdOf(0);
  const Cost cost = Measure([&] {
    const std::shared_ptr<TaskContent> content = Check(store.FindOrCreate(id, shape));
    for (uint32_t n = 0; n < content->layout()->piece_count(); ++n) {
      PieceWriter writer = Check(content->BeginPiece(PieceNumber(n)));
      for (uint64_t at = 0; at < kPieceLength; at += step) Check(writer.Append(bytes.subspan(at, step)));
      Check(writer.Commit(std::nullopt, "10.0.0.1-host-peer", TrafficType::kRemotePeer));
    }
  });
  Check(store.Delete(id));
  return cost;
}

Cost WriteOnce(const std::string& path, uint64_t size, std::span<const std::byte> bytes) {
  const Cost cost = Measure([&] {
    const UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
    if (!fd.valid() || ::ftruncate(fd.get(), static_cast<off_t>(size)) != 0) Die(absl::InternalError("create"));
    (void)::fallocate(fd.get(), FALLOC_FL_KEEP_SIZE, 0, static_cast<off_t>(size));
    uint32_t crc = 0;
    for (uint64_t at = 0; at < size; at += kMiB) {
      const auto part = bytes.subspan(at % kPieceLength, kMiB);
      crc ^= Crc32(part);
      if (::pwrite(fd.get(), part.data(), part.size(), static_cast<off_t>(at)) != static_cast<ssize_t>(part.size())) {
        Die(absl::InternalError("pwrite"));
      }
    }
    if (crc == 1) std::puts("");  // the sums are wanted
  });
  ::unlink(path.c_str());
  return cost;
}

void BenchThroughput(const Settings& settings, ContentStore& store, const std::string& dir) {
  const uint64_t size = settings.mib * kMiB / kPieceLength * kPieceLength;
  const std::unique_ptr<std::byte, decltype(&::free)> memory(
      static_cast<std::byte*>(::aligned_alloc(4096, kPieceLength)), &::free);
  const std::span<std::byte> bytes(memory.get(), kPieceLength);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i * 7 + i / 4096);

  const size_t steps[] = {16 * kKiB, 64 * kKiB, 256 * kKiB, kMiB, kPieceLength};
  std::vector<Cost> limit;
  std::vector<std::vector<Cost>> ours(std::size(steps));
  for (int round = 0; round <= settings.rounds; ++round) {
    const Cost raw = WriteOnce(dir + "/limit", size, bytes);
    if (round > 0) limit.push_back(raw);
    for (size_t i = 0; i < std::size(steps); ++i) {
      const Cost cost = StoreOnce(store, size, bytes, steps[i]);
      if (round > 0) ours[i].push_back(cost);
    }
  }
  const double gib = static_cast<double>(size) / kGiBBytes;
  const Cost base = Median(limit);
  std::printf("%-34s %8s %12s %8s %12s %6s\n", "", "GiB/s", "CPU s/GiB", "limit", "CPU s/GiB", "ratio");
  for (size_t i = 0; i < std::size(steps); ++i) {
    const Cost cost = Median(ours[i]);
    std::printf("pieces of 4 MiB, appends of %4zu KiB %8.2f %12.3f %8.2f %12.3f %6.2f\n", steps[i] / kKiB,
                gib / cost.seconds, cost.cpu_seconds / gib, gib / base.seconds, base.cpu_seconds / gib,
                base.seconds / cost.seconds);
  }
}

void BenchSmallTasks(const Settings& settings, ContentStore& store, const std::string& dir) {
  const std::vector<std::byte> bytes(64 * kKiB, std::byte{7});
  std::vector<Cost> ours;
  std::vector<Cost> limit;
  std::vector<Cost> removal;
  std::vector<TaskId> ids;
  for (uint64_t i = 0; i < settings.tasks; ++i) ids.push_back(IdOf(1 + i));
  for (int round = 0; round <= settings.rounds; ++round) {
    const std::string raw = dir + "/small";
    std::filesystem::create_directory(raw);
    // The least that leaves a file with the bytes and a record of them: two files.
    const Cost least = Measure([&] {
      for (uint64_t i = 0; i < settings.tasks; ++i) {
        for (const auto& [suffix, size] : {std::pair{"a", bytes.size()}, std::pair{"b", size_t{200}}}) {
          const UniqueFd fd(::open(StrCat(raw, "/", i, suffix).c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
          if (::pwrite(fd.get(), bytes.data(), size, 0) != static_cast<ssize_t>(size))
            Die(absl::InternalError("write"));
        }
      }
    });
    std::filesystem::remove_all(raw);
    const Cost made = Measure([&] {
      ContentShape shape;
      shape.content_length = bytes.size();
      for (const TaskId& id : ids) {
        const std::shared_ptr<TaskContent> content = Check(store.FindOrCreate(id, shape));
        PieceWriter writer = Check(content->BeginPiece(PieceNumber(0)));
        Check(writer.Append(bytes));
        Check(writer.Commit(std::nullopt, "10.0.0.1-host-peer", TrafficType::kRemotePeer));
        if (!content->complete()) Die(absl::InternalError("incomplete"));
      }
    });
    const Cost removed = Measure([&] {
      for (const TaskId& id : ids) Check(store.Delete(id));
    });
    if (round == 0) continue;
    limit.push_back(least);
    ours.push_back(made);
    removal.push_back(removed);
  }
  const double tasks = static_cast<double>(settings.tasks);
  const Cost made = Median(ours);
  const Cost least = Median(limit);
  std::printf(
      "\ntasks of 64 KiB made, written, completed: %.0f/s, %.1f CPU µs each; two files alone %.0f/s; ratio %.2f\n",
      tasks / made.seconds, made.cpu_seconds / tasks * 1e6, tasks / least.seconds, least.seconds / made.seconds);
  std::printf("deleted: %.0f/s\n", tasks / Median(removal).seconds);
}

void BenchOpenPiece(ContentStore& store) {
  ContentShape shape;
  shape.content_length = 64;
  const std::shared_ptr<TaskContent> content = Check(store.FindOrCreate(IdOf(0), shape));
  PieceWriter writer = Check(content->BeginPiece(PieceNumber(0)));
  Check(writer.Append(std::vector<std::byte>(64)));
  Check(writer.Commit(std::nullopt, "10.0.0.1-host-peer", TrafficType::kRemotePeer));
  constexpr int kOpens = 1'000'000;
  const Cost cost = Measure([&] {
    for (int i = 0; i < kOpens; ++i) Check(content->OpenPiece(PieceNumber(0)));
  });
  std::printf("a finished piece opened: %.0f ns\n", cost.seconds / kOpens * 1e9);
}

void Run(const Settings& settings) {
  std::string dir = settings.parent + "/storage_bench-XXXXXX";
  if (::mkdtemp(dir.data()) == nullptr) Die(absl::InternalError("mkdtemp " + dir));
  for (const bool keep : {false, true}) {
    StoreOptions options;
    options.dir = StrCat(dir, keep ? "/kept" : "/wiped");
    options.keep = keep;
    const std::unique_ptr<ContentStore> store = Check(ContentStore::Open(options));
    std::printf("%sstorage.keep: %s\n", keep ? "\n" : "", keep ? "true" : "false");
    if (!keep) BenchThroughput(settings, *store, dir);
    BenchSmallTasks(settings, *store, dir);
    if (!keep) BenchOpenPiece(*store);
  }
  std::filesystem::remove_all(dir);
}

}  // namespace
}  // namespace dragonfly::storage

int main(int argc, char** argv) {
  dragonfly::storage::Settings settings;
  CLI::App app("Measures the store's write path against pwrite(2) and CRC-32 alone.");
  app.add_option("--dir", settings.parent, "Directory on the file system to measure")->capture_default_str();
  app.add_option("--mib", settings.mib, "Size of the content in MiB")->capture_default_str();
  app.add_option("--tasks", settings.tasks, "Number of small tasks")->capture_default_str();
  app.add_option("--rounds", settings.rounds, "Counted rounds; the median is shown")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  dragonfly::storage::Run(settings);
  return 0;
}
