// SPDX-License-Identifier: Apache-2.0
// The services that are ours alone (dragonfly.ext.v1): for programs on this host, and for schedulers.
#include <utility>

#include "base/status.h"
#include "base/text.h"
#include "daemon/persistent_calls.h"
#include "dragonfly/ext/v1/persistent_cache.grpc.pb.h"

namespace dragonfly::daemon {

namespace asio = boost::asio;

namespace {

ext::v1::ImportMethod WireMethod(ImportMethod method) {
  switch (method) {
    case ImportMethod::kCopy:
      return ext::v1::IMPORT_METHOD_COPY;
    case ImportMethod::kReflink:
      return ext::v1::IMPORT_METHOD_REFLINK;
    case ImportMethod::kHardLink:
      return ext::v1::IMPORT_METHOD_HARD_LINK;
    case ImportMethod::kNone:
      break;
  }
  return ext::v1::IMPORT_METHOD_NONE;
}

// Tells one caller how far its import is, and how it ended.
class ImportTeller final : public ImportObserver {
 public:
  using Writer = rpc::ResponseWriter<ext::v1::ImportPersistentCacheTaskResponse>;
  explicit ImportTeller(std::shared_ptr<Writer> writer) : writer_(std::move(writer)) {}

  asio::awaitable<absl::Status> Advanced(const ImportProgress& progress) override {
    ext::v1::ImportPersistentCacheTaskResponse response;
    response.mutable_progress()->set_content_length(progress.length);
    response.mutable_progress()->set_named_bytes(progress.named);
    response.mutable_progress()->set_stored_bytes(progress.stored);
    co_return co_await writer_->Write(std::move(response));
  }

  asio::awaitable<absl::Status> Finished(PersistentImported imported) {
    ext::v1::ImportPersistentCacheTaskResponse response;
    response.mutable_finished()->set_method(WireMethod(imported.method));
    *response.mutable_finished()->mutable_task() = std::move(*imported.task);
    co_return co_await writer_->Write(std::move(response));
  }

 private:
  const std::shared_ptr<Writer> writer_;
};

class PersistentCacheService final : public ext::v1::PersistentCache::CallbackService, public Service {
 public:
  PersistentCacheService(PersistentTasks& tasks, runtime::IoThreads& io, CallGate& gate)
      : tasks_(tasks), calls_(io, gate) {}

  grpc::Service* grpc() override { return this; }
  asio::awaitable<void> Stop() override { return calls_.Stop(); }

  grpc::ServerUnaryReactor* DeleteTask(grpc::CallbackServerContext* context,
                                       const ext::v1::DeletePersistentCacheTaskRequest* request,
                                       google::protobuf::Empty*) override {
    return calls_.Unary(context, request->task_id(), [this, request] { return Delete(request->task_id()); });
  }

  grpc::ServerWriteReactor<ext::v1::ImportPersistentCacheTaskResponse>* ImportTask(
      grpc::CallbackServerContext* context, const ext::v1::ImportPersistentCacheTaskRequest* request) override {
    auto handle = [this, message = *request](std::shared_ptr<ImportTeller::Writer> writer) {
      return Import(message, std::move(writer));
    };
    return calls_.Stream<ext::v1::ImportPersistentCacheTaskResponse>(context, "", std::move(handle));
  }

 private:
  asio::awaitable<absl::Status> Import(ext::v1::ImportPersistentCacheTaskRequest request,
                                       std::shared_ptr<ImportTeller::Writer> writer) {
    ImportTeller teller(std::move(writer));
    auto imported = co_await ImportPersistent(tasks_, calls_.gate(), request.upload(), request.hard_link(), &teller);
    if (!imported.ok()) co_return imported.status();
    co_return co_await teller.Finished(*std::move(imported));
  }
  asio::awaitable<absl::Status> Delete(std::string task_id) {
    DF_CO_ASSIGN_OR_RETURN(TaskId id, TaskId::Parse(task_id));
    co_return co_await tasks_.DeleteEverywhere(std::move(id));
  }

  PersistentTasks& tasks_;
  ServiceCalls calls_;
};

class PersistentCopiesService final : public ext::v1::PersistentCopies::CallbackService, public Service {
 public:
  PersistentCopiesService(PersistentTasks& tasks, runtime::IoThreads& io, CallGate& gate)
      : tasks_(tasks), calls_(io, gate) {}

  grpc::Service* grpc() override { return this; }
  asio::awaitable<void> Stop() override { return calls_.Stop(); }

  grpc::ServerUnaryReactor* FindMissing(grpc::CallbackServerContext* context,
                                        const ext::v1::FindMissingRequest* request,
                                        ext::v1::FindMissingResponse* response) override {
    return calls_.Unary(context, "", [this, request, response] { return Find(request, response); });
  }

 private:
  asio::awaitable<absl::Status> Find(const ext::v1::FindMissingRequest* request,
                                     ext::v1::FindMissingResponse* response) {
    if (request->task_ids_size() > kAskedMax) {
      co_return absl::InvalidArgumentError(
          StrCat("task_ids has ", request->task_ids_size(), " items, and may have ", kAskedMax));
    }
    std::vector<TaskId> ids;
    for (const std::string& text : request->task_ids()) {
      DF_CO_ASSIGN_OR_RETURN(TaskId id, TaskId::Parse(text));
      ids.push_back(std::move(id));
    }
    DF_CO_ASSIGN_OR_RETURN(const std::vector<std::string> missing, co_await tasks_.FindMissing(std::move(ids)));
    for (const std::string& id : missing) response->add_task_ids(id);
    co_return absl::OkStatus();
  }

  static constexpr int kAskedMax = 4096;
  PersistentTasks& tasks_;
  ServiceCalls calls_;
};

}  // namespace

std::unique_ptr<Service> MakePersistentCacheService(PersistentTasks& tasks, runtime::IoThreads& io, CallGate& gate) {
  return std::make_unique<PersistentCacheService>(tasks, io, gate);
}

std::unique_ptr<Service> MakePersistentCopiesService(PersistentTasks& tasks, runtime::IoThreads& io, CallGate& gate) {
  return std::make_unique<PersistentCopiesService>(tasks, io, gate);
}

}  // namespace dragonfly::daemon
