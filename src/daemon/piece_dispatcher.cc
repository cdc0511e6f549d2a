// SPDX-License-Identifier: Apache-2.0
#include "daemon/piece_dispatcher.h"

#include <algorithm>
#include <limits>
#include <utility>

namespace dragonfly::daemon {
namespace {

// Weight that is left of a measurement when the next one comes.
constexpr double kDecay = 0.8;
// How many expected times a transfer may take before it is overdue.
constexpr double kPatience = 4;
// Slack for the comparison of expected times near the end.
constexpr double kEndSlackSeconds = 0.05;
// Of several parents near the end; fewer could leave this host's link idle while one of them is busy elsewhere.
constexpr size_t kEndConcurrencyMin = 3;

// Bytes a second of a parent of which nothing is said while others are spoken of (client v1.5.1: 10 Gbit/s).
constexpr double kUnknownPrior = 10e9 / 8;

double Seconds(Clock::duration duration) { return std::chrono::duration<double>(duration).count(); }
Clock::duration FromSeconds(double seconds) {
  // A parent of a byte a second must not overflow the clock.
  return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(std::min(seconds, 1e6)));
}

}  // namespace

PieceDispatcher::PieceDispatcher(const PieceLayout& layout, const DispatcherOptions& options)
    : layout_(layout),
      options_(options),
      random_(options.seed),
      open_(layout.piece_count()),
      suppliers_(layout.piece_count(), 0),
      given_(layout.piece_count(), 0) {}

void PieceDispatcher::Want(PieceNumber piece) {
  if (auto it = assigned_.find(piece.value()); it != assigned_.end()) {
    if (!std::exchange(it->second.wanted, true)) ++wanted_assigned_;
    return;
  }
  open_.Insert(piece);
}

void PieceDispatcher::Forget(PieceNumber piece) {
  open_.Erase(piece);
  if (auto it = assigned_.find(piece.value()); it != assigned_.end()) {
    if (std::exchange(it->second.wanted, false)) --wanted_assigned_;
  }
}

PieceDispatcher::Parent PieceDispatcher::AddParent() {
  ParentState parent;
  parent.has = PieceSet(layout_.piece_count());
  parent.given = PieceSet(layout_.piece_count());
  parent.taken_over = PieceSet(layout_.piece_count());
  parent.broke = PieceSet(layout_.piece_count());
  parent.asked_again = PieceSet(layout_.piece_count());
  parents_.push_back(std::move(parent));
  return parents_.size() - 1;
}

PieceDispatcher::Parent PieceDispatcher::AddHelper() {
  const Parent parent = AddParent();
  parents_[parent].helper = true;
  return parent;
}

void PieceDispatcher::Announce(Parent parent, PieceNumber piece) {
  ParentState& state = parents_[parent];
  if (state.live && state.has.Insert(piece)) ++suppliers_[piece.value()];
}

void PieceDispatcher::NoteGiven(Parent parent, PieceNumber piece, TimePoint now) {
  ParentState& state = parents_[parent];
  if (!state.given.Insert(piece)) return;
  ++given_[piece.value()];
  // What is open here was not given to this host.
  if (open_.Contains(piece)) state.shared_until = now + options_.shared_for;
}

void PieceDispatcher::SetPrior(Parent parent, double bytes_per_second) {
  parents_[parent].prior = bytes_per_second;
  any_prior_ = true;
}

void PieceDispatcher::SetNewsOpen(Parent parent, bool open) { parents_[parent].news_open = open; }

void PieceDispatcher::Drop(Parent parent) {
  ParentState& state = parents_[parent];
  if (!state.live) return;
  state.live = false;
  for (auto piece = state.has.NextFrom(PieceNumber(0)); piece; piece = state.has.NextFrom(piece->next())) {
    --suppliers_[piece->value()];
  }
  state.has.Clear();
  for (auto it = assigned_.begin(); it != assigned_.end();) {
    if (it->second.parent != parent) {
      ++it;
      continue;
    }
    if (it->second.wanted) {
      --wanted_assigned_;
      open_.Insert(PieceNumber(it->first));
    }
    it = assigned_.erase(it);
  }
  state.outstanding = 0;
  state.outstanding_bytes = 0;
}

double PieceDispatcher::rate(Parent parent) const {
  const ParentState& state = parents_[parent];
  return state.measured_seconds > 0 ? state.measured_bytes / state.measured_seconds : 0;
}

double PieceDispatcher::BestRate() const {
  double best = 0;
  for (Parent parent = 0; parent < parents_.size(); ++parent) {
    if (parents_[parent].live) best = std::max(best, rate(parent));
  }
  return best;
}

// An unmeasured parent is taken for as good as the best one: only work can tell.
double PieceDispatcher::FinishSeconds(const ParentState& parent, uint64_t more_bytes) const {
  const double bytes = static_cast<double>(parent.outstanding_bytes + more_bytes);
  const double known = parent.measured_seconds > 0 ? parent.measured_bytes / parent.measured_seconds : BestRate();
  return known > 0 ? bytes / known : 0;
}

// For the choice of a parent hearsay is better than nothing; how long to wait for it, only its work can tell.
double PieceDispatcher::ChoiceSeconds(const ParentState& parent, uint64_t more_bytes) const {
  if (!any_prior_ || parent.measured_seconds > 0) return FinishSeconds(parent, more_bytes);
  const double rate = parent.prior > 0 ? parent.prior : kUnknownPrior;
  return static_cast<double>(parent.outstanding_bytes + more_bytes) / rate;
}

bool PieceDispatcher::HasOpen(const ParentState& parent) const {
  return PieceSet::NextCommon(open_, parent.has, PieceNumber(0)).has_value();
}

bool PieceDispatcher::HoldsUpTheEnd(Parent parent, PieceNumber piece) const {
  // With nothing under way, no report would come that could lead to a better choice.
  if (rate(parent) == 0 || suppliers_[piece.value()] < 2 || assigned_.empty()) return false;
  double others_rate = 0;
  uint64_t others_bytes = uint64_t{open_.size()} * layout_.piece_length();
  for (Parent other = 0; other < parents_.size(); ++other) {
    const ParentState& state = parents_[other];
    if (other == parent || !state.live || Suspect(state) || !state.has.Contains(piece)) continue;
    others_rate += rate(other);
    others_bytes += state.outstanding_bytes;
  }
  if (others_rate == 0) return false;
  const double others_seconds = static_cast<double>(others_bytes) / others_rate;
  return FinishSeconds(parents_[parent], LengthOf(piece)) > 2 * others_seconds + kEndSlackSeconds;
}

std::optional<PieceDispatcher::Parent> PieceDispatcher::ChooseParent(bool suspects, std::optional<PieceNumber> wanted,
                                                                     TimePoint now) {
  const auto live = std::count_if(parents_.begin(), parents_.end(), [](const ParentState& p) { return p.live; });
  const bool partial = std::any_of(parents_.begin(), parents_.end(), [&](const ParentState& p) {
    return p.live && p.news_open && p.has.size() < layout_.piece_count();
  });
  const size_t concurrency =
      live > 1 ? std::max<size_t>(options_.concurrency / 2, 1) : std::min(options_.concurrency, 1 + finished_ / 2);
  const size_t end_concurrency = std::max(kEndConcurrencyMin, (open_.size() + assigned_.size()) / 2);
  if (!wanted && live > 1 && assigned_.size() >= end_concurrency) return std::nullopt;
  std::optional<Parent> best;
  std::pair<size_t, double> best_key;
  uint64_t ties = 0;
  for (Parent parent = 0; parent < parents_.size(); ++parent) {
    const ParentState& state = parents_[parent];
    if (!state.live || Suspect(state) != suspects) continue;
    const bool starving = state.outstanding == 0;
    const bool spared = now < state.shared_until || (partial && state.has.size() == layout_.piece_count());
    if (!starving && (spared || assigned_.size() >= concurrency)) continue;
    if (!starving && rate(parent) == 0) continue;
    if (wanted ? !state.has.Contains(*wanted) : !HasOpen(state)) continue;
    const PieceNumber piece = wanted ? *wanted : *PieceSet::NextCommon(open_, state.has, PieceNumber(0));
    if (HoldsUpTheEnd(parent, piece)) continue;
    const std::pair<size_t, double> key(starving ? 0 : 1, ChoiceSeconds(state, LengthOf(piece)));
    if (!best || key < best_key) {
      best = parent;
      best_key = key;
      ties = 1;
    } else if (key == best_key && random_() % ++ties == 0) {
      best = parent;
    }
  }
  return best;
}

std::optional<PieceNumber> PieceDispatcher::NextOfReaders() const {
  for (const PieceLayout::Interval& reader : readers_) {
    const std::optional<PieceNumber> next = open_.NextFrom(reader.first);
    if (!next || reader.last < *next) continue;
    const auto under_way = assigned_.lower_bound(reader.first.value());
    if (under_way == assigned_.end() || under_way->first > next->value()) return next;
  }
  return std::nullopt;
}

PieceNumber PieceDispatcher::Rarest(const ParentState& parent) {
  PieceNumber chosen;
  uint32_t chosen_suppliers = std::numeric_limits<uint32_t>::max();
  uint64_t ties = 0;
  size_t seen = 0;
  const auto live = std::count_if(parents_.begin(), parents_.end(), [](const ParentState& p) { return p.live; });
  size_t lookahead = options_.lookahead;
  if (!readers_.empty()) lookahead = live > 1 ? options_.lookahead_of_readers : options_.lookahead_alone;
  for (auto piece = PieceSet::NextCommon(open_, parent.has, PieceNumber(0)); piece && seen < lookahead;
       piece = PieceSet::NextCommon(open_, parent.has, piece->next()), ++seen) {
    const uint32_t suppliers = uint32_t{suppliers_[piece->value()]} + given_[piece->value()];
    if (suppliers < chosen_suppliers) {
      chosen = *piece;
      chosen_suppliers = suppliers;
      ties = 1;
    } else if (suppliers == chosen_suppliers && random_() % ++ties == 0) {
      chosen = *piece;
    }
  }
  return chosen;
}

PieceDispatcher::Assignment PieceDispatcher::Begin(Parent parent, PieceNumber piece, TimePoint now) {
  ParentState& state = parents_[parent];
  if (state.outstanding == 0) state.busy_since = now;
  ++state.outstanding;
  state.outstanding_bytes += LengthOf(piece);
  const double expected = FinishSeconds(state, 0);
  const Clock::duration patience =
      expected > 0 ? std::max(options_.patience_min, FromSeconds(kPatience * expected)) : options_.patience_unmeasured;
  assigned_[piece.value()] = Transfer{parent, now + patience, true};
  ++wanted_assigned_;
  open_.Erase(piece);
  return Assignment{parent, piece, std::nullopt};
}

void PieceDispatcher::End(Parent parent, PieceNumber piece, TimePoint now) {
  ParentState& state = parents_[parent];
  if (auto it = assigned_.find(piece.value()); it != assigned_.end() && it->second.parent == parent) {
    if (it->second.wanted) --wanted_assigned_;
    assigned_.erase(it);
    --state.outstanding;
    state.outstanding_bytes -= LengthOf(piece);
    state.measured_bytes *= kDecay;
    state.measured_seconds = state.measured_seconds * kDecay + std::max(Seconds(now - state.busy_since), 1e-6);
    state.busy_since = now;
  }
}

void PieceDispatcher::Withdraw(Parent parent, PieceNumber piece) {
  if (parents_[parent].has.Erase(piece)) --suppliers_[piece.value()];
}

std::optional<PieceDispatcher::Assignment> PieceDispatcher::TakeOver(TimePoint now) {
  for (const auto& [number, transfer] : assigned_) {
    if (!transfer.wanted || now < transfer.overdue_at) continue;
    const PieceNumber piece(number);
    std::optional<Parent> thief;
    for (Parent parent = 0; parent < parents_.size(); ++parent) {
      const ParentState& state = parents_[parent];
      if (parent == transfer.parent || !state.live || Suspect(state) || !state.has.Contains(piece)) continue;
      if (state.outstanding >= options_.take_over_window) continue;
      if (!thief || FinishSeconds(state, 0) < FinishSeconds(parents_[*thief], 0)) thief = parent;
    }
    if (!thief) continue;
    const Parent first = transfer.parent;
    End(first, piece, now);
    Withdraw(first, piece);
    parents_[first].taken_over.Insert(piece);
    ++parents_[first].strikes;
    Assignment assignment = Begin(*thief, piece, now);
    assignment.instead_of = first;
    return assignment;
  }
  return std::nullopt;
}

std::optional<PieceNumber> PieceDispatcher::SecondChance(const ParentState& parent, const PieceSet& failed,
                                                         PieceNumber from) const {
  if (!parent.live || failed.empty()) return std::nullopt;
  for (auto piece = PieceSet::NextCommon(open_, failed, from); piece;
       piece = PieceSet::NextCommon(open_, failed, piece->next())) {
    if (suppliers_[piece->value()] == 0 && !parent.asked_again.Contains(*piece)) return piece;
  }
  return std::nullopt;
}

void PieceDispatcher::TakeSecondChances(PieceSet ParentState::* failed) {
  std::vector<std::pair<Parent, PieceNumber>> chances;
  for (Parent parent = 0; parent < parents_.size(); ++parent) {
    const ParentState& state = parents_[parent];
    const PieceSet& pieces = state.*failed;
    for (auto piece = SecondChance(state, pieces, PieceNumber(0)); piece;
         piece = SecondChance(state, pieces, piece->next())) {
      chances.emplace_back(parent, *piece);
    }
  }
  for (const auto& [parent, piece] : chances) {
    parents_[parent].asked_again.Insert(piece);
    Announce(parent, piece);
  }
}

std::optional<PieceDispatcher::Assignment> PieceDispatcher::Next(TimePoint now) {
  if (!open_.empty()) {
    TakeSecondChances(&ParentState::taken_over);
    TakeSecondChances(&ParentState::broke);
    if (const std::optional<PieceNumber> next = NextOfReaders()) {
      const std::optional<Parent> parent = ChooseParent(/*suspects=*/false, next, now);
      if (parent) return Begin(*parent, *next, now);
    }
    std::optional<Parent> parent = ChooseParent(/*suspects=*/false, std::nullopt, now);
    if (!parent && assigned_.empty()) parent = ChooseParent(/*suspects=*/true, std::nullopt, now);
    if (parent) return Begin(*parent, Rarest(parents_[*parent]), now);
  }
  return TakeOver(now);
}

TimePoint PieceDispatcher::NextLook() const {
  TimePoint look = kNoDeadline;
  for (const auto& [number, transfer] : assigned_) {
    if (!transfer.wanted || transfer.overdue_at >= look) continue;
    // Without a second supplier waiting is all that can be done.
    for (Parent parent = 0; parent < parents_.size(); ++parent) {
      const ParentState& state = parents_[parent];
      if (parent == transfer.parent || !state.live || Suspect(state) || !state.has.Contains(PieceNumber(number)))
        continue;
      if (state.outstanding >= options_.take_over_window) continue;
      look = transfer.overdue_at;
      break;
    }
  }
  return look;
}

void PieceDispatcher::Finished(Parent parent, PieceNumber piece, TimePoint now) {
  open_.Erase(piece);
  auto it = assigned_.find(piece.value());
  if (it == assigned_.end()) return;
  const Parent assigned = it->second.parent;
  End(assigned, piece, now);
  if (assigned == parent && parents_[parent].live) {
    parents_[parent].measured_bytes += static_cast<double>(LengthOf(piece));
    parents_[parent].strikes = 0;
    ++finished_;
  }
}

void PieceDispatcher::Failed(Parent parent, PieceNumber piece, TimePoint now) {
  Withdraw(parent, piece);
  auto it = assigned_.find(piece.value());
  if (it == assigned_.end() || it->second.parent != parent) return;
  const bool wanted = it->second.wanted;
  End(parent, piece, now);
  if (wanted) open_.Insert(piece);
}

bool PieceDispatcher::Broke(Parent parent, PieceNumber piece, TimePoint now) {
  Failed(parent, piece, now);
  parents_[parent].broke.Insert(piece);
  return !parents_[parent].asked_again.Contains(piece);
}

bool PieceDispatcher::hopeless() const {
  if (!assigned_.empty() || open_.empty()) return false;
  for (const ParentState& parent : parents_) {
    if (parent.live && ((parent.news_open && !parent.helper) || HasOpen(parent))) return false;
    if (SecondChance(parent, parent.taken_over, PieceNumber(0)) || SecondChance(parent, parent.broke, PieceNumber(0))) {
      return false;
    }
  }
  return true;
}

}  // namespace dragonfly::daemon
