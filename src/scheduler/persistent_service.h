// SPDX-License-Identifier: Apache-2.0
// The persistent cache calls of scheduler.v2.Scheduler, and the work in the background that keeps as many replicas of
// each task as its importer has asked for. Only .cc files include this (it pulls in grpc++).
#pragma once

#include <atomic>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "rpc/channel.h"
#include "rpc/server_call.h"
#include "runtime/blocking_pool.h"
#include "runtime/signal.h"
#include "runtime/task_group.h"
#include "scheduler/persistent_cache.h"
#include "scheduler/persistent_probe.h"
#include "scheduler/v2/scheduler.grpc.pb.h"

namespace dragonfly::telemetry {
class Metrics;
}

namespace dragonfly::scheduler {

// Thread rule: calls come in on any thread and run on that of `io`; the store is used on threads of its own.
class PersistentService {
 public:
  struct Options {
    Options() = default;
    rpc::ChannelOptions peers;  // connections to dfdaemons
    // Between two looks at all tasks and their hosts. A host that does not answer at two looks is away.
    Clock::duration healing_interval{std::chrono::seconds(30)};
    size_t store_threads = 8;
    // By which the schedulers of one store know each other when they take turns at healing. One that comes back by the
    // same name goes on with the turn that it had. Empty: a name that nobody has had.
    std::string name;
    bool share_hosts = false;  // write every announced host to the store, for the other schedulers
    PersistentCache::Options cache;
  };
  // `hosts` and `metrics` must outlive it.
  PersistentService(boost::asio::io_context& io, std::unique_ptr<PersistentStore> store, HostTable& hosts,
                    telemetry::Metrics& metrics, Options options);
  // Stop() must have completed.
  ~PersistentService();

  // Traces the calls to dfdaemons. Before Start(); `tracer` may be null and must outlive the service.
  void UseTracer(telemetry::Tracer* tracer) { channels_.UseTracer(tracer); }
  // Begins the work in the background.
  void Start();
  boost::asio::awaitable<void> Stop();

  // The messages live as long as their calls.
  using AnnounceRequest = ::scheduler::v2::AnnouncePersistentCachePeerRequest;
  using AnnounceResponse = ::scheduler::v2::AnnouncePersistentCachePeerResponse;
  grpc::ServerBidiReactor<AnnounceRequest, AnnounceResponse>* Announce(grpc::CallbackServerContext* context);
  // A call of one message. `Method` is one of the coroutines below.
  template <typename Method, typename... Messages>
  grpc::ServerUnaryReactor* Serve(grpc::CallbackServerContext* context, Method method, Messages*... messages) {
    return rpc::ServeUnary(context, group_, [this, method, messages...] { return (this->*method)(messages...); });
  }

  using Result = boost::asio::awaitable<absl::Status>;
  Result UploadStarted(const ::scheduler::v2::UploadPersistentCacheTaskStartedRequest* request);
  Result UploadFinished(const ::scheduler::v2::UploadPersistentCacheTaskFinishedRequest* request,
                        common::v2::PersistentCacheTask* response);
  Result UploadFailed(const ::scheduler::v2::UploadPersistentCacheTaskFailedRequest* request);
  Result StatTask(const ::scheduler::v2::StatPersistentCacheTaskRequest* request,
                  common::v2::PersistentCacheTask* response);
  Result StatPeer(const ::scheduler::v2::StatPersistentCachePeerRequest* request,
                  common::v2::PersistentCachePeer* response);
  Result DeletePeer(const ::scheduler::v2::DeletePersistentCachePeerRequest* request);
  Result DeleteTask(const ::scheduler::v2::DeletePersistentCacheTaskRequest* request);

  // What ShowPersistentTasks() says of the store; on the thread of `io`.
  Result Show(std::string task_id, std::string* json);

  // News of hosts; any thread.
  void HostAnnounced(std::shared_ptr<const HostFacts> facts);
  void HostLeft(std::string host_id);

 private:
  class Stream;

  // What goes on with one task.
  struct Work {
    Work() = default;
    bool planning = false;
    bool again = false;
    bool importing = false;  // the import has not ended
    uint64_t missing = 0;
    std::set<std::string> in_flight;         // hosts that are getting a replica
    std::map<std::string, TimePoint> unfit;  // hosts that shall not get one before
  };

  // Runs `job` on a thread of the store, and counts the call.
  boost::asio::awaitable<absl::Status> Answer(PersistentCall call, std::function<absl::Status()> job);
  void CountMessage(const AnnounceRequest& request, const absl::Status& result);
  // Runs `job` on a thread of the store.
  boost::asio::awaitable<absl::Status> OnStore(std::function<absl::Status()> job);

  boost::asio::awaitable<void> HealForever();
  boost::asio::awaitable<void> WaitForNews(const std::set<std::string>& host_ids, uint64_t seen, TimePoint next);
  boost::asio::awaitable<void> LookAtHosts(std::set<std::string> host_ids);
  // Where they listen; "" where that is not known. None when the store does not answer.
  boost::asio::awaitable<std::map<std::string, std::string>> AddressesOf(std::set<std::string> host_ids);
  boost::asio::awaitable<void> LookAtHost(std::string host_id, std::string address);
  // The copies that a host has told of: peers by their tasks.
  using Copies = std::map<std::string, std::string>;
  // Asks hosts that answer whether their copies are still there, and forgets those that are not.
  boost::asio::awaitable<void> LookAtCopies(std::map<std::string, Copies> by_host);
  boost::asio::awaitable<void> LookAtCopiesOf(std::string address, Copies copies);
  boost::asio::awaitable<void> Heal(std::string task_id);
  boost::asio::awaitable<absl::Status> PlanAndStart(const std::string& task_id);
  boost::asio::awaitable<void> Promote(ReplicaPlace place);
  boost::asio::awaitable<void> Replicate(PersistentTask task, ReplicaHost host);
  boost::asio::awaitable<absl::Status> Download(const PersistentTask& task, std::string address);
  boost::asio::awaitable<void> DeleteCopy(ReplicaPlace place);
  boost::asio::awaitable<void> DeleteCopies(std::vector<ReplicaPlace> places);
  void StartHealing(const std::string& task_id) { group_.Spawn(Heal(task_id)); }

  const std::unique_ptr<PersistentStore> store_;
  HostTable& hosts_;
  const Options options_;
  const std::string owner_;
  AwayHosts away_;
  PersistentCache cache_;
  rpc::ChannelPool channels_;
  std::map<std::string, Work> work_;   // by task
  std::map<std::string, int> silent_;  // looks at a host without an answer
  PersistentProbe probe_;
  std::atomic<bool> has_tasks_ = false;
  runtime::Signal wake_;
  runtime::BlockingPool pool_;
  boost::asio::any_io_executor executor_;
  runtime::TaskGroup group_;
};

}  // namespace dragonfly::scheduler
