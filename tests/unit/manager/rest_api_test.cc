// SPDX-License-Identifier: Apache-2.0
// The REST API as the console and its users see it.
#include "manager/rest_api.h"

#include <fstream>
#include <random>
#include <set>
#include <thread>

#include "base/text.h"
#include "db/database.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/manager/rest_client.h"
#include "tests/unit/manager/running_manager.h"

namespace dragonfly::manager {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::Contains;
using ::testing::Each;
using ::testing::Eq;
using ::testing::Ge;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Lt;
using ::testing::Not;

constexpr char kCluster[] =
    R"({"name":"gpu","bio":"b","is_default":true,"scopes":{"idc":"eu","cidrs":["10.0.0.0/8"],"hostnames":["^gpu-"]},)"
    R"("scheduler_cluster_config":{"candidate_parent_limit":5,"filter_parent_limit":40,"job_rate_limit":10},)"
    R"("seed_peer_cluster_config":{"load_limit":300},"peer_cluster_config":{"load_limit":50}})";

class RestApi : public ::testing::TestWithParam<db::Engine> {
 protected:
  void SetUp() override {
    running_.Start();
    ASSERT_FALSE(HasFatalFailure());
    client_.emplace(running_.manager().rest_port());
    root_ = SignIn("root", running_.manager().first_password());
  }

  RestReply Call(const std::string& method, const std::string& target, const std::string& body = "") {
    return client_->Call(method, target, body, root_);
  }

  std::string SignIn(const std::string& name, const std::string& password) {
    const RestReply reply =
        client_->Call("POST", "/api/v1/users/signin", json{{"name", name}, {"password", password}}.dump());
    EXPECT_EQ(reply.status, 200) << reply.body;
    return reply.json.is_object() ? reply.json.value("token", "") : "";
  }

  // A user with the role guest.
  std::string SignUp(const std::string& name) {
    const json body = {{"name", name}, {"password", "correct horse"}, {"email", name + "@example.com"}};
    const RestReply reply = client_->Call("POST", "/api/v1/users/signup", body.dump());
    EXPECT_EQ(reply.status, 200) << reply.body;
    return SignIn(name, "correct horse");
  }

  // The audits, once there are at least as many.
  json AwaitAudits(const std::string& query, size_t count) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(15);
    for (;;) {
      const RestReply reply = Call("GET", "/api/v1/audits?per_page=1000&" + query);
      if (reply.json.size() >= count || std::chrono::steady_clock::now() > deadline) return reply.json;
      std::this_thread::yield();
    }
  }

  RunningManager running_{GetParam()};
  std::optional<RestClient> client_;
  std::string root_;
};

// What no database can change.
class RestApiRules : public RestApi {};

TEST_P(RestApi, KeepsClusters) {
  const RestReply created = Call("POST", "/api/v1/clusters", kCluster);
  ASSERT_EQ(created.status, 200) << created.body;
  const std::string id = created.json["id"].dump();
  EXPECT_EQ(created.json["scheduler_cluster_id"], created.json["id"]);
  EXPECT_GT(created.json["seed_peer_cluster_id"], 1);
  EXPECT_EQ(created.json["scopes"]["idc"], "eu");
  EXPECT_EQ(created.json["peer_cluster_config"]["load_limit"], 50);

  EXPECT_EQ(Call("POST", "/api/v1/clusters", kCluster).status, 409);
  const RestReply patched =
      Call("PATCH", "/api/v1/clusters/" + id, R"({"bio":"","peer_cluster_config":{"load_limit":60}})");
  EXPECT_EQ(patched.json["bio"], "");
  EXPECT_EQ(patched.json["peer_cluster_config"]["load_limit"], 60);
  // What was not sent stays.
  EXPECT_EQ(patched.json["is_default"], true);
  EXPECT_EQ(patched.json["scopes"]["idc"], "eu");

  const RestReply listed = Call("GET", "/api/v1/clusters?name=gpu&page=1&per_page=1");
  ASSERT_EQ(listed.json.size(), 1);
  EXPECT_EQ(listed.json[0], Call("GET", "/api/v1/clusters/" + id).json);
  EXPECT_EQ(Call("DELETE", "/api/v1/clusters/" + id).status, 200);
  EXPECT_EQ(Call("GET", "/api/v1/clusters/" + id).status, 404);
  EXPECT_EQ(Call("GET", "/api/v1/seed-peer-clusters?name=gpu").json.size(), 0);
}

TEST_P(RestApiRules, LeavesSeedPeersToTheClustersThatShareThem) {
  const RestReply gpu = Call("POST", "/api/v1/clusters", kCluster);
  ASSERT_EQ(gpu.status, 200) << gpu.body;
  const std::string shared = gpu.json["seed_peer_cluster_id"].dump();
  ASSERT_EQ(Call("PUT", "/api/v1/seed-peer-clusters/" + shared + "/scheduler-clusters/1").status, 200);
  EXPECT_EQ(Call("GET", "/api/v1/clusters/1").json["seed_peer_cluster_id"], gpu.json["seed_peer_cluster_id"]);
  EXPECT_EQ(Call("POST", "/api/v1/seed-peers",
                 R"({"host_name":"h","type":"super","ip":"10.0.0.1","port":4000,"download_port":4001,)"
                 R"("seed_peer_cluster_id":)" +
                     shared + "}")
                .status,
            200);
  EXPECT_EQ(Call("DELETE", "/api/v1/clusters/" + gpu.json["id"].dump()).status, 200);
  EXPECT_EQ(Call("GET", "/api/v1/seed-peer-clusters/" + shared).status, 200);
  EXPECT_EQ(Call("GET", "/api/v1/clusters/1").json["seed_peer_cluster_id"], gpu.json["seed_peer_cluster_id"]);
  // It is the last one's.
  EXPECT_EQ(Call("DELETE", "/api/v1/clusters/1").status, 409);
}

TEST_P(RestApi, KeepsRowsOfEveryKind) {
  struct Kind {
    const char* path;
    const char* create;
    const char* patch;  // empty: there is none
    const char* changed;
  };
  const Kind kinds[] = {
      {"scheduler-clusters", R"({"name":"s","config":{},"client_config":{}})", R"({"bio":"x"})", "bio"},
      {"seed-peer-clusters", R"({"name":"p","config":{"load_limit":5}})", R"({"config":{"load_limit":6}})", "config"},
      {"schedulers", R"({"host_name":"h","ip":"10.0.0.1","port":8002,"scheduler_cluster_id":1})",
       R"({"features":["schedule"]})", "features"},
      {"seed-peers",
       R"({"host_name":"h","type":"super","ip":"10.0.0.1","port":4000,"download_port":4001,"seed_peer_cluster_id":1})",
       R"({"idc":"eu"})", "idc"},
      {"peers",
       R"({"host_name":"h","type":"normal","ip":"::1","port":4000,"download_port":4001,"scheduler_cluster_id":1})", "",
       ""},
      {"applications", R"({"name":"a","url":"https://a","priority":{"value":3,"urls":[]},"user_id":1})",
       R"({"user_id":1,"bio":"x"})", "bio"},
      {"configs", R"({"name":"c","value":"v","user_id":1})", R"({"value":"w"})", "value"},
      {"oauth", R"({"name":"github","client_id":"i","client_secret":"topsecret"})", R"({"bio":"x"})", "bio"},
  };
  for (const Kind& kind : kinds) {
    const std::string all = std::string("/api/v1/") + kind.path;
    const RestReply created = Call("POST", all, kind.create);
    ASSERT_EQ(created.status, 200) << all << created.body;
    EXPECT_THAT(created.body, Not(HasSubstr("topsecret")));
    const std::string one = all + "/" + created.json["id"].dump();
    EXPECT_EQ(Call("GET", one).json, created.json) << one;
    EXPECT_THAT(Call("GET", all + "?per_page=100").json, Contains(created.json)) << all;
    EXPECT_EQ(Call("POST", all, kind.create).status, 409) << all;
    EXPECT_EQ(Call("POST", all, "{}").status, 422) << all;
    if (*kind.patch != '\0') {
      const RestReply patched = Call("PATCH", one, kind.patch);
      EXPECT_EQ(patched.status, 200) << patched.body;
      EXPECT_EQ(patched.json[kind.changed], json::parse(kind.patch)[kind.changed]);
    }
    EXPECT_EQ(Call("DELETE", one).status, 200) << one;
    EXPECT_EQ(Call("DELETE", one).status, 404) << one;
    EXPECT_EQ(Call("GET", one).status, 404) << one;
  }
}

TEST_P(RestApi, KnowsItsUsers) {
  const std::string guest = SignUp("alice");
  EXPECT_EQ(client_->Call("GET", "/api/v1/users", "", guest).status, 200);
  const RestReply denied = client_->Call("PATCH", "/api/v1/users/1", R"({"bio":"x"})", guest);
  EXPECT_EQ(denied.status, 401);
  EXPECT_EQ(denied.json["message"], "permission deny");

  const json users = Call("GET", "/api/v1/users?name=alice").json;
  ASSERT_EQ(users.size(), 1);
  const std::string id = users[0]["id"].dump();
  EXPECT_THAT(Call("GET", "/api/v1/users").body, Not(HasSubstr("$2a$")));
  EXPECT_EQ(Call("GET", "/api/v1/users/" + id + "/roles").json, json({"guest"}));
  EXPECT_EQ(Call("PUT", "/api/v1/users/" + id + "/roles/root").status, 200);
  EXPECT_EQ(Call("PUT", "/api/v1/users/" + id + "/roles/root").status, 409);
  // Their rights change at once.
  EXPECT_EQ(client_->Call("PATCH", "/api/v1/users/1", R"({"bio":"x"})", guest).status, 200);
  EXPECT_EQ(Call("DELETE", "/api/v1/users/" + id + "/roles/root").status, 200);
  EXPECT_EQ(Call("DELETE", "/api/v1/users/" + id + "/roles/root").status, 404);
  EXPECT_EQ(client_->Call("PATCH", "/api/v1/users/1", R"({"bio":"x"})", guest).status, 401);

  const std::string reset = "/api/v1/users/" + id + "/reset_password";
  EXPECT_EQ(client_->Call("POST", reset, R"({"old_password":"wrong","new_password":"battery staple"})").status, 401);
  EXPECT_EQ(client_->Call("POST", reset, R"({"old_password":"correct horse","new_password":"battery staple"})").status,
            200);
  EXPECT_NE(SignIn("alice", "battery staple"), "");
}

TEST_P(RestApi, HandsOutAccessTokensThatItKeepsAsHashes) {
  const RestReply created =
      Call("POST", "/api/v1/personal-access-tokens",
           R"({"name":"ci","scopes":["cluster"],"expired_at":"2037-01-01T00:00:00Z","user_id":99})");
  ASSERT_EQ(created.status, 200) << created.body;
  const std::string token = created.json["token"];
  EXPECT_THAT(token.size(), Ge(48));
  // It belongs to who has made it.
  EXPECT_EQ(created.json["user_id"], 1);
  const std::string one = "/api/v1/personal-access-tokens/" + created.json["id"].dump();
  EXPECT_EQ(Call("GET", one).json["token"], "");
  EXPECT_EQ(Call("GET", one).json["user"]["name"], "root");

  EXPECT_EQ(client_->Call("GET", "/oapi/v1/clusters", "", token).status, 200);
  const RestReply other_scope = client_->Call("GET", "/oapi/v1/jobs", "", token);
  EXPECT_EQ(other_scope.status, 403);
  EXPECT_THAT(other_scope.json["message"], HasSubstr("Required permission: job"));
  EXPECT_EQ(client_->Call("GET", "/oapi/v1/clusters", "", "x" + token).status, 401);
  EXPECT_EQ(client_->Call("GET", "/oapi/v1/clusters").status, 401);
  // It is no session.
  EXPECT_EQ(client_->Call("GET", "/api/v1/clusters", "", token).status, 401);

  // What a column cannot hold is the caller's mistake.
  EXPECT_THAT(Call("PATCH", one, R"({"expired_at":"2099-01-01T00:00:00Z"})").status, AnyOf(Eq(200), Eq(422)));

  // A change of something else leaves its scopes alone.
  EXPECT_EQ(Call("PATCH", one, R"({"bio":"x"})").json["scopes"], json({"cluster"}));
  EXPECT_EQ(Call("PATCH", one, R"({"state":"inactive"})").status, 200);
  const RestReply inactive = client_->Call("GET", "/oapi/v1/clusters", "", token);
  EXPECT_EQ(inactive.status, 403);
  EXPECT_EQ(inactive.json["message"], "Token is inactive");
  EXPECT_EQ(Call("PATCH", one, R"({"state":"active","expired_at":"2020-01-01T00:00:00Z"})").status, 200);
  EXPECT_EQ(client_->Call("GET", "/oapi/v1/clusters", "", token).json["message"], "Token has expired");
}

// PostgreSQL ends texts at a zero byte; MySQL compares without case and blanks at the end.
TEST_P(RestApi, TakesRolesByTheirWholeName) {
  for (const char* const name : {"ROOT", "Root", "root%20", "root%00", "root%00x", "root%ff"}) {
    const std::string role = StrCat("/api/v1/roles/", name);
    EXPECT_THAT(Call("DELETE", role).status, AnyOf(404, 422)) << name;
    EXPECT_THAT(Call("DELETE", role + "/permissions", R"({"object":"users","action":"*"})").status, AnyOf(404, 422))
        << name;
    EXPECT_THAT(Call("PUT", StrCat("/api/v1/users/1/roles/", name)).status, AnyOf(404, 422)) << name;
    EXPECT_THAT(Call("DELETE", StrCat("/api/v1/users/1/roles/", name)).status, AnyOf(404, 422)) << name;
    const RestReply shown = Call("GET", role);
    EXPECT_TRUE(shown.json == json::array() || shown.status == 422) << name << shown.body;
  }
  EXPECT_EQ(Call("GET", "/api/v1/users/1/roles").json, json({"root"}));
  EXPECT_EQ(Call("GET", "/api/v1/roles/root").json.size(), 18u);
  // Its holder is none of the other's.
  EXPECT_EQ(
      Call("POST", "/api/v1/roles", R"({"role":"ROOT","permissions":[{"object":"peers","action":"read"}]})").status,
      200);
  const std::string alice = SignUp("alice");
  EXPECT_EQ(Call("PUT", "/api/v1/users/2/roles/ROOT").status, 200);
  EXPECT_EQ(Call("GET", "/api/v1/roles").json, json({"root", "guest", "ROOT"}));
  EXPECT_EQ(client_->Call("PATCH", "/api/v1/users/1", R"({"bio":"x"})", alice).status, 401);
  EXPECT_EQ(Call("DELETE", "/api/v1/roles/ROOT").status, 200);
  EXPECT_EQ(Call("GET", "/api/v1/roles").json, json({"root", "guest"}));
}

TEST_P(RestApi, WritesDownWhoChangedWhat) {
  Call("PATCH", "/api/v1/users/1", R"({"bio":"x"})");
  client_->Call("POST", "/api/v1/users/signin", R"({"name":"mallory","password":"guess-guess"})");
  // Longer than its column.
  Call("DELETE", "/api/v1/users/1/roles/" + std::string(3000, 'x'));
  const json changes = AwaitAudits("actor_name=root&operation=PATCH", 1);
  ASSERT_GE(changes.size(), 1);
  EXPECT_EQ(changes[0]["path"], "/api/v1/users/1");
  EXPECT_EQ(changes[0]["state"], "SUCCESS");
  EXPECT_EQ(changes[0]["detail"]["client"], "127.0.0.1");
  const json guesses = AwaitAudits("actor_name=mallory", 1);
  ASSERT_GE(guesses.size(), 1);
  EXPECT_EQ(guesses[0]["status_code"], 401);
  EXPECT_EQ(AwaitAudits("operation=DELETE", 1)[0]["path"].get<std::string>().size(), 1024);
}

TEST_P(RestApi, ForgetsOldAudits) {
  // Only what was there when the manager starts is looked at within the time of a test.
  Call("PATCH", "/api/v1/users/1", R"({"bio":"x"})");
  ASSERT_GE(AwaitAudits("operation=PATCH", 1).size(), 1u);
  const std::string id = Call("GET", "/api/v1/configs?name=gc").json[0]["id"].dump();
  const json value = {{"value", R"({"audit":{"ttl":1},"job":{"ttl":1}})"}};
  ASSERT_EQ(Call("PATCH", "/api/v1/configs/" + id, value.dump()).status, 200);
  running_.Stop();
  running_.Start();
  client_.emplace(running_.manager().rest_port());
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(15);
  while (!Call("GET", "/api/v1/audits").json.empty() && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::yield();
  }
  EXPECT_THAT(Call("GET", "/api/v1/audits").json, IsEmpty());
}

TEST_P(RestApi, ForgetsInactiveHosts) {
  for (const char* const name : {"gone", "here"}) {
    const json scheduler = {{"host_name", name}, {"ip", "10.0.0.1"}, {"port", 8002}, {"scheduler_cluster_id", 1}};
    EXPECT_EQ(Call("POST", "/api/v1/schedulers", scheduler.dump()).status, 200);
    const json seed = {{"host_name", name}, {"type", "super"},       {"ip", "10.0.0.2"},
                       {"port", 4000},      {"download_port", 4001}, {"seed_peer_cluster_id", 1}};
    EXPECT_EQ(Call("POST", "/api/v1/seed-peers", seed.dump()).status, 200);
  }
  // One of each stays active while its stream is open.
  grpc::ClientContext contexts[2];
  google::protobuf::Empty empty;
  const auto stub = running_.Stub();
  std::vector<std::unique_ptr<grpc::ClientWriter<::manager::v2::KeepAliveRequest>>> streams;
  for (const auto source : {::manager::v2::SCHEDULER_SOURCE, ::manager::v2::SEED_PEER_SOURCE}) {
    ::manager::v2::KeepAliveRequest beat;
    beat.set_source_type(source);
    beat.set_hostname("here");
    beat.set_ip(source == ::manager::v2::SCHEDULER_SOURCE ? "10.0.0.1" : "10.0.0.2");
    beat.set_cluster_id(1);
    streams.push_back(stub->KeepAlive(&contexts[streams.size()], &empty));
    ASSERT_TRUE(streams.back()->Write(beat));
  }
  const auto count = [&](const char* path) { return Call("GET", std::string("/api/v1/") + path).json.size(); };
  const auto await = [&](const std::function<bool()>& done) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(15);
    while (!done() && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
    EXPECT_TRUE(done());
  };
  await([&] {
    return Call("GET", "/api/v1/schedulers?state=active").json.size() == 1 &&
           Call("GET", "/api/v1/seed-peers?state=active").json.size() == 1;
  });
  // Another manager on the database, which keeps nothing for long.
  ManagerConfig config = running_.Config();
  config.gc.inactive_ttl = absl::Milliseconds(1);
  runtime::IoThreads io(1);
  auto other = Manager::Start(config, io);
  ASSERT_TRUE(other.ok()) << other.status();
  await([&] { return count("schedulers") == 1 && count("seed-peers") == 1; });
  EXPECT_EQ(Call("GET", "/api/v1/schedulers").json[0]["host_name"], "here");
  EXPECT_EQ(Call("GET", "/api/v1/seed-peers").json[0]["host_name"], "here");
  (*other)->Stop(Clock::now());
  for (grpc::ClientContext& context : contexts) context.TryCancel();
}

// What is changed here is what the data plane hears next.
TEST_P(RestApiRules, TellsTheDataPlaneAtOnce) {
  namespace api = ::manager::v2;
  EXPECT_EQ(
      Call("POST", "/api/v1/applications",
           R"({"name":"a","url":"https://a","priority":{"value":3,"urls":[{"regex":"x","value":5}]},"user_id":1})")
          .status,
      200);
  api::ListApplicationsRequest request;
  request.set_hostname("peer-1");
  request.set_ip("10.0.0.9");
  api::ListApplicationsResponse applications;
  grpc::ClientContext first;
  ASSERT_TRUE(running_.Stub()->ListApplications(&first, request, &applications).ok());
  ASSERT_EQ(applications.applications_size(), 1);
  EXPECT_EQ(applications.applications(0).priority().value(), common::v2::LEVEL3);
  EXPECT_EQ(applications.applications(0).priority().urls(0).regex(), "x");
  EXPECT_EQ(applications.applications(0).priority().urls(0).value(), common::v2::LEVEL5);

  api::UpdateSchedulerRequest scheduler;
  scheduler.set_hostname("scheduler-1");
  scheduler.set_ip("10.0.0.1");
  scheduler.set_port(8002);
  scheduler.set_scheduler_cluster_id(1);
  api::Scheduler registered;
  grpc::ClientContext second;
  ASSERT_TRUE(running_.Stub()->UpdateScheduler(&second, scheduler, &registered).ok());
  EXPECT_EQ(Call("PATCH", "/api/v1/clusters/1", R"({"peer_cluster_config":{"load_limit":77}})").status, 200);
  api::GetSchedulerRequest get;
  get.set_hostname("scheduler-1");
  get.set_ip("10.0.0.1");
  get.set_scheduler_cluster_id(1);
  grpc::ClientContext third;
  ASSERT_TRUE(running_.Stub()->GetScheduler(&third, get, &registered).ok());
  EXPECT_EQ(registered.scheduler_cluster().client_config(), R"({"load_limit":77})");
}

TEST_P(RestApiRules, SetsACookieThatTheConsoleCanRead) {
  const RestReply reply = client_->Call(
      "POST", "/api/v1/users/signin", json{{"name", "root"}, {"password", running_.manager().first_password()}}.dump());
  EXPECT_THAT(reply.header.at("set-cookie"),
              AllOf(HasSubstr("jwt=" + reply.json["token"].get<std::string>()), HasSubstr("Path=/"),
                    HasSubstr("Max-Age=1209600"), HasSubstr("SameSite=Lax"), Not(HasSubstr("HttpOnly"))));
  EXPECT_THAT(client_->Call("POST", "/api/v1/users/signout").header.at("set-cookie"), HasSubstr("Max-Age=0"));
  const RestReply refreshed = client_->Call("POST", "/api/v1/users/refresh_token", "", root_);
  EXPECT_EQ(refreshed.status, 200);
  EXPECT_EQ(client_->Call("GET", "/api/v1/users", "", refreshed.json["token"]).status, 200);
  EXPECT_EQ(client_->Call("POST", "/api/v1/users/refresh_token", "", root_ + "x").status, 401);
}

TEST_P(RestApiRules, RefusesADisabledUserAtOnce) {
  const std::string guest = SignUp("alice");
  EXPECT_EQ(Call("POST", "/api/v1/roles",
                 R"({"role":"tokens","permissions":[{"object":"personal-access-tokens","action":"*"}]})")
                .status,
            200);
  EXPECT_EQ(Call("PUT", "/api/v1/users/2/roles/tokens").status, 200);
  const RestReply made = client_->Call("POST", "/api/v1/personal-access-tokens",
                                       R"({"name":"ci","expired_at":"2037-01-01T00:00:00Z"})", guest);
  ASSERT_EQ(made.status, 200) << made.body;
  const std::string token = made.json["token"];
  EXPECT_EQ(client_->Call("GET", "/oapi/v1/clusters", "", token).status, 200);
  EXPECT_EQ(client_->Call("GET", "/api/v1/users", "", guest).status, 200);
  // There is no route for it: it is done in the database, as another manager would.
  const auto disable = [&](const char* sql) {
    db::DatabaseOptions options;
    options.path = running_.Config().server.data_dir + "/manager.db";
    const auto database = db::Database::Open(options);
    ASSERT_TRUE(database.ok()) << database.status();
    const auto done =
        (*database)->RunHere<int64_t>([sql](db::Connection& connection) { return connection.Execute(sql); });
    ASSERT_TRUE(done.ok()) << done.status();
  };
  disable("UPDATE \"user\" SET state = 'disable' WHERE name = 'alice'");
  EXPECT_EQ(client_->Call("GET", "/api/v1/users", "", guest).status, 401);
  EXPECT_EQ(client_->Call("POST", "/api/v1/users/refresh_token", "", guest).status, 401);
  EXPECT_EQ(client_->Call("POST", "/api/v1/users/signin", R"({"name":"alice","password":"correct horse"})").status,
            401);
  // Nor may the user's tokens do what the user may not.
  const RestReply by_token = client_->Call("GET", "/oapi/v1/clusters", "", token);
  EXPECT_EQ(by_token.status, 403);
  EXPECT_EQ(by_token.json["message"], "The user of the token is disabled");
}

TEST_P(RestApiRules, KnowsUsersOfLargeNumbers) {
  db::DatabaseOptions options;
  options.path = running_.Config().server.data_dir + "/manager.db";
  SignUp("alice");
  {
    const auto database = db::Database::Open(options);
    ASSERT_TRUE(database.ok()) << database.status();
    const auto done = (*database)->RunHere<int64_t>([](db::Connection& connection) -> absl::StatusOr<int64_t> {
      const auto moved = connection.Execute("UPDATE \"user\" SET id = 12345678 WHERE name = 'alice'");
      if (!moved.ok()) return moved;
      return connection.Execute("UPDATE casbin_rule SET v0 = '12345678' WHERE ptype = 'g' AND v1 = 'guest'");
    });
    ASSERT_TRUE(done.ok()) << done.status();
  }
  EXPECT_EQ(client_->Call("GET", "/api/v1/clusters", "", SignIn("alice", "correct horse")).status, 200);
}

TEST_P(RestApiRules, WritesNothingForStrangers) {
  for (int i = 0; i < 50; ++i) {
    client_->Call("GET", "/api/v1/stranger-" + std::to_string(i));
    client_->Call("DELETE", "/api/v1/users/stranger-" + std::to_string(i));
    client_->Call("GET", "/healthy");
  }
  // What comes after it is there, so what came before would be.
  Call("PATCH", "/api/v1/users/1", R"({"bio":"x"})");
  ASSERT_GE(AwaitAudits("operation=PATCH", 1).size(), 1u);
  for (const json& audit : Call("GET", "/api/v1/audits?per_page=1000").json) {
    EXPECT_THAT(audit["path"].get<std::string>(), Not(HasSubstr("stranger")));
    EXPECT_NE(audit["operation"], "GET");
  }
}

TEST_P(RestApiRules, SlowsDownWhoGuessesPasswords) {
  const char* const guess = R"({"name":"root","password":"guess-guess"})";
  for (int i = 0; i < 5; ++i) EXPECT_EQ(client_->Call("POST", "/api/v1/users/signin", guess).status, 401);
  EXPECT_EQ(client_->Call("POST", "/api/v1/users/signin", guess).status, 429);
  // Also the right one, from there: who guesses must not learn when it was.
  const std::string right = json{{"name", "root"}, {"password", running_.manager().first_password()}}.dump();
  EXPECT_EQ(client_->Call("POST", "/api/v1/users/signin", right).status, 429);
  // Sessions go on.
  EXPECT_EQ(Call("GET", "/api/v1/users").status, 200);
}

// Every route of the table in docs/manager-api.md.
const std::vector<std::pair<const char*, const char*>> kGuarded = {
    {"GET", "/api/v1/users"},
    {"GET", "/api/v1/users/1"},
    {"PATCH", "/api/v1/users/1"},
    {"GET", "/api/v1/users/1/roles"},
    {"PUT", "/api/v1/users/1/roles/guest"},
    {"DELETE", "/api/v1/users/1/roles/guest"},
    {"POST", "/api/v1/roles"},
    {"GET", "/api/v1/roles"},
    {"GET", "/api/v1/roles/guest"},
    {"DELETE", "/api/v1/roles/nobody"},
    {"POST", "/api/v1/roles/guest/permissions"},
    {"DELETE", "/api/v1/roles/guest/permissions"},
    {"GET", "/api/v1/permissions"},
    {"POST", "/api/v1/oauth"},
    {"PATCH", "/api/v1/oauth/1"},
    {"DELETE", "/api/v1/oauth/1"},
    {"GET", "/api/v1/oauth/1"},
    {"GET", "/api/v1/oauth"},
    {"POST", "/api/v1/clusters"},
    {"GET", "/api/v1/clusters"},
    {"GET", "/api/v1/clusters/9"},
    {"PATCH", "/api/v1/clusters/9"},
    {"DELETE", "/api/v1/clusters/9"},
    {"POST", "/api/v1/scheduler-clusters"},
    {"GET", "/api/v1/scheduler-clusters"},
    {"GET", "/api/v1/scheduler-clusters/9"},
    {"PATCH", "/api/v1/scheduler-clusters/9"},
    {"DELETE", "/api/v1/scheduler-clusters/9"},
    {"PUT", "/api/v1/scheduler-clusters/1/schedulers/9"},
    {"POST", "/api/v1/schedulers"},
    {"GET", "/api/v1/schedulers"},
    {"GET", "/api/v1/schedulers/9"},
    {"PATCH", "/api/v1/schedulers/9"},
    {"DELETE", "/api/v1/schedulers/9"},
    {"GET", "/api/v1/scheduler-features"},
    {"POST", "/api/v1/seed-peer-clusters"},
    {"GET", "/api/v1/seed-peer-clusters"},
    {"GET", "/api/v1/seed-peer-clusters/9"},
    {"PATCH", "/api/v1/seed-peer-clusters/9"},
    {"DELETE", "/api/v1/seed-peer-clusters/9"},
    {"PUT", "/api/v1/seed-peer-clusters/1/seed-peers/9"},
    {"PUT", "/api/v1/seed-peer-clusters/1/scheduler-clusters/1"},
    {"POST", "/api/v1/seed-peers"},
    {"GET", "/api/v1/seed-peers"},
    {"GET", "/api/v1/seed-peers/9"},
    {"PATCH", "/api/v1/seed-peers/9"},
    {"DELETE", "/api/v1/seed-peers/9"},
    {"POST", "/api/v1/peers"},
    {"GET", "/api/v1/peers"},
    {"GET", "/api/v1/peers/9"},
    {"DELETE", "/api/v1/peers/9"},
    {"POST", "/api/v1/configs"},
    {"GET", "/api/v1/configs"},
    {"PATCH", "/api/v1/configs/9"},
    {"GET", "/api/v1/configs/9"},
    {"DELETE", "/api/v1/configs/9"},
    {"POST", "/api/v1/jobs"},
    {"GET", "/api/v1/jobs"},
    {"GET", "/api/v1/jobs/9"},
    {"PATCH", "/api/v1/jobs/9"},
    {"DELETE", "/api/v1/jobs/9"},
    {"POST", "/api/v1/applications"},
    {"GET", "/api/v1/applications"},
    {"GET", "/api/v1/applications/9"},
    {"PATCH", "/api/v1/applications/9"},
    {"DELETE", "/api/v1/applications/9"},
    {"POST", "/api/v1/personal-access-tokens"},
    {"GET", "/api/v1/personal-access-tokens"},
    {"GET", "/api/v1/personal-access-tokens/9"},
    {"PATCH", "/api/v1/personal-access-tokens/9"},
    {"DELETE", "/api/v1/personal-access-tokens/9"},
    {"GET", "/api/v1/persistent-cache-tasks"},
    {"GET", "/api/v1/persistent-cache-tasks/9"},
    {"DELETE", "/api/v1/persistent-cache-tasks/9"},
    {"GET", "/api/v1/audits"},
    {"POST", "/oapi/v1/jobs"},
    {"GET", "/oapi/v1/jobs"},
    {"GET", "/oapi/v1/jobs/9"},
    {"PATCH", "/oapi/v1/jobs/9"},
    {"DELETE", "/oapi/v1/jobs/9"},
    {"POST", "/oapi/v1/clusters"},
    {"GET", "/oapi/v1/clusters"},
    {"GET", "/oapi/v1/clusters/9"},
    {"PATCH", "/oapi/v1/clusters/9"},
    {"DELETE", "/oapi/v1/clusters/9"},
    {"POST", "/preheats"},
    {"GET", "/preheats/9"},
};

TEST_P(RestApiRules, GuardsEveryRoute) {
  const std::string guest = SignUp("alice");
  for (const auto& [method, path] : kGuarded) {
    const std::string what = std::string(method) + " " + path;
    const RestReply stranger = client_->Call(method, path, "{}");
    EXPECT_EQ(stranger.status, 401) << what;
    EXPECT_EQ(stranger.json["message"], "Unauthorized") << what;
    if (std::string(path).starts_with("/oapi")) continue;
    const RestReply as_guest = client_->Call(method, path, "{}", guest);
    if (std::string(method) == "GET") {
      EXPECT_THAT(as_guest.status, AnyOf(Eq(200), Eq(404), Eq(422), Eq(501))) << what << as_guest.body;
    } else {
      EXPECT_EQ(as_guest.status, 401) << what;
      EXPECT_EQ(as_guest.json["message"], "permission deny") << what;
    }
    const RestReply as_root = client_->Call(method, path, "{}", root_);
    EXPECT_THAT(as_root.status, AnyOf(Eq(200), Eq(404), Eq(409), Eq(422), Eq(501))) << what << as_root.body;
  }
}

TEST_P(RestApiRules, AnswersWhatIsNotThere) {
  EXPECT_EQ(Call("GET", "/api/v1/nothing").status, 404);
  const RestReply home = client_->Call("GET", "/");
  EXPECT_EQ(home.status, 200);
  EXPECT_THAT(home.body, HasSubstr("/swagger/index.html"));
  EXPECT_THAT(home.header.at("content-type"), HasSubstr("text/html"));
  const RestReply method = Call("PUT", "/api/v1/users");
  EXPECT_EQ(method.status, 405);
  EXPECT_EQ(method.header.at("allow"), "GET");
  const RestReply slash = Call("GET", "/api/v1/users/");
  EXPECT_EQ(slash.status, 301);
  EXPECT_EQ(slash.header.at("location"), "/api/v1/users");
  EXPECT_EQ(Call("GET", "//example.com/").status, 404);
  EXPECT_EQ(client_->Call("GET", "/healthy").body, "\"OK\"");
  EXPECT_EQ(client_->Call("GET", "/_ping").body, "\"OK\"");
}

TEST_P(RestApiRules, PagesItsLists) {
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(
        Call("POST", "/api/v1/configs", json{{"name", "c" + std::to_string(i)}, {"value", "v"}, {"user_id", 1}}.dump())
            .status,
        200);
  }
  // With the row "gc" they are six.
  const RestReply page = Call("GET", "/api/v1/configs?page=2&per_page=4");
  EXPECT_EQ(page.json.size(), 2);
  EXPECT_EQ(page.header.at("link"),
            "</api/v1/configs?page=1&per_page=4>;rel=prev,</api/v1/configs?page=2&per_page=4>;rel=next,"
            "</api/v1/configs?page=1&per_page=4>;rel=first,</api/v1/configs?page=2&per_page=4>;rel=last");
  EXPECT_EQ(page.header.at("x-total-count"), "6");
  EXPECT_EQ(Call("GET", "/api/v1/configs").json[0]["name"], "gc");
  EXPECT_EQ(Call("GET", "/api/v1/configs?page=0&per_page=0").json.size(), 6);
  EXPECT_EQ(Call("GET", "/api/v1/configs?page=-1").status, 422);
  EXPECT_EQ(Call("GET", "/api/v1/configs?per_page=10000001").status, 422);
  EXPECT_EQ(Call("GET", "/api/v1/configs?name=c3").json.size(), 1);
}

TEST_P(RestApiRules, RefusesWhatWouldHurtLater) {
  const auto refused = [&](const char* method, const char* path, const char* body) {
    const RestReply reply = Call(method, path, body);
    EXPECT_EQ(reply.status, 422) << path << body << reply.body;
    return reply.json.is_object() ? reply.json.value("errors", "") : "";
  };
  EXPECT_THAT(refused("POST", "/api/v1/clusters", ""), HasSubstr("EOF"));
  EXPECT_THAT(refused("POST", "/api/v1/clusters", "[]"), HasSubstr("no JSON object"));
  EXPECT_THAT(refused("POST", "/api/v1/clusters", R"({"name":"x"})"), HasSubstr("failed on the 'required' tag"));
  EXPECT_THAT(refused("PATCH", "/api/v1/clusters/1", R"({"scopes":{"cidrs":["10.0.0.0/33"]}})"),
              HasSubstr("no network"));
  EXPECT_THAT(refused("PATCH", "/api/v1/clusters/1", R"({"scopes":{"hostnames":["("]}})"), HasSubstr("hostnames"));
  EXPECT_THAT(refused("PATCH", "/api/v1/clusters/1", R"({"peer_cluster_config":{"load_limit":2001}})"),
              HasSubstr("load_limit"));
  EXPECT_THAT(refused("PATCH", "/api/v1/configs/1", R"({"value":"{\"audit\":{\"ttl\":1}}"})"),
              HasSubstr("job is missing"));
  // More than a time may have: read as a negative one, it would delete everything at once.
  EXPECT_THAT(refused("PATCH", "/api/v1/configs/1",
                      R"({"value":"{\"audit\":{\"ttl\":18446744073709551615},\"job\":{\"ttl\":1}}"})"),
              HasSubstr("audit.ttl"));
  EXPECT_THAT(refused("POST", "/api/v1/personal-access-tokens", R"({"name":"t","expired_at":"infinite-future"})"),
              HasSubstr("expired_at"));
  const RestReply token =
      Call("POST", "/api/v1/personal-access-tokens", R"({"name":"t","expired_at":"2037-01-01T00:00:00Z"})");
  EXPECT_THAT(refused("PATCH", ("/api/v1/personal-access-tokens/" + token.json["id"].dump()).c_str(),
                      R"({"expired_at":"infinite-future"})"),
              HasSubstr("expired_at"));
  EXPECT_THAT(refused("POST", "/api/v1/schedulers",
                      R"({"host_name":"h","ip":"10.0.0.1","port":8002,"scheduler_cluster_id":77})"),
              HasSubstr("no such cluster"));
  EXPECT_THAT(refused("POST", "/api/v1/roles", R"({"role":"r","permissions":[{"object":"nothing","action":"*"}]})"),
              HasSubstr("nothing"));
  EXPECT_EQ(Call("DELETE", "/api/v1/roles/root").status, 409);
  EXPECT_EQ(Call("GET", "/api/v1/users/abc").status, 422);
  EXPECT_EQ(Call("PATCH", "/api/v1/users/1", "{\"bio\":\"\\u0000\"}").status, 422);
  EXPECT_EQ(Call("PATCH", "/api/v1/users/1", "{\"bio\":\"\xff\"}").status, 422);
  // A cluster with something in it.
  EXPECT_EQ(
      Call("POST", "/api/v1/schedulers", R"({"host_name":"h","ip":"10.0.0.1","port":8002,"scheduler_cluster_id":1})")
          .status,
      200);
  const RestReply in_use = Call("DELETE", "/api/v1/clusters/1");
  EXPECT_EQ(in_use.status, 409);
  EXPECT_EQ(in_use.json["message"], "scheduler cluster exists scheduler");
}

TEST_P(RestApiRules, KeepsRolesAndTheirRights) {
  EXPECT_EQ(Call("GET", "/api/v1/roles").json, json({"root", "guest"}));
  EXPECT_EQ(Call("POST", "/api/v1/roles", R"({"role":"ops","permissions":[{"object":"peers","action":"*"}]})").status,
            200);
  EXPECT_EQ(Call("GET", "/api/v1/roles/ops").json, json::parse(R"([["ops","peers","*"]])"));
  EXPECT_EQ(Call("POST", "/api/v1/roles/ops/permissions", R"({"object":"users","action":"read"})").status, 200);
  EXPECT_EQ(Call("POST", "/api/v1/roles/ops/permissions", R"({"object":"users","action":"read"})").status, 409);
  EXPECT_EQ(Call("DELETE", "/api/v1/roles/ops/permissions", R"({"object":"users","action":"read"})").status, 200);
  EXPECT_EQ(Call("DELETE", "/api/v1/roles/ops/permissions", R"({"object":"users","action":"read"})").status, 404);
  EXPECT_EQ(Call("DELETE", "/api/v1/roles/ops").status, 200);
  EXPECT_EQ(Call("DELETE", "/api/v1/roles/ops").status, 404);
  EXPECT_THAT(Call("GET", "/api/v1/permissions").json, Contains(json{{"object", "users"}, {"action", "read"}}));
}

// Bodies that are almost right, and such that are not, at every route.
TEST_P(RestApiRules, SurvivesAWalkOfNonsense) {
  std::minstd_rand random(7);
  const char* const keys[] = {
      "name",       "bio",         "config",   "scopes",        "host_name", "ip",
      "port",       "type",        "priority", "value",         "user_id",   "state",
      "expired_at", "permissions", "role",     "client_config", "url",       "scheduler_cluster_id",
      "is_default", "features"};
  const char* const values[] = {
      "null",      "0",  "-1", "1e999",      "99999999999999999999", "\"\"",        "\"x\"",
      "true",      "[]", "{}", "[[[[[]]]]]", "{\"a\":{\"a\":{}}}",   "\"\\ud800\"", "\"10.0.0.1\"",
      "\"super\"", "1"};
  for (int i = 0; i < 600; ++i) {
    const auto& [method, path] = kGuarded[random() % kGuarded.size()];
    if (std::string(path).starts_with("/oapi") || std::string(path).find("/users/1/roles") != std::string::npos)
      continue;
    std::string body = "{";
    for (int n = static_cast<int>(random() % 6); n > 0; --n) {
      body += std::string(body.size() > 1 ? "," : "") + "\"" + keys[random() % std::size(keys)] +
              "\":" + values[random() % std::size(values)];
    }
    if (random() % 8 != 0) body += "}";
    const RestReply reply = Call(method, std::string(path) + (random() % 4 == 0 ? "?page=x&per_page=%00" : ""), body);
    EXPECT_THAT(reply.status, AnyOf(Lt(500), Eq(501))) << method << " " << path << " " << body << " " << reply.body;
    EXPECT_THAT(reply.body, AllOf(Not(HasSubstr("$2a$")), Not(HasSubstr("sha256:"))));
  }
  EXPECT_EQ(Call("GET", "/api/v1/users").status, 200);
}

TEST_P(RestApiRules, KeepsItsKeyForTheNextStart) {
  running_.Stop();
  running_.Start();
  client_.emplace(running_.manager().rest_port());
  EXPECT_EQ(running_.manager().first_password(), "");
  EXPECT_EQ(Call("GET", "/api/v1/users").status, 200);
}

TEST_P(RestApiRules, IsAsOpenAsItsConfigurationSays) {
  running_.Stop();
  ManagerConfig config = running_.Config();
  config.auth.allow_sign_up = false;
  config.auth.anonymous_jobs = true;
  config.server.rest.cors_origins = {"https://console.example"};
  running_.Start(config);
  client_.emplace(running_.manager().rest_port());
  EXPECT_EQ(client_->Call("POST", "/api/v1/users/signup", "{}").status, 401);
  EXPECT_EQ(client_->Call("GET", "/api/v1/jobs").status, 200);
  EXPECT_EQ(client_->Call("GET", "/api/v1/users").status, 401);
}

// docs/compatibility/manager-routes.tsv and the table of the code.
TEST(RestRoutes, AreThoseOfTheCompatibilityTable) {
  std::ifstream table(DF_SOURCE_DIR "/docs/compatibility/manager-routes.tsv");
  std::set<std::string> named;
  std::set<std::string> tested;
  for (std::string line; std::getline(table, line);) {
    if (line.starts_with('#')) continue;
    const size_t path = line.find('\t') + 1;
    const size_t coverage = line.find('\t', path) + 1;
    const std::string route = line.substr(0, path - 1) + " " + line.substr(path, coverage - 1 - path);
    named.insert(route);
    const std::string covered = line.substr(coverage);
    if (covered != "open" && !covered.starts_with("difference: ")) tested.insert(route);
  }
  std::set<std::string> ours;
  for (const Route& route : RestRoutes()) ours.insert(route.method + " " + route.path);
  for (const std::string& route : ours) EXPECT_TRUE(named.contains(route)) << route << " has no row";
  for (const std::string& route : tested) EXPECT_TRUE(ours.contains(route)) << route << " is not there";
  EXPECT_GT(tested.size(), 80);
}

TEST(OriginalDatabase, OpensAndWorks) {
  RunningManager running(db::Engine::kPostgres);
  running.server().Load(DF_TEST_DIR "/original_v2.3.0.sql");
  ManagerConfig config = running.Config();
  config.auth.jwt_key = "some-key-of-ours";
  running.Start(config);
  ASSERT_FALSE(::testing::Test::HasFatalFailure());
  EXPECT_EQ(running.manager().first_password(), "");
  const RestClient client(running.manager().rest_port());
  // Its first user, whose hash is of another cost, and a token that was stored as it is.
  const RestReply signed_in = client.Call("POST", "/api/v1/users/signin", R"({"name":"root","password":"dragonfly"})");
  ASSERT_EQ(signed_in.status, 200) << signed_in.body;
  const std::string root = signed_in.json["token"];
  const std::string token = "NDYxMWE4NWEtMmQ5Yi00ZTYwLTk3NmMtZWQ1M2I3YzlkNDM4";
  EXPECT_EQ(client.Call("GET", "/oapi/v1/clusters", "", token).json[0]["name"], "cluster-1");
  EXPECT_THAT(client.Call("GET", "/api/v1/personal-access-tokens", "", root).body, Not(HasSubstr(token)));
  // PostgreSQL has not been told of the first cluster's number there.
  const RestReply created = client.Call("POST", "/api/v1/clusters", kCluster, root);
  EXPECT_EQ(created.status, 200) << created.body;
  EXPECT_THAT(created.json["id"], Ge(2));

  ::manager::v2::UpdateSchedulerRequest request;
  request.set_hostname("scheduler-1");
  request.set_ip("10.0.0.1");
  request.set_port(8002);
  request.set_scheduler_cluster_id(1);
  ::manager::v2::Scheduler scheduler;
  grpc::ClientContext context;
  EXPECT_TRUE(running.Stub()->UpdateScheduler(&context, request, &scheduler).ok());
  EXPECT_EQ(client.Call("GET", "/api/v1/schedulers", "", root).json[0]["host_name"], "scheduler-1");
  // A second start finds nothing to do.
  running.Stop();
  running.Start(config);
  EXPECT_EQ(RestClient(running.manager().rest_port()).Call("GET", "/api/v1/clusters", "", root).json.size(), 2);
}

INSTANTIATE_TEST_SUITE_P(Engines, RestApi,
                         ::testing::Values(db::Engine::kSqlite, db::Engine::kPostgres, db::Engine::kMysql),
                         [](const auto& info) { return std::string(db::NameOf(info.param)); });
INSTANTIATE_TEST_SUITE_P(Engines, RestApiRules, ::testing::Values(db::Engine::kSqlite),
                         [](const auto& info) { return std::string(db::NameOf(info.param)); });

}  // namespace
}  // namespace dragonfly::manager
