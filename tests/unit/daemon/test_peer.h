// SPDX-License-Identifier: Apache-2.0
// Whole peers in one process: real store, piece server, upload service and task manager; only the scheduler is
// scripted.
#pragma once

#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/use_future.hpp>
#include <chrono>
#include <fstream>
#include <functional>
#include <future>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "common/v2/common.pb.h"
#include "daemon/download_service.h"
#include "daemon/given_pieces.h"
#include "daemon/piece_provider.h"
#include "daemon/task_manager.h"
#include "daemon/upload_service.h"
#include "rpc/server.h"
#include "tests/support/temp_dir.h"
#include "tests/unit/daemon/scripted_link.h"
#include "tests/unit/daemon/scripted_origin.h"
#include "vortex/quic_server.h"
#include "vortex/server.h"

namespace dragonfly::daemon {

inline constexpr std::chrono::seconds kTestPatience{60};
// Of the tasks of the tests.
inline constexpr uint64_t kTestPieceLength = 64 << 10;

template <typename T>
T RunOn(runtime::IoThreads& io, boost::asio::awaitable<T> work) {
  std::future<T> result = boost::asio::co_spawn(io.Next(), std::move(work), boost::asio::use_future);
  if (result.wait_for(kTestPatience) != std::future_status::ready) {
    throw std::runtime_error("the coroutine did not end");
  }
  return result.get();
}

// `size` bytes that never repeat in pieces.
inline std::string TestContent(size_t size, uint32_t seed = 1) {
  std::string content(size, '\0');
  uint32_t state = seed * 2654435761u + 1;
  for (char& byte : content) {
    state = state * 1664525u + 1013904223u;
    byte = static_cast<char>(state >> 24);
  }
  return content;
}

inline std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream bytes;
  bytes << file.rdbuf();
  return bytes.str();
}

// Remembers what a caller was told.
class RecordingObserver final : public DownloadObserver {
 public:
  boost::asio::awaitable<absl::Status> Started(const DownloadStarted& shape) override {
    EXPECT_FALSE(started) << "told twice";
    started = std::make_unique<DownloadStarted>(shape);
    begun_.Notify();
    co_return absl::OkStatus();
  }
  boost::asio::awaitable<absl::Status> PieceReady(const storage::PieceRecord& record) override {
    EXPECT_TRUE(started) << "a piece before the shape";
    pieces.push_back(record);
    co_return absl::OkStatus();
  }
  // Waits until the caller knows the shape: from then on it takes part in the download.
  bool AwaitStarted() { return begun_.WaitForNotificationWithTimeout(absl::FromChrono(kTestPatience)); }
  // Bytes by where they came from.
  uint64_t BytesFrom(storage::TrafficType type) const {
    uint64_t bytes = 0;
    for (const auto& piece : pieces) {
      if (piece.traffic_type == type) bytes += piece.range.length;
    }
    return bytes;
  }
  std::unique_ptr<DownloadStarted> started;
  std::vector<storage::PieceRecord> pieces;

 private:
  absl::Notification begun_;
};

class TestPeer {
 public:
  struct Options {
    Options() = default;
    bool serves_vortex = true;
    uint16_t told_quic_port = 0;                       // to children, instead of the true one
    std::string protocol = "tcp";                      // its own wish, as a child
    std::function<void(common::v2::Host&)> fill_host;  // of SyncHost
    bool seed = false;
    uint64_t capacity_bytes = 0;  // of its store; 0: what the disk has
  };
  TestPeer(runtime::IoThreads& io, std::string name) : TestPeer(io, std::move(name), Options()) {}
  TestPeer(runtime::IoThreads& io, std::string name, Options options)
      : io_(io), name_(std::move(name)), options_(std::move(options)), channels_(rpc::ChannelOptions()) {
    config.download.collected_piece_timeout = absl::Seconds(2);
    config.download.piece_timeout = absl::Seconds(30);
    config.backend.retries = 0;
    config.download.protocol = options_.protocol;
    identity.ip = "127.0.0.1";
    identity.hostname = name_;
    identity.host_id = "127.0.0.1-" + name_;
    Start();
  }
  ~TestPeer() { Stop(); }
  TestPeer(const TestPeer&) = delete;
  TestPeer& operator=(const TestPeer&) = delete;

  void Start() {
    storage::StoreOptions store_options;
    store_options.dir = dir_.path().string();
    store_options.keep = true;
    store_options.capacity_bytes = options_.capacity_bytes;
    auto opened = storage::ContentStore::Open(store_options);
    if (!opened.ok()) throw std::runtime_error(opened.status().ToString());
    store_ = *std::move(opened);
    tasks_ = std::make_unique<TaskManager>(
        TaskManagerParts{.config = config,
                         .identity = identity,
                         .io = io_,
                         .blocking = blocking_,
                         .store = *store_,
                         .schedulers = link,
                         .limiters = {unlimited_, unlimited_, unlimited_, prefetch_bucket},
                         .channels = channels_,
                         .probe = probe});
    provider_ = MakePieceProvider(*store_, given_, probe);
    if (options_.serves_vortex) {
      vortex::ServerOptions vortex_options;
      vortex_options.ip = "127.0.0.1";
      vortex_options.port = 0;
      vortex_ = *vortex::Server::Start(vortex_options, io_, *provider_, unlimited_);
      identity.vortex_port = vortex_->port();
      vortex::QuicServerOptions quic_options;
      quic_options.ip = "127.0.0.1";
      quic_options.port = 0;
      quic_ = *vortex::QuicServer::Start(quic_options, io_, *provider_, unlimited_);
      identity.quic_port = options_.told_quic_port != 0 ? options_.told_quic_port : quic_->port();
    }
    UploadServiceOptions upload_options;
    upload_options.identity = identity;
    upload_options.fill_host = options_.fill_host;
    upload_ = MakeUploadService(*tasks_, io_, gate_, unlimited_, given_, std::move(upload_options));
    download_ = MakeDownloadService(*tasks_, io_, gate_);
    rpc::ServerOptions server_options;
    server_options.addresses = {"127.0.0.1:0"};
    server_options.services = {upload_->grpc()};
    server_ = *rpc::Server::Start(server_options);
    identity.upload_port = static_cast<uint16_t>(server_->port());
    rpc::ServerOptions local_options;
    local_options.addresses = {"unix:" + socket_path()};
    local_options.services = {download_->grpc()};
    local_server_ = *rpc::Server::Start(local_options);
  }

  void Stop() {
    if (!server_) return;
    const TimePoint soon = Clock::now() + std::chrono::milliseconds(100);
    local_server_->Shutdown(soon);
    server_->Shutdown(soon);
    RunOn(io_, download_->Stop());
    RunOn(io_, upload_->Stop());
    if (vortex_) RunOn(io_, vortex_->Stop(Clock::now()));
    if (quic_) RunOn(io_, quic_->Stop(Clock::now()));
    RunOn(io_, tasks_->Stop());
    local_server_.reset();
    server_.reset();
    download_.reset();
    upload_.reset();
    vortex_.reset();
    quic_.reset();
    tasks_.reset();
    store_.reset();
  }

  size_t tcp_connections() const { return vortex_->connections(); }
  size_t quic_connections() const { return quic_->connections(); }

  absl::Status Download(const common::v2::Download& wire, RecordingObserver& observer, bool local = true) {
    return RunOn(io_, tasks_->Download(RequestOf(wire, local), observer));
  }
  absl::Status Download(const common::v2::Download& wire) {
    RecordingObserver observer;
    return Download(wire, observer);
  }
  // The download in the background.
  std::future<absl::Status> Begin(const common::v2::Download& wire, RecordingObserver& observer) {
    return boost::asio::co_spawn(io_.Next(), tasks_->Download(RequestOf(wire, true), observer),
                                 boost::asio::use_future);
  }
  static DownloadRequest RequestOf(const common::v2::Download& wire, bool local) {
    DownloadRequest request;
    request.wire = std::make_shared<common::v2::Download>(wire);
    request.local = local;
    return request;
  }

  // This peer as a scheduler offers it.
  CandidateParent AsParent() const {
    CandidateParent parent;
    parent.peer_id = name_;
    parent.host_id = identity.host_id;
    parent.ip = "127.0.0.1";
    parent.port = identity.upload_port;
    return parent;
  }
  std::string BytesOf(const TaskId& id) {
    const auto content = store_->Find(id);
    return content ? ReadFile(content->path()) : "";
  }
  std::string socket_path() const { return (dir_.path() / "dfdaemon.sock").string(); }
  std::string upload_address() const { return "127.0.0.1:" + std::to_string(identity.upload_port); }
  storage::ContentStore& store() { return *store_; }
  TaskManager& tasks() { return *tasks_; }
  runtime::IoThreads& io() { return io_; }

  DaemonConfig config;
  HostIdentity identity;
  ScriptedLink link;
  telemetry::Metrics metrics;
  Probe probe{metrics};
  // Full at first and hardly ever refilled: it tells what was taken.
  runtime::TokenBucket prefetch_bucket{1, 1 << 30};
  std::shared_ptr<const BlockList> block_list = std::make_shared<BlockList>();  // change it before calls come

 private:
  runtime::IoThreads& io_;
  const std::string name_;
  const Options options_;
  testing::TempDir dir_;
  runtime::BlockingPool blocking_{2, 64};
  runtime::TokenBucket unlimited_{0};
  CallGate gate_{CallGate::Options(), nullptr, [this] { return block_list; }, probe};
  rpc::ChannelPool channels_;
  std::unique_ptr<storage::ContentStore> store_;
  std::unique_ptr<TaskManager> tasks_;
  GivenPieces given_;
  std::unique_ptr<vortex::PieceProvider> provider_;
  std::unique_ptr<vortex::Server> vortex_;
  std::unique_ptr<vortex::QuicServer> quic_;
  std::unique_ptr<Service> upload_;
  std::unique_ptr<Service> download_;
  std::unique_ptr<rpc::Server> server_;
  std::unique_ptr<rpc::Server> local_server_;
};

}  // namespace dragonfly::daemon
