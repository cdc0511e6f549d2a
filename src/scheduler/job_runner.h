// SPDX-License-Identifier: Apache-2.0
// What managers let this scheduler do: preheat, get_task, delete_task, list_task_entries, sync_peers and the jobs about
// persistent cache tasks; by a queue, or by dragonfly.ext.v1.Jobs. Source of the original's: dragonfly v2.3.0 and
// v2.5.1, scheduler/job/job.go. Only .cc files include this (it pulls in grpc++).
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <map>
#include <string>
#include <vector>

#include "common/v2/common.pb.h"
#include "dragonfly/ext/v1/jobs.grpc.pb.h"
#include "jobs/preheat_request.h"
#include "jobs/results.h"
#include "jobs/task_request.h"
#include "jobs/worker.h"
#include "rpc/channel.h"
#include "runtime/task_group.h"
#include "scheduler/host_table.h"
#include "scheduler/service.h"

namespace dragonfly::scheduler {

// Thread rule: everything on the thread of `io`; RunJob() comes in on any.
class JobRunner final : public dragonfly::ext::v1::Jobs::CallbackService {
 public:
  // Jobs by RunJob() at one time; further ones are refused.
  static constexpr size_t kCallsMax = 1000;

  struct Options {
    Options() = default;
    uint64_t cluster_id = 1;
    std::string ip;
    bool seeds_enabled = true;
    // A host that says nothing for so long has not got a task, as far as get_task is concerned.
    Clock::duration ask_timeout = std::chrono::seconds(1);
    size_t hosts_at_once = 500;
  };

  // `seeds` and `peers` are the channels to seed peers and to other hosts; `persistent` may be null. All must outlive
  // it.
  JobRunner(boost::asio::io_context& io, Shards& shards, HostTable& hosts, rpc::ChannelPool& seeds,
            rpc::ChannelPool& peers, PersistentService* persistent, Options options);
  // Stop() must have completed.
  ~JobRunner() override;

  // By the job's name. They use this object.
  std::map<std::string, jobs::Handler> Handlers();
  // Ends what RunJob() runs.
  boost::asio::awaitable<void> Stop();

  grpc::ServerUnaryReactor* RunJob(grpc::CallbackServerContext* context,
                                   const dragonfly::ext::v1::RunJobRequest* request,
                                   dragonfly::ext::v1::RunJobResponse* response) override;

 private:
  using Json = boost::asio::awaitable<absl::StatusOr<std::string>>;
  struct Place;

  Json Preheat(std::string argument);
  Json GetTask(std::string argument);
  Json DeleteTask(std::string argument);
  Json ListTaskEntries(std::string argument);
  Json SyncPeers(std::string argument);
  Json GetPersistentCacheTask(std::string argument);
  Json DeletePersistentCacheTask(std::string argument);

  boost::asio::awaitable<absl::Status> Answer(const dragonfly::ext::v1::RunJobRequest* request,
                                              dragonfly::ext::v1::RunJobResponse* response);
  // Which hosts shall get which of the files. Errors: FAILED_PRECONDITION when there is none, in the original's words.
  absl::StatusOr<std::vector<Place>> PlacesOf(const jobs::PreheatRequest& request,
                                              const std::vector<common::v2::Download>& downloads) const;
  boost::asio::awaitable<void> PreheatAt(const Place& place, const std::vector<common::v2::Download>& downloads,
                                         size_t tasks_at_once, TimePoint deadline, jobs::PreheatResult& result);
  // The peers that this scheduler knows of.
  boost::asio::awaitable<std::vector<jobs::GetTaskResult::Peer>> KnownPeersOf(std::string task_id,
                                                                              std::vector<std::string>& host_ids);
  // The hosts that say that they have at least a part of the task, whatever this scheduler knows.
  struct Holder {
    std::shared_ptr<const HostFacts> facts;
    bool finished = false;
    absl::Time created_at = absl::UnixEpoch();
  };
  boost::asio::awaitable<std::vector<Holder>> HoldersOf(std::string task_id);
  rpc::ChannelPool& ChannelsTo(const HostFacts& host) { return host.seed() ? seeds_ : peers_; }

  Shards& shards_;
  HostTable& hosts_;
  rpc::ChannelPool& seeds_;
  rpc::ChannelPool& peers_;
  PersistentService* const persistent_;
  const Options options_;
  const std::string name_;  // "cluster 1 scheduler 10.0.0.1"
  const std::map<std::string, jobs::Handler> handlers_;
  runtime::TaskGroup group_;
};

}  // namespace dragonfly::scheduler
