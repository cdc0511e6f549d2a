// SPDX-License-Identifier: Apache-2.0
#include "scheduler/evaluator.h"

#include <chrono>

#include "base/text.h"
#include "scheduler/task.h"

namespace dragonfly::scheduler {
namespace {

// A parent that nobody has tried for this long gets another chance: without children no better cost can come in.
constexpr Clock::duration kVerdictLifetime = std::chrono::seconds(60);

}  // namespace

namespace score {
namespace {

constexpr int kLocationDepth = 5;

// Takes the part before the next '|' off `rest`.
std::string_view NextPart(std::string_view& rest) {
  const size_t bar = rest.find('|');
  const std::string_view part = rest.substr(0, bar);
  rest = bar == std::string_view::npos ? std::string_view() : rest.substr(bar + 1);
  return part;
}

}  // namespace

double Piece(const Peer& parent, const Peer& child) {
  const uint32_t total = parent.task().piece_count();
  // A peer that had a part before it registered reports only the rest.
  const bool complete = parent.state() == PeerState::kSucceeded && !parent.range.has_value();
  const double parent_finished = complete && total > 0 ? total : parent.pieces.count();
  if (total > 0) return parent_finished / total;
  return parent_finished - child.pieces.count();
}

double UploadSuccess(const Peer& parent) { return parent.host().UploadSuccess(); }

double FreeUpload(const Peer& parent) {
  const int32_t limit = parent.host_facts().upload_limit;
  const int32_t free = parent.FreeUploadSlots();
  return limit > 0 && free > 0 ? static_cast<double>(free) / limit : 0;
}

double HostType(const Peer& parent) {
  if (!parent.host_facts().seed()) return 0.5;
  const PeerState state = parent.state();
  return state == PeerState::kReceivedNormal || state == PeerState::kRunning || state == PeerState::kBackToSource ? 1
                                                                                                                  : 0;
}

double Idc(std::string_view a, std::string_view b) { return !a.empty() && EqualsIgnoreCase(a, b) ? 1 : 0; }

double Location(std::string_view a, std::string_view b) {
  if (a.empty() || b.empty()) return 0;
  if (EqualsIgnoreCase(a, b)) return 1;
  int equal = 0;
  while (equal < kLocationDepth && !a.empty() && !b.empty() && EqualsIgnoreCase(NextPart(a), NextPart(b))) ++equal;
  return static_cast<double>(equal) / kLocationDepth;
}

}  // namespace score

bool IsBadParent(const Peer& parent, TimePoint now) {
  switch (parent.state()) {
    case PeerState::kRunning:
    case PeerState::kBackToSource:
    case PeerState::kSucceeded:
      break;
    default:
      return true;
  }
  return now - parent.costs_at < kVerdictLifetime && parent.costs.LastIsOutlier();
}

absl::StatusOr<std::unique_ptr<Evaluator>> MakeEvaluator(std::string_view algorithm) {
  if (algorithm == "default" || algorithm == "ml") return MakeDefaultEvaluator();
  if (algorithm == "load") return MakeLoadEvaluator();
  if (algorithm == "plugin") {
    return absl::InvalidArgumentError("evaluator plugins are shared objects of the Go runtime and cannot be loaded");
  }
  return absl::InvalidArgumentError(StrCat("unknown algorithm \"", algorithm, "\""));
}

}  // namespace dragonfly::scheduler
