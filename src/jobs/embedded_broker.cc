// SPDX-License-Identifier: Apache-2.0
#include "jobs/embedded_broker.h"

#include <algorithm>
#include <utility>

#include "base/text.h"

namespace dragonfly::jobs {
namespace asio = boost::asio;
namespace {

constexpr absl::Duration kKept = absl::Hours(24);
constexpr size_t kCancelledMax = 1000;

absl::Status NotKnown(const std::string& group_uuid) {
  return absl::NotFoundError(StrCat("job group ", Quoted(group_uuid), " is not known"));
}

}  // namespace

void EmbeddedBroker::Forget(absl::Time now) {
  size_t looked_at = 0;
  // Those that have not ended go to the back.
  while (!order_.empty() && looked_at++ < order_.size()) {
    const std::string uuid = order_.front();
    const auto found = groups_.find(uuid);
    const bool old = now - found->second.created_at > kKept;
    if (!old && groups_.size() <= kGroupsMax) return;
    order_.pop_front();
    bool ended = true;
    for (const std::string& task : found->second.tasks) ended = ended && HasEnded(tasks_.at(task).state.state);
    if (!ended && !old) {
      order_.push_back(uuid);
      continue;
    }
    for (const std::string& task : found->second.tasks) tasks_.erase(task);
    groups_.erase(found);
  }
}

absl::Status EmbeddedBroker::Accept(const std::string& group_uuid, std::vector<Message> messages) {
  const absl::Time now = absl::Now();
  const absl::MutexLock lock(&mutex_);
  if (groups_.contains(group_uuid)) {
    return absl::AlreadyExistsError(StrCat("job group ", Quoted(group_uuid), " was sent before"));
  }
  if (waiting_ + messages.size() > kWaitingMax) {
    return absl::ResourceExhaustedError(StrCat("more than ", kWaitingMax, " jobs wait"));
  }
  KnownGroup& group = groups_[group_uuid];
  group.created_at = now;
  order_.push_back(group_uuid);
  for (size_t i = 0; i < messages.size(); ++i) {
    Message& message = messages[i];
    message.uuid = TaskUuidOf(group_uuid, i);
    message.group_uuid = group_uuid;
    message.group_size = messages.size();
    KnownTask& task = tasks_[message.uuid];
    task.state.uuid = message.uuid;
    task.state.name = message.name;
    task.state.created_at = now;
    task.queue = message.queue;
    task.group = group_uuid;
    group.tasks.push_back(message.uuid);
  }
  for (Message& message : messages) {
    std::deque<Message>& queue = queues_[message.queue];
    queue.push_back(std::move(message));
    ++waiting_;
  }
  Forget(now);
  return absl::OkStatus();
}

asio::awaitable<absl::Status> EmbeddedBroker::Send(std::string group_uuid, std::vector<Message> messages) {
  absl::Status status = Accept(group_uuid, std::move(messages));
  if (status.ok()) arrived_.Notify();
  co_return status;
}

absl::StatusOr<std::vector<TaskState>> EmbeddedBroker::Read(const std::string& group_uuid) const {
  const absl::MutexLock lock(&mutex_);
  const auto found = groups_.find(group_uuid);
  if (found == groups_.end()) return NotKnown(group_uuid);
  std::vector<TaskState> states;
  for (const std::string& task : found->second.tasks) states.push_back(tasks_.at(task).state);
  return states;
}

asio::awaitable<absl::StatusOr<std::vector<TaskState>>> EmbeddedBroker::States(std::string group_uuid) {
  co_return Read(group_uuid);
}

asio::awaitable<absl::StatusOr<bool>> EmbeddedBroker::IsSent(std::string group_uuid) {
  const absl::MutexLock lock(&mutex_);
  if (!groups_.contains(group_uuid)) co_return NotKnown(group_uuid);
  co_return true;
}

asio::awaitable<absl::StatusOr<std::vector<TaskState>>> EmbeddedBroker::Await(std::string group_uuid,
                                                                              TimePoint deadline) {
  std::optional<runtime::Signal> changed;
  {
    const absl::MutexLock lock(&mutex_);
    const auto found = groups_.find(group_uuid);
    if (found != groups_.end()) changed = found->second.changed;
  }
  if (!changed.has_value()) co_return NotKnown(group_uuid);
  for (;;) {
    const uint64_t seen = changed->version();
    auto states = Read(group_uuid);
    if (!states.ok() || HaveEnded(*states)) co_return states;
    if (!co_await changed->Wait(seen, deadline)) co_return Read(group_uuid);
  }
}

asio::awaitable<absl::Status> EmbeddedBroker::Cancel(std::string group_uuid, std::string reason) {
  {
    const absl::MutexLock lock(&mutex_);
    const auto found = groups_.find(group_uuid);
    if (found == groups_.end()) co_return NotKnown(group_uuid);
    for (const std::string& uuid : found->second.tasks) {
      KnownTask& task = tasks_.at(uuid);
      if (HasEnded(task.state.state)) continue;
      const bool begun = task.state.state != State::kPending;
      task.state.state = State::kFailure;
      task.state.error = reason;
      std::deque<Message>& queue = queues_[task.queue];
      waiting_ -= std::erase_if(queue, [&](const Message& message) { return message.uuid == uuid; });
      if (!begun) continue;
      std::deque<std::string>& told = cancelled_[task.queue];
      told.push_back(uuid);
      if (told.size() > kCancelledMax) told.pop_front();
    }
    found->second.changed.Notify();
  }
  cancelled_signal_.Notify();
  co_return absl::OkStatus();
}

std::vector<std::string> EmbeddedBroker::WaitingQueues() const {
  std::vector<std::string> names;
  const absl::MutexLock lock(&mutex_);
  for (const auto& [name, queue] : queues_) {
    if (!queue.empty()) names.push_back(name);
  }
  return names;
}

asio::awaitable<absl::Status> EmbeddedBroker::Restore(std::string queue, std::string worker) {
  {
    const absl::MutexLock lock(&mutex_);
    const auto left = taken_.find({queue, worker});
    if (left == taken_.end()) co_return absl::OkStatus();
    std::deque<Message>& waiting = queues_[queue];
    for (auto it = left->second.rbegin(); it != left->second.rend(); ++it) {
      const auto task = tasks_.find(it->uuid);
      if (task == tasks_.end() || HasEnded(task->second.state.state)) continue;
      task->second.state.state = State::kPending;
      waiting.push_front(std::move(*it));
      ++waiting_;
    }
    taken_.erase(left);
  }
  arrived_.Notify();
  co_return absl::OkStatus();
}

asio::awaitable<absl::StatusOr<std::optional<Taken>>> EmbeddedBroker::Take(std::string queue, std::string worker,
                                                                           TimePoint deadline) {
  for (;;) {
    const uint64_t seen = arrived_.version();
    {
      const absl::MutexLock lock(&mutex_);
      const auto found = queues_.find(queue);
      if (found != queues_.end() && !found->second.empty()) {
        Taken taken;
        taken.message = std::move(found->second.front());
        found->second.pop_front();
        if (found->second.empty()) queues_.erase(found);
        --waiting_;
        taken_[{queue, worker}].push_back(taken.message);
        co_return taken;
      }
    }
    if (!co_await arrived_.Wait(seen, deadline)) co_return std::nullopt;
  }
}

asio::awaitable<absl::StatusOr<bool>> EmbeddedBroker::Claim(const Message& message) {
  const absl::MutexLock lock(&mutex_);
  const auto task = tasks_.find(message.uuid);
  if (task == tasks_.end() || task->second.state.state != State::kPending) co_return false;
  task->second.state.state = State::kReceived;
  co_return true;
}

asio::awaitable<absl::Status> EmbeddedBroker::Report(const Message& message, State state,
                                                     std::optional<std::string> result, std::string error) {
  const absl::MutexLock lock(&mutex_);
  const auto task = tasks_.find(message.uuid);
  if (task == tasks_.end() || HasEnded(task->second.state.state)) co_return absl::OkStatus();
  task->second.state.state = state;
  task->second.state.error = std::move(error);
  if (result.has_value()) task->second.state.results = {*std::move(result)};
  if (HasEnded(state)) groups_.at(task->second.group).changed.Notify();
  co_return absl::OkStatus();
}

asio::awaitable<absl::Status> EmbeddedBroker::Finish(const Taken& taken, std::string worker) {
  const absl::MutexLock lock(&mutex_);
  const auto found = taken_.find({taken.message.queue, worker});
  if (found == taken_.end()) co_return absl::OkStatus();
  std::erase_if(found->second, [&](const Message& message) { return message.uuid == taken.message.uuid; });
  if (found->second.empty()) taken_.erase(found);
  co_return absl::OkStatus();
}

asio::awaitable<absl::StatusOr<std::optional<std::string>>> EmbeddedBroker::TakeCancelled(std::string queue,
                                                                                          TimePoint deadline) {
  for (;;) {
    const uint64_t seen = cancelled_signal_.version();
    {
      const absl::MutexLock lock(&mutex_);
      const auto found = cancelled_.find(queue);
      if (found != cancelled_.end() && !found->second.empty()) {
        std::string uuid = std::move(found->second.front());
        found->second.pop_front();
        if (found->second.empty()) cancelled_.erase(found);
        co_return uuid;
      }
    }
    if (!co_await cancelled_signal_.Wait(seen, deadline)) co_return std::nullopt;
  }
}

}  // namespace dragonfly::jobs
