// SPDX-License-Identifier: Apache-2.0
#include "daemon/download_service.h"

#include <utility>

#include "daemon/io_groups.h"
#include "daemon/list_calls.h"
#include "daemon/task_calls.h"
#include "daemon/unserved_calls.h"
#include "dfdaemon/v2/dfdaemon.grpc.pb.h"
#include "rpc/server_call.h"

namespace dragonfly::daemon {

namespace asio = boost::asio;
namespace wire = dfdaemon::v2;

namespace {

class DownloadService final : public UnservedDownloadCalls, public Service {
 public:
  DownloadService(TaskManager& tasks, runtime::IoThreads& io) : tasks_(tasks), groups_(io) {}

  grpc::Service* grpc() override { return this; }
  asio::awaitable<void> Stop() override { return groups_.Stop(); }

  grpc::ServerWriteReactor<wire::DownloadTaskResponse>* DownloadTask(
      grpc::CallbackServerContext* context, const wire::DownloadTaskRequest* request) override {
    // On the thread of the task, so that a small download changes threads as seldom as possible.
    const absl::StatusOr<TaskId> id = TaskManager::IdOf(request->download());
    auto handle = [&tasks = tasks_,
                   message = *request](std::shared_ptr<rpc::ResponseWriter<wire::DownloadTaskResponse>> writer) {
      return daemon::DownloadTask(tasks, message, /*local=*/true, std::move(writer));
    };
    return rpc::ServeStream<wire::DownloadTaskResponse>(context, groups_.For(id.ok() ? id->str() : ""),
                                                        std::move(handle));
  }

  grpc::ServerUnaryReactor* StatTask(grpc::CallbackServerContext* context, const wire::StatTaskRequest* request,
                                     common::v2::Task* response) override {
    return rpc::ServeUnary(context, groups_.For(request->task_id()),
                           [this, request, response] { return daemon::StatTask(tasks_, *request, response); });
  }

  grpc::ServerUnaryReactor* StatLocalTask(grpc::CallbackServerContext* context,
                                          const wire::StatLocalTaskRequest* request,
                                          wire::StatLocalTaskResponse* response) override {
    return rpc::ServeUnary(context, groups_.For(request->task_id()),
                           [this, request, response] { return daemon::StatLocalTask(tasks_, *request, response); });
  }

  grpc::ServerUnaryReactor* ListLocalTasks(grpc::CallbackServerContext* context, const wire::ListLocalTasksRequest*,
                                           wire::ListLocalTasksResponse* response) override {
    return rpc::ServeUnary(context, groups_.For(""),
                           [this, response] { return daemon::ListLocalTasks(tasks_, response); });
  }

  grpc::ServerUnaryReactor* ListTaskEntries(grpc::CallbackServerContext* context,
                                            const wire::ListTaskEntriesRequest* request,
                                            wire::ListTaskEntriesResponse* response) override {
    return rpc::ServeUnary(context, groups_.For(request->url()),
                           [this, request, response] { return daemon::ListTaskEntries(tasks_, *request, response); });
  }

  grpc::ServerUnaryReactor* DeleteTask(grpc::CallbackServerContext* context, const wire::DeleteTaskRequest* request,
                                       google::protobuf::Empty*) override {
    return rpc::ServeUnary(context, groups_.For(request->task_id()),
                           [this, request] { return daemon::DeleteTask(tasks_, request->task_id()); });
  }

  grpc::ServerUnaryReactor* DeleteLocalTask(grpc::CallbackServerContext* context,
                                            const wire::DeleteLocalTaskRequest* request,
                                            google::protobuf::Empty*) override {
    return rpc::ServeUnary(context, groups_.For(request->task_id()),
                           [this, request] { return daemon::DeleteLocalTask(tasks_, request->task_id()); });
  }

  grpc::ServerUnaryReactor* DeleteHost(grpc::CallbackServerContext* context, const google::protobuf::Empty*,
                                       google::protobuf::Empty*) override {
    return rpc::ServeUnary(context, groups_.For(""), [this] { return daemon::DeleteHost(tasks_); });
  }

 private:
  TaskManager& tasks_;
  IoGroups groups_;
};

}  // namespace

std::unique_ptr<Service> MakeDownloadService(TaskManager& tasks, runtime::IoThreads& io) {
  return std::make_unique<DownloadService>(tasks, io);
}

}  // namespace dragonfly::daemon
