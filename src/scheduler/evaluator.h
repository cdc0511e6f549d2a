// SPDX-License-Identifier: Apache-2.0
// How good a parent is for a child.
#pragma once

#include <memory>
#include <string_view>

#include "absl/status/statusor.h"
#include "scheduler/peer.h"

namespace dragonfly::scheduler {

class Evaluator {
 public:
  virtual ~Evaluator() = default;
  // Higher is better. `parent` and `child` belong to one task.
  virtual double Score(const Peer& parent, const Peer& child) const = 0;
  // True when no child should be sent to `parent`, however alone it stands.
  virtual bool IsBad(const Peer& parent, TimePoint now) const = 0;
  // True when `parent` serves as many children as it can serve well, so that others should be used first.
  virtual bool IsFull(const Peer& parent) const = 0;
  // True when `child`, which begins, should rather begin at another parent: so when this one is full, or sooner.
  virtual bool IsBusy(const Peer& parent, const Peer& /*child*/) const { return IsFull(parent); }
  // True when `child` should take the content from somebody nearer.
  virtual bool IsFar(const Peer& /*parent*/, const Peer& /*child*/) const { return false; }
};

// The terms of the default evaluator, each between 0 and 1 (piece is unbounded while the piece count is not known).
// Source: dragonfly v2.3.0, scheduler/scheduling/evaluator/evaluator_base.go, with two corrections: uploadSuccess
// counts pieces and forgets, and a seed that reads from the origin counts as the seed that it is.
namespace score {
double Piece(const Peer& parent, const Peer& child);
double UploadSuccess(const Peer& parent);
double FreeUpload(const Peer& parent);
double HostType(const Peer& parent);
double Idc(std::string_view a, std::string_view b);
double Location(std::string_view a, std::string_view b);
}  // namespace score

// The rule for bad parents that both evaluators share: a state that gives nothing, or a last cost of a piece that is an
// outlier (CostStatistics) and not older than a minute.
bool IsBadParent(const Peer& parent, TimePoint now);

// evaluator_default.cc
std::unique_ptr<Evaluator> MakeDefaultEvaluator();
// evaluator_load.cc
std::unique_ptr<Evaluator> MakeLoadEvaluator();

// `scheduler.algorithm`: "load", "default" (and "ml", its other name). Errors: INVALID_ARGUMENT for any other.
absl::StatusOr<std::unique_ptr<Evaluator>> MakeEvaluator(std::string_view algorithm);

}  // namespace dragonfly::scheduler
