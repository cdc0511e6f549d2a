// SPDX-License-Identifier: Apache-2.0
// Every call that the original's console makes, in the order in which a person clicks, with the fields that it reads:
// console v0.2.9 (which dragonfly v2.3.0 serves) and v0.4.1, src/lib/api.ts.
#include <set>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "manager/secret.h"
#include "tests/unit/manager/rest_client.h"
#include "tests/unit/manager/running_manager.h"

namespace dragonfly::manager {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

// As the console: by the cookie, all of a list at once.
class Console : public ::testing::Test {
 protected:
  void SetUp() override {
    running_.Start();
    ASSERT_FALSE(HasFatalFailure());
    client_.emplace(running_.manager().rest_port());
    SignIn("root", running_.manager().first_password());
  }

  void SignIn(const std::string& name, const std::string& password) {
    const RestReply reply =
        client_->Call("POST", "/api/v1/users/signin", json{{"name", name}, {"password", password}}.dump());
    ASSERT_EQ(reply.status, 200) << reply.body;
    jwt_ = reply.cookies.at("jwt");
  }

  // The console takes 200 alone for a success.
  json Call(const std::string& method, const std::string& path, const std::string& body = "") {
    last_ = client_->Call(method, "/api/v1" + path, body, "", {{"Cookie", "jwt=" + jwt_}});
    EXPECT_EQ(last_.status, 200) << method << " " << path << " " << last_.body;
    return last_.json;
  }
  json All(const std::string& path) {
    const char separator = path.find('?') == std::string::npos ? '?' : '&';
    return Call("GET", path + separator + "page=1&per_page=10000000");
  }

  static void ExpectFields(const json& object, const std::set<std::string>& fields) {
    ASSERT_TRUE(object.is_object()) << object;
    for (const std::string& field : fields) EXPECT_TRUE(object.contains(field)) << field << " of " << object;
  }

  // The claim that the console decodes to know who is signed in.
  json Claims() const {
    const size_t dot = jwt_.find('.');
    return json::parse(Base64UrlDecode(jwt_.substr(dot + 1, jwt_.rfind('.') - dot - 1)));
  }

  RunningManager running_{db::Engine::kSqlite};
  std::optional<RestClient> client_;
  std::string jwt_;
  RestReply last_;
};

TEST_F(Console, ShowsAndChangesClusters) {
  const json made = Call("POST", "/clusters",
                         R"({"name":"gpu","bio":"","is_default":false,"scopes":{"idc":"a|b","location":"x|y",)"
                         R"("cidrs":["10.0.0.0/8"],"hostnames":["^gpu-"]},"scheduler_cluster_config":{)"
                         R"("candidate_parent_limit":4,"filter_parent_limit":40,"job_rate_limit":10},)"
                         R"("seed_peer_cluster_config":{"load_limit":2000},"peer_cluster_config":{"load_limit":200}})");
  const std::set<std::string> fields = {"id",
                                        "name",
                                        "bio",
                                        "is_default",
                                        "scheduler_cluster_id",
                                        "scopes",
                                        "created_at",
                                        "updated_at",
                                        "seed_peer_cluster_id",
                                        "scheduler_cluster_config",
                                        "seed_peer_cluster_config",
                                        "peer_cluster_config"};
  ExpectFields(made, fields);
  for (const json& cluster : All("/clusters")) ExpectFields(cluster, fields);
  const std::string one = "/clusters/" + made["id"].dump();
  const json shown = Call("GET", one);
  ExpectFields(shown["scopes"], {"idc", "location", "cidrs", "hostnames"});
  ExpectFields(shown["scheduler_cluster_config"], {"candidate_parent_limit", "filter_parent_limit", "job_rate_limit"});
  ExpectFields(shown["peer_cluster_config"], {"load_limit"});
  const json changed = Call("PATCH", one,
                            R"({"bio":"b","peer_cluster_config":{"load_limit":300,"block_list":{"task":{)"
                            R"("download":{"applications":["a"],"urls":[],"tags":[],"priorities":[]}}}}})");
  // The block list of later consoles is kept.
  EXPECT_EQ(changed["peer_cluster_config"]["block_list"]["task"]["download"]["applications"][0], "a");
  Call("DELETE", one);
}

TEST_F(Console, ShowsInstances) {
  const json scheduler =
      Call("POST", "/schedulers", R"({"host_name":"s","ip":"10.0.0.1","port":8002,"scheduler_cluster_id":1})");
  Call("POST", "/seed-peers",
       R"({"host_name":"p","type":"super","ip":"10.0.0.2","port":4000,"download_port":4001,)"
       R"("seed_peer_cluster_id":1})");
  Call("POST", "/peers",
       R"({"host_name":"n","type":"normal","ip":"10.0.0.3","port":4000,"download_port":4001,)"
       R"("scheduler_cluster_id":1,"git_version":"v2.3.0","git_commit":"abc"})");
  EXPECT_EQ(Call("GET", "/scheduler-features"), json({"schedule", "preheat"}));
  const std::set<std::string> fields = {
      "id",         "host_name",           "ip", "port", "state", "idc", "location", "features", "created_at",
      "updated_at", "scheduler_cluster_id"};
  const json schedulers = All("/schedulers?scheduler_cluster_id=1");
  ASSERT_EQ(schedulers.size(), 1);
  ExpectFields(schedulers[0], fields);
  EXPECT_TRUE(schedulers[0]["features"].is_array());
  const std::string one = "/schedulers/" + scheduler["id"].dump();
  ExpectFields(Call("GET", one), fields);
  EXPECT_EQ(Call("PATCH", one, R"({"features":["schedule"]})")["features"], json({"schedule"}));
  Call("DELETE", one);

  const json seeds = All("/seed-peers?seed_peer_cluster_id=1");
  ASSERT_EQ(seeds.size(), 1);
  ExpectFields(seeds[0], {"id", "host_name", "ip", "port", "download_port", "object_storage_port", "type", "state",
                          "created_at", "updated_at", "seed_peer_cluster_id"});
  ExpectFields(Call("GET", "/seed-peers/" + seeds[0]["id"].dump()), {"id", "host_name"});
  Call("DELETE", "/seed-peers/" + seeds[0]["id"].dump());

  // What goes into its CSV.
  const json peers = All("/peers?scheduler_cluster_id=1");
  ASSERT_EQ(peers.size(), 1);
  ExpectFields(peers[0], {"id",
                          "created_at",
                          "updated_at",
                          "is_del",
                          "host_name",
                          "type",
                          "idc",
                          "location",
                          "ip",
                          "port",
                          "download_port",
                          "object_storage_port",
                          "state",
                          "os",
                          "platform",
                          "platform_family",
                          "platform_version",
                          "kernel_version",
                          "git_version",
                          "git_commit",
                          "build_platform",
                          "scheduler_cluster",
                          "proxy_port"});
  ExpectFields(peers[0]["scheduler_cluster"],
               {"id", "name", "created_at", "updated_at", "is_del", "bio", "is_default", "seed_peer_clusters", "peers",
                "jobs", "scopes", "config", "client_config"});
}

TEST_F(Console, ShowsUsersAndTheirRoles) {
  const json guest = Call("POST", "/users/signup",
                          R"({"name":"alice","password":"correct1horse","email":"alice@example.com","phone":"",)"
                          R"("location":"","bio":"","avatar":""})");
  const std::set<std::string> fields = {"id",    "name",     "email", "avatar",     "phone",
                                        "state", "location", "bio",   "created_at", "updated_at"};
  ExpectFields(guest, fields);
  for (const json& user : All("/users")) ExpectFields(user, fields);
  const std::string one = "/users/" + guest["id"].dump();
  ExpectFields(Call("GET", one), fields);
  EXPECT_EQ(Call("GET", one + "/roles"), json({"guest"}));
  Call("PUT", one + "/roles/root");
  Call("DELETE", one + "/roles/guest");
  EXPECT_EQ(Call("GET", one + "/roles"), json({"root"}));
  // The profile of who is signed in.
  const std::string me = "/users/" + Claims()["id"].dump();
  EXPECT_EQ(Call("GET", me)["name"], "root");
  EXPECT_EQ(Call("PATCH", me, R"({"bio":"b","email":"r@example.com","location":"l","phone":"+49"})")["location"], "l");
  const json change = {{"old_password", running_.manager().first_password()}, {"new_password", "another1password"}};
  Call("POST", me + "/reset_password", change.dump());
  Call("POST", "/users/signout");
  SignIn("root", "another1password");
}

TEST_F(Console, ShowsTokensOnce) {
  const json made = Call("POST", "/personal-access-tokens",
                         R"({"name":"ci","bio":"","expired_at":"2030-01-01T00:00:00Z","scopes":["job"],"user_id":1})");
  EXPECT_GE(made["token"].get<std::string>().size(), 48u);
  const std::set<std::string> fields = {"id",    "name",       "bio",     "token", "scopes",
                                        "state", "expired_at", "user_id", "user"};
  for (const json& token : All("/personal-access-tokens")) {
    ExpectFields(token, fields);
    EXPECT_EQ(token["user"]["name"], "root");
  }
  const std::string one = "/personal-access-tokens/" + made["id"].dump();
  ExpectFields(Call("GET", one), fields);
  EXPECT_EQ(Call("PATCH", one, R"({"bio":"x","expired_at":"2031-01-01T00:00:00Z","scopes":["job","cluster"]})")["bio"],
            "x");
  Call("DELETE", one);
}

TEST_F(Console, ShowsAuditsJobsAndTheGarbageCollection) {
  // It takes the first of all for the row "gc".
  const json gc = All("/configs").at(0);
  const json value = json::parse(gc["value"].get<std::string>());
  EXPECT_GT(value["audit"]["ttl"], 0);
  EXPECT_GT(value["job"]["ttl"], 0);
  const json change = {{"value", R"({"audit":{"ttl":86400000000000},"job":{"ttl":3600000000000}})"}};
  EXPECT_EQ(Call("PATCH", "/configs/" + gc["id"].dump(), change.dump())["name"], "gc");
  for (const char* const type : {"preheat", "delete_task", "gc"}) {
    EXPECT_TRUE(Call("GET", std::string("/jobs?page=1&per_page=10&state=SUCCESS&type=") + type).is_array());
    EXPECT_THAT(last_.header.at("link"), HasSubstr("per_page=10"));
    EXPECT_THAT(last_.header.at("link"), HasSubstr(">;rel=last"));
  }
  json audits;
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(15);
  do {
    audits = Call("GET", "/audits?page=1&per_page=10&actor_name=root&actor_type=USER&operation=PATCH&state=SUCCESS");
  } while (audits.empty() && std::chrono::steady_clock::now() < deadline);
  ASSERT_GE(audits.size(), 1u);
  ExpectFields(audits[0], {"id", "actor_name", "path", "operation", "actor_type", "status_code", "state", "operated_at",
                           "event_type", "detail"});
}

// Errors as its snackbars show them.
TEST_F(Console, TellsErrorsInTheFieldThatItReads) {
  const auto status = [&](const std::string& method, const std::string& path, const std::string& body) {
    last_ = client_->Call(method, "/api/v1" + path, body, "", {{"Cookie", "jwt=" + jwt_}});
    return last_.status;
  };
  EXPECT_EQ(status("GET", "/clusters/999", ""), 404);
  EXPECT_EQ(last_.json["message"], "record not found");
  EXPECT_EQ(status("POST", "/users/signin", R"({"name":"root","password":"wrong-wrong"})"), 401);
  EXPECT_EQ(last_.json["message"], "Unauthorized");
}

}  // namespace
}  // namespace dragonfly::manager
