// SPDX-License-Identifier: Apache-2.0
// What a real OTLP collector receives of a daemon: a span for each step that the original has one for.
#include <gmock/gmock.h>
#include <grpcpp/create_channel.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/text.h"
#include "dfdaemon/v2/dfdaemon.grpc.pb.h"
#include "scheduler/config.h"
#include "scheduler/scheduler.h"
#include "tests/support/otlp_collector.h"
#include "tests/support/scripted_server.h"
#include "tests/unit/daemon/daemon_fixture.h"
#include "tests/unit/daemon/scripted_manager.h"
#include "tests/unit/daemon/scripted_origin.h"

namespace dragonfly::daemon {
namespace {

using ::dragonfly::testing::OtlpCollector;
using ::dragonfly::testing::ScriptedServer;
using test::RandomBytes;
using ::testing::HasSubstr;

constexpr std::chrono::seconds kCallPatience{60};

class SpansTest : public test::DaemonFixture {
 protected:
  ~SpansTest() override {
    if (scheduler_ != nullptr) scheduler_->Stop(Clock::now());
  }

  std::unique_ptr<Daemon> StartTraced(DaemonConfig config) {
    config.tracing.protocol = "grpc";
    config.tracing.endpoint = collector_.endpoint();
    return Start(config);
  }
  void StartScheduler() {
    scheduler::SchedulerConfig config;
    config.server.listen_ip = "127.0.0.1";
    config.server.port = 0;
    config.server.cache_dir = dir_.path() + "/scheduler";
    auto started = scheduler::Scheduler::Start(config, io_);
    ASSERT_TRUE(started.ok()) << started.status();
    scheduler_ = *std::move(started);
  }

  // One download over the Unix socket; `set` completes the request. Its status.
  static grpc::Status DownloadBy(const Daemon& daemon, const std::string& url,
                                 const std::function<void(common::v2::Download&)>& set = nullptr) {
    const auto stub = dfdaemon::v2::DfdaemonDownload::NewStub(
        grpc::CreateChannel("unix:" + daemon.socket_path(), grpc::InsecureChannelCredentials()));
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + kCallPatience);
    dfdaemon::v2::DownloadTaskRequest request;
    request.mutable_download()->set_url(url);
    if (set) set(*request.mutable_download());
    const auto reader = stub->DownloadTask(&context, request);
    dfdaemon::v2::DownloadTaskResponse response;
    while (reader->Read(&response)) task_id_ = response.task_id();
    return reader->Finish();
  }
  static std::unique_ptr<dfdaemon::v2::DfdaemonUpload::Stub> UploadStub(const Daemon& daemon) {
    return dfdaemon::v2::DfdaemonUpload::NewStub(
        grpc::CreateChannel(StrCat("127.0.0.1:", daemon.upload_port()), grpc::InsecureChannelCredentials()));
  }

  template <typename Stub, typename Method, typename Request, typename Response>
  static grpc::Status Call(Stub& stub, Method method, const Request& request, Response* response) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + kCallPatience);
    return (stub.*method)(&context, request, response);
  }

  // The first span of that name that `fits`; fails the test when there is none.
  using Received = OtlpCollector::Received;
  static Received Find(const std::vector<Received>& spans, const std::string& name,
                       const std::function<bool(const Received&)>& fits = nullptr) {
    const auto found = std::ranges::find_if(
        spans, [&](const Received& one) { return one.span.name() == name && (!fits || fits(one)); });
    EXPECT_NE(found, spans.end()) << name;
    return found == spans.end() ? Received() : *found;
  }

  static inline std::string task_id_;  // of the last download
  OtlpCollector collector_;
  std::unique_ptr<scheduler::Scheduler> scheduler_;
};

TEST_F(SpansTest, ADownloadFromTheOriginTellsItsSteps) {
  // Pieces that fit into a message.
  constexpr uint64_t kPieceLength = 1 << 20;
  const ScriptedOrigin origin(RandomBytes(2 * kPieceLength + 5));
  auto daemon = StartTraced(Config("alone"));
  ASSERT_NE(daemon, nullptr);
  EXPECT_TRUE(DownloadBy(*daemon, origin.Url(), [](common::v2::Download& download) {
                download.set_piece_length(kPieceLength);
              }).ok());
  // It is here now: pieces with their bytes, and an output.
  EXPECT_TRUE(DownloadBy(*daemon, origin.Url(), [&](common::v2::Download& download) {
                download.set_piece_length(kPieceLength);
                download.set_need_piece_content(true);
                download.set_output_path(dir_.path() + "/out");
              }).ok());
  daemon.reset();

  const std::vector<Received> spans = collector_.WaitForNames({"download_finished", "copy_task"});
  const Received call = Find(spans, "download_task");
  const Received download = Find(spans, "download");
  EXPECT_EQ(download.span.parent_span_id(), call.span.span_id());
  for (const char* name :
       {"download_started", "download_finished", "download_partial_with_scheduler", "download_partial_from_source"}) {
    EXPECT_EQ(Find(spans, name).span.parent_span_id(), download.span.span_id()) << name;
  }
  for (int piece = 0; piece < 3; ++piece) {
    const Received span = Find(spans, "download_from_source", [&](const Received& one) {
      return one.Attribute("piece_id") == StrCat(task_id_, "-", piece);
    });
    Find(spans, "get", [&](const Received& one) { return one.span.span_id() == span.span.parent_span_id(); });
  }
  const Received again =
      Find(spans, "download_task", [&](const Received& one) { return one.span.span_id() != call.span.span_id(); });
  for (const char* name : {"download_partial_from_local", "download_from_local_into_async_read", "copy_task"}) {
    const Received span = Find(spans, name);
    EXPECT_TRUE(span.span.parent_span_id() == again.span.span_id()) << name;
  }
}

TEST_F(SpansTest, AnOriginGetsTheContextOfItsRequests) {
  // Answers a range of one byte to the stat, and the whole to all else.
  ScriptedServer server([](ScriptedServer::Connection& connection, const std::string& request, int) {
    if (request.find("/gone") != std::string::npos) {
      connection.Send("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    } else if (request.find("bytes=0-0") != std::string::npos) {
      connection.Send("HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-0/4\r\nContent-Length: 1\r\n\r\nd");
    } else if (request.find("bytes=") != std::string::npos) {
      connection.Send("HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-3/4\r\nContent-Length: 4\r\n\r\ndata");
    } else {
      connection.Send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndata");
    }
  });
  auto daemon = StartTraced(Config("alone"));
  ASSERT_NE(daemon, nullptr);
  // A range, with the rest behind it; and a file that is not there, likewise.
  const auto ranged = [](common::v2::Download& download) {
    download.mutable_range()->set_start(0);
    download.mutable_range()->set_length(2);
    download.set_prefetch(true);
  };
  EXPECT_TRUE(DownloadBy(*daemon, server.Url("/file"), ranged).ok());
  EXPECT_FALSE(DownloadBy(*daemon, server.Url("/gone"), ranged).ok());
  const std::vector<Received> spans = collector_.WaitForNames(
      {"prefetch_task", "prefetch_task_started", "prefetch_task_failed", "download_failed", "head", "get"});
  daemon.reset();

  EXPECT_EQ(Find(spans, "head").span.kind(), OtlpCollector::Span::SPAN_KIND_CLIENT);
  const Received failed = Find(spans, "download_failed");
  EXPECT_EQ(failed.span.status().code(), opentelemetry::proto::trace::v1::Status::STATUS_CODE_ERROR);
  EXPECT_THAT(failed.span.status().message(), HasSubstr("404"));
  const auto hex = [](const std::string& bytes) {
    std::string text;
    for (const char c : bytes) {
      const auto byte = static_cast<unsigned char>(c);
      constexpr char kDigits[] = "0123456789abcdef";
      text += {kDigits[byte >> 4], kDigits[byte & 15]};
    }
    return text;
  };
  const std::vector<std::string> requests = server.requests();
  for (const char* name : {"head", "get"}) {
    const Received span = Find(spans, name);
    const std::string header =
        StrCat("traceparent: 00-", hex(span.span.trace_id()), "-", hex(span.span.span_id()), "-01\r\n");
    EXPECT_TRUE(std::ranges::any_of(
        requests, [&](const std::string& request) { return request.find(header) != std::string::npos; }))
        << name << ": " << header;
  }
}

TEST_F(SpansTest, NothingIsSentToAnOriginWithoutTracing) {
  ScriptedServer server([](ScriptedServer::Connection& connection, const std::string&, int) {
    connection.Send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndata");
  });
  const auto daemon = Start(Config("alone"));
  ASSERT_NE(daemon, nullptr);
  EXPECT_TRUE(DownloadBy(*daemon, server.Url()).ok());
  for (const std::string& request : server.requests()) EXPECT_EQ(request.find("traceparent"), std::string::npos);
}

TEST_F(SpansTest, CallsTellWhatTheyDo) {
  const ScriptedOrigin origin(RandomBytes(100'000));
  auto daemon = StartTraced(Config("alone"));
  ASSERT_NE(daemon, nullptr);
  EXPECT_TRUE(DownloadBy(*daemon, origin.Url()).ok());
  const auto stub = UploadStub(*daemon);
  {
    grpc::ClientContext context;
    dfdaemon::v2::DownloadPieceRequest request;
    request.set_task_id(task_id_);
    dfdaemon::v2::DownloadPieceResponse response;
    EXPECT_TRUE(stub->DownloadPiece(&context, request, &response).ok());
  }
  {
    grpc::ClientContext context;
    dfdaemon::v2::StatTaskRequest request;
    request.set_task_id(task_id_);
    common::v2::Task response;
    EXPECT_FALSE(stub->StatTask(&context, request, &response).ok());  // no scheduler
  }
  {
    grpc::ClientContext context;
    dfdaemon::v2::SyncHostRequest request;
    const auto reader = stub->SyncHost(&context, request);
    common::v2::Host host;
    EXPECT_TRUE(reader->Read(&host));
    context.TryCancel();
    reader->Finish();
  }
  {
    grpc::ClientContext context;
    dfdaemon::v2::ExchangeIBVerbsQueuePairEndpointRequest request;
    dfdaemon::v2::ExchangeIBVerbsQueuePairEndpointResponse response;
    EXPECT_FALSE(stub->ExchangeIBVerbsQueuePairEndpoint(&context, request, &response).ok());
  }
  {
    grpc::ClientContext context;
    dfdaemon::v2::DeleteTaskRequest request;
    request.set_task_id(task_id_);
    google::protobuf::Empty response;
    EXPECT_FALSE(stub->DeleteTask(&context, request, &response).ok());  // no scheduler
  }
  {
    const auto local = dfdaemon::v2::DfdaemonDownload::NewStub(
        grpc::CreateChannel("unix:" + daemon->socket_path(), grpc::InsecureChannelCredentials()));
    grpc::ClientContext context;
    google::protobuf::Empty request, response;
    EXPECT_TRUE(local->DeleteHost(&context, request, &response).ok());
  }
  daemon.reset();
  const std::vector<Received> spans =
      collector_.WaitForNames({"download_piece", "stat_task", "sync_host", "exchange_ib_verbs_queue_pair_endpoint",
                               "delete_task", "delete_host", "stat", "delete", "upload_from_local_into_async_read"});
  const auto server = [](const Received& one) { return one.span.kind() == OtlpCollector::Span::SPAN_KIND_SERVER; };
  EXPECT_EQ(Find(spans, "stat").span.parent_span_id(), Find(spans, "stat_task", server).span.span_id());
  EXPECT_EQ(Find(spans, "delete").span.parent_span_id(), Find(spans, "delete_task", server).span.span_id());
  const Received piece = Find(spans, "upload_from_local_into_async_read");
  EXPECT_EQ(piece.span.parent_span_id(), Find(spans, "download_piece", server).span.span_id());
  EXPECT_EQ(piece.Attribute("piece_id"), StrCat(task_id_, "-0"));
  for (const char* name : {"sync_host", "exchange_ib_verbs_queue_pair_endpoint", "delete_host"}) {
    EXPECT_EQ(Find(spans, name, server).Attribute("host_id"), "127.0.0.1-alone") << name;
  }
}

TEST_F(SpansTest, CallsAboutPersistentCacheTasksAndWhatSchedulersHearOfThem) {
  StartScheduler();
  const std::string address = StrCat("127.0.0.1:", scheduler_->port());
  DaemonConfig config = Config("owner", address);
  config.gc.interval = absl::Seconds(1);
  config.gc.high_percent = 99;
  config.gc.persistent_cache_task_ttl = absl::Hours(2);
  auto owner = StartTraced(config);
  auto other = StartTraced(Config("other", address));
  ASSERT_TRUE(owner != nullptr && other != nullptr);
  const std::string path = dir_.path() + "/file";
  std::ofstream(path, std::ios::binary) << RandomBytes((5 << 20) + 3);
  const auto stub_of = [](const Daemon& daemon) {
    return dfdaemon::v2::DfdaemonDownload::NewStub(
        grpc::CreateChannel("unix:" + daemon.socket_path(), grpc::InsecureChannelCredentials()));
  };

  dfdaemon::v2::UploadPersistentCacheTaskRequest import;
  import.set_path(path);
  import.set_persistent_replica_count(1);
  common::v2::PersistentCacheTask task;
  // Refused by the scheduler, which is then told that nothing comes of it.
  import.mutable_ttl()->set_seconds(1);
  EXPECT_FALSE(
      Call(*stub_of(*owner), &dfdaemon::v2::DfdaemonDownload::Stub::UploadPersistentCacheTask, import, &task).ok());
  import.clear_ttl();
  const grpc::Status imported =
      Call(*stub_of(*owner), &dfdaemon::v2::DfdaemonDownload::Stub::UploadPersistentCacheTask, import, &task);
  ASSERT_TRUE(imported.ok()) << imported.error_message();
  EXPECT_EQ(task.ttl().seconds(), 7200) << "gc.policy.persistentCacheTaskTTL";

  {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + kCallPatience);
    dfdaemon::v2::DownloadPersistentCacheTaskRequest request;
    request.set_task_id(task.id());
    const auto stub = stub_of(*other);
    const auto reader = stub->DownloadPersistentCacheTask(&context, request);
    dfdaemon::v2::DownloadPersistentCacheTaskResponse response;
    while (reader->Read(&response)) {
    }
    const grpc::Status downloaded = reader->Finish();
    EXPECT_TRUE(downloaded.ok()) << downloaded.error_message();
  }
  using Upload = dfdaemon::v2::DfdaemonUpload::Stub;
  dfdaemon::v2::StatPersistentCacheTaskRequest about;
  about.set_task_id(task.id());
  EXPECT_TRUE(Call(*UploadStub(*owner), &Upload::StatPersistentCacheTask, about, &task).ok());
  EXPECT_EQ(task.content_length(), (5u << 20) + 3);
  dfdaemon::v2::StatLocalPersistentCacheTaskRequest about_copy;
  about_copy.set_task_id(task.id());
  dfdaemon::v2::StatLocalPersistentCacheTaskResponse copy;
  EXPECT_TRUE(
      Call(*stub_of(*other), &dfdaemon::v2::DfdaemonDownload::Stub::StatLocalPersistentCacheTask, about_copy, &copy)
          .ok());
  EXPECT_EQ(copy.content_length(), (5u << 20) + 3);
  EXPECT_FALSE(copy.persistent());
  dfdaemon::v2::DownloadPersistentCachePieceRequest wanted;
  wanted.set_task_id(task.id());
  wanted.set_piece_number(1);
  dfdaemon::v2::DownloadPersistentCachePieceResponse piece;
  EXPECT_TRUE(Call(*UploadStub(*owner), &Upload::DownloadPersistentCachePiece, wanted, &piece).ok());
  google::protobuf::Empty nothing;
  dfdaemon::v2::UpdatePersistentCacheTaskRequest keep;
  keep.set_task_id(task.id());
  keep.set_persistent(true);
  EXPECT_TRUE(Call(*UploadStub(*other), &Upload::UpdatePersistentCacheTask, keep, &nothing).ok());

  // The owner looks after its copy from time to time.
  (void)collector_.WaitForNames({"stat_persistent_cache_peer"});
  dfdaemon::v2::DeletePersistentCacheTaskRequest gone;
  gone.set_task_id(task.id());
  EXPECT_TRUE(Call(*UploadStub(*other), &Upload::DeletePersistentCacheTask, gone, &nothing).ok());
  owner.reset();
  other.reset();

  const std::vector<std::string> served = {"upload_persistent_cache_task",   "download_persistent_cache_task",
                                           "stat_persistent_cache_task",     "update_persistent_cache_task",
                                           "delete_persistent_cache_task",   "sync_persistent_cache_pieces",
                                           "download_persistent_cache_piece"};
  const std::vector<std::string> asked = {
      "upload_persistent_cache_task_started", "upload_persistent_cache_task_finished",
      "upload_persistent_cache_task_failed", "announce_persistent_cache_peer", "stat_persistent_cache_peer"};
  std::vector<std::string> names = served;
  names.insert(names.end(), asked.begin(), asked.end());
  const std::vector<Received> spans = collector_.WaitForNames(names);
  for (const std::string& name : served) {
    Find(spans, name, [](const Received& one) { return one.span.kind() == OtlpCollector::Span::SPAN_KIND_SERVER; });
  }
  for (const std::string& name : asked) {
    Find(spans, name, [](const Received& one) { return one.span.kind() == OtlpCollector::Span::SPAN_KIND_CLIENT; });
  }
}

TEST_F(SpansTest, ADamagedCopyOfAPersistentCacheTaskIsTakenBackFromItsScheduler) {
  StartScheduler();
  DaemonConfig config = Config("owner", StrCat("127.0.0.1:", scheduler_->port()));
  config.gc.interval = absl::Seconds(1);
  config.gc.high_percent = 99;
  auto owner = StartTraced(config);
  ASSERT_NE(owner, nullptr);
  const auto stub = dfdaemon::v2::DfdaemonDownload::NewStub(
      grpc::CreateChannel("unix:" + owner->socket_path(), grpc::InsecureChannelCredentials()));
  using Local = dfdaemon::v2::DfdaemonDownload::Stub;
  const std::string path = dir_.path() + "/file";
  std::ofstream(path, std::ios::binary) << RandomBytes((5 << 20) + 3);
  dfdaemon::v2::UploadPersistentCacheTaskRequest import;
  import.set_path(path);
  import.set_persistent_replica_count(1);
  common::v2::PersistentCacheTask task;
  const grpc::Status imported = Call(*stub, &Local::UploadPersistentCacheTask, import, &task);
  ASSERT_TRUE(imported.ok()) << imported.error_message();

  // Somebody writes into a file that is a link of the copy.
  const std::string output = dir_.path() + "/linked";
  {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + kCallPatience);
    dfdaemon::v2::DownloadPersistentCacheTaskRequest request;
    request.set_task_id(task.id());
    request.set_output_path(output);
    request.set_force_hard_link(true);
    const auto reader = stub->DownloadPersistentCacheTask(&context, request);
    dfdaemon::v2::DownloadPersistentCacheTaskResponse response;
    while (reader->Read(&response)) {
    }
    const grpc::Status linked = reader->Finish();
    ASSERT_TRUE(linked.ok()) << linked.error_message();
  }
  ASSERT_GT(std::filesystem::hard_link_count(output), 1u);
  {
    std::fstream file(output, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(1 << 20);
    file << "no longer what it was";
  }

  const std::vector<Received> spans = collector_.WaitForNames({"delete_persistent_cache_peer"});
  EXPECT_EQ(Find(spans, "delete_persistent_cache_peer").span.kind(), OtlpCollector::Span::SPAN_KIND_CLIENT);
  dfdaemon::v2::StatLocalPersistentCacheTaskRequest about;
  about.set_task_id(task.id());
  dfdaemon::v2::StatLocalPersistentCacheTaskResponse copy;
  const TimePoint deadline = Clock::now() + kCallPatience;
  grpc::Status found;
  do {
    found = Call(*stub, &Local::StatLocalPersistentCacheTask, about, &copy);
  } while (found.ok() && Clock::now() < deadline);
  EXPECT_EQ(found.error_code(), grpc::StatusCode::NOT_FOUND) << found.error_message();
  dfdaemon::v2::StatPersistentCacheTaskRequest at_the_scheduler;
  at_the_scheduler.set_task_id(task.id());
  const grpc::Status known =
      Call(*UploadStub(*owner), &dfdaemon::v2::DfdaemonUpload::Stub::StatPersistentCacheTask, at_the_scheduler, &task);
  EXPECT_TRUE(!known.ok() || task.current_persistent_replica_count() == 0) << task.ShortDebugString();
}

TEST_F(SpansTest, PiecesOfParentsAndWhatSchedulersAreTold) {
  StartScheduler();
  const ScriptedOrigin origin(RandomBytes((9 << 20) + 5));
  const std::string address = StrCat("127.0.0.1:", scheduler_->port());
  auto seed = StartTraced(Config("seed", address, /*seed=*/true));
  auto peer = StartTraced(Config("peer", address));
  ASSERT_TRUE(seed != nullptr && peer != nullptr);
  EXPECT_TRUE(DownloadBy(*peer, origin.Url()).ok());
  // Whoever has gone is looked for.
  scheduler_->Stop(Clock::now());
  scheduler_.reset();
  const std::vector<Received> spans = collector_.WaitForNames(
      {"download_from_parent", "announce_host", "make_announce_host_request", "refresh_available_scheduler_addrs",
       "update_available_scheduler_addrs", "download_partial_with_scheduler"});
  for (const char* name : {"announce_host", "make_announce_host_request", "refresh_available_scheduler_addrs",
                           "update_available_scheduler_addrs"}) {
    Find(spans, name);
  }
  const Received batch = Find(spans, "download_partial_with_scheduler_from_parent");
  for (int piece = 0; piece < 3; ++piece) {
    const Received span = Find(spans, "download_from_parent", [&](const Received& one) {
      return one.Attribute("piece_id") == StrCat(task_id_, "-", piece);
    });
    EXPECT_EQ(span.span.parent_span_id(), batch.span.span_id());
    EXPECT_NE(span.Attribute("parent_id"), "");
  }
}

TEST_F(SpansTest, WhatAManagerIsAskedAndTold) {
  StartScheduler();
  test::ScriptedManager manager;
  manager.AddScheduler(scheduler_->port(), 1);
  DaemonConfig config = Config("seed", "", /*seed=*/true);
  config.manager.addr = manager.addr();
  auto seed = StartTraced(config);
  ASSERT_NE(seed, nullptr);
  ASSERT_TRUE(manager.WaitForEvent("active seed 127.0.0.1 1"));
  EXPECT_TRUE(seed->Stop(Clock::now() + kCallPatience).ok());
  const std::vector<std::string> names = {"refresh", "list_schedulers", "get_available_schedulers", "update_seed_peer",
                                          "delete_seed_peer"};
  const std::vector<Received> spans = collector_.WaitForNames(names);
  for (const std::string& name : names) Find(spans, name);
}

}  // namespace
}  // namespace dragonfly::daemon
