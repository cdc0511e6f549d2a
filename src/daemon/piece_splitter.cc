// SPDX-License-Identifier: Apache-2.0
#include "daemon/piece_splitter.h"

#include <algorithm>
#include <utility>

#include "base/status.h"
#include "daemon/traced.h"

namespace dragonfly::daemon {

PieceSplitter::PieceSplitter(std::shared_ptr<storage::TaskContent> content, PieceNumber first,
                             std::optional<PieceLayout> layout, uint64_t piece_length, OnPiece on_piece,
                             telemetry::SpanParent trace)
    : content_(std::move(content)),
      layout_(std::move(layout)),
      piece_length_(piece_length),
      on_piece_(std::move(on_piece)),
      trace_(std::move(trace)),
      piece_(first) {}

absl::Status PieceSplitter::Fail(absl::Status status) {
  failed_ = true;
  writer_.reset();
  span_.SetStatus(status);
  span_.End();
  return status;
}

absl::Status PieceSplitter::BeginPiece() {
  if (layout_ && !layout_->Contains(piece_)) {
    return absl::OutOfRangeError("the origin sent more bytes than its content length");
  }
  if (piece_.value() >= kPieceCountMax) return absl::OutOfRangeError("the origin's content has too many pieces");
  left_ = layout_ ? layout_->RangeOf(piece_).length : piece_length_;
  absl::StatusOr<storage::PieceWriter> writer = content_->BeginPiece(piece_);
  if (writer.ok()) {
    writer_.emplace(*std::move(writer));
    span_ = trace_.Start("download_from_source");
    NamePiece(span_, content_->id().str(), piece_.value());
  } else if (!absl::IsAlreadyExists(writer.status()) && !absl::IsFailedPrecondition(writer.status())) {
    return Fail(writer.status());
  }
  in_piece_ = true;
  return absl::OkStatus();
}

absl::Status PieceSplitter::EndPiece() {
  in_piece_ = false;
  piece_ = piece_.next();
  if (!writer_) return absl::OkStatus();
  absl::StatusOr<storage::PieceRecord> record = writer_->Commit(std::nullopt, "", storage::TrafficType::kBackToSource);
  writer_.reset();
  if (!record.ok()) return Fail(record.status());
  span_.End();
  return on_piece_(*record);
}

absl::Status PieceSplitter::Append(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    if (!in_piece_) DF_RETURN_IF_ERROR(BeginPiece());
    const auto part = bytes.first(static_cast<size_t>(std::min<uint64_t>(bytes.size(), left_)));
    if (writer_) {
      if (absl::Status written = writer_->Append(part); !written.ok()) return Fail(std::move(written));
    }
    bytes = bytes.subspan(part.size());
    left_ -= part.size();
    received_ += part.size();
    if (left_ == 0) DF_RETURN_IF_ERROR(EndPiece());
  }
  return absl::OkStatus();
}

absl::Status PieceSplitter::Finish() {
  if (in_piece_) DF_RETURN_IF_ERROR(EndPiece());
  if (layout_) return absl::OkStatus();
  absl::Status known = content_->FinishLength(received_);
  if (!known.ok()) return Fail(std::move(known));
  return absl::OkStatus();
}

}  // namespace dragonfly::daemon
