// SPDX-License-Identifier: Apache-2.0
#include "daemon/task_download.h"

#include <algorithm>
#include <boost/asio/cancellation_state.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/system/system_error.hpp>
#include <functional>
#include <utility>

#include "base/status.h"
#include "base/text.h"
#include "base/url.h"
#include "common/v2/common.pb.h"
#include "daemon/copy_announcement.h"
#include "daemon/interrupt.h"
#include "daemon/origin_access.h"
#include "daemon/revalidation.h"
#include "daemon/traced.h"
#include "telemetry/log.h"

namespace dragonfly::daemon {

namespace asio = boost::asio;

namespace {

// Pieces at once that a request may ask for.
constexpr uint64_t kConcurrencyMax = 256;
// A request may take as long as so many pieces.
constexpr int kOpeningPiecesMax = 1000;
// Callers whose ranges are kept for the reservation of space; what others want is reserved as it begins.
constexpr size_t kAskedMax = 1024;

}  // namespace

TaskDownload::TaskDownload(TaskId id, std::shared_ptr<const common::v2::Download> wire, OriginTerms terms,
                           const TaskManagerParts& parts, Lane& lane, std::shared_ptr<TaskDownload> predecessor)
    : id_(std::move(id)),
      peer_id_(MakePeerId(parts.identity.ip, parts.identity.hostname, parts.identity.seed)),
      wire_(std::move(wire)),
      parts_(parts),
      lane_(lane),
      predecessor_(std::move(predecessor)),
      terms_(terms),
      from_parents_([this]() -> runtime::TokenBucket& { return BandwidthOr(parts_.limiters.download); }),
      from_origin_([this]() -> runtime::TokenBucket& { return BandwidthOr(parts_.limiters.back_to_source); }),
      open_(!BringsCredentials(*wire_, terms_)),
      next_peer_id_(peer_id_) {
  if (parts.history != nullptr) recorder_ = parts.history->Begin(id_, wire_->url(), peer_id_);
}

TaskDownload::~TaskDownload() = default;

std::optional<Wishes::Id> TaskDownload::Join(const common::v2::Download& wire) {
  const std::optional<Wishes::Id> wish = wishes_.Join();
  // A scheduler that triggers a seed asks for the origin, whatever the first caller of the cluster thought of its own.
  if (!wish) return wish;
  if (!wire.disable_back_to_source() || wire.need_back_to_source()) origin_allowed_ = true;
  if (!wire.is_prefetch()) awaited_ = true;
  const uint64_t concurrency = wire.concurrent_piece_count() > 0
                                   ? wire.concurrent_piece_count()
                                   : std::max<uint64_t>(1, parts_.config.download.concurrent_piece_count);
  const auto most = static_cast<uint32_t>(std::min<uint64_t>(concurrency, kConcurrencyMax));
  if (concurrency_ < most) concurrency_ = most;
  absl::MutexLock lock(&mutex_);
  if (!shape_ && asked_.size() < kAskedMax) asked_.emplace_back(wire);
  return wish;
}

bool TaskDownload::AsksForAnother(const common::v2::Download& wire, const OriginTerms& terms) const {
  if (terms.guarded && !terms_.guarded && !parts_.config.proxy.forbidden_networks.empty()) return true;
  return DifferentAccess(*wire_, terms_, wire, terms);
}

bool TaskDownload::KeepsFrom(const common::v2::Download& wire, const OriginTerms& terms) const {
  const bool for_everybody = !BringsCredentials(*wire_, terms_) && terms.guarded == terms_.guarded;
  return !for_everybody && AsksForAnother(wire, terms);
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

bool TaskDownload::shaped() const {
  absl::MutexLock lock(&mutex_);
  return shape_.has_value();
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
    if (!outcome.ok()) content->Fail(outcome);
    // A content that was given up has had its last word, but not the download's.
    content->changes().Notify();
  }
  changed_.Notify();
}

// Its writer must be gone before the next download of the task begins.
asio::awaitable<void> TaskDownload::EndOpening() {
  if (!opening_) co_return;
  opening_->Deliver([this](const storage::PieceRecord& record) { PieceDone(nullptr, record); });
  opening_->Cancel();
  // A daemon that stops has cancelled this coroutine, and joins the opening by itself.
  const asio::cancellation_state cancelled = co_await asio::this_coro::cancellation_state;
  if (cancelled.cancelled() == asio::cancellation_type::none) {
    if (const absl::Status ended = co_await opening_->WhenDone(); !ended.ok()) {
      DF_LOG(Debug, "task {}: the first request to the origin: {}", id_.str(), ended.ToString());
    }
  }
  opening_.reset();
}

asio::awaitable<void> TaskDownload::WhenPredecessorEnded() {
  if (predecessor_) co_await predecessor_->WhenEnded();
  predecessor_.reset();
}

asio::awaitable<void> TaskDownload::Run() {
  absl::Status outcome = absl::CancelledError("the daemon is stopping");
  try {
    const std::optional<absl::Status> status = co_await RunUntil(Body(), stop_, 0);
    {
      absl::MutexLock lock(&mutex_);
      outcome = status ? *status : cancelled_.value_or(absl::CancelledError("cancelled"));
    }
    // Whoever waits for the end of this one waits for all before it, too.
    co_await WhenPredecessorEnded();
  } catch (const boost::system::system_error& error) {
    // The owner stops: the outcome is what was said above.
    if (error.code() != asio::error::operation_aborted) throw;
  }
  co_await EndOpening();
  if (outcome.ok()) {
    DF_LOG(Debug, "task {}: download finished", id_.str());
  } else {
    DF_LOG(Warn, "task {}: download failed: {}", id_.str(), outcome.ToString());
  }
  if (recorder_) recorder_->Causes(causes_);
  telemetry::Span end = span_.AsParent().Start(outcome.ok() ? "download_finished" : "download_failed");
  end.SetStatus(outcome);
  end.End();
  if (layout_) span_.Set("content_length", layout_->content_length());
  span_.SetStatus(outcome);
  span_.End();
  End(outcome);
}

bool TaskDownload::NothingMissing() const {
  return content_ != nullptr && layout_.has_value() && wishes_.Missing(*content_, *layout_).empty();
}

asio::awaitable<absl::Status> TaskDownload::Body() {
  co_await WhenPredecessorEnded();
  const runtime::SoftLimit::Slot slot = co_await lane_.downloads->Enter();
  absl::Status prepared = co_await Traced(span_.AsParent().Start("download_started"), Prepare());
  DF_CO_RETURN_IF_ERROR(co_await WithRoom(std::move(prepared)));
  // Nothing will be fetched, but who waits for this host at the scheduler must learn that the file is empty.
  if (wire_->need_back_to_source() && layout_ && layout_->piece_count() == 0) {
    lane_.group.Spawn(AnnounceCopy(parts_, id_, wire_));
  }
  // The first request may have brought everything by now; the scheduler is told all the same.
  bool must_report = opening_ != nullptr && !(layout_ && layout_->piece_count() == 0);
  for (;;) {
    const uint64_t seen = wishes_.changes().version();
    if (!must_report && content_ && wishes_.CloseIfSatisfied(*content_)) co_return absl::OkStatus();
    if (!must_report && NothingMissing()) {
      co_await wishes_.changes().Wait(seen);  // somebody has not said yet what it wants
      continue;
    }
    must_report = false;
    absl::Status fetched = co_await ReserveWanted();
    if (fetched.ok()) fetched = co_await Fetch();
    // Nobody had asked the origin; the next download must not go on with the pieces of what it no longer has.
    if (absl::IsDataLoss(fetched) && unasked_ && content_) GiveUp(*content_, MessageOf(fetched));
    DF_CO_RETURN_IF_ERROR(fetched);
  }
}

void TaskDownload::GiveUp(const storage::TaskContent& content, std::string_view why) {
  if (parts_.store.Find(id_).get() != &content) return;
  DF_LOG(Info, "task {}: {}, {} pieces are given up", id_.str(), why, content.finished_piece_count());
  if (const absl::Status deleted = parts_.store.Delete(id_); !deleted.ok()) {
    DF_LOG(Debug, "task {}: {}", id_.str(), deleted.ToString());
  }
}

std::optional<ByteRange> TaskDownload::WantedOf(uint64_t content_length) const {
  absl::MutexLock lock(&mutex_);
  ByteRange hull{content_length, 0};
  for (const RangeRequest& asked : asked_) {
    const absl::StatusOr<std::optional<ByteRange>> range = asked.Resolve(content_length);
    if (!range.ok()) continue;
    if (!range->has_value()) return std::nullopt;
    const uint64_t end = std::max(hull.length == 0 ? 0 : hull.end(), (*range)->end());
    hull.offset = std::min(hull.offset, (*range)->offset);
    hull.length = end - hull.offset;
  }
  // Callers who ask for what the file does not have will leave; until then the least is reserved.
  if (hull.length == 0) return content_length > 0 ? std::make_optional(ByteRange{0, 1}) : std::nullopt;
  return hull;
}

void TaskDownload::ConfirmContent() {
  content_->Confirm(asked_at_);
  if (open_) content_->ConfirmOpenly(asked_at_);
}

absl::Status TaskDownload::MakeContent(std::optional<uint64_t> content_length, uint64_t piece_length) {
  storage::ContentShape shape;
  shape.content_length = content_length;
  shape.piece_length = piece_length;
  shape.response_header = stat_.header;
  if (content_length) shape.wanted = WantedOf(*content_length);
  auto made = parts_.store.FindOrCreate(id_, shape, storage::ContentStore::Room::kAsItIs);
  if (absl::IsResourceExhausted(made.status())) roomless_ = std::move(shape);
  DF_ASSIGN_OR_RETURN(content_, std::move(made));
  if (!unasked_) ConfirmContent();
  layout_ = content_->layout();
  piece_length_ = layout_ ? layout_->piece_length() : piece_length;
  {
    absl::MutexLock lock(&mutex_);
    asked_.clear();
    shape_.emplace();
    shape_->content = content_;
    shape_->piece_length = piece_length_;
    shape_->before = content_->FinishedSince(0).size();
  }
  changed_.Notify();
  return absl::OkStatus();
}

asio::awaitable<absl::Status> TaskDownload::FindOrCreateInRoom(storage::ContentShape shape) {
  using Room = storage::ContentStore::Room;
  const absl::Status found = parts_.store.FindOrCreate(id_, shape, Room::kAsItIs).status();
  if (!absl::IsResourceExhausted(found)) co_return found;
  // Many files may have to be looked at, and large ones unlinked.
  bool begun = false;
  const std::function<absl::Status()> job = [this, &shape, &begun] {
    begun = true;
    return parts_.store.FindOrCreate(id_, shape, Room::kMade).status();
  };
  const absl::Status made = co_await parts_.blocking.Run(job);
  if (begun) co_return made;
  co_return job();
}

asio::awaitable<absl::Status> TaskDownload::WithRoom(absl::Status made) {
  if (!roomless_) co_return made;
  const storage::ContentShape shape = *std::exchange(roomless_, std::nullopt);
  DF_CO_RETURN_IF_ERROR(co_await FindOrCreateInRoom(shape));
  co_return MakeContent(shape.content_length, shape.piece_length);
}

asio::awaitable<absl::Status> TaskDownload::ReserveWanted() {
  if (!content_ || !layout_) co_return absl::OkStatus();
  if (parts_.store.Find(id_) != content_) {
    co_return absl::CancelledError(StrCat("task ", id_.str(), ": its content was removed"));
  }
  storage::ContentShape shape;
  shape.content_length = layout_->content_length();
  shape.piece_length = layout_->piece_length();
  if (const std::optional<PieceLayout::Interval> hull = wishes_.Hull()) {
    const uint64_t begin = layout_->RangeOf(hull->first).offset;
    shape.wanted = ByteRange{begin, layout_->RangeOf(hull->last).end() - begin};
  }
  co_return co_await FindOrCreateInRoom(std::move(shape));
}

absl::Status TaskDownload::Adopt(const storage::TaskContent& content, bool unasked) {
  const std::optional<PieceLayout> layout = content.layout();
  unasked_ = unasked;
  asked_origin_ = true;
  stat_.content_length = layout->content_length();
  stat_.header = content.response_header();
  // Most do; the one that does not says so when it is asked.
  stat_.accepts_ranges = true;
  return MakeContent(layout->content_length(), layout->piece_length());
}

asio::awaitable<absl::StatusOr<source::OriginStat>> TaskDownload::AskOrigin() {
  const absl::StatusOr<Url> url = Url::Parse(wire_->url());
  const std::string scheme = url.ok() ? url->scheme : "";
  source::OriginRequest request = request_;
  request.deadline =
      Clock::now() + absl::ToChronoNanoseconds(std::min(parts_.config.download.piece_timeout, absl::Hours(24)));
  asked_at_ = Clock::now();
  telemetry::Span span = span_.AsParent().Start("head", telemetry::SpanKind::kClient);
  SendTrace(span, request.header);
  parts_.probe.BackendStarted(scheme, "HEAD");
  absl::StatusOr<source::OriginStat> stat = co_await source_->Stat(std::move(request));
  if (stat.ok()) {
    origin_accepted_ = true;
    parts_.probe.BackendFinished(scheme, "HEAD", absl::FromChrono(Clock::now() - asked_at_));
  } else {
    parts_.probe.BackendFailed(scheme, "HEAD");
  }
  span.SetStatus(stat.status());
  co_return stat;
}

absl::Status TaskDownload::TakeStat(const source::OriginStat& stat) {
  stat_ = stat;
  asked_origin_ = true;
  const std::shared_ptr<storage::TaskContent> old = parts_.store.Find(id_);
  const bool same = old != nullptr && SameObject(*old, stat_);
  if (old != nullptr && !same) {
    origin_changed_ = old->finished_piece_count() > 0;
    GiveUp(*old, "the origin has another version now");
  }
  if (stat_.content_length) {
    return MakeContent(*stat_.content_length,
                       wire_->has_piece_length() ? wire_->piece_length() : PieceLengthFor(*stat_.content_length));
  }
  // Perhaps a parent knows: the content is made when the scheduler has answered.
  if (!same) return absl::OkStatus();
  return Adopt(*old, /*unasked=*/false);
}

bool TaskDownload::WantedWhole() const {
  absl::MutexLock lock(&mutex_);
  return std::none_of(asked_.begin(), asked_.end(), [](const RangeRequest& asked) { return asked.any(); });
}

asio::awaitable<absl::Status> TaskDownload::OpenOrigin() {
  source::OriginRequest request = request_;
  const Clock::duration patience =
      absl::ToChronoNanoseconds(std::min(parts_.config.download.piece_timeout, absl::Hours(24)));
  // The body may be the whole file.
  request.deadline = Clock::now() + patience * kOpeningPiecesMax;
  const absl::StatusOr<Url> url = Url::Parse(wire_->url());
  asked_at_ = Clock::now();
  opening_ = std::make_shared<OriginOpening>(*source_, std::move(request), piece_length_, from_origin_, parts_.probe,
                                             url.ok() ? url->scheme : "", span_.AsParent());
  const auto make_content =
      [this](const source::OriginStat& stat) -> absl::StatusOr<std::shared_ptr<storage::TaskContent>> {
    const uint64_t piece_length = piece_length_;
    origin_accepted_ = true;
    absl::Status made = TakeStat(stat);
    if (made.ok() && !content_) made = MakeContent(std::nullopt, piece_length);
    // The body cannot wait for room, and is asked for again when there is some.
    if (roomless_) return std::shared_ptr<storage::TaskContent>();
    DF_RETURN_IF_ERROR(made);
    return content_->finished_piece_count() == 0 ? content_ : nullptr;
  };
  opening_->Start(lane_, piece_length_, make_content);
  const absl::StatusOr<source::OriginStat> stat = co_await opening_->WhenStat(asked_at_ + patience);
  co_return co_await WithRoom(stat.status());
}

asio::awaitable<absl::Status> TaskDownload::Prepare() {
  DF_CO_ASSIGN_OR_RETURN(source_, lane_.sources->For(wire_->url()));
  request_ = MakeOriginRequest(*wire_, terms_);
  piece_length_ = wire_->has_piece_length() ? wire_->piece_length() : kPieceLengthMin;

  const std::shared_ptr<storage::TaskContent> old = parts_.store.Find(id_);
  const bool usable = old != nullptr && old->layout().has_value();
  if (usable && MayUseUnasked(parts_.config.storage, *old, *wire_, Clock::now()))
    co_return Adopt(*old, /*unasked=*/true);
  if (old == nullptr && WantedWhole()) {
    // Only who is told to go to the origin takes its body; the others learn of it from the cluster where they can.
    if (wire_->need_back_to_source()) co_return co_await OpenOrigin();
    if (parts_.schedulers.TakesUnknownLength()) co_return absl::OkStatus();
  }

  const absl::StatusOr<source::OriginStat> stat = co_await AskOrigin();
  if (stat.ok()) co_return TakeStat(*stat);
  if (!usable || !IsOutOfReach(stat.status())) co_return stat.status();
  DF_LOG(Warn, "task {}: its origin cannot be asked whether it has changed; what is here is used: {}", id_.str(),
         stat.status().ToString());
  co_return Adopt(*old, /*unasked=*/true);
}

}  // namespace dragonfly::daemon
