// SPDX-License-Identifier: Apache-2.0
// The daemon's conversation with the schedulers of its cluster.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/ids.h"
#include "base/piece.h"
#include "runtime/clock.h"
#include "storage/piece_record.h"
#include "telemetry/span_context.h"

namespace common::v2 {
class Download;
class Peer;
}  // namespace common::v2

namespace dragonfly::daemon {

// A peer that the scheduler offers to fetch from.
struct CandidateParent {
  CandidateParent() = default;
  std::string peer_id;
  std::string host_id;
  std::string ip;
  int port = 0;                            // of its DfdaemonUpload service
  std::optional<uint64_t> content_length;  // of the task, when the scheduler knows it
  std::optional<uint64_t> piece_length;
  std::shared_ptr<const common::v2::Peer> wire;  // as received; echoed unchanged when rescheduling
};

// The scheduler's answers.
struct EmptyTask {};
struct NeedBackToSource {
  std::string description;
};
struct CandidateParents {
  std::vector<CandidateParent> parents;  // best first, at least one
};
using ScheduleAnswer = std::variant<EmptyTask, NeedBackToSource, CandidateParents>;

// What the daemon knows of a task when it registers; sent in the places where both API generations look for it.
struct TaskFacts {
  TaskFacts() = default;
  std::optional<uint64_t> content_length;
  std::optional<uint64_t> piece_length;
  uint32_t piece_count = 0;
  telemetry::SpanContext trace;  // of the download, sent along
};

// One AnnouncePeer conversation: one download of one task by one peer id. All methods on the executor of the coroutine
// that opened it. Reports are queued and never wait; they are dropped when the stream has broken.
class PeerSession {
 public:
  virtual ~PeerSession() = default;
  // Address of the scheduler that is talked to, for people; empty while there is none.
  virtual std::string scheduler() const { return ""; }

  // Sends the registration and waits for the first answer. Errors: the scheduler's status; DEADLINE_EXCEEDED.
  virtual boost::asio::awaitable<absl::StatusOr<ScheduleAnswer>> Register(const common::v2::Download& download,
                                                                          TaskFacts facts, TimePoint deadline) = 0;
  // Gives the tried parents back and waits for the next answer.
  virtual boost::asio::awaitable<absl::StatusOr<ScheduleAnswer>> Reschedule(std::vector<CandidateParent> tried,
                                                                            std::string description,
                                                                            TimePoint deadline) = 0;

  // Waits for parents that the scheduler gives without having been asked, at least one. Any of them may download from
  // this peer in turn. Ends with an error when none can come any more. May be cancelled; what came first is then
  // returned by the next call. Not beside Register(), Reschedule() or a terminal report.
  virtual boost::asio::awaitable<absl::StatusOr<std::vector<CandidateParent>>> MoreParents() = 0;

  virtual void Started() = 0;              // after EmptyTask or CandidateParents
  virtual void BackToSourceStarted() = 0;  // after NeedBackToSource
  // The kind of report follows from record.traffic_type. Never carries content.
  virtual void PieceFinished(const storage::PieceRecord& record) = 0;
  virtual void PieceFailed(PieceNumber number, const std::string& parent_id) = 0;
  // `error` may carry a BackendError.
  virtual void PieceBackToSourceFailed(const absl::Status& error) = 0;

  // The terminal reports: each is sent, the stream half-closed, and its end awaited until `deadline` (an end that does
  // not come is logged and is no error).
  virtual boost::asio::awaitable<void> Finished(TaskFacts facts, TimePoint deadline) = 0;
  virtual boost::asio::awaitable<void> BackToSourceFinished(TaskFacts facts, TimePoint deadline) = 0;
  virtual boost::asio::awaitable<void> Failed(std::string description, TimePoint deadline) = 0;
  virtual boost::asio::awaitable<void> BackToSourceFailed(std::string description, TimePoint deadline) = 0;
};

// The schedulers as the rest of the daemon sees them. Thread rule: any thread; coroutines resume on the caller's
// executor.
class SchedulerLink {
 public:
  virtual ~SchedulerLink() = default;

  // Opens the conversation with the scheduler that the ring names for `task`, or, when that one cannot be reached, the
  // next in ring order. Errors: UNAVAILABLE when none can.
  virtual boost::asio::awaitable<absl::StatusOr<std::unique_ptr<PeerSession>>> OpenSession(TaskId task,
                                                                                           std::string peer_id) = 0;

  // True when a peer may register before it knows the length of its task, so that it need not ask the origin first.
  virtual bool TakesUnknownLength() const { return false; }

  // Forwarded to the task's scheduler. `StatTask` returns the serialised common.v2.Task.
  virtual boost::asio::awaitable<absl::StatusOr<std::string>> StatTask(TaskId task) = 0;
  virtual boost::asio::awaitable<absl::Status> DeleteTask(TaskId task) = 0;
  // To all schedulers; failures are logged.
  virtual boost::asio::awaitable<void> DeleteHost() = 0;
};

}  // namespace dragonfly::daemon
