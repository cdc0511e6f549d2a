// SPDX-License-Identifier: Apache-2.0
#include "daemon/task_download.h"

#include <algorithm>
#include <boost/asio/this_coro.hpp>
#include <boost/system/system_error.hpp>
#include <utility>

#include "base/status.h"
#include "base/text.h"
#include "base/url.h"
#include "common/v2/common.pb.h"
#include "daemon/interrupt.h"
#include "daemon/origin_access.h"
#include "telemetry/log.h"

namespace dragonfly::daemon {

namespace asio = boost::asio;

namespace {

// True when both name a version and the versions differ.
bool Differs(const std::map<std::string, std::string>& a, const std::map<std::string, std::string>& b,
             const std::string& name) {
  const auto in_a = a.find(name);
  const auto in_b = b.find(name);
  return in_a != a.end() && in_b != b.end() && in_a->second != in_b->second;
}

}  // namespace

TaskDownload::TaskDownload(TaskId id, std::shared_ptr<const common::v2::Download> wire, const TaskManagerParts& parts,
                           Lane& lane, std::shared_ptr<TaskDownload> predecessor)
    : id_(std::move(id)),
      peer_id_(MakePeerId(parts.identity.ip, parts.identity.hostname, parts.identity.seed)),
      wire_(std::move(wire)),
      parts_(parts),
      lane_(lane),
      predecessor_(std::move(predecessor)),
      next_peer_id_(peer_id_) {
  if (parts.history != nullptr) recorder_ = parts.history->Begin(id_, wire_->url(), peer_id_);
}

TaskDownload::~TaskDownload() = default;

std::optional<Wishes::Id> TaskDownload::Join(const common::v2::Download& wire) {
  const std::optional<Wishes::Id> wish = wishes_.Join();
  // A scheduler that triggers a seed asks for the origin, whatever the first caller of the cluster thought of its own.
  if (wish && (!wire.disable_back_to_source() || wire.need_back_to_source())) origin_allowed_ = true;
  if (wish && !wire.is_prefetch()) awaited_ = true;
  return wish;
}

void TaskDownload::Leave(Wishes::Id id, bool satisfied) {
  wishes_.Leave(id);
  if (!satisfied && wishes_.CloseIfAbandoned()) Cancel(absl::CancelledError("nobody wants the task any more"));
}

asio::awaitable<absl::StatusOr<TaskShape>> TaskDownload::WhenShaped(TimePoint deadline) {
  for (;;) {
    const uint64_t seen = changed_.version();
    {
      absl::MutexLock lock(&mutex_);
      if (shape_) co_return *shape_;
      if (outcome_) co_return outcome_->ok() ? absl::InternalError("the download ended without a shape") : *outcome_;
    }
    if (!co_await changed_.Wait(seen, deadline)) {
      co_return absl::DeadlineExceededError(StrCat("task ", id_.str(), " is not known in time"));
    }
  }
}

std::optional<absl::Status> TaskDownload::outcome() const {
  absl::MutexLock lock(&mutex_);
  return outcome_;
}

asio::awaitable<void> TaskDownload::WhenEnded() {
  for (;;) {
    const uint64_t seen = changed_.version();
    if (outcome()) co_return;
    co_await changed_.Wait(seen);
  }
}

void TaskDownload::Cancel(const absl::Status& why) {
  {
    absl::MutexLock lock(&mutex_);
    if (!cancelled_) cancelled_ = why;
  }
  wishes_.Close();
  stop_.Notify();
}

void TaskDownload::TraceUnder(const telemetry::SpanParent& caller) {
  span_ = caller.Start("download");
  span_.Set("task_id", id_.str());
  span_.Set("peer_id", peer_id_);
}

void TaskDownload::End(const absl::Status& outcome) {
  std::shared_ptr<storage::TaskContent> content;
  {
    absl::MutexLock lock(&mutex_);
    if (outcome_) return;
    outcome_ = outcome;
    if (recorder_) recorder_->Ended(outcome);
    if (shape_) content = shape_->content;
  }
  wishes_.Close();
  // Who follows the content looks at the outcome when it changes: callers of this host, and other peers' SyncPieces.
  if (content) {
    if (outcome.ok()) {
      content->changes().Notify();
    } else {
      content->Fail(outcome);
    }
  }
  changed_.Notify();
}

asio::awaitable<void> TaskDownload::Run() {
  absl::Status outcome = absl::CancelledError("the daemon is stopping");
  try {
    const std::optional<absl::Status> status = co_await RunUntil(Body(), stop_, 0);
    absl::MutexLock lock(&mutex_);
    outcome = status ? *status : cancelled_.value_or(absl::CancelledError("cancelled"));
  } catch (const boost::system::system_error& error) {
    // The owner stops: the outcome is what was said above.
    if (error.code() != asio::error::operation_aborted) throw;
  }
  if (outcome.ok()) {
    DF_LOG(Debug, "task {}: download finished", id_.str());
  } else {
    DF_LOG(Warn, "task {}: download failed: {}", id_.str(), outcome.ToString());
  }
  if (recorder_) recorder_->Causes(causes_);
  if (layout_) span_.Set("content_length", layout_->content_length());
  span_.SetStatus(outcome);
  span_.End();
  End(outcome);
}

bool TaskDownload::NothingMissing() const {
  return content_ != nullptr && layout_.has_value() && wishes_.Missing(*content_, *layout_).empty();
}

asio::awaitable<absl::Status> TaskDownload::Body() {
  if (predecessor_) co_await std::exchange(predecessor_, nullptr)->WhenEnded();
  DF_CO_RETURN_IF_ERROR(co_await Prepare());
  for (;;) {
    const uint64_t seen = wishes_.changes().version();
    if (content_ && wishes_.CloseIfSatisfied(*content_)) co_return absl::OkStatus();
    if (NothingMissing()) {
      co_await wishes_.changes().Wait(seen);  // somebody has not said yet what it wants
      continue;
    }
    DF_CO_RETURN_IF_ERROR(co_await Fetch());
  }
}

void TaskDownload::DropStaleContent() {
  const std::shared_ptr<storage::TaskContent> old = parts_.store.Find(id_);
  if (!old) return;
  const std::optional<PieceLayout> layout = old->layout();
  const std::map<std::string, std::string> header = old->response_header();
  const bool same = layout && stat_.content_length == layout->content_length() &&
                    !Differs(header, stat_.header, "etag") && !Differs(header, stat_.header, "last-modified");
  if (same) return;
  DF_LOG(Info, "task {}: the origin has another version now, {} pieces are given up", id_.str(),
         old->finished_piece_count());
  if (const absl::Status deleted = parts_.store.Delete(id_); !deleted.ok()) {
    DF_LOG(Debug, "task {}: {}", id_.str(), deleted.ToString());
  }
}

absl::Status TaskDownload::MakeContent(std::optional<uint64_t> content_length, uint64_t piece_length) {
  storage::ContentShape shape;
  shape.content_length = content_length;
  shape.piece_length = piece_length;
  shape.response_header = stat_.header;
  DF_ASSIGN_OR_RETURN(content_, parts_.store.FindOrCreate(id_, shape));
  layout_ = content_->layout();
  piece_length_ = layout_ ? layout_->piece_length() : piece_length;
  {
    absl::MutexLock lock(&mutex_);
    shape_.emplace();
    shape_->content = content_;
    shape_->piece_length = piece_length_;
  }
  changed_.Notify();
  return absl::OkStatus();
}

asio::awaitable<absl::Status> TaskDownload::Prepare() {
  DF_CO_ASSIGN_OR_RETURN(source_, lane_.sources->For(wire_->url()));
  request_.url = wire_->url();
  for (const auto& [name, value] : wire_->request_header()) request_.header.emplace_back(name, value);
  request_.access = OriginAccessOf(*wire_);

  const absl::StatusOr<Url> url = Url::Parse(wire_->url());
  const std::string scheme = url.ok() ? url->scheme : "";
  source::OriginRequest request = request_;
  request.deadline =
      Clock::now() + absl::ToChronoNanoseconds(std::min(parts_.config.download.piece_timeout, absl::Hours(24)));
  const TimePoint begin = Clock::now();
  parts_.probe.BackendStarted(scheme, "HEAD");
  absl::StatusOr<source::OriginStat> stat = co_await source_->Stat(std::move(request));
  if (!stat.ok()) {
    parts_.probe.BackendFailed(scheme, "HEAD");
    co_return stat.status();
  }
  parts_.probe.BackendFinished(scheme, "HEAD", absl::FromChrono(Clock::now() - begin));
  stat_ = *std::move(stat);
  DropStaleContent();

  if (!stat_.content_length) {
    // Perhaps a parent knows: the content is made when the scheduler has answered.
    piece_length_ = wire_->has_piece_length() ? wire_->piece_length() : kPieceLengthMin;
    co_return absl::OkStatus();
  }
  co_return MakeContent(*stat_.content_length,
                        wire_->has_piece_length() ? wire_->piece_length() : PieceLengthFor(*stat_.content_length));
}

}  // namespace dragonfly::daemon
