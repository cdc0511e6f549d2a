// SPDX-License-Identifier: Apache-2.0
// Gives a shard a thread, a clock and calls to seeds.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <memory>
#include <utility>

#include "rpc/channel.h"
#include "runtime/task_group.h"
#include "scheduler/probe.h"
#include "scheduler/shard.h"

namespace dragonfly::scheduler {

// How often garbage is collected.
struct CollectionIntervals {
  Clock::duration peers;
  Clock::duration tasks;
};

// Thread rule: everything on the thread of `context`, unless said otherwise.
class ShardRunner final : private SeedLauncher {
 public:
  // All references must outlive the runner. Any thread.
  ShardRunner(boost::asio::io_context& context, const ShardOptions& options, CollectionIntervals intervals,
              HostTable& hosts, const Evaluator& evaluator, rpc::ChannelPool& seed_channels, Probe& probe);
  // Stop() must have completed.
  ~ShardRunner();

  boost::asio::io_context& context() { return context_; }
  // For the coroutines of calls; ended by Stop().
  runtime::TaskGroup& group() { return group_; }

  // Runs `use(shard, now)` and then whatever has become due.
  template <typename Use>
  auto Do(Use use) {
    Settled settled(*this);
    return use(shard_, settled.now);
  }
  // The same from any thread, later.
  template <typename Use>
  void Post(Use use) {
    boost::asio::post(context_, [this, use = std::move(use)]() mutable { Do(std::move(use)); });
  }

  // Ends timers, calls to seeds and everything in group(). May be awaited from any executor.
  boost::asio::awaitable<void> Stop();

 private:
  // Arms the timer anew when the scope of a Do() ends.
  struct Settled {
    explicit Settled(ShardRunner& runner) : runner(runner), now(Clock::now()) { runner.StartHold(now); }
    ~Settled() {
      runner.Rearm(now);
      runner.EndHold(now);
    }
    ShardRunner& runner;
    const TimePoint now;
  };

  void Launch(SeedRequest request) override;
  boost::asio::awaitable<void> RunSeed(SeedRequest request);
  boost::asio::awaitable<absl::Status> Drain(SeedRequest request, std::optional<Shard::SeedPeer>* served_as);
  void Rearm(TimePoint now);
  void StartHold(TimePoint now);
  void EndHold(TimePoint began);
  boost::asio::awaitable<void> CollectForever(CollectionIntervals intervals);

  boost::asio::io_context& context_;
  const Clock::duration seed_idle_max_;
  rpc::ChannelPool& seed_channels_;
  Probe& probe_;
  Shard shard_;
  boost::asio::steady_timer timer_;
  TimePoint armed_for_ = kNoDeadline;
  bool stopped_ = false;
  Clock::duration thread_time_{0};  // as it was lately
  TimePoint thread_time_at_{};      // when it was read
  runtime::TaskGroup group_;
};

}  // namespace dragonfly::scheduler
