// SPDX-License-Identifier: Apache-2.0
// Very many peers in one process, as a scheduler sees them: what it is measured with.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace dragonfly::scheduler {

struct Latencies {
  std::vector<double> milliseconds;  // sorted
  double seconds = 0;                // of all together, by the clock

  // 0 is the shortest, 1 the longest; 0 when there is none.
  double At(double share) const;
  double per_second() const { return static_cast<double>(milliseconds.size()) / seconds; }
};

enum class PeerRole {
  kSource,    // reads the origin, and its stream stays open
  kStays,     // gets parents, and its stream stays open
  kFinishes,  // gets parents and finishes at once
};

// Peers of many hosts over eight connections, each with an AnnouncePeer stream of its own. Thread rule: one thread.
// Streams are open when it is over, so it is never destroyed: the process ends by std::_Exit().
class SchedulerClient {
 public:
  struct Options {
    Options() = default;
    std::string address;  // of the scheduler
    size_t hosts = 1;
    size_t tasks = 1;  // the peers' tasks, in turn
    // As daemons of ours do.
    bool announces_bandwidth = true;
    bool takes_more_parents = true;
  };

  explicit SchedulerClient(const Options& options);
  ~SchedulerClient() = delete;

  // Before any peer. Waits for each.
  void AnnounceHosts();
  // Registers `count` peers, `in_flight` at a time, and waits until all have their answers; each is timed from its
  // registration to its answer.
  Latencies Register(size_t count, size_t in_flight, PeerRole role);
  // Every peer that kStays reports `pieces` pieces, at most kPieces, as fast as they are taken; returns at once how
  // many reports that are.
  size_t ReportPieces(uint32_t pieces);
  static constexpr uint32_t kPieces = 256;  // of each task

  // Peers that were sent to the origin and should have got parents, or the other way round.
  size_t unexpected_answers() const;

 private:
  struct Load;
  std::unique_ptr<Load> load_;
};

}  // namespace dragonfly::scheduler
