// SPDX-License-Identifier: Apache-2.0
// The peers of one task that wait for a parent, first come first.
#pragma once

#include <cstddef>

#include "runtime/clock.h"

namespace dragonfly::scheduler {

class Peer;

// Intrusive: costs nothing per peer but two pointers.
class WaitList {
 public:
  bool empty() const { return first_ == nullptr; }
  size_t size() const { return size_; }
  Peer* first() const { return first_; }
  static Peer* Next(const Peer& peer);
  static TimePoint Since(const Peer& peer);

  // A walk over the list that may pause: StartWalk(), and then each peer once, also those that are added meanwhile;
  // those that are removed before their turn are left out. Null: the walk is over, or there is none.
  void StartWalk() { walk_ = first_; }
  Peer* NextOfWalk();
  bool walking() const { return walk_ != nullptr; }

  // The peer must not wait already.
  void Add(Peer& peer, TimePoint now);
  // Does nothing when the peer does not wait.
  void Remove(Peer& peer);

 private:
  Peer* first_ = nullptr;
  Peer* last_ = nullptr;
  Peer* walk_ = nullptr;  // whose turn it is
  size_t size_ = 0;
};

}  // namespace dragonfly::scheduler
