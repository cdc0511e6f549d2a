// SPDX-License-Identifier: Apache-2.0
#include "scheduler/shard_runner.h"

#include <grpcpp/channel.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <chrono>
#include <utility>

#include "base/status.h"
#include "dfdaemon/v2/dfdaemon.grpc.pb.h"
#include "rpc/client_call.h"
#include "rpc/trace_metadata.h"
#include "runtime/process_usage.h"
#include "runtime/timeout.h"
#include "scheduler/wire.h"

namespace dragonfly::scheduler {
namespace asio = boost::asio;
namespace {

using dfdaemon::v2::DownloadTaskRequest;
using dfdaemon::v2::DownloadTaskResponse;

constexpr size_t kCollectedAtOnce = 2048;  // peers, less than a millisecond

// Asking for the thread's time takes as long as a short step: it is read now and then, so that a step may be charged
// with so much of what ran before it, and again after a long one.
constexpr Clock::duration kThreadTimeAge = std::chrono::microseconds(200);
constexpr Clock::duration kLongHold = std::chrono::milliseconds(1);

}  // namespace

ShardRunner::ShardRunner(asio::io_context& context, const ShardOptions& options, CollectionIntervals intervals,
                         HostTable& hosts, const Evaluator& evaluator, rpc::ChannelPool& seed_channels, Probe& probe)
    : context_(context),
      seed_idle_max_(options.piece_download_timeout),
      seed_channels_(seed_channels),
      probe_(probe),
      shard_(options, hosts, evaluator, *this),
      timer_(context),
      group_(context.get_executor()) {
  group_.Spawn(CollectForever(intervals));
}

ShardRunner::~ShardRunner() = default;

void ShardRunner::StartHold(TimePoint now) {
  if (now - thread_time_at_ < kThreadTimeAge) return;
  thread_time_ = runtime::ThreadTime();
  thread_time_at_ = now;
}

void ShardRunner::EndHold(TimePoint began) {
  const Clock::duration held = Clock::now() - began;
  // A short step is taken to have run all the time.
  const Clock::duration ran =
      held < kLongHold ? held : std::min<Clock::duration>(held, runtime::ThreadTime() - thread_time_);
  probe_.ShardHeld(held, ran);
}

void ShardRunner::Rearm(TimePoint now) {
  TimePoint due = shard_.NextDeadline();
  if (due <= now) {
    shard_.Tick(now);
    // When it is due again, messages that have come meanwhile go first.
    due = shard_.NextDeadline();
  }
  // A timer that rings too early costs less than setting it at every message.
  if (stopped_ || due >= armed_for_) return;
  armed_for_ = due;
  timer_.expires_at(due);
  timer_.async_wait([this](const boost::system::error_code& error) {
    if (error) return;
    armed_for_ = kNoDeadline;
    Do([](Shard&, TimePoint) {});
  });
}

asio::awaitable<void> ShardRunner::CollectForever(CollectionIntervals intervals) {
  TimePoint peers_at = Clock::now() + intervals.peers;
  TimePoint tasks_at = Clock::now() + intervals.tasks;
  for (;;) {
    co_await runtime::SleepUntil(std::min(peers_at, tasks_at));
    if (Clock::now() >= peers_at) {
      const auto step = [](Shard& shard, TimePoint now) { return shard.CollectPeers(now, kCollectedAtOnce); };
      while (!Do(step)) co_await asio::post(context_, asio::use_awaitable);
      peers_at = Clock::now() + intervals.peers;
    }
    if (Clock::now() >= tasks_at) {
      const auto step = [](Shard& shard, TimePoint) { return shard.CollectTasks(kCollectedAtOnce / 4); };
      while (!Do(step)) co_await asio::post(context_, asio::use_awaitable);
      tasks_at = Clock::now() + intervals.tasks;
    }
  }
}

asio::awaitable<void> ShardRunner::Stop() {
  co_await group_.Stop();
  const auto end = [](ShardRunner* self) -> asio::awaitable<void> {
    self->stopped_ = true;
    self->timer_.cancel();
    co_return;
  };
  co_await asio::co_spawn(context_, end(this), asio::use_awaitable);
  // The cancelled wait has run its handler when what was posted behind it runs.
  co_await asio::co_spawn(context_, asio::post(context_, asio::use_awaitable), asio::use_awaitable);
}

void ShardRunner::Launch(SeedRequest request) { group_.Spawn(RunSeed(std::move(request))); }

asio::awaitable<void> ShardRunner::RunSeed(SeedRequest request) {
  const std::string task_id = request.task_id;
  const uint64_t trigger_id = request.trigger_id;
  std::optional<Shard::SeedPeer> served_as;
  const absl::Status status = co_await Drain(std::move(request), &served_as);
  const auto end = [&](Shard& shard, TimePoint now) { shard.SeedEnded(task_id, trigger_id, status, served_as, now); };
  Do(end);
}

asio::awaitable<absl::Status> ShardRunner::Drain(SeedRequest request, std::optional<Shard::SeedPeer>* served_as) {
  DownloadTaskRequest message;
  *message.mutable_download() = ToSeedDownload(*request.download);
  const std::optional<RequestedRange> range = ToRange(*request.download);
  const std::string address = rpc::HostPort(request.seed->ip, request.seed->port);
  const auto stub = dfdaemon::v2::DfdaemonUpload::NewStub(seed_channels_.Get(address));
  const auto start = [&stub, &request](grpc::ClientContext* context, const DownloadTaskRequest* asked,
                                       grpc::ClientReadReactor<DownloadTaskResponse>* reactor) {
    rpc::SendTrace(request.trace, context);
    stub->async()->DownloadTask(context, asked, reactor);
  };
  const auto stream = rpc::StartServerStream<DownloadTaskResponse>(start, std::move(message));
  for (;;) {
    auto answer = co_await stream->Read(Clock::now() + seed_idle_max_);
    if (!answer.ok()) {
      if (absl::IsUnavailable(answer.status())) seed_channels_.Drop(address);
      co_return Annotate(answer.status(), address);
    }
    if (!answer->has_value()) co_return absl::OkStatus();
    const DownloadTaskResponse& news = **answer;
    std::optional<uint64_t> content_length;
    if (news.has_download_task_started_response()) {
      // 0 may mean that the seed does not know yet.
      content_length = ToLength(news.download_task_started_response().content_length());
      if (content_length == uint64_t{0}) content_length.reset();
      if (!news.peer_id().empty() && news.peer_id().size() <= kNameIdLengthMax) {
        *served_as = Shard::SeedPeer{news.peer_id(), range};
      }
    }
    const auto tell = [&](Shard& shard, TimePoint now) {
      shard.SeedProgress(request.task_id, request.trigger_id, content_length, now);
    };
    Do(tell);
  }
}

}  // namespace dragonfly::scheduler
