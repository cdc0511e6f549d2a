// SPDX-License-Identifier: Apache-2.0
// What the benchmarks of the transfer path share: two processes on loopback, files, CPU time, one JSON line.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "base/unique_fd.h"

namespace dragonfly::bench {

struct TransferOptions {
  uint64_t bytes = 1ull << 30;
  uint64_t piece_length = 4ull << 20;  // bytes asked for at a time
  size_t streams = 4;                  // requests in flight
  size_t threads = 2;                  // that receive; limit_bench has one for each stream
  int runs = 1;                        // measured, after one that is not
  std::string dir = "/var/tmp";        // where the files lie, without a name
  // "new": a preallocated file of its own for each run; "same": one whose pages exist; "none": nothing is written
  std::string target = "new";
  std::string congestion = "cubic";  // of the sender
  std::string transport = "tcp";     // of the piece protocol: tcp or quic
};
// Reads --bytes, --piece, --streams, --threads, --runs, --dir, --target, --congestion, --transport; ends the program
// with a usage text when it cannot.
TransferOptions ParseTransferOptions(int argc, char** argv);

// The file that is sent, filled with random bytes, all in the page cache.
UniqueFd MakeSource(const TransferOptions& options);
// The file that is written. With "same" its pages exist already.
UniqueFd MakeTarget(const TransferOptions& options);

// User and system time of this process so far.
double CpuSeconds();

// The sending process: a fork of this one, made before any thread.
class Sender {
 public:
  // `serve` starts to serve in the new process and returns the port; `stop` ends it. Both run there.
  Sender(const std::function<uint16_t()>& serve, const std::function<void()>& stop);
  ~Sender();
  uint16_t port() const { return port_; }
  // CPU time of the sending process so far.
  double CpuSeconds();

 private:
  int pid_ = -1;
  UniqueFd commands_;
  UniqueFd replies_;
  uint16_t port_ = 0;
};

// Measures `receive(target)`, which moves options.bytes, once unmeasured and options.runs times, and prints
// {"name": ..., "gib_per_s": ..., "cpu_s_per_gib": <of both processes>, ...} in one line: medians, with _min and _max.
void MeasureTransfer(const std::string& name, const TransferOptions& options, Sender& sender,
                     const std::function<void(int target)>& receive);

// Ends the program with what failed and errno.
[[noreturn]] void Die(const std::string& what);
void WriteFully(int fd, std::span<const std::byte> bytes, uint64_t offset);

}  // namespace dragonfly::bench
