// SPDX-License-Identifier: Apache-2.0
// Back to source: one large file from a real nginx on loopback into a sink that checks and stores it as the content
// store does (CRC-32, pwrite into a preallocated file), against `curl -o` of the same file in the same run.
//
//   source_bench [MiB] [rounds] [directory] [KiB of one pwrite]
//
// The write step mattered more than everything else where it was varied, on a busy virtual machine: from 256 KiB on the
// page cache's copy took two to three times the CPU time (docs/origins.md).
//
// Prints seconds and CPU seconds of each round (first one is warm-up), and the ratio of the medians.
#include <fcntl.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "base/digest.h"
#include "base/unique_fd.h"
#include "runtime/token_bucket.h"
#include "source/source.h"
#include "tests/support/nginx.h"

extern char** environ;

namespace dragonfly {
namespace {

class FileSink : public ByteSink {
 public:
  FileSink(const std::string& path, uint64_t length, size_t step)
      : step_(step), fd_(::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC, 0644)) {
    if (!fd_.valid() || ::posix_fallocate(fd_.get(), 0, static_cast<off_t>(length)) != 0) std::abort();
  }
  absl::Status Append(std::span<const std::byte> bytes) override {
    crc_ = Crc32(bytes, crc_);
    while (!bytes.empty()) {
      const std::span<const std::byte> part = bytes.first(std::min(step_, bytes.size()));
      if (::pwrite(fd_.get(), part.data(), part.size(), offset_) != static_cast<ssize_t>(part.size())) {
        return absl::ResourceExhaustedError("pwrite");
      }
      offset_ += static_cast<off_t>(part.size());
      bytes = bytes.subspan(part.size());
    }
    ++calls_;
    return absl::OkStatus();
  }
  uint32_t crc() const { return crc_; }
  int calls() const { return calls_; }

 private:
  const size_t step_;
  UniqueFd fd_;
  uint32_t crc_ = 0;
  off_t offset_ = 0;
  int calls_ = 0;
};

struct Cost {
  double seconds = 0;
  double cpu = 0;
};

double CpuSeconds(int who) {
  rusage usage{};
  ::getrusage(who, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

template <typename Work>
Cost Measure(int who, Work work) {
  const double cpu = CpuSeconds(who);
  const TimePoint begin = Clock::now();
  work();
  return {std::chrono::duration<double>(Clock::now() - begin).count(), CpuSeconds(who) - cpu};
}

void Curl(const std::string& url, const std::string& path) {
  std::string url_copy = url;
  std::string path_copy = path;
  char program[] = "curl";
  char silent[] = "-sSf";
  char output[] = "-o";
  char* arguments[] = {program, silent, output, path_copy.data(), url_copy.data(), nullptr};
  pid_t pid = 0;
  int status = 0;
  if (::posix_spawnp(&pid, "curl", nullptr, nullptr, arguments, environ) != 0 || ::waitpid(pid, &status, 0) != pid ||
      status != 0) {
    std::fprintf(stderr, "curl failed\n");
    std::exit(1);
  }
}

uint32_t Read(const std::string& url, const std::string& path, uint64_t length, size_t step, int& calls) {
  boost::asio::io_context io;
  std::unique_ptr<source::SourceSet> sources = source::MakeSources(io, source::SourceOptions());
  runtime::TokenBucket unlimited(0);
  FileSink sink(path, length, step);
  source::OriginRequest request;
  request.url = url;
  absl::Status outcome = absl::UnknownError("did not end");
  const auto download = [](source::Source& origin, source::OriginRequest asked, uint64_t bytes, FileSink& into,
                           runtime::TokenBucket& limiter, absl::Status& result) -> boost::asio::awaitable<void> {
    const absl::StatusOr<source::OriginStat> stat = co_await origin.Stat(asked);
    if (!stat.ok()) {
      result = stat.status();
      co_return;
    }
    const ByteRange all{0, bytes};
    result = co_await origin.Read(asked, all, source::VersionOf(*stat), into, limiter);
  };
  boost::asio::co_spawn(io, download(**sources->For(url), request, length, sink, unlimited, outcome),
                        [](const std::exception_ptr& error) {
                          if (error) std::rethrow_exception(error);
                        });
  io.run();
  if (!outcome.ok()) {
    std::fprintf(stderr, "%s\n", outcome.ToString().c_str());
    std::exit(1);
  }
  calls = sink.calls();
  return sink.crc();
}

double Median(std::vector<Cost> costs, double Cost::* field) {
  std::sort(costs.begin(), costs.end(), [field](const Cost& a, const Cost& b) { return a.*field < b.*field; });
  return costs[costs.size() / 2].*field;
}

int Main(int argc, char** argv) {
  const uint64_t length = (argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 1024) << 20;
  const int rounds = argc > 2 ? std::atoi(argv[2]) : 5;
  const std::string dir = argc > 3 ? argv[3] : ".";
  const size_t step = (argc > 4 ? std::strtoull(argv[4], nullptr, 10) : 128) << 10;
  const std::string ours = dir + "/source_bench.ours";
  const std::string theirs = dir + "/source_bench.curl";

  testing::Nginx nginx({{""}});
  {
    std::string block(1 << 20, '\0');
    for (size_t i = 0; i < block.size(); ++i) block[i] = static_cast<char>(i * 2654435761u >> 13);
    UniqueFd file(::open((nginx.www() + "/file").c_str(), O_WRONLY | O_CREAT, 0644));
    for (uint64_t at = 0; at < length; at += block.size()) {
      if (::write(file.get(), block.data(), block.size()) < 0) return 1;
    }
  }
  const std::string url = nginx.Url("/file");

  std::vector<Cost> our_costs;
  std::vector<Cost> their_costs;
  std::printf("%-6s %10s %10s %10s %10s %8s\n", "round", "ours s", "cpu s", "curl s", "cpu s", "appends");
  for (int round = 0; round <= rounds; ++round) {
    Cost our;
    Cost their;
    int calls = 0;
    // Who comes second gets the memory that the first has left, which may be dearer or cheaper: they take turns.
    for (const bool our_turn : {round % 2 == 0, round % 2 != 0}) {
      ::unlink(ours.c_str());
      ::unlink(theirs.c_str());
      ::sync();
      if (our_turn) {
        our = Measure(RUSAGE_SELF, [&] { Read(url, ours, length, step, calls); });
      } else {
        their = Measure(RUSAGE_CHILDREN, [&] { Curl(url, theirs); });
      }
    }
    std::printf("%-6d %10.3f %10.3f %10.3f %10.3f %8d\n", round, our.seconds, our.cpu, their.seconds, their.cpu, calls);
    if (round == 0) continue;
    our_costs.push_back(our);
    their_costs.push_back(their);
  }
  ::unlink(ours.c_str());
  ::unlink(theirs.c_str());
  const double seconds = Median(our_costs, &Cost::seconds);
  const double curl_seconds = Median(their_costs, &Cost::seconds);
  std::printf("median %10.3f %10.3f %10.3f %10.3f  ratio %.2f\n", seconds, Median(our_costs, &Cost::cpu), curl_seconds,
              Median(their_costs, &Cost::cpu), seconds / curl_seconds);
  return 0;
}

}  // namespace
}  // namespace dragonfly

int main(int argc, char** argv) { return dragonfly::Main(argc, argv); }
