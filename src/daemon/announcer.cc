// SPDX-License-Identifier: Apache-2.0
#include "daemon/announcer.h"

#include <google/protobuf/empty.pb.h>
#include <grpcpp/channel.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <utility>

#include "absl/time/time.h"
#include "base/status.h"
#include "base/text.h"
#include "rpc/client_call.h"
#include "runtime/signal.h"
#include "runtime/task_group.h"
#include "scheduler/v2/scheduler.grpc.pb.h"
#include "telemetry/log.h"

namespace dragonfly::daemon {
namespace asio = boost::asio;

struct Announcer::State {
  State(AnnouncerOptions opts, asio::io_context& io, SchedulerSet& set, HostInfo& info)
      : options(opts), schedulers(set), host(info), tasks(io.get_executor()) {}

  asio::awaitable<void> Run();
  asio::awaitable<void> Announce(SchedulerSet::Member member);
  asio::awaitable<absl::Status> AnnounceTo(std::string address);
  TimePoint SpawnDue();

  // When a scheduler is told next; of the loop's thread alone.
  struct Told {
    uint64_t connection = 0;
    TimePoint next;
    bool running = false;
  };

  const AnnouncerOptions options;
  SchedulerSet& schedulers;
  HostInfo& host;
  runtime::TaskGroup tasks;
  std::atomic<Clock::duration> last_known{Clock::duration::zero()};  // of the clock; 0: never
  runtime::Signal known;                                             // an announcement was taken
  runtime::Signal ended;                                             // an announcement has ended, well or not
  std::map<std::string, Told> told;                                  // by address
};

asio::awaitable<absl::Status> Announcer::State::AnnounceTo(std::string address) {
  using scheduler::v2::AnnounceHostRequest;
  AnnounceHostRequest request;
  telemetry::Span span = options.trace.Start("make_announce_host_request");
  host.Fill(*request.mutable_host());
  request.mutable_interval()->set_seconds(absl::ToInt64Seconds(options.interval));
  span.End();
  const std::shared_ptr<scheduler::v2::Scheduler::Stub> stub =
      scheduler::v2::Scheduler::NewStub(schedulers.ChannelTo(address));
  const auto start = [stub](grpc::ClientContext* context, const AnnounceHostRequest* asked,
                            google::protobuf::Empty* answer, std::function<void(grpc::Status)> done) {
    stub->async()->AnnounceHost(context, asked, answer, std::move(done));
  };
  auto answer = co_await rpc::Unary<google::protobuf::Empty>(start, std::move(request), options.call_timeout);
  if (absl::IsUnavailable(answer.status())) schedulers.Suspect(address);
  if (answer.ok()) {
    last_known = Clock::now().time_since_epoch();
    known.Notify();
  }
  co_return answer.status();
}

asio::awaitable<void> Announcer::State::Announce(SchedulerSet::Member member) {
  const absl::Status status = co_await AnnounceTo(member.address);
  if (status.ok()) {
    DF_LOG(Debug, "announced to scheduler {}", member.address);
  } else {
    DF_LOG(Warn, "announce to scheduler {}: {}", member.address, MessageOf(status));
  }
  Told& entry = told[member.address];
  entry.running = false;
  entry.connection = member.connection;
  const Clock::duration pause = status.ok() ? absl::ToChronoNanoseconds(options.interval) : options.retry_interval;
  entry.next = Clock::now() + pause;
  ended.Notify();
}

// Starts what is due and returns when to look again.
TimePoint Announcer::State::SpawnDue() {
  const std::vector<SchedulerSet::Member> members = schedulers.members();
  const auto gone = [&](const auto& entry) {
    return !entry.second.running &&
           std::none_of(members.begin(), members.end(),
                        [&](const SchedulerSet::Member& member) { return member.address == entry.first; });
  };
  std::erase_if(told, gone);
  TimePoint look_at = kNoDeadline;
  const TimePoint now = Clock::now();
  for (const SchedulerSet::Member& member : members) {
    const auto [entry, is_new] = told.try_emplace(member.address);
    Told& state = entry->second;
    if (state.running) continue;
    if (is_new || state.connection != member.connection || state.next <= now) {
      state.running = true;
      tasks.Spawn(Announce(member));
    } else {
      look_at = std::min(look_at, state.next);
    }
  }
  return look_at;
}

asio::awaitable<void> Announcer::State::Run() {
  // Two signals wake the loop: a scheduler came or went, or an announcement ended and set its next time.
  const runtime::Signal changes = schedulers.changes();
  const auto relay = [](runtime::Signal from, runtime::Signal to) -> asio::awaitable<void> {
    for (;;) {
      const uint64_t seen = from.version();
      to.Notify();
      co_await from.Wait(seen);
    }
  };
  tasks.Spawn(relay(changes, ended));
  for (;;) {
    const uint64_t seen = ended.version();
    const TimePoint look_at = SpawnDue();
    co_await ended.Wait(seen, look_at);
  }
}

Announcer::Announcer(AnnouncerOptions options, asio::io_context& io, SchedulerSet& schedulers, HostInfo& host)
    : state_(std::make_shared<State>(options, io, schedulers, host)) {}

Announcer::~Announcer() = default;

void Announcer::Start() { state_->tasks.Spawn(state_->Run()); }

asio::awaitable<bool> Announcer::WaitUntilKnown(TimePoint deadline) {
  const std::shared_ptr<State> state = state_;
  if (state->known.version() > 0) co_return true;
  co_return co_await state->known.Wait(0, deadline);
}

std::optional<TimePoint> Announcer::last_known() const {
  const Clock::duration last = state_->last_known;
  if (last == Clock::duration::zero()) return std::nullopt;
  return TimePoint(last);
}

asio::awaitable<absl::Status> Announcer::AnnounceTo(std::string address) {
  const std::shared_ptr<State> state = state_;
  co_return co_await state->AnnounceTo(std::move(address));
}

asio::awaitable<void> Announcer::Stop() {
  const std::shared_ptr<State> state = state_;
  co_await state->tasks.Stop();
}

}  // namespace dragonfly::daemon
