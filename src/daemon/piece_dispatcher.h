// SPDX-License-Identifier: Apache-2.0
// Decides which parent gives which piece. Pure bookkeeping without I/O or clock, so that it runs in tests and
// simulations in microseconds.
//
// What it tracks:
//   1. wanted     pieces that somebody waits for;
//   2. open       wanted pieces that nobody is fetching now;
//   3. assigned   pieces being fetched, each from exactly one parent;
//   4. suppliers  how many live parents have a piece, and how many have given it to somebody (its rarity);
//   5. per parent which pieces it has, its measured rate, its outstanding bytes, and whether more news may come.
//
// How it chooses:
//   - Each of several parents is given one piece before any gets a second, and half of `concurrency` is the most for
//     all seconds together: many children that ask for several pieces each would all wait long for their first, and
//     nobody could pass anything on. Beyond one, the parent is taken that is expected to finish first (outstanding
//     bytes over rate), never one that has not finished a piece yet.
//   - A parent that has everything gets no second piece while others are not complete and tell what they get: what it
//     sends to two children is lost to the rest of the swarm.
//   - A parent alone gets one piece, and one more for each two that have come, up to `concurrency`: other children may
//     be on their way to it, and should have their first piece soon. One that is known to give to others as well gets
//     one at a time.
//   - For that parent the rarest of the next `lookahead` open pieces is taken; ties are broken at random by `seed`, so
//     that the peers of a swarm ask for different pieces and can then help one another, while pieces still come roughly
//     in order.
//   - Of what a reader waits for in order, the first open piece is taken before all others, one at a time, and the
//     others come from closer behind it.
//   - Near the end no more than half of the pieces that are missing are under way, as long as there are a few: so many
//     more parents would share this host's link, and the last of them would still be sending when the others are done.
//     What a reader waits for does not count.
//   - A slow parent gets nothing near the end, when the others would be done with everything before it with one piece.
//   - A piece that fails goes back to open, without the parent that failed it.
//   - When nothing is open and an assigned piece is overdue, an idle parent that has it takes it over. The caller
//     cancels the first transfer, so that a piece is never written twice.
//   - Who was too slow with a piece still has it: when those that took it over have failed, and nobody else has it, it
//     is asked a second time. So is, when even that helps no more, a parent whose connection broke on the way.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <random>
#include <vector>

#include "absl/container/btree_map.h"
#include "base/piece.h"
#include "daemon/piece_set.h"
#include "runtime/clock.h"

namespace dragonfly::daemon {

struct DispatcherOptions {
  DispatcherOptions() = default;
  size_t concurrency = 8;            // pieces under way in all, beyond the first of each parent
  size_t take_over_window = 2;       // a parent with fewer under way takes over what is overdue at others
  size_t lookahead = 256;            // open pieces among which the rarest is taken ...
  size_t lookahead_of_readers = 64;  // ... when somebody reads in order,
  size_t lookahead_alone = 16;  // ... and there is one parent only, so that nobody is there to exchange pieces with
  // An assignment is overdue after four times its expected time, and no sooner than this ...
  Clock::duration patience_min = std::chrono::milliseconds(500);
  // ... or after this while no rate is known.
  Clock::duration patience_unmeasured = std::chrono::seconds(2);
  // So long a parent counts as one that gives to others, after it was said to have given a piece.
  Clock::duration shared_for = std::chrono::seconds(1);
  uint64_t seed = 1;
};

// Thread rule: one thread.
class PieceDispatcher {
 public:
  using Parent = size_t;  // index, in order of AddParent()

  PieceDispatcher(const PieceLayout& layout, const DispatcherOptions& options);

  void Want(PieceNumber piece);
  // Nobody waits for `piece` any more, or it has come another way. A transfer under way goes on.
  void Forget(PieceNumber piece);

  // A parent that has nothing yet and whose news are expected.
  Parent AddParent();
  // The same for a helper: a parent that may wait for this host's pieces in turn. Its news are no reason to wait.
  Parent AddHelper();
  // Somebody reads the wanted pieces of these intervals in order, each from its first one.
  void SetReaders(std::vector<PieceLayout::Interval> readers) { readers_ = std::move(readers); }
  // `parent` has `piece`. Numbers outside the layout are ignored.
  void Announce(Parent parent, PieceNumber piece);
  // `parent` has given `piece` to somebody, who passes it on: as if one more had it when the rarest is looked for.
  // Numbers outside the layout are ignored.
  void NoteGiven(Parent parent, PieceNumber piece, TimePoint now);
  // `parent` is said to have so many bytes a second to spare (more than 0). Counts until its rate was measured.
  void SetPrior(Parent parent, double bytes_per_second);
  // No news of `parent` will come any more, or again some.
  void SetNewsOpen(Parent parent, bool open);
  // `parent` is not used again; what it was fetching becomes open.
  void Drop(Parent parent);
  bool live(Parent parent) const { return parents_[parent].live; }

  struct Assignment {
    Parent parent = 0;
    PieceNumber piece;
    std::optional<Parent> instead_of;  // cancel its transfer of `piece` first
  };
  // The next transfer to begin at `now`; nullopt when none should begin.
  std::optional<Assignment> Next(TimePoint now);
  // When Next() may have an answer though nothing was reported; kNoDeadline: never.
  TimePoint NextLook() const;

  // The transfer that was assigned has ended well: the piece is there.
  void Finished(Parent parent, PieceNumber piece, TimePoint now);
  // It has not; another parent gets the piece. A report about a transfer that was taken over changes nothing.
  void Failed(Parent parent, PieceNumber piece, TimePoint now);
  // The same, but for no fault of the piece: when nobody else has it, the parent is asked once more. False when it was
  // asked a second time already.
  bool Broke(Parent parent, PieceNumber piece, TimePoint now);

  // Every wanted piece is there.
  bool satisfied() const { return open_.empty() && wanted_assigned_ == 0; }
  // Nothing is under way, no live parent has any open piece, and none will have: only other parents can help. What
  // helpers may get does not count, or two of them could wait for one another.
  bool hopeless() const;

  size_t outstanding() const { return assigned_.size(); }
  uint64_t outstanding_bytes(Parent parent) const { return parents_[parent].outstanding_bytes; }
  // Bytes a second; 0 while unmeasured.
  double rate(Parent parent) const;

 private:
  struct ParentState {
    PieceSet has;
    PieceSet given;  // to this host or others
    TimePoint shared_until = TimePoint::min();
    PieceSet taken_over;  // pieces that it has, but was too slow with
    PieceSet broke;       // pieces that it has, but broke off in the middle of
    PieceSet asked_again;
    bool live = true;
    bool news_open = true;
    bool helper = false;
    int strikes = 0;  // pieces taken over from it since it last finished one
    size_t outstanding = 0;
    uint64_t outstanding_bytes = 0;
    double prior = 0;  // bytes a second by hearsay; 0: none
    // Bytes over busy time, both decayed so that old transfers count less.
    double measured_bytes = 0;
    double measured_seconds = 0;
    TimePoint busy_since;  // begin of the time not yet measured; meaningful while outstanding > 0
  };
  struct Transfer {
    Parent parent;
    TimePoint overdue_at;
    bool wanted;
  };

  uint64_t LengthOf(PieceNumber piece) const { return layout_.RangeOf(piece).length; }
  bool Suspect(const ParentState& parent) const { return parent.strikes >= 2; }
  bool HasOpen(const ParentState& parent) const;
  double BestRate() const;
  double FinishSeconds(const ParentState& parent, uint64_t more_bytes) const;
  double ChoiceSeconds(const ParentState& parent, uint64_t more_bytes) const;
  bool HoldsUpTheEnd(Parent parent, PieceNumber piece) const;
  PieceNumber Rarest(const ParentState& parent);
  // For `piece`, or for any open one.
  std::optional<Parent> ChooseParent(bool suspects, std::optional<PieceNumber> piece, TimePoint now);
  // The open piece that a reader waits for, unless one before it is under way.
  std::optional<PieceNumber> NextOfReaders() const;
  std::optional<Assignment> TakeOver(TimePoint now);
  Assignment Begin(Parent parent, PieceNumber piece, TimePoint now);
  // The first open piece at or behind `from` that nobody is left for, of those in `failed` (a set of `parent`) that it
  // was not asked for again.
  std::optional<PieceNumber> SecondChance(const ParentState& parent, const PieceSet& failed, PieceNumber from) const;
  void TakeSecondChances(PieceSet ParentState::* failed);
  // Takes the transfer off the books of its parent.
  void End(Parent parent, PieceNumber piece, TimePoint now);
  void Withdraw(Parent parent, PieceNumber piece);

  const PieceLayout layout_;
  const DispatcherOptions options_;
  std::mt19937_64 random_;
  PieceSet open_;
  std::vector<uint16_t> suppliers_;
  std::vector<uint16_t> given_;  // by how many parents
  std::vector<ParentState> parents_;
  absl::btree_map<uint32_t, Transfer> assigned_;
  size_t wanted_assigned_ = 0;
  size_t finished_ = 0;  // pieces that have come
  bool any_prior_ = false;
  std::vector<PieceLayout::Interval> readers_;
};

}  // namespace dragonfly::daemon
