// SPDX-License-Identifier: Apache-2.0
#include "daemon/wishes.h"

#include <algorithm>

namespace dragonfly::daemon {
namespace {

PieceLayout::Interval Whole(const PieceLayout& layout) {
  return PieceLayout::Interval{PieceNumber(0), PieceNumber(layout.piece_count() - 1)};
}

}  // namespace

std::optional<Wishes::Id> Wishes::Join() {
  absl::MutexLock lock(&mutex_);
  if (closed_) return std::nullopt;
  const Id id = next_++;
  wishes_.emplace(id, Wish());
  return id;
}

void Wishes::Set(Id id, Kind kind, PieceLayout::Interval pieces) {
  {
    absl::MutexLock lock(&mutex_);
    Wish& wish = wishes_[id];
    wish.kind = kind;
    wish.pieces = pieces;
  }
  changes_.Notify();
}

void Wishes::WantPieces(Id id, PieceLayout::Interval pieces) { Set(id, Kind::kPieces, pieces); }
void Wishes::WantAll(Id id) { Set(id, Kind::kAll); }
void Wishes::WantNothing(Id id) { Set(id, Kind::kNothing); }

void Wishes::ReadInOrder(Id id) {
  {
    absl::MutexLock lock(&mutex_);
    wishes_[id].in_order = true;
  }
  changes_.Notify();
}

void Wishes::Leave(Id id) {
  {
    absl::MutexLock lock(&mutex_);
    wishes_.erase(id);
  }
  changes_.Notify();
}

std::optional<PieceLayout::Interval> Wishes::Hull() const {
  absl::ReaderMutexLock lock(&mutex_);
  std::optional<PieceLayout::Interval> hull;
  for (const auto& [id, wish] : wishes_) {
    if (wish.kind == Kind::kAll) return std::nullopt;
    if (wish.kind != Kind::kPieces) continue;
    if (!hull) hull = wish.pieces;
    hull->first = std::min(hull->first, wish.pieces.first);
    hull->last = std::max(hull->last, wish.pieces.last);
  }
  return hull;
}

std::vector<PieceLayout::Interval> Wishes::InOrder(const PieceLayout& layout) const {
  std::vector<PieceLayout::Interval> readers;
  if (layout.piece_count() == 0) return readers;
  absl::ReaderMutexLock lock(&mutex_);
  for (const auto& [id, wish] : wishes_) {
    if (!wish.in_order) continue;
    if (wish.kind == Kind::kAll) readers.push_back(Whole(layout));
    if (wish.kind == Kind::kPieces) readers.push_back(wish.pieces);
  }
  return readers;
}

PieceSet Wishes::Missing(const storage::TaskContent& content, const PieceLayout& layout) const {
  PieceSet missing(layout.piece_count());
  if (layout.piece_count() == 0) return missing;
  absl::ReaderMutexLock lock(&mutex_);
  for (const auto& [id, wish] : wishes_) {
    if (wish.kind != Kind::kPieces && wish.kind != Kind::kAll) continue;
    const PieceLayout::Interval pieces = wish.kind == Kind::kAll ? Whole(layout) : wish.pieces;
    for (PieceNumber piece = pieces.first; piece <= pieces.last; piece = piece.next()) {
      if (!content.HasPiece(piece)) missing.Insert(piece);
    }
  }
  return missing;
}

bool Wishes::AnyUndecided() const {
  absl::ReaderMutexLock lock(&mutex_);
  return std::any_of(wishes_.begin(), wishes_.end(),
                     [](const auto& entry) { return entry.second.kind == Kind::kUndecided; });
}

bool Wishes::SatisfiedLocked(const storage::TaskContent& content) const {
  const std::optional<PieceLayout> layout = content.layout();
  if (!layout) return wishes_.empty();
  if (layout->piece_count() == 0 || content.complete()) {
    return std::none_of(wishes_.begin(), wishes_.end(),
                        [](const auto& entry) { return entry.second.kind == Kind::kUndecided; });
  }
  for (const auto& [id, wish] : wishes_) {
    if (wish.kind == Kind::kUndecided || wish.kind == Kind::kAll) return false;
    if (wish.kind == Kind::kNothing) continue;
    for (PieceNumber piece = wish.pieces.first; piece <= wish.pieces.last; piece = piece.next()) {
      if (!content.HasPiece(piece)) return false;
    }
  }
  return true;
}

bool Wishes::Satisfied(const storage::TaskContent& content) const {
  absl::ReaderMutexLock lock(&mutex_);
  return SatisfiedLocked(content);
}

bool Wishes::CloseIfSatisfied(const storage::TaskContent& content) {
  absl::MutexLock lock(&mutex_);
  if (!SatisfiedLocked(content)) return false;
  closed_ = true;
  return true;
}

bool Wishes::CloseIfAbandoned() {
  absl::MutexLock lock(&mutex_);
  if (!wishes_.empty()) return false;
  closed_ = true;
  return true;
}

void Wishes::Close() {
  absl::MutexLock lock(&mutex_);
  closed_ = true;
}

}  // namespace dragonfly::daemon
