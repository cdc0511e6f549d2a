// SPDX-License-Identifier: Apache-2.0
// One task group per io thread, for servers whose calls are spread over the threads.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/io_threads.h"
#include "runtime/task_group.h"

namespace dragonfly::daemon {

// Thread-safe.
class IoGroups {
 public:
  // `io` must outlive it.
  explicit IoGroups(runtime::IoThreads& io);
  // The group on the thread that IoThreads::For(key) names, where the download of task `key` runs, too.
  runtime::TaskGroup& For(std::string_view key);
  // Cancels what runs and waits for its end.
  boost::asio::awaitable<void> Stop();

 private:
  struct Entry {
    boost::asio::io_context* context;
    std::unique_ptr<runtime::TaskGroup> group;
  };
  runtime::IoThreads& io_;
  std::vector<Entry> groups_;
};

}  // namespace dragonfly::daemon
