// SPDX-License-Identifier: Apache-2.0
// Which pieces of which tasks this host has begun to give to somebody, for the children that follow it
// (rpc/given_pieces.h). Nothing is kept of a task that nobody follows.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "base/piece.h"
#include "runtime/signal.h"
#include "storage/task_content.h"

namespace dragonfly::daemon {

// Thread-safe.
class GivenPieces {
 public:
  // The pieces of one content that were given since the first of its present followers came, in the order of their
  // first giving. Thread-safe.
  class Log {
   public:
    // `changes`: see Follow().
    explicit Log(runtime::Signal changes) : changes_(std::move(changes)) {}
    // Those behind the first `from`.
    std::vector<PieceNumber> Since(size_t from) const;

   private:
    friend class GivenPieces;
    // True when it is new.
    bool Add(PieceNumber number);

    runtime::Signal changes_;
    mutable std::mutex mutex_;
    std::vector<PieceNumber> numbers_;
    std::vector<bool> added_;  // by number
  };

  // Followers hold the log. Additions notify content.changes() while there are several: one alone has got the pieces
  // itself, and hears of them with the first that somebody else gets.
  std::shared_ptr<const Log> Follow(storage::TaskContent& content);

  // The host begins to give the piece of `record`, which `content` has. Counts when nobody else had it before: the
  // content is complete or the piece came from the origin. What a peer in between passes on is in the news of those
  // that get it.
  void Begun(storage::TaskContent& content, const storage::PieceRecord& record);

 private:
  std::mutex mutex_;
  // Of live logs, and of few that have ended. A content has another address than one that was deleted before it, as
  // long as somebody follows either.
  std::map<const storage::TaskContent*, std::weak_ptr<Log>> logs_;
};

}  // namespace dragonfly::daemon
