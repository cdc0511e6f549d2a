// SPDX-License-Identifier: Apache-2.0
// Chooses the parents of a child among the peers of its task.
#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

#include "scheduler/evaluator.h"
#include "scheduler/task.h"

namespace dragonfly::scheduler {

// Why a peer cannot be the parent of a child; the order is the order of the tests.
enum class Refusal {
  kNone,
  kBlocked,        // the child has tried it, or it is the child itself
  kLength,         // the child needs the file's length to use a parent, and nobody has stated it
  kNotShared,      // its host does not upload
  kSameHost,       // as the child
  kLost,           // its stream is broken
  kNothingToGive,  // a normal peer that neither fetches from the origin nor from anybody, nor is complete
  kBad,            // it does not download and has not succeeded
  kNoSlot,         // its host serves as many as it may
  kEdge,           // they are connected already
  kCircle,         // it downloads from the child, directly or by others
  kSlow,           // the evaluator calls it bad; it is offered all the same when nobody else is left
};

struct ParentLimits {
  size_t candidates = 4;  // parents returned (candidate_parent_limit)
  size_t sample = 15;     // eligible peers compared (filter_parent_limit)
  // Peers that are refused use up the sample, as in the original.
  bool refused_count = false;
};

// Source of the rules: dragonfly v2.3.0, scheduler/scheduling/scheduling.go. Other than there, peers that are refused
// do not use up the sample, and the sample is uniform. Thread rule: one finder per shard, on its thread.
class ParentFinder {
 public:
  ParentFinder(const Evaluator& evaluator, ParentLimits limits) : evaluator_(evaluator), limits_(limits) {}

  // For calls of Find() from now on.
  void SetLimits(ParentLimits limits) { limits_ = limits; }

  // The best parents, best first; empty when there is none among the kDrawsMax drawn, or when the child's state takes
  // no parents. `spare_full`: hosts that the evaluator calls busy are left alone. `first`: a possible parent of the
  // task that is drawn before all others.
  std::vector<Peer*> Find(Peer& child, TimePoint now, bool spare_full = false, const Peer* first = nullptr);
  // The last Find() has left a host alone because it was full.
  bool has_spared() const { return has_spared_; }
  // Up to `more` more parents for a child that downloads, best first. They may download from the child themselves:
  // each gives the other what it lacks.
  std::vector<Peer*> FindMore(Peer& child, TimePoint now, size_t more);

  // Begins tests of `child` (one search of the graph), to be followed by Test() of any number of peers.
  void Prepare(Peer& child) { work_ += child.task().graph().SearchFrom(child); }
  Refusal Test(const Peer& parent, const Peer& child, TimePoint now);

  // How many peers were looked at so far, by which long work is cut into steps. One takes 20 to 200 ns.
  uint64_t work() const { return work_; }
  // Other work of the same step, in the same measure.
  void AddWork(uint64_t work) { work_ += work; }

 private:
  const Evaluator& evaluator_;
  ParentLimits limits_;
  std::minstd_rand random_{std::random_device{}()};
  struct Scored {
    double score;
    Peer* peer;
  };
  Peer& Draw(Task& task, size_t drawn);
  std::vector<Peer*> Best(size_t count);
  // The best of which one needs nobody itself.
  std::vector<Peer*> BestWithOneRoot();
  static constexpr size_t kDrawsMax = 2048;  // a swarm in which fewer are eligible is as good as full
  bool has_spared_ = false;
  uint64_t work_ = 0;
  std::vector<Scored> scored_;
  std::vector<Scored> slow_;
};

}  // namespace dragonfly::scheduler
