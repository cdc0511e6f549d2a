// SPDX-License-Identifier: Apache-2.0
// The part of TaskDownload that asks the scheduler and fetches. The dialogue: client v1.0.0,
// dragonfly-client/src/resource/task.rs; see docs/download.md.
#include <algorithm>
#include <boost/asio/this_coro.hpp>
#include <exception>
#include <limits>
#include <utility>

#include "absl/strings/str_join.h"
#include "base/backend_error.h"
#include "base/status.h"
#include "base/text.h"
#include "base/url.h"
#include "common/v2/common.pb.h"
#include "daemon/object_tag.h"
#include "daemon/parent_batch.h"
#include "daemon/parent_client.h"
#include "daemon/revalidation.h"
#include "daemon/task_download.h"
#include "telemetry/log.h"

namespace dragonfly::daemon {

namespace asio = boost::asio;

namespace {

// How long the scheduler may take to end a stream after the last report.
constexpr Clock::duration kSessionEndTimeout = std::chrono::seconds(5);
// How long a parent may take to tell what it knows of a task, and how many are asked.
constexpr Clock::duration kParentAnswerTimeout = std::chrono::seconds(2);
constexpr size_t kParentsAskedMax = 3;
// How long a caller of this process may take to say what it wants, once it can.
constexpr Clock::duration kDecisionTimeout = std::chrono::seconds(5);
// Ranged requests to an origin at once.
constexpr size_t kOriginRequestsMax = 8;
// Pieces beyond those that are here that parents are asked for while nobody knows how many there are.
constexpr uint64_t kPiecesWithoutLength = 4096;
// A request may take as long as so many pieces.
constexpr uint32_t kRequestPiecesMax = 1000;
// Causes that are kept for the error message.
constexpr size_t kCausesMax = 16;

// Configured durations are cut to a length with which sums and products of the clock do not overflow.
Clock::duration ToDuration(absl::Duration duration) {
  return absl::ToChronoNanoseconds(std::clamp(duration, absl::ZeroDuration(), absl::Hours(24 * 30)));
}

// A length that says something: Go schedulers send 2^64 - 1 for an unknown one, and 0 for one that nobody stated.
std::optional<uint64_t> Stated(const std::optional<uint64_t>& length) {
  if (!length || *length == 0 || *length == std::numeric_limits<uint64_t>::max()) return std::nullopt;
  return length;
}

}  // namespace

TaskFacts TaskDownload::Facts() const {
  TaskFacts facts;
  facts.trace = span_.context();
  if (!layout_) return facts;
  facts.content_length = layout_->content_length();
  facts.piece_length = layout_->piece_length();
  facts.piece_count = layout_->piece_count();
  return facts;
}

std::unique_ptr<common::v2::Download> TaskDownload::Registration() const {
  auto download = std::make_unique<common::v2::Download>(*wire_);
  // Only this host's business; and a seed that the scheduler triggers with a copy must not see it.
  download->clear_output_path();
  download->clear_range();
  download->set_metadata_only(false);
  // Facts are told by who knows them, which is this daemon or nobody.
  download->clear_actual_content_length();
  download->clear_actual_piece_length();
  download->clear_actual_piece_count();
  // What other peers have is perhaps what the origin had before.
  if (origin_changed_ && origin_allowed_) download->set_need_back_to_source(true);
  // A scheduler must not take a peer that has a part for one that has the task.
  if (const auto hull = wishes_.Hull(); hull && layout_) {
    const uint64_t begin = layout_->RangeOf(hull->first).offset;
    const uint64_t end = layout_->RangeOf(hull->last).end();
    if (begin > 0 || end < layout_->content_length()) {
      download->mutable_range()->set_start(begin);
      download->mutable_range()->set_length(end - begin);
    }
  }
  return download;
}

void TaskDownload::PieceDone(PeerSession* session, const storage::PieceRecord& record) {
  parts_.probe.Traffic(record.traffic_type, TaskType::kStandard, record.range.length);
  if (recorder_) recorder_->PieceDone(record);
  if (session != nullptr) session->PieceFinished(record);
}

absl::Status TaskDownload::FailureWithoutOrigin() const {
  return absl::InternalError(StrCat("download task ", id_.str(), ": back to source is disabled, and no peer gave it: ",
                                    absl::StrJoin(causes_, "; ")));
}

// The origin's failure, with what kept the others from helping behind it. Details stay.
absl::Status TaskDownload::WithCauses(const absl::Status& failure) const {
  if (failure.ok() || causes_.empty()) return failure;
  absl::Status told(failure.code(), ToAbsl(StrCat(MessageOf(failure), "; before: ", absl::StrJoin(causes_, "; "))));
  failure.ForEachPayload([&](absl::string_view type, const absl::Cord& payload) { told.SetPayload(type, payload); });
  return told;
}

// Parents that contradict what is known of the task are not asked at all.
std::vector<CandidateParent> TaskDownload::FittingParents(const std::vector<CandidateParent>& offered) {
  std::vector<CandidateParent> fitting;
  for (const CandidateParent& parent : offered) {
    const std::optional<uint64_t> length = Stated(parent.content_length);
    const std::optional<uint64_t> piece_length = Stated(parent.piece_length);
    const uint64_t own_length = layout_ ? layout_->content_length() : length.value_or(0);
    if (length.value_or(own_length) != own_length || piece_length.value_or(piece_length_) != piece_length_) {
      if (causes_.size() < kCausesMax) {
        causes_.push_back(StrCat("parent ", parent.ip, ":", parent.port, ": content length ",
                                 length.value_or(own_length), " in pieces of ", piece_length.value_or(piece_length_),
                                 " does not fit ", own_length, " in pieces of ", piece_length_));
      }
      continue;
    }
    if (parent.peer_id == peer_id_ || parent.host_id == parts_.identity.host_id) continue;
    fitting.push_back(parent);
  }
  return fitting;
}

// The origin told no length, but a parent's scheduler knows it.
absl::Status TaskDownload::AdoptShape(const std::vector<CandidateParent>& offered) {
  for (const CandidateParent& parent : offered) {
    const std::optional<uint64_t> length = Stated(parent.content_length);
    if (!length) continue;
    const uint64_t piece_length = Stated(parent.piece_length).value_or(piece_length_);
    if (!PieceLayout::Make(*length, piece_length).ok()) continue;
    DF_LOG(Info, "task {}: the scheduler knows its length, {} bytes", id_.str(), *length);
    return MakeContent(*length, piece_length);
  }
  return absl::OkStatus();
}

// The callers have just learnt the shape of the task: what they want of it must be known before anything is fetched, or
// the batch would find that nothing is wanted.
asio::awaitable<void> TaskDownload::WhenDecided() {
  const TimePoint deadline = Clock::now() + kDecisionTimeout;
  for (;;) {
    const uint64_t seen = wishes_.changes().version();
    if (!wishes_.AnyUndecided()) co_return;
    if (!co_await wishes_.changes().Wait(seen, deadline)) co_return;
  }
}

asio::awaitable<absl::Status> TaskDownload::LearnShape(const std::vector<CandidateParent>& offered) {
  std::optional<TaskAtParent> known;
  for (size_t i = 0; i < std::min(offered.size(), kParentsAskedMax) && !known; ++i) {
    const std::optional<uint64_t> length = Stated(offered[i].content_length);
    if (!length) continue;
    absl::StatusOr<TaskAtParent> about = co_await AskParentAboutTask(
        parts_.channels, rpc::HostPort(offered[i].ip, offered[i].port), id_, kParentAnswerTimeout);
    // The scheduler and the parent must agree; neither is believed alone.
    if (about.ok() && about->content_length == length && PieceLayout::Make(*length, about->piece_length).ok()) {
      known = *std::move(about);
    }
  }
  const bool fresh = known && FreshEnough(parts_.config.storage, known->confirmed_at, begin_, Clock::now());
  if (!fresh && origin_allowed_) {
    const absl::StatusOr<source::OriginStat> stat = co_await AskOrigin();
    if (stat.ok()) co_return TakeStat(*stat);
    if (!IsOutOfReach(stat.status())) co_return stat.status();
    DF_LOG(Warn, "task {}: its origin cannot be asked; what other peers have is used: {}", id_.str(),
           stat.status().ToString());
    causes_.push_back(StrCat("origin: ", MessageOf(stat.status())));
  }
  if (!known) co_return AdoptShape(offered);
  stat_.content_length = known->content_length;
  stat_.header = std::move(known->response_header);
  stat_.accepts_ranges = true;
  asked_origin_ = true;
  unasked_ = !known->confirmed_at;
  if (known->confirmed_at) asked_at_ = *known->confirmed_at;
  open_ = known->confirmed_at.has_value();
  co_return MakeContent(known->content_length, known->piece_length);
}

asio::awaitable<absl::Status> TaskDownload::FromParents(PeerSession& session, std::vector<CandidateParent> offered) {
  if (!content_) {
    absl::Status shaped = asked_origin_ ? AdoptShape(offered) : co_await LearnShape(offered);
    DF_CO_RETURN_IF_ERROR(co_await WithRoom(std::move(shaped)));
    if (layout_) co_await WhenDecided();
  }
  std::vector<CandidateParent> parents = FittingParents(offered);
  if (parents.empty()) co_return absl::OkStatus();
  if (!layout_) co_return co_await FromParentsWithoutLength(session, std::move(parents));
  co_return co_await RunBatch(session, std::move(parents), *layout_, /*provisional=*/false);
}

// Nobody knows the length yet, but pieces that are full have their place all the same. Parents tell of them as they
// come; the first one that has everything knows the length, and with it the last piece.
asio::awaitable<absl::Status> TaskDownload::FromParentsWithoutLength(PeerSession& session,
                                                                     std::vector<CandidateParent> parents) {
  if (!content_) DF_CO_RETURN_IF_ERROR(co_await WithRoom(MakeContent(std::nullopt, piece_length_)));
  co_await WhenDecided();
  const uint64_t have = content_->finished_piece_count();
  DF_CO_ASSIGN_OR_RETURN(const PieceLayout longest,
                         PieceLayout::Make((have + kPiecesWithoutLength) * piece_length_, piece_length_));
  DF_CO_RETURN_IF_ERROR(co_await RunBatch(session, parents, longest, /*provisional=*/true));
  for (const CandidateParent& parent : parents) {
    const absl::StatusOr<TaskAtParent> about =
        co_await AskParentAboutTask(parts_.channels, rpc::HostPort(parent.ip, parent.port), id_, kParentAnswerTimeout);
    if (!about.ok() || !about->complete || !about->content_length || about->piece_length != piece_length_) continue;
    const absl::StatusOr<PieceLayout> layout = PieceLayout::Make(*about->content_length, piece_length_);
    if (!layout.ok()) continue;
    DF_CO_RETURN_IF_ERROR(co_await RunBatch(session, parents, *layout, /*provisional=*/false));
    if (content_->finished_piece_count() != layout->piece_count()) co_return absl::OkStatus();
    DF_CO_RETURN_IF_ERROR(content_->FinishLength(layout->content_length()));
    layout_ = content_->layout();
    co_await WhenDecided();
    co_return absl::OkStatus();
  }
  co_return absl::OkStatus();
}

asio::awaitable<absl::Status> TaskDownload::RunBatch(PeerSession& session, std::vector<CandidateParent> parents,
                                                     PieceLayout layout, bool provisional) {
  telemetry::Span span = span_.AsParent().Start("download_partial_with_scheduler_from_parent");
  ParentBatch::Options options;
  options.trace = span.AsParent();
  options.host_id = parts_.identity.host_id;
  options.concurrency = concurrency_;
  options.news_timeout = ToDuration(parts_.config.download.collected_piece_timeout);
  options.seed = std::hash<std::string>()(peer_id_);
  options.object_tag = ObjectTag(stat_.header);
  options.provisional = provisional;
  options.loads = lane_.loads;
  options.peer_id = peer_id_;
  options.limiter = &from_parents_;
  options.more_parents = [this, &session] { return MoreParents(session); };
  ParentBatch::Reports reports;
  reports.finished = [this, &session](const storage::PieceRecord& record) { PieceDone(&session, record); };
  reports.failed = [&session](PieceNumber number, const std::string& parent_id) {
    session.PieceFailed(number, parent_id);
  };
  ParentBatch batch(lane_, content_, layout, wishes_, parts_.channels, std::move(options), std::move(reports));
  absl::Status status = co_await batch.Run(std::move(parents));
  span.SetStatus(status);
  for (const std::string& cause : batch.causes()) {
    if (causes_.size() < kCausesMax) causes_.push_back(cause);
  }
  co_return status;
}

asio::awaitable<absl::StatusOr<std::vector<CandidateParent>>> TaskDownload::MoreParents(PeerSession& session) {
  for (;;) {
    DF_CO_ASSIGN_OR_RETURN(const std::vector<CandidateParent> more, co_await session.MoreParents());
    std::vector<CandidateParent> fitting = FittingParents(more);
    if (!fitting.empty()) co_return fitting;
  }
}

runtime::TokenBucket& TaskDownload::BandwidthOr(runtime::TokenBucket& awaited) const {
  return awaited_ ? awaited : parts_.limiters.prefetch;
}

asio::awaitable<absl::Status> TaskDownload::FetchFromOrigin(PeerSession* session, uint32_t skip_pieces,
                                                            telemetry::SpanParent trace) {
  const absl::StatusOr<Url> url = Url::Parse(wire_->url());
  OriginFetch::Options options;
  options.concurrency = std::min<size_t>(concurrency_, kOriginRequestsMax);
  options.piece_timeout = ToDuration(parts_.config.download.piece_timeout);
  options.scheme = url.ok() ? url->scheme : "";
  options.skip_pieces = skip_pieces;
  options.trace = std::move(trace);
  OriginFetch::Origin origin;
  origin.source = source_;
  origin.request = request_;
  origin.stat = stat_;
  OriginFetch fetch(lane_.executor, content_, layout_, piece_length_, std::move(origin), wishes_, from_origin_,
                    parts_.probe, std::move(options),
                    [this, session](const storage::PieceRecord& record) { PieceDone(session, record); });
  co_return co_await fetch.Run();
}

// Takes what the first request brings, and meanwhile reads the rest by further ones.
asio::awaitable<absl::Status> TaskDownload::FollowOpening(PeerSession* session, telemetry::SpanParent trace) {
  const std::shared_ptr<OriginOpening> opening = opening_;
  // Whatever happens, it must not report to a conversation that has ended.
  struct Delivery {
    explicit Delivery(OriginOpening& o) : opening(o) {}
    ~Delivery() { opening.Deliver(nullptr); }
    OriginOpening& opening;
  };
  const Delivery delivery(*opening);
  opening->Deliver([this, session](const storage::PieceRecord& record) { PieceDone(session, record); });
  const uint32_t coming = opening->pieces_coming();
  if (layout_ && stat_.accepts_ranges && coming < layout_->piece_count()) {
    DF_CO_RETURN_IF_ERROR(co_await FetchFromOrigin(session, coming, trace));
  }
  // A request may take as long as the timeout of its pieces; a body without a known end, as long as the longest.
  const int pieces = static_cast<int>(std::clamp<uint32_t>(coming, 1, kRequestPiecesMax));
  const TimePoint deadline = Clock::now() + ToDuration(parts_.config.download.piece_timeout) * pieces;
  const absl::Status status = co_await opening->WhenDone(deadline);
  opening_.reset();
  layout_ = content_->layout();
  if (absl::IsResourceExhausted(status)) co_return status;
  if (!status.ok()) DF_LOG(Warn, "task {}: the first request broke off: {}", id_.str(), status.ToString());
  co_return absl::OkStatus();
}

asio::awaitable<absl::Status> TaskDownload::FromOrigin(PeerSession* session) {
  telemetry::Span span = session != nullptr ? span_.AsParent().Start("download_partial_with_scheduler_from_source")
                                            : span_.AsParent().Start("download_partial_from_source");
  if (!asked_origin_) DF_CO_RETURN_IF_ERROR(co_await OpenOrigin());
  if (!content_) DF_CO_RETURN_IF_ERROR(co_await WithRoom(MakeContent(std::nullopt, piece_length_)));
  if (layout_) co_await WhenDecided();
  if (opening_) DF_CO_RETURN_IF_ERROR(co_await FollowOpening(session, span.AsParent()));
  while (!NothingMissing()) {
    DF_CO_RETURN_IF_ERROR(co_await FetchFromOrigin(session, 0, span.AsParent()));
    layout_ = content_->layout();
  }
  co_return absl::OkStatus();
}

asio::awaitable<TaskDownload::Scheduled> TaskDownload::Converse(PeerSession& session) {
  using Ending = Scheduled::Ending;
  const Clock::duration timeout = ToDuration(parts_.config.scheduler.schedule_timeout);
  Scheduled end;
  const std::unique_ptr<common::v2::Download> registration = Registration();
  absl::StatusOr<ScheduleAnswer> answer = co_await session.Register(*registration, Facts(), Clock::now() + timeout);
  for (uint64_t count = 1;; ++count) {
    if (!answer.ok()) {
      causes_.push_back(StrCat("scheduler: ", MessageOf(answer.status())));
      DF_LOG(Warn, "task {}: scheduler: {}", id_.str(), answer.status().ToString());
      end.ending = Ending::kFailed;
      end.description = std::string(MessageOf(answer.status()));
      end.ask_origin = true;
      co_return end;
    }
    if (std::holds_alternative<EmptyTask>(*answer)) {
      session.Started();
      // Who asks the origin first knows that it is not empty, or it would have ended before.
      if (!asked_origin_) {
        const absl::StatusOr<source::OriginStat> stat = co_await AskOrigin();
        end.status = co_await WithRoom(stat.ok() ? TakeStat(*stat) : stat.status());
        if (!end.status.ok()) {
          end.ending = Ending::kFailed;
          end.description = std::string(MessageOf(end.status));
          co_return end;
        }
        if (layout_) co_await WhenDecided();
        if (NothingMissing()) co_return end;
      }
      causes_.push_back("scheduler: says that the task is empty");
      end.ask_origin = true;
      co_return end;
    }
    if (const auto* back_to_source = std::get_if<NeedBackToSource>(&*answer)) {
      if (!origin_allowed_) {
        causes_.push_back(StrCat("scheduler: ", back_to_source->description));
        end.ending = Ending::kFailed;
        end.description = "back to source is disabled";
        end.ask_origin = true;
        co_return end;
      }
      DF_LOG(Info, "task {}: from the origin: {}", id_.str(), back_to_source->description);
      session.BackToSourceStarted();
      end.status = co_await FromOrigin(&session);
      end.ending = Ending::kBackToSourceFinished;
      if (!end.status.ok()) {
        session.PieceBackToSourceFailed(end.status);
        end.ending = Ending::kBackToSourceFailed;
        end.description = std::string(MessageOf(end.status));
      }
      co_return end;
    }
    std::vector<CandidateParent> parents = std::get<CandidateParents>(*std::move(answer)).parents;
    session.Started();
    end.status = co_await FromParents(session, parents);
    if (!end.status.ok()) {
      end.ending = Ending::kFailed;
      end.description = std::string(MessageOf(end.status));
      co_return end;
    }
    if (NothingMissing()) co_return end;
    if (count >= parts_.config.scheduler.max_schedule_count) {
      causes_.push_back(StrCat("scheduler: max schedule count ", count, " exceeded"));
      end.ending = Ending::kFailed;
      end.description = "max schedule count exceeded";
      end.ask_origin = true;
      co_return end;
    }
    answer = co_await session.Reschedule(std::move(parents), "not all pieces are downloaded from parent",
                                         Clock::now() + timeout);
  }
}

// Sends the last report. Nobody waits for it: the callers have their pieces.
asio::awaitable<void> TaskDownload::EndSession(std::unique_ptr<PeerSession> session, Scheduled::Ending ending,
                                               TaskFacts facts, std::string description) {
  const TimePoint deadline = Clock::now() + kSessionEndTimeout;
  switch (ending) {
    case Scheduled::Ending::kFinished:
      co_await session->Finished(std::move(facts), deadline);
      break;
    case Scheduled::Ending::kBackToSourceFinished:
      co_await session->BackToSourceFinished(std::move(facts), deadline);
      break;
    case Scheduled::Ending::kFailed:
      co_await session->Failed(std::move(description), deadline);
      break;
    case Scheduled::Ending::kBackToSourceFailed:
      co_await session->BackToSourceFailed(std::move(description), deadline);
      break;
  }
}

asio::awaitable<TaskDownload::Scheduled> TaskDownload::Schedule() {
  Scheduled end;
  // Each conversation is one peer for the scheduler; a second one begins when a caller wants more after the first has
  // ended.
  std::string peer_id = std::exchange(next_peer_id_, "");
  if (peer_id.empty()) peer_id = MakePeerId(parts_.identity.ip, parts_.identity.hostname, parts_.identity.seed);
  absl::StatusOr<std::unique_ptr<PeerSession>> session =
      co_await parts_.schedulers.OpenSession(id_, std::move(peer_id));
  if (!session.ok()) {
    DF_LOG(Warn, "task {}: no scheduler: {}", id_.str(), session.status().ToString());
    causes_.push_back(StrCat("scheduler: ", MessageOf(session.status())));
    end.ask_origin = true;
    co_return end;
  }
  if (recorder_) *session = RecordSession(*std::move(session), recorder_);
  std::exception_ptr cancelled;
  try {
    end = co_await Converse(**session);
  } catch (...) {
    cancelled = std::current_exception();
    end.ending = Scheduled::Ending::kFailed;
    end.description = "the download was cancelled";
  }
  lane_.group.Spawn(EndSession(*std::move(session), end.ending, Facts(), std::move(end.description)));
  if (cancelled) std::rethrow_exception(cancelled);
  co_return end;
}

asio::awaitable<absl::Status> TaskDownload::Fetch() {
  telemetry::Span span = span_.AsParent().Start("download_partial_with_scheduler");
  const Scheduled end = co_await Schedule();
  span.SetStatus(end.status);
  span.End();
  if (!end.ask_origin || NothingMissing()) co_return end.status;
  if (!origin_allowed_) co_return FailureWithoutOrigin();
  DF_LOG(Info, "task {}: directly from the origin: {}", id_.str(), absl::StrJoin(causes_, "; "));
  co_return WithCauses(co_await FromOrigin(nullptr));
}

}  // namespace dragonfly::daemon
