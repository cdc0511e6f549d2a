// SPDX-License-Identifier: Apache-2.0
#include "manager/directory.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/status.h"
#include "base/text.h"

namespace dragonfly::manager {
namespace {

namespace asio = boost::asio;

uint64_t IdAt(const db::Row& row, size_t column) { return static_cast<uint64_t>(row.Int(column)); }

std::shared_ptr<const Scopes> Compile(const SchedulerClusterRow& cluster, const Directory* previous) {
  if (previous != nullptr) {
    const auto found = previous->scheduler_clusters.find(cluster.id);
    if (found != previous->scheduler_clusters.end() && found->second.scopes == cluster.scopes) {
      return found->second.compiled;
    }
  }
  auto compiled = Scopes::Parse(cluster.scopes);
  return compiled.ok() ? *std::move(compiled) : nullptr;
}

// Of the first four columns of each cluster.
void ReadCluster(const db::Row& row, ClusterRow& cluster) {
  cluster.id = IdAt(row, 0);
  cluster.name = row.Text(1);
  cluster.bio = row.Text(2);
  cluster.config = row.Text(3);
}

absl::Status LoadClusters(db::Connection& connection, const Directory* previous, Directory& directory) {
  DF_ASSIGN_OR_RETURN(
      const db::Rows clusters,
      connection.Select({"id", "name", "bio", "config", "client_config", "seed_client_config", "scopes", "is_default"},
                        "FROM scheduler_cluster WHERE is_del = 0 ORDER BY id"));
  for (const db::Row& row : clusters) {
    SchedulerClusterRow cluster;
    ReadCluster(row, cluster);
    cluster.client_config = row.Text(4);
    cluster.seed_client_config = row.Text(5);
    cluster.scopes = row.Text(6);
    cluster.is_default = row.Bool(7);
    cluster.compiled = Compile(cluster, previous);
    directory.scheduler_clusters.emplace(cluster.id, std::move(cluster));
  }
  DF_ASSIGN_OR_RETURN(
      const db::Rows seed_clusters,
      connection.Select({"id", "name", "bio", "config"}, "FROM seed_peer_cluster WHERE is_del = 0 ORDER BY id"));
  for (const db::Row& row : seed_clusters) {
    SeedPeerClusterRow cluster;
    ReadCluster(row, cluster);
    directory.seed_peer_clusters.emplace(cluster.id, std::move(cluster));
  }
  DF_ASSIGN_OR_RETURN(const db::Rows links,
                      connection.Select({"seed_peer_cluster_id", "scheduler_cluster_id"},
                                        "FROM seed_peer_cluster_scheduler_cluster ORDER BY scheduler_cluster_id"));
  for (const db::Row& row : links) {
    const auto found = directory.seed_peer_clusters.find(IdAt(row, 0));
    if (found != directory.seed_peer_clusters.end()) found->second.scheduler_clusters.push_back(IdAt(row, 1));
  }
  return absl::OkStatus();
}

// All instances of a table, as far as they have the same columns; `rest` reads the others, from the column given.
template <typename Instance>
absl::Status LoadInstances(db::Connection& connection, const char* table, const char* cluster_column,
                           const std::vector<std::string>& others, std::vector<Instance>& instances,
                           void (*rest)(const db::Row& row, size_t column, Instance& instance)) {
  std::vector<std::string> columns = {"id", "host_name", "idc", "location", "ip", "state", "port", cluster_column};
  const size_t own = columns.size();
  columns.insert(columns.end(), others.begin(), others.end());
  DF_ASSIGN_OR_RETURN(const db::Rows rows,
                      connection.Select(columns, StrCat("FROM ", table, " WHERE is_del = 0 ORDER BY id")));
  for (const db::Row& row : rows) {
    Instance& instance = instances.emplace_back();
    instance.id = IdAt(row, 0);
    instance.hostname = row.Text(1);
    instance.idc = row.Text(2);
    instance.location = row.Text(3);
    instance.ip = row.Text(4);
    instance.state = row.Text(5);
    instance.port = row.Int(6);
    instance.cluster_id = IdAt(row, 7);
    rest(row, own, instance);
  }
  return absl::OkStatus();
}

void ReadScheduler(const db::Row& row, size_t column, SchedulerRow& scheduler) {
  scheduler.features = row.Text(column);
  scheduler.has_config = row.Text(column + 1).size() > 2;  // not an empty object either
}

void ReadSeedPeer(const db::Row& row, size_t column, SeedPeerRow& seed_peer) {
  seed_peer.type = row.Text(column);
  seed_peer.download_port = row.Int(column + 1);
}

}  // namespace

bool SchedulerRow::Has(std::string_view feature) const {
  if (features.empty()) return true;
  const auto list = nlohmann::json::parse(features, nullptr, /*allow_exceptions=*/false);
  if (list.is_null()) return true;
  if (!list.is_array()) return false;
  return std::any_of(list.begin(), list.end(), [&](const nlohmann::json& element) {
    return element.is_string() && element.get_ref<const std::string&>() == feature;
  });
}

std::vector<const SchedulerRow*> Directory::ActiveSchedulersOf(uint64_t cluster_id) const {
  std::vector<const SchedulerRow*> found;
  for (const SchedulerRow& scheduler : schedulers) {
    if (scheduler.cluster_id == cluster_id && scheduler.active()) found.push_back(&scheduler);
  }
  return found;
}

std::vector<const SeedPeerRow*> Directory::ActiveSeedPeersOf(uint64_t scheduler_cluster_id) const {
  std::vector<const SeedPeerRow*> found;
  for (const SeedPeerRow& seed_peer : seed_peers) {
    if (!seed_peer.active()) continue;
    const auto cluster = seed_peer_clusters.find(seed_peer.cluster_id);
    if (cluster == seed_peer_clusters.end()) continue;
    const std::vector<uint64_t>& linked = cluster->second.scheduler_clusters;
    if (std::find(linked.begin(), linked.end(), scheduler_cluster_id) != linked.end()) found.push_back(&seed_peer);
  }
  return found;
}

absl::StatusOr<std::shared_ptr<const Directory>> LoadDirectory(db::Connection& connection, const Directory* previous) {
  const auto directory = std::make_shared<Directory>();
  DF_RETURN_IF_ERROR(LoadClusters(connection, previous, *directory));
  DF_RETURN_IF_ERROR(LoadInstances(connection, "scheduler", "scheduler_cluster_id", {"features", "config"},
                                   directory->schedulers, ReadScheduler));
  DF_RETURN_IF_ERROR(LoadInstances(connection, "seed_peer", "seed_peer_cluster_id", {"type", "download_port"},
                                   directory->seed_peers, ReadSeedPeer));
  return std::shared_ptr<const Directory>(directory);
}

// One reading: ended in any case, also when the coroutine that runs it is cancelled.
class DirectoryReader::Reading {
 public:
  explicit Reading(DirectoryReader& reader) : reader_(reader) {}
  ~Reading() {
    {
      absl::MutexLock lock(&reader_.mutex_);
      reader_.ended_ = reader_.begun_;
      if (result.ok() && *result != nullptr) reader_.last_good_ = *result;
      reader_.result_ = std::move(result);
    }
    reader_.changed_.Notify();
  }

  absl::StatusOr<std::shared_ptr<const Directory>> result = nullptr;

 private:
  DirectoryReader& reader_;
};

asio::awaitable<absl::StatusOr<std::shared_ptr<const Directory>>> DirectoryReader::Read(TimePoint deadline) {
  using Result = std::shared_ptr<const Directory>;
  std::optional<uint64_t> wanted;
  for (;;) {
    const uint64_t seen = changed_.version();
    bool run = false;
    std::shared_ptr<const Directory> previous;
    {
      absl::MutexLock lock(&mutex_);
      if (!wanted.has_value()) wanted = begun_ + 1;
      if (ended_ >= *wanted) {
        if (!result_.ok() || *result_ != nullptr) co_return result_;
        wanted = begun_ + 1;
      }
      if (begun_ == ended_) {
        ++begun_;
        run = true;
        previous = last_good_;
      }
    }
    if (run) {
      Reading reading(*this);
      const db::Database::Work<Result> load = [previous](db::Connection& connection) {
        return LoadDirectory(connection, previous.get());
      };
      reading.result = co_await database_.Run<Result>(load, deadline);
    } else if (!co_await changed_.Wait(seen, deadline)) {
      co_return absl::DeadlineExceededError("read the clusters: no answer in time");
    }
  }
}

}  // namespace dragonfly::manager
