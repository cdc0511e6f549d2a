// SPDX-License-Identifier: Apache-2.0
// What happens next in a simulated swarm: messages under way, and what is due by the clock.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <queue>
#include <utility>
#include <vector>

namespace dragonfly::swarm {

// What happens, and what `a`, `b` and `c` of the event are.
enum class Kind : uint8_t {
  kArrive,       // host
  kRegister,     // peer, at the scheduler
  kRegistered,   // peer, when the scheduler comes to it
  kStarted,      // peer, at the scheduler
  kPiece,        // peer, parent, piece: at the scheduler
  kPieceFailed,  // peer, parent
  kReschedule,   // peer
  kFinished,     // peer
  kSourceBegun,  // peer
  kStreamEnded,  // peer
  kAnswer,       // peer
  kSubscribe,    // child, index of its parent, generation: at the parent
  kTold,         // child, index, generation: all that the parent has
  kNews,         // child, index, piece (generation in `more`)
  kGiven,        // child, index, piece (generation in `more`)
  kParentLost,   // child, index, generation
  kBegin,        // child, index, piece (generation in `more`)
  kLook,         // peer
  kDie,          // -
};

// Handled by one call of the scheduler.
inline bool IsForScheduler(Kind kind) { return Kind::kRegistered <= kind && kind <= Kind::kStreamEnded; }

struct Event {
  double at;  // seconds
  Kind kind;
  uint16_t more;
  uint32_t a, b, c;
  bool operator>(const Event& other) const { return at > other.at; }
};

class EventQueue {
 public:
  void At(Event event) { heap_.push(event); }
  // The same for an event that comes `delay` after `now`. Those of the same delay come in order by themselves, so there
  // should be few different ones.
  void After(double now, double delay, Event event);

  // When the next event is due; `never` when there is none.
  double Next(double never) const;
  // The next event; there must be one.
  Event Pop();
  // Forgets what After() was called for.
  void ClearMessages();

 private:
  std::vector<std::pair<double, std::deque<Event>>> lines_;
  std::priority_queue<Event, std::vector<Event>, std::greater<>> heap_;
};

}  // namespace dragonfly::swarm
