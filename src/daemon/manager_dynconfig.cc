// SPDX-License-Identifier: Apache-2.0
#include "daemon/manager_dynconfig.h"

#include <grpcpp/channel.h>

#include <algorithm>
#include <functional>
#include <optional>
#include <random>
#include <utility>
#include <vector>

#include "base/host_port.h"
#include "base/status.h"
#include "base/text.h"
#include "base/version.h"
#include "daemon/traced.h"
#include "manager/v2/manager.grpc.pb.h"
#include "rpc/client_call.h"
#include "rpc/health_check.h"
#include "rpc/tls_diagnosis.h"
#include "runtime/signal.h"
#include "runtime/task_group.h"
#include "runtime/timeout.h"
#include "telemetry/log.h"

namespace dragonfly::daemon {
namespace asio = boost::asio;
namespace {

using manager::v2::ListSchedulersRequest;
using manager::v2::ListSchedulersResponse;

// A list that is longer is cut: no site has so many schedulers, and each costs a connection.
constexpr int kSchedulersMax = 1024;

constexpr auto kDiagnosisTimeout = std::chrono::milliseconds(500);

struct Candidate {
  std::string address;  // "ip:port"
  uint64_t cluster_id = 0;
  const manager::v2::Scheduler* wire = nullptr;
};

// What the list names in its order; what cannot be dialled, and what is of another cluster than `wanted`, is left out.
std::vector<Candidate> CandidatesOf(const ListSchedulersResponse& list, uint64_t wanted) {
  std::vector<Candidate> candidates;
  for (const manager::v2::Scheduler& scheduler : list.schedulers()) {
    if (candidates.size() == kSchedulersMax) break;
    if (wanted != 0 && scheduler.scheduler_cluster_id() != wanted) continue;
    if (!IsIpLiteral(scheduler.ip()) || scheduler.port() <= 0 || scheduler.port() > 65535) {
      DF_LOG(Warn, "the manager names a scheduler without a usable address: {} port {}", Quoted(scheduler.ip()),
             scheduler.port());
      continue;
    }
    Candidate candidate;
    candidate.address = rpc::HostPort(scheduler.ip(), scheduler.port());
    candidate.cluster_id = scheduler.scheduler_cluster_id();
    candidate.wire = &scheduler;
    candidates.push_back(std::move(candidate));
  }
  return candidates;
}

struct Probes {
  std::vector<absl::Status> results;
  size_t running = 0;
  runtime::Signal done;
};

asio::awaitable<void> Probe(std::shared_ptr<Probes> probes, size_t index, std::shared_ptr<grpc::Channel> channel,
                            Clock::duration timeout) {
  probes->results[index] = co_await rpc::CheckHealth(std::move(channel), timeout);
  if (--probes->running == 0) probes->done.Notify();
}

// Some hosts start at the same moment, after a power cut say: they shall not come back at the same moment, too.
Clock::duration WithJitter(Clock::duration duration) {
  thread_local std::minstd_rand random{std::random_device{}()};
  return std::chrono::duration_cast<Clock::duration>(duration * std::uniform_real_distribution<>(0.9, 1.1)(random));
}

}  // namespace

struct ManagerDynconfig::State {
  State(ManagerDynconfigOptions opts, ManagerLink& link, asio::io_context& io, rpc::ChannelPool& pool,
        runtime::BlockingPool& workers)
      : options(std::move(opts)), manager(link), schedulers(pool), blocking(workers), tasks(io.get_executor()) {}

  asio::awaitable<absl::StatusOr<ListSchedulersResponse>> ListSchedulers();
  asio::awaitable<std::optional<size_t>> FirstThatServes(const std::vector<Candidate>& candidates);
  std::shared_ptr<const BlockList> BlockListOf(const manager::v2::Scheduler& scheduler);

  const ManagerDynconfigOptions options;
  ManagerLink& manager;
  rpc::ChannelPool& schedulers;
  runtime::BlockingPool& blocking;
  runtime::TaskGroup tasks;
  runtime::Signal wake;

  // Of the loop alone.
  bool manager_serves = false;
  std::string config_bytes;  // what block_list was read from
  std::shared_ptr<const BlockList> block_list = std::make_shared<const BlockList>();
};

asio::awaitable<absl::StatusOr<ListSchedulersResponse>> ManagerDynconfig::State::ListSchedulers() {
  if (!manager_serves) {
    const absl::Status healthy = co_await rpc::CheckHealth(manager.Channel(), options.probe_timeout);
    if (!healthy.ok()) co_return healthy;
  }
  ListSchedulersRequest request;
  request.set_source_type(options.seed ? manager::v2::SEED_PEER_SOURCE : manager::v2::PEER_SOURCE);
  request.set_hostname(options.hostname);
  request.set_ip(options.ip);
  if (!options.idc.empty()) request.set_idc(options.idc);
  if (!options.location.empty()) request.set_location(options.location);
  request.set_version(std::string(kVersion));
  request.set_commit(std::string(GitCommit()));
  request.set_scheduler_cluster_id(options.scheduler_cluster_id);
  const std::shared_ptr<manager::v2::Manager::Stub> stub = manager::v2::Manager::NewStub(manager.Channel());
  const auto start = [stub](grpc::ClientContext* context, const ListSchedulersRequest* asked,
                            ListSchedulersResponse* answer, std::function<void(grpc::Status)> done) {
    stub->async()->ListSchedulers(context, asked, answer, std::move(done));
  };
  auto answer = co_await rpc::Unary<ListSchedulersResponse>(start, std::move(request), options.call_timeout);
  manager_serves = answer.ok();
  co_return std::move(answer);
}

// The schedulers of one cluster stand together: they are asked at the same time, one cluster after the other.
asio::awaitable<std::optional<size_t>> ManagerDynconfig::State::FirstThatServes(
    const std::vector<Candidate>& candidates) {
  for (size_t begin = 0; begin < candidates.size();) {
    size_t end = begin;
    while (end < candidates.size() && candidates[end].cluster_id == candidates[begin].cluster_id) ++end;
    const auto probes = std::make_shared<Probes>();
    probes->running = end - begin;
    probes->results.resize(end - begin);
    for (size_t i = begin; i < end; ++i) {
      tasks.Spawn(Probe(probes, i - begin, schedulers.Get(candidates[i].address), options.probe_timeout));
    }
    for (;;) {
      const uint64_t seen = probes->done.version();
      if (probes->running == 0) break;
      co_await probes->done.Wait(seen);
    }
    for (size_t i = begin; i < end; ++i) {
      if (probes->results[i - begin].ok()) co_return i;
    }
    begin = end;
  }
  co_return std::nullopt;
}

// Older managers tell nothing about the cluster. A list that cannot be read leaves the one of before in force.
std::shared_ptr<const BlockList> ManagerDynconfig::State::BlockListOf(const manager::v2::Scheduler& scheduler) {
  const manager::v2::SchedulerCluster& cluster = scheduler.scheduler_cluster();
  const std::string& bytes = options.seed ? cluster.seed_client_config() : cluster.client_config();
  if (bytes == config_bytes) return block_list;
  config_bytes = bytes;
  const std::string what =
      StrCat("manager ", manager.addr(), ": ", options.seed ? "seed_client_config" : "client_config", " of cluster ",
             scheduler.scheduler_cluster_id());
  auto parsed = ParseClientConfig(bytes, what);
  if (!parsed.ok()) {
    DF_LOG(Error, "{}; the block list of before stays in force", MessageOf(parsed.status()));
    return block_list;
  }
  for (const std::string& warning : parsed->warnings) DF_LOG(Warn, "{}", warning);
  block_list = std::make_shared<const BlockList>(std::move(parsed->block_list));
  if (!block_list->empty()) DF_LOG(Info, "{}: a block list is in force", what);
  return block_list;
}

asio::awaitable<absl::Status> ManagerDynconfig::Refresh() {
  State& state = *state_;
  auto list = co_await state.ListSchedulers();
  if (!list.ok()) {
    state.manager_serves = false;
    co_return co_await Explain(list.status());
  }
  const std::vector<Candidate> candidates = CandidatesOf(*list, state.options.scheduler_cluster_id);
  if (candidates.empty()) {
    if (state.options.scheduler_cluster_id == 0) co_return absl::NotFoundError("names no scheduler for this host");
    co_return absl::NotFoundError(
        StrCat("names no scheduler of cluster ", state.options.scheduler_cluster_id, " (host.schedulerClusterID)"));
  }
  telemetry::Span span = state.options.trace.Start("get_available_schedulers");
  const std::optional<size_t> chosen = co_await state.FirstThatServes(candidates);
  span.End();
  if (!chosen) {
    co_return absl::UnavailableError(StrCat("none of the ", candidates.size(), " schedulers that it names serves"));
  }
  DynconfigData data;
  data.scheduler_cluster_id = candidates[*chosen].cluster_id;
  // Those that do not serve now are kept: they may soon.
  for (const Candidate& candidate : candidates) {
    if (candidate.cluster_id == data.scheduler_cluster_id) data.scheduler_addrs.push_back(candidate.address);
  }
  std::sort(data.scheduler_addrs.begin(), data.scheduler_addrs.end());
  const auto last = std::unique(data.scheduler_addrs.begin(), data.scheduler_addrs.end());
  data.scheduler_addrs.erase(last, data.scheduler_addrs.end());
  data.block_list = state.BlockListOf(*candidates[*chosen].wire);
  Publish(std::move(data));
  co_return absl::OkStatus();
}

// Puts what a look at the connection itself shows in the place of gRPC's own words.
asio::awaitable<absl::Status> ManagerDynconfig::Explain(absl::Status failure) {
  if (!absl::IsUnavailable(failure) && !absl::IsDeadlineExceeded(failure)) co_return failure;
  const std::function<absl::Status()> look = [this] {
    return rpc::DiagnoseTls(state_->manager.target(), state_->manager.tls(), kDiagnosisTimeout);
  };
  const absl::Status found = co_await state_->blocking.Run(look);
  if (found.ok() || absl::IsResourceExhausted(found)) co_return failure;
  co_return found;
}

asio::awaitable<void> ManagerDynconfig::Run() {
  State& state = *state_;
  const Clock::duration retry_max = std::min(state.options.retry_max, state.options.refresh_interval);
  Clock::duration retry = state.options.retry_min;
  for (;;) {
    const uint64_t seen = state.wake.version();
    const absl::Status status = co_await Traced(state.options.trace.Start("refresh"), Refresh());
    const TimePoint now = Clock::now();
    if (status.ok()) {
      retry = state.options.retry_min;
      co_await state.wake.Wait(seen, now + WithJitter(state.options.refresh_interval));
      // Who wakes the loop has lost its schedulers: this one succeeded a moment ago at the earliest.
      co_await runtime::SleepUntil(now + WithJitter(state.options.retry_min));
    } else {
      Fail(status);
      co_await runtime::SleepUntil(now + WithJitter(retry));
      retry = std::min(2 * retry, retry_max);
    }
  }
}

ManagerDynconfig::ManagerDynconfig(ManagerDynconfigOptions options, ManagerLink& manager, asio::io_context& io,
                                   rpc::ChannelPool& schedulers, runtime::BlockingPool& blocking)
    : state_(std::make_unique<State>(std::move(options), manager, io, schedulers, blocking)) {}

ManagerDynconfig::~ManagerDynconfig() = default;

std::string ManagerDynconfig::name() const { return StrCat("manager ", state_->manager.addr()); }

void ManagerDynconfig::Start() { state_->tasks.Spawn(Run()); }

asio::awaitable<void> ManagerDynconfig::Stop() { co_await state_->tasks.Stop(); }

void ManagerDynconfig::Suspect() { state_->wake.Notify(); }

}  // namespace dragonfly::daemon
