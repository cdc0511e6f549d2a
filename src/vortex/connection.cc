// SPDX-License-Identifier: Apache-2.0
#include "vortex/connection.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <array>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cerrno>
#include <chrono>
#include <utility>

#include "base/status.h"

namespace dragonfly::vortex {

namespace asio = boost::asio;

namespace {

constexpr std::chrono::seconds kCloseTimeout{1};
constexpr size_t kCloseBytesMax = 1 << 20;

// Whatever the errno: to the caller a broken connection is a peer that cannot be reached now.
absl::Status Broken(const char* operation) { return absl::UnavailableError(ErrnoStatus(errno, operation).message()); }

}  // namespace

void SetConnectionOptions(int fd) {
  const auto set = [fd](int level, int name, int value) { ::setsockopt(fd, level, name, &value, sizeof(value)); };
  set(IPPROTO_TCP, TCP_NODELAY, 1);
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
  set(IPPROTO_TCP, TCP_KEEPIDLE, 5);
  set(IPPROTO_TCP, TCP_KEEPINTVL, 3);
  set(IPPROTO_TCP, TCP_KEEPCNT, 3);
}

struct Connection::Watch {
  Watch(asio::io_context& io, asio::posix::stream_descriptor& s) : timer(io), socket(&s) {}

  static void Arm(const std::shared_ptr<Watch>& watch);

  asio::steady_timer timer;
  asio::posix::stream_descriptor* socket;  // null when the connection has gone
  TimePoint deadline = kNoDeadline;
  TimePoint armed = kNoDeadline;  // when the timer fires; never later than `deadline`
  bool expired = false;
};

void Connection::Watch::Arm(const std::shared_ptr<Watch>& watch) {
  watch->armed = watch->deadline;
  watch->timer.expires_at(watch->armed);
  watch->timer.async_wait([watch](const boost::system::error_code& error) {
    if (error || watch->socket == nullptr) return;
    watch->armed = kNoDeadline;
    if (watch->deadline <= Clock::now()) {
      watch->expired = true;
      watch->socket->cancel();
    } else if (watch->deadline != kNoDeadline) {
      Arm(watch);
    }
  });
}

Connection::Connection(asio::io_context& io, UniqueFd fd) : socket_(io), watch_(std::make_shared<Watch>(io, socket_)) {
  if (!fd.valid()) return;
  boost::system::error_code error;
  socket_.assign(fd.get(), error);
  if (!error) (void)fd.Release();
}

Connection::~Connection() {
  watch_->socket = nullptr;
  watch_->timer.cancel();
}

void Connection::SetDeadline(TimePoint deadline) {
  watch_->deadline = deadline;
  watch_->expired = false;
  if (deadline < watch_->armed) Watch::Arm(watch_);
}

asio::awaitable<absl::Status> Connection::WaitReadable() { return Wait(asio::posix::stream_descriptor::wait_read); }

asio::awaitable<absl::Status> Connection::WaitWritable() { return Wait(asio::posix::stream_descriptor::wait_write); }

asio::awaitable<absl::Status> Connection::Wait(asio::posix::stream_descriptor::wait_type type) {
  const std::shared_ptr<Watch> watch = watch_;
  if (!watch->expired) {
    boost::system::error_code error;
    co_await socket_.async_wait(type, asio::redirect_error(asio::use_awaitable, error));
    // Any other error shows again, with its reason, when the socket is used.
    if (!watch->expired && error == asio::error::operation_aborted) co_return absl::CancelledError("cancelled");
  }
  if (watch->expired) co_return absl::DeadlineExceededError("the peer is silent");
  co_return absl::OkStatus();
}

void Connection::Interrupt() { socket_.cancel(); }

absl::StatusOr<size_t> Connection::ReceiveSome(std::span<std::byte> bytes) {
  for (;;) {
    const ssize_t n = ::recv(fd(), bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (n > 0) {
      received_ += static_cast<size_t>(n);
      return static_cast<size_t>(n);
    }
    if (n == 0) return absl::UnavailableError("the peer closed the connection");
    if (errno == EAGAIN) return 0;
    if (errno != EINTR) return Broken("receive");
  }
}

asio::awaitable<absl::Status> Connection::Receive(std::span<std::byte> bytes) {
  while (!bytes.empty()) {
    const absl::StatusOr<size_t> n = ReceiveSome(bytes);
    if (!n.ok()) co_return n.status();
    bytes = bytes.subspan(*n);
    if (*n == 0) DF_CO_RETURN_IF_ERROR(co_await WaitReadable());
  }
  co_return absl::OkStatus();
}

asio::awaitable<absl::Status> Connection::Send(std::span<const std::byte> bytes, int flags) {
  while (!bytes.empty()) {
    const ssize_t n = ::send(fd(), bytes.data(), bytes.size(), flags | MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n >= 0) {
      bytes = bytes.subspan(static_cast<size_t>(n));
    } else if (errno == EAGAIN) {
      DF_CO_RETURN_IF_ERROR(co_await WaitWritable());
    } else if (errno != EINTR) {
      co_return Broken("send");
    }
  }
  co_return absl::OkStatus();
}

bool Connection::QuietAndOpen() {
  std::byte byte{};
  return ::recv(fd(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

asio::awaitable<void> Connection::CloseGently() {
  ::shutdown(fd(), SHUT_WR);
  SetDeadline(Clock::now() + kCloseTimeout);
  std::array<std::byte, 4096> dropped;
  for (size_t total = 0; total < kCloseBytesMax;) {
    const absl::StatusOr<size_t> n = ReceiveSome(dropped);
    if (!n.ok()) co_return;
    total += *n;
    if (*n == 0 && !(co_await WaitReadable()).ok()) co_return;
  }
}

}  // namespace dragonfly::vortex
