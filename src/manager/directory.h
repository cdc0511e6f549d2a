// SPDX-License-Identifier: Apache-2.0
// Clusters and their instances as the data plane asks for them: a picture of the database that is never older than the
// question.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "db/database.h"
#include "manager/searcher.h"
#include "runtime/clock.h"
#include "runtime/signal.h"

namespace dragonfly::manager {

// Texts of configurations are JSON as they stand in the database.
struct ClusterRow {
  uint64_t id = 0;
  std::string name, bio, config;
};

struct SchedulerClusterRow : ClusterRow {
  std::string client_config, seed_client_config, scopes;
  bool is_default = false;
  std::shared_ptr<const Scopes> compiled;  // null when they cannot be read
};

struct SeedPeerClusterRow : ClusterRow {
  std::vector<uint64_t> scheduler_clusters;
};

// A scheduler or a seed peer.
struct InstanceRow {
  uint64_t id = 0;
  std::string hostname, idc, location, ip, state;
  int64_t port = 0;
  uint64_t cluster_id = 0;

  bool active() const { return state == "active"; }
};

struct SchedulerRow : InstanceRow {
  std::string features;
  bool has_config = false;  // told by schedulers from v2.3.1 on

  // Whether it has the feature; without any it has all.
  bool Has(std::string_view feature) const;
};

struct SeedPeerRow : InstanceRow {
  std::string type;
  int64_t download_port = 0;
};

struct Directory {
  std::map<uint64_t, SchedulerClusterRow> scheduler_clusters;
  std::map<uint64_t, SeedPeerClusterRow> seed_peer_clusters;
  std::vector<SchedulerRow> schedulers;  // by id
  std::vector<SeedPeerRow> seed_peers;   // by id

  std::vector<const SchedulerRow*> ActiveSchedulersOf(uint64_t cluster_id) const;
  // Of all seed peer clusters that are linked to the scheduler cluster.
  std::vector<const SeedPeerRow*> ActiveSeedPeersOf(uint64_t scheduler_cluster_id) const;
};

// Reads the five tables. Blocks. Scopes that `previous` (may be null) has with the same text are taken from there.
absl::StatusOr<std::shared_ptr<const Directory>> LoadDirectory(db::Connection& connection, const Directory* previous);

// Any thread. Questions that come while a reading runs share the next one: there is nothing that could be stale, and
// however many ask, the database is read by one at a time.
class DirectoryReader {
 public:
  explicit DirectoryReader(db::Database& database) : database_(database) {}

  // What the database holds at some moment after the call has begun.
  boost::asio::awaitable<absl::StatusOr<std::shared_ptr<const Directory>>> Read(TimePoint deadline);

 private:
  class Reading;

  db::Database& database_;
  runtime::Signal changed_;
  absl::Mutex mutex_;
  uint64_t begun_ ABSL_GUARDED_BY(mutex_) = 0;  // readings
  uint64_t ended_ ABSL_GUARDED_BY(mutex_) = 0;  // begun_ or one less
  // Of the last one that has ended; a null pointer when who ran it has gone.
  absl::StatusOr<std::shared_ptr<const Directory>> result_ ABSL_GUARDED_BY(mutex_) = nullptr;
  std::shared_ptr<const Directory> last_good_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dragonfly::manager
