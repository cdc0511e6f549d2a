// SPDX-License-Identifier: Apache-2.0
#include "daemon/task_history.h"

#include <algorithm>
#include <utility>

#include "base/status.h"
#include "base/text.h"
#include "base/url.h"
#include "rpc/channel.h"

namespace dragonfly::daemon {

namespace asio = boost::asio;

namespace {

// What may stand in an answer to whoever asks: queries and users carry credentials.
std::string PublicUrl(const std::string& text) {
  auto url = Url::Parse(text);
  if (!url.ok()) return "";
  url->username.clear();
  url->password.clear();
  url->has_query = false;
  url->query.clear();
  url->has_fragment = false;
  url->fragment.clear();
  return url->ToString();
}

}  // namespace

DownloadRecorder::DownloadRecorder(const std::string& url, std::string peer_id,
                                   std::shared_ptr<DownloadTraffic> traffic)
    : traffic_(std::move(traffic)) {
  story_.url = PublicUrl(url);
  story_.peer_id = std::move(peer_id);
  story_.begun_at = absl::Now();
}

size_t DownloadRecorder::SourceOf(const std::string& peer_id) {
  const auto known = source_by_peer_.find(peer_id);
  if (known != source_by_peer_.end()) return known->second;
  if (story_.sources.size() == kSourcesMax) return kSourcesMax - 1;
  story_.sources.emplace_back();
  const bool others = story_.sources.size() == kSourcesMax;
  story_.sources.back().peer_id = others ? "others" : peer_id;
  source_by_peer_.emplace(peer_id, story_.sources.size() - 1);
  return story_.sources.size() - 1;
}

void DownloadRecorder::Add(std::string text, absl::Duration waited) {
  if (story_.events.size() == kEventsMax) return;
  story_.events.push_back(DownloadStory::Event{.at = Now(), .waited = waited, .text = std::move(text)});
}

void DownloadRecorder::Scheduled(std::string_view scheduler, absl::Duration waited,
                                 const absl::StatusOr<ScheduleAnswer>& answer) {
  absl::MutexLock lock(&mutex_);
  if (!scheduler.empty()) story_.scheduler = scheduler;
  story_.scheduler_wait += waited;
  if (!answer.ok()) {
    Add(StrCat("the scheduler gave no answer: ", MessageOf(answer.status())), waited);
  } else if (const auto* origin = std::get_if<NeedBackToSource>(&*answer)) {
    Add(StrCat("the scheduler sends to the origin: ", origin->description), waited);
  } else if (const auto* offered = std::get_if<CandidateParents>(&*answer)) {
    NoteOffered(offered->parents);
    Add(StrCat("the scheduler offers ", offered->parents.size(), " parents"), waited);
  } else {
    Add("the scheduler says that the file is empty", waited);
  }
}

void DownloadRecorder::NoteOffered(const std::vector<CandidateParent>& parents) {
  for (const CandidateParent& parent : parents) {
    DownloadStory::Source& source = story_.sources[SourceOf(parent.peer_id)];
    source.offered = true;
    source.host_id = parent.host_id;
    source.address = rpc::HostPort(parent.ip, parent.port);
  }
}

void DownloadRecorder::Offered(const std::vector<CandidateParent>& more) {
  absl::MutexLock lock(&mutex_);
  NoteOffered(more);
  Add(StrCat("the scheduler gives ", more.size(), " more parents"), absl::ZeroDuration());
}

void DownloadRecorder::Happened(std::string text, absl::Duration waited) {
  absl::MutexLock lock(&mutex_);
  Add(std::move(text), waited);
}

void DownloadRecorder::PieceDone(const storage::PieceRecord& record) {
  const bool origin = record.traffic_type == storage::TrafficType::kBackToSource;
  if (traffic_) (origin ? traffic_->from_origins : traffic_->from_peers) += record.range.length;
  absl::MutexLock lock(&mutex_);
  const size_t index = SourceOf(origin ? "" : record.parent_id);
  DownloadStory::Source& source = story_.sources[index];
  const absl::Duration now = Now();
  const absl::Duration begin = std::max(now - record.cost, absl::ZeroDuration());
  ++source.pieces;
  source.bytes += record.range.length;
  source.cost += record.cost;
  source.max_cost = std::max(source.max_cost, record.cost);
  if (!story_.first_asked || begin < *story_.first_asked) story_.first_asked = begin;
  if (!story_.first_piece) story_.first_piece = now;
  if (story_.pieces.size() == kPiecesMax || story_.pieces_not_kept > 0) {
    ++story_.pieces_not_kept;
    return;
  }
  DownloadStory::Piece row;
  row.number = record.number.value();
  row.length = static_cast<uint32_t>(record.range.length);
  row.source = static_cast<uint32_t>(index);
  row.begin_ms = static_cast<float>(absl::ToDoubleMilliseconds(begin));
  row.cost_ms = static_cast<float>(absl::ToDoubleMilliseconds(record.cost));
  story_.pieces.push_back(row);
}

void DownloadRecorder::PieceFailed(const std::string& peer_id) {
  absl::MutexLock lock(&mutex_);
  ++story_.sources[SourceOf(peer_id)].failures;
}

void DownloadRecorder::Causes(const std::vector<std::string>& causes) {
  absl::MutexLock lock(&mutex_);
  story_.causes.assign(causes.begin(), causes.begin() + static_cast<ptrdiff_t>(std::min(causes.size(), kCausesMax)));
}

void DownloadRecorder::Ended(const absl::Status& outcome) {
  absl::MutexLock lock(&mutex_);
  if (!story_.running) return;
  story_.running = false;
  story_.total = Now();
  story_.outcome = outcome;
}

DownloadStory DownloadRecorder::Story(bool with_pieces) const {
  absl::MutexLock lock(&mutex_);
  DownloadStory story = story_;
  if (!with_pieces) story.pieces = {};
  if (story.running) story.total = Now();
  return story;
}

size_t DownloadRecorder::piece_rows() const {
  absl::MutexLock lock(&mutex_);
  return story_.pieces.size();
}

void DownloadRecorder::DropPieces() {
  absl::MutexLock lock(&mutex_);
  story_.pieces_not_kept += story_.pieces.size();
  story_.pieces = {};
}

std::shared_ptr<DownloadRecorder> TaskHistory::Begin(const TaskId& id, const std::string& url, std::string peer_id) {
  auto recorder = std::make_shared<DownloadRecorder>(url, std::move(peer_id), traffic_);
  absl::MutexLock lock(&mutex_);
  const auto known = std::find_if(tasks_.begin(), tasks_.end(), [&](const Task& task) { return task.id == id; });
  if (known == tasks_.end()) {
    tasks_.emplace_front(id);
  } else {
    tasks_.splice(tasks_.begin(), tasks_, known);
  }
  tasks_.front().downloads.push_front(recorder);
  Shrink();
  return recorder;
}

void TaskHistory::Shrink() {
  if (tasks_.front().downloads.size() > kDownloadsMax) tasks_.front().downloads.pop_back();
  if (tasks_.size() > kTasksMax) tasks_.pop_back();
  size_t rows = 0;
  for (const Task& task : tasks_) {
    for (const auto& download : task.downloads) {
      rows += download->piece_rows();
      if (rows <= kPieceRowsMax) continue;
      rows -= download->piece_rows();
      download->DropPieces();
    }
  }
}

std::vector<std::shared_ptr<const DownloadRecorder>> TaskHistory::Find(const TaskId& id) const {
  absl::MutexLock lock(&mutex_);
  for (const Task& task : tasks_) {
    if (task.id == id) return {task.downloads.begin(), task.downloads.end()};
  }
  return {};
}

std::vector<std::pair<std::string, DownloadStory>> TaskHistory::Latest(size_t count) const {
  std::vector<std::pair<std::string, DownloadStory>> latest;
  absl::MutexLock lock(&mutex_);
  for (const Task& task : tasks_) {
    if (latest.size() == count) break;
    latest.emplace_back(task.id.str(), task.downloads.front()->Story(/*with_pieces=*/false));
  }
  return latest;
}

namespace {

class RecordedSession final : public PeerSession {
 public:
  RecordedSession(std::unique_ptr<PeerSession> session, std::shared_ptr<DownloadRecorder> recorder)
      : session_(std::move(session)), recorder_(std::move(recorder)) {}

  asio::awaitable<absl::StatusOr<ScheduleAnswer>> Register(const common::v2::Download& download, TaskFacts facts,
                                                           TimePoint deadline) override {
    const TimePoint begin = Clock::now();
    absl::StatusOr<ScheduleAnswer> answer = co_await session_->Register(download, std::move(facts), deadline);
    recorder_->Scheduled(session_->scheduler(), absl::FromChrono(Clock::now() - begin), answer);
    co_return answer;
  }
  asio::awaitable<absl::StatusOr<ScheduleAnswer>> Reschedule(std::vector<CandidateParent> tried,
                                                             std::string description, TimePoint deadline) override {
    const TimePoint begin = Clock::now();
    absl::StatusOr<ScheduleAnswer> answer =
        co_await session_->Reschedule(std::move(tried), std::move(description), deadline);
    recorder_->Scheduled(session_->scheduler(), absl::FromChrono(Clock::now() - begin), answer);
    co_return answer;
  }

  asio::awaitable<absl::StatusOr<std::vector<CandidateParent>>> MoreParents() override {
    absl::StatusOr<std::vector<CandidateParent>> more = co_await session_->MoreParents();
    if (more.ok()) recorder_->Offered(*more);
    co_return more;
  }

  std::string scheduler() const override { return session_->scheduler(); }
  void Started() override { session_->Started(); }
  void BackToSourceStarted() override { session_->BackToSourceStarted(); }
  void PieceFinished(const storage::PieceRecord& record) override { session_->PieceFinished(record); }
  void PieceFailed(PieceNumber number, const std::string& parent_id) override {
    recorder_->PieceFailed(parent_id);
    session_->PieceFailed(number, parent_id);
  }
  void PieceBackToSourceFailed(const absl::Status& error) override {
    recorder_->Happened(StrCat("the origin failed: ", MessageOf(error)));
    session_->PieceBackToSourceFailed(error);
  }
  asio::awaitable<void> Finished(TaskFacts facts, TimePoint deadline) override {
    co_await session_->Finished(std::move(facts), deadline);
  }
  asio::awaitable<void> BackToSourceFinished(TaskFacts facts, TimePoint deadline) override {
    co_await session_->BackToSourceFinished(std::move(facts), deadline);
  }
  asio::awaitable<void> Failed(std::string description, TimePoint deadline) override {
    co_await session_->Failed(std::move(description), deadline);
  }
  asio::awaitable<void> BackToSourceFailed(std::string description, TimePoint deadline) override {
    co_await session_->BackToSourceFailed(std::move(description), deadline);
  }

 private:
  const std::unique_ptr<PeerSession> session_;
  const std::shared_ptr<DownloadRecorder> recorder_;
};

}  // namespace

std::unique_ptr<PeerSession> RecordSession(std::unique_ptr<PeerSession> session,
                                           std::shared_ptr<DownloadRecorder> recorder) {
  return std::make_unique<RecordedSession>(std::move(session), std::move(recorder));
}

}  // namespace dragonfly::daemon
