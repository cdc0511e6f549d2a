// SPDX-License-Identifier: Apache-2.0
// Jobs over REST, with real Redis and databases; the schedulers are workers of the real broker that the test answers
// for.
#include <gmock/gmock.h>
#include <grpcpp/client_context.h>
#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/use_future.hpp>
#include <chrono>
#include <fstream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_split.h"
#include "base/text.h"
#include "jobs/preheat_request.h"
#include "jobs/redis_broker.h"
#include "jobs/results.h"
#include "jobs/task_request.h"
#include "jobs/worker.h"
#include "runtime/timeout.h"
#include "tests/support/redis_server.h"
#include "tests/unit/manager/rest_client.h"
#include "tests/unit/manager/running_manager.h"

namespace dragonfly::manager {
namespace {

namespace asio = boost::asio;
using nlohmann::json;
using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::Ge;
using ::testing::HasSubstr;
using ::testing::Le;
using ::testing::Not;

constexpr std::chrono::seconds kPatience{20};

// A scheduler as managers see it: registered, alive, and taking jobs from Redis when it is told how.
class Scheduler {
 public:
  Scheduler(const RunningManager& manager, std::string hostname, bool later_release) : hostname_(std::move(hostname)) {
    ::manager::v2::UpdateSchedulerRequest request;
    request.set_source_type(::manager::v2::SCHEDULER_SOURCE);
    request.set_hostname(hostname_);
    request.set_ip("127.0.0.1");
    request.set_port(8002);
    request.set_scheduler_cluster_id(1);
    request.add_features("schedule");
    request.add_features("preheat");
    if (later_release) request.set_config(R"({"manager_keep_alive_interval":5000000000})");
    ::manager::v2::Scheduler answer;
    grpc::ClientContext context;
    stub_ = manager.Stub();
    const grpc::Status status = stub_->UpdateScheduler(&context, request, &answer);
    EXPECT_TRUE(status.ok()) << status.error_message();
    alive_ = stub_->KeepAlive(&stream_, &empty_);
    ::manager::v2::KeepAliveRequest beat;
    beat.set_source_type(::manager::v2::SCHEDULER_SOURCE);
    beat.set_hostname(hostname_);
    beat.set_ip("127.0.0.1");
    beat.set_cluster_id(1);
    EXPECT_TRUE(alive_->Write(beat));
  }
  ~Scheduler() {
    if (worker_ != nullptr) asio::co_spawn(io_.At(0), worker_->Stop(), asio::use_future).get();
    worker_.reset();
    broker_.reset();
    alive_->WritesDone();
    stream_.TryCancel();
    (void)alive_->Finish();
  }

  void Work(const std::string& redis, std::map<std::string, jobs::Handler> handlers) {
    jobs::RedisBrokerOptions options;
    options.redis.addresses = {redis};
    broker_ = *jobs::RedisBroker::Make(options);
    jobs::WorkerOptions worker;
    worker.name = "127.0.0.1";
    worker.queues = {jobs::SchedulerQueue(1, hostname_), jobs::SchedulerQueue(1, hostname_, "127.0.0.1")};
    worker.handlers = std::move(handlers);
    worker_ = std::make_unique<jobs::Worker>(io_.At(0), *broker_, std::move(worker));
    worker_->Start();
  }

 private:
  const std::string hostname_;
  runtime::IoThreads io_{1};
  std::unique_ptr<::manager::v2::Manager::Stub> stub_;
  grpc::ClientContext stream_;
  google::protobuf::Empty empty_;
  std::unique_ptr<grpc::ClientWriter<::manager::v2::KeepAliveRequest>> alive_;
  std::unique_ptr<jobs::RedisBroker> broker_;
  std::unique_ptr<jobs::Worker> worker_;
};

class RestJobs : public ::testing::TestWithParam<db::Engine> {
 protected:
  void SetUp() override {
    ManagerConfig config = Config();
    running_.Start(config);
    ASSERT_FALSE(HasFatalFailure());
    client_.emplace(running_.manager().rest_port());
    root_ = SignIn(*client_);
    AwaitActive(1);
  }
  virtual bool WithRedis() const { return true; }
  virtual ManagerConfig Config() {
    ManagerConfig config = running_.Config();
    config.auth.root_password = "root-of-the-test";
    if (WithRedis()) config.database.redis.addrs = {redis_.address()};
    return config;
  }
  static std::string SignIn(const RestClient& client) {
    const RestReply reply =
        client.Call("POST", "/api/v1/users/signin", R"({"name":"root","password":"root-of-the-test"})");
    EXPECT_EQ(reply.status, 200) << reply.body;
    return reply.json.value("token", "");
  }
  void AwaitActive(size_t count) {
    if (scheduler_ == nullptr) scheduler_ = std::make_unique<Scheduler>(running_, "one", /*later_release=*/true);
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    for (;;) {
      const RestReply active = Call("GET", "/api/v1/schedulers?state=active");
      if (active.json.size() == count) return;
      ASSERT_LT(std::chrono::steady_clock::now(), deadline) << active.body;
      std::this_thread::yield();
    }
  }
  RestReply Call(const std::string& method, const std::string& target, const std::string& body = "") const {
    return client_->Call(method, target, body, root_);
  }
  // Looks until it has ended.
  json Ended(int64_t id) {
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    for (;;) {
      const RestReply reply = Call("GET", StrCat("/api/v1/jobs/", id));
      EXPECT_EQ(reply.status, 200) << reply.body;
      if (reply.json["state"] != "PENDING") return reply.json;
      if (std::chrono::steady_clock::now() > deadline) {
        ADD_FAILURE() << reply.body;
        return reply.json;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
  }

  testing::RedisServer redis_;
  RunningManager running_{GetParam()};
  std::optional<RestClient> client_;
  std::string root_;
  std::unique_ptr<Scheduler> scheduler_;
};

INSTANTIATE_TEST_SUITE_P(All, RestJobs,
                         ::testing::Values(db::Engine::kSqlite, db::Engine::kPostgres, db::Engine::kMysql),
                         [](const auto& info) { return std::string(db::NameOf(info.param)); });

// Answers every preheat with a success that repeats what it was asked, in the description's place.
jobs::Handler Preheats(std::shared_ptr<std::vector<std::string>> asked) {
  return [asked](std::string argument) -> asio::awaitable<absl::StatusOr<std::string>> {
    return [](std::shared_ptr<std::vector<std::string>> all,
              std::string text) -> asio::awaitable<absl::StatusOr<std::string>> {
      all->push_back(text);
      const auto request = jobs::ParsePreheatRequest(text);
      if (!request.ok()) co_return request.status();
      jobs::PreheatResult result;
      result.cluster_id = 1;
      for (const std::string& url : request->urls) result.successes.emplace_back().url = url;
      co_return jobs::ToJson(result);
    }(asked, std::move(argument));
  };
}

TEST_P(RestJobs, SendAPreheatAndTellWhatCameOfIt) {
  const auto asked = std::make_shared<std::vector<std::string>>();
  scheduler_->Work(redis_.address(), {{"preheat", Preheats(asked)}});
  const RestReply created =
      Call("POST", "/api/v1/jobs",
           R"({"type":"preheat","bio":"b","user_id":77,"scheduler_cluster_ids":[1],"args":{"type":"file",)"
           R"("url":"http://origin/b","urls":["http://origin/a"],"tag":"t","scope":"all_peers","percentage":50,)"
           R"("piece_length":4194304,"headers":{"Authorization":"Bearer secret-of-the-user"}}})");
  ASSERT_EQ(created.status, 200) << created.body;
  EXPECT_THAT(created.json["state"], AnyOf("PENDING", "SUCCESS"));
  EXPECT_EQ(created.json["user_id"], 1) << "the caller's, whatever the body says";
  EXPECT_EQ(created.json["scheduler_clusters"][0]["name"], "cluster-1");
  EXPECT_EQ(created.json["args"]["headers"]["Authorization"], "***");
  const json ended = Ended(created.json["id"]);
  EXPECT_EQ(ended["state"], "SUCCESS") << ended;
  const json& state = ended["result"]["job_states"][0];
  EXPECT_EQ(state["task_name"], "preheat");
  EXPECT_EQ(state["state"], "SUCCESS");
  EXPECT_EQ(state["results"][0]["success_tasks"].size(), 2u);
  EXPECT_EQ(state["results"][0]["scheduler_cluster_id"], 1);
  EXPECT_EQ(ended["result"]["group_uuid"], ended["task_id"]);
  EXPECT_THAT(ended.dump(), Not(HasSubstr("secret-of-the-user")));
  ASSERT_EQ(asked->size(), 1u);
  const json message = json::parse(asked->front());
  EXPECT_EQ(message["urls"], (json{"http://origin/a", "http://origin/b"}));
  EXPECT_EQ(message["headers"]["Authorization"], "Bearer secret-of-the-user");
  EXPECT_EQ(message["percentage"], 50);
  EXPECT_EQ(message["timeout"], 3'600'000'000'000);
  const RestReply list = Call("GET", "/api/v1/jobs?type=preheat&state=SUCCESS");
  ASSERT_EQ(list.json.size(), 1u) << list.body;
  EXPECT_EQ(list.json[0]["id"], created.json["id"]);
}

TEST_P(RestJobs, ShowNoPasswordOfAUrl) {
  const auto asked = std::make_shared<std::vector<std::string>>();
  scheduler_->Work(redis_.address(), {{"preheat", Preheats(asked)}});
  const RestReply created =
      Call("POST", "/api/v1/jobs",
           R"({"type":"preheat","args":{"type":"file","url":"http://u:pass-of-b@origin/b?sign=1",)"
           R"("urls":["http://u:pass-of-a@origin/a"]}})");
  ASSERT_EQ(created.status, 200) << created.body;
  EXPECT_EQ(created.json["args"]["url"], "http://u:***@origin/b?sign=1");
  EXPECT_EQ(created.json["args"]["urls"], json({"http://u:***@origin/a"}));
  EXPECT_EQ(created.json["args"]["redacted"], true) << "another manager cannot send it again";
  const json ended = Ended(created.json["id"]);
  EXPECT_EQ(ended["state"], "SUCCESS") << ended;
  EXPECT_EQ(ended["result"]["job_states"][0]["results"][0]["success_tasks"][1]["url"], "http://u:***@origin/b?sign=1");
  EXPECT_THAT(ended.dump(), Not(HasSubstr("pass-of")));
  ASSERT_EQ(asked->size(), 1u);
  EXPECT_EQ(json::parse(asked->front())["urls"][1], "http://u:pass-of-b@origin/b?sign=1");
  const RestReply looked =
      Call("POST", "/api/v1/jobs", R"({"type":"get_task","args":{"url":"http://u:pass-of-b@origin/b"}})");
  EXPECT_EQ(looked.json["args"]["url"], "http://u:***@origin/b");
  EXPECT_EQ(looked.json["args"]["redacted"], true);
}

TEST_P(RestJobs, SendASchedulerOfAnOlderReleaseOneUrlAMessage) {
  const auto asked = std::make_shared<std::vector<std::string>>();
  scheduler_.reset();
  EXPECT_EQ(Call("DELETE", "/api/v1/schedulers/1").status, 200);
  scheduler_ = std::make_unique<Scheduler>(running_, "old", /*later_release=*/false);
  AwaitActive(1);
  scheduler_->Work(redis_.address(), {{"preheat", Preheats(asked)}});
  const RestReply created =
      Call("POST", "/api/v1/jobs",
           R"({"type":"preheat","args":{"type":"file","urls":["http://origin/a","http://origin/b"]}})");
  ASSERT_EQ(created.status, 200) << created.body;
  EXPECT_EQ(Ended(created.json["id"])["state"], "SUCCESS");
  ASSERT_EQ(asked->size(), 2u);
  for (const std::string& text : *asked) {
    const json message = json::parse(text);
    EXPECT_THAT(message["url"], AnyOf("http://origin/a", "http://origin/b"));
    EXPECT_FALSE(message.contains("urls"));
    EXPECT_EQ(message["concurrent_count"], 500);
  }
}

TEST_P(RestJobs, FindATaskByWhatItIsMadeOf) {
  const auto ids = std::make_shared<std::vector<std::string>>();
  const auto find = [](std::shared_ptr<std::vector<std::string>> all,
                       std::string text) -> asio::awaitable<absl::StatusOr<std::string>> {
    all->push_back(jobs::ParseTaskRequest(text)->task_id);
    jobs::GetTaskResult result;
    result.cluster_id = 1;
    auto& peer = result.peers.emplace_back();
    peer.id = "p";
    peer.hostname = "host";
    peer.ip = "10.0.0.1";
    peer.host_type = "normal";
    peer.finished = true;
    co_return jobs::ToJson(result);
  };
  scheduler_->Work(redis_.address(),
                   {{"get_task", [ids, find](std::string text) { return find(ids, std::move(text)); }}});
  // SHA-256 of "content", and of "http://origin/a" + "t" + "app" + "4194304" + "STANDARD".
  const std::pair<const char*, const char*> cases[] = {
      {R"({"task_id":"0000000000000000000000000000000000000000000000000000000000000001"})",
       "0000000000000000000000000000000000000000000000000000000000000001"},
      {R"({"content_for_calculating_task_id":"content"})",
       "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73"},
      {R"({"url":"http://origin/a?Expires=1","tag":"t","application":"app","piece_length":4194304})",
       "df7fa2583668dc7fefb753f945d12f11ee46b3f2dbd050f9e18279b4798674cc"},
  };
  for (const auto& [args, id] : cases) {
    const auto begun = std::chrono::steady_clock::now();
    const RestReply created = Call("POST", "/api/v1/jobs", StrCat(R"({"type":"get_task","args":)", args, "}"));
    ASSERT_EQ(created.status, 200) << created.body;
    const json ended = Ended(created.json["id"]);
    EXPECT_EQ(ended["state"], "SUCCESS") << ended;
    EXPECT_EQ(ended["result"]["job_states"][0]["results"][0]["peers"][0]["hostname"], "host");
    EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(5));
  }
  ASSERT_EQ(ids->size(), 3u);
  EXPECT_EQ((*ids)[0], cases[0].second);
  EXPECT_EQ((*ids)[1], cases[1].second);
  EXPECT_EQ((*ids)[2], cases[2].second);
}

TEST_P(RestJobs, ListADirectory) {
  const auto asked = std::make_shared<std::vector<std::string>>();
  const auto list = [](std::shared_ptr<std::vector<std::string>> all,
                       std::string text) -> asio::awaitable<absl::StatusOr<std::string>> {
    all->push_back(text);
    if (text.find("/missing/") != std::string::npos) co_return absl::NotFoundError("backend error 404 Not Found");
    jobs::TaskEntries entries;
    entries.cluster_id = 1;
    jobs::TaskEntries::Entry& entry = entries.entries.emplace_back();
    entry.url = "s3://bucket/models/a";
    entry.content_length = 7;
    entries.entries.emplace_back().directory = true;
    co_return jobs::ToJson(entries);
  };
  scheduler_->Work(redis_.address(),
                   {{"list_task_entries", [asked, list](std::string text) { return list(asked, std::move(text)); }}});
  const auto body = [](const char* url) {
    return json{{"type", "list_task_entries"},
                {"args",
                 {{"url", url},
                  {"headers", {{"A", "b"}}},
                  {"object_storage", {{"region", "r"}, {"access_key_secret", "secret-of-the-store"}}}}}}
        .dump();
  };
  const RestReply listed = Call("POST", "/api/v1/jobs", body("s3://bucket/models/"));
  ASSERT_EQ(listed.status, 200) << listed.body;
  EXPECT_EQ(listed.json["scheduler_cluster_id"], 1);
  ASSERT_EQ(listed.json["entries"].size(), 2u) << listed.body;
  EXPECT_EQ(listed.json["entries"][0],
            (json{{"url", "s3://bucket/models/a"}, {"content_length", 7}, {"is_dir", false}}));
  ASSERT_EQ(asked->size(), 1u);
  const json message = json::parse(asked->front());
  EXPECT_EQ(message["url"], "s3://bucket/models/");
  EXPECT_EQ(message["header"]["A"], "b");
  EXPECT_EQ(message["object_storage"]["access_key_secret"], "secret-of-the-store");
  EXPECT_EQ(message["task_id"].get<std::string>().size(), 64u);
  EXPECT_LE(message["timeout"], 60'000'000'000);
  const RestReply missing = Call("POST", "/api/v1/jobs", body("s3://bucket/missing/"));
  EXPECT_EQ(missing.status, 409) << missing.body;
  EXPECT_THAT(missing.body, HasSubstr("404 Not Found"));
  EXPECT_EQ(Call("GET", "/api/v1/jobs").json.size(), 0u) << "there is no row of what is over";
}

TEST_P(RestJobs, RefuseWhatIsWrong) {
  const std::pair<const char*, const char*> cases[] = {
      {R"({})", "'required'"},
      {R"({"type":"dance"})", "Unknow type"},
      {R"({"type":"preheat","args":{"type":"image"}})", "invalid params: url is required"},
      {R"({"type":"preheat","args":{"type":"file"}})", "invalid params: url or urls is required"},
      {R"({"type":"preheat","args":{"type":"file","url":"file:///etc/passwd"}})", "is no URL of an origin"},
      {R"({"type":"preheat","args":{"type":"file","url":"http://a/b","percentage":101}})", "percentage"},
      {R"({"type":"preheat","args":{"type":"file","url":"http://a/b","count":201}})", "count"},
      {R"({"type":"preheat","args":{"type":"file","url":"http://a/b","scope":"everybody"}})", "scope"},
      {R"({"type":"preheat","args":{"type":"file","url":"http://a/b","ips":["x"]}})", "ips"},
      {R"({"type":"preheat","args":{"type":"file","url":"http://a/b","piece_length":1}})", "piece_length"},
      {R"({"type":"preheat","args":{"type":"file","url":"http://169.254.169.254/latest/meta-data"}})", "forbidden"},
      {R"({"type":"preheat","args":{"type":"file","url":"http://[::ffff:169.254.169.254]/x"}})", "forbidden"},
      {R"({"type":"preheat","args":{"type":"file","url":"http://2852039166/x"}})", "forbidden"},
      {R"({"type":"preheat","args":{"type":"file","url":"http://0xa9.254.0251.254/x"}})", "forbidden"},
      {R"({"type":"preheat","args":{"type":"file","url":"http://169.254.169.254./x"}})", "forbidden"},
      {R"({"type":"preheat","args":{"type":"file","url":"s3://2852039166/x"}})", "forbidden"},
      {R"({"type":"preheat","args":{"type":"image","url":"http://169.254.169.254/v2/a/manifests/1"}})", "forbidden"},
      {R"({"type":"list_task_entries","args":{}})", "'required'"},
      {R"({"type":"list_task_entries","args":{"url":"file:///etc/"}})", "is no URL of an origin"},
      {R"({"type":"list_task_entries","args":{"url":"http://169.254.169.254/"}})", "forbidden"},
      {R"({"type":"get_task","args":{}})", "task_id, content_for_calculating_task_id or url is required"},
      {R"({"type":"get_task","args":{"task_id":"../../etc"}})", "task_id"},
      {R"({"type":"gc","args":{"type":"everything"}})", "'oneof'"},
      {R"({"type":"preheat","scheduler_cluster_ids":[-1],"args":{"type":"file","url":"http://a/b"}})", "gte"},
  };
  for (const auto& [body, text] : cases) {
    const RestReply reply = Call("POST", "/api/v1/jobs", body);
    EXPECT_EQ(reply.status, 422) << body << reply.body;
    EXPECT_THAT(reply.json.value("errors", ""), HasSubstr(text)) << body;
  }
  const RestReply unknown =
      Call("POST", "/api/v1/jobs",
           R"({"type":"preheat","scheduler_cluster_ids":[9],"args":{"type":"file","url":"http://a/b"}})");
  EXPECT_EQ(unknown.status, 404) << unknown.body;
  EXPECT_EQ(Call("GET", "/api/v1/jobs").json.size(), 0u);
}

TEST_P(RestJobs, EndWhatRunsWhenTheRowIsDeleted) {
  const auto cancelled = std::make_shared<std::atomic<bool>>(false);
  const auto begun = std::make_shared<std::atomic<bool>>(false);
  const auto sleep = [](std::shared_ptr<std::atomic<bool>> started,
                        std::shared_ptr<std::atomic<bool>> ended) -> asio::awaitable<absl::StatusOr<std::string>> {
    *started = true;
    const std::shared_ptr<void> gone(nullptr, [ended](void*) { *ended = true; });
    co_await runtime::SleepUntil(Clock::now() + std::chrono::minutes(1));
    co_return "{}";
  };
  scheduler_->Work(redis_.address(),
                   {{"preheat", [begun, cancelled, sleep](std::string) { return sleep(begun, cancelled); }}});
  const RestReply created =
      Call("POST", "/api/v1/jobs", R"({"type":"preheat","args":{"type":"file","url":"http://a/b"}})");
  ASSERT_EQ(created.status, 200) << created.body;
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (!*begun && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
  const std::string path = StrCat("/api/v1/jobs/", created.json["id"].get<int64_t>());
  const RestReply running = Call("GET", path);
  EXPECT_EQ(running.json["result"]["job_states"][0]["state"], "STARTED") << running.body;
  EXPECT_EQ(Call("DELETE", path).status, 200);
  while (!*cancelled && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
  EXPECT_TRUE(*cancelled);
  EXPECT_EQ(Call("GET", path).status, 404);
}

TEST_P(RestJobs, ServeHarbor) {
  const auto asked = std::make_shared<std::vector<std::string>>();
  scheduler_->Work(redis_.address(), {{"preheat", Preheats(asked)}});
  const RestReply created =
      Call("POST", "/preheats",
           R"({"type":"file","url":"http://origin/a?x=1","filteredQueryParams":"x","headers":{"A":"b"}})");
  ASSERT_EQ(created.status, 200) << created.body;
  ASSERT_TRUE(created.json["id"].is_string());
  const std::string id = created.json["id"];
  EXPECT_EQ(Ended(std::stoll(id))["state"], "SUCCESS");
  const RestReply shown = Call("GET", StrCat("/preheats/", id));
  EXPECT_EQ(shown.json["id"], id);
  EXPECT_EQ(shown.json["status"], "SUCCESS") << shown.body;
  EXPECT_THAT(shown.json["startTime"].get<std::string>(), HasSubstr(" +0000 UTC"));
  const json message = json::parse(asked->at(0));
  EXPECT_EQ(message["scope"], "single_seed_peer");
  EXPECT_EQ(message["filtered_query_params"], "x");
  EXPECT_EQ(Call("GET", "/preheats/999").status, 404);
  EXPECT_EQ(client_->Call("POST", "/preheats", "{}").status, 401);
}

TEST_P(RestJobs, MakeTheTableOfPeersThatOfTheScheduler) {
  const auto answer = std::make_shared<std::vector<jobs::HostEntry>>();
  const auto sync =
      [](std::shared_ptr<std::vector<jobs::HostEntry>> hosts) -> asio::awaitable<absl::StatusOr<std::string>> {
    co_return jobs::ToJson(*hosts);
  };
  scheduler_->Work(redis_.address(), {{"sync_peers", [answer, sync](std::string) { return sync(answer); }}});
  for (int i = 0; i < 3; ++i) {
    jobs::HostEntry& host = answer->emplace_back();
    host.id = StrCat("10.0.0.", i, "-h");
    host.hostname = "h";
    host.ip = StrCat("10.0.0.", i);
    host.port = 4000;
    host.download_port = 4000;
    host.os = "linux";
    host.git_version = "v1";
    host.type = i == 0 ? 1 : 0;
    host.cluster_id = i == 2 ? 0 : 1;
  }
  // More than the columns hold: no host may keep the others out of the table.
  answer->front().kernel_version = std::string(300, 'k');
  answer->front().os = std::string(255, 'o') + "\u00e9";
  const RestReply synced = Call("POST", "/api/v1/jobs", R"({"type":"sync_peers"})");
  ASSERT_EQ(synced.status, 200) << synced.body;
  EXPECT_EQ(synced.body, "\"OK\"");
  RestReply peers = Call("GET", "/api/v1/peers");
  ASSERT_EQ(peers.json.size(), 2u) << peers.body;
  EXPECT_EQ(peers.json[0]["type"], "super");
  EXPECT_EQ(peers.json[0]["state"], "active");
  EXPECT_EQ(peers.json[0]["kernel_version"], std::string(256, 'k'));
  EXPECT_EQ(peers.json[0]["os"], std::string(255, 'o'));
  EXPECT_EQ(peers.json[1]["git_version"], "v1");
  answer->erase(answer->begin());
  answer->front().git_version = "v2";
  ASSERT_EQ(Call("POST", "/api/v1/jobs", R"({"type":"sync_peers"})").status, 200);
  peers = Call("GET", "/api/v1/peers");
  ASSERT_EQ(peers.json.size(), 1u) << peers.body;
  EXPECT_EQ(peers.json[0]["git_version"], "v2");
  EXPECT_EQ(peers.json[0]["ip"], "10.0.0.1");
}

TEST_P(RestJobs, DeleteOldRowsWhenAskedTo) {
  const RestReply kept = Call("POST", "/api/v1/jobs", R"({"type":"gc","args":{"type":"job"}})");
  ASSERT_EQ(kept.status, 200) << kept.body;
  EXPECT_EQ(kept.json["type"], "gc");
  EXPECT_EQ(kept.json["state"], "SUCCESS");
  EXPECT_EQ(kept.json["result"]["purged"], 0);
  EXPECT_EQ(kept.json["args"]["ttl"], 21'600'000'000'000);
  const RestReply config = Call("GET", "/api/v1/configs?name=gc");
  const std::string value = R"({"audit":{"ttl":1},"job":{"ttl":1}})";
  ASSERT_EQ(
      Call("PATCH", StrCat("/api/v1/configs/", config.json[0]["id"].get<int64_t>()), json{{"value", value}}.dump())
          .status,
      200);
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  const RestReply purged = Call("POST", "/api/v1/jobs", R"({"type":"gc","args":{"type":"job"}})");
  EXPECT_EQ(purged.json["result"]["purged"], 1) << purged.body;
  EXPECT_EQ(Call("GET", StrCat("/api/v1/jobs/", kept.json["id"].get<int64_t>())).status, 404);
}

class TwoManagers : public RestJobs {};

INSTANTIATE_TEST_SUITE_P(All, TwoManagers, ::testing::Values(db::Engine::kPostgres),
                         [](const auto& info) { return std::string(db::NameOf(info.param)); });

TEST_P(TwoManagers, KeepTheRateTogether) {
  const auto asked = std::make_shared<std::vector<std::string>>();
  scheduler_->Work(redis_.address(), {{"preheat", Preheats(asked)}});
  runtime::IoThreads io(2);
  auto other = Manager::Start(Config(), io);
  ASSERT_TRUE(other.ok()) << other.status();
  const RestClient second((*other)->rest_port());
  std::atomic<int> taken = 0, refused = 0;
  const auto begun = std::chrono::steady_clock::now();
  const auto until = begun + std::chrono::seconds(5);
  const auto press = [&](const RestClient& client) {
    while (std::chrono::steady_clock::now() < until) {
      const RestReply reply =
          client.Call("POST", "/api/v1/jobs", R"({"type":"preheat","args":{"type":"file","url":"http://a/b"}})", root_);
      if (reply.status == 200) ++taken;
      if (reply.status == 429) {
        ++refused;
        EXPECT_EQ(reply.body, "rate limit exceeded");
        EXPECT_EQ(reply.header.at("retry-after"), "1");
      }
      EXPECT_THAT(reply.status, AnyOf(200, 429)) << reply.body;
    }
  };
  std::thread one(press, *client_), two(press, second);
  one.join();
  two.join();
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
  // Ten at once and ten a second, the default of a cluster.
  EXPECT_THAT(taken.load(),
              AllOf(Ge(static_cast<int>((10 + 10 * 5) * 0.9)), Le(static_cast<int>((10 + 10 * seconds) * 1.1))));
  EXPECT_GT(refused, 0);
  (*other)->Stop(Clock::now() + std::chrono::seconds(5));
}

class ManagerMetrics : public RestJobs {
 protected:
  ManagerConfig Config() override {
    ManagerConfig config = RestJobs::Config();
    config.metrics.enable = true;
    config.metrics.addr = "127.0.0.1:0";
    return config;
  }
  std::string Scrape() { return RestClient(running_.manager().metrics_port()).Call("GET", "/metrics").body; }
  void Search() {
    ::manager::v2::ListSchedulersRequest request;
    request.set_hostname("h");
    request.set_ip("10.0.0.1");
    request.set_version("v1.0.0");
    request.set_commit("abc");
    ::manager::v2::ListSchedulersResponse response;
    grpc::ClientContext context;
    EXPECT_TRUE(running_.Stub()->ListSchedulers(&context, request, &response).ok());
  }
};

INSTANTIATE_TEST_SUITE_P(All, ManagerMetrics, ::testing::Values(db::Engine::kSqlite),
                         [](const auto& info) { return std::string(db::NameOf(info.param)); });

// Names to labels, of a page and of docs/compatibility/manager-metrics.tsv.
using MetricNames = std::map<std::string, std::set<std::string>>;

MetricNames NamesOf(const std::string& page) {
  MetricNames found;
  std::istringstream lines(page);
  for (std::string line; std::getline(lines, line);) {
    if (line.empty() || line.front() == '#') continue;
    const size_t end = line.find_first_of("{ ");
    std::string name = line.substr(0, end);
    for (const std::string_view suffix : {"_sum", "_count", "_bucket"}) {
      if (name.ends_with(suffix)) name.resize(name.size() - suffix.size());
    }
    std::set<std::string>& labels = found[name];
    if (line[end] != '{') continue;
    // A value has no quote in it here.
    for (size_t at = end + 1; at < line.size() && line[at] != '}';) {
      const size_t equals = line.find("=\"", at);
      const std::string label = line.substr(at, equals - at);
      if (label != "le" && label != "quantile") labels.insert(label);
      at = line.find('"', equals + 2) + 1;
      if (at < line.size() && line[at] == ',') ++at;
    }
  }
  return found;
}

MetricNames NamesOfTheTable() {
  MetricNames found;
  std::ifstream file(DF_SOURCE_DIR "/docs/compatibility/manager-metrics.tsv");
  for (std::string line; std::getline(file, line);) {
    if (line.empty() || line.front() == '#') continue;
    const std::vector<absl::string_view> fields = absl::StrSplit(line, '\t');
    if (fields.size() != 3 || fields[2] != "ManagerMetrics.AreThoseOfTheTable") continue;
    std::set<std::string>& labels = found[std::string(fields[0])];
    if (fields[1] != "-") labels = absl::StrSplit(fields[1], ',');
  }
  return found;
}

TEST_P(ManagerMetrics, AreThoseOfTheTable) {
  const auto asked = std::make_shared<std::vector<std::string>>();
  scheduler_->Work(redis_.address(), {{"preheat", Preheats(asked)}});
  const RestReply created =
      Call("POST", "/api/v1/jobs", R"({"type":"preheat","args":{"type":"file","url":"http://origin/a"}})");
  ASSERT_EQ(created.status, 200) << created.body;
  EXPECT_EQ(Ended(created.json["id"])["state"], "SUCCESS");
  Search();
  scheduler_.reset();
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (Call("GET", "/api/v1/schedulers?state=active").json.size() != 0) {
    ASSERT_LT(std::chrono::steady_clock::now(), deadline);
    std::this_thread::yield();
  }
  Search();
  const std::string page = Scrape();
  const MetricNames names = NamesOf(page);
  const MetricNames expected = NamesOfTheTable();
  EXPECT_GT(expected.size(), 15u);
  for (const auto& [name, labels] : expected) {
    ASSERT_TRUE(names.contains(name)) << name << "\n" << page;
    EXPECT_EQ(names.at(name), labels) << name;
  }
  for (const char* const line :
       {"dragonfly_manager_search_scheduler_cluster_total{commit=\"abc\",version=\"v1.0.0\"} 2\n",
        "dragonfly_manager_search_scheduler_cluster_failure_total{commit=\"abc\",version=\"v1.0.0\"} 1\n",
        "dragonfly_manager_create_job_total{name=\"preheat\"} 1\n",
        "dragonfly_manager_create_job_success_total{name=\"preheat\"} 1\n"}) {
    EXPECT_THAT(page, HasSubstr(line));
  }
  // What we have beyond the table is our own, not a name of the original in another spelling.
  for (const auto& [name, labels] : names) {
    if (name.find("manager_") != std::string::npos) EXPECT_TRUE(expected.contains(name)) << name;
  }
}

}  // namespace
}  // namespace dragonfly::manager
