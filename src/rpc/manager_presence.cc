// SPDX-License-Identifier: Apache-2.0
#include "rpc/manager_presence.h"

#include <google/protobuf/empty.pb.h>
#include <grpcpp/channel.h>

#include <algorithm>
#include <atomic>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "base/status.h"
#include "base/text.h"
#include "manager/v2/manager.grpc.pb.h"
#include "rpc/client_call.h"
#include "runtime/task_group.h"
#include "runtime/timeout.h"
#include "telemetry/log.h"

namespace dragonfly::rpc {
namespace asio = boost::asio;

using google::protobuf::Empty;
using manager::v2::KeepAliveRequest;

struct ManagerPresence::State {
  State(ManagerPresenceOptions opts, asio::any_io_executor executor, ManagerPresence::Channel to, Register how)
      : options(std::move(opts)), channel(std::move(to)), enter(std::move(how)), tasks(std::move(executor)) {}

  asio::awaitable<void> Run();
  asio::awaitable<absl::Status> KeepAlive();
  // Takes the state down; logs it when it is new.
  void Note(const absl::Status& status);

  const ManagerPresenceOptions options;
  const ManagerPresence::Channel channel;
  const Register enter;
  runtime::TaskGroup tasks;
  std::atomic<bool> renew{false};
  mutable absl::Mutex mutex;
  absl::Status now ABSL_GUARDED_BY(mutex) = absl::UnavailableError("not registered yet");
  absl::Status logged ABSL_GUARDED_BY(mutex);
};

// Returns when the stream has ended, with the reason; OK when the manager has ended it in order, as it does with old
// connections.
asio::awaitable<absl::Status> ManagerPresence::State::KeepAlive() {
  const std::shared_ptr<manager::v2::Manager::Stub> stub = manager::v2::Manager::NewStub(channel());
  const auto start = [stub](grpc::ClientContext* context, Empty* answer,
                            grpc::ClientWriteReactor<KeepAliveRequest>* reactor) {
    stub->async()->KeepAlive(context, answer, reactor);
  };
  const auto stream = StartClientStream<KeepAliveRequest, Empty>(start);
  while (!renew.exchange(false)) {
    stream->Write(options.beat);
    const auto end = co_await stream->End(Clock::now() + options.interval);
    if (end.ok()) co_return absl::OkStatus();
    if (stream->ended()) co_return Annotate(end.status(), StrCat("keep ", options.who, " alive"));
  }
  co_return absl::OkStatus();
}

void ManagerPresence::State::Note(const absl::Status& status) {
  absl::MutexLock lock(&mutex);
  now = status;
  if (status == logged) return;
  if (status.ok()) {
    DF_LOG(Info, "manager {}: knows {} again", options.manager, options.who);
  } else {
    DF_LOG(Warn, "manager {}: {}", options.manager, MessageOf(status));
  }
  logged = status;
}

asio::awaitable<void> ManagerPresence::State::Run() {
  Clock::duration retry = options.retry_min;
  for (;;) {
    renew = false;
    absl::Status status = co_await enter();
    if (status.ok()) {
      Note(status);
      const TimePoint begun = Clock::now();
      status = co_await KeepAlive();
      // A stream that has lasted is no reason to be slow.
      if (Clock::now() - begun > options.interval) retry = options.retry_min;
    }
    if (!status.ok()) Note(status);
    co_await runtime::SleepUntil(Clock::now() + retry);
    retry = std::min(2 * retry, options.retry_max);
  }
}

ManagerPresence::ManagerPresence(ManagerPresenceOptions options, asio::any_io_executor executor, Channel channel,
                                 Register enter)
    : state_(std::make_shared<State>(std::move(options), std::move(executor), std::move(channel), std::move(enter))) {}

ManagerPresence::~ManagerPresence() = default;

void ManagerPresence::Start() { state_->tasks.Spawn(state_->Run()); }

void ManagerPresence::Renew() { state_->renew = true; }

asio::awaitable<void> ManagerPresence::Stop() {
  const std::shared_ptr<State> state = state_;
  co_await state->tasks.Stop();
}

absl::Status ManagerPresence::state() const {
  absl::MutexLock lock(&state_->mutex);
  return state_->now;
}

}  // namespace dragonfly::rpc
