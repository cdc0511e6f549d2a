// SPDX-License-Identifier: Apache-2.0
// The threads that run sockets, timers and coroutines: one io_context a thread, so that what is spawned on one context
// runs on one thread and needs no lock.
#pragma once

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <cstddef>
#include <memory>
#include <string_view>
#include <vector>

namespace dragonfly::runtime {

class IoThreads {
 public:
  // Starts `count` threads (0: one per core that the process may use, at least 2), named "io-<index>".
  explicit IoThreads(size_t count = 0);
  // Stops and joins; everything that runs on the contexts must have been stopped by its owner before.
  ~IoThreads();
  IoThreads(const IoThreads&) = delete;
  IoThreads& operator=(const IoThreads&) = delete;

  size_t size() const;
  boost::asio::io_context& At(size_t index);
  // Round robin. Thread-safe.
  boost::asio::io_context& Next();
  // Always the same context for the same key. Thread-safe.
  boost::asio::io_context& For(std::string_view key);

 private:
  struct Thread;
  std::vector<std::unique_ptr<Thread>> threads_;
  std::atomic<size_t> next_ = 0;
};

}  // namespace dragonfly::runtime
