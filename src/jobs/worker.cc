// SPDX-License-Identifier: Apache-2.0
#include "jobs/worker.h"

#include <algorithm>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/system/system_error.hpp>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "base/status.h"
#include "base/text.h"
#include "runtime/signal.h"
#include "runtime/timeout.h"
#include "telemetry/log.h"

namespace dragonfly::jobs {
namespace asio = boost::asio;
namespace {

constexpr std::chrono::seconds kTakeWait{30};
constexpr std::chrono::seconds kPauseAfterError{1};
constexpr std::chrono::seconds kRetryMax{60};

// What may be otherwise in a moment.
bool IsAway(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status) || absl::IsResourceExhausted(status);
}

}  // namespace

struct Worker::State {
  State(asio::io_context& io, Broker& b, WorkerOptions o)
      : broker(b), options(std::move(o)), group(io.get_executor()), jobs(io.get_executor()) {}

  // What runs, by the task's uuid. Its own group each, so that one can be cancelled alone.
  struct Running {
    explicit Running(const asio::any_io_executor& executor) : group(executor) {}
    runtime::TaskGroup group;
    runtime::Signal ended;
    bool over = false;
  };

  asio::awaitable<void> Serve(std::string queue) {
    bool restored = false;
    for (;;) {
      if (!restored) {
        const absl::Status status = co_await broker.Restore(queue, options.name);
        Note(status, queue);
        restored = status.ok();
      }
      for (;;) {
        const uint64_t seen = freed.version();
        if (active < options.at_once) break;
        co_await freed.Wait(seen);
      }
      auto taken = co_await broker.Take(queue, options.name, Clock::now() + kTakeWait);
      Note(taken.status(), queue);
      if (!taken.ok()) {
        co_await runtime::SleepUntil(Clock::now() + kPauseAfterError);
        continue;
      }
      if (!taken->has_value()) continue;
      ++active;
      jobs.Spawn(Do(**std::move(taken)));
    }
  }

  asio::awaitable<void> ListenForCancelled(std::string queue) {
    for (;;) {
      auto uuid = co_await broker.TakeCancelled(queue, Clock::now() + kTakeWait);
      if (!uuid.ok()) {
        co_await runtime::SleepUntil(Clock::now() + kPauseAfterError);
        continue;
      }
      if (!uuid->has_value()) continue;
      const auto found = running.find(**uuid);
      if (found != running.end()) found->second->group.Cancel();
    }
  }

  asio::awaitable<void> Do(Taken taken) {
    const std::shared_ptr<void> done(nullptr, [this](void*) {
      --active;
      freed.Notify();
    });
    const Message& message = taken.message;
    auto claimed = co_await broker.Claim(message);
    while (IsAway(claimed.status())) {
      Note(claimed.status(), message.queue);
      co_await runtime::SleepUntil(Clock::now() + kPauseAfterError);
      claimed = co_await broker.Claim(message);
    }
    if (!claimed.ok()) {
      // It stays among what was taken, and is looked at again after the next start.
      DF_LOG(Warn, "job {} {}: {}", message.name, message.uuid, MessageOf(claimed.status()));
      co_return;
    }
    if (*claimed && !running.contains(message.uuid)) co_await RunClaimed(message);
    const absl::Status finished = co_await Insist(message.queue, [&] { return broker.Finish(taken, options.name); });
    if (!finished.ok()) DF_LOG(Warn, "job {} {}: {}", message.name, message.uuid, MessageOf(finished));
  }

  // Tells the broker until it hears: else the job would be waited for in vain, or done again after the next start.
  template <typename Tell>
  asio::awaitable<absl::Status> Insist(const std::string& queue, Tell tell) {
    for (;;) {
      absl::Status status = co_await tell();
      Note(status, queue);
      if (!IsAway(status)) co_return status;
      co_await runtime::SleepUntil(Clock::now() + kPauseAfterError);
    }
  }

  asio::awaitable<void> RunClaimed(const Message& message) {
    const auto handler = options.handlers.find(message.name);
    absl::StatusOr<std::string> result =
        absl::UnimplementedError(StrCat("job ", Quoted(message.name), " is not known to this scheduler"));
    if (handler != options.handlers.end()) {
      DF_LOG(Info, "job {} {}: begins", message.name, message.uuid);
      for (int attempt = 0;; ++attempt) {
        (void)co_await broker.Report(message, jobs::State::kStarted, std::nullopt, "");
        result = co_await RunAlone(message.uuid, handler->second, message.argument.value_or(""));
        if (result.ok() || absl::IsCancelled(result.status()) || attempt >= message.retries) break;
        (void)co_await broker.Report(message, jobs::State::kRetry, std::nullopt,
                                     std::string(MessageOf(result.status())));
        const auto pause = std::min<std::chrono::seconds>(std::chrono::seconds(1LL << std::min(attempt, 6)), kRetryMax);
        co_await runtime::SleepUntil(Clock::now() + pause);
      }
    }
    if (result.ok() && result->size() > jobs::kResultMax) {
      result = absl::ResourceExhaustedError(
          StrCat("the result of ", message.name, " has ", result->size(), " bytes, more than ", jobs::kResultMax));
    }
    if (result.ok()) {
      DF_LOG(Info, "job {} {}: done", message.name, message.uuid);
      (void)co_await Insist(message.queue, [&] { return broker.Report(message, jobs::State::kSuccess, *result, ""); });
    } else {
      DF_LOG(Warn, "job {} {}: {}", message.name, message.uuid, MessageOf(result.status()));
      const std::string error(MessageOf(result.status()));
      (void)co_await Insist(message.queue,
                            [&] { return broker.Report(message, jobs::State::kFailure, std::nullopt, error); });
    }
  }

  static asio::awaitable<void> RunInto(const Handler& handler, std::string argument,
                                       absl::StatusOr<std::string>& result, std::shared_ptr<Running> own) {
    const std::shared_ptr<void> ended(nullptr, [own](void*) {
      own->over = true;
      own->ended.Notify();
    });
    result = co_await handler(std::move(argument));
  }

  asio::awaitable<absl::StatusOr<std::string>> RunAlone(std::string uuid, const Handler& handler,
                                                        std::string argument) {
    const auto own = std::make_shared<Running>(co_await asio::this_coro::executor);
    running[uuid] = own;
    const std::shared_ptr<void> gone(nullptr, [this, uuid](void*) { running.erase(uuid); });
    absl::StatusOr<std::string> result = absl::CancelledError("the job was cancelled");
    own->group.Spawn(RunInto(handler, std::move(argument), result, own));
    bool stopped = false;
    try {
      for (;;) {
        const uint64_t seen = own->ended.version();
        if (own->over) break;
        co_await own->ended.Wait(seen);
      }
    } catch (const boost::system::system_error&) {
      stopped = true;
    }
    if (stopped) co_await asio::this_coro::throw_if_cancelled(false);
    co_await own->group.Stop();
    if (stopped) throw boost::system::system_error(asio::error::operation_aborted);
    co_return result;
  }

  void Note(const absl::Status& status, const std::string& queue) {
    const absl::MutexLock lock(&mutex);
    // Once, however long it lasts.
    if (!status.ok() && last.ok()) DF_LOG(Warn, "queue {}: {}", queue, MessageOf(status));
    if (status.ok() && !last.ok()) DF_LOG(Info, "queue {}: jobs are taken again", queue);
    last = status;
  }

  Broker& broker;
  const WorkerOptions options;
  std::map<std::string, std::shared_ptr<Running>> running;
  size_t active = 0;  // coroutines of Do()
  runtime::Signal freed;
  runtime::TaskGroup group;  // what takes
  runtime::TaskGroup jobs;   // what does
  mutable absl::Mutex mutex;
  absl::Status last ABSL_GUARDED_BY(mutex);
};

Worker::Worker(asio::io_context& io, Broker& broker, WorkerOptions options)
    : state_(std::make_unique<State>(io, broker, std::move(options))) {}
Worker::~Worker() = default;

void Worker::Start() {
  for (const std::string& queue : state_->options.queues) {
    state_->group.Spawn(state_->Serve(queue));
    state_->group.Spawn(state_->ListenForCancelled(queue));
  }
}

asio::awaitable<void> Worker::Stop() {
  co_await state_->group.Stop();
  co_await state_->jobs.Stop();
}

absl::Status Worker::state() const {
  const absl::MutexLock lock(&state_->mutex);
  return state_->last;
}

}  // namespace dragonfly::jobs
