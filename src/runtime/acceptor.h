// SPDX-License-Identifier: Apache-2.0
// What every server of connections needs in front of its protocol: a loop that accepts, and seats for what it accepts.
#pragma once

#include <sys/socket.h>

#include <atomic>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>

#include "absl/status/status.h"
#include "base/unique_fd.h"
#include "runtime/task_group.h"

namespace dragonfly::runtime {

// Seats for connections, a bounded number in all, dealt out evenly over threads. Thread-safe.
class Seats {
 public:
  // `threads` is at least 1.
  Seats(size_t threads, size_t max);
  Seats(const Seats&) = delete;
  Seats& operator=(const Seats&) = delete;

  // Is given back when it is destroyed, on any thread, while the seats still live.
  class Seat {
   public:
    Seat(Seat&& other) noexcept;
    Seat& operator=(Seat&&) = delete;
    ~Seat();
    size_t thread() const { return thread_; }

   private:
    friend class Seats;
    Seat(Seats* seats, size_t thread) : seats_(seats), thread_(thread) {}
    Seats* seats_;
    size_t thread_;
  };

  // A seat on the thread that has the fewest taken; nullopt when all are. By one thread at a time.
  std::optional<Seat> Take();
  size_t taken() const { return taken_.load(std::memory_order_relaxed); }

 private:
  const size_t max_;
  const size_t threads_;
  std::atomic<size_t> taken_ = 0;
  const std::unique_ptr<std::atomic<size_t>[]> by_thread_;
};

// Accepts the connections of one listening socket, in a coroutine of its own.
//
// When descriptors or memory are short, nothing can be accepted until something else ends: it waits, from `backoff_min`
// doubled up to `backoff_max`, and goes on by itself. An error of one connection that failed before it was accepted is
// passed over.
class Acceptor {
 public:
  struct Options {
    Options() = default;
    std::chrono::milliseconds backoff_min{10};
    std::chrono::milliseconds backoff_max{100};
    // Told of the first failure of a shortage, and of the error that ends the loop for good (the socket is none). On
    // the thread of `io`. Null: nobody listens.
    std::function<void(const absl::Status&)> report;
  };
  // Owns the connection `fd` (non-blocking, closed on exec) of the client at `address`; to close it at once is to
  // refuse it. Called on the thread of `io`; must not throw.
  using Admit = std::function<void(UniqueFd fd, const sockaddr_storage& address)>;

  // `listening` is a non-blocking socket that listens; `io` must outlive the acceptor, and be run by one thread.
  Acceptor(boost::asio::io_context& io, UniqueFd listening, Options options, Admit admit);
  // Stop() must have completed, or Start() never been called.
  ~Acceptor() = default;
  Acceptor(const Acceptor&) = delete;
  Acceptor& operator=(const Acceptor&) = delete;

  // Once.
  void Start();
  // Accepts no more and closes the socket: clients that come from now on are refused at once, and those in the backlog
  // reset, instead of being left to wait.
  boost::asio::awaitable<void> Stop();

 private:
  boost::asio::awaitable<void> Accept();
  boost::asio::awaitable<void> Close();
  void Report(int error) const;

  const Options options_;
  const Admit admit_;
  boost::asio::posix::stream_descriptor socket_;
  TaskGroup accepting_;
};

}  // namespace dragonfly::runtime
