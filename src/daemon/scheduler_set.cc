// SPDX-License-Identifier: Apache-2.0
#include "daemon/scheduler_set.h"

#include <arpa/inet.h>
#include <grpcpp/channel.h>
#include <netdb.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_join.h"
#include "absl/synchronization/mutex.h"
#include "base/hash_ring.h"
#include "base/host_port.h"
#include "base/status.h"
#include "base/text.h"
#include "rpc/capability.h"
#include "rpc/connection_watch.h"
#include "rpc/health_check.h"
#include "rpc/tls_diagnosis.h"
#include "runtime/task_group.h"
#include "runtime/timeout.h"
#include "telemetry/log.h"

namespace dragonfly::daemon {
namespace asio = boost::asio;
namespace {

// Checks follow each other at least this far apart, however many calls fail meanwhile. A scheduler that has just been
// lost is looked for again after this time, and then at intervals that double up to `retry_interval`.
constexpr auto kCheckPause = std::chrono::milliseconds(50);

// How long is looked for the reason why a scheduler cannot be asked.
constexpr auto kDiagnosisTimeout = std::chrono::milliseconds(500);

struct Endpoint {
  std::string ip;
  uint16_t port = 0;
  bool ipv6 = false;
  std::string bytes;  // network order
  bool operator<(const Endpoint& other) const {
    return std::tie(ipv6, bytes, port) < std::tie(other.ipv6, other.bytes, other.port);
  }
  std::string Address() const { return rpc::HostPort(ip, port); }
};

Endpoint FromSockaddr(const sockaddr* address, uint16_t port) {
  Endpoint endpoint;
  endpoint.port = port;
  endpoint.ipv6 = address->sa_family == AF_INET6;
  const void* bytes = endpoint.ipv6
                          ? static_cast<const void*>(&reinterpret_cast<const sockaddr_in6*>(address)->sin6_addr)
                          : &reinterpret_cast<const sockaddr_in*>(address)->sin_addr;
  endpoint.bytes.assign(static_cast<const char*>(bytes), endpoint.ipv6 ? sizeof(in6_addr) : sizeof(in_addr));
  char text[INET6_ADDRSTRLEN] = {};
  inet_ntop(address->sa_family, bytes, text, sizeof(text));
  endpoint.ip = text;
  return endpoint;
}

// All addresses of `host`, of IPv4 when it has some. With `numeric` only for literals, which takes no time.
absl::StatusOr<std::vector<Endpoint>> Resolve(const std::string& host, uint16_t port, bool numeric) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = numeric ? AI_NUMERICHOST : 0;
  addrinfo* head = nullptr;
  const int error = getaddrinfo(host.c_str(), nullptr, &hints, &head);
  if (error != 0) return absl::UnavailableError(StrCat("resolve ", host, ": ", gai_strerror(error)));
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(head, &freeaddrinfo);
  std::set<Endpoint> found;
  for (const addrinfo* at = head; at != nullptr; at = at->ai_next) {
    if (at->ai_family == AF_INET || at->ai_family == AF_INET6) found.insert(FromSockaddr(at->ai_addr, port));
  }
  // Sorted with IPv4 before IPv6, so the first tells which family is kept.
  std::vector<Endpoint> kept;
  for (const Endpoint& endpoint : found) {
    if (endpoint.ipv6 == found.begin()->ipv6) kept.push_back(endpoint);
  }
  if (kept.empty()) return absl::UnavailableError(StrCat("resolve ", host, ": no address"));
  return kept;
}

}  // namespace

struct SchedulerSet::State {
  State(SchedulerSetOptions opts, asio::io_context& io, Dynconfig& source, rpc::ChannelPool& pool,
        runtime::BlockingPool& workers)
      : options(std::move(opts)), dynconfig(source), channels(pool), blocking(workers), tasks(io.get_executor()) {}
  ~State();

  // One check; shared with the coroutines that probe one address each.
  struct Round {
    bool all = true;  // else those that serve and are connected are left alone
    std::vector<Endpoint> endpoints;
    std::vector<absl::Status> results;
    size_t running = 0;
    runtime::Signal done;
  };
  // Healthy schedulers and their ring, in the same order.
  struct View {
    std::vector<Member> members;
    SchedulerRing ring;
    bool all_take_unknown_length = true;
  };

  asio::awaitable<void> Run();
  asio::awaitable<bool> Check(bool all);
  asio::awaitable<void> Follow(runtime::Signal changes, uint64_t seen);
  asio::awaitable<absl::Status> Explain(std::string address, absl::Status failure);
  asio::awaitable<std::vector<Endpoint>> FindEndpoints();
  asio::awaitable<void> Probe(std::shared_ptr<Round> round, size_t index);
  bool Publish(const Round& round);
  bool Missing() const;
  // The channel to an address, followed from the first time on.
  struct Link {
    std::shared_ptr<grpc::Channel> channel;
    rpc::ConnectionLosses losses;
  };
  Link LinkTo(const std::string& address);

  const SchedulerSetOptions options;
  Dynconfig& dynconfig;
  rpc::ChannelPool& channels;
  runtime::BlockingPool& blocking;
  runtime::TaskGroup tasks;
  runtime::Signal wake;              // Suspect(), news of the dynamic configuration, a lost connection
  std::atomic<bool> ask_all = true;  // the next check asks those, too, whose connection stands
  runtime::Signal checked;           // a check has ended
  runtime::Signal changed;

  // Of the loop alone.
  std::map<std::string, std::vector<Endpoint>> resolved;  // by "host:port": what a name last resolved to
  std::map<std::string, uint64_t> connections;            // by address
  std::map<std::string, uint64_t> losses_seen;            // by address: before the check that it last passed
  std::map<std::string, bool> takes_unknown_length;       // by address, once it was asked

  mutable absl::Mutex mutex;
  std::shared_ptr<const View> view ABSL_GUARDED_BY(mutex) = std::make_shared<View>();
  rpc::ConnectionWatch watch;
  std::map<std::string, Link> kept ABSL_GUARDED_BY(mutex);
  std::map<std::string, absl::Status> last_result ABSL_GUARDED_BY(mutex);  // by address
  bool missing ABSL_GUARDED_BY(mutex) = false;                             // one does not serve
};

// Without its channels the watch ends at once.
SchedulerSet::State::~State() {
  const absl::MutexLock lock(&mutex);
  for (const auto& entry : kept) channels.Drop(entry.first);
  kept.clear();
}

SchedulerSet::State::Link SchedulerSet::State::LinkTo(const std::string& address) {
  const absl::MutexLock lock(&mutex);
  Link& link = kept[address];
  if (link.channel == nullptr) {
    link.channel = channels.Get(address);
    link.losses = watch.Follow(link.channel, wake);
  }
  return link;
}

asio::awaitable<std::vector<Endpoint>> SchedulerSet::State::FindEndpoints() {
  std::set<Endpoint> all;
  const std::shared_ptr<const DynconfigData> data = dynconfig.data();
  for (const std::string& addr : data->scheduler_addrs) {
    const auto parts = SplitHostPort(addr);
    if (!parts.ok()) continue;  // refused when the configuration was read
    const std::string host = parts->first;
    const uint16_t port = parts->second;
    auto found = Resolve(host, port, /*numeric=*/true);
    if (!found.ok()) {
      const std::function<absl::StatusOr<std::vector<Endpoint>>()> job = [host, port] {
        return Resolve(host, port, /*numeric=*/false);
      };
      found = co_await blocking.Run<std::vector<Endpoint>>(job);
    }
    auto& last = resolved[addr];
    if (found.ok()) {
      last = *std::move(found);
    } else if (last.empty()) {
      DF_LOG(Warn, "scheduler {}: {}", addr, MessageOf(found.status()));
    }
    all.insert(last.begin(), last.end());
  }
  std::erase_if(resolved, [&](const auto& entry) {
    return std::find(data->scheduler_addrs.begin(), data->scheduler_addrs.end(), entry.first) ==
           data->scheduler_addrs.end();
  });
  co_return std::vector<Endpoint>(all.begin(), all.end());
}

// Puts what a look at the connection itself shows in the place of gRPC's own words.
asio::awaitable<absl::Status> SchedulerSet::State::Explain(std::string address, absl::Status failure) {
  const std::function<absl::Status()> look = [this, address] {
    return rpc::DiagnoseTls(address, options.tls, kDiagnosisTimeout);
  };
  const absl::Status found = co_await blocking.Run(look);
  if (found.ok() || absl::IsResourceExhausted(found)) co_return failure;
  co_return found;
}

asio::awaitable<void> SchedulerSet::State::Probe(std::shared_ptr<Round> round, size_t index) {
  const std::string address = round->endpoints[index].Address();
  const Link link = LinkTo(address);
  const uint64_t losses = *link.losses;
  const auto seen = losses_seen.find(address);
  const bool connected = seen != losses_seen.end() && seen->second == losses;
  std::optional<absl::Status> before;
  {
    const absl::MutexLock lock(&mutex);
    if (const auto found = last_result.find(address); found != last_result.end()) before = found->second;
  }
  const bool served = before && before->ok();
  absl::Status& result = round->results[index];
  if (round->all || !served || !connected) {
    result = co_await rpc::CheckHealth(link.channel, options.probe_timeout);
    if (result.ok()) {
      if (!connected) ++connections[address];
      losses_seen[address] = losses;
      if (!connected || !takes_unknown_length.contains(address)) {
        const absl::Status capable =
            co_await rpc::CheckHealth(link.channel, options.probe_timeout, rpc::kUnknownLengthCapability);
        takes_unknown_length[address] = capable.ok();
      }
    } else if (before && !served && !round->all) {
      result = *before;  // explained when it began, and at every check of all
    } else if (absl::IsUnavailable(result) || absl::IsDeadlineExceeded(result)) {
      result = co_await Explain(address, result);
    }
  }
  if (--round->running == 0) round->done.Notify();
}

// Returns whether members() has changed.
asio::awaitable<bool> SchedulerSet::State::Check(bool all) {
  const telemetry::Span span =
      options.trace.Start(all ? "refresh_available_scheduler_addrs" : "update_available_scheduler_addrs");
  const auto round = std::make_shared<Round>();
  round->all = all;
  round->endpoints = co_await FindEndpoints();
  round->results.resize(round->endpoints.size());
  round->running = round->endpoints.size();
  for (size_t i = 0; i < round->endpoints.size(); ++i) tasks.Spawn(Probe(round, i));
  for (;;) {
    const uint64_t seen = round->done.version();
    if (round->running == 0) break;
    co_await round->done.Wait(seen);
  }
  co_return Publish(*round);
}

bool SchedulerSet::State::Publish(const Round& round) {
  auto next = std::make_shared<View>();
  std::map<std::string, absl::Status> results;
  for (size_t i = 0; i < round.endpoints.size(); ++i) {
    const Endpoint& endpoint = round.endpoints[i];
    const std::string address = endpoint.Address();
    results.emplace(address, round.results[i]);
    if (!round.results[i].ok() || !next->ring.Add(endpoint.ip, endpoint.port).ok()) continue;
    Member member;
    member.address = address;
    member.connection = connections[address];
    next->members.push_back(std::move(member));
    next->all_take_unknown_length = next->all_take_unknown_length && takes_unknown_length[address];
  }
  const auto same = [](const Member& a, const Member& b) {
    return a.address == b.address && a.connection == b.connection;
  };
  std::erase_if(losses_seen, [&](const auto& entry) { return !results.contains(entry.first); });
  bool different;
  const bool none = next->members.empty();
  std::map<std::string, absl::Status> before;
  {
    const absl::MutexLock lock(&mutex);
    different =
        !std::equal(view->members.begin(), view->members.end(), next->members.begin(), next->members.end(), same);
    missing = none || next->members.size() < round.endpoints.size();
    view = std::move(next);
    before = std::exchange(last_result, results);
    // A name that moved on leaves its old addresses behind.
    std::erase_if(kept, [&](const auto& entry) { return !results.contains(entry.first); });
  }
  for (const auto& [address, result] : results) {
    const auto known = before.find(address);
    if (known != before.end() && known->second.ok() == result.ok()) continue;
    if (result.ok()) {
      DF_LOG(Info, "scheduler {} serves", address);
    } else {
      DF_LOG(Warn, "scheduler {} does not serve: {}", address, MessageOf(result));
    }
  }
  if (different) changed.Notify();
  if (none && !round.endpoints.empty()) dynconfig.Suspect();
  return different;
}

// Whether a scheduler does not serve.
bool SchedulerSet::State::Missing() const {
  const absl::MutexLock lock(&mutex);
  return missing;
}

asio::awaitable<void> SchedulerSet::State::Follow(runtime::Signal changes, uint64_t seen) {
  for (;;) {
    co_await changes.Wait(seen);
    seen = changes.version();
    ask_all = true;
    wake.Notify();
  }
}

asio::awaitable<void> SchedulerSet::State::Run() {
  co_await dynconfig.WaitForFirstTry();
  const runtime::Signal changes = dynconfig.changes();
  tasks.Spawn(Follow(changes, changes.version()));
  TimePoint refresh_at;
  Clock::duration retry = kCheckPause;
  for (;;) {
    const uint64_t seen = wake.version();
    const bool all = ask_all.exchange(false) || Clock::now() >= refresh_at;
    const bool different = co_await Check(all);
    checked.Notify();
    const TimePoint checked_at = Clock::now();
    if (all) refresh_at = checked_at + options.refresh_interval;
    retry = std::min(different ? kCheckPause : 2 * retry, options.retry_interval);
    co_await wake.Wait(seen, Missing() ? std::min(refresh_at, checked_at + retry) : refresh_at);
    co_await runtime::SleepUntil(checked_at + kCheckPause);
  }
}

SchedulerSet::SchedulerSet(SchedulerSetOptions options, asio::io_context& io, Dynconfig& dynconfig,
                           rpc::ChannelPool& channels, runtime::BlockingPool& blocking)
    : state_(std::make_shared<State>(std::move(options), io, dynconfig, channels, blocking)) {}

SchedulerSet::~SchedulerSet() = default;

void SchedulerSet::Start() { state_->tasks.Spawn(state_->Run()); }

asio::awaitable<bool> SchedulerSet::WaitForFirstCheck(TimePoint deadline) {
  const std::shared_ptr<State> state = state_;
  if (state->checked.version() == 0) co_await state->checked.Wait(0, deadline);
  const absl::MutexLock lock(&state->mutex);
  co_return !state->view->members.empty();
}

asio::awaitable<void> SchedulerSet::Stop() {
  const std::shared_ptr<State> state = state_;
  co_await state->tasks.Stop();
}

std::vector<SchedulerSet::Member> SchedulerSet::members() const {
  const absl::MutexLock lock(&state_->mutex);
  return state_->view->members;
}

std::vector<std::pair<std::string, absl::Status>> SchedulerSet::checks() const {
  const absl::MutexLock lock(&state_->mutex);
  return {state_->last_result.begin(), state_->last_result.end()};
}

runtime::Signal SchedulerSet::changes() const { return state_->changed; }

std::vector<std::string> SchedulerSet::OrderFor(const TaskId& task) const {
  std::shared_ptr<const State::View> view;
  {
    const absl::MutexLock lock(&state_->mutex);
    view = state_->view;
  }
  std::vector<std::string> order;
  for (const size_t index : view->ring.Order(task.str())) order.push_back(view->members[index].address);
  return order;
}

bool SchedulerSet::TakeUnknownLength() const {
  const absl::MutexLock lock(&state_->mutex);
  return state_->view->all_take_unknown_length;
}

void SchedulerSet::Suspect(const std::string& address) {
  DF_LOG(Debug, "scheduler {} is checked again", address);
  state_->ask_all = true;
  state_->wake.Notify();
}

std::shared_ptr<grpc::Channel> SchedulerSet::ChannelTo(const std::string& address) {
  return state_->LinkTo(address).channel;
}

}  // namespace dragonfly::daemon
