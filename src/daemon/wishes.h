// SPDX-License-Identifier: Apache-2.0
// Who wants what of a task while it is being downloaded: the wanted pieces are the union of all callers' and may grow
// and shrink at any time.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "base/piece.h"
#include "daemon/piece_set.h"
#include "runtime/signal.h"
#include "storage/task_content.h"

namespace dragonfly::daemon {

// Thread-safe.
class Wishes {
 public:
  using Id = uint64_t;

  // A caller takes part; what it wants is not known yet. nullopt when the download takes nobody any more.
  std::optional<Id> Join();
  // Says what `id` wants: pieces, or nothing (an empty file).
  void WantPieces(Id id, PieceLayout::Interval pieces);
  void WantAll(Id id);
  void WantNothing(Id id);
  // It reads what it wants in order, from the first piece on, while it comes.
  void ReadInOrder(Id id);
  void Leave(Id id);

  // True while a caller that has joined has not said yet what it wants.
  bool AnyUndecided() const;

  // The smallest run of pieces that covers all wishes; nullopt when somebody wants everything or nobody wants a piece.
  std::optional<PieceLayout::Interval> Hull() const;
  // What callers want that read in order.
  std::vector<PieceLayout::Interval> InOrder(const PieceLayout& layout) const;
  // The wanted pieces that `content` does not have.
  PieceSet Missing(const storage::TaskContent& content, const PieceLayout& layout) const;
  // True when everybody has said what it wants, and all of that is there. False while the content's length is unknown.
  bool Satisfied(const storage::TaskContent& content) const;
  // Satisfied(), and nobody can join from now on.
  bool CloseIfSatisfied(const storage::TaskContent& content);
  // True when every caller has left; nobody can join from then on.
  bool CloseIfAbandoned();
  // Nobody can join from now on.
  void Close();

  // Notified at every change.
  runtime::Signal& changes() { return changes_; }

 private:
  enum class Kind { kUndecided, kNothing, kPieces, kAll };
  struct Wish {
    Kind kind = Kind::kUndecided;
    PieceLayout::Interval pieces;
    bool in_order = false;
  };
  void Set(Id id, Kind kind, PieceLayout::Interval pieces = {});
  bool SatisfiedLocked(const storage::TaskContent& content) const ABSL_SHARED_LOCKS_REQUIRED(mutex_);

  mutable absl::Mutex mutex_;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  Id next_ ABSL_GUARDED_BY(mutex_) = 1;
  std::map<Id, Wish> wishes_ ABSL_GUARDED_BY(mutex_);
  runtime::Signal changes_;
};

}  // namespace dragonfly::daemon
