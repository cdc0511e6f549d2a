// SPDX-License-Identifier: Apache-2.0
// One round of fetching from the parents that the scheduler has offered: opens their news, and moves the pieces that
// the dispatcher assigns, until everything wanted is there or these parents can give no more.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "daemon/lane.h"
#include "daemon/parent_client.h"
#include "daemon/parent_loads.h"
#include "daemon/piece_dispatcher.h"
#include "daemon/piece_set.h"
#include "daemon/scheduler_link.h"
#include "daemon/wishes.h"
#include "rpc/channel.h"
#include "runtime/signal.h"
#include "runtime/task_group.h"
#include "storage/task_content.h"

namespace dragonfly::daemon {

// Thread rule: everything on the executor of the task's lane. Only the bytes of a piece may take another way: copying
// them out of the kernel and into the file keeps a core busy at two to three GiB a second, so when several pieces are
// under way, those that are more than this lane's share are received on the threads of other lanes.
class ParentBatch {
 public:
  struct Options {
    Options() = default;
    TaskType type = TaskType::kStandard;  // or persistent cache
    std::string host_id;                  // own
    size_t concurrency = 8;
    Clock::duration news_timeout = std::chrono::seconds(360);  // between two messages of a parent
    uint64_t seed = 1;                                         // of the order of pieces
    std::string object_tag;                   // of the version that is wanted (daemon/object_tag.h); empty: any
    bool provisional = false;                 // the layout is longer than the file, whose length is not known
    ParentLoads* loads = nullptr;             // of the parents' hosts; null: not looked at
    std::string peer_id;                      // own
    runtime::TokenBucket* limiter = nullptr;  // the bandwidth that pieces count against; null: that of downloads
    telemetry::SpanParent trace;              // of the spans of pieces, and sent along with SyncPieces
    // Waits for parents that are given while the batch runs, at least one; asked again and again until it ends with an
    // error. Null: there are none. They may wait for this host in turn, so the batch ends without waiting for them.
    std::function<boost::asio::awaitable<absl::StatusOr<std::vector<CandidateParent>>>()> more_parents;
  };
  struct Reports {
    Reports() = default;
    std::function<void(const storage::PieceRecord&)> finished;
    std::function<void(PieceNumber, const std::string& parent_id)> failed;
  };
  // `lane` is the task's; `lane`, `wishes` and `channels` must outlive it.
  ParentBatch(Lane& lane, std::shared_ptr<storage::TaskContent> content, const PieceLayout& layout, Wishes& wishes,
              rpc::ChannelPool& channels, Options options, Reports reports);

  // Returns OK when the batch has ended, also when pieces are missing still (Wishes tells). Errors: of the own disk or
  // content only; no other parent could help. Call once.
  boost::asio::awaitable<absl::Status> Run(std::vector<CandidateParent> parents);

  // What went wrong with which parent, for an error message; a few lines at most.
  const std::vector<std::string>& causes() const { return causes_; }

 private:
  struct Parent {
    CandidateParent candidate;
    ParentAddress address;
    PieceSet asked;        // pieces whose news were asked for
    int open_streams = 0;  // that may tell of more pieces
    int failures = 0;      // pieces that it did not have after all
    int given = 0;         // pieces that came from it
    // When a transfer broke off last, after which it has not given a piece yet.
    std::optional<TimePoint> broke_at;
    std::unique_ptr<ParentLoads::Watch> load;
    bool helper = false;      // given while the batch ran
    bool heard = false;       // its news have begun or ended
    TimePoint since;          // when it came
    TimePoint useful_at;      // when it came, or gave its last piece
    runtime::Signal dropped;  // ends the reading of its news
  };
  // Pieces that may be missing at a parent that announced them before it is dropped.
  static constexpr int kFailuresMax = 3;
  static constexpr size_t kCausesMax = 8;
  // With fewer pieces to get, a choice by load is over before the loads are known, and parents give them all too soon
  // to be followed.
  static constexpr size_t kPiecesWorthWatching = 8;
  // How long the first news of a helper are waited for when nobody else can give anything. Bounded, since helpers may
  // wait for this host in turn.
  static constexpr Clock::duration kFirstNewsOfHelper = std::chrono::seconds(1);
  // Live parents at a time, and all that a batch ever had.
  static constexpr size_t kParentsMax = 64;
  static constexpr size_t kParentsEverMax = 4096;

  boost::asio::awaitable<void> Loop();
  boost::asio::awaitable<void> ForwardWishes(uint64_t seen);
  boost::asio::awaitable<void> TakeMoreParents();
  boost::asio::awaitable<void> FollowParent(size_t index, std::vector<PieceNumber> numbers);
  boost::asio::awaitable<void> ReadNews(size_t index, std::vector<PieceNumber> numbers, bool& news_open);
  void EndNews(size_t index);
  boost::asio::awaitable<void> Transfer(PieceDispatcher::Assignment assignment, uint64_t serial,
                                        runtime::Signal cancel);
  boost::asio::awaitable<absl::StatusOr<storage::PieceRecord>> Move(size_t index, PieceNumber number);
  // Whether a transfer that began at `begun` and ended with `why` broke off for a reason that may be over by now; the
  // piece is then open again.
  bool ForgiveBreak(size_t index, PieceNumber number, TimePoint begun, const absl::Status& why);
  boost::asio::awaitable<absl::StatusOr<std::optional<Digest>>> Receive(size_t index, PieceNumber number,
                                                                        ByteSink& sink);
  size_t IdlestLane() const;
  void AddParent(CandidateParent candidate, bool helper);
  // Makes room for another parent; false when all are busy or were asked for.
  bool DropIdlestHelper();
  size_t live_parents() const;
  // Until when a helper may say for the first time what it has; the past when there is none to wait for.
  TimePoint FirstNewsUntil() const;
  void Forget(size_t index);
  void UpdateWishes();
  void WatchLoads();
  void TakeLoads();
  bool TakeNews(size_t index, const PieceNews& news);
  void BlamePiece(size_t index, PieceNumber number, const absl::Status& why);
  void DropParent(size_t index, const absl::Status& why);
  void AddCause(size_t index, const absl::Status& why);

  // The lanes that receive pieces, the task's own first, and how many each receives now.
  std::vector<Lane*> lanes_;
  std::vector<size_t> receiving_;
  const std::shared_ptr<storage::TaskContent> content_;
  const PieceLayout layout_;
  Wishes& wishes_;
  rpc::ChannelPool& channels_;
  const Options options_;
  const Reports reports_;
  PieceDispatcher dispatcher_;
  PieceSet wanted_;
  std::deque<Parent> parents_;  // grows while coroutines use its members
  struct Running {
    uint64_t serial = 0;
    runtime::Signal cancel;
  };
  // The latest transfers by piece and parent; one that was cancelled may still be on its way out.
  std::map<std::pair<uint32_t, size_t>, Running> running_;
  uint64_t next_serial_ = 0;
  runtime::Signal events_;
  absl::Status fatal_;
  std::vector<std::string> causes_;
  runtime::TaskGroup group_;
};

}  // namespace dragonfly::daemon
