// SPDX-License-Identifier: Apache-2.0
#include "manager/grpc_service.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "base/status.h"
#include "base/text.h"
#include "manager/registry.h"
#include "manager/searcher.h"
#include "manager/validation.h"
#include "rpc/server_call.h"
#include "telemetry/log.h"

namespace dragonfly::manager {
namespace {

namespace asio = boost::asio;
namespace api = ::manager::v2;
using nlohmann::json;
using Snapshot = std::shared_ptr<const Directory>;

constexpr std::chrono::seconds kCallTimeout{30};
constexpr char kScheduleFeature[] = "schedule";
constexpr char kDefaultFeatures[] = R"(["schedule","preheat"])";

TimePoint Deadline() { return Clock::now() + kCallTimeout; }

void Fill(const SchedulerClusterRow& cluster, api::SchedulerCluster* message) {
  message->set_id(cluster.id);
  message->set_name(cluster.name);
  message->set_bio(cluster.bio);
  message->set_config(cluster.config);
  message->set_client_config(cluster.client_config);
  message->set_scopes(cluster.scopes);
  message->set_seed_client_config(cluster.seed_client_config);
}

void Fill(const SeedPeerClusterRow& cluster, api::SeedPeerCluster* message) {
  message->set_id(cluster.id);
  message->set_name(cluster.name);
  message->set_bio(cluster.bio);
  message->set_config(cluster.config);
}

void Fill(const SchedulerRow& scheduler, api::Scheduler* message) {
  message->set_id(scheduler.id);
  message->set_hostname(scheduler.hostname);
  message->set_idc(scheduler.idc);
  message->set_location(scheduler.location);
  message->set_ip(scheduler.ip);
  message->set_port(static_cast<int32_t>(scheduler.port));
  message->set_state(scheduler.state);
  message->set_scheduler_cluster_id(scheduler.cluster_id);
  message->set_features(scheduler.features.empty() ? kDefaultFeatures : scheduler.features);
}

void Fill(const SeedPeerRow& seed_peer, api::SeedPeer* message) {
  message->set_id(seed_peer.id);
  message->set_hostname(seed_peer.hostname);
  message->set_type(seed_peer.type);
  message->set_idc(seed_peer.idc);
  message->set_location(seed_peer.location);
  message->set_ip(seed_peer.ip);
  message->set_port(static_cast<int32_t>(seed_peer.port));
  message->set_download_port(static_cast<int32_t>(seed_peer.download_port));
  message->set_state(seed_peer.state);
  message->set_seed_peer_cluster_id(seed_peer.cluster_id);
}

// With its cluster's configuration.
void FillWithCluster(const Directory& directory, const SeedPeerRow& seed_peer, api::SeedPeer* message) {
  Fill(seed_peer, message);
  const auto cluster = directory.seed_peer_clusters.find(seed_peer.cluster_id);
  if (cluster != directory.seed_peer_clusters.end()) Fill(cluster->second, message->mutable_seed_peer_cluster());
}

// With its cluster and the active seed peers that serve it.
void FillWithCluster(const Directory& directory, const SchedulerRow& scheduler, api::Scheduler* message) {
  Fill(scheduler, message);
  const auto cluster = directory.scheduler_clusters.find(scheduler.cluster_id);
  if (cluster != directory.scheduler_clusters.end()) Fill(cluster->second, message->mutable_scheduler_cluster());
  for (const SeedPeerRow* const seed_peer : directory.ActiveSeedPeersOf(scheduler.cluster_id)) {
    FillWithCluster(directory, *seed_peer, message->add_seed_peers());
  }
}

// The row of that name and cluster: of several the one with the address, if there is one.
template <typename Row>
const Row* FindInstance(const std::vector<Row>& rows, const std::string& hostname, uint64_t cluster,
                        const std::string& ip) {
  const Row* found = nullptr;
  for (const Row& row : rows) {
    if (row.hostname != hostname || row.cluster_id != cluster) continue;
    if (row.ip == ip) return &row;
    if (found == nullptr) found = &row;
  }
  return found;
}

template <typename Row>
const Row* FindId(const std::vector<Row>& rows, int64_t id) {
  const auto found =
      std::find_if(rows.begin(), rows.end(), [&](const Row& row) { return row.id == static_cast<uint64_t>(id); });
  return found == rows.end() ? nullptr : &*found;
}

// Registrations that meet: the second finds the row of the first.
asio::awaitable<absl::StatusOr<int64_t>> Register(db::Database& database, db::Database::Work<int64_t> work) {
  absl::StatusOr<int64_t> id = co_await database.Transact<int64_t>(work, Deadline());
  if (absl::IsAlreadyExists(id.status())) id = co_await database.Transact<int64_t>(work, Deadline());
  co_return id;
}

std::vector<const SchedulerClusterRow*> InOrderFor(const Directory& directory,
                                                   const api::ListSchedulersRequest& request) {
  std::vector<const SchedulerClusterRow*> rows;
  std::vector<Candidate> candidates;
  for (const auto& [id, cluster] : directory.scheduler_clusters) {
    rows.push_back(&cluster);
    candidates.push_back(Candidate{id, cluster.compiled, cluster.is_default});
  }
  const PeerPlace place{request.ip(), request.hostname(), request.idc(), request.location()};
  std::vector<const SchedulerClusterRow*> ordered;
  for (const size_t index : OrderByScore(candidates, place)) ordered.push_back(rows[index]);
  return ordered;
}

void ListSchedulersFor(const Directory& directory, const api::ListSchedulersRequest& request,
                       api::ListSchedulersResponse* response) {
  // A caller that names a cluster is told of its schedulers in any state, as v2.3.1 and later do.
  if (request.scheduler_cluster_id() != 0) {
    for (const SchedulerRow& scheduler : directory.schedulers) {
      if (scheduler.cluster_id != request.scheduler_cluster_id() || !scheduler.Has(kScheduleFeature)) continue;
      FillWithCluster(directory, scheduler, response->add_schedulers());
    }
    return;
  }
  for (const SchedulerClusterRow* const cluster : InOrderFor(directory, request)) {
    for (const SchedulerRow* const scheduler : directory.ActiveSchedulersOf(cluster->id)) {
      if (scheduler->Has(kScheduleFeature)) FillWithCluster(directory, *scheduler, response->add_schedulers());
    }
  }
}

absl::Status FillPriority(const std::string& text, api::ApplicationPriority* message) {
  const json priority = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!priority.is_object()) return absl::DataLossError("its priority is no JSON object");
  const auto level = [](const json& object) {
    const auto value = object.find("value");
    return value != object.end() && value->is_number_integer() ? value->get<int>() : 0;
  };
  message->set_value(static_cast<common::v2::Priority>(level(priority)));
  const auto urls = priority.find("urls");
  if (urls == priority.end() || !urls->is_array()) return absl::OkStatus();
  for (const json& url : *urls) {
    if (!url.is_object()) continue;
    const auto regex = url.find("regex");
    if (regex == url.end() || !regex->is_string()) continue;
    api::URLPriority* const added = message->add_urls();
    added->set_regex(regex->get<std::string>());
    added->set_value(static_cast<common::v2::Priority>(level(url)));
  }
  return absl::OkStatus();
}

std::string FeaturesOf(const api::UpdateSchedulerRequest& request) {
  if (request.features().empty()) return kDefaultFeatures;
  json features = json::array();
  for (const std::string& feature : request.features()) features.push_back(feature);
  return features.dump(-1, ' ', false, json::error_handler_t::replace);
}

}  // namespace

GrpcService::GrpcService(db::Database& database, DirectoryReader& directory, KeepAlives& keep_alives,
                         runtime::TaskGroup& group, double calls_per_second, SearchCounters counters)
    : database_(database),
      directory_(directory),
      keep_alives_(keep_alives),
      group_(group),
      gate_(calls_per_second),
      counters_(std::move(counters)) {}

absl::Status GrpcService::Admit(std::string_view method) {
  if (gate_.Admit(Clock::now())) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      StrCat("/manager.v2.Manager/", method, " is rejected by grpc_ratelimit middleware, please retry later."));
}

grpc::ServerUnaryReactor* GrpcService::GetSeedPeer(grpc::CallbackServerContext* context,
                                                   const api::GetSeedPeerRequest* request, api::SeedPeer* response) {
  return rpc::ServeUnary(context, group_, [this, request, response]() -> asio::awaitable<absl::Status> {
    return [](GrpcService& self, const api::GetSeedPeerRequest& request,
              api::SeedPeer* response) -> asio::awaitable<absl::Status> {
      DF_CO_RETURN_IF_ERROR(self.Admit("GetSeedPeer"));
      DF_CO_RETURN_IF_ERROR(Validate(request));
      DF_CO_ASSIGN_OR_RETURN(const Snapshot directory, co_await self.directory_.Read(Deadline()));
      const SeedPeerRow* const found =
          FindInstance(directory->seed_peers, request.hostname(), request.seed_peer_cluster_id(), request.ip());
      if (found == nullptr) {
        co_return absl::NotFoundError(
            StrCat("seed peer ", request.hostname(), " of cluster ", request.seed_peer_cluster_id(), " not found"));
      }
      FillWithCluster(*directory, *found, response);
      const auto cluster = directory->seed_peer_clusters.find(found->cluster_id);
      if (cluster == directory->seed_peer_clusters.end()) co_return absl::OkStatus();
      for (const uint64_t id : cluster->second.scheduler_clusters) {
        for (const SchedulerRow* const scheduler : directory->ActiveSchedulersOf(id)) {
          Fill(*scheduler, response->add_schedulers());
        }
      }
      co_return absl::OkStatus();
    }(*this, *request, response);
  });
}

grpc::ServerUnaryReactor* GrpcService::ListSeedPeers(grpc::CallbackServerContext* context,
                                                     const api::ListSeedPeersRequest* request,
                                                     api::ListSeedPeersResponse* response) {
  return rpc::ServeUnary(context, group_, [this, request, response]() -> asio::awaitable<absl::Status> {
    return [](GrpcService& self, const api::ListSeedPeersRequest& request,
              api::ListSeedPeersResponse* response) -> asio::awaitable<absl::Status> {
      DF_CO_RETURN_IF_ERROR(self.Admit("ListSeedPeers"));
      DF_CO_RETURN_IF_ERROR(Validate(request));
      DF_CO_ASSIGN_OR_RETURN(const Snapshot directory, co_await self.directory_.Read(Deadline()));
      const auto own = std::find_if(
          directory->seed_peers.begin(), directory->seed_peers.end(),
          [&](const SeedPeerRow& row) { return row.hostname == request.hostname() && row.ip == request.ip(); });
      if (own == directory->seed_peers.end()) {
        co_return absl::NotFoundError(StrCat("seed peer ", request.hostname(), " ", request.ip(), " not found"));
      }
      for (const SeedPeerRow& row : directory->seed_peers) {
        if (row.cluster_id == own->cluster_id && row.active()) {
          FillWithCluster(*directory, row, response->add_seed_peers());
        }
      }
      if (response->seed_peers().empty()) co_return absl::NotFoundError("seed peer not found");
      co_return absl::OkStatus();
    }(*this, *request, response);
  });
}

grpc::ServerUnaryReactor* GrpcService::UpdateSeedPeer(grpc::CallbackServerContext* context,
                                                      const api::UpdateSeedPeerRequest* request,
                                                      api::SeedPeer* response) {
  return rpc::ServeUnary(context, group_, [this, request, response]() -> asio::awaitable<absl::Status> {
    return [](GrpcService& self, const api::UpdateSeedPeerRequest& request,
              api::SeedPeer* response) -> asio::awaitable<absl::Status> {
      DF_CO_RETURN_IF_ERROR(self.Admit("UpdateSeedPeer"));
      DF_CO_RETURN_IF_ERROR(Validate(request));
      SeedPeerReport report;
      report.instance = {request.hostname(), request.ip(), request.seed_peer_cluster_id()};
      report.type = request.type();
      report.idc = request.idc();
      report.location = request.location();
      report.port = request.port();
      report.download_port = request.download_port();
      DF_CO_ASSIGN_OR_RETURN(const int64_t id, co_await Register(self.database_, [report](db::Connection& connection) {
                               return RegisterSeedPeer(connection, report);
                             }));
      DF_CO_ASSIGN_OR_RETURN(const Snapshot directory, co_await self.directory_.Read(Deadline()));
      const SeedPeerRow* const row = FindId(directory->seed_peers, id);
      if (row == nullptr) co_return absl::AbortedError("the seed peer was removed meanwhile");
      DF_LOG(Info, "seed peer {} {} has registered with cluster {}", row->hostname, row->ip, row->cluster_id);
      FillWithCluster(*directory, *row, response);
      co_return absl::OkStatus();
    }(*this, *request, response);
  });
}

grpc::ServerUnaryReactor* GrpcService::DeleteSeedPeer(grpc::CallbackServerContext* context,
                                                      const api::DeleteSeedPeerRequest* request,
                                                      google::protobuf::Empty*) {
  return rpc::ServeUnary(context, group_, [this, request]() -> asio::awaitable<absl::Status> {
    return [](GrpcService& self, const api::DeleteSeedPeerRequest& request) -> asio::awaitable<absl::Status> {
      DF_CO_RETURN_IF_ERROR(self.Admit("DeleteSeedPeer"));
      DF_CO_RETURN_IF_ERROR(Validate(request));
      const Instance instance{request.hostname(), request.ip(), request.seed_peer_cluster_id()};
      const db::Database::Work<int64_t> remove = [instance](db::Connection& connection) {
        return RemoveSeedPeer(connection, instance);
      };
      DF_CO_ASSIGN_OR_RETURN(const int64_t count, co_await self.database_.Run<int64_t>(remove, Deadline()));
      if (count > 0) DF_LOG(Info, "seed peer {} {} has left", instance.hostname, instance.ip);
      co_return absl::OkStatus();
    }(*this, *request);
  });
}

grpc::ServerUnaryReactor* GrpcService::GetScheduler(grpc::CallbackServerContext* context,
                                                    const api::GetSchedulerRequest* request, api::Scheduler* response) {
  return rpc::ServeUnary(context, group_, [this, request, response]() -> asio::awaitable<absl::Status> {
    return [](GrpcService& self, const api::GetSchedulerRequest& request,
              api::Scheduler* response) -> asio::awaitable<absl::Status> {
      DF_CO_RETURN_IF_ERROR(self.Admit("GetScheduler"));
      DF_CO_RETURN_IF_ERROR(Validate(request));
      DF_CO_ASSIGN_OR_RETURN(const Snapshot directory, co_await self.directory_.Read(Deadline()));
      const SchedulerRow* const found =
          FindInstance(directory->schedulers, request.hostname(), request.scheduler_cluster_id(), request.ip());
      if (found == nullptr) {
        co_return absl::NotFoundError(
            StrCat("scheduler ", request.hostname(), " of cluster ", request.scheduler_cluster_id(), " not found"));
      }
      FillWithCluster(*directory, *found, response);
      co_return absl::OkStatus();
    }(*this, *request, response);
  });
}

grpc::ServerUnaryReactor* GrpcService::UpdateScheduler(grpc::CallbackServerContext* context,
                                                       const api::UpdateSchedulerRequest* request,
                                                       api::Scheduler* response) {
  return rpc::ServeUnary(context, group_, [this, request, response]() -> asio::awaitable<absl::Status> {
    return [](GrpcService& self, const api::UpdateSchedulerRequest& request,
              api::Scheduler* response) -> asio::awaitable<absl::Status> {
      DF_CO_RETURN_IF_ERROR(self.Admit("UpdateScheduler"));
      DF_CO_RETURN_IF_ERROR(Validate(request));
      SchedulerReport report;
      report.instance = {request.hostname(), request.ip(), request.scheduler_cluster_id()};
      report.idc = request.idc();
      report.location = request.location();
      report.port = request.port();
      report.features = FeaturesOf(request);
      if (json::accept(request.config())) report.config = request.config();
      DF_CO_ASSIGN_OR_RETURN(const int64_t id, co_await Register(self.database_, [report](db::Connection& connection) {
                               return RegisterScheduler(connection, report);
                             }));
      DF_CO_ASSIGN_OR_RETURN(const Snapshot directory, co_await self.directory_.Read(Deadline()));
      const SchedulerRow* const row = FindId(directory->schedulers, id);
      if (row == nullptr) co_return absl::AbortedError("the scheduler was removed meanwhile");
      DF_LOG(Info, "scheduler {} {} has registered with cluster {}", row->hostname, row->ip, row->cluster_id);
      FillWithCluster(*directory, *row, response);
      co_return absl::OkStatus();
    }(*this, *request, response);
  });
}

grpc::ServerUnaryReactor* GrpcService::ListSchedulers(grpc::CallbackServerContext* context,
                                                      const api::ListSchedulersRequest* request,
                                                      api::ListSchedulersResponse* response) {
  return rpc::ServeUnary(context, group_, [this, request, response]() -> asio::awaitable<absl::Status> {
    return [](GrpcService& self, const api::ListSchedulersRequest& request,
              api::ListSchedulersResponse* response) -> asio::awaitable<absl::Status> {
      DF_CO_RETURN_IF_ERROR(self.Admit("ListSchedulers"));
      DF_CO_RETURN_IF_ERROR(Validate(request));
      if (self.counters_.searched) self.counters_.searched(request.version(), request.commit());
      const auto directory = co_await self.directory_.Read(Deadline());
      if (directory.ok()) ListSchedulersFor(**directory, request, response);
      if (response->schedulers().empty() && self.counters_.failed) {
        self.counters_.failed(request.version(), request.commit());
      }
      co_return directory.status();
    }(*this, *request, response);
  });
}

grpc::ServerUnaryReactor* GrpcService::ListApplications(grpc::CallbackServerContext* context,
                                                        const api::ListApplicationsRequest* request,
                                                        api::ListApplicationsResponse* response) {
  return rpc::ServeUnary(context, group_, [this, request, response]() -> asio::awaitable<absl::Status> {
    return [](GrpcService& self, const api::ListApplicationsRequest& request,
              api::ListApplicationsResponse* response) -> asio::awaitable<absl::Status> {
      using Rows = std::vector<ApplicationRow>;
      DF_CO_RETURN_IF_ERROR(self.Admit("ListApplications"));
      DF_CO_RETURN_IF_ERROR(Validate(request));
      const db::Database::Work<Rows> list = [](db::Connection& connection) {
        return manager::ListApplications(connection);
      };
      DF_CO_ASSIGN_OR_RETURN(const Rows rows, co_await self.database_.Run<Rows>(list, Deadline()));
      for (const ApplicationRow& row : rows) {
        api::Application application;
        application.set_id(row.id);
        application.set_name(row.name);
        application.set_url(row.url);
        application.set_bio(row.bio);
        const absl::Status filled = FillPriority(row.priority, application.mutable_priority());
        // One row that cannot be read must not hide the others.
        if (filled.ok())
          *response->add_applications() = std::move(application);
        else
          DF_LOG(Warn, "application {} is left out: {}", row.name, MessageOf(filled));
      }
      if (response->applications().empty()) co_return absl::NotFoundError("application not found");
      co_return absl::OkStatus();
    }(*this, *request, response);
  });
}

grpc::ServerReadReactor<api::KeepAliveRequest>* GrpcService::KeepAlive(grpc::CallbackServerContext*,
                                                                       google::protobuf::Empty*) {
  return keep_alives_.Serve(Admit("KeepAlive"));
}

}  // namespace dragonfly::manager
