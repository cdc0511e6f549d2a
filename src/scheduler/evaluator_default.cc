// SPDX-License-Identifier: Apache-2.0
// The original's evaluator (dragonfly v2.3.0, scheduler/scheduling/evaluator/evaluator_base.go): how much of the file a
// parent has counts as much as how well and how freely it uploads.
#include "scheduler/evaluator.h"

namespace dragonfly::scheduler {
namespace {

class DefaultEvaluator final : public Evaluator {
 public:
  double Score(const Peer& parent, const Peer& child) const override {
    const HostFacts& p = parent.host_facts();
    const HostFacts& c = child.host_facts();
    return 0.20 * score::Piece(parent, child) + 0.20 * score::UploadSuccess(parent) + 0.15 * score::FreeUpload(parent) +
           0.15 * score::HostType(parent) + 0.15 * score::Idc(p.idc, c.idc) +
           0.15 * score::Location(p.location, c.location);
  }
  bool IsBad(const Peer& parent, TimePoint now) const override { return IsBadParent(parent, now); }
  bool IsFull(const Peer&) const override { return false; }
};

}  // namespace

std::unique_ptr<Evaluator> MakeDefaultEvaluator() { return std::make_unique<DefaultEvaluator>(); }

}  // namespace dragonfly::scheduler
