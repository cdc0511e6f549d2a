// SPDX-License-Identifier: Apache-2.0
// Jobs of a manager without Redis, which go to the scheduler by calls, and what these jobs may not reach. Real programs
// on loopback, with an object storage and nginx.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/text.h"
#include "tests/e2e/harness/cluster.h"
#include "tests/e2e/harness/manager_process.h"
#include "tests/e2e/harness/origin.h"
#include "tests/support/object_storage.h"
#include "tests/unit/rpc/tls_fixture.h"

namespace dragonfly::e2e {
namespace {

using manager::RestReply;
using nlohmann::json;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr std::chrono::seconds kTimeout{60};

class JobCalls : public ::testing::Test {
 protected:
  void StartManager(const std::string& lines, const std::string& grpc_lines = "") {
    manager_ = std::make_unique<ManagerProcess>(dir_.path() + "/manager", lines, grpc_lines);
    token_ = manager_->SignIn();
    ASSERT_NE(token_, "") << manager_->Log();
  }
  // `server` and `manager` are further lines of these sections.
  void StartScheduler(const std::string& server = "", const std::string& manager = "") {
    scheduler_ = std::make_unique<SchedulerProcess>(
        dir_.path() + "/scheduler", StrCat(server, "manager:\n  addr: '127.0.0.1:", manager_->grpc_port(),
                                           "'\n  schedulerClusterID: 1\n  keepAlive: {interval: 1s}\n", manager));
    ASSERT_TRUE(Await([&] { return Call("GET", "/api/v1/schedulers?state=active").json.size() == 1; }, kTimeout))
        << scheduler_->process().Log();
  }
  void StartPeers(const PeerSettings& common = {}) {
    for (const char* const name : {"seed", "peer"}) {
      PeerSettings settings = common;
      settings.name = name;
      settings.seed = settings.name == "seed";
      settings.extra += "gc:\n  policy:\n    distHighThresholdPercent: 99\n";
      peers_.push_back(std::make_unique<Peer>(dir_.path() + "/" + name, scheduler_->port(), settings));
    }
  }
  RestReply Call(const std::string& method, const std::string& path, const std::string& body = "") const {
    return manager_->Client().Call(method, path, body, token_);
  }
  json Run(const json& job) const {
    const RestReply created = Call("POST", "/api/v1/jobs", job.dump());
    EXPECT_EQ(created.status, 200) << created.body;
    if (created.status != 200) return json::object();
    const std::string path = StrCat("/api/v1/jobs/", created.json["id"].get<int64_t>());
    json last;
    EXPECT_TRUE(Await(
        [&] {
          last = Call("GET", path).json;
          return last.value("state", "") != "PENDING";
        },
        kTimeout))
        << last;
    return last;
  }
  json Preheat(const std::string& url) const {
    return Run({{"type", "preheat"}, {"args", {{"type", "file"}, {"url", url}, {"scope", "all_peers"}}}});
  }
  static std::string ErrorOf(const json& job) { return job["result"]["job_states"][0].value("error", ""); }

  TempDir dir_;
  std::unique_ptr<ManagerProcess> manager_;
  std::unique_ptr<SchedulerProcess> scheduler_;
  std::vector<std::unique_ptr<Peer>> peers_;
  std::string token_;
};

std::string TlsLines(const std::string& indent, const rpc::TlsFiles& files) {
  return StrCat(indent, "tls: {caCert: ", files.ca_cert, ", cert: ", files.cert, ", key: ", files.key, "}\n");
}

TEST_F(JobCalls, AreEncryptedBothWays) {
  rpc::TestAuthority authority(dir_.path(), "site");
  const rpc::TlsFiles of_manager = authority.Issue("manager");
  const rpc::TlsFiles of_scheduler = authority.Issue("scheduler");
  const rpc::TlsFiles of_peer = authority.Issue("peer");
  StartManager(StrCat("scheduler:\n", TlsLines("  ", of_manager)), TlsLines("    ", of_manager));
  ASSERT_FALSE(HasFatalFailure());
  StartScheduler(TlsLines("  ", of_scheduler), TlsLines("  ", of_scheduler));
  ASSERT_FALSE(HasFatalFailure());
  PeerSettings settings;
  settings.scheduler =
      StrCat("  caCert: ", of_peer.ca_cert, "\n  cert: ", of_peer.cert, "\n  key: ", of_peer.key, "\n");
  StartPeers(settings);
  std::filesystem::create_directories(dir_.path() + "/origin");
  Origin origin(dir_.path() + "/origin");
  WriteRandomFile(origin.root() + "/file", 3 << 20);
  const json done = Preheat(origin.Url("file"));
  EXPECT_EQ(done.value("state", ""), "SUCCESS") << done << manager_->Log();
  EXPECT_EQ(done["result"]["job_states"][0]["results"][0]["success_tasks"].size(), 2u) << done;
  EXPECT_EQ(Run({{"type", "get_task"}, {"args", {{"url", origin.Url("file")}}}}).value("state", ""), "SUCCESS");
}

TEST_F(JobCalls, FailWithTheReasonWhereTheSchedulerTakesNoPlaintext) {
  rpc::TestAuthority authority(dir_.path(), "site");
  StartManager("");
  ASSERT_FALSE(HasFatalFailure());
  StartScheduler(TlsLines("  ", authority.Issue("scheduler")));
  ASSERT_FALSE(HasFatalFailure());
  const json failed = Preheat("http://127.0.0.1:1/file");
  EXPECT_EQ(failed.value("state", ""), "FAILURE") << failed;
  EXPECT_THAT(ErrorOf(failed), HasSubstr(StrCat("127.0.0.1:", scheduler_->port())));
}

TEST_F(JobCalls, ListADirectory) {
  const testing::ObjectStorage storage(
      R"({"vendor": "s3", "bucket": "bucket", "region": "eu-north-1", "page_size": 2, "access_key_id": "id", )"
      R"("access_key_secret": "secret-of-the-store", "objects": {"models/a.txt": "alpha", "models/empty": "", )"
      R"("models/sub/b.bin": "beta", "other/x": "x"}})");
  StartManager("");
  ASSERT_FALSE(HasFatalFailure());
  StartScheduler();
  ASSERT_FALSE(HasFatalFailure());
  StartPeers();
  json job = {{"type", "list_task_entries"},
              {"args",
               {{"url", "s3://bucket/models/"},
                {"object_storage",
                 {{"endpoint", storage.Endpoint()},
                  {"region", "eu-north-1"},
                  {"access_key_id", "id"},
                  {"access_key_secret", "secret-of-the-store"}}}}}};
  // The hosts come to the scheduler with their first word.
  RestReply listed;
  ASSERT_TRUE(Await(
      [&] {
        listed = Call("POST", "/api/v1/jobs", job.dump());
        return listed.body.find("has no available peer") == std::string::npos;
      },
      kTimeout));
  ASSERT_EQ(listed.status, 200) << listed.body;
  EXPECT_EQ(listed.json["scheduler_cluster_id"], 1);
  std::vector<std::string> entries;
  for (const json& entry : listed.json["entries"]) {
    if (entry["is_dir"] == true) continue;
    entries.push_back(StrCat(entry["url"].get<std::string>(), " ", entry["content_length"].get<uint64_t>()));
  }
  std::ranges::sort(entries);
  EXPECT_THAT(entries, ElementsAre("s3://bucket/models/a.txt 5", "s3://bucket/models/empty 0",
                                   "s3://bucket/models/sub/b.bin 4"));
  job["args"]["object_storage"]["access_key_secret"] = "another";
  const RestReply refused = Call("POST", "/api/v1/jobs", job.dump());
  EXPECT_EQ(refused.status, 409) << refused.body;
  EXPECT_THAT(refused.body, AllOf(HasSubstr("403"), Not(HasSubstr("another"))));
}

TEST_F(JobCalls, FollowNoRedirectIntoAForbiddenNetwork) {
  StartManager("job: {preheat: {forbiddenNetworks: [169.254.0.0/16, 127.0.0.2/32]}}\n");
  ASSERT_FALSE(HasFatalFailure());
  StartScheduler();
  ASSERT_FALSE(HasFatalFailure());
  PeerSettings settings;
  settings.proxy = "  forbiddenNetworks: [169.254.0.0/16, 127.0.0.2/32]\n";
  StartPeers(settings);
  // Serves on 127.0.0.2, too: without the guard, each of these would succeed.
  std::filesystem::create_directories(dir_.path() + "/origin");
  Origin origin(dir_.path() + "/origin", 0, "127.0.0.2",
                "    location /metadata { return 302 http://169.254.169.254/latest/meta-data/; }\n"
                "    location /denied { return 302 http://127.0.0.2:$server_port/file; }\n"
                "    location /moved { return 302 http://127.0.0.1:$server_port/file; }\n"
                "    location /v2/ { return 302 http://127.0.0.2:$server_port/file; }\n");
  WriteRandomFile(origin.root() + "/file", 1 << 20);
  const std::string allowed = StrCat("http://127.0.0.1:", origin.port());
  const json moved = Preheat(allowed + "/moved");
  EXPECT_EQ(moved.value("state", ""), "SUCCESS") << moved;
  for (const auto& [path, address] : {std::pair{"/metadata", "169.254.169.254"}, {"/denied", "127.0.0.2"}}) {
    const json failed = Preheat(allowed + path);
    EXPECT_EQ(failed.value("state", ""), "FAILURE") << failed;
    EXPECT_THAT(ErrorOf(failed), AllOf(HasSubstr(address), HasSubstr("forbidden"))) << failed;
  }
  // The manager reads an image's manifest itself.
  const RestReply image =
      Call("POST", "/api/v1/jobs",
           json{{"type", "preheat"}, {"args", {{"type", "image"}, {"url", allowed + "/v2/a/manifests/1"}}}}.dump());
  EXPECT_EQ(image.status, 422) << image.body;
  EXPECT_THAT(image.body, AllOf(HasSubstr("127.0.0.2"), HasSubstr("forbidden")));
  for (const Origin::Entry& entry : origin.Log()) EXPECT_NE(entry.path, "/latest/meta-data/");
}

}  // namespace
}  // namespace dragonfly::e2e
