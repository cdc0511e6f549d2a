// SPDX-License-Identifier: Apache-2.0
// Cuts a long run of bytes from an origin into pieces while they arrive.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>

#include "absl/status/status.h"
#include "base/byte_sink.h"
#include "base/piece.h"
#include "storage/task_content.h"
#include "telemetry/trace.h"

namespace dragonfly::daemon {

// Takes the bytes of a task from the begin of one piece on, in order, and commits each piece that is full. Bytes of a
// piece that is there already, or that somebody else is writing, are passed over.
// Thread rule: one thread at a time.
class PieceSplitter final : public ByteSink {
 public:
  // Called with each committed piece; an error ends the transfer and is returned by Append().
  using OnPiece = std::function<absl::Status(const storage::PieceRecord&)>;

  // `first`: the piece whose first byte comes first. `layout`: nullopt while the length is unknown; pieces of
  // `piece_length` bytes are cut then, and Finish() ends the last one. `trace`: of the spans of the pieces.
  PieceSplitter(std::shared_ptr<storage::TaskContent> content, PieceNumber first, std::optional<PieceLayout> layout,
                uint64_t piece_length, OnPiece on_piece, telemetry::SpanParent trace = {});

  // Errors: OUT_OF_RANGE when more bytes come than the layout has; RESOURCE_EXHAUSTED when the disk is full; errors of
  // the content; what on_piece returned.
  absl::Status Append(std::span<const std::byte> bytes) override;

  // Only for an unknown length: no byte will follow; commits the last piece and tells the content its length. Returns
  // the errors of Append().
  absl::Status Finish();

  // True when the error that ended Append() came from the disk or the content, not from the transfer.
  bool failed() const { return failed_; }
  // Bytes taken so far.
  uint64_t received() const { return received_; }

 private:
  absl::Status BeginPiece();
  absl::Status EndPiece();
  absl::Status Fail(absl::Status status);

  const std::shared_ptr<storage::TaskContent> content_;
  const std::optional<PieceLayout> layout_;
  const uint64_t piece_length_;
  const OnPiece on_piece_;
  const telemetry::SpanParent trace_;
  telemetry::Span span_;  // of the piece that comes
  PieceNumber piece_;
  bool in_piece_ = false;
  uint64_t left_ = 0;                           // bytes to the end of the piece
  std::optional<storage::PieceWriter> writer_;  // empty while the piece is passed over
  uint64_t received_ = 0;
  bool failed_ = false;
};

}  // namespace dragonfly::daemon
