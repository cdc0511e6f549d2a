// SPDX-License-Identifier: Apache-2.0
// The original's choice of parents, with what it does wrong: the yardstick of the simulation.
// Source: dragonfly v2.3.0, scheduler/scheduling/evaluator/evaluator_base.go.
#pragma once

#include "scheduler/evaluator.h"

namespace dragonfly::swarm {

class ReferenceEvaluator final : public scheduler::Evaluator {
 public:
  double Score(const scheduler::Peer& parent, const scheduler::Peer& child) const override {
    const scheduler::HostFacts& p = parent.host_facts();
    const scheduler::HostFacts& c = child.host_facts();
    return 0.20 * scheduler::score::Piece(parent, child) + 0.20 * scheduler::score::UploadSuccess(parent) +
           0.15 * scheduler::score::FreeUpload(parent) + 0.15 * HostType(parent) +
           0.15 * scheduler::score::Idc(p.idc, c.idc) + 0.15 * scheduler::score::Location(p.location, c.location);
  }
  // By the peer's own downloads: see ShardOptions::cost_source.
  bool IsBad(const scheduler::Peer& parent, TimePoint) const override { return parent.costs.LastIsOutlier(); }

  bool IsFull(const scheduler::Peer&) const override { return false; }

 private:
  // A seed that reads the origin, or is complete, counts less than any peer.
  static double HostType(const scheduler::Peer& parent) {
    if (!parent.host_facts().seed()) return 0.5;
    return parent.state() == scheduler::PeerState::kReceivedNormal || parent.state() == scheduler::PeerState::kRunning
               ? 1
               : 0;
  }
};

}  // namespace dragonfly::swarm
