// SPDX-License-Identifier: Apache-2.0
// Jobs with real programs: managers on one PostgreSQL and one Redis, a scheduler, hosts with networks of their own, a
// docker-registry and nginx.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "base/text.h"
#include "tests/e2e/harness/cluster.h"
#include "tests/e2e/harness/manager_process.h"
#include "tests/e2e/harness/network.h"
#include "tests/e2e/harness/origin.h"
#include "tests/e2e/harness/peer_host.h"
#include "tests/e2e/harness/registry.h"
#include "tests/support/redis_server.h"
#include "tests/support/sql_server.h"

namespace dragonfly::e2e {
namespace {

using manager::RestClient;
using manager::RestReply;
using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

constexpr std::chrono::seconds kTimeout{60};
constexpr uint64_t kMiB = 1 << 20;

class Jobs : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { has_network_ = EnterOwnNetwork(); }
  void SetUp() override {
    if (!has_network_) GTEST_SKIP() << "needs the rights to make network namespaces";
  }

  void StartManager(const std::string& name, bool with_redis) {
    std::ofstream(dir_.path() + "/password") << testing::SqlServer::kPassword;
    std::string lines = StrCat("database:\n  type: postgres\n  postgres: {user: dragonfly, passwordFile: ", dir_.path(),
                               "/password, host: 127.0.0.1, port: ", sql_->port(), "}\n");
    if (with_redis) lines += StrCat("  redis: {addrs: ['", redis_->address(), "']}\n");
    managers_[name] = std::make_unique<ManagerProcess>(dir_.path() + "/" + name, lines);
  }
  void Start(size_t peers, const std::string& peer_lines = "", bool with_redis = true) {
    sql_ = std::make_unique<testing::SqlServer>(testing::SqlServer::Kind::kPostgres);
    if (with_redis) redis_ = std::make_unique<testing::RedisServer>();
    StartManager("manager-1", with_redis);
    std::string lines = StrCat("manager: {addr: '127.0.0.1:", managers_["manager-1"]->grpc_port(),
                               "', schedulerClusterID: 1, keepAlive: {interval: 1s}}\n");
    if (with_redis) lines += StrCat("database: {redis: {addrs: ['", redis_->address(), "']}}\n");
    cluster_ = std::make_unique<HostCluster>(dir_.path(), peers, peer_lines, lines);
    token_ = managers_["manager-1"]->SignIn();
    ASSERT_NE(token_, "");
    ASSERT_TRUE(Await([&] { return Call("GET", "/api/v1/schedulers?state=active").json.size() == 1; }, kTimeout))
        << cluster_->scheduler().Log();
  }
  RestClient Client() { return managers_["manager-1"]->Client(); }
  RestReply Call(const std::string& method, const std::string& path, const std::string& body = "") {
    return Client().Call(method, path, body, token_);
  }

  // Makes the job and waits for its end.
  json Run(const json& job) {
    const RestReply created = Call("POST", "/api/v1/jobs", job.dump());
    EXPECT_EQ(created.status, 200) << created.body;
    if (created.status != 200) return json::object();
    return Ended(created.json["id"]);
  }
  json Ended(int64_t id) {
    json last;
    EXPECT_TRUE(Await(
        [&] {
          last = Call("GET", StrCat("/api/v1/jobs/", id)).json;
          return last.value("state", "") != "PENDING";
        },
        kTimeout))
        << last;
    return last;
  }
  static std::vector<std::string> HostsOf(const json& job, const char* list) {
    std::vector<std::string> names;
    for (const json& state : job["result"]["job_states"]) {
      for (const json& result : state["results"]) {
        if (result[list].is_null()) continue;
        for (const json& entry : result[list]) names.push_back(entry.value("hostname", ""));
      }
    }
    std::ranges::sort(names);
    names.erase(std::unique(names.begin(), names.end()), names.end());
    return names;
  }

  static inline bool has_network_ = false;
  TempDir dir_;
  std::unique_ptr<testing::SqlServer> sql_;
  std::unique_ptr<testing::RedisServer> redis_;
  std::map<std::string, std::unique_ptr<ManagerProcess>> managers_;
  std::unique_ptr<HostCluster> cluster_;
  std::string token_;
};

// An index of two platforms under `tag`, made of images that were pushed before.
void PushIndex(const Registry& registry, const std::string& dir, const Image& amd64, const Image& arm64) {
  const auto descriptor = [](const Image& image, const char* architecture) {
    const std::string file = image.layout + "/blobs/sha256/" + image.manifest.substr(7);
    return json{{"mediaType", "application/vnd.oci.image.manifest.v1+json"},
                {"digest", image.manifest},
                {"size", std::filesystem::file_size(file)},
                {"platform", {{"os", "linux"}, {"architecture", architecture}}}};
  };
  const json index = {{"schemaVersion", 2},
                      {"mediaType", "application/vnd.oci.image.index.v1+json"},
                      {"manifests", {descriptor(amd64, "amd64"), descriptor(arm64, "arm64")}}};
  std::ofstream(dir + "/index.json") << index.dump();
  Process put({"/usr/bin/curl", "-sf", "-X", "PUT", "-H", "Content-Type: application/vnd.oci.image.index.v1+json",
               "--data-binary", "@" + dir + "/index.json", registry.url() + "/v2/team/app/manifests/multi"},
              dir + "/put.out");
  Output(put);
}

TEST_F(Jobs, BringAnImageToAllHostsFindItAndDeleteIt) {
  Registry registry(dir_.path() + "/registry", RegistrySettings{.address = std::string(kCenter) + ":5000"});
  const Image amd64 = MakeImage(dir_.path() + "/amd64", {{20 * kMiB, 1}, {5 * kMiB, 2}, {1000, 3}});
  const Image arm64 = MakeImage(dir_.path() + "/arm64", {{8 * kMiB, 4}});
  for (const auto& [image, tag] : {std::pair{&amd64, "amd64"}, {&arm64, "arm64"}}) {
    Process push({"/usr/bin/skopeo", "copy", "--quiet", "--preserve-digests", "--dest-tls-verify=false",
                  "oci:" + image->layout, "docker://" + registry.address() + "/team/app:" + tag},
                 dir_.path() + "/push.out");
    Output(push);
  }
  PushIndex(registry, dir_.path(), amd64, arm64);
  Start(3,
        StrCat("proxy:\n  rules:\n    - regex: 'blobs/sha256.*'\n  registryMirror:\n    addr: ", registry.url(), "\n"));
  if (HasFatalFailure()) return;
  registry.Forget();

  const std::string manifest = registry.url() + "/v2/team/app/manifests/multi";
  const json preheated =
      Run({{"type", "preheat"},
           {"args", {{"type", "image"}, {"url", manifest}, {"platform", "linux/amd64"}, {"scope", "all_peers"}}}});
  ASSERT_EQ(preheated.value("state", ""), "SUCCESS") << preheated << cluster_->scheduler().Log();
  EXPECT_THAT(HostsOf(preheated, "success_tasks"), ElementsAre("host-10", "host-11", "host-12", "host-13"));
  EXPECT_THAT(HostsOf(preheated, "failure_tasks"), IsEmpty());
  for (const Blob& blob : amd64.blobs) EXPECT_EQ(registry.BytesSent(blob.digest), blob.size) << blob.digest;
  for (const Blob& blob : arm64.blobs) EXPECT_EQ(registry.BytesSent(blob.digest), 0u) << "of another platform";

  // What is pulled now comes from the hosts.
  registry.Forget();
  for (size_t i = 0; i < cluster_->size(); ++i) {
    Host& host = cluster_->peer(i).host();
    host.Run({"skopeo", "copy", "--quiet", "--override-os", "linux", "--override-arch", "amd64",
              "--src-tls-verify=false", "docker://127.0.0.1:4001/team/app:multi", "dir:" + host.dir() + "/pulled"});
    for (const Blob& blob : amd64.blobs) {
      EXPECT_TRUE(SameContent(host.dir() + "/pulled/" + blob.digest.substr(7),
                              amd64.layout + "/blobs/sha256/" + blob.digest.substr(7)));
    }
  }
  EXPECT_THAT(registry.BlobsSent(), IsEmpty());

  // By the image, in about a second.
  const auto begun = std::chrono::steady_clock::now();
  const RestReply found =
      Call("POST", "/api/v1/jobs",
           json{{"type", "get_image_distribution"}, {"args", {{"url", manifest}, {"platform", "linux/amd64"}}}}.dump());
  ASSERT_EQ(found.status, 200) << found.body;
  EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(5));
  EXPECT_THAT(found.json["image"]["layers"], SizeIs(amd64.blobs.size()));
  ASSERT_THAT(found.json["peers"], SizeIs(3)) << "seeds are left out";
  for (const json& peer : found.json["peers"]) EXPECT_THAT(peer["cached_layers"], SizeIs(amd64.blobs.size()));

  // By the URL, and by the id that this tells.
  const std::string blob = registry.url() + "/v2/team/app/blobs/" + amd64.blobs.front().digest;
  const json by_url = Run({{"type", "get_task"}, {"args", {{"url", blob}}}});
  EXPECT_THAT(HostsOf(by_url, "peers"), ElementsAre("host-10", "host-11", "host-12", "host-13")) << by_url;
  const std::string task_id = by_url["args"]["task_id"];
  EXPECT_THAT(HostsOf(Run({{"type", "get_task"}, {"args", {{"task_id", task_id}}}}), "peers"), SizeIs(4));

  const json deleted = Run({{"type", "delete_task"}, {"args", {{"task_id", task_id}}}});
  EXPECT_EQ(deleted.value("state", ""), "SUCCESS") << deleted;
  EXPECT_THAT(HostsOf(deleted, "success_tasks"), ElementsAre("host-10", "host-11", "host-12", "host-13"));
  EXPECT_THAT(HostsOf(deleted, "failure_tasks"), IsEmpty());
  EXPECT_THAT(HostsOf(Run({{"type", "get_task"}, {"args", {{"task_id", task_id}}}}), "peers"), IsEmpty());

  // The table of peers.
  EXPECT_EQ(Call("POST", "/api/v1/jobs", R"({"type":"sync_peers"})").status, 200);
  std::set<std::string> names;
  for (const json& peer : Call("GET", "/api/v1/peers").json) names.insert(peer["host_name"]);
  EXPECT_THAT(names, UnorderedElementsAre("host-10", "host-11", "host-12", "host-13"));
}

TEST_F(Jobs, BringFilesToExactlyTheHostsThatAreMeant) {
  Start(3);
  if (HasFatalFailure()) return;
  std::filesystem::create_directories(dir_.path() + "/origin");
  Origin origin(dir_.path() + "/origin", 0, kCenter);
  int made = 0;
  const auto hosts_of = [&](json args) {
    const std::string name = "file-" + std::to_string(made++);
    WriteRandomFile(origin.root() + "/" + name, 2 * kMiB, static_cast<uint64_t>(made));
    args["type"] = "file";
    args["url"] = origin.Url(name);
    const json job = Run({{"type", "preheat"}, {"args", args}});
    EXPECT_EQ(job.value("state", ""), "SUCCESS") << job;
    EXPECT_EQ(origin.BytesSent(name), 2 * kMiB);
    // A seed may have fetched it for the others, and is not what is asked about then.
    return HostsOf(job, "success_tasks");
  };
  using Names = std::vector<std::string>;
  EXPECT_EQ(hosts_of({}), Names({"host-10"}));
  EXPECT_EQ(hosts_of({{"scope", "all_seed_peers"}}), Names({"host-10"}));
  EXPECT_EQ(hosts_of({{"scope", "all_peers"}}), Names({"host-10", "host-11", "host-12", "host-13"}));
  EXPECT_THAT(hosts_of({{"scope", "all_peers"}, {"percentage", 50}}), SizeIs(2));
  EXPECT_THAT(hosts_of({{"scope", "all_peers"}, {"percentage", 1}}), SizeIs(1));
  EXPECT_THAT(hosts_of({{"scope", "all_peers"}, {"count", 3}, {"percentage", 1}}), SizeIs(3));
  EXPECT_THAT(hosts_of({{"scope", "all_peers"}, {"count", 100}}), SizeIs(4));
  EXPECT_EQ(hosts_of({{"scope", "all_peers"}, {"count", 1}, {"ips", {"10.77.0.12", "10.77.0.13"}}}),
            Names({"host-12", "host-13"}));
  const json nobody = Run(
      {{"type", "preheat"},
       {"args", {{"type", "file"}, {"url", origin.Url("file-0")}, {"scope", "all_peers"}, {"ips", {"10.77.0.99"}}}}});
  EXPECT_EQ(nobody.value("state", ""), "FAILURE");
  EXPECT_THAT(nobody["result"]["job_states"][0]["error"].get<std::string>(),
              ::testing::HasSubstr("has no available peer"));
}

TEST_F(Jobs, GoByCallsWithoutRedis) {
  Start(1, "", /*with_redis=*/false);
  if (HasFatalFailure()) return;
  std::filesystem::create_directories(dir_.path() + "/origin");
  Origin origin(dir_.path() + "/origin", 0, kCenter);
  WriteRandomFile(origin.root() + "/file", 3 * kMiB);
  const json done =
      Run({{"type", "preheat"}, {"args", {{"type", "file"}, {"url", origin.Url("file")}, {"scope", "all_peers"}}}});
  EXPECT_EQ(done.value("state", ""), "SUCCESS") << done;
  EXPECT_THAT(HostsOf(done, "success_tasks"), ElementsAre("host-10", "host-11"));
  const json found = Run({{"type", "get_task"}, {"args", {{"url", origin.Url("file")}}}});
  EXPECT_THAT(HostsOf(found, "peers"), ElementsAre("host-10", "host-11"));
}

TEST_F(Jobs, ShowPersistentCacheTasksWithTheirReplicas) {
  Start(2, "gc:\n  policy:\n    distHighThresholdPercent: 99\n");
  if (HasFatalFailure()) return;
  Host& host = cluster_->peer(0).host();
  WriteRandomFile(host.dir() + "/file", kMiB);
  host.Run({Program("dfcache"), "import", host.dir() + "/file", "--persistent-replica-count", "2", "--tag", "t",
            "--endpoint", host.dir() + "/dfdaemon.sock"});
  const std::string path = "/api/v1/persistent-cache-tasks";
  const std::string cluster = "?scheduler_cluster_id=1";
  json task;
  EXPECT_TRUE(Await(
      [&] {
        const json list = Call("GET", path + cluster).json;
        if (!list.is_array() || list.size() != 1 || list[0]["peers"].size() != 2) return false;
        task = list[0];
        return std::ranges::all_of(task["peers"], [](const json& peer) { return peer["state"] == "Succeeded"; });
      },
      kTimeout))
      << Call("GET", path + cluster).body;
  EXPECT_EQ(task["state"], "Succeeded");
  EXPECT_EQ(task["tag"], "t");
  EXPECT_EQ(task["content_length"], kMiB);
  EXPECT_EQ(task["persistent_replica_count"], 2);
  std::set<std::string> hosts;
  for (const json& peer : task["peers"]) {
    EXPECT_EQ(peer["persistent"], true);
    EXPECT_TRUE(peer["host"]["cpu"]["logical_count"].is_number()) << peer;
    hosts.insert(peer["host"]["hostname"]);
  }
  EXPECT_THAT(hosts, SizeIs(2));
  EXPECT_EQ(Call("GET", path).status, 422);
  const std::string one = StrCat(path, "/", task["id"].get<std::string>(), cluster);
  EXPECT_EQ(Call("GET", one).json["id"], task["id"]);
  EXPECT_EQ(Call("DELETE", one).status, 200);
  EXPECT_EQ(Call("GET", one).status, 404);
  EXPECT_THAT(Call("GET", path + cluster).json, IsEmpty());
}

TEST_F(Jobs, AreNeitherLostNorDoneTwiceWhenManagersAreKilled) {
  Start(1);
  if (HasFatalFailure()) return;
  StartManager("manager-2", /*with_redis=*/true);
  std::filesystem::create_directories(dir_.path() + "/origin");
  Origin origin(dir_.path() + "/origin", 0, kCenter);
  // As many a second as come.
  ASSERT_EQ(Call("PATCH", "/api/v1/clusters/1",
                 R"({"scheduler_cluster_config":{"candidate_parent_limit":4,"filter_parent_limit":15,)"
                 R"("job_rate_limit":10000}})")
                .status,
            200);
  std::minstd_rand random(11);
  const std::vector<std::string> names = {"manager-1", "manager-2"};
  std::map<std::string, std::string> accepted;  // group by URL
  std::string down;
  int retries = 0;
  for (int i = 0; i < 120; ++i) {
    const std::string name = "file-" + std::to_string(i);
    WriteRandomFile(origin.root() + "/" + name, 1000, static_cast<uint64_t>(i));
    const json job = {{"type", "preheat"}, {"args", {{"type", "file"}, {"url", origin.Url(name)}}}};
    if (i % 20 == 10) {
      down = names[random() % 2];
      managers_[down]->Kill();
    }
    std::optional<RestReply> reply;
    for (int attempt = 0; attempt < 2 && !reply.has_value(); ++attempt) {
      const std::string& at = names[(static_cast<size_t>(i) + static_cast<size_t>(attempt)) % 2];
      reply = TryCall(managers_[at]->Client(), "POST", "/api/v1/jobs", job.dump(), token_);
      retries += attempt;
    }
    ASSERT_TRUE(reply.has_value()) << "one retry was not enough";
    ASSERT_EQ(reply->status, 200) << reply->body;
    accepted[origin.Url(name)] = reply->json["task_id"];
    if (i % 20 == 19) managers_[down]->Start();
  }
  EXPECT_GT(retries, 0);
  // All of them end, also those whose manager was killed, and those that only the database has got to know.
  json jobs;
  EXPECT_TRUE(Await(
      [&] {
        jobs = Call("GET", "/api/v1/jobs?per_page=1000&state=PENDING").json;
        return jobs.is_array() && jobs.empty();
      },
      std::chrono::seconds(120)))
      << jobs;
  std::map<std::string, json> by_group;
  for (const json& job : Call("GET", "/api/v1/jobs?per_page=1000").json) by_group[job["task_id"]] = job;
  std::string log = cluster_->scheduler().Log();
  for (const auto& [url, group] : accepted) {
    ASSERT_TRUE(by_group.contains(group)) << url;
    const json& job = by_group[group];
    EXPECT_EQ(job["state"], "SUCCESS") << job;
    ASSERT_THAT(job["result"]["job_states"], SizeIs(1));
    const std::string begins =
        StrCat("job preheat ", job["result"]["job_states"][0]["task_uuid"].get<std::string>(), ": begins");
    const size_t first = log.find(begins);
    ASSERT_NE(first, std::string::npos) << begins;
    EXPECT_EQ(log.find(begins, first + 1), std::string::npos) << "done twice: " << begins;
  }
}

}  // namespace
}  // namespace dragonfly::e2e
