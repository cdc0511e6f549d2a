// SPDX-License-Identifier: Apache-2.0
#include "rpc/connection_watch.h"

#include <grpcpp/channel.h>
#include <grpcpp/completion_queue.h>

#include <chrono>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "rpc/library.h"

namespace dragonfly::rpc {
namespace {

constexpr auto kWatchTime = std::chrono::seconds(2);

}  // namespace

struct ConnectionWatch::State {
  struct Watch {
    std::weak_ptr<grpc::Channel> channel;
    std::weak_ptr<std::atomic<uint64_t>> losses;
    runtime::Signal lost;
    grpc_connectivity_state seen = GRPC_CHANNEL_IDLE;  // what the library has been told to wait for the end of
  };

  // `changed`: the library says that the state has left `seen`.
  void Renew(std::unique_ptr<Watch> watch, bool changed);
  void Run();

  grpc::CompletionQueue queue;
  absl::Mutex mutex;
  bool stopping ABSL_GUARDED_BY(mutex) = false;  // the queue takes no more watches
  std::thread thread;
};

void ConnectionWatch::State::Renew(std::unique_ptr<Watch> watch, bool changed) {
  const std::shared_ptr<std::atomic<uint64_t>> losses = watch->losses.lock();
  const std::shared_ptr<grpc::Channel> channel = watch->channel.lock();
  if (losses == nullptr || channel == nullptr) return;
  const grpc_connectivity_state state = channel->GetState(/*try_to_connect=*/false);
  // A channel becomes idle only when it loses a connection, be it one that came after the last look.
  if (changed && (watch->seen == GRPC_CHANNEL_READY || state == GRPC_CHANNEL_IDLE)) {
    ++*losses;
    watch->lost.Notify();
  }
  if (state == GRPC_CHANNEL_SHUTDOWN) return;
  watch->seen = state;
  const absl::MutexLock lock(&mutex);
  if (stopping) return;
  channel->NotifyOnStateChange(state, std::chrono::system_clock::now() + kWatchTime, &queue, watch.release());
}

void ConnectionWatch::State::Run() {
  void* tag = nullptr;
  bool changed = false;
  while (queue.Next(&tag, &changed)) Renew(std::unique_ptr<Watch>(static_cast<Watch*>(tag)), changed);
}

ConnectionWatch::ConnectionWatch() {
  KeepLibrary();
  state_ = std::make_unique<State>();
  state_->thread = std::thread([state = state_.get()] { state->Run(); });
}

ConnectionWatch::~ConnectionWatch() {
  {
    const absl::MutexLock lock(&state_->mutex);
    state_->stopping = true;
    state_->queue.Shutdown();
  }
  state_->thread.join();
}

ConnectionLosses ConnectionWatch::Follow(const std::shared_ptr<grpc::Channel>& channel, runtime::Signal lost) {
  const auto losses = std::make_shared<std::atomic<uint64_t>>(0);
  auto watch = std::make_unique<State::Watch>();
  watch->channel = channel;
  watch->losses = losses;
  watch->lost = std::move(lost);
  state_->Renew(std::move(watch), /*changed=*/false);
  return losses;
}

}  // namespace dragonfly::rpc
