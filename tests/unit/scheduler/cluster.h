// SPDX-License-Identifier: Apache-2.0
// A real scheduler behind real gRPC, with peers and seeds that the test plays.
#pragma once

#include <google/protobuf/empty.pb.h>
#include <google/protobuf/util/time_util.h>
#include <grpcpp/grpcpp.h>

#include <chrono>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "dfdaemon/v2/dfdaemon.grpc.pb.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "runtime/io_threads.h"
#include "scheduler/scheduler.h"
#include "scheduler/v2/scheduler.grpc.pb.h"
#include "tests/support/temp_dir.h"

namespace dragonfly::scheduler::testing {

namespace api = ::scheduler::v2;
using namespace std::chrono_literals;

inline constexpr auto kPatience = 20s;

// A seed whose DownloadTask is answered by the test.
class FakeSeed final : public dfdaemon::v2::DfdaemonUpload::Service {
 public:
  FakeSeed() {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
  }
  ~FakeSeed() override {
    Release(grpc::Status::OK);
    server_->Shutdown(std::chrono::system_clock::now());
  }

  int port() const { return port_; }

  // The requests so far, at least `count`.
  std::vector<common::v2::Download> AwaitRequests(size_t count) {
    absl::MutexLock lock(&mutex_);
    const auto enough = [&] {
      mutex_.AssertHeld();
      return requests_.size() >= count;
    };
    EXPECT_TRUE(mutex_.AwaitWithTimeout(absl::Condition(&enough), absl::Seconds(20)));
    return requests_;
  }
  size_t requests() {
    absl::MutexLock lock(&mutex_);
    return requests_.size();
  }
  // What is told before the end.
  void Tell(dfdaemon::v2::DownloadTaskResponse news) {
    absl::MutexLock lock(&mutex_);
    news_.push_back(std::move(news));
  }
  // Ends the calls, also later ones.
  void Release(grpc::Status status) {
    absl::MutexLock lock(&mutex_);
    result_ = std::move(status);
  }

  grpc::Status DownloadTask(grpc::ServerContext*, const dfdaemon::v2::DownloadTaskRequest* request,
                            grpc::ServerWriter<dfdaemon::v2::DownloadTaskResponse>* writer) override {
    absl::MutexLock lock(&mutex_);
    requests_.push_back(request->download());
    const auto woken = [&] {
      mutex_.AssertHeld();
      return result_.has_value() || !news_.empty();
    };
    for (;;) {
      mutex_.AwaitWithTimeout(absl::Condition(&woken), absl::Seconds(20));
      while (!news_.empty()) {
        writer->Write(news_.front());
        news_.pop_front();
      }
      if (result_.has_value()) return *result_;
    }
  }

 private:
  int port_ = 0;
  absl::Mutex mutex_;
  std::vector<common::v2::Download> requests_ ABSL_GUARDED_BY(mutex_);
  std::deque<dfdaemon::v2::DownloadTaskResponse> news_ ABSL_GUARDED_BY(mutex_);
  std::optional<grpc::Status> result_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<grpc::Server> server_;
};

inline common::v2::Host MakeHost(const std::string& id, int port = 4000, uint32_t type = 0) {
  common::v2::Host host;
  host.set_id(id);
  host.set_type(type);
  host.set_hostname(id);
  host.set_ip("127.0.0.1");
  host.set_port(port);
  host.set_download_port(port);
  host.set_os("linux");
  host.mutable_network()->set_idc("idc");
  host.set_scheduler_cluster_id(7);
  return host;
}

// One AnnouncePeer conversation, by blocking calls with a deadline.
class Conversation {
 public:
  Conversation(api::Scheduler::Stub& stub, std::string host, std::string task, std::string peer)
      : host_(std::move(host)), task_(std::move(task)), peer_(std::move(peer)) {
    context_.set_deadline(std::chrono::system_clock::now() + kPatience);
    stream_ = stub.AnnouncePeer(&context_);
  }
  ~Conversation() {
    if (done_) return;
    context_.TryCancel();
    stream_->Finish();
  }

  const std::string& peer() const { return peer_; }
  api::AnnouncePeerRequest Request() const {
    api::AnnouncePeerRequest request;
    request.set_host_id(host_);
    request.set_task_id(task_);
    request.set_peer_id(peer_);
    return request;
  }
  void Send(const api::AnnouncePeerRequest& request) { stream_->Write(request); }

  static common::v2::Download Download(std::optional<uint64_t> length = 40 << 20) {
    common::v2::Download download;
    download.set_url("http://origin/file");
    (*download.mutable_request_header())["Authorization"] = "secret";
    download.set_output_path("/tmp/out");
    if (length.has_value()) {
      download.set_actual_content_length(*length);
      download.set_actual_piece_length(4 << 20);
      download.set_actual_piece_count(10);
    }
    return download;
  }
  void Register(const common::v2::Download& download = Download()) {
    api::AnnouncePeerRequest request = Request();
    *request.mutable_register_peer_request()->mutable_download() = download;
    Send(request);
  }
  void Started() {
    api::AnnouncePeerRequest request = Request();
    request.mutable_download_peer_started_request();
    Send(request);
  }
  void BackToSourceStarted() {
    api::AnnouncePeerRequest request = Request();
    request.mutable_download_peer_back_to_source_started_request();
    Send(request);
  }
  void Finished() {
    api::AnnouncePeerRequest request = Request();
    request.mutable_download_peer_finished_request();
    Send(request);
  }
  void BackToSourceFinished(uint64_t length = 40 << 20, uint32_t count = 10) {
    api::AnnouncePeerRequest request = Request();
    request.mutable_download_peer_back_to_source_finished_request()->set_content_length(length);
    request.mutable_download_peer_back_to_source_finished_request()->set_piece_count(count);
    Send(request);
  }
  void Failed() {
    api::AnnouncePeerRequest request = Request();
    request.mutable_download_peer_failed_request();
    Send(request);
  }
  void BackToSourceFailed() {
    api::AnnouncePeerRequest request = Request();
    request.mutable_download_peer_back_to_source_failed_request();
    Send(request);
  }
  void PieceFromSource(uint32_t number) {
    api::AnnouncePeerRequest request = Request();
    *request.mutable_download_piece_back_to_source_finished_request()->mutable_piece() = Piece(number);
    Send(request);
  }
  void PieceFromParent(uint32_t number, const std::string& parent) {
    api::AnnouncePeerRequest request = Request();
    auto* const piece = request.mutable_download_piece_finished_request()->mutable_piece();
    *piece = Piece(number);
    piece->set_parent_id(parent);
    Send(request);
  }
  void Reschedule(const api::NormalTaskResponse& tried) {
    api::AnnouncePeerRequest request = Request();
    *request.mutable_reschedule_peer_request()->mutable_candidate_parents() = tried.candidate_parents();
    Send(request);
  }

  // The next answer; nullopt when the stream has ended.
  std::optional<api::AnnouncePeerResponse> Answer() {
    api::AnnouncePeerResponse response;
    if (!stream_->Read(&response)) return std::nullopt;
    return response;
  }
  api::NormalTaskResponse Parents() {
    const auto answer = Answer();
    EXPECT_TRUE(answer.has_value() && answer->has_normal_task_response())
        << (answer ? answer->ShortDebugString() : "no answer");
    return answer.has_value() ? answer->normal_task_response() : api::NormalTaskResponse();
  }
  void ExpectBackToSource(const std::string& description) {
    const auto answer = Answer();
    ASSERT_TRUE(answer.has_value());
    EXPECT_TRUE(answer->has_need_back_to_source_response()) << answer->ShortDebugString();
    EXPECT_EQ(answer->need_back_to_source_response().description(), description);
  }
  // How the server ends the stream.
  grpc::Status End() {
    EXPECT_FALSE(Answer().has_value());
    done_ = true;
    return stream_->Finish();
  }
  void WritesDone() { stream_->WritesDone(); }
  void Cancel() { context_.TryCancel(); }
  // Headers of the server, which must come before any answer.
  void AwaitHeaders() { stream_->WaitForInitialMetadata(); }

 private:
  static common::v2::Piece Piece(uint32_t number) {
    common::v2::Piece piece;
    piece.set_number(number);
    piece.set_offset(uint64_t{number} << 22);
    piece.set_length(4 << 20);
    piece.set_digest("crc32:1475635037");
    piece.mutable_cost()->set_nanos(10'000'000);
    *piece.mutable_created_at() = google::protobuf::util::TimeUtil::GetCurrentTime();
    return piece;
  }

  const std::string host_, task_, peer_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<api::AnnouncePeerRequest, api::AnnouncePeerResponse>> stream_;
  bool done_ = false;
};

class Cluster {
 public:
  explicit Cluster(SchedulerConfig config = Config()) : io_(2) {
    if (config.server.cache_dir.empty()) config.server.cache_dir = dir_.path().string();
    auto started = Scheduler::Start(config, io_);
    EXPECT_TRUE(started.ok()) << started.status();
    scheduler_ = *std::move(started);
    stub_ = api::Scheduler::NewStub(
        grpc::CreateChannel("127.0.0.1:" + std::to_string(scheduler_->port()), grpc::InsecureChannelCredentials()));
  }
  ~Cluster() { scheduler_->Stop(Clock::now() + 5s); }

  static SchedulerConfig Config() {
    SchedulerConfig config;
    config.server.listen_ip = "127.0.0.1";
    config.server.port = 0;
    config.server.cache_dir.clear();  // one of its own
    return config;
  }
  static SchedulerConfig QuickConfig() {
    SchedulerConfig config = Config();
    config.scheduling.retry_interval = absl::Milliseconds(20);
    config.scheduling.stream_grace = absl::Milliseconds(50);
    config.scheduling.peer_gc_interval = absl::Milliseconds(20);
    return config;
  }

  Scheduler& scheduler() { return *scheduler_; }
  // Which its shards run on.
  runtime::IoThreads& io() { return io_; }
  api::Scheduler::Stub& stub() { return *stub_; }

  // Calls `method` of the stub with a deadline.
  template <typename Request, typename Response>
  grpc::Status Call(grpc::Status (api::Scheduler::Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                    const Request& request, Response* response) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + kPatience);
    return (stub_.get()->*method)(&context, request, response);
  }
  grpc::Status Announce(const common::v2::Host& host) {
    api::AnnounceHostRequest request;
    *request.mutable_host() = host;
    request.mutable_interval()->set_seconds(300);
    google::protobuf::Empty empty;
    return Call(&api::Scheduler::Stub::AnnounceHost, request, &empty);
  }
  grpc::Status AnnounceSeed(const std::string& id, const FakeSeed& seed) {
    return Announce(MakeHost(id, seed.port(), 1));
  }
  std::unique_ptr<Conversation> Talk(const std::string& host, const std::string& peer,
                                     const std::string& task = "task") {
    return std::make_unique<Conversation>(*stub_, host, task, peer);
  }
  // On a host of its own, announced.
  std::unique_ptr<Conversation> TalkFromNewHost(const std::string& peer, const std::string& task = "task") {
    EXPECT_TRUE(Announce(MakeHost("host-" + peer)).ok());
    return Talk("host-" + peer, peer, task);
  }
  std::pair<grpc::Status, common::v2::Peer> Stat(const std::string& peer, const std::string& task = "task") {
    api::StatPeerRequest request;
    request.set_host_id("any");
    request.set_task_id(task);
    request.set_peer_id(peer);
    common::v2::Peer answer;
    const grpc::Status status = Call(&api::Scheduler::Stub::StatPeer, request, &answer);
    return {status, answer};
  }
  std::pair<grpc::Status, common::v2::Task> StatTask(const std::string& task = "task") {
    api::StatTaskRequest request;
    request.set_host_id("any");
    request.set_task_id(task);
    common::v2::Task answer;
    const grpc::Status status = Call(&api::Scheduler::Stub::StatTask, request, &answer);
    return {status, answer};
  }
  // `peer` tells of a piece from `parent`; returns when the scheduler knows. False when it does not come to know.
  bool TellPiece(Conversation& peer, uint32_t number, const std::string& parent) {
    const std::string before = Stat(peer.peer()).second.updated_at().SerializeAsString();
    peer.PieceFromParent(number, parent);
    const auto deadline = Clock::now() + kPatience;
    while (Clock::now() < deadline) {
      if (Stat(peer.peer()).second.updated_at().SerializeAsString() != before) return true;
      std::this_thread::yield();
    }
    return false;
  }
  // Asks again until the peer is in `state`; false when it does not come to be.
  bool AwaitState(const std::string& peer, const std::string& state) {
    const auto deadline = Clock::now() + kPatience;
    while (Clock::now() < deadline) {
      if (Stat(peer).second.state() == state) return true;
      std::this_thread::yield();
    }
    return false;
  }

 private:
  const dragonfly::testing::TempDir dir_;
  runtime::IoThreads io_;
  std::unique_ptr<Scheduler> scheduler_;
  std::unique_ptr<api::Scheduler::Stub> stub_;
};

}  // namespace dragonfly::scheduler::testing
