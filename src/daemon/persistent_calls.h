// SPDX-License-Identifier: Apache-2.0
// The gRPC calls about persistent cache tasks: those for other hosts, and those for programs on this one. The services
// derive from these classes. Only .cc files include this.
#pragma once

#include <memory>

#include "daemon/admission.h"
#include "daemon/persistent_tasks.h"
#include "daemon/service.h"
#include "daemon/service_calls.h"
#include "daemon/unserved_calls.h"
#include "runtime/token_bucket.h"

namespace dragonfly::daemon {

// What the calls work with. `tasks`: null, and every call answers UNIMPLEMENTED; all else must outlive them.
struct PersistentCallParts {
  PersistentCallParts() = default;
  PersistentTasks* tasks = nullptr;
  ServiceCalls* calls = nullptr;
  runtime::TokenBucket* upload_limiter = nullptr;
  HostIdentity identity;
  bool disable_shared = false;
};

#define DF_CALL(method, response)                                        \
  grpc::ServerUnaryReactor* method(grpc::CallbackServerContext* context, \
                                   const ::dfdaemon::v2::method##Request* request, response* answer) override;
#define DF_STREAM(method)                                             \
  grpc::ServerWriteReactor<::dfdaemon::v2::method##Response>* method( \
      grpc::CallbackServerContext* context, const ::dfdaemon::v2::method##Request* request) override;

class PersistentUploadCalls : public UnservedUploadCalls {
 public:
  DF_STREAM(DownloadPersistentCacheTask)
  DF_CALL(UpdatePersistentCacheTask, google::protobuf::Empty)
  DF_CALL(StatPersistentCacheTask, ::common::v2::PersistentCacheTask)
  DF_CALL(DeletePersistentCacheTask, google::protobuf::Empty)
  DF_STREAM(SyncPersistentCachePieces)
  DF_CALL(DownloadPersistentCachePiece, ::dfdaemon::v2::DownloadPersistentCachePieceResponse)

 protected:
  // Once, before the service is served.
  void ServePersistent(PersistentCallParts parts) { parts_ = std::move(parts); }

 private:
  using NewsWriter = rpc::ResponseWriter<::dfdaemon::v2::SyncPersistentCachePiecesResponse>;
  boost::asio::awaitable<absl::Status> SendNews(::dfdaemon::v2::SyncPersistentCachePiecesRequest request,
                                                std::shared_ptr<NewsWriter> writer);
  boost::asio::awaitable<absl::Status> SendPiece(const ::dfdaemon::v2::DownloadPersistentCachePieceRequest& request,
                                                 ::dfdaemon::v2::DownloadPersistentCachePieceResponse* answer);

  // Pieces of DownloadPersistentCachePiece that are in memory at once.
  static constexpr size_t kCachePiecesInMemoryMax = 16;
  PersistentCallParts parts_;
  Admission cache_admission_{kCachePiecesInMemoryMax};
};

class PersistentDownloadCalls : public UnservedDownloadCalls {
 public:
  DF_STREAM(DownloadPersistentCacheTask)
  DF_CALL(UploadPersistentCacheTask, ::common::v2::PersistentCacheTask)
  DF_CALL(StatPersistentCacheTask, ::common::v2::PersistentCacheTask)
  DF_CALL(StatLocalPersistentCacheTask, ::dfdaemon::v2::StatLocalPersistentCacheTaskResponse)
  DF_CALL(ListLocalPersistentCacheTasks, ::dfdaemon::v2::ListLocalPersistentCacheTasksResponse)

 protected:
  void ServePersistent(PersistentCallParts parts) { parts_ = std::move(parts); }

 private:
  PersistentCallParts parts_;
};

#undef DF_CALL
#undef DF_STREAM

// Imports the file that `request` names, when the manager does not block it. `tasks`, `gate`, `request` and `observer`,
// which may be null, must outlive the call. Errors: those of PersistentTasks::Import(); PERMISSION_DENIED.
boost::asio::awaitable<absl::StatusOr<PersistentImported>> ImportPersistent(
    PersistentTasks& tasks, const CallGate& gate, const ::dfdaemon::v2::UploadPersistentCacheTaskRequest& request,
    bool hard_link, ImportObserver* observer);

// dragonfly.ext.v1.PersistentCache, for programs on this host. All must outlive the service.
std::unique_ptr<Service> MakePersistentCacheService(PersistentTasks& tasks, runtime::IoThreads& io, CallGate& gate);

// dragonfly.ext.v1.PersistentCopies, for schedulers. All must outlive the service.
std::unique_ptr<Service> MakePersistentCopiesService(PersistentTasks& tasks, runtime::IoThreads& io, CallGate& gate);

}  // namespace dragonfly::daemon
