// SPDX-License-Identifier: Apache-2.0
// Spreads the children over the upload bandwidth that there is, so that no host becomes the bottleneck of a large file
// while others idle. The terms are those of the first stage of dragonfly v2.3.4 and later
// (scheduler/scheduling/evaluator/evaluator_default.go); load is measured otherwise: there it is 0 for all hosts above
// four children a gigabit, which tells a busy host from a swamped one no longer.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>

#include "scheduler/evaluator.h"
#include "scheduler/task.h"

namespace dragonfly::scheduler {
namespace {

// What one child is expected to take: its share of a gigabit when it has four parents.
constexpr double kChildRate = 125e6 / 4;  // bytes a second
// Children beyond which others are used first, in multiples of what fills the host.
constexpr double kFullFactor = 2;
// The same for one that has nobody to download from, since it has everything or reads the origin. What it sends twice
// while others lack it is lost to all of them, so it has few children, which know of one another.
constexpr double kRootFactor = 2;
constexpr int32_t kFullMin = 4;
// Peers of a data centre that take a task's content from other ones, for all that are there. Their number makes up for
// those of them that are slow; each more brings pieces over the long way that are there already.
constexpr size_t kGateways = 16;
// Of a parent that downloads itself: with few children each has its first piece soon, and passes it on.
constexpr int32_t kBusy = 6;

class LoadEvaluator final : public Evaluator {
 public:
  // A host that does not say what it can send is judged as before.
  LoadEvaluator() : fallback_(MakeDefaultEvaluator()) {}

  double Score(const Peer& parent, const Peer& child) const override {
    const HostFacts& p = parent.host_facts();
    const HostFacts& c = child.host_facts();
    if (p.max_tx_rate <= 0) return fallback_->Score(parent, child);
    return 0.45 * Load(parent) * score::UploadSuccess(parent) + 0.35 * score::Idc(p.idc, c.idc) +
           0.1 * score::Location(p.location, c.location) + 0.1 * score::HostType(parent);
  }
  bool IsBad(const Peer& parent, TimePoint now) const override { return IsBadParent(parent, now); }
  bool IsFull(const Peer& parent) const override {
    const double rate = parent.host_facts().max_tx_rate;
    if (rate <= 0) return false;
    const double factor = parent.parents().empty() ? kRootFactor : kFullFactor;
    // As numbers without a bound, since the rate may be any.
    return parent.host().upload_slots() >= std::max<double>(kFullMin, std::floor(factor * rate / kChildRate));
  }
  bool IsBusy(const Peer& parent, const Peer& child) const override {
    if (IsFar(parent, child) || parent.beginners() >= BeginnersMax(parent, child)) return true;
    const bool passes_on = !parent.parents().empty() && parent.host_facts().max_tx_rate > 0;
    return IsFull(parent) || (passes_on && parent.host().upload_slots() >= kBusy);
  }

  bool IsFar(const Peer& parent, const Peer& child) const override {
    return AreApart(parent, child) && child.task().gateways(child.host_facts().idc) >= kGateways;
  }

 private:
  // A beginner gets its first piece with the whole bandwidth of the parent, so that it can pass it on as soon as can
  // be; two at a time would both have it at the time when the second has it now. This is not so while the parent can
  // send to everybody who is there as fast as they receive.
  static int32_t BeginnersMax(const Peer& parent, const Peer& child) {
    const double sent = parent.host_facts().max_tx_rate;
    const double received = child.host_facts().max_rx_rate;
    const auto others = static_cast<double>(parent.task().peer_count() - 1);
    return received > 0 && others * received <= sent ? std::numeric_limits<int32_t>::max() : 1;
  }

  // What is left of the host's bandwidth for one more child, as a share of it; never 0, so that of two busy hosts the
  // less busy one wins.
  static double Load(const Peer& parent) {
    const double used = (parent.host().upload_slots() + 1) * kChildRate / parent.host_facts().max_tx_rate;
    return 1 / (1 + used);
  }

  const std::unique_ptr<Evaluator> fallback_;
};

}  // namespace

std::unique_ptr<Evaluator> MakeLoadEvaluator() { return std::make_unique<LoadEvaluator>(); }

}  // namespace dragonfly::scheduler
