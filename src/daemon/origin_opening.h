// SPDX-License-Identifier: Apache-2.0
// The first request of a download that is to read its origin anyway: its answer tells what the origin has, and its body
// is the begin of the content, so that a small file costs one request.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "daemon/lane.h"
#include "daemon/piece_splitter.h"
#include "daemon/probe.h"
#include "runtime/signal.h"
#include "runtime/token_bucket.h"
#include "source/source.h"
#include "storage/task_content.h"

namespace dragonfly::daemon {

// Thread rule: everything on the thread of the lane that it was started on.
class OriginOpening : public std::enable_shared_from_this<OriginOpening> {
 public:
  // Called with the origin's answer, before any byte: where the pieces go. Null: the body is not wanted. An error ends
  // the opening, and WhenStat() returns it.
  using MakeContent =
      std::function<absl::StatusOr<std::shared_ptr<storage::TaskContent>>(const source::OriginStat& stat)>;
  using OnPiece = std::function<void(const storage::PieceRecord&)>;

  // Asks for `first_bytes`. `source`, `limiter` and `probe` must outlive the lane's group. `scheme`: of the metrics;
  // `trace`: of its span.
  OriginOpening(source::Source& source, source::OriginRequest request, uint64_t first_bytes,
                runtime::TokenBucket& limiter, Probe& probe, std::string scheme, telemetry::SpanParent trace = {});

  // Begins, in the group of `lane`. `piece_length`: of the pieces while the length is unknown.
  void Start(Lane& lane, uint64_t piece_length, MakeContent make_content);
  // What the origin has, as soon as it has answered. Errors: as source::Source::Stat(); of `make_content`;
  // DEADLINE_EXCEEDED, and then the opening is cancelled.
  boost::asio::awaitable<absl::StatusOr<source::OriginStat>> WhenStat(TimePoint deadline);
  // The whole transfer has ended; OK when all its bytes are in place. An error is no reason to give up, unless it is of
  // the own disk: what is missing can be read again. At `deadline` the transfer is ended.
  boost::asio::awaitable<absl::Status> WhenDone(TimePoint deadline = kNoDeadline);
  // Tells of the pieces that are there, and of each that follows until Deliver(nullptr).
  void Deliver(OnPiece on_piece);
  // How many pieces from the first on the body brings, as far as it is known; 0 when it is cut.
  uint32_t pieces_coming() const { return pieces_coming_; }
  // Ends the transfer; nothing is called any more.
  void Cancel();

 private:
  static boost::asio::awaitable<void> Run(std::shared_ptr<OriginOpening> self);
  boost::asio::awaitable<absl::StatusOr<source::Opening>> Transfer();
  absl::StatusOr<ByteSink*> OnStat(const source::OriginStat& stat);
  void OnFinished(const storage::PieceRecord& record);

  source::Source& source_;
  source::OriginRequest request_;
  const uint64_t first_bytes_;
  runtime::TokenBucket& limiter_;
  Probe& probe_;
  const std::string scheme_;
  telemetry::Span span_;
  uint64_t piece_length_ = 0;
  MakeContent make_content_;
  OnPiece on_piece_;
  std::optional<source::OriginStat> stat_;
  std::optional<PieceSplitter> splitter_;
  uint32_t pieces_coming_ = 0;
  ByteRange rest_;                              // of the last of them, behind the body
  std::vector<storage::PieceRecord> finished_;  // not delivered yet
  std::optional<absl::Status> done_;
  bool cancelled_ = false;
  runtime::Signal changed_;
  runtime::Signal stop_;
};

}  // namespace dragonfly::daemon
