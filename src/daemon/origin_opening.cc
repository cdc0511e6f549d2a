// SPDX-License-Identifier: Apache-2.0
#include "daemon/origin_opening.h"

#include <algorithm>
#include <utility>

#include "base/status.h"
#include "daemon/interrupt.h"
#include "daemon/traced.h"

namespace dragonfly::daemon {

namespace asio = boost::asio;

OriginOpening::OriginOpening(source::Source& source, source::OriginRequest request, uint64_t first_bytes,
                             runtime::TokenBucket& limiter, Probe& probe, std::string scheme,
                             telemetry::SpanParent trace)
    : source_(source),
      request_(std::move(request)),
      first_bytes_(first_bytes),
      limiter_(limiter),
      probe_(probe),
      scheme_(std::move(scheme)),
      span_(trace.Start("get", telemetry::SpanKind::kClient)) {
  SendTrace(span_, request_.header);
}

void OriginOpening::Start(Lane& lane, uint64_t piece_length, MakeContent make_content) {
  piece_length_ = piece_length;
  make_content_ = std::move(make_content);
  lane.group.Spawn(Run(shared_from_this()));
}

absl::StatusOr<ByteSink*> OriginOpening::OnStat(const source::OriginStat& stat) {
  if (cancelled_) return nullptr;
  const MakeContent make_content = std::exchange(make_content_, nullptr);
  DF_ASSIGN_OR_RETURN(std::shared_ptr<storage::TaskContent> content, make_content(stat));
  stat_ = stat;
  if (content != nullptr) {
    const std::optional<PieceLayout> layout = content->layout();
    if (layout && stat.accepts_ranges) {
      // A piece that the body leaves in the middle is read to its end, so that no byte is read twice.
      const uint64_t body = std::min(first_bytes_, layout->content_length());
      if (body > 0) pieces_coming_ = layout->PiecesOf(ByteRange{0, body}).last.value() + 1;
      if (body > 0) rest_ = ByteRange{body, layout->RangeOf(PieceNumber(pieces_coming_ - 1)).end() - body};
    } else {
      pieces_coming_ = layout ? layout->piece_count() : UINT32_MAX;
    }
  }
  changed_.Notify();
  if (pieces_coming_ == 0) return nullptr;
  auto on_piece = [this](const storage::PieceRecord& record) {
    OnFinished(record);
    return absl::OkStatus();
  };
  const std::optional<PieceLayout> layout = content->layout();
  splitter_.emplace(std::move(content), PieceNumber(0), layout, piece_length_, std::move(on_piece), span_.AsParent());
  return &*splitter_;
}

void OriginOpening::OnFinished(const storage::PieceRecord& record) {
  if (on_piece_) {
    on_piece_(record);
  } else if (!cancelled_) {
    finished_.push_back(record);
  }
}

void OriginOpening::Deliver(OnPiece on_piece) {
  on_piece_ = std::move(on_piece);
  if (!on_piece_) return;
  for (const storage::PieceRecord& record : std::exchange(finished_, {})) on_piece_(record);
}

void OriginOpening::Cancel() {
  cancelled_ = true;
  make_content_ = nullptr;
  on_piece_ = nullptr;
  stop_.Notify();
}

asio::awaitable<absl::StatusOr<source::Opening>> OriginOpening::Transfer() {
  source::Source::Opened opened = [this](const source::OriginStat& stat) { return OnStat(stat); };
  absl::StatusOr<source::Opening> opening = co_await source_.Open(request_, first_bytes_, std::move(opened), limiter_);
  if (opening.ok() && opening->body.ok() && splitter_ && rest_.length > 0) {
    opening->body =
        co_await source_.Read(std::move(request_), rest_, source::VersionOf(opening->stat), *splitter_, limiter_);
  }
  co_return opening;
}

asio::awaitable<void> OriginOpening::Run(std::shared_ptr<OriginOpening> self) {
  const TimePoint begin = Clock::now();
  self->probe_.BackendStarted(self->scheme_, "GET");
  const std::optional<absl::StatusOr<source::Opening>> opening = co_await RunUntil(self->Transfer(), self->stop_, 0);
  absl::Status status = absl::CancelledError("the opening was cancelled");
  if (opening) status = opening->ok() ? (*opening)->body : opening->status();
  if (status.ok() && self->splitter_ && !self->stat_->content_length) status = self->splitter_->Finish();
  if (status.ok() || absl::IsCancelled(status)) {
    self->probe_.BackendFinished(self->scheme_, "GET", absl::FromChrono(Clock::now() - begin));
  } else {
    self->probe_.BackendFailed(self->scheme_, "GET");
  }
  // A piece that has not come to its end is free for the next writer.
  self->splitter_.reset();
  self->span_.SetStatus(absl::IsCancelled(status) ? absl::OkStatus() : status);
  self->span_.End();
  self->done_ = std::move(status);
  self->changed_.Notify();
}

asio::awaitable<absl::StatusOr<source::OriginStat>> OriginOpening::WhenStat(TimePoint deadline) {
  for (;;) {
    const uint64_t seen = changed_.version();
    if (stat_) co_return *stat_;
    if (done_) co_return done_->ok() ? absl::InternalError("the origin has said nothing") : *done_;
    if (co_await changed_.Wait(seen, deadline)) continue;
    Cancel();
    co_return absl::DeadlineExceededError("the origin has not answered before the timeout");
  }
}

asio::awaitable<absl::Status> OriginOpening::WhenDone(TimePoint deadline) {
  for (;;) {
    const uint64_t seen = changed_.version();
    if (done_) co_return *done_;
    if (co_await changed_.Wait(seen, deadline)) continue;
    // Its end follows at once.
    Cancel();
    deadline = kNoDeadline;
  }
}

}  // namespace dragonfly::daemon
