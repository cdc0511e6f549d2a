// SPDX-License-Identifier: Apache-2.0
// The daemon's conversation with the schedulers about persistent cache tasks. Only .cc files include this.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/ids.h"
#include "common/v2/common.pb.h"
#include "daemon/scheduler_link.h"
#include "daemon/scheduler_set.h"
#include "runtime/clock.h"
#include "scheduler/v2/scheduler.pb.h"
#include "storage/piece_record.h"

namespace dragonfly::daemon {

// One AnnouncePersistentCachePeer conversation. All methods on the executor of the coroutine that opened it.
class PersistentSession {
 public:
  virtual ~PersistentSession() = default;
  // Sends the registration and waits for the answer: parents, or none for an empty task. Errors: the scheduler's.
  virtual boost::asio::awaitable<absl::StatusOr<std::vector<CandidateParent>>> Register(
      scheduler::v2::RegisterPersistentCachePeerRequest registration, TimePoint deadline) = 0;
  // Gives all parents of the last answer back and waits for others.
  virtual boost::asio::awaitable<absl::StatusOr<std::vector<CandidateParent>>> Reschedule(TimePoint deadline) = 0;
  virtual void Started() = 0;
  virtual void PieceFinished(const storage::PieceRecord& record) = 0;
  virtual void PieceFailed(PieceNumber number, const std::string& parent_id) = 0;
  // Each ends the conversation. OK when the scheduler has taken the report.
  virtual boost::asio::awaitable<absl::Status> Finished(uint32_t piece_count, TimePoint deadline) = 0;
  virtual boost::asio::awaitable<absl::Status> Failed(std::string description, TimePoint deadline) = 0;
};

// Thread rule: any thread; coroutines resume on the caller's executor. A call goes to the scheduler that the task's id
// names, or, when that one cannot be reached, to the next. Errors of all: the scheduler's status; UNAVAILABLE when none
// can be reached.
class PersistentLink {
 public:
  struct Options {
    Options() = default;
    std::string host_id;
    Clock::duration call_timeout{std::chrono::seconds(15)};
    // Makes this host known to a scheduler that says that it does not know it.
    std::function<boost::asio::awaitable<absl::Status>(std::string address)> announce;
  };
  // `schedulers` must outlive the link and its sessions.
  PersistentLink(Options options, SchedulerSet& schedulers);

  boost::asio::awaitable<absl::Status> UploadStarted(TaskId task,
                                                     scheduler::v2::UploadPersistentCacheTaskStartedRequest request);
  boost::asio::awaitable<absl::StatusOr<common::v2::PersistentCacheTask>> UploadFinished(TaskId task,
                                                                                         std::string peer_id);
  boost::asio::awaitable<absl::Status> UploadFailed(TaskId task, std::string peer_id, std::string description);
  boost::asio::awaitable<absl::StatusOr<common::v2::PersistentCacheTask>> Stat(TaskId task);
  boost::asio::awaitable<absl::StatusOr<common::v2::PersistentCachePeer>> StatPeer(TaskId task, std::string peer_id);
  boost::asio::awaitable<absl::Status> DeleteTask(TaskId task);
  boost::asio::awaitable<absl::Status> DeletePeer(TaskId task, std::string peer_id);
  // True when every scheduler of the cluster answers, and none of them knows the task.
  boost::asio::awaitable<bool> UnknownEverywhere(TaskId task);

  std::unique_ptr<PersistentSession> Open(TaskId task, std::string peer_id);

 private:
  template <typename Response, typename Request, typename Method>
  boost::asio::awaitable<absl::StatusOr<Response>> Call(TaskId task, Request request, Method method);

  const std::shared_ptr<const Options> options_;
  SchedulerSet& schedulers_;
};

}  // namespace dragonfly::daemon
