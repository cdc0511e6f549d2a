// SPDX-License-Identifier: Apache-2.0
#include "runtime/io_threads.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <boost/asio/executor_work_guard.hpp>
#include <functional>
#include <string>
#include <thread>

namespace dragonfly::runtime {

namespace asio = boost::asio;

struct IoThreads::Thread {
  // Hint 1: one thread runs the context, so work that it posts to itself takes no lock.
  asio::io_context context{1};
  asio::executor_work_guard<asio::io_context::executor_type> work = asio::make_work_guard(context);
  std::thread thread;
};

namespace {

size_t UsableCores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof(set), &set) != 0) return std::thread::hardware_concurrency();
  return static_cast<size_t>(CPU_COUNT(&set));
}

}  // namespace

IoThreads::IoThreads(size_t count) {
  if (count == 0) count = std::max<size_t>(UsableCores(), 2);
  threads_.reserve(count);
  for (size_t i = 0; i < count; ++i) {
    Thread& thread = *threads_.emplace_back(std::make_unique<Thread>());
    thread.thread = std::thread([&context = thread.context] { context.run(); });
    ::pthread_setname_np(thread.thread.native_handle(), ("io-" + std::to_string(i)).c_str());
  }
}

IoThreads::~IoThreads() {
  for (const std::unique_ptr<Thread>& thread : threads_) {
    thread->work.reset();
    thread->context.stop();
  }
  for (const std::unique_ptr<Thread>& thread : threads_) thread->thread.join();
}

size_t IoThreads::size() const { return threads_.size(); }

asio::io_context& IoThreads::At(size_t index) { return threads_.at(index)->context; }

asio::io_context& IoThreads::Next() {
  return threads_[next_.fetch_add(1, std::memory_order_relaxed) % threads_.size()]->context;
}

asio::io_context& IoThreads::For(std::string_view key) {
  return threads_[std::hash<std::string_view>{}(key) % threads_.size()]->context;
}

}  // namespace dragonfly::runtime
