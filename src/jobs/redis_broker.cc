// SPDX-License-Identifier: Apache-2.0
#include "jobs/redis_broker.h"

#include <algorithm>
#include <boost/asio/this_coro.hpp>
#include <map>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "base/status.h"
#include "base/text.h"
#include "redis/client.h"
#include "runtime/blocking_pool.h"
#include "runtime/signal.h"
#include "runtime/timeout.h"
#include "telemetry/log.h"

namespace dragonfly::jobs {
namespace asio = boost::asio;
namespace {

using redis::Command;
using redis::Reply;

constexpr char kKept[] = "86400";  // seconds, of groups and states
constexpr char kListKept[] = "3600";
// A wait in the server: short, so that a stop is not held up by it.
constexpr char kBlockSeconds[] = "1";
constexpr size_t kBatch = 500;
constexpr std::chrono::milliseconds kLookMin{100};
constexpr std::chrono::milliseconds kLookMax{5'000};
constexpr std::chrono::seconds kPauseAfterError{1};

// The braces make a node of a cluster that has the queue have its other lists as well.
std::string TakenList(const std::string& queue, const std::string& worker) {
  return StrCat("dragonfly_taken_{", queue, "}_", worker);
}
std::string CancelledList(const std::string& queue) { return StrCat("dragonfly_cancelled_{", queue, "}"); }

// KEYS[1]: a task's state. Sets it to ARGV[2] when it is as it was read, ARGV[1].
const redis::Script& ReplaceScript() {
  static const redis::Script script(
      "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('SET', KEYS[1], ARGV[2], 'EX', 86400) return 1 end "
      "return 0");
  return script;
}

}  // namespace

struct RedisBroker::State {
  State(const RedisBrokerOptions& options, std::unique_ptr<redis::Client> for_queues,
        std::unique_ptr<redis::Client> for_states)
      : queues(std::move(for_queues)),
        states(std::move(for_states)),
        commands(options.threads, 10'000),
        waits(options.waiting + 1, 64),
        done_list(StrCat("dragonfly_done_", MakeGroupUuid().substr(6))) {}

  template <typename T>
  asio::awaitable<absl::StatusOr<T>> Do(std::function<absl::StatusOr<T>()> work) {
    co_return co_await commands.Run<T>(std::move(work));
  }

  // Blocks, as all below.
  absl::StatusOr<Group> ReadGroup(const std::string& uuid) {
    DF_ASSIGN_OR_RETURN(const Reply reply, states->Run({"GET", uuid}));
    if (reply.nil()) return absl::NotFoundError(StrCat("job group ", Quoted(uuid), " is not known"));
    return ParseGroup(reply.text);
  }

  absl::StatusOr<std::vector<TaskState>> ReadStates(const std::string& group_uuid) {
    DF_ASSIGN_OR_RETURN(const Group group, ReadGroup(group_uuid));
    std::vector<TaskState> all;
    for (size_t begin = 0; begin < group.task_uuids.size(); begin += kBatch) {
      std::vector<Command> gets;
      for (size_t i = begin; i < std::min(begin + kBatch, group.task_uuids.size()); ++i) {
        gets.push_back({"GET", group.task_uuids[i]});
      }
      DF_ASSIGN_OR_RETURN(const std::vector<Reply> replies, states->RunAll(gets));
      for (const Reply& reply : replies) {
        // An original manager writes the group before its tasks.
        if (reply.nil()) {
          TaskState& state = all.emplace_back();
          state.uuid = group.task_uuids[all.size() - 1];
          state.created_at = group.created_at;
          continue;
        }
        DF_ASSIGN_OR_RETURN(TaskState state, ParseTaskState(reply.text));
        all.push_back(std::move(state));
      }
    }
    return all;
  }

  absl::Status RunBatches(redis::Client& client, const std::vector<Command>& all) {
    for (size_t begin = 0; begin < all.size(); begin += kBatch) {
      const auto end = all.begin() + static_cast<std::ptrdiff_t>(std::min(begin + kBatch, all.size()));
      DF_RETURN_IF_ERROR(client.RunAll({all.begin() + static_cast<std::ptrdiff_t>(begin), end}).status());
    }
    return absl::OkStatus();
  }

  absl::Status Send(const std::string& group_uuid, std::vector<Message> messages) {
    const absl::Time now = absl::Now();
    Group group;
    group.uuid = group_uuid;
    group.created_at = now;
    for (size_t i = 0; i < messages.size(); ++i) {
      Message& message = messages[i];
      message.uuid = TaskUuidOf(group_uuid, i);
      message.group_uuid = group_uuid;
      message.group_size = messages.size();
      message.done_list = done_list;
      group.task_uuids.push_back(message.uuid);
      if (std::ranges::find(group.queues, message.queue) == group.queues.end()) group.queues.push_back(message.queue);
    }
    DF_ASSIGN_OR_RETURN(const Reply first, states->Run({"SET", group_uuid, ToJson(group), "NX", "EX", kKept}));
    if (first.nil()) {
      DF_ASSIGN_OR_RETURN(const Group before, ReadGroup(group_uuid));
      if (before.published) {
        return absl::AlreadyExistsError(StrCat("job group ", Quoted(group_uuid), " was sent before"));
      }
    }
    std::vector<Command> sets, pushes;
    for (const Message& message : messages) {
      TaskState state;
      state.uuid = message.uuid;
      state.name = message.name;
      state.created_at = now;
      // What a first try has got to a worker stays as it is, and its second message finds it claimed.
      sets.push_back({"SET", message.uuid, ToJson(state), "NX", "EX", kKept});
      pushes.push_back({"RPUSH", message.queue, ToJson(message)});
    }
    DF_RETURN_IF_ERROR(RunBatches(*states, sets));
    DF_RETURN_IF_ERROR(RunBatches(*queues, pushes));
    group.published = true;
    return states->Run({"SET", group_uuid, ToJson(group), "EX", kKept}).status();
  }

  // The state after `change`, which returns nullopt to leave it as it is; tried again while others change it.
  absl::StatusOr<bool> Change(const std::string& uuid,
                              const std::function<std::optional<TaskState>(std::optional<TaskState>)>& change) {
    constexpr int kTries = 10;
    for (int i = 0; i < kTries; ++i) {
      DF_ASSIGN_OR_RETURN(const Reply reply, states->Run({"GET", uuid}));
      std::optional<TaskState> before;
      if (!reply.nil()) {
        DF_ASSIGN_OR_RETURN(before, ParseTaskState(reply.text));
      }
      const std::optional<TaskState> after = change(before);
      if (!after.has_value()) return false;
      if (reply.nil()) {
        // Without its PENDING, as a message that somebody has put there by hand.
        DF_ASSIGN_OR_RETURN(const Reply set, states->Run({"SET", uuid, ToJson(*after), "NX", "EX", kKept}));
        if (!set.nil()) return true;
        continue;
      }
      DF_ASSIGN_OR_RETURN(const Reply replaced,
                          states->RunScript(ReplaceScript(), {uuid}, {reply.text, ToJson(*after)}));
      if (replaced.integer == 1) return true;
    }
    return absl::AbortedError(StrCat("the state of job ", uuid, " is changed by too many at once"));
  }

  absl::StatusOr<bool> Claim(const Message& message) {
    return Change(message.uuid, [&](std::optional<TaskState> before) -> std::optional<TaskState> {
      if (!before.has_value()) {
        before.emplace();
        before->uuid = message.uuid;
        before->created_at = absl::Now();
      }
      if (before->state != jobs::State::kPending) return std::nullopt;
      before->name = message.name;
      before->state = jobs::State::kReceived;
      return before;
    });
  }

  absl::Status Report(const Message& message, jobs::State state, const std::optional<std::string>& result,
                      const std::string& error) {
    DF_ASSIGN_OR_RETURN(const bool changed,
                        Change(message.uuid, [&](std::optional<TaskState> before) -> std::optional<TaskState> {
                          if (!before.has_value()) {
                            before.emplace();
                            before->uuid = message.uuid;
                            before->created_at = absl::Now();
                          }
                          if (HasEnded(before->state)) return std::nullopt;
                          before->name = message.name;
                          before->state = state;
                          before->error = error;
                          if (result.has_value()) before->results = {*result};
                          return before;
                        }));
    if (!changed || !HasEnded(state) || !message.done_list.starts_with("dragonfly_done_")) return absl::OkStatus();
    return queues->RunAll({{"RPUSH", message.done_list, message.group_uuid}, {"EXPIRE", message.done_list, kListKept}})
        .status();
  }

  absl::Status Cancel(const std::string& group_uuid, const std::string& reason) {
    DF_ASSIGN_OR_RETURN(const Group group, ReadGroup(group_uuid));
    for (const std::string& uuid : group.task_uuids) {
      DF_RETURN_IF_ERROR(Change(uuid, [&](std::optional<TaskState> before) -> std::optional<TaskState> {
                           if (!before.has_value()) {
                             before.emplace();
                             before->uuid = uuid;
                             before->created_at = group.created_at;
                           }
                           if (HasEnded(before->state)) return std::nullopt;
                           before->state = jobs::State::kFailure;
                           before->error = reason;
                           return before;
                         }).status());
    }
    std::vector<Command> told;
    for (const std::string& queue : group.queues) {
      // An original scheduler does whatever it finds in its queue.
      DF_ASSIGN_OR_RETURN(const Reply waiting, queues->Run({"LRANGE", queue, "0", "-1"}));
      DF_ASSIGN_OR_RETURN(const std::vector<std::string> texts, waiting.Texts());
      for (const std::string& text : texts) {
        const auto message = ParseMessage(text);
        if (message.ok() && message->group_uuid == group_uuid) told.push_back({"LREM", queue, "1", text});
      }
      for (const std::string& uuid : group.task_uuids) told.push_back({"RPUSH", CancelledList(queue), uuid});
      told.push_back({"EXPIRE", CancelledList(queue), kListKept});
    }
    DF_RETURN_IF_ERROR(RunBatches(*queues, told));
    Notify(group_uuid);
    return absl::OkStatus();
  }

  absl::Status Restore(const std::string& queue, const std::string& worker) {
    const std::string own = TakenList(queue, worker);
    for (;;) {
      DF_ASSIGN_OR_RETURN(const Reply last, queues->Run({"LINDEX", own, "-1"}));
      if (last.nil()) return absl::OkStatus();
      const auto message = ParseMessage(last.text);
      bool again = false;
      if (message.ok()) {
        DF_ASSIGN_OR_RETURN(again,
                            Change(message->uuid, [](std::optional<TaskState> before) -> std::optional<TaskState> {
                              if (!before.has_value() || HasEnded(before->state)) return std::nullopt;
                              before->state = jobs::State::kPending;
                              return before;
                            }));
      }
      // First into the queue: a message in both lists is claimed once, one in none is lost.
      if (again) DF_RETURN_IF_ERROR(queues->Run({"LPUSH", queue, last.text}).status());
      DF_RETURN_IF_ERROR(queues->Run({"LREM", own, "-1", last.text}).status());
    }
  }

  absl::StatusOr<std::optional<Taken>> TakeOnce(const std::string& queue, const std::string& worker) {
    std::string raw;
    if (!moves_unknown) {
      const auto moved = queues->Run({"BLMOVE", queue, TakenList(queue, worker), "LEFT", "RIGHT", kBlockSeconds});
      if (moved.ok()) {
        if (moved->nil()) return std::nullopt;
        raw = moved->text;
      } else if (MessageOf(moved.status()).find("unknown command") != std::string_view::npos) {
        DF_LOG(Warn, "this Redis is older than 6.2: jobs that run when the scheduler is killed are lost");
        moves_unknown = true;
      } else {
        return moved.status();
      }
    }
    if (moves_unknown) {
      DF_ASSIGN_OR_RETURN(const Reply popped, queues->Run({"BLPOP", queue, kBlockSeconds}));
      if (popped.nil() || popped.array.size() != 2) return std::nullopt;
      raw = popped.array[1].text;
    }
    auto message = ParseMessage(raw);
    if (!message.ok()) {
      DF_LOG(Warn, "queue {}: {}", queue, MessageOf(message.status()));
      DF_RETURN_IF_ERROR(queues->Run({"LREM", TakenList(queue, worker), "1", raw}).status());
      return std::nullopt;
    }
    Taken taken;
    taken.message = *std::move(message);
    taken.message.queue = queue;
    taken.raw = std::move(raw);
    return taken;
  }

  absl::StatusOr<std::optional<std::string>> PopOnce(const std::string& list) {
    DF_ASSIGN_OR_RETURN(const Reply popped, queues->Run({"BLPOP", list, kBlockSeconds}));
    if (popped.nil() || popped.array.size() != 2) return std::nullopt;
    return popped.array[1].text;
  }

  // Any thread.
  void Notify(const std::string& group_uuid) {
    const absl::MutexLock lock(&mutex);
    const auto found = awaited.find(group_uuid);
    if (found != awaited.end()) found->second.signal.Notify();
  }

  struct Awaited {
    runtime::Signal signal;
    size_t waiters = 0;
  };
  runtime::Signal Join(const std::string& group_uuid) {
    const absl::MutexLock lock(&mutex);
    Awaited& one = awaited[group_uuid];
    ++one.waiters;
    return one.signal;
  }
  void Leave(const std::string& group_uuid) {
    const absl::MutexLock lock(&mutex);
    const auto found = awaited.find(group_uuid);
    if (--found->second.waiters == 0) awaited.erase(found);
  }

  const std::unique_ptr<redis::Client> queues;
  const std::unique_ptr<redis::Client> states;
  runtime::BlockingPool commands;
  runtime::BlockingPool waits;
  const std::string done_list;
  std::atomic<bool> moves_unknown = false;
  absl::Mutex mutex;
  std::map<std::string, Awaited> awaited ABSL_GUARDED_BY(mutex);
};

RedisBroker::RedisBroker(std::unique_ptr<State> state) : state_(std::move(state)) {}
RedisBroker::~RedisBroker() = default;

absl::StatusOr<std::unique_ptr<RedisBroker>> RedisBroker::Make(const RedisBrokerOptions& options) {
  redis::Options common = options.redis;
  common.pool_size = std::max(common.pool_size, options.threads + options.waiting + 2);
  const bool several = common.addresses.size() > 1;
  common.db = several ? 0 : options.broker_db;
  DF_ASSIGN_OR_RETURN(std::unique_ptr<redis::Client> queues, redis::Client::Make(common));
  common.db = several ? 0 : options.backend_db;
  DF_ASSIGN_OR_RETURN(std::unique_ptr<redis::Client> states, redis::Client::Make(common));
  return std::unique_ptr<RedisBroker>(
      new RedisBroker(std::make_unique<State>(options, std::move(queues), std::move(states))));
}

asio::awaitable<void> RedisBroker::ListenForEnds() {
  for (;;) {
    const std::function<absl::StatusOr<std::optional<std::string>>()> pop = [state = state_.get()] {
      return state->PopOnce(state->done_list);
    };
    const auto ended = co_await state_->waits.Run<std::optional<std::string>>(pop);
    if (ended.ok() && ended->has_value()) state_->Notify(**ended);
    if (!ended.ok()) co_await runtime::SleepUntil(Clock::now() + kPauseAfterError);
  }
}

asio::awaitable<absl::Status> RedisBroker::Send(std::string group_uuid, std::vector<Message> messages) {
  co_return co_await state_->commands.Run(
      [state = state_.get(), group_uuid, messages] { return state->Send(group_uuid, messages); });
}

asio::awaitable<absl::StatusOr<std::vector<TaskState>>> RedisBroker::States(std::string group_uuid) {
  const std::function<absl::StatusOr<std::vector<TaskState>>()> read = [state = state_.get(), group_uuid] {
    return state->ReadStates(group_uuid);
  };
  co_return co_await state_->commands.Run<std::vector<TaskState>>(read);
}

asio::awaitable<absl::StatusOr<bool>> RedisBroker::IsSent(std::string group_uuid) {
  const std::function<absl::StatusOr<bool>()> read = [state = state_.get(), group_uuid]() -> absl::StatusOr<bool> {
    DF_ASSIGN_OR_RETURN(const Group group, state->ReadGroup(group_uuid));
    return group.published;
  };
  co_return co_await state_->commands.Run<bool>(read);
}

asio::awaitable<absl::StatusOr<std::vector<TaskState>>> RedisBroker::Await(std::string group_uuid, TimePoint deadline) {
  const runtime::Signal changed = state_->Join(group_uuid);
  const std::shared_ptr<void> leave(nullptr, [this, group_uuid](void*) { state_->Leave(group_uuid); });
  std::chrono::milliseconds pause = kLookMin;
  for (;;) {
    const uint64_t seen = changed.version();
    auto states = co_await States(group_uuid);
    if (states.ok() && HaveEnded(*states)) co_return states;
    if (absl::IsNotFound(states.status())) co_return states;
    const TimePoint now = Clock::now();
    if (now >= deadline) co_return states;
    // Who works on it may be one that tells nobody.
    const bool told = co_await changed.Wait(seen, std::min(deadline, now + pause));
    if (!told) pause = std::min(pause * 2, kLookMax);
  }
}

asio::awaitable<absl::Status> RedisBroker::Cancel(std::string group_uuid, std::string reason) {
  co_return co_await state_->commands.Run(
      [state = state_.get(), group_uuid, reason] { return state->Cancel(group_uuid, reason); });
}

asio::awaitable<absl::Status> RedisBroker::Restore(std::string queue, std::string worker) {
  co_return co_await state_->commands.Run(
      [state = state_.get(), queue, worker] { return state->Restore(queue, worker); });
}

asio::awaitable<absl::StatusOr<std::optional<Taken>>> RedisBroker::Take(std::string queue, std::string worker,
                                                                        TimePoint deadline) {
  const std::function<absl::StatusOr<std::optional<Taken>>()> take = [state = state_.get(), queue, worker] {
    return state->TakeOnce(queue, worker);
  };
  for (;;) {
    auto taken = co_await state_->waits.Run<std::optional<Taken>>(take);
    if (!taken.ok() || taken->has_value() || Clock::now() >= deadline) co_return taken;
  }
}

asio::awaitable<absl::StatusOr<bool>> RedisBroker::Claim(const Message& message) {
  const std::function<absl::StatusOr<bool>()> claim = [state = state_.get(), message] { return state->Claim(message); };
  co_return co_await state_->commands.Run<bool>(claim);
}

asio::awaitable<absl::Status> RedisBroker::Report(const Message& message, jobs::State state,
                                                  std::optional<std::string> result, std::string error) {
  co_return co_await state_->commands.Run(
      [self = state_.get(), message, state, result, error] { return self->Report(message, state, result, error); });
}

asio::awaitable<absl::Status> RedisBroker::Finish(const Taken& taken, std::string worker) {
  const Command remove = {"LREM", TakenList(taken.message.queue, worker), "1", taken.raw};
  co_return co_await state_->commands.Run(
      [state = state_.get(), remove] { return state->queues->Run(remove).status(); });
}

asio::awaitable<absl::StatusOr<std::optional<std::string>>> RedisBroker::TakeCancelled(std::string queue,
                                                                                       TimePoint deadline) {
  const std::function<absl::StatusOr<std::optional<std::string>>()> pop = [state = state_.get(), queue] {
    return state->PopOnce(CancelledList(queue));
  };
  for (;;) {
    auto uuid = co_await state_->waits.Run<std::optional<std::string>>(pop);
    if (!uuid.ok() || uuid->has_value() || Clock::now() >= deadline) co_return uuid;
  }
}

}  // namespace dragonfly::jobs
