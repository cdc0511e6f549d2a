// SPDX-License-Identifier: Apache-2.0
#include "daemon/caller.h"

#include <functional>
#include <utility>

#include "base/status.h"
#include "base/task_id.h"
#include "base/text.h"
#include "common/v2/common.pb.h"
#include "daemon/origin_access.h"
#include "daemon/traced.h"
#include "runtime/timeout.h"
#include "telemetry/log.h"

namespace dragonfly::daemon {

namespace asio = boost::asio;

namespace {

// How long a caller waits until the scheduler knows that a content was given up.
constexpr Clock::duration kSchedulerToldTimeout = std::chrono::seconds(2);

bool Contains(const std::optional<PieceLayout::Interval>& wanted, PieceNumber number) {
  return !wanted || (wanted->first <= number && number <= wanted->last);
}

}  // namespace

Caller::Caller(TaskId id, DownloadRequest request, DownloadObserver& observer, const TaskManagerParts& parts)
    : id_(std::move(id)),
      request_(std::move(request)),
      observer_(observer),
      parts_(parts),
      range_request_(*request_.wire) {}

Caller::~Caller() {
  // A cancelled caller leaves without a word.
  if (started_ && !ended_) parts_.probe.DownloadFailed(Labels());
}

absl::Status Caller::Check() {
  const common::v2::Download& wire = *request_.wire;
  DF_RETURN_IF_ERROR(range_request_.Check());
  DF_RETURN_IF_ERROR(CheckLocalFiles(wire, request_.local));
  if (wire.has_piece_length() &&
      (wire.piece_length() < kRequestedPieceLengthMin || wire.piece_length() > kRequestedPieceLengthMax)) {
    return absl::InvalidArgumentError(StrCat("invalid piece length: piece_length ", wire.piece_length(),
                                             " is not between ", kRequestedPieceLengthMin, " and ",
                                             kRequestedPieceLengthMax, " bytes"));
  }
  if (!wire.output_path().empty()) {
    if (!request_.local) {
      return absl::InvalidArgumentError("output_path names a file of this host and is only taken on the Unix socket");
    }
    if (wire.output_path().front() != '/' || wire.output_path().find('\0') != std::string::npos) {
      return absl::InvalidArgumentError(StrCat("output_path ", Quoted(wire.output_path()), " is not absolute"));
    }
    if (wants_range() && wire.force_hard_link()) {
      return absl::InvalidArgumentError("force_hard_link: a range of a file cannot be a hard link");
    }
    output_.path = wire.output_path();
    output_.options.force_hard_link = wire.force_hard_link();
    output_.options.overwrite = wire.overwrite();
  }
  if (!wire.digest().empty()) {
    absl::StatusOr<Digest> digest = Digest::Parse(wire.digest());
    if (!digest.ok()) {
      return absl::InvalidArgumentError(
          StrCat("invalid digest(", Quoted(wire.digest()), "): ", MessageOf(digest.status())));
    }
    output_.digest = *std::move(digest);
  }
  if (wire.enable_task_id_based_blob_digest() && BlobDigestTaskId(wire.url()) == id_) {
    DF_ASSIGN_OR_RETURN(name_, Digest::Parse(StrCat("sha256:", id_.str())));
  }
  return absl::OkStatus();
}

asio::awaitable<absl::Status> Caller::CheckOutput(std::shared_ptr<storage::TaskContent> here) const {
  if (output_.path.empty()) co_return absl::OkStatus();
  // A range is never the content's own file.
  if (wants_range()) here = nullptr;
  const std::function<absl::Status()> check = [path = output_.path, options = output_.options, here = std::move(here)] {
    return storage::CheckOutput(path, options, here.get());
  };
  co_return co_await parts_.blocking.Run(check);
}

absl::Status Caller::ResolveRange(const PieceLayout& layout) {
  DF_ASSIGN_OR_RETURN(range_, range_request_.Resolve(layout.content_length()));
  return absl::OkStatus();
}

std::optional<PieceLayout::Interval> Caller::WantedOf(const PieceLayout& layout) const {
  if (layout.piece_count() == 0) return std::nullopt;
  if (range_) return layout.PiecesOf(*range_);
  return PieceLayout::Interval{PieceNumber(0), PieceNumber(layout.piece_count() - 1)};
}

void Caller::SeeContent(std::shared_ptr<storage::TaskContent> content, size_t before) {
  content_ = std::move(content);
  present_ = content_->FinishedSince(0);
  if (present_.size() > before) present_.resize(before);
  seen_ = present_.size();
}

asio::awaitable<absl::Status> Caller::WaitForLength(const TaskDownload& download) {
  for (;;) {
    const uint64_t seen = content_->changes().version();
    const std::optional<absl::Status> outcome = download.outcome();
    if (content_->layout()) co_return absl::OkStatus();
    if (outcome) co_return outcome->ok() ? absl::InternalError("the download ended without a length") : *outcome;
    co_await content_->changes().Wait(seen);
  }
}

DownloadStarted Caller::MakeStarted(const std::optional<PieceLayout>& layout, uint64_t piece_length,
                                    const TaskDownload* download) const {
  DownloadStarted started(id_);
  started.peer_id = download != nullptr
                        ? download->peer_id()
                        : MakePeerId(parts_.identity.ip, parts_.identity.hostname, parts_.identity.seed);
  started.host_id = parts_.identity.host_id;
  started.piece_length = piece_length;
  started.range = range_;
  started.response_header = content_->response_header();
  started.content = content_;
  started.origin_accepted = accepted_ || (download != nullptr && download->OriginAccepted(*request_.wire));
  if (layout) {
    started.content_length = layout->content_length();
    started.wanted = WantedOf(*layout);
  }
  for (storage::PieceRecord record : present_) {
    if (!Contains(started.wanted, record.number)) continue;
    record.traffic_type = storage::TrafficType::kLocalPeer;
    record.parent_id.clear();
    started.present.push_back(std::move(record));
  }
  const uint64_t wanted =
      started.wanted ? uint64_t{started.wanted->last.value()} - started.wanted->first.value() + 1 : 0;
  started.complete = layout.has_value() && started.present.size() == wanted;
  return started;
}

asio::awaitable<absl::Status> Caller::Follow(uint64_t piece_length, const TaskDownload* download) {
  const DownloadStarted started = MakeStarted(content_->layout(), piece_length, download);
  const bool whole_before = content_->complete();
  present_.clear();
  started_ = true;
  parts_.probe.DownloadStarted(Labels());
  DF_CO_RETURN_IF_ERROR(co_await observer_.Started(started));
  telemetry::Span local;
  if (!started.present.empty()) local = parts_.probe.Under(trace()).Start("download_partial_from_local");
  for (const storage::PieceRecord& record : started.present) {
    parts_.probe.Traffic(storage::TrafficType::kLocalPeer, TaskType::kStandard, record.range.length);
    DF_CO_RETURN_IF_ERROR(co_await observer_.PieceReady(record));
  }
  local.End();
  if (!started.complete) {
    DF_CO_RETURN_IF_ERROR(co_await FollowPieces(*download, static_cast<uint32_t>(started.present.size())));
  }
  if (name_ && !whole_before && content_->complete() && output_.digest != name_) {
    OutputRequest check;
    check.digest = name_;
    DF_CO_RETURN_IF_ERROR(co_await MakeOutputOrGiveUp(std::move(check)));
  }
  output_.range = range_;
  co_return co_await MakeOutputOrGiveUp(std::move(output_));
}

// A content that is not what it should be must not be given to anybody: neither here, nor to other peers.
asio::awaitable<absl::Status> Caller::MakeOutputOrGiveUp(OutputRequest output) {
  telemetry::Span span;
  if (!output.path.empty()) span = parts_.probe.Under(trace()).Start("copy_task");
  absl::Status made = co_await Traced(std::move(span), MakeOutput(parts_.blocking, content_, std::move(output)));
  if (!IsDigestMismatch(made) || parts_.store.Find(id_) != content_) co_return made;
  DF_LOG(Warn, "task {}: {}; its content is given up", id_.str(), MessageOf(made));
  if (const absl::Status deleted = parts_.store.Delete(id_); !deleted.ok()) {
    DF_LOG(Debug, "task {}: {}", id_.str(), deleted.ToString());
  }
  const absl::Status told =
      co_await runtime::WithDeadline(parts_.schedulers.DeleteTask(id_), Clock::now() + kSchedulerToldTimeout);
  if (!told.ok()) DF_LOG(Warn, "task {}: tell the scheduler that it is not here: {}", id_.str(), told.ToString());
  co_return made;
}

asio::awaitable<absl::Status> Caller::FollowPieces(const TaskDownload& download, uint32_t told) {
  for (;;) {
    const uint64_t seen = content_->changes().version();
    // Looked at before the pieces, so that none that came before the end is missed.
    const std::optional<absl::Status> outcome = download.outcome();
    const std::optional<PieceLayout> layout = content_->layout();
    std::optional<PieceLayout::Interval> wanted;
    if (layout) wanted = WantedOf(*layout);
    for (const storage::PieceRecord& record : content_->FinishedSince(seen_)) {
      ++seen_;
      if (!Contains(wanted, record.number)) continue;
      ++told;
      DF_CO_RETURN_IF_ERROR(co_await observer_.PieceReady(record));
    }
    if (layout && told == (wanted ? wanted->last.value() - wanted->first.value() + 1 : 0)) co_return absl::OkStatus();
    if (outcome) {
      co_return outcome->ok() ? absl::InternalError("not all pieces are downloaded") : *outcome;
    }
    co_await content_->changes().Wait(seen);
  }
}

TaskLabels Caller::Labels() const {
  TaskLabels labels;
  labels.tag = request_.wire->tag();
  labels.application = request_.wire->application();
  labels.priority = request_.wire->priority();
  return labels;
}

absl::Status Caller::End(absl::Status status) {
  if (!started_) return status;
  ended_ = true;
  if (!status.ok()) {
    parts_.probe.DownloadFailed(Labels());
    return status;
  }
  const std::optional<PieceLayout> layout = content_->layout();
  const uint64_t length = range_ ? range_->length : layout ? layout->content_length() : 0;
  parts_.probe.DownloadFinished(Labels(), length, absl::FromChrono(Clock::now() - begin_));
  return status;
}

}  // namespace dragonfly::daemon
