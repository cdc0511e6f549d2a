// SPDX-License-Identifier: Apache-2.0
// All downloads of one daemon: one running download per task, shared by everybody who wants the task.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/byte_range.h"
#include "base/ids.h"
#include "base/piece.h"
#include "daemon/config.h"
#include "daemon/host_identity.h"
#include "daemon/probe.h"
#include "daemon/scheduler_link.h"
#include "daemon/task_history.h"
#include "rpc/channel.h"
#include "runtime/blocking_pool.h"
#include "runtime/io_threads.h"
#include "runtime/token_bucket.h"
#include "source/source.h"
#include "storage/content_store.h"

namespace dragonfly::daemon {

// The bandwidth of the daemon, one bucket a direction, shared by all tasks.
struct Limiters {
  runtime::TokenBucket& download;        // from other peers
  runtime::TokenBucket& upload;          // to other peers
  runtime::TokenBucket& back_to_source;  // from origins
  runtime::TokenBucket& prefetch;        // instead of `download` and `back_to_source` when only prefetches want a task
};

struct Lane;

// What a caller lets the origin of its URL do; see source::OriginRequest. The first caller's terms hold for a download;
// others who come with other ones are asked for at the origin by themselves (docs/download.md).
struct OriginTerms {
  bool guarded = false;
  bool own_keys = false;  // the origin may be shown the keys of the daemon's environment: the caller is on this host
  bool insecure_skip_verify = false;
  bool access_checked = false;  // the caller itself asks the origin whether it may have what it did not fetch
};

// What a caller wants. `wire` is the request as it came; it is checked by Download().
struct DownloadRequest {
  DownloadRequest() = default;
  std::shared_ptr<const common::v2::Download> wire;
  // The caller is on this host (Unix socket): it may name an output path.
  bool local = false;
  OriginTerms origin;
  telemetry::SpanContext trace;  // of the call that asks
};

// First news of a download: the shape of the task.
struct DownloadStarted {
  explicit DownloadStarted(TaskId id) : task_id(std::move(id)) {}
  TaskId task_id;
  std::string peer_id;
  std::string host_id;
  std::optional<uint64_t> content_length;  // nullopt while an origin that tells no length is being read
  uint64_t piece_length = 0;
  std::optional<ByteRange> range;  // as asked, cut to the file
  std::map<std::string, std::string> response_header;
  std::vector<storage::PieceRecord> present;  // wanted pieces that were on this host before
  // Piece numbers wanted: [first, last]; nullopt for an empty file and while the length is unknown (all).
  std::optional<PieceLayout::Interval> wanted;
  bool complete = false;  // everything wanted was here before
  // The origin was asked with this caller's own request, and accepted it. False: what it would say is not known.
  bool origin_accepted = false;
  std::shared_ptr<storage::TaskContent> content;
};

// One caller's view of a download. The calls come one after another from within Download(), on its executor; a slow
// observer holds up nobody else. An error that it returns ends Download() with that error.
class DownloadObserver {
 public:
  virtual ~DownloadObserver() = default;
  // Once, before any piece.
  virtual boost::asio::awaitable<absl::Status> Started(const DownloadStarted& started) = 0;
  // Each wanted piece once, in the order in which they became ready. The bytes are in started.content.
  virtual boost::asio::awaitable<absl::Status> PieceReady(const storage::PieceRecord& record) = 0;
  // The observer can go on only with the next piece in order, as one that streams.
  virtual bool reads_in_order() const { return false; }
};

// What an origin says of a URL that may name a directory.
struct OriginListing {
  OriginListing() = default;
  std::vector<source::OriginEntry> entries;  // of a directory
  source::OriginStat stat;                   // of a file
};
// More than so many entries are not listed.
inline constexpr size_t kOriginEntriesMax = 100'000;

// What a TaskManager works with. Everything must outlive it.
struct TaskManagerParts {
  const DaemonConfig& config;
  HostIdentity identity;  // its ports are not used
  runtime::IoThreads& io;
  runtime::BlockingPool& blocking;
  storage::ContentStore& store;
  SchedulerLink& schedulers;
  Limiters limiters;
  rpc::ChannelPool& channels;
  Probe& probe;
  TaskHistory* history = nullptr;  // null: nothing is remembered
};

// Thread rule: every method from any thread; coroutines resume on the caller's executor.
class TaskManager {
 public:
  explicit TaskManager(TaskManagerParts parts);
  // Stop() must have completed.
  ~TaskManager();
  TaskManager(const TaskManager&) = delete;
  TaskManager& operator=(const TaskManager&) = delete;

  // Brings the wanted bytes to this host: from the store, from other peers, from the origin, in this order. Returns
  // when all wanted pieces are there (and the output is made, and the digest agrees), or with the error that ended it.
  // Cancelling it takes this caller's wish back; the download goes on while others want it.
  // Errors: INVALID_ARGUMENT naming the field; INTERNAL with a BackendError when the origin refused;
  // RESOURCE_EXHAUSTED when the disk is full; the causes, joined, when neither peers nor origin could give the bytes.
  boost::asio::awaitable<absl::Status> Download(DownloadRequest request, DownloadObserver& observer);

  // Everything below the directory that request.url names, or the stat of the file, without downloading anything.
  // Errors: those of source::Source::List() and Stat(); INVALID_ARGUMENT for a scheme that nobody reads.
  boost::asio::awaitable<absl::StatusOr<OriginListing>> ListOrigin(source::OriginRequest request);

  // The id of the task that `download` names. Errors: INVALID_ARGUMENT.
  static absl::StatusOr<TaskId> IdOf(const common::v2::Download& download);

  // True while a download of `id` runs.
  bool Running(const TaskId& id) const;

  // The content of `id`; one whose download is just starting is waited for. Errors: NOT_FOUND "task <id> not found";
  // what ended the download.
  boost::asio::awaitable<absl::StatusOr<std::shared_ptr<storage::TaskContent>>> WhenContent(TaskId id,
                                                                                            TimePoint deadline);

  // Ends a running download of `id` and removes its content from this host. Errors: NOT_FOUND.
  boost::asio::awaitable<absl::Status> Delete(TaskId id);

  // Refuses new downloads, cancels the running ones and waits for their end.
  boost::asio::awaitable<void> Stop();

  // What the downloads of the thread of `id` share.
  Lane& LaneOf(const TaskId& id);

  const HostIdentity& identity() const;
  storage::ContentStore& store();
  SchedulerLink& schedulers();
  runtime::BlockingPool& blocking();
  Probe& probe();
  // download.pieceTimeout.
  absl::Duration piece_timeout() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace dragonfly::daemon
