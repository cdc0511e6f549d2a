// SPDX-License-Identifier: Apache-2.0
// The lanes of a daemon, one for each io thread. Only .cc files include this.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <memory>
#include <string_view>
#include <vector>

#include "daemon/lane.h"
#include "daemon/parent_loads.h"
#include "daemon/task_manager.h"
#include "runtime/soft_limit.h"

namespace dragonfly::daemon {

// Thread rule: any thread.
class Lanes {
 public:
  // What `parts` names must outlive it.
  explicit Lanes(const TaskManagerParts& parts);
  Lanes(const Lanes&) = delete;
  Lanes& operator=(const Lanes&) = delete;

  // The same one for the same key.
  Lane& For(std::string_view key);

  // Ends what runs on them.
  boost::asio::awaitable<void> Stop();
  // Frees their clients, after Stop().
  boost::asio::awaitable<void> Close();

 private:
  runtime::IoThreads& io_;
  ParentLoads loads_;
  runtime::SoftLimit downloads_;
  std::vector<std::unique_ptr<Lane>> lanes_;
};

}  // namespace dragonfly::daemon
