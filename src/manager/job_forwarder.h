// SPDX-License-Identifier: Apache-2.0
// Hands the jobs of an embedded broker to schedulers, by calls of dragonfly.ext.v1.Jobs. Only .cc files include this
// (it pulls in grpc++).
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "jobs/embedded_broker.h"
#include "jobs/worker.h"
#include "manager/directory.h"
#include "rpc/channel.h"
#include "runtime/task_group.h"

namespace dragonfly::manager {

// Thread rule: on the thread of `io`.
class JobForwarder {
 public:
  // All must outlive it. `tls` is for the calls to schedulers; `tracer` may be null.
  JobForwarder(boost::asio::io_context& io, jobs::EmbeddedBroker& broker, DirectoryReader& directory, rpc::TlsFiles tls,
               telemetry::Tracer* tracer);
  // Stop() must have completed.
  ~JobForwarder();

  void Start();
  boost::asio::awaitable<void> Stop();

 private:
  boost::asio::awaitable<void> Watch();
  boost::asio::awaitable<absl::StatusOr<std::string>> Call(std::string queue, std::string name, std::string argument);

  boost::asio::io_context& io_;
  jobs::EmbeddedBroker& broker_;
  DirectoryReader& directory_;
  const rpc::TlsFiles tls_;
  rpc::ChannelPool channels_;
  std::map<std::string, std::unique_ptr<jobs::Worker>> workers_;  // by queue
  runtime::TaskGroup group_;
};

}  // namespace dragonfly::manager
