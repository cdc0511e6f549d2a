// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string_view>

#include "absl/status/status.h"
#include "telemetry/span_context.h"

namespace dragonfly::scheduler {

class Peer;

// The way back to a peer: its AnnouncePeer stream as the scheduling sees it. One answer per registration or
// rescheduling; what is not asked for goes only to peers that say that they take it. Called on the thread of the task's
// shard.
class PeerStream {
 public:
  virtual ~PeerStream() = default;

  // There is nothing to download: the file is known to be empty.
  virtual void SendEmpty() = 0;
  // Best first, at least one.
  virtual void SendParents(const Peer& child, std::span<Peer* const> parents) = 0;
  // Without a question, beside those of the last SendParents(). Only to a peer that takes_more_parents.
  virtual void SendMoreParents(const Peer& child, std::span<Peer* const> parents) = 0;
  virtual void SendBackToSource(std::string_view description) = 0;
  virtual void SendMetadataOnly() = 0;
  // The span of the conversation, for calls that it causes; not valid() when there is none.
  virtual telemetry::SpanContext trace() const { return {}; }
  // Ends the conversation.
  virtual void Finish(absl::Status status) = 0;
};

}  // namespace dragonfly::scheduler
