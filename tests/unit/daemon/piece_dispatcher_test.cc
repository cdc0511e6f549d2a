// SPDX-License-Identifier: Apache-2.0
#include "daemon/piece_dispatcher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <vector>

namespace dragonfly::daemon {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr uint64_t kPiece = 4 << 20;

PieceLayout Layout(uint32_t pieces) { return *PieceLayout::Make(pieces * kPiece, kPiece); }

PieceDispatcher Wanting(uint32_t pieces, DispatcherOptions options = DispatcherOptions()) {
  PieceDispatcher dispatcher(Layout(pieces), options);
  for (uint32_t n = 0; n < pieces; ++n) dispatcher.Want(PieceNumber(n));
  return dispatcher;
}

PieceDispatcher::Parent ParentWith(PieceDispatcher& dispatcher, uint32_t first, uint32_t last) {
  const auto parent = dispatcher.AddParent();
  for (uint32_t n = first; n <= last; ++n) dispatcher.Announce(parent, PieceNumber(n));
  return parent;
}

const TimePoint kStart = TimePoint(std::chrono::hours(1));

TEST(PieceDispatcher, BeginsWithTheFirstAnnouncedPiece) {
  PieceDispatcher dispatcher = Wanting(3);
  const auto parent = dispatcher.AddParent();
  EXPECT_FALSE(dispatcher.Next(kStart));
  dispatcher.Announce(parent, PieceNumber(2));
  const auto assignment = dispatcher.Next(kStart);
  ASSERT_TRUE(assignment);
  EXPECT_EQ(assignment->piece, PieceNumber(2));
  EXPECT_EQ(assignment->parent, parent);
  EXPECT_FALSE(dispatcher.Next(kStart));
}

TEST(PieceDispatcher, GivesASingleParentTheWholeConcurrency) {
  PieceDispatcher dispatcher = Wanting(40);
  ParentWith(dispatcher, 0, 39);
  std::set<uint32_t> under_way;
  for (size_t finished = 0; finished < 20; ++finished) {
    while (const auto assignment = dispatcher.Next(kStart)) under_way.insert(assignment->piece.value());
    EXPECT_EQ(under_way.size(), std::min<size_t>({8, 1 + finished / 2, 40 - finished})) << finished;
    dispatcher.Finished(0, PieceNumber(*under_way.begin()), kStart + milliseconds(10));
    under_way.erase(under_way.begin());
  }
}

TEST(PieceDispatcher, HasHalfOfTheMissingPiecesUnderWayNearTheEnd) {
  PieceDispatcher dispatcher = Wanting(20);
  for (int parent = 0; parent < 8; ++parent) ParentWith(dispatcher, 0, 19);
  std::vector<PieceDispatcher::Assignment> under_way;
  TimePoint now = kStart;
  for (size_t missing = 20; missing > 0; --missing) {
    while (const auto assignment = dispatcher.Next(now)) under_way.push_back(*assignment);
    EXPECT_EQ(under_way.size(), std::min(missing, std::clamp<size_t>(missing / 2, 3, 8))) << missing;
    now += milliseconds(10);
    dispatcher.Finished(under_way.front().parent, under_way.front().piece, now);
    under_way.erase(under_way.begin());
  }
  EXPECT_TRUE(dispatcher.satisfied());
}

TEST(PieceDispatcher, HasWhatAReaderWaitsForUnderWayNearTheEndToo) {
  PieceDispatcher dispatcher = Wanting(6);
  for (int parent = 0; parent < 8; ++parent) ParentWith(dispatcher, 1, 5);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(dispatcher.Next(kStart));
  EXPECT_FALSE(dispatcher.Next(kStart)) << "half of what is missing";
  for (size_t parent = 0; parent < 8; ++parent) dispatcher.Announce(parent, PieceNumber(0));
  dispatcher.SetReaders({{PieceNumber(0), PieceNumber(5)}});
  const auto first = dispatcher.Next(kStart);
  ASSERT_TRUE(first);
  EXPECT_EQ(first->piece, PieceNumber(0));
  EXPECT_FALSE(dispatcher.Next(kStart));
}

TEST(PieceDispatcher, TakesOneAtATimeFromAParentThatGivesToOthers) {
  PieceDispatcher dispatcher = Wanting(100);
  const auto seed = ParentWith(dispatcher, 0, 99);
  // Its own pieces are no word of others.
  for (int i = 0; i < 2; ++i) {
    const auto first = dispatcher.Next(kStart);
    ASSERT_TRUE(first);
    dispatcher.NoteGiven(seed, first->piece, kStart);
    dispatcher.Finished(seed, first->piece, kStart + milliseconds(10));
  }
  const auto second = dispatcher.Next(kStart);
  const auto third = dispatcher.Next(kStart);
  ASSERT_TRUE(second && third);
  for (uint32_t n = 0; n < 100; ++n) dispatcher.NoteGiven(seed, PieceNumber(n), kStart);
  dispatcher.Finished(seed, second->piece, kStart + milliseconds(20));
  EXPECT_FALSE(dispatcher.Next(kStart)) << "one is under way";
  dispatcher.Finished(seed, third->piece, kStart + milliseconds(30));
  EXPECT_TRUE(dispatcher.Next(kStart));
  EXPECT_FALSE(dispatcher.Next(kStart));
  EXPECT_TRUE(dispatcher.Next(kStart + seconds(2))) << "nobody else was given anything for a while";
}

TEST(PieceDispatcher, LeavesToTheSwarmWhatAParentHasGivenToOthers) {
  PieceDispatcher dispatcher = Wanting(100);
  const auto seed = ParentWith(dispatcher, 0, 99);
  for (uint32_t n = 0; n < 100; ++n) {
    if (n != 57) dispatcher.NoteGiven(seed, PieceNumber(n), kStart);
  }
  dispatcher.NoteGiven(seed, PieceNumber(100), kStart);
  EXPECT_EQ(dispatcher.Next(kStart)->piece, PieceNumber(57));
}

TEST(PieceDispatcher, CountsWhatAParentHasGivenOnce) {
  PieceDispatcher dispatcher = Wanting(3);
  const auto seed = ParentWith(dispatcher, 0, 2);
  const auto other = ParentWith(dispatcher, 0, 2);
  // 1 is given by one parent, which says so three times, the others by both.
  for (const uint32_t n : {0u, 1u, 1u, 1u, 2u}) dispatcher.NoteGiven(seed, PieceNumber(n), kStart);
  for (const uint32_t n : {0u, 2u}) dispatcher.NoteGiven(other, PieceNumber(n), kStart);
  EXPECT_EQ(dispatcher.Next(kStart)->piece, PieceNumber(1));
}

TEST(PieceDispatcher, BeginsWithTheParentThatIsSaidToHaveMostToSpare) {
  for (const size_t best : {size_t{0}, size_t{1}, size_t{2}}) {
    PieceDispatcher dispatcher = Wanting(3);
    for (size_t parent = 0; parent < 3; ++parent) {
      ParentWith(dispatcher, 0, 2);
      dispatcher.SetPrior(parent, parent == best ? 1e9 : 1e8);
    }
    EXPECT_EQ(dispatcher.Next(kStart)->parent, best);
  }
}

TEST(PieceDispatcher, BelievesItsOwnMeasurementsBeforeHearsay) {
  PieceDispatcher dispatcher = Wanting(100);
  const auto boaster = ParentWith(dispatcher, 0, 99);
  const auto modest = ParentWith(dispatcher, 0, 99);
  dispatcher.SetPrior(boaster, 1e9);
  dispatcher.SetPrior(modest, 1e6);
  // Both do their first piece; the modest one is ten times as fast.
  std::vector<PieceDispatcher::Assignment> begun;
  while (const auto assignment = dispatcher.Next(kStart)) begun.push_back(*assignment);
  ASSERT_EQ(begun.size(), 2u);
  EXPECT_EQ(begun[0].parent, boaster);
  for (const auto& assignment : begun) {
    dispatcher.Finished(assignment.parent, assignment.piece,
                        kStart + (assignment.parent == boaster ? milliseconds(400) : milliseconds(40)));
  }
  EXPECT_EQ(dispatcher.Next(kStart + milliseconds(400))->parent, modest);
}

TEST(PieceDispatcher, HearsayDoesNotShortenItsPatience) {
  PieceDispatcher dispatcher = Wanting(1);
  const auto first = ParentWith(dispatcher, 0, 0);
  dispatcher.SetPrior(first, 1e9);
  ASSERT_TRUE(dispatcher.Next(kStart));
  ParentWith(dispatcher, 0, 0);
  EXPECT_FALSE(dispatcher.Next(kStart + milliseconds(1900)));
  EXPECT_TRUE(dispatcher.Next(kStart + milliseconds(2100)));
}

TEST(PieceDispatcher, SpreadsOverParentsBeforeItFillsOne) {
  PieceDispatcher dispatcher = Wanting(100);
  for (int i = 0; i < 6; ++i) ParentWith(dispatcher, 0, 99);
  std::map<size_t, int> given;
  while (const auto assignment = dispatcher.Next(kStart)) ++given[assignment->parent];
  // More than one each, and the first piece would come late from all.
  ASSERT_EQ(given.size(), 6u);
  for (const auto& [parent, count] : given) EXPECT_EQ(count, 1) << parent;
}

TEST(PieceDispatcher, TakesTheRarestPieceOfTheWindowFirst) {
  PieceDispatcher dispatcher = Wanting(10);
  ParentWith(dispatcher, 0, 8);
  ParentWith(dispatcher, 0, 8);
  const auto rare = ParentWith(dispatcher, 0, 9);
  for (;;) {
    const auto assignment = dispatcher.Next(kStart);
    ASSERT_TRUE(assignment);
    if (assignment->parent != rare) continue;
    EXPECT_EQ(assignment->piece, PieceNumber(9));
    break;
  }
}

TEST(PieceDispatcher, KeepsRoughlyToTheOrderOfTheFile) {
  DispatcherOptions options;
  options.concurrency = 1;
  options.take_over_window = 1;
  options.lookahead = 16;
  PieceDispatcher dispatcher = Wanting(400, options);
  const auto parent = ParentWith(dispatcher, 0, 399);
  for (uint32_t i = 0; i < 400; ++i) {
    const auto assignment = dispatcher.Next(kStart);
    ASSERT_TRUE(assignment);
    EXPECT_LE(assignment->piece.value(), i + 15);
    dispatcher.Finished(parent, assignment->piece, kStart);
  }
  EXPECT_TRUE(dispatcher.satisfied());
}

TEST(PieceDispatcher, PeersOfASwarmAskInDifferentOrders) {
  std::set<std::vector<uint32_t>> orders;
  for (uint64_t seed = 1; seed <= 8; ++seed) {
    DispatcherOptions options;
    options.seed = seed;
    PieceDispatcher dispatcher = Wanting(64, options);
    ParentWith(dispatcher, 0, 63);
    std::vector<uint32_t> order;
    while (const auto assignment = dispatcher.Next(kStart)) order.push_back(assignment->piece.value());
    orders.insert(order);
  }
  EXPECT_EQ(orders.size(), 8u);
}

TEST(PieceDispatcher, AFailedPieceGoesToAnotherParentAndNeverBack) {
  PieceDispatcher dispatcher = Wanting(1);
  const auto first = ParentWith(dispatcher, 0, 0);
  const auto one = dispatcher.Next(kStart);
  ASSERT_TRUE(one);
  ASSERT_EQ(one->parent, first);
  const auto second = ParentWith(dispatcher, 0, 0);
  dispatcher.Failed(first, PieceNumber(0), kStart);
  const auto two = dispatcher.Next(kStart);
  ASSERT_TRUE(two);
  EXPECT_EQ(two->parent, second);
  EXPECT_FALSE(two->instead_of);
  dispatcher.Failed(second, PieceNumber(0), kStart);
  EXPECT_FALSE(dispatcher.Next(kStart));
  EXPECT_FALSE(dispatcher.hopeless()) << "both may still send news";
  dispatcher.SetNewsOpen(first, false);
  dispatcher.SetNewsOpen(second, false);
  EXPECT_TRUE(dispatcher.hopeless());
}

TEST(PieceDispatcher, ADroppedParentsPiecesGoToTheOthers) {
  PieceDispatcher dispatcher = Wanting(2);
  const auto gone = ParentWith(dispatcher, 0, 3);
  const auto slow = ParentWith(dispatcher, 0, 0);
  while (dispatcher.Next(kStart)) {
  }
  EXPECT_EQ(dispatcher.outstanding(), 2u);
  dispatcher.Drop(slow);
  EXPECT_EQ(dispatcher.outstanding(), 1u);
  dispatcher.Drop(gone);
  EXPECT_EQ(dispatcher.outstanding(), 0u);
  EXPECT_TRUE(dispatcher.hopeless());
  const auto other = ParentWith(dispatcher, 0, 3);
  EXPECT_FALSE(dispatcher.hopeless());
  int taken = 0;
  while (const auto assignment = dispatcher.Next(kStart)) {
    EXPECT_EQ(assignment->parent, other);
    dispatcher.Finished(other, assignment->piece, kStart);
    ++taken;
  }
  EXPECT_EQ(taken, 2);
}

TEST(PieceDispatcher, IsHopelessAsSoonAsNobodyCanGiveWhatIsMissing) {
  PieceDispatcher dispatcher = Wanting(2);
  const auto parent = ParentWith(dispatcher, 0, 0);
  const auto assignment = dispatcher.Next(kStart);
  ASSERT_TRUE(assignment);
  dispatcher.SetNewsOpen(parent, false);
  EXPECT_FALSE(dispatcher.hopeless()) << "a piece is still under way";
  dispatcher.Finished(parent, assignment->piece, kStart + milliseconds(1));
  EXPECT_TRUE(dispatcher.hopeless());
  EXPECT_FALSE(dispatcher.satisfied());
}

// Two peers that help each other and lack the same pieces would wait for ever.
TEST(PieceDispatcher, TheNewsOfAHelperAreNoReasonToWait) {
  PieceDispatcher dispatcher = Wanting(2);
  const auto parent = ParentWith(dispatcher, 0, 0);
  const auto helper = dispatcher.AddHelper();
  const auto first = dispatcher.Next(kStart);
  ASSERT_TRUE(first);
  dispatcher.Finished(parent, first->piece, kStart + milliseconds(1));
  EXPECT_FALSE(dispatcher.hopeless()) << "the parent may get the rest";
  dispatcher.SetNewsOpen(parent, false);
  EXPECT_TRUE(dispatcher.hopeless());
  dispatcher.Announce(helper, PieceNumber(1));
  EXPECT_FALSE(dispatcher.hopeless()) << "the helper has it after all";
  const auto second = dispatcher.Next(kStart);
  ASSERT_TRUE(second);
  EXPECT_EQ(second->parent, helper);
}

TEST(PieceDispatcher, WhatAReaderWaitsForIsAlwaysUnderWay) {
  PieceDispatcher dispatcher = Wanting(200);
  dispatcher.SetReaders({{PieceNumber(10), PieceNumber(199)}});
  for (int i = 0; i < 4; ++i) ParentWith(dispatcher, 0, 199);
  std::map<uint32_t, size_t> running;
  PieceSet here(200);
  TimePoint now = kStart;
  uint32_t farthest = 0;
  // A reader from piece 10 on, to whom whatever is under way comes in any order.
  for (uint32_t next = 10; next < 100;) {
    while (const auto assignment = dispatcher.Next(now)) {
      running.emplace(assignment->piece.value(), assignment->parent);
      farthest = std::max(farthest, assignment->piece.value() - std::min(assignment->piece.value(), next));
    }
    ASSERT_TRUE(running.contains(next)) << "the reader waits for " << next;
    now += milliseconds(1);
    const auto done = *running.rbegin();
    const auto wanted = *running.find(next);
    for (const auto& [piece, parent] : {done, wanted}) {
      if (!here.Insert(PieceNumber(piece))) continue;
      dispatcher.Finished(parent, PieceNumber(piece), now);
      running.erase(piece);
    }
    while (here.Contains(PieceNumber(next))) ++next;
  }
  EXPECT_GT(farthest, 8u) << "the peers of a swarm shall ask for different pieces all the same";
}

TEST(PieceDispatcher, AReaderWithOneParentGetsItsPiecesRoughlyInOrder) {
  PieceDispatcher dispatcher = Wanting(200);
  dispatcher.SetReaders({{PieceNumber(0), PieceNumber(199)}});
  const auto parent = ParentWith(dispatcher, 0, 199);
  TimePoint now = kStart;
  uint32_t position = 0;
  PieceSet here(200);
  while (const auto assignment = dispatcher.Next(now)) {
    EXPECT_LE(assignment->piece.value(), position + 16 + 8);
    now += milliseconds(1);
    here.Insert(assignment->piece);
    dispatcher.Finished(parent, assignment->piece, now);
    while (here.Contains(PieceNumber(position))) ++position;
  }
  EXPECT_EQ(position, 200u);
}

TEST(PieceDispatcher, TakesAnOverduePieceOverOnlyWhenAnotherParentIsIdle) {
  PieceDispatcher dispatcher = Wanting(1);
  const auto silent = ParentWith(dispatcher, 0, 0);
  ASSERT_TRUE(dispatcher.Next(kStart));
  EXPECT_EQ(dispatcher.NextLook(), kNoDeadline) << "nobody else has it";
  const auto idle = ParentWith(dispatcher, 0, 0);
  EXPECT_FALSE(dispatcher.Next(kStart + milliseconds(1999)));
  ASSERT_EQ(dispatcher.NextLook(), kStart + seconds(2));
  const auto assignment = dispatcher.Next(kStart + seconds(2));
  ASSERT_TRUE(assignment);
  EXPECT_EQ(assignment->parent, idle);
  EXPECT_EQ(assignment->instead_of, silent);
  EXPECT_FALSE(dispatcher.Next(kStart + seconds(9))) << "the first parent does not get it back";
  dispatcher.Failed(silent, PieceNumber(0), kStart + seconds(3));  // the cancelled transfer
  EXPECT_EQ(dispatcher.outstanding(), 1u);
  dispatcher.Finished(idle, PieceNumber(0), kStart + seconds(4));
  EXPECT_TRUE(dispatcher.satisfied());
}

TEST(PieceDispatcher, AsksASlowParentAgainWhenTheOneThatTookOverHasGone) {
  PieceDispatcher dispatcher = Wanting(1);
  const auto slow = ParentWith(dispatcher, 0, 0);
  ASSERT_EQ(dispatcher.Next(kStart)->parent, slow);
  const auto fast = ParentWith(dispatcher, 0, 0);
  for (const auto parent : {slow, fast}) dispatcher.SetNewsOpen(parent, false);
  const auto taken = dispatcher.Next(kStart + seconds(3));
  ASSERT_TRUE(taken);
  EXPECT_EQ(taken->parent, fast);
  EXPECT_EQ(taken->instead_of, slow);
  dispatcher.Drop(fast);
  EXPECT_FALSE(dispatcher.hopeless());
  const auto again = dispatcher.Next(kStart + seconds(3));
  ASSERT_TRUE(again);
  EXPECT_EQ(again->parent, slow);
  EXPECT_EQ(again->instead_of, std::nullopt);
  // What it then fails itself is not asked a third time.
  dispatcher.Failed(slow, PieceNumber(0), kStart + seconds(4));
  EXPECT_FALSE(dispatcher.Next(kStart + seconds(4)));
  EXPECT_TRUE(dispatcher.hopeless());
}

TEST(PieceDispatcher, GivesNoMoreThanOneSecondChance) {
  PieceDispatcher dispatcher = Wanting(1);
  const auto slow = ParentWith(dispatcher, 0, 0);
  ASSERT_EQ(dispatcher.Next(kStart)->parent, slow);
  TimePoint now = kStart;
  for (int round = 0; round < 2; ++round) {
    const auto fast = ParentWith(dispatcher, 0, 0);
    now += seconds(3);
    const auto taken = dispatcher.Next(now);
    ASSERT_TRUE(taken) << round;
    EXPECT_EQ(taken->parent, fast);
    dispatcher.Drop(fast);
    const auto again = dispatcher.Next(now);
    EXPECT_EQ(again.has_value(), round == 0);
  }
  dispatcher.SetNewsOpen(slow, false);
  EXPECT_TRUE(dispatcher.hopeless());
}

TEST(PieceDispatcher, AsksAParentOnceMoreWhoseConnectionBroke) {
  PieceDispatcher dispatcher = Wanting(2);
  const auto only = ParentWith(dispatcher, 0, 1);
  dispatcher.SetNewsOpen(only, false);
  const auto first = dispatcher.Next(kStart);
  ASSERT_TRUE(first);
  EXPECT_TRUE(dispatcher.Broke(only, first->piece, kStart + seconds(1)));
  EXPECT_FALSE(dispatcher.hopeless());
  std::vector<uint32_t> asked;
  while (const auto next = dispatcher.Next(kStart + seconds(1))) {
    asked.push_back(next->piece.value());
    if (next->piece == first->piece) {
      EXPECT_FALSE(dispatcher.Broke(only, first->piece, kStart + seconds(2)));
    } else {
      dispatcher.Finished(only, next->piece, kStart + seconds(2));
    }
  }
  EXPECT_THAT(asked, ::testing::UnorderedElementsAre(0u, 1u));
  EXPECT_FALSE(dispatcher.Next(kStart + seconds(2)));
  EXPECT_TRUE(dispatcher.hopeless());
}

TEST(PieceDispatcher, ABrokenConnectionIsTheLastThatIsTriedAgain) {
  PieceDispatcher dispatcher = Wanting(1);
  const auto slow = ParentWith(dispatcher, 0, 0);
  ASSERT_EQ(dispatcher.Next(kStart)->parent, slow);
  const auto breaking = ParentWith(dispatcher, 0, 0);
  for (const auto parent : {slow, breaking}) dispatcher.SetNewsOpen(parent, false);
  ASSERT_EQ(dispatcher.Next(kStart + seconds(3))->parent, breaking);
  EXPECT_TRUE(dispatcher.Broke(breaking, PieceNumber(0), kStart + seconds(3)));
  const auto again = dispatcher.Next(kStart + seconds(3));
  ASSERT_TRUE(again);
  EXPECT_EQ(again->parent, slow) << "it still has the piece under way";
  dispatcher.Failed(slow, PieceNumber(0), kStart + seconds(4));
  const auto last = dispatcher.Next(kStart + seconds(4));
  ASSERT_TRUE(last);
  EXPECT_EQ(last->parent, breaking);
}

TEST(PieceDispatcher, APieceThatArrivesWhileItIsTakenOverIsThere) {
  PieceDispatcher dispatcher = Wanting(1);
  const auto slow = ParentWith(dispatcher, 0, 0);
  ASSERT_TRUE(dispatcher.Next(kStart));
  const auto thief = ParentWith(dispatcher, 0, 0);
  ASSERT_TRUE(dispatcher.Next(kStart + seconds(2)));
  dispatcher.Finished(slow, PieceNumber(0), kStart + seconds(2));
  EXPECT_TRUE(dispatcher.satisfied());
  dispatcher.Finished(thief, PieceNumber(0), kStart + seconds(3));
  EXPECT_TRUE(dispatcher.satisfied());
  EXPECT_EQ(dispatcher.outstanding(), 0u);
}

TEST(PieceDispatcher, WantedPiecesMayGrowAndShrinkOnTheWay) {
  PieceDispatcher dispatcher(Layout(4), DispatcherOptions());
  const auto parent = ParentWith(dispatcher, 0, 3);
  EXPECT_TRUE(dispatcher.satisfied());
  for (const PieceNumber number : {PieceNumber(0), PieceNumber(2)}) {
    dispatcher.Want(number);
    ASSERT_TRUE(dispatcher.Next(kStart));
    dispatcher.Finished(parent, number, kStart + milliseconds(1));
    EXPECT_TRUE(dispatcher.satisfied());
  }
  dispatcher.Want(PieceNumber(1));
  EXPECT_EQ(dispatcher.Next(kStart)->piece, PieceNumber(1));
  dispatcher.Want(PieceNumber(3));
  dispatcher.Forget(PieceNumber(1));
  EXPECT_FALSE(dispatcher.satisfied());
  const auto second = dispatcher.Next(kStart);
  ASSERT_TRUE(second);
  EXPECT_EQ(second->piece, PieceNumber(3));
  dispatcher.Finished(parent, PieceNumber(3), kStart);
  EXPECT_TRUE(dispatcher.satisfied());
  dispatcher.Want(PieceNumber(1));  // still under way
  EXPECT_FALSE(dispatcher.satisfied());
  EXPECT_FALSE(dispatcher.Next(kStart));
  dispatcher.Finished(parent, PieceNumber(1), kStart);
  EXPECT_TRUE(dispatcher.satisfied());
}

TEST(PieceDispatcher, IgnoresPiecesThatTheTaskDoesNotHave) {
  PieceDispatcher dispatcher = Wanting(2);
  const auto parent = dispatcher.AddParent();
  dispatcher.Announce(parent, PieceNumber(2));
  dispatcher.Announce(parent, PieceNumber(kPieceCountMax));
  dispatcher.Want(PieceNumber(77));
  EXPECT_FALSE(dispatcher.Next(kStart));
}

// A swarm of parents in virtual time; each shares its rate among the pieces that it is sending.
struct SimulatedParent {
  double rate = 0;  // bytes a second
  std::set<uint32_t> has;
  double fails = 0;                    // share of pieces that fail at their end
  bool silent = false;                 // never sends a byte
  std::map<uint32_t, double> sending;  // piece -> bytes left
};

SimulatedParent Having(std::set<uint32_t> pieces, double rate) {
  SimulatedParent parent;
  parent.has = std::move(pieces);
  parent.rate = rate;
  return parent;
}

struct Outcome {
  double seconds = 0;
  std::map<uint32_t, int> finished;  // piece -> times
  int taken_over = 0;
  bool hopeless = false;
};

Outcome Simulate(PieceDispatcher& dispatcher, uint32_t pieces, std::vector<SimulatedParent> parents, uint64_t seed) {
  std::mt19937_64 random(seed);
  Outcome outcome;
  for (const auto& simulated : parents) {
    const auto parent = dispatcher.AddParent();
    for (const uint32_t piece : simulated.has) dispatcher.Announce(parent, PieceNumber(piece));
    dispatcher.SetNewsOpen(parent, false);
  }
  TimePoint now = kStart;
  std::set<uint32_t> under_way;
  for (int step = 0; step < 1'000'000; ++step) {
    while (const auto assignment = dispatcher.Next(now)) {
      const uint32_t piece = assignment->piece.value();
      SimulatedParent& parent = parents[assignment->parent];
      EXPECT_TRUE(parent.has.contains(piece));
      EXPECT_FALSE(outcome.finished.contains(piece)) << "a finished piece was assigned again";
      EXPECT_EQ(under_way.contains(piece), assignment->instead_of.has_value()) << "two writers of one piece";
      if (assignment->instead_of) {
        EXPECT_EQ(parents[*assignment->instead_of].sending.erase(piece), 1u);
        ++outcome.taken_over;
      }
      under_way.insert(piece);
      parent.sending[piece] = static_cast<double>(kPiece);
    }
    if (dispatcher.satisfied()) break;
    if (dispatcher.hopeless()) {
      outcome.hopeless = true;
      break;
    }
    // The next event: a piece done, or a look at what is overdue.
    double wait = 1e9;
    if (dispatcher.NextLook() != kNoDeadline) {
      wait = std::max(0.0, std::chrono::duration<double>(dispatcher.NextLook() - now).count());
    }
    for (const auto& parent : parents) {
      if (parent.silent) continue;
      for (const auto& [piece, left] : parent.sending) {
        wait = std::min(wait, left / (parent.rate / static_cast<double>(parent.sending.size())));
      }
    }
    if (wait > 1e8) {
      ADD_FAILURE() << "nothing will ever happen";
      break;
    }
    now += std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(wait)) + microseconds(1);
    for (size_t index = 0; index < parents.size(); ++index) {
      SimulatedParent& parent = parents[index];
      if (parent.silent) continue;
      const double each = parent.rate / static_cast<double>(parent.sending.size()) * (wait + 1e-6);
      for (auto it = parent.sending.begin(); it != parent.sending.end();) {
        it->second -= each;
        if (it->second > 0) {
          ++it;
          continue;
        }
        const uint32_t piece = it->first;
        it = parent.sending.erase(it);
        under_way.erase(piece);
        if (std::uniform_real_distribution<>(0, 1)(random) < parent.fails) {
          dispatcher.Failed(index, PieceNumber(piece), now);
        } else {
          ++outcome.finished[piece];
          dispatcher.Finished(index, PieceNumber(piece), now);
        }
      }
    }
  }
  outcome.seconds = std::chrono::duration<double>(now - kStart).count();
  for (uint32_t piece = 0; piece < pieces && !outcome.hopeless; ++piece) {
    EXPECT_EQ(outcome.finished[piece], 1) << "piece " << piece;
  }
  return outcome;
}

std::set<uint32_t> AllOf(uint32_t pieces) {
  std::set<uint32_t> all;
  for (uint32_t n = 0; n < pieces; ++n) all.insert(n);
  return all;
}

TEST(PieceDispatcherSwarm, AddsUpTheRatesOfUnequalParents) {
  PieceDispatcher dispatcher = Wanting(256);
  const Outcome outcome =
      Simulate(dispatcher, 256,
               {Having(AllOf(256), 1e9), Having(AllOf(256), 5e8), Having(AllOf(256), 1e8), Having(AllOf(256), 1e7)}, 1);
  const double ideal = 256.0 * kPiece / 1.61e9;
  // Two pieces of the slowest parent are the price of learning its rate.
  EXPECT_LT(outcome.seconds, ideal * 1.1 + 2.0 * kPiece / 1e7);
}

TEST(PieceDispatcherSwarm, ASilentParentCostsTheTakeOverAndNoMore) {
  PieceDispatcher dispatcher = Wanting(64);
  SimulatedParent silent = Having(AllOf(64), 1);
  silent.silent = true;
  const Outcome outcome = Simulate(dispatcher, 64, {Having(AllOf(64), 1e9), silent}, 1);
  EXPECT_LE(outcome.taken_over, 2);
  EXPECT_LT(outcome.seconds, 2.5);
}

TEST(PieceDispatcherSwarm, PartialParentsTogetherGiveTheFile) {
  PieceDispatcher dispatcher = Wanting(90);
  std::vector<SimulatedParent> parents(3);
  for (uint32_t n = 0; n < 90; ++n) parents[n % 3].has.insert(n);
  for (auto& parent : parents) parent.rate = 1e8;
  const Outcome outcome = Simulate(dispatcher, 90, parents, 1);
  EXPECT_EQ(outcome.taken_over, 0);
  EXPECT_LT(outcome.seconds, 30.0 * kPiece / 1e8 * 1.05);
}

// Random swarms: every piece that an honest parent has arrives once; nothing is ever written by two.
TEST(PieceDispatcherSwarm, HoldsItsPromisesInRandomSwarms) {
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    std::mt19937_64 random(seed);
    const auto pick = [&](uint64_t below) { return random() % below; };
    const uint32_t pieces = static_cast<uint32_t>(1 + pick(80));
    DispatcherOptions options;
    options.seed = seed;
    options.concurrency = 1 + pick(10);
    options.take_over_window = 1 + pick(3);
    options.lookahead = 1 + pick(70);
    std::vector<SimulatedParent> parents(1 + pick(6));
    std::set<uint32_t> available;
    bool may_miss = false;
    for (auto& parent : parents) {
      parent.rate = 1e6 * static_cast<double>(1 + pick(1000));
      parent.silent = pick(8) == 0;
      parent.fails = pick(3) == 0 ? 0.3 : 0;
      const uint64_t share = 1 + pick(4);
      for (uint32_t n = 0; n < pieces; ++n) {
        if (pick(4) < share) parent.has.insert(n);
      }
      if (!parent.silent && parent.fails == 0) available.insert(parent.has.begin(), parent.has.end());
      if (parent.silent || parent.fails > 0) may_miss = true;
    }
    // A silent parent that alone has a piece would be waited for: its transfers end elsewhere, by their deadline.
    for (auto& parent : parents) {
      if (!parent.silent) continue;
      std::erase_if(parent.has, [&](uint32_t n) { return !available.contains(n); });
    }
    PieceDispatcher dispatcher = Wanting(pieces, options);
    const Outcome outcome = Simulate(dispatcher, pieces, parents, seed);
    if (available.size() == pieces) {
      EXPECT_FALSE(outcome.hopeless);
    }
    if (!may_miss && available.size() < pieces) {
      EXPECT_TRUE(outcome.hopeless);
    }
    for (const auto& [piece, times] : outcome.finished) EXPECT_EQ(times, 1) << piece;
    for (const uint32_t piece : available) EXPECT_EQ(outcome.finished.count(piece), 1u) << piece;
  }
}

}  // namespace
}  // namespace dragonfly::daemon
