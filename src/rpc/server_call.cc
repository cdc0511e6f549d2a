// SPDX-License-Identifier: Apache-2.0
#include "rpc/server_call.h"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/system/system_error.hpp>
#include <exception>

#include "rpc/status.h"
#include "telemetry/log.h"

namespace dragonfly::rpc {

namespace asio = boost::asio;

namespace internal {

// Travels in the coroutine's frame: whatever destroys the frame ends the call.
class Handler::Ending {
 public:
  explicit Ending(std::shared_ptr<Handler> handler) : handler_(std::move(handler)) {}
  Ending(Ending&&) = default;
  Ending& operator=(Ending&&) = delete;
  ~Ending() {
    if (handler_ != nullptr) Finish(absl::UnavailableError("the server is shutting down"));
  }
  void Finish(const absl::Status& status) {
    const std::shared_ptr<Handler> handler = std::exchange(handler_, nullptr);
    handler->Leave();
    handler->finish_(status);
  }

 private:
  std::shared_ptr<Handler> handler_;
};

void Handler::Start(runtime::TaskGroup& group) {
  const std::shared_ptr<Handler> self = shared_from_this();
  group.Spawn(Run(self, Ending(self)));
}

void Handler::Cancel() {
  absl::MutexLock lock(&mutex_);
  cancelled_ = true;
  if (!executor_) return;
  asio::post(*executor_, [self = shared_from_this()] { self->cancellation_.emit(asio::cancellation_type::terminal); });
}

bool Handler::Enter(const asio::any_io_executor& executor) {
  absl::MutexLock lock(&mutex_);
  if (cancelled_) return false;
  executor_ = executor;
  return true;
}

void Handler::Leave() {
  absl::MutexLock lock(&mutex_);
  executor_.reset();
}

asio::awaitable<absl::Status> Handler::RunWork() {
  // A request must not end the process: what a library throws becomes the status of this one call.
  try {
    co_return co_await work_();
  } catch (const boost::system::system_error& error) {
    if (error.code() == asio::error::operation_aborted) co_return absl::CancelledError("the call was cancelled");
    co_return absl::InternalError(error.what());
  } catch (const std::exception& error) {
    DF_LOG(Error, "a call ends with an exception: {}", error.what());
    co_return absl::InternalError(error.what());
  }
}

asio::awaitable<void> Handler::Run(std::shared_ptr<Handler> self, Ending ending) {
  const asio::any_io_executor executor = co_await asio::this_coro::executor;
  if (!self->Enter(executor)) {
    ending.Finish(absl::CancelledError("the call was cancelled"));
    co_return;
  }
  // Two may cancel the work: the caller, by cancellation_, and the group, by the slot of this coroutine. The work
  // listens to the first, so the second is passed on to it.
  const asio::cancellation_state of_group = co_await asio::this_coro::cancellation_state;
  bool stopping = of_group.cancelled() != asio::cancellation_type::none;
  of_group.slot().assign([&stopping, handler = self.get()](asio::cancellation_type type) {
    stopping = true;
    handler->cancellation_.emit(type);
  });
  co_await asio::this_coro::throw_if_cancelled(false);
  absl::Status status = absl::CancelledError();
  if (!stopping) {
    status = co_await asio::co_spawn(executor, self->RunWork(),
                                     asio::bind_cancellation_slot(self->cancellation_.slot(), asio::use_awaitable));
  }
  of_group.slot().clear();
  if (stopping && absl::IsCancelled(status)) status = absl::UnavailableError("the server is shutting down");
  ending.Finish(status);
}

class UnaryReactor final : public grpc::ServerUnaryReactor {
 public:
  explicit UnaryReactor(Handler::Work work)
      : handler_(std::make_shared<Handler>(std::move(work),
                                           [this](const absl::Status& status) { Finish(ToGrpc(status)); })) {}
  void Start(runtime::TaskGroup& group) { handler_->Start(group); }
  void OnCancel() override { handler_->Cancel(); }
  void OnDone() override { delete this; }

 private:
  const std::shared_ptr<Handler> handler_;
};

}  // namespace internal

grpc::ServerUnaryReactor* ServeUnary(grpc::CallbackServerContext* /*context*/, runtime::TaskGroup& group,
                                     std::function<asio::awaitable<absl::Status>()> handle) {
  auto* reactor = new internal::UnaryReactor(std::move(handle));
  reactor->Start(group);
  return reactor;
}

}  // namespace dragonfly::rpc
