// SPDX-License-Identifier: Apache-2.0
#include "scheduler/wait_list.h"

#include "scheduler/peer.h"

namespace dragonfly::scheduler {

Peer* WaitList::Next(const Peer& peer) { return peer.wait_next_; }
TimePoint WaitList::Since(const Peer& peer) { return peer.waiting_since_; }

void WaitList::Add(Peer& peer, TimePoint now) {
  peer.waiting_ = true;
  peer.waiting_since_ = now;
  peer.wait_previous_ = last_;
  peer.wait_next_ = nullptr;
  (last_ == nullptr ? first_ : last_->wait_next_) = &peer;
  last_ = &peer;
  ++size_;
}

Peer* WaitList::NextOfWalk() {
  Peer* const peer = walk_;
  if (peer != nullptr) walk_ = peer->wait_next_;
  return peer;
}

void WaitList::Remove(Peer& peer) {
  if (!peer.waiting_) return;
  if (walk_ == &peer) walk_ = peer.wait_next_;
  (peer.wait_previous_ == nullptr ? first_ : peer.wait_previous_->wait_next_) = peer.wait_next_;
  (peer.wait_next_ == nullptr ? last_ : peer.wait_next_->wait_previous_) = peer.wait_previous_;
  peer.waiting_ = false;
  peer.wait_previous_ = peer.wait_next_ = nullptr;
  --size_;
}

}  // namespace dragonfly::scheduler
