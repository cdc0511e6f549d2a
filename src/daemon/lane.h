// SPDX-License-Identifier: Apache-2.0
// What the downloads of one io thread share.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/io_context.hpp>
#include <memory>
#include <vector>

#include "daemon/parent_client.h"
#include "daemon/parent_loads.h"
#include "runtime/soft_limit.h"
#include "runtime/task_group.h"
#include "source/source.h"
#include "vortex/client.h"
#include "vortex/quic_client.h"

namespace dragonfly::daemon {

// Thread rule: everything but `group` on the thread of `io`.
struct Lane {
  explicit Lane(boost::asio::io_context& context) : io(context), executor(context.get_executor()), group(executor) {}

  boost::asio::io_context& io;
  const boost::asio::any_io_executor executor;
  std::unique_ptr<vortex::Client> vortex;
  std::unique_ptr<vortex::QuicClient> quic;
  std::unique_ptr<PieceFetcher> fetcher;
  std::unique_ptr<source::SourceSet> sources;
  ParentLoads* loads = nullptr;             // of the whole daemon
  runtime::SoftLimit* downloads = nullptr;  // that fetch at once, of the whole daemon
  runtime::TaskGroup group;
  // The lanes of the other threads, which help with the pieces of a task that one core cannot keep up with. Set before
  // anything runs.
  std::vector<Lane*> others;
};

}  // namespace dragonfly::daemon
