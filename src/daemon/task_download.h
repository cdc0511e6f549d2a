// SPDX-License-Identifier: Apache-2.0
// The running download of one task, shared by everybody who wants the task at the time.
//
//   callers (any thread)             the task's io thread
//   Join ──────────────┐
//   WhenShaped  <──────┤  Prepare: ask the origin, make the content
//   wishes().Want… ────┤  Fetch:   ask the scheduler; from parents, from the origin
//   follow the content │           until nothing that is wished for is missing
//   Leave ─────────────┘  the outcome; nobody joins any more
//
// The pieces themselves reach the callers through the content, each at its own pace.
#pragma once

#include <atomic>
#include <boost/asio/awaitable.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "daemon/lane.h"
#include "daemon/origin_fetch.h"
#include "daemon/origin_opening.h"
#include "daemon/range_request.h"
#include "daemon/task_manager.h"
#include "daemon/wishes.h"
#include "runtime/signal.h"

namespace dragonfly::daemon {

// What is known of a task as soon as its pieces can be named.
struct TaskShape {
  TaskShape() = default;
  std::shared_ptr<storage::TaskContent> content;
  uint64_t piece_length = 0;
  size_t before = 0;  // entries of content->FinishedSince(0) that this download has found here
};

class TaskDownload {
 public:
  // `parts` and `lane` must outlive it. `wire` and `terms` are the request of the first caller: its URL and headers are
  // used.
  // `predecessor`: an earlier download of the task that is on its way out, or null; its end is awaited first.
  TaskDownload(TaskId id, std::shared_ptr<const common::v2::Download> wire, OriginTerms terms,
               const TaskManagerParts& parts, Lane& lane, std::shared_ptr<TaskDownload> predecessor);
  ~TaskDownload();

  const TaskId& id() const { return id_; }
  const std::string& peer_id() const { return peer_id_; }

  // A caller takes part. nullopt when this download takes nobody any more.
  std::optional<Wishes::Id> Join(const common::v2::Download& wire);
  // `satisfied`: the caller has all that it wanted. A download that everybody else has left is cancelled.
  void Leave(Wishes::Id id, bool satisfied);
  Wishes& wishes() { return wishes_; }
  // The origin was asked with this very request, and accepted it.
  bool OriginAccepted(const common::v2::Download& wire) const { return origin_accepted_ && wire_.get() == &wire; }
  // The origin may say something else to a caller with `wire` and `terms` than it says to the first caller.
  bool AsksForAnother(const common::v2::Download& wire, const OriginTerms& terms) const;
  // The same, and what it has said to the first caller does not hold for everybody.
  bool KeepsFrom(const common::v2::Download& wire, const OriginTerms& terms) const;
  // The shape is known.
  bool shaped() const;
  // The shape once it is known. Errors: the outcome, when the download ended before; DEADLINE_EXCEEDED.
  boost::asio::awaitable<absl::StatusOr<TaskShape>> WhenShaped(TimePoint deadline = kNoDeadline);
  std::optional<absl::Status> outcome() const;
  boost::asio::awaitable<void> WhenEnded();
  // Ends the download with `why`.
  void Cancel(const absl::Status& why);

  // Its span stands under the call of the first caller. Before Run().
  void TraceUnder(const telemetry::SpanParent& caller);
  // The download itself, on the lane's executor; once. Sets the outcome.
  boost::asio::awaitable<void> Run();
  // Sets the outcome of a download whose Run() never began. The first outcome stays.
  void End(const absl::Status& outcome);

 private:
  boost::asio::awaitable<absl::Status> Body();
  boost::asio::awaitable<void> WhenPredecessorEnded();
  boost::asio::awaitable<void> EndOpening();
  boost::asio::awaitable<absl::Status> Prepare();
  boost::asio::awaitable<absl::StatusOr<source::OriginStat>> AskOrigin();
  // Goes on with what the origin has told.
  absl::Status TakeStat(const source::OriginStat& stat);
  // Asks the origin and begins to read it at once; the content is made when it has answered.
  boost::asio::awaitable<absl::Status> OpenOrigin();
  // Nobody has asked for a part only.
  bool WantedWhole() const;
  // Goes on with what is on this host, as if the origin had confirmed it; `unasked`: it was not asked.
  absl::Status Adopt(const storage::TaskContent& content, bool unasked);
  // Forgets a content that is not of the object that the origin has now.
  void GiveUp(const storage::TaskContent& content, std::string_view why);
  void ConfirmContent();
  // RESOURCE_EXHAUSTED when there is no room for it: then WithRoom() must follow.
  absl::Status MakeContent(std::optional<uint64_t> content_length, uint64_t piece_length);
  // What has ended with `made` may have lacked room: makes it, without holding up this thread, and then the content.
  boost::asio::awaitable<absl::Status> WithRoom(absl::Status made);
  // Finds or makes the content, and room for it, without holding up this thread for the latter.
  boost::asio::awaitable<absl::Status> FindOrCreateInRoom(storage::ContentShape shape);
  // Reserves the space of what is wanted now.
  boost::asio::awaitable<absl::Status> ReserveWanted();
  // The bytes that the callers have asked for so far, for a file of that length; nullopt: all.
  std::optional<ByteRange> WantedOf(uint64_t content_length) const;
  bool NothingMissing() const;

  // A conversation with the scheduler has ended.
  struct Scheduled {
    enum class Ending { kFinished, kBackToSourceFinished, kFailed, kBackToSourceFailed };
    Scheduled() = default;
    absl::Status status;  // of the download, as far as it went
    Ending ending = Ending::kFinished;
    std::string description;  // of a failed ending
    bool ask_origin = false;  // the scheduler could not help: the origin directly
  };
  // Defined in task_download_fetch.cc.
  boost::asio::awaitable<absl::Status> Fetch();
  boost::asio::awaitable<Scheduled> Schedule();
  boost::asio::awaitable<Scheduled> Converse(PeerSession& session);
  boost::asio::awaitable<void> WhenDecided();
  boost::asio::awaitable<absl::Status> FromParents(PeerSession& session, std::vector<CandidateParent> offered);
  boost::asio::awaitable<absl::Status> FromParentsWithoutLength(PeerSession& session,
                                                                std::vector<CandidateParent> parents);
  boost::asio::awaitable<absl::Status> RunBatch(PeerSession& session, std::vector<CandidateParent> parents,
                                                PieceLayout layout, bool provisional);
  // Those that the scheduler gives unasked and that fit; see PeerSession::MoreParents().
  boost::asio::awaitable<absl::StatusOr<std::vector<CandidateParent>>> MoreParents(PeerSession& session);
  boost::asio::awaitable<absl::Status> FromOrigin(PeerSession* session);
  absl::Status AdoptShape(const std::vector<CandidateParent>& offered);
  // Learns length and headers from a parent where those are fresh enough, else from the origin.
  boost::asio::awaitable<absl::Status> LearnShape(const std::vector<CandidateParent>& offered);
  boost::asio::awaitable<absl::Status> FetchFromOrigin(PeerSession* session, uint32_t skip_pieces,
                                                       telemetry::SpanParent trace);
  boost::asio::awaitable<absl::Status> FollowOpening(PeerSession* session, telemetry::SpanParent trace);
  std::vector<CandidateParent> FittingParents(const std::vector<CandidateParent>& offered);
  std::unique_ptr<common::v2::Download> Registration() const;
  TaskFacts Facts() const;
  // That of prefetches as long as nobody waits for the bytes.
  runtime::TokenBucket& BandwidthOr(runtime::TokenBucket& awaited) const;
  void PieceDone(PeerSession* session, const storage::PieceRecord& record);
  absl::Status FailureWithoutOrigin() const;
  absl::Status WithCauses(const absl::Status& failure) const;
  static boost::asio::awaitable<void> EndSession(std::unique_ptr<PeerSession> session, Scheduled::Ending ending,
                                                 TaskFacts facts, std::string description);

  const TaskId id_;
  const std::string peer_id_;
  const std::shared_ptr<const common::v2::Download> wire_;
  const TaskManagerParts& parts_;
  Lane& lane_;
  std::shared_ptr<TaskDownload> predecessor_;
  const OriginTerms terms_;
  Wishes wishes_;
  std::atomic<bool> origin_allowed_ = false;   // by any caller
  std::atomic<bool> awaited_ = false;          // some caller is no prefetch
  std::atomic<bool> origin_accepted_ = false;  // the request of the first caller
  std::atomic<uint32_t> concurrency_ = 0;      // pieces at once; the most that a caller has asked for
  // What is read counts against these, also when it had begun before somebody came who waits for it.
  runtime::TokenBucket from_parents_;
  runtime::TokenBucket from_origin_;

  // The lane's thread only.
  telemetry::Span span_;
  source::Source* source_ = nullptr;
  source::OriginRequest request_;
  source::OriginStat stat_;
  const TimePoint begin_ = Clock::now();
  TimePoint asked_at_;         // when the origin was asked for it
  bool asked_origin_ = false;  // stat_ is known, by the origin or by who has the content
  std::shared_ptr<OriginOpening> opening_;
  std::shared_ptr<storage::TaskContent> content_;
  std::optional<PieceLayout> layout_;
  uint64_t piece_length_ = 0;
  bool open_ = false;                              // what the origin has said holds for everybody
  bool unasked_ = false;                           // the content is used without the origin's word
  bool origin_changed_ = false;                    // what parents have may be another version
  std::optional<storage::ContentShape> roomless_;  // of the content that found no room
  std::string next_peer_id_;
  std::vector<std::string> causes_;
  std::shared_ptr<DownloadRecorder> recorder_;  // null: nothing is remembered

  runtime::Signal changed_;  // the shape and the outcome
  mutable absl::Mutex mutex_;
  std::optional<TaskShape> shape_ ABSL_GUARDED_BY(mutex_);
  std::optional<absl::Status> outcome_ ABSL_GUARDED_BY(mutex_);
  std::optional<absl::Status> cancelled_ ABSL_GUARDED_BY(mutex_);
  std::vector<RangeRequest> asked_ ABSL_GUARDED_BY(mutex_);  // of the callers, until the shape is known
  runtime::Signal stop_;
};

}  // namespace dragonfly::daemon
