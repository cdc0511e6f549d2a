// SPDX-License-Identifier: Apache-2.0
// The calls about standard tasks that both gRPC services answer alike. Only .cc files include this.
//
// Thread rule: any io thread. Messages are taken by value or live as long as the call.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <memory>

#include "absl/status/status.h"
#include "daemon/call_gate.h"
#include "daemon/task_manager.h"
#include "dfdaemon/v2/dfdaemon.pb.h"
#include "rpc/response_writer.h"

namespace dragonfly::daemon {

// Largest piece whose bytes are read on the io thread itself; a larger one goes by the blocking pool.
inline constexpr uint64_t kInlineReadMax = 64 << 10;

// The bytes of a finished piece. Errors: of the file.
boost::asio::awaitable<absl::StatusOr<std::string>> ReadPiece(runtime::BlockingPool& blocking,
                                                              storage::PieceBytes piece);

// Asks `gate` whether the task may be downloaded. `local`: asked over the Unix socket.
boost::asio::awaitable<absl::Status> DownloadTask(
    TaskManager& tasks, const CallGate& gate, dfdaemon::v2::DownloadTaskRequest request, bool local,
    std::shared_ptr<rpc::ResponseWriter<dfdaemon::v2::DownloadTaskResponse>> writer);

boost::asio::awaitable<absl::Status> StatTask(TaskManager& tasks, telemetry::SpanContext trace,
                                              const dfdaemon::v2::StatTaskRequest& request, common::v2::Task* response);
boost::asio::awaitable<absl::Status> StatLocalTask(TaskManager& tasks,
                                                   const dfdaemon::v2::StatLocalTaskRequest& request,
                                                   dfdaemon::v2::StatLocalTaskResponse* response);
boost::asio::awaitable<absl::Status> ListLocalTasks(TaskManager& tasks, dfdaemon::v2::ListLocalTasksResponse* response);
// From this host, and this host from the scheduler's books.
boost::asio::awaitable<absl::Status> DeleteTask(TaskManager& tasks, telemetry::SpanContext trace, std::string task_id);
// From this host only.
boost::asio::awaitable<absl::Status> DeleteLocalTask(TaskManager& tasks, telemetry::SpanContext trace,
                                                     std::string task_id);
boost::asio::awaitable<absl::Status> DeleteHost(TaskManager& tasks);

}  // namespace dragonfly::daemon
