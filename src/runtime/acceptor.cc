// SPDX-License-Identifier: Apache-2.0
#include "runtime/acceptor.h"

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cerrno>
#include <utility>

#include "base/status.h"
#include "runtime/timeout.h"

namespace dragonfly::runtime {

namespace asio = boost::asio;

namespace {

// A burst of clients lets whatever else runs on the thread run in between.
constexpr int kAcceptsPerTurn = 64;

bool IsShortage(int error) { return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM; }
bool IsFinal(int error) { return error == EBADF || error == EINVAL || error == ENOTSOCK || error == EOPNOTSUPP; }

}  // namespace

Seats::Seats(size_t threads, size_t max)
    : max_(max),
      threads_(std::max<size_t>(threads, 1)),
      by_thread_(std::make_unique<std::atomic<size_t>[]>(threads_)) {}

std::optional<Seats::Seat> Seats::Take() {
  if (taken() >= max_) return std::nullopt;
  size_t fewest = 0;
  for (size_t thread = 1; thread < threads_; ++thread) {
    if (by_thread_[thread].load(std::memory_order_relaxed) < by_thread_[fewest].load(std::memory_order_relaxed)) {
      fewest = thread;
    }
  }
  taken_.fetch_add(1, std::memory_order_relaxed);
  by_thread_[fewest].fetch_add(1, std::memory_order_relaxed);
  return Seat(this, fewest);
}

Seats::Seat::Seat(Seat&& other) noexcept : seats_(std::exchange(other.seats_, nullptr)), thread_(other.thread_) {}

Seats::Seat::~Seat() {
  if (seats_ == nullptr) return;
  seats_->taken_.fetch_sub(1, std::memory_order_relaxed);
  seats_->by_thread_[thread_].fetch_sub(1, std::memory_order_relaxed);
}

Acceptor::Acceptor(asio::io_context& io, UniqueFd listening, Options options, Admit admit)
    : options_(std::move(options)),
      admit_(std::move(admit)),
      socket_(io, listening.Release()),
      accepting_(io.get_executor()) {}

void Acceptor::Start() { accepting_.Spawn(Accept()); }

void Acceptor::Report(int error) const {
  if (options_.report) options_.report(ErrnoStatus(error, "accept"));
}

asio::awaitable<void> Acceptor::Accept() {
  std::chrono::milliseconds backoff{0};  // of the shortage that lasts; 0: there is none
  int turn = 0;
  for (;;) {
    sockaddr_storage address{};
    socklen_t size = sizeof(address);
    const int fd =
        ::accept4(socket_.native_handle(), reinterpret_cast<sockaddr*>(&address), &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
      backoff = std::chrono::milliseconds(0);
      admit_(UniqueFd(fd), address);
      if (++turn % kAcceptsPerTurn == 0) co_await asio::post(asio::use_awaitable);
      continue;
    }
    const int error = errno;
    if (error == EAGAIN) {
      co_await socket_.async_wait(asio::posix::stream_descriptor::wait_read, asio::use_awaitable);
    } else if (IsShortage(error)) {
      if (backoff.count() == 0) Report(error);
      backoff = std::clamp(backoff * 2, options_.backoff_min, options_.backoff_max);
      co_await SleepUntil(Clock::now() + backoff);
    } else if (IsFinal(error)) {
      Report(error);
      co_return;
    }
  }
}

asio::awaitable<void> Acceptor::Close() {
  boost::system::error_code ignored;
  socket_.close(ignored);
  co_return;
}

asio::awaitable<void> Acceptor::Stop() {
  co_await accepting_.Stop();
  co_await asio::co_spawn(socket_.get_executor(), Close(), asio::use_awaitable);
}

}  // namespace dragonfly::runtime
