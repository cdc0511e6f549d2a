// SPDX-License-Identifier: Apache-2.0
// The regular looks of PersistentService: which hosts are away, which have lost copies, which tasks miss a replica.
#include <grpcpp/channel.h>

#include <algorithm>
#include <utility>

#include "base/status.h"
#include "base/text.h"
#include "dragonfly/ext/v1/persistent_cache.grpc.pb.h"
#include "rpc/client_call.h"
#include "rpc/health_check.h"
#include "runtime/for_each.h"
#include "runtime/timeout.h"
#include "scheduler/persistent_service.h"
#include "telemetry/log.h"

namespace dragonfly::scheduler {
namespace asio = boost::asio;
namespace {

constexpr char kUploadService[] = "dfdaemon.v2.DfdaemonUpload";
constexpr char kHealing[] = "persistent-cache-healing";
// Looks at a host without an answer after which it is away.
constexpr int kSilentMax = 2;
constexpr Clock::duration kLookTimeout = std::chrono::seconds(3);
constexpr Clock::duration kLookPause = std::chrono::seconds(1);
constexpr Clock::duration kDoubtPause = std::chrono::seconds(2);
// Looks at the hosts for one look at the tasks.
constexpr int kLooksAtHosts = 4;
// Hosts that are asked for their copies at once, and copies for which one question asks.
constexpr size_t kHostsAskedAtOnce = 16;
constexpr int kCopiesAskedMax = 4096;
constexpr Clock::duration kAskTimeout = std::chrono::seconds(15);

asio::awaitable<absl::StatusOr<ext::v1::FindMissingResponse>> FindMissing(rpc::ChannelPool& channels,
                                                                          std::string address,
                                                                          ext::v1::FindMissingRequest request) {
  const std::shared_ptr<ext::v1::PersistentCopies::Stub> stub =
      ext::v1::PersistentCopies::NewStub(channels.Get(address));
  const auto start = [stub](grpc::ClientContext* context, const ext::v1::FindMissingRequest* asked,
                            ext::v1::FindMissingResponse* answer, std::function<void(grpc::Status)> done) {
    stub->async()->FindMissing(context, asked, answer, std::move(done));
  };
  co_return co_await rpc::Unary<ext::v1::FindMissingResponse>(start, std::move(request), kAskTimeout);
}

}  // namespace

asio::awaitable<void> PersistentService::LookAtHost(std::string host_id, std::string address) {
  absl::Status seen = absl::UnavailableError("its address is not known");
  if (!address.empty()) seen = co_await rpc::CheckHealth(channels_.Get(address), kLookTimeout, kUploadService);
  const bool there = seen.ok() || absl::IsUnimplemented(seen) || absl::IsNotFound(seen);
  int& silent = silent_[host_id];
  silent = there ? 0 : std::min(silent + 1, kSilentMax);
  const bool away = silent >= kSilentMax;
  if (away && !away_.Contains(host_id)) {
    DF_LOG(Warn, "host {} is away: {}; its replicas are made elsewhere", host_id, MessageOf(seen));
  }
  away_.Set(host_id, away);
  if (there) silent_.erase(host_id);
}

asio::awaitable<std::map<std::string, std::string>> PersistentService::AddressesOf(std::set<std::string> host_ids) {
  // Of a host that has not announced itself here the store may know the address.
  std::map<std::string, std::string> addresses;
  std::vector<std::string> unknown;
  for (const std::string& id : host_ids) {
    if (const std::shared_ptr<Host> host = hosts_.Find(id)) {
      const auto facts = host->facts();
      addresses[id] = rpc::HostPort(facts->ip, facts->port);
    } else {
      addresses[id] = "";
      unknown.push_back(id);
    }
  }
  const std::function<absl::Status()> look_up = [&]() -> absl::Status {
    for (const std::string& id : unknown) {
      const auto host = store_->LoadHost(id);
      if (host.ok()) addresses[id] = rpc::HostPort(host->wire.ip(), host->wire.port());
    }
    return absl::OkStatus();
  };
  if (!unknown.empty() && !(co_await OnStore(look_up)).ok()) addresses.clear();
  co_return addresses;
}

asio::awaitable<void> PersistentService::LookAtHosts(std::set<std::string> host_ids) {
  const std::map<std::string, std::string> addresses = co_await AddressesOf(std::move(host_ids));
  const std::vector<std::pair<std::string, std::string>> asked(addresses.begin(), addresses.end());
  const auto look = [this, &asked](size_t index) { return LookAtHost(asked[index].first, asked[index].second); };
  co_await runtime::ForEach(asked.size(), asked.size(), look);
}

asio::awaitable<void> PersistentService::LookAtCopies(std::map<std::string, Copies> by_host) {
  std::set<std::string> host_ids;
  for (const auto& [host_id, copies] : by_host) host_ids.insert(host_id);
  const std::map<std::string, std::string> addresses = co_await AddressesOf(std::move(host_ids));
  std::vector<std::pair<std::string, Copies>> asked;  // by address
  for (auto& [host_id, copies] : by_host) {
    const auto address = addresses.find(host_id);
    const bool there = address != addresses.end() && !address->second.empty() && !silent_.contains(host_id);
    if (there) asked.emplace_back(address->second, std::move(copies));
  }
  const auto look = [this, &asked](size_t index) { return LookAtCopiesOf(asked[index].first, asked[index].second); };
  co_await runtime::ForEach(asked.size(), kHostsAskedAtOnce, look);
}

asio::awaitable<void> PersistentService::LookAtCopiesOf(std::string address, Copies copies) {
  // Tasks that the books have had a copy of since before the question: a copy is here before it is told of.
  for (auto next = copies.begin(); next != copies.end();) {
    ext::v1::FindMissingRequest request;
    for (; next != copies.end() && request.task_ids_size() < kCopiesAskedMax; ++next) request.add_task_ids(next->first);
    const auto missing = co_await FindMissing(channels_, address, std::move(request));
    if (!missing.ok()) {
      // The original has no such call.
      if (!absl::IsUnimplemented(missing.status())) {
        DF_LOG(Warn, "persistent cache: ask dfdaemon {} for its copies: {}", address, MessageOf(missing.status()));
      }
      co_return;
    }
    std::vector<std::string> lost;
    for (const std::string& task_id : missing->task_ids()) {
      if (const auto copy = copies.find(task_id); copy != copies.end()) lost.push_back(copy->second);
    }
    const std::function<absl::Status()> strike = [this, &lost] { return cache_.Strike(lost); };
    if (lost.empty()) continue;
    const absl::Status struck = co_await OnStore(strike);
    if (!struck.ok()) DF_LOG(Warn, "persistent cache: {}", MessageOf(struck));
  }
}

asio::awaitable<void> PersistentService::HealForever() {
  for (;;) {
    const TimePoint next = Clock::now() + options_.healing_interval;
    const uint64_t seen = wake_.version();
    std::vector<std::string> tasks;
    std::set<std::string> host_ids;
    std::map<std::string, Copies> copies;
    const std::function<absl::Status()> collect = [&]() -> absl::Status {
      const absl::Duration turn = absl::FromChrono(2 * options_.healing_interval) + absl::Seconds(5);
      DF_ASSIGN_OR_RETURN(const bool mine, store_->TakeTurn(kHealing, owner_, turn));
      if (!mine) return absl::OkStatus();
      DF_ASSIGN_OR_RETURN(const std::vector<PersistentTask> all, store_->ListTasks());
      for (const PersistentTask& task : all) {
        tasks.push_back(task.id);
        DF_ASSIGN_OR_RETURN(const std::vector<PersistentPeer> peers, store_->PeersOf(task.id));
        for (const PersistentPeer& peer : peers) {
          host_ids.insert(peer.host_id);
          if (peer.state == PersistentPeerState::kSucceeded) copies[peer.host_id][task.id] = peer.id;
        }
      }
      return absl::OkStatus();
    };
    const absl::Status collected = co_await OnStore(collect);
    if (!collected.ok()) DF_LOG(Warn, "persistent cache: {}", MessageOf(collected));
    if (!tasks.empty() && !has_tasks_.exchange(true) && !options_.share_hosts) {
      for (const std::shared_ptr<Host>& host : hosts_.List()) HostAnnounced(host->facts());
    }
    std::erase_if(silent_, [&](const auto& entry) { return !host_ids.contains(entry.first); });
    co_await LookAtHosts(host_ids);
    co_await LookAtCopies(std::move(copies));
    for (const std::string& task : tasks) co_await Heal(task);
    uint64_t below = 0;
    for (auto it = work_.begin(); it != work_.end();) {
      Work& work = it->second;
      std::erase_if(work.unfit, [](const auto& entry) { return entry.second <= Clock::now(); });
      const bool known = std::find(tasks.begin(), tasks.end(), it->first) != tasks.end();
      if (known && !work.importing && work.missing + work.in_flight.size() > 0) ++below;
      const bool idle = !work.planning && work.in_flight.empty() && work.unfit.empty();
      it = idle && !known ? work_.erase(it) : std::next(it);
    }
    probe_.SetBelow(below);
    // A host that has left is looked at soon, but not each of many by itself.
    co_await runtime::SleepUntil(std::min(next, Clock::now() + kLookPause));
    co_await WaitForNews(host_ids, seen, next);
  }
}

// Until `next`, or until a host that holds copies is away: they are asked several times between two looks at the tasks.
asio::awaitable<void> PersistentService::WaitForNews(const std::set<std::string>& host_ids, uint64_t seen,
                                                     TimePoint next) {
  const auto away = [this] {
    return std::count_if(silent_.begin(), silent_.end(), [](const auto& entry) { return entry.second >= kSilentMax; });
  };
  const auto in_doubt = [this] {
    return std::any_of(silent_.begin(), silent_.end(), [](const auto& entry) { return entry.second < kSilentMax; });
  };
  const auto away_before = away();
  while (Clock::now() < next) {
    // Who did not answer once is asked again at once.
    const Clock::duration pause = in_doubt() ? kDoubtPause : options_.healing_interval / kLooksAtHosts;
    if (co_await wake_.Wait(seen, std::min(next, Clock::now() + pause))) co_return;
    co_await LookAtHosts(host_ids);
    if (away() > away_before) co_return;
  }
}

}  // namespace dragonfly::scheduler
