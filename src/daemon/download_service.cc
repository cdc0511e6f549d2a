// SPDX-License-Identifier: Apache-2.0
#include "daemon/download_service.h"

#include <utility>

#include "daemon/list_calls.h"
#include "daemon/persistent_calls.h"
#include "daemon/service_calls.h"
#include "daemon/task_calls.h"
#include "dfdaemon/v2/dfdaemon.grpc.pb.h"
#include "rpc/trace_metadata.h"

namespace dragonfly::daemon {

namespace asio = boost::asio;
namespace wire = dfdaemon::v2;

namespace {

class DownloadService final : public PersistentDownloadCalls, public Service {
 public:
  DownloadService(TaskManager& tasks, runtime::IoThreads& io, CallGate& gate, PersistentTasks* persistent)
      : tasks_(tasks), calls_(io, gate) {
    PersistentCallParts parts;
    parts.tasks = persistent;
    parts.calls = &calls_;
    ServePersistent(std::move(parts));
  }

  grpc::Service* grpc() override { return this; }
  asio::awaitable<void> Stop() override { return calls_.Stop(); }

  grpc::ServerWriteReactor<wire::DownloadTaskResponse>* DownloadTask(
      grpc::CallbackServerContext* context, const wire::DownloadTaskRequest* request) override {
    // On the thread of the task, so that a small download changes threads as seldom as possible.
    const absl::StatusOr<TaskId> id = TaskManager::IdOf(request->download());
    auto handle = [&tasks = tasks_, &gate = calls_.gate(),
                   message = *request](std::shared_ptr<rpc::ResponseWriter<wire::DownloadTaskResponse>> writer) {
      return daemon::DownloadTask(tasks, gate, message, /*local=*/true, std::move(writer));
    };
    return calls_.Stream<wire::DownloadTaskResponse>(context, id.ok() ? id->str() : "", std::move(handle));
  }

  grpc::ServerUnaryReactor* StatTask(grpc::CallbackServerContext* context, const wire::StatTaskRequest* request,
                                     common::v2::Task* response) override {
    return calls_.Unary(context, request->task_id(), [this, context, request, response] {
      return daemon::StatTask(tasks_, rpc::TraceOf(*context), *request, response);
    });
  }

  grpc::ServerUnaryReactor* StatLocalTask(grpc::CallbackServerContext* context,
                                          const wire::StatLocalTaskRequest* request,
                                          wire::StatLocalTaskResponse* response) override {
    return calls_.Unary(context, request->task_id(),
                        [this, request, response] { return daemon::StatLocalTask(tasks_, *request, response); });
  }

  grpc::ServerUnaryReactor* ListLocalTasks(grpc::CallbackServerContext* context, const wire::ListLocalTasksRequest*,
                                           wire::ListLocalTasksResponse* response) override {
    return calls_.Unary(context, "", [this, response] { return daemon::ListLocalTasks(tasks_, response); });
  }

  grpc::ServerUnaryReactor* ListTaskEntries(grpc::CallbackServerContext* context,
                                            const wire::ListTaskEntriesRequest* request,
                                            wire::ListTaskEntriesResponse* response) override {
    return calls_.Unary(context, request->url(), [this, request, response] {
      return daemon::ListTaskEntries(tasks_, *request, /*local=*/true, response);
    });
  }

  grpc::ServerUnaryReactor* DeleteTask(grpc::CallbackServerContext* context, const wire::DeleteTaskRequest* request,
                                       google::protobuf::Empty*) override {
    return calls_.Unary(context, request->task_id(), [this, context, request] {
      return daemon::DeleteTask(tasks_, rpc::TraceOf(*context), request->task_id());
    });
  }

  grpc::ServerUnaryReactor* DeleteLocalTask(grpc::CallbackServerContext* context,
                                            const wire::DeleteLocalTaskRequest* request,
                                            google::protobuf::Empty*) override {
    return calls_.Unary(context, request->task_id(), [this, context, request] {
      return daemon::DeleteLocalTask(tasks_, rpc::TraceOf(*context), request->task_id());
    });
  }

  grpc::ServerUnaryReactor* DeleteHost(grpc::CallbackServerContext* context, const google::protobuf::Empty*,
                                       google::protobuf::Empty*) override {
    return calls_.Unary(context, "", [this] { return daemon::DeleteHost(tasks_); });
  }

 private:
  TaskManager& tasks_;
  ServiceCalls calls_;
};

}  // namespace

std::unique_ptr<Service> MakeDownloadService(TaskManager& tasks, runtime::IoThreads& io, CallGate& gate,
                                             PersistentTasks* persistent) {
  return std::make_unique<DownloadService>(tasks, io, gate, persistent);
}

}  // namespace dragonfly::daemon
