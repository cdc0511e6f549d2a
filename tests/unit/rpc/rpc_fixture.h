// SPDX-License-Identifier: Apache-2.0
// A server of ours with services whose methods each test writes as coroutines, and a client on an io thread.
#pragma once

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "dfdaemon/v2/dfdaemon.grpc.pb.h"
#include "rpc/bidi_session.h"
#include "rpc/channel.h"
#include "rpc/client_call.h"
#include "rpc/response_writer.h"
#include "rpc/server.h"
#include "rpc/server_call.h"
#include "runtime/clock.h"
#include "runtime/io_threads.h"
#include "runtime/signal.h"
#include "runtime/task_group.h"
#include "scheduler/v2/scheduler.grpc.pb.h"
#include "tests/unit/runtime/run_coroutine.h"

namespace dragonfly::rpc {

namespace asio = boost::asio;

using dfdaemon::v2::DownloadPieceRequest;
using dfdaemon::v2::DownloadPieceResponse;
using dfdaemon::v2::SyncPiecesRequest;
using dfdaemon::v2::SyncPiecesResponse;
using scheduler::v2::AnnouncePeerRequest;
using scheduler::v2::AnnouncePeerResponse;

inline constexpr std::chrono::seconds kPatience{30};
inline TimePoint Soon() { return Clock::now() + kPatience; }

// A directory that goes with the test.
class TempDir {
 public:
  TempDir() {
    std::string pattern = (std::filesystem::temp_directory_path() / "rpc_test_XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  ~TempDir() { std::filesystem::remove_all(path_); }
  std::string File(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

// Set once by a thread, awaited by the test.
class Flag {
 public:
  void Set() {
    if (!set_.exchange(true)) promise_.set_value();
  }
  bool Await() const { return future_.wait_for(kPatience) == std::future_status::ready; }
  bool set() const { return set_; }

 private:
  std::atomic<bool> set_{false};
  std::promise<void> promise_;
  std::shared_future<void> future_{promise_.get_future()};
};

struct UploadService final : dfdaemon::v2::DfdaemonUpload::CallbackService {
  explicit UploadService(runtime::TaskGroup& g) : group(g) {}

  grpc::ServerUnaryReactor* DownloadPiece(grpc::CallbackServerContext* context, const DownloadPieceRequest* request,
                                          DownloadPieceResponse* response) override {
    return ServeUnary(context, group, [this, request, response] { return download_piece(*request, response); });
  }
  grpc::ServerWriteReactor<SyncPiecesResponse>* SyncPieces(grpc::CallbackServerContext* context,
                                                           const SyncPiecesRequest* request) override {
    deadline = context->deadline();
    return ServeStream<SyncPiecesResponse>(
        context, group,
        [this, request](std::shared_ptr<ResponseWriter<SyncPiecesResponse>> writer) {
          return sync_pieces(*request, std::move(writer));
        },
        keep_running);
  }
  grpc::ServerWriteReactor<dfdaemon::v2::DownloadTaskResponse>* DownloadTask(
      grpc::CallbackServerContext* context, const dfdaemon::v2::DownloadTaskRequest* request) override {
    return ServeStream<dfdaemon::v2::DownloadTaskResponse>(
        context, group, [this, request](std::shared_ptr<ResponseWriter<dfdaemon::v2::DownloadTaskResponse>> writer) {
          return download_task(*request, std::move(writer));
        });
  }

  runtime::TaskGroup& group;
  bool keep_running = false;
  std::chrono::system_clock::time_point deadline;
  std::function<asio::awaitable<absl::Status>(const DownloadPieceRequest&, DownloadPieceResponse*)> download_piece;
  std::function<asio::awaitable<absl::Status>(const SyncPiecesRequest&,
                                              std::shared_ptr<ResponseWriter<SyncPiecesResponse>>)>
      sync_pieces;
  std::function<asio::awaitable<absl::Status>(const dfdaemon::v2::DownloadTaskRequest&,
                                              std::shared_ptr<ResponseWriter<dfdaemon::v2::DownloadTaskResponse>>)>
      download_task;
};

using PeerSession = BidiSession<AnnouncePeerRequest, AnnouncePeerResponse>;

struct SchedulerService final : scheduler::v2::Scheduler::CallbackService {
  explicit SchedulerService(asio::any_io_executor e) : executor(std::move(e)) {}

  grpc::ServerBidiReactor<AnnouncePeerRequest, AnnouncePeerResponse>* AnnouncePeer(
      grpc::CallbackServerContext* context) override {
    if (route) return ServeBidiRouted<AnnouncePeerRequest, AnnouncePeerResponse>(context, route, open);
    return ServeBidi<AnnouncePeerRequest, AnnouncePeerResponse>(context, executor, open);
  }

  const asio::any_io_executor executor;
  PeerSession::Route route;  // null: streams are not routed
  PeerSession::Open open;
};

class RpcTest : public ::testing::Test {
 protected:
  RpcTest()
      : threads_(2), group_(server_io().get_executor()), upload_(group_), scheduler_(server_io().get_executor()) {}

  ~RpcTest() override {
    upload_stub_.reset();
    scheduler_stub_.reset();
    pool_.reset();
    if (server_ != nullptr) server_->Shutdown(Clock::now());
    runtime::RunOn(client_io(), group_.Stop());
  }

  asio::io_context& server_io() { return threads_.At(0); }
  asio::io_context& client_io() { return threads_.At(1); }

  // Serves both services and connects both stubs.
  void Serve(ServerOptions options = {}) {
    if (options.addresses.empty()) options.addresses = {"127.0.0.1:0"};
    options.services = {&upload_, &scheduler_};
    absl::StatusOr<std::unique_ptr<Server>> server = Server::Start(options);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    Connect(server_->port() != 0 ? HostPort("127.0.0.1", server_->port()) : options.addresses[0]);
  }

  void Connect(const std::string& address) {
    address_ = address;
    pool_ = std::make_unique<ChannelPool>(ChannelOptions());
    upload_stub_ = dfdaemon::v2::DfdaemonUpload::NewStub(pool_->Get(address));
    scheduler_stub_ = scheduler::v2::Scheduler::NewStub(pool_->Get(address));
  }

  absl::StatusOr<DownloadPieceResponse> DownloadPiece(DownloadPieceRequest request,
                                                      Clock::duration timeout = kPatience) {
    return runtime::RunOn(client_io(), CallDownloadPiece(upload_stub_.get(), std::move(request), timeout));
  }

  static asio::awaitable<absl::StatusOr<DownloadPieceResponse>> CallDownloadPiece(
      dfdaemon::v2::DfdaemonUpload::Stub* stub, DownloadPieceRequest request, Clock::duration timeout) {
    auto start = [stub](grpc::ClientContext* context, const DownloadPieceRequest* q, DownloadPieceResponse* r,
                        std::function<void(grpc::Status)> done) {
      stub->async()->DownloadPiece(context, q, r, std::move(done));
    };
    return Unary<DownloadPieceResponse>(start, std::move(request), timeout);
  }

  std::shared_ptr<ServerStream<SyncPiecesResponse>> StartSyncPieces() {
    return StartServerStream<SyncPiecesResponse>(
        [this](grpc::ClientContext* context, const SyncPiecesRequest* request,
               grpc::ClientReadReactor<SyncPiecesResponse>* reactor) {
          upload_stub_->async()->SyncPieces(context, request, reactor);
        },
        SyncPiecesRequest());
  }

  std::shared_ptr<BidiStream<AnnouncePeerRequest, AnnouncePeerResponse>> StartAnnouncePeer() {
    return StartBidiStream<AnnouncePeerRequest, AnnouncePeerResponse>(
        [this](grpc::ClientContext* context,
               grpc::ClientBidiReactor<AnnouncePeerRequest, AnnouncePeerResponse>* reactor) {
          scheduler_stub_->async()->AnnouncePeer(context, reactor);
        });
  }

  template <typename Stream>
  auto Read(Stream& stream, TimePoint deadline = Soon()) {
    return runtime::RunOn(client_io(), stream->Read(deadline));
  }

  runtime::IoThreads threads_;
  runtime::TaskGroup group_;
  UploadService upload_;
  SchedulerService scheduler_;
  std::unique_ptr<Server> server_;
  std::string address_;
  std::unique_ptr<ChannelPool> pool_;
  std::unique_ptr<dfdaemon::v2::DfdaemonUpload::Stub> upload_stub_;
  std::unique_ptr<scheduler::v2::Scheduler::Stub> scheduler_stub_;
};

}  // namespace dragonfly::rpc
