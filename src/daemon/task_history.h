// SPDX-License-Identifier: Apache-2.0
// What the daemon remembers of its last downloads, so that somebody can ask why one was slow.
#pragma once

#include <atomic>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "base/ids.h"
#include "daemon/scheduler_link.h"
#include "storage/piece_record.h"

namespace dragonfly::daemon {

// What is known of one download. Times are counted from its begin.
struct DownloadStory {
  // A parent, or the origin (its peer_id is empty).
  struct Source {
    Source() = default;
    std::string peer_id;
    std::string host_id;
    std::string address;
    bool offered = false;  // by the scheduler
    uint64_t pieces = 0;
    uint64_t bytes = 0;
    absl::Duration cost;  // of its pieces, summed
    absl::Duration max_cost;
    uint64_t failures = 0;
  };
  struct Piece {
    uint32_t number = 0;
    uint32_t length = 0;
    uint32_t source = 0;  // index in sources
    float begin_ms = 0;
    float cost_ms = 0;
  };
  struct Event {
    absl::Duration at;
    absl::Duration waited;  // up to then
    std::string text;
  };

  DownloadStory() = default;
  std::string url;  // without user and query
  std::string peer_id;
  absl::Time begun_at;
  absl::Duration total;  // up to now while it runs
  bool running = true;
  absl::Status outcome;
  std::string scheduler;
  absl::Duration scheduler_wait;
  std::optional<absl::Duration> first_asked;  // the first piece that came was asked for
  std::optional<absl::Duration> first_piece;  // a piece was whole
  std::vector<Source> sources;
  std::vector<Event> events;
  std::vector<std::string> causes;
  std::vector<Piece> pieces;
  uint64_t pieces_not_kept = 0;
};

// Bytes of pieces that came since the daemon's start.
struct DownloadTraffic {
  std::atomic<uint64_t> from_peers = 0;
  std::atomic<uint64_t> from_origins = 0;
};

// Writes the story of one download; thread-safe, a short lock for each entry. Lists are bounded: further entries are
// counted or left out.
class DownloadRecorder {
 public:
  static constexpr size_t kPiecesMax = 4096;
  static constexpr size_t kEventsMax = 64;
  static constexpr size_t kSourcesMax = 256;
  static constexpr size_t kCausesMax = 32;

  // `traffic` is added to; may be null.
  DownloadRecorder(const std::string& url, std::string peer_id, std::shared_ptr<DownloadTraffic> traffic = nullptr);

  // The scheduler was asked and answered after `waited`.
  void Scheduled(std::string_view scheduler, absl::Duration waited, const absl::StatusOr<ScheduleAnswer>& answer);
  // The scheduler gave parents without having been asked.
  void Offered(const std::vector<CandidateParent>& more);
  void Happened(std::string text, absl::Duration waited = absl::ZeroDuration());
  void PieceDone(const storage::PieceRecord& record);
  void PieceFailed(const std::string& peer_id);
  void Causes(const std::vector<std::string>& causes);
  void Ended(const absl::Status& outcome);

  DownloadStory Story(bool with_pieces) const;
  size_t piece_rows() const;
  // Gives the rows up, so that the others have room.
  void DropPieces();

 private:
  absl::Duration Now() const { return absl::Now() - story_.begun_at; }
  // Index of a source; the last stands for all that are too many.
  size_t SourceOf(const std::string& peer_id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void NoteOffered(const std::vector<CandidateParent>& parents) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Add(std::string text, absl::Duration waited) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::shared_ptr<DownloadTraffic> traffic_;
  mutable absl::Mutex mutex_;
  DownloadStory story_;  // begun_at is constant, the rest guarded by mutex_
  std::map<std::string, size_t> source_by_peer_ ABSL_GUARDED_BY(mutex_);
};

// Thread-safe. Bounded: the last tasks, the last downloads of each, and all rows of pieces together.
class TaskHistory {
 public:
  static constexpr size_t kTasksMax = 200;
  static constexpr size_t kDownloadsMax = 10;         // of a task
  static constexpr size_t kPieceRowsMax = 256 << 10;  // 20 bytes each

  std::shared_ptr<DownloadRecorder> Begin(const TaskId& id, const std::string& url, std::string peer_id);
  // The remembered downloads of a task, the last first; empty when there are none.
  std::vector<std::shared_ptr<const DownloadRecorder>> Find(const TaskId& id) const;
  // The last download of each of the `count` tasks that were begun last, without pieces.
  std::vector<std::pair<std::string, DownloadStory>> Latest(size_t count) const;
  const DownloadTraffic& traffic() const { return *traffic_; }

 private:
  struct Task {
    explicit Task(TaskId i) : id(std::move(i)) {}
    TaskId id;
    std::list<std::shared_ptr<DownloadRecorder>> downloads;  // the last first
  };
  void Shrink() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::shared_ptr<DownloadTraffic> traffic_ = std::make_shared<DownloadTraffic>();
  mutable absl::Mutex mutex_;
  std::list<Task> tasks_ ABSL_GUARDED_BY(mutex_);  // the last begun first
};

// A conversation that also writes into `recorder`.
std::unique_ptr<PeerSession> RecordSession(std::unique_ptr<PeerSession> session,
                                           std::shared_ptr<DownloadRecorder> recorder);

}  // namespace dragonfly::daemon
