// SPDX-License-Identifier: Apache-2.0
// dfctl against servers that speak gRPC by the full library.
#include "cli/dfctl.h"

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "dfdaemon/v2/dfdaemon.grpc.pb.h"
#include "rpc/server.h"
#include "scheduler/v2/scheduler.grpc.pb.h"
#include "tests/unit/rpc/tls_fixture.h"

namespace dragonfly::cli {
namespace {

using testing::HasSubstr;

struct Result {
  int exit_code;
  std::string out;
  std::string err;
};

Result Dfctl(std::vector<std::string> arguments) {
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  const int exit_code = RunDfctl(std::move(arguments));
  std::string out = testing::internal::GetCapturedStdout();
  return Result{.exit_code = exit_code, .out = std::move(out), .err = testing::internal::GetCapturedStderr()};
}

struct Scheduler final : scheduler::v2::Scheduler::Service {
  grpc::Status PreheatFile(grpc::ServerContext*, const scheduler::v2::PreheatFileRequest* request,
                           google::protobuf::Empty*) override {
    file = *request;
    return grpc::Status::OK;
  }
  grpc::Status PreheatImage(grpc::ServerContext*, const scheduler::v2::PreheatImageRequest* request,
                            google::protobuf::Empty*) override {
    image = *request;
    return grpc::Status(grpc::StatusCode::NOT_FOUND, "manifest unknown");
  }
  scheduler::v2::PreheatFileRequest file;
  scheduler::v2::PreheatImageRequest image;
};

// Has one task, whose id is "whole".
struct Daemon final : dfdaemon::v2::DfdaemonDownload::Service {
  static void Fill(dfdaemon::v2::StatLocalTaskResponse* task) {
    task->set_task_id("whole");
    task->set_piece_length(4 << 20);
    task->set_content_length(1536);
    task->mutable_created_at()->set_seconds(1'750'000'000);
    task->mutable_finished_at()->set_seconds(1'750'000'001);
    (*task->mutable_response_header())["etag"] = "\"x\"";
  }
  grpc::Status ListLocalTasks(grpc::ServerContext*, const dfdaemon::v2::ListLocalTasksRequest*,
                              dfdaemon::v2::ListLocalTasksResponse* response) override {
    Fill(response->add_tasks());
    return grpc::Status::OK;
  }
  grpc::Status StatLocalTask(grpc::ServerContext*, const dfdaemon::v2::StatLocalTaskRequest* request,
                             dfdaemon::v2::StatLocalTaskResponse* response) override {
    if (request->task_id() != "whole") return grpc::Status(grpc::StatusCode::NOT_FOUND, "local task not found");
    Fill(response);
    return grpc::Status::OK;
  }
  grpc::Status DeleteTask(grpc::ServerContext*, const dfdaemon::v2::DeleteTaskRequest* request,
                          google::protobuf::Empty*) override {
    if (request->task_id() != "whole") return grpc::Status(grpc::StatusCode::INTERNAL, "not here");
    ++deleted;
    return grpc::Status::OK;
  }
  grpc::Status DeleteLocalTask(grpc::ServerContext*, const dfdaemon::v2::DeleteLocalTaskRequest*,
                               google::protobuf::Empty*) override {
    ++deleted_locally;
    return grpc::Status::OK;
  }
  grpc::Status ListLocalPersistentTasks(grpc::ServerContext*, const dfdaemon::v2::ListLocalPersistentTasksRequest*,
                                        dfdaemon::v2::ListLocalPersistentTasksResponse* response) override {
    auto* task = response->add_tasks();
    task->set_task_id("kept");
    task->set_persistent(true);
    task->mutable_ttl()->set_seconds(5400);
    return grpc::Status::OK;
  }
  int deleted = 0;
  int deleted_locally = 0;
};

class DfctlTest : public testing::Test {
 protected:
  DfctlTest() {
    std::string pattern = (std::filesystem::temp_directory_path() / "dfctl_test_XXXXXX").string();
    dir_ = ::mkdtemp(pattern.data());
    socket_ = dir_ + "/d.sock";
    rpc::ServerOptions options;
    options.addresses = {"127.0.0.1:0", "unix:" + socket_};
    options.services = {&scheduler_, &daemon_};
    auto server = rpc::Server::Start(options);
    EXPECT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    endpoint_ = "http://127.0.0.1:" + std::to_string(server_->port());
  }
  ~DfctlTest() override {
    server_->Shutdown(Clock::now());
    std::filesystem::remove_all(dir_);
  }

  std::string dir_;
  std::string socket_;
  std::string endpoint_;
  Scheduler scheduler_;
  Daemon daemon_;
  std::unique_ptr<rpc::Server> server_;
};

TEST_F(DfctlTest, ListsTasksAsTableAndAsJson) {
  const Result table = Dfctl({"task", "ls", "-e", socket_});
  EXPECT_EQ(table.exit_code, 0) << table.out;
  EXPECT_THAT(table.out, testing::StartsWith(" ID      PIECE LENGTH   CONTENT LENGTH   CREATED "));
  EXPECT_THAT(table.out, HasSubstr("\n whole   4.0 MiB        1.5 KiB          2025-06-1"));
  const Result json = Dfctl({"task", "ls", "-e", socket_, "--json"});
  EXPECT_EQ(json.exit_code, 0);
  const auto tasks = nlohmann::json::parse(json.out);
  ASSERT_EQ(tasks.size(), 1u);
  EXPECT_EQ(tasks[0]["content_length"], 1536);
  EXPECT_EQ(tasks[0]["created_at"], "2025-06-15T15:06:40+00:00");
  EXPECT_TRUE(tasks[0]["failed_at"].is_null());
}

TEST_F(DfctlTest, ShowsATaskAndWhatItsOriginSaid) {
  const Result run = Dfctl({"task", "stat", "whole", "-e", socket_});
  EXPECT_EQ(run.exit_code, 0);
  EXPECT_THAT(run.out, HasSubstr("  etag: \"x\"\n"));
  const Result missing = Dfctl({"task", "stat", "other", "-e", socket_});
  EXPECT_EQ(missing.exit_code, 1);
  EXPECT_THAT(missing.out, HasSubstr("Stating Failed!"));
  EXPECT_THAT(missing.out, HasSubstr("local task not found"));
}

TEST_F(DfctlTest, RemovesEachTaskAndTellsWhichStays) {
  const Result run = Dfctl({"task", "rm", "other", "whole", "-e", socket_});
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_THAT(run.out, HasSubstr("Removing Task Failed!"));
  EXPECT_THAT(run.out, HasSubstr("task other: not here"));
  EXPECT_THAT(run.out, HasSubstr("Task Removed!\n"));
  EXPECT_EQ(daemon_.deleted, 1);
  EXPECT_EQ(Dfctl({"task", "rm", "whole", "--local", "-e", socket_}).exit_code, 0);
  EXPECT_EQ(daemon_.deleted_locally, 1);
  const Result json = Dfctl({"task", "rm", "whole", "other", "--json", "-e", socket_});
  EXPECT_EQ(json.exit_code, 1);
  EXPECT_EQ(nlohmann::json::parse(json.out), nlohmann::json::parse(R"([{"id":"whole","removed":true},
                                                                        {"id":"other","removed":false}])"));
  EXPECT_THAT(json.err, HasSubstr("Removing Task Failed!"));
}

TEST_F(DfctlTest, ListsPersistentTasksAndTellsWhatADaemonDoesNotServe) {
  const Result run = Dfctl({"persistent-task", "ls", "-e", socket_});
  EXPECT_EQ(run.exit_code, 0);
  EXPECT_THAT(run.out, HasSubstr(" kept   true         1h 30m   -              -                -"));
  const Result unserved = Dfctl({"persistent-cache-task", "ls", "-e", socket_});
  EXPECT_EQ(unserved.exit_code, 1);
  EXPECT_THAT(unserved.out, HasSubstr("Listing Persistent Cache Tasks Failed!"));
  EXPECT_THAT(unserved.out, HasSubstr("Operation is not implemented or not supported"));
}

TEST_F(DfctlTest, TellsThatNoDaemonIsThere) {
  const Result run = Dfctl({"task", "ls", "-e", dir_ + "/none.sock"});
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_THAT(run.out, HasSubstr("Connect Dfdaemon Failed!"));
}

TEST_F(DfctlTest, PreheatsThroughTheScheduler) {
  const Result run = Dfctl({"task", "preheat", "http://o/f?x=1", "--scheduler-endpoint", endpoint_, "--tag", "t"});
  EXPECT_EQ(run.exit_code, 0) << run.out;
  EXPECT_EQ(run.out, "Preheat Succeeded!\n");
  EXPECT_EQ(scheduler_.file.url(), "http://o/f?x=1");
  EXPECT_EQ(scheduler_.file.tag(), "t");
  const Result image = Dfctl({"task", "preheat", "oci://r.io/a:1", "--scheduler-endpoint", endpoint_});
  EXPECT_EQ(image.exit_code, 1);
  EXPECT_EQ(scheduler_.image.url(), "https://r.io/v2/a/manifests/1");
  EXPECT_THAT(image.out, HasSubstr("Preheating Task Failed!"));
  EXPECT_THAT(image.out, HasSubstr("manifest unknown"));
}

TEST_F(DfctlTest, NamesASchedulerThatDoesNotPreheat) {
  rpc::ServerOptions options;
  options.addresses = {"127.0.0.1:0"};
  scheduler::v2::Scheduler::Service without;
  options.services = {&without};
  auto server = rpc::Server::Start(options);
  ASSERT_TRUE(server.ok()) << server.status();
  const std::string endpoint = "http://127.0.0.1:" + std::to_string((*server)->port());
  const Result run = Dfctl({"task", "preheat", "http://o/f", "--scheduler-endpoint", endpoint});
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_THAT(run.out,
              HasSubstr("the scheduler at " + endpoint + " does not serve scheduler.v2.Scheduler/PreheatFile"));
  (*server)->Shutdown(Clock::now());
}

TEST_F(DfctlTest, PreheatsThroughASchedulerThatSpeaksTls) {
  rpc::TestAuthority authority(dir_, "cluster");
  rpc::TestAuthority stranger(dir_, "stranger");
  rpc::ServerOptions options;
  options.addresses = {"127.0.0.1:0"};
  options.tls = authority.Issue("scheduler");
  Scheduler scheduler;
  options.services = {&scheduler};
  auto server = rpc::Server::Start(options);
  ASSERT_TRUE(server.ok()) << server.status();
  const std::string address = "127.0.0.1:" + std::to_string((*server)->port());
  const rpc::TlsFiles own = authority.Issue("operator");
  const std::vector<std::string> preheat = {"task", "preheat", "http://o/f", "--scheduler-endpoint",
                                            "https://" + address};
  const auto with = [&preheat](const std::vector<std::string>& more) {
    std::vector<std::string> arguments = preheat;
    arguments.insert(arguments.end(), more.begin(), more.end());
    return Dfctl(arguments);
  };
  const std::vector<std::string> pair = {"--scheduler-cert", own.cert, "--scheduler-key", own.key};
  const Result run =
      with({"--scheduler-ca-cert", own.ca_cert, "--scheduler-cert", own.cert, "--scheduler-key", own.key});
  EXPECT_EQ(run.exit_code, 0) << run.out;
  EXPECT_EQ(scheduler.file.url(), "http://o/f");

  // Neither the system's authorities nor those of somebody else vouch for it.
  for (const std::vector<std::string>& more : {pair,
                                               {"--scheduler-ca-cert", stranger.Issue("x").ca_cert, "--scheduler-cert",
                                                own.cert, "--scheduler-key", own.key}}) {
    const Result untrusted = with(more);
    EXPECT_EQ(untrusted.exit_code, 1);
    EXPECT_THAT(untrusted.out, HasSubstr("connect to " + address + " by TLS: its certificate: "));
  }
  // The scheduler wants a certificate, and one of its own authority.
  EXPECT_EQ(with({"--scheduler-ca-cert", own.ca_cert}).exit_code, 1);
  const rpc::TlsFiles foreign = stranger.Issue("operator");
  EXPECT_EQ(with({"--scheduler-ca-cert", own.ca_cert, "--scheduler-cert", foreign.cert, "--scheduler-key", foreign.key})
                .exit_code,
            1);
  // Files that are none.
  const Result missing = with({"--scheduler-ca-cert", dir_ + "/nowhere.pem"});
  EXPECT_EQ(missing.exit_code, 1);
  EXPECT_THAT(missing.out, HasSubstr("CA certificate " + dir_ + "/nowhere.pem: "));
  EXPECT_THAT(with({"--scheduler-ca-cert", own.ca_cert, "--scheduler-cert", own.cert}).out, HasSubstr("needs its key"));
  // Certificates without TLS would be no protection.
  const Result plain = Dfctl({"task", "preheat", "http://o/f", "--scheduler-endpoint", "http://" + address,
                              "--scheduler-ca-cert", own.ca_cert});
  EXPECT_THAT(plain.out, HasSubstr("need an https endpoint, not http://" + address));
  (*server)->Shutdown(Clock::now());
}

TEST_F(DfctlTest, WantsACertificateForTheNameThatItCalls) {
  rpc::TestAuthority authority(dir_, "cluster");
  rpc::ServerOptions options;
  options.addresses = {"127.0.0.1:0"};
  options.tls = authority.Issue("scheduler", "DNS:scheduler.example.com");
  Scheduler scheduler;
  options.services = {&scheduler};
  auto server = rpc::Server::Start(options);
  ASSERT_TRUE(server.ok()) << server.status();
  const rpc::TlsFiles own = authority.Issue("operator");
  const std::string port = std::to_string((*server)->port());
  for (const std::string host : {"127.0.0.1", "localhost"}) {
    const Result run =
        Dfctl({"task", "preheat", "http://o/f", "--scheduler-endpoint", "https://" + host + ":" + port,
               "--scheduler-ca-cert", own.ca_cert, "--scheduler-cert", own.cert, "--scheduler-key", own.key});
    EXPECT_EQ(run.exit_code, 1);
    EXPECT_THAT(run.out, HasSubstr("mismatch"));
  }
  (*server)->Shutdown(Clock::now());
}

TEST_F(DfctlTest, SaysThatASchedulerSpeaksNoTls) {
  const Result run = Dfctl(
      {"task", "preheat", "http://o/f", "--scheduler-endpoint", "https" + endpoint_.substr(endpoint_.find("://"))});
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_THAT(run.out, HasSubstr("by TLS: "));
}

}  // namespace
}  // namespace dragonfly::cli
