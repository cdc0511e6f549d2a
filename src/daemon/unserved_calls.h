// SPDX-License-Identifier: Apache-2.0
// The calls of dfdaemon.v2 that this daemon does not serve: persistent, persistent cache and cache tasks, and RDMA.
// Each answers UNIMPLEMENTED with a text that says so. The services derive from these classes and override the rest.
// Pulls in grpc++: for .cc files.
#pragma once

#include <string_view>

#include "dfdaemon/v2/dfdaemon.grpc.pb.h"

namespace dragonfly::daemon {

// "<service>/<method> is not served by this dfdaemon".
grpc::Status NotServedStatus(std::string_view service, std::string_view method);
grpc::ServerUnaryReactor* RefuseUnary(grpc::CallbackServerContext* context, const grpc::Status& status);

// A stream that has ended before it began.
template <typename Response>
class RefusedStream final : public grpc::ServerWriteReactor<Response> {
 public:
  explicit RefusedStream(const grpc::Status& status) { this->Finish(status); }
  void OnDone() override { delete this; }
};

#define DF_UNSERVED_UNARY(service, method, request, response)                                                       \
  grpc::ServerUnaryReactor* method(grpc::CallbackServerContext* context, const ::dfdaemon::v2::request*, response*) \
      override {                                                                                                    \
    return RefuseUnary(context, NotServedStatus(service, #method));                                                 \
  }
#define DF_UNSERVED_STREAM(service, method, request, response)                                                        \
  grpc::ServerWriteReactor<response>* method(grpc::CallbackServerContext*, const ::dfdaemon::v2::request*) override { \
    return new RefusedStream<response>(NotServedStatus(service, #method));                                            \
  }

class UnservedUploadCalls : public ::dfdaemon::v2::DfdaemonUpload::CallbackService {
 public:
#define DF_UNARY(method, response) DF_UNSERVED_UNARY("dfdaemon.v2.DfdaemonUpload", method, method##Request, response)
#define DF_STREAM(method, response) DF_UNSERVED_STREAM("dfdaemon.v2.DfdaemonUpload", method, method##Request, response)
  DF_STREAM(DownloadCacheTask, ::dfdaemon::v2::DownloadCacheTaskResponse)
  DF_UNARY(StatCacheTask, ::common::v2::CacheTask)
  DF_UNARY(DeleteCacheTask, google::protobuf::Empty)
  DF_STREAM(SyncCachePieces, ::dfdaemon::v2::SyncCachePiecesResponse)
  DF_UNARY(DownloadCachePiece, ::dfdaemon::v2::DownloadCachePieceResponse)
  DF_STREAM(DownloadPersistentTask, ::dfdaemon::v2::DownloadPersistentTaskResponse)
  DF_STREAM(SyncPersistentPieces, ::dfdaemon::v2::SyncPersistentPiecesResponse)
  DF_UNARY(UpdatePersistentTask, google::protobuf::Empty)
  DF_UNARY(StatPersistentTask, ::common::v2::PersistentTask)
  DF_UNARY(DeletePersistentTask, google::protobuf::Empty)
  DF_STREAM(DownloadPersistentCacheTask, ::dfdaemon::v2::DownloadPersistentCacheTaskResponse)
  DF_UNARY(UpdatePersistentCacheTask, google::protobuf::Empty)
  DF_UNARY(StatPersistentCacheTask, ::common::v2::PersistentCacheTask)
  DF_UNARY(DeletePersistentCacheTask, google::protobuf::Empty)
  DF_STREAM(SyncPersistentCachePieces, ::dfdaemon::v2::SyncPersistentCachePiecesResponse)
  DF_UNARY(ExchangeIBVerbsQueuePairEndpoint, ::dfdaemon::v2::ExchangeIBVerbsQueuePairEndpointResponse)
  DF_UNARY(DownloadPersistentCachePiece, ::dfdaemon::v2::DownloadPersistentCachePieceResponse)
#undef DF_UNARY
#undef DF_STREAM
};

class UnservedDownloadCalls : public ::dfdaemon::v2::DfdaemonDownload::CallbackService {
 public:
#define DF_UNARY(method, response) DF_UNSERVED_UNARY("dfdaemon.v2.DfdaemonDownload", method, method##Request, response)
#define DF_STREAM(method, response) \
  DF_UNSERVED_STREAM("dfdaemon.v2.DfdaemonDownload", method, method##Request, response)
  DF_STREAM(DownloadCacheTask, ::dfdaemon::v2::DownloadCacheTaskResponse)
  DF_UNARY(StatCacheTask, ::common::v2::CacheTask)
  DF_UNARY(DeleteCacheTask, google::protobuf::Empty)
  DF_STREAM(DownloadPersistentTask, ::dfdaemon::v2::DownloadPersistentTaskResponse)
  DF_UNARY(UploadPersistentTask, ::common::v2::PersistentTask)
  DF_UNARY(StatPersistentTask, ::common::v2::PersistentTask)
  DF_UNARY(StatLocalPersistentTask, ::dfdaemon::v2::StatLocalPersistentTaskResponse)
  DF_UNARY(ListLocalPersistentTasks, ::dfdaemon::v2::ListLocalPersistentTasksResponse)
  DF_STREAM(DownloadPersistentCacheTask, ::dfdaemon::v2::DownloadPersistentCacheTaskResponse)
  DF_UNARY(UploadPersistentCacheTask, ::common::v2::PersistentCacheTask)
  DF_UNARY(StatPersistentCacheTask, ::common::v2::PersistentCacheTask)
  DF_UNARY(StatLocalPersistentCacheTask, ::dfdaemon::v2::StatLocalPersistentCacheTaskResponse)
  DF_UNARY(ListLocalPersistentCacheTasks, ::dfdaemon::v2::ListLocalPersistentCacheTasksResponse)
#undef DF_UNARY
#undef DF_STREAM
};

#undef DF_UNSERVED_UNARY
#undef DF_UNSERVED_STREAM

}  // namespace dragonfly::daemon
