// SPDX-License-Identifier: Apache-2.0
#include "bench/transfer.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>

namespace dragonfly::bench {

namespace {

constexpr double kGiB = 1024.0 * 1024 * 1024;

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// The median stands for several runs, the extremes show their spread.
void AddFigure(nlohmann::ordered_json& line, const std::string& name, const std::vector<double>& values) {
  line[name] = Median(values);
  line[name + "_min"] = *std::min_element(values.begin(), values.end());
  line[name + "_max"] = *std::max_element(values.begin(), values.end());
}

UniqueFd MakeFile(const TransferOptions& options) {
  UniqueFd fd(::open(options.dir.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (!fd.valid()) Die("make a file in " + options.dir);
  if (const int error = ::posix_fallocate(fd.get(), 0, static_cast<off_t>(options.bytes)); error != 0) {
    errno = error;
    Die("make room in " + options.dir);
  }
  return fd;
}

void Fill(int fd, uint64_t bytes) {
  std::vector<uint64_t> block((1 << 20) / sizeof(uint64_t));
  uint64_t state = 1;
  for (uint64_t at = 0; at < bytes; at += 1 << 20) {
    for (uint64_t& word : block) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      word = state ^ (state >> 29);
    }
    WriteFully(fd, std::as_bytes(std::span(block)).first(std::min<uint64_t>(1 << 20, bytes - at)), at);
  }
}

}  // namespace

void Die(const std::string& what) {
  std::fprintf(stderr, "%s: %s\n", what.c_str(), std::strerror(errno));
  std::exit(1);
}

void WriteFully(int fd, std::span<const std::byte> bytes, uint64_t offset) {
  while (!bytes.empty()) {
    const ssize_t n = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (n < 0) Die("write");
    offset += static_cast<uint64_t>(n);
    bytes = bytes.subspan(static_cast<size_t>(n));
  }
}

TransferOptions ParseTransferOptions(int argc, char** argv) {
  TransferOptions options;
  CLI::App app("Moves a file between two processes over loopback TCP and prints one line of JSON.");
  app.add_option("--bytes", options.bytes)->transform(CLI::AsSizeValue(false))->capture_default_str();
  app.add_option("--piece", options.piece_length)->transform(CLI::AsSizeValue(false))->capture_default_str();
  app.add_option("--streams", options.streams)->check(CLI::Range(1, 256))->capture_default_str();
  app.add_option("--threads", options.threads)->check(CLI::Range(1, 256))->capture_default_str();
  app.add_option("--runs", options.runs)->check(CLI::Range(1, 1000))->capture_default_str();
  app.add_option("--dir", options.dir)->capture_default_str();
  app.add_option("--target", options.target)->check(CLI::IsMember({"new", "same", "none"}))->capture_default_str();
  app.add_option("--congestion", options.congestion)->capture_default_str();
  app.add_option("--transport", options.transport)->check(CLI::IsMember({"tcp", "quic"}))->capture_default_str();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    std::exit(app.exit(error));
  }
  return options;
}

UniqueFd MakeSource(const TransferOptions& options) {
  UniqueFd fd = MakeFile(options);
  Fill(fd.get(), options.bytes);
  return fd;
}

UniqueFd MakeTarget(const TransferOptions& options) {
  UniqueFd fd = MakeFile(options);
  if (options.target == "same") Fill(fd.get(), options.bytes);
  return fd;
}

double CpuSeconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

Sender::Sender(const std::function<uint16_t()>& serve, const std::function<void()>& stop) {
  int commands[2];
  int replies[2];
  if (::pipe2(commands, O_CLOEXEC) != 0 || ::pipe2(replies, O_CLOEXEC) != 0) Die("pipe");
  commands_ = UniqueFd(commands[1]);
  replies_ = UniqueFd(replies[0]);
  UniqueFd their_commands(commands[0]);
  UniqueFd their_replies(replies[1]);
  pid_ = ::fork();
  if (pid_ < 0) Die("fork");
  if (pid_ == 0) {
    commands_.Reset();
    replies_.Reset();
    const uint16_t port = serve();
    if (::write(their_replies.get(), &port, sizeof(port)) != sizeof(port)) std::_Exit(1);
    char command = 0;
    while (::read(their_commands.get(), &command, 1) == 1) {
      const double cpu = bench::CpuSeconds();
      if (::write(their_replies.get(), &cpu, sizeof(cpu)) != sizeof(cpu)) std::_Exit(1);
    }
    stop();
    std::_Exit(0);
  }
  their_replies.Reset();
  if (::read(replies_.get(), &port_, sizeof(port_)) != sizeof(port_)) Die("start the sending process");
}

Sender::~Sender() {
  commands_.Reset();
  ::waitpid(pid_, nullptr, 0);
}

double Sender::CpuSeconds() {
  double cpu = 0;
  if (::write(commands_.get(), "c", 1) != 1 || ::read(replies_.get(), &cpu, sizeof(cpu)) != sizeof(cpu)) {
    Die("ask the sending process");
  }
  return cpu;
}

void MeasureTransfer(const std::string& name, const TransferOptions& options, Sender& sender,
                     const std::function<void(int target)>& receive) {
  std::vector<double> rates;
  std::vector<double> sender_cpu;
  std::vector<double> receiver_cpu;
  std::vector<double> both_cpu;
  const double gib = static_cast<double>(options.bytes) / kGiB;
  UniqueFd target = MakeTarget(options);
  for (int run = 0; run <= options.runs; ++run) {
    if (options.target == "new" && run > 0) {
      // First away with the old one: its pages are warm, and new memory costs a virtual machine several times as much.
      target.Reset();
      target = MakeTarget(options);
    }
    const double sender_before = sender.CpuSeconds();
    const double receiver_before = CpuSeconds();
    const auto start = std::chrono::steady_clock::now();
    receive(target.get());
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    const double receiver = CpuSeconds() - receiver_before;
    const double sent = sender.CpuSeconds() - sender_before;
    if (run == 0) continue;
    rates.push_back(gib / seconds);
    sender_cpu.push_back(sent / gib);
    receiver_cpu.push_back(receiver / gib);
    both_cpu.push_back((sent + receiver) / gib);
  }
  nlohmann::ordered_json line = {{"name", name}};
  AddFigure(line, "gib_per_s", rates);
  AddFigure(line, "cpu_s_per_gib", both_cpu);
  AddFigure(line, "sender_cpu_s_per_gib", sender_cpu);
  AddFigure(line, "receiver_cpu_s_per_gib", receiver_cpu);
  line.update({{"bytes", options.bytes},
               {"piece_length", options.piece_length},
               {"streams", options.streams},
               {"threads", options.threads},
               {"runs", options.runs},
               {"target", options.target},
               {"congestion", options.congestion}});
  std::printf("%s\n", line.dump().c_str());
}

}  // namespace dragonfly::bench
