// SPDX-License-Identifier: Apache-2.0
#include "daemon/origin_fetch.h"

#include <algorithm>
#include <boost/asio/this_coro.hpp>
#include <exception>
#include <utility>

#include "base/status.h"
#include "base/text.h"
#include "daemon/piece_splitter.h"
#include "daemon/traced.h"
#include "telemetry/log.h"

namespace dragonfly::daemon {

namespace asio = boost::asio;

namespace {

const absl::Status& StatusOf(const absl::Status& status) { return status; }
template <typename T>
const absl::Status& StatusOf(const absl::StatusOr<T>& result) {
  return result.status();
}

// What a sink returns to end a transfer of which nothing more is wanted.
absl::Status Enough() { return absl::CancelledError("nobody wants more of the body"); }

}  // namespace

OriginFetch::OriginFetch(asio::any_io_executor executor, std::shared_ptr<storage::TaskContent> content,
                         std::optional<PieceLayout> layout, uint64_t piece_length, Origin origin, Wishes& wishes,
                         runtime::TokenBucket& limiter, Probe& probe, Options options,
                         std::function<void(const storage::PieceRecord&)> finished)
    : executor_(std::move(executor)),
      content_(std::move(content)),
      layout_(std::move(layout)),
      piece_length_(piece_length),
      origin_(std::move(origin)),
      wishes_(wishes),
      limiter_(limiter),
      probe_(probe),
      options_(std::move(options)),
      finished_(std::move(finished)),
      group_(executor_) {}

template <typename T>
asio::awaitable<T> OriginFetch::Measured(asio::awaitable<T> call, telemetry::Span span) {
  const TimePoint begin = Clock::now();
  probe_.BackendStarted(options_.scheme, "GET");
  T result = co_await std::move(call);
  span.SetStatus(StatusOf(result));
  if (StatusOf(result).ok() || absl::IsCancelled(StatusOf(result))) {
    probe_.BackendFinished(options_.scheme, "GET", absl::FromChrono(Clock::now() - begin));
  } else {
    probe_.BackendFailed(options_.scheme, "GET");
  }
  co_return result;
}

TimePoint OriginFetch::DeadlineOf(uint32_t pieces) const {
  return Clock::now() + options_.piece_timeout * std::min<uint32_t>(pieces, 1000);
}

// The next run of neighbouring missing pieces. Runs shrink as less is left, so that the workers end together.
std::optional<OriginFetch::PieceRun> OriginFetch::NextRun() {
  const std::optional<PieceNumber> first = missing_.NextFrom(PieceNumber(0));
  if (!first) return std::nullopt;
  const uint64_t left = uint64_t{missing_.size()} * layout_->piece_length();
  const uint64_t target = std::min(options_.run_bytes_max, left / (2 * options_.concurrency));
  PieceRun run;
  run.first = *first;
  run.range.offset = layout_->RangeOf(*first).offset;
  for (PieceNumber piece = *first; missing_.Contains(piece); piece = piece.next()) {
    const uint64_t length = layout_->RangeOf(piece).length;
    if (run.pieces > 0 && run.range.length + length > target) break;
    ++run.pieces;
    run.range.length += length;
    missing_.Erase(piece);
  }
  return run;
}

asio::awaitable<absl::Status> OriginFetch::ReadRun(PieceRun run) {
  auto on_piece = [this](const storage::PieceRecord& record) {
    finished_(record);
    return absl::OkStatus();
  };
  telemetry::Span span = options_.trace.Start("get", telemetry::SpanKind::kClient);
  PieceSplitter splitter(content_, run.first, layout_, piece_length_, std::move(on_piece), span.AsParent());
  source::OriginRequest request = origin_.request;
  SendTrace(span, request.header);
  request.deadline = DeadlineOf(run.pieces);
  source::ObjectVersion version = source::VersionOf(origin_.stat);
  auto call = origin_.source->Read(std::move(request), run.range, std::move(version), splitter, limiter_);
  co_return co_await Measured(std::move(call), std::move(span));
}

asio::awaitable<void> OriginFetch::Worker() {
  while (failure_.ok()) {
    const std::optional<PieceRun> run = NextRun();
    if (!run) break;
    absl::Status read = co_await ReadRun(*run);
    if (!read.ok() && failure_.ok()) failure_ = std::move(read);
  }
  --workers_;
  worker_ended_.Notify();
}

// Ends with the last worker, or with the first failure.
asio::awaitable<void> OriginFetch::WaitForWorkers() {
  for (;;) {
    const uint64_t seen = worker_ended_.version();
    if (workers_ == 0 || !failure_.ok()) co_return;
    co_await worker_ended_.Wait(seen);
  }
}

asio::awaitable<absl::Status> OriginFetch::ReadRuns() {
  missing_ = wishes_.Missing(*content_, *layout_);
  for (uint32_t number = 0; number < options_.skip_pieces; ++number) missing_.Erase(PieceNumber(number));
  if (missing_.empty()) co_return absl::OkStatus();
  workers_ = std::min<size_t>(options_.concurrency, missing_.size());
  if (workers_ == 1) {
    // One request: no need for coroutines that somebody must join.
    while (const std::optional<PieceRun> run = NextRun()) DF_CO_RETURN_IF_ERROR(co_await ReadRun(*run));
    co_return absl::OkStatus();
  }
  for (size_t i = workers_; i > 0; --i) group_.Spawn(Worker());
  // The workers use this object: they are joined on every way out.
  std::exception_ptr cancelled;
  try {
    co_await WaitForWorkers();
  } catch (...) {
    cancelled = std::current_exception();
  }
  co_await asio::this_coro::throw_if_cancelled(false);
  co_await group_.Stop();
  co_await asio::this_coro::throw_if_cancelled(true);
  if (cancelled) std::rethrow_exception(cancelled);
  co_return failure_;
}

asio::awaitable<absl::Status> OriginFetch::ReadWhole() {
  auto on_piece = [this](const storage::PieceRecord& record) {
    finished_(record);
    return layout_ && wishes_.Satisfied(*content_) ? Enough() : absl::OkStatus();
  };
  const PieceNumber first(0);
  telemetry::Span span = options_.trace.Start("get", telemetry::SpanKind::kClient);
  PieceSplitter splitter(content_, first, layout_, piece_length_, std::move(on_piece), span.AsParent());
  source::OriginRequest request = origin_.request;
  SendTrace(span, request.header);
  if (layout_) request.deadline = DeadlineOf(layout_->piece_count());
  source::ObjectVersion version = source::VersionOf(origin_.stat);
  auto call = origin_.source->ReadAll(std::move(request), std::move(version), splitter, limiter_);
  const absl::StatusOr<uint64_t> length = co_await Measured(std::move(call), std::move(span));
  if (!length.ok()) {
    if (layout_ && absl::IsCancelled(length.status()) && wishes_.Satisfied(*content_)) co_return absl::OkStatus();
    co_return length.status();
  }
  if (layout_ && *length != layout_->content_length()) {
    co_return absl::DataLossError(
        StrCat("content length mismatch expected: ", layout_->content_length(), ", actual: ", *length));
  }
  co_return splitter.Finish();
}

asio::awaitable<absl::Status> OriginFetch::Run() {
  if (layout_ && origin_.stat.accepts_ranges) {
    const absl::Status status = co_await ReadRuns();
    // The stat was answered with a range, but these requests are not: the one body then serves for all.
    if (!absl::IsFailedPrecondition(status)) co_return status;
    DF_LOG(Warn, "task {}: {}; its whole body is read instead", content_->id().str(), MessageOf(status));
  }
  co_return co_await ReadWhole();
}

}  // namespace dragonfly::daemon
