// SPDX-License-Identifier: Apache-2.0
// One suite for both brokers, and what only Redis shows: the layout that the original knows.
#include "jobs/broker.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/use_future.hpp>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/status.h"
#include "base/text.h"
#include "jobs/embedded_broker.h"
#include "jobs/redis_broker.h"
#include "jobs/results.h"
#include "jobs/worker.h"
#include "redis/client.h"
#include "runtime/io_threads.h"
#include "runtime/signal.h"
#include "runtime/task_group.h"
#include "runtime/timeout.h"
#include "tests/support/redis_server.h"

namespace dragonfly::jobs {
namespace {

namespace asio = boost::asio;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr std::chrono::seconds kPatience{20};
constexpr char kQueue[] = "scheduler_1_host";

std::vector<Message> Messages(int count, const std::string& name = "work", const std::string& queue = kQueue) {
  std::vector<Message> messages;
  for (int i = 0; i < count; ++i) {
    Message& message = messages.emplace_back();
    message.name = name;
    message.queue = queue;
    message.argument = StrCat(i);
  }
  return messages;
}

// Brokers of several programs over one store; the embedded one is all of them.
class World {
 public:
  explicit World(bool with_redis) {
    if (with_redis) {
      server_ = std::make_unique<testing::RedisServer>();
    } else {
      embedded_ = std::make_unique<EmbeddedBroker>();
    }
  }
  ~World() {
    asio::co_spawn(io_.At(0), listening_.Stop(), asio::use_future).get();
    brokers_.clear();
  }

  Broker& Make() {
    if (server_ == nullptr) return *embedded_;
    RedisBrokerOptions options;
    options.redis.addresses = {server_->address()};
    auto made = RedisBroker::Make(options);
    EXPECT_TRUE(made.ok()) << made.status();
    listening_.Spawn((*made)->ListenForEnds());
    brokers_.push_back(*std::move(made));
    return *brokers_.back();
  }
  testing::RedisServer& server() { return *server_; }
  asio::io_context& io() { return io_.At(0); }

  template <typename T>
  T Run(asio::awaitable<T> work) {
    return asio::co_spawn(io_.At(0), std::move(work), asio::use_future).get();
  }

 private:
  runtime::IoThreads io_{2};
  std::unique_ptr<testing::RedisServer> server_;
  std::unique_ptr<EmbeddedBroker> embedded_;
  std::vector<std::unique_ptr<RedisBroker>> brokers_;
  runtime::TaskGroup listening_{io_.At(0).get_executor()};
};

class Brokers : public ::testing::TestWithParam<bool> {
 protected:
  // A worker with `handlers`, running until the test ends or it is stopped.
  Worker& Start(Broker& broker, std::map<std::string, Handler> handlers, size_t at_once = 100) {
    WorkerOptions options;
    options.name = "10.0.0.1";
    options.queues = {kQueue, StrCat(kQueue, "_10.0.0.1")};
    options.handlers = std::move(handlers);
    options.at_once = at_once;
    workers_.push_back(std::make_unique<Worker>(world_.io(), broker, std::move(options)));
    workers_.back()->Start();
    return *workers_.back();
  }
  void Stop(Worker& worker) {
    asio::co_spawn(world_.io(), worker.Stop(), asio::use_future).get();
    std::erase_if(workers_, [&](const auto& one) { return one.get() == &worker; });
  }
  void TearDown() override {
    while (!workers_.empty()) Stop(*workers_.back());
  }
  std::vector<TaskState> Await(Broker& broker, const std::string& group) {
    auto states = world_.Run(broker.Await(group, Clock::now() + kPatience));
    EXPECT_TRUE(states.ok()) << states.status();
    return states.ok() ? *states : std::vector<TaskState>();
  }

  World world_{GetParam()};
  std::vector<std::unique_ptr<Worker>> workers_;
};

asio::awaitable<absl::StatusOr<std::string>> Echo(std::string argument) { co_return StrCat("[", argument, "]"); }

TEST_P(Brokers, CarryWorkToAWorkerAndItsResultBack) {
  Broker& manager = world_.Make();
  Start(world_.Make(), {{"work", Echo}});
  const std::string group = MakeGroupUuid();
  ASSERT_TRUE(world_.Run(manager.Send(group, Messages(100))).ok());
  const std::vector<TaskState> states = Await(manager, group);
  ASSERT_EQ(states.size(), 100u);
  for (size_t i = 0; i < states.size(); ++i) {
    EXPECT_EQ(states[i].state, State::kSuccess);
    EXPECT_EQ(states[i].name, "work");
    EXPECT_EQ(states[i].uuid, TaskUuidOf(group, i));
    EXPECT_THAT(states[i].results, ElementsAre(StrCat("[", i, "]")));
    EXPECT_LT(absl::AbsDuration(absl::Now() - states[i].created_at), absl::Minutes(1));
  }
  EXPECT_EQ(world_.Run(manager.Await("group_none", Clock::now() + kPatience)).status().code(),
            absl::StatusCode::kNotFound);
}

TEST_P(Brokers, CarryTheHostsOfALargeClusterAndRefuseWhatIsTooMuch) {
  Broker& manager = world_.Make();
  const auto tell = [](std::string which) -> asio::awaitable<absl::StatusOr<std::string>> {
    if (which != "0") co_return std::string(kResultMax + 1, 'x');
    std::vector<HostEntry> entries(30'000);
    for (HostEntry& entry : entries) entry.id = "host";
    co_return ToJson(entries);
  };
  Start(world_.Make(), {{"tell", tell}});
  const std::string group = MakeGroupUuid();
  ASSERT_TRUE(world_.Run(manager.Send(group, Messages(2, "tell"))).ok());
  const std::vector<TaskState> states = Await(manager, group);
  ASSERT_EQ(states.size(), 2u);
  ASSERT_EQ(states[0].state, State::kSuccess) << states[0].error;
  ASSERT_EQ(states[0].results.size(), 1u);
  EXPECT_GT(states[0].results.front().size(), kMessageMax);
  const auto hosts = ParseHosts(states[0].results.front());
  ASSERT_TRUE(hosts.ok()) << hosts.status();
  EXPECT_EQ(hosts->size(), 30'000u);
  EXPECT_EQ(states[1].state, State::kFailure);
  EXPECT_THAT(states[1].error, HasSubstr(StrCat("more than ", kResultMax)));
}

TEST_P(Brokers, TellAFailureAndAJobThatNobodyKnows) {
  Broker& manager = world_.Make();
  const auto fail = [](std::string) -> asio::awaitable<absl::StatusOr<std::string>> {
    co_return absl::UnavailableError("the disk is on fire");
  };
  Start(world_.Make(), {{"fail", fail}});
  for (const auto& [name, text] : {std::pair{"fail", "the disk is on fire"}, {"dance", "job \"dance\" is not known"}}) {
    const std::string group = MakeGroupUuid();
    ASSERT_TRUE(world_.Run(manager.Send(group, Messages(1, name))).ok());
    const std::vector<TaskState> states = Await(manager, group);
    ASSERT_EQ(states.size(), 1u);
    EXPECT_EQ(states.front().state, State::kFailure);
    EXPECT_THAT(states.front().error, HasSubstr(text));
    EXPECT_THAT(states.front().results, IsEmpty());
  }
}

TEST_P(Brokers, TryAgainAsOftenAsTheMessageSays) {
  Broker& manager = world_.Make();
  int calls = 0;
  const auto second = [](int* count) -> asio::awaitable<absl::StatusOr<std::string>> {
    if (++*count < 2) co_return absl::UnavailableError("not yet");
    co_return "done";
  };
  Worker& worker = Start(world_.Make(), {{"work", [&calls, second](std::string) { return second(&calls); }}});
  std::vector<Message> messages = Messages(1);
  messages.front().retries = 1;
  const std::string group = MakeGroupUuid();
  ASSERT_TRUE(world_.Run(manager.Send(group, messages)).ok());
  const std::vector<TaskState> states = Await(manager, group);
  ASSERT_EQ(states.size(), 1u);
  EXPECT_EQ(states.front().state, State::kSuccess) << states.front().error;
  EXPECT_EQ(calls, 2);
  Stop(worker);
}

// Runs until it is cancelled.
struct Endless {
  asio::awaitable<absl::StatusOr<std::string>> operator()(std::string) const { return Run(this); }
  static asio::awaitable<absl::StatusOr<std::string>> Run(const Endless* self) {
    ++*self->begun;
    self->changed.Notify();
    const std::shared_ptr<void> gone(nullptr, [self](void*) {
      ++*self->ended;
      self->changed.Notify();
    });
    co_await runtime::SleepUntil(Clock::now() + kPatience);
    co_return "never";
  }
  std::shared_ptr<std::atomic<int>> begun = std::make_shared<std::atomic<int>>(0);
  std::shared_ptr<std::atomic<int>> ended = std::make_shared<std::atomic<int>>(0);
  mutable runtime::Signal changed;
};

asio::awaitable<bool> Until(runtime::Signal changed, std::shared_ptr<std::atomic<int>> counter, int wanted) {
  const TimePoint deadline = Clock::now() + kPatience;
  for (;;) {
    const uint64_t seen = changed.version();
    if (*counter >= wanted) co_return true;
    if (!co_await changed.Wait(seen, deadline)) co_return false;
  }
}

TEST_P(Brokers, CancelWhatRunsAndWhatWaits) {
  Broker& manager = world_.Make();
  const Endless endless;
  Worker& worker =
      Start(world_.Make(), {{"work", [&endless](std::string argument) { return endless(std::move(argument)); }}},
            /*at_once=*/1);
  const std::string group = MakeGroupUuid(), next = MakeGroupUuid();
  ASSERT_TRUE(world_.Run(manager.Send(group, Messages(3))).ok());
  ASSERT_TRUE(world_.Run(Until(endless.changed, endless.begun, 1)));
  ASSERT_TRUE(world_.Run(manager.Cancel(group, "nobody wants it")).ok());
  for (const TaskState& state : Await(manager, group)) {
    EXPECT_EQ(state.state, State::kFailure);
    EXPECT_EQ(state.error, "nobody wants it");
  }
  EXPECT_TRUE(world_.Run(Until(endless.changed, endless.ended, 1)));
  // The others of the group never begin; what comes later does.
  ASSERT_TRUE(world_.Run(manager.Send(next, Messages(1))).ok());
  EXPECT_TRUE(world_.Run(Until(endless.changed, endless.begun, 2)));
  EXPECT_EQ(*endless.begun, 2);
  EXPECT_EQ(world_.Run(manager.Cancel("group_none", "")).code(), absl::StatusCode::kNotFound);
  Stop(worker);
}

TEST_P(Brokers, DoAgainWhatAWorkerHadTakenWhenItEnded) {
  Broker& manager = world_.Make();
  Broker& scheduler = world_.Make();
  const Endless endless;
  Worker& first = Start(scheduler, {{"work", [&endless](std::string a) { return endless(std::move(a)); }}});
  const std::string group = MakeGroupUuid();
  ASSERT_TRUE(world_.Run(manager.Send(group, Messages(2))).ok());
  ASSERT_TRUE(world_.Run(Until(endless.changed, endless.begun, 2)));
  Stop(first);
  EXPECT_EQ(*endless.ended, 2);
  Start(scheduler, {{"work", Echo}});
  const std::vector<TaskState> states = Await(manager, group);
  ASSERT_EQ(states.size(), 2u);
  for (const TaskState& state : states) EXPECT_EQ(state.state, State::kSuccess);
}

TEST_P(Brokers, SendAGroupOnce) {
  Broker& one = world_.Make();
  Broker& two = world_.Make();
  const std::string group = MakeGroupUuid();
  ASSERT_TRUE(world_.Run(one.Send(group, Messages(3))).ok());
  EXPECT_EQ(world_.Run(two.Send(group, Messages(3))).code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(*world_.Run(two.IsSent(group)), true);
  EXPECT_EQ(world_.Run(two.IsSent("group_none")).status().code(), absl::StatusCode::kNotFound);
  int calls = 0;
  const auto count = [](int* n) -> asio::awaitable<absl::StatusOr<std::string>> {
    ++*n;
    co_return "";
  };
  Worker& worker = Start(world_.Make(), {{"work", [&calls, count](std::string) { return count(&calls); }}});
  Await(two, group);
  EXPECT_EQ(calls, 3);
  Stop(worker);
}

INSTANTIATE_TEST_SUITE_P(All, Brokers, ::testing::Bool(),
                         [](const auto& info) { return info.param ? "Redis" : "Embedded"; });

class RedisBrokers : public ::testing::Test {
 protected:
  std::unique_ptr<redis::Client> Client(int64_t db) {
    redis::Options options;
    options.addresses = {world_.server().address()};
    options.db = db;
    return *redis::Client::Make(options);
  }
  World world_{true};
};

TEST_F(RedisBrokers, WriteWhatTheOriginalReads) {
  Broker& manager = world_.Make();
  const std::string group = MakeGroupUuid();
  ASSERT_TRUE(world_.Run(manager.Send(group, Messages(2, kPreheat))).ok());
  const auto queues = Client(1), states = Client(2);
  const auto waiting = queues->Run({"LRANGE", kQueue, "0", "-1"});
  ASSERT_TRUE(waiting.ok()) << waiting.status();
  ASSERT_EQ(waiting->array.size(), 2u);
  const auto message = nlohmann::json::parse(waiting->array[0].text);
  EXPECT_EQ(message.at("Name"), "preheat");
  EXPECT_EQ(message.at("RoutingKey"), kQueue);
  EXPECT_EQ(message.at("GroupUUID"), group);
  EXPECT_EQ(message.at("GroupTaskCount"), 2);
  EXPECT_EQ(message.at("Args").at(0).at("Value"), "0");
  const auto kept = states->Run({"GET", group});
  ASSERT_TRUE(kept.ok() && !kept->nil());
  EXPECT_EQ(nlohmann::json::parse(kept->text).at("TaskUUIDs").at(0), message.at("UUID"));
  const auto state = states->Run({"GET", message.at("UUID").get<std::string>()});
  ASSERT_TRUE(state.ok() && !state->nil());
  EXPECT_EQ(nlohmann::json::parse(state->text).at("State"), "PENDING");
  for (const std::string& key : {group, message.at("UUID").get<std::string>()}) {
    const auto left = states->Run({"TTL", key});
    ASSERT_TRUE(left.ok()) << left.status();
    EXPECT_GT(left->integer, 86'000);
    EXPECT_LE(left->integer, 86'400);
  }
}

TEST_F(RedisBrokers, SeeAWorkerOfTheOriginalThatTellsNobody) {
  Broker& manager = world_.Make();
  const std::string group = MakeGroupUuid();
  ASSERT_TRUE(world_.Run(manager.Send(group, Messages(1, kGetTask))).ok());
  const auto queues = Client(1), states = Client(2);
  const auto popped = queues->Run({"LPOP", kQueue});
  ASSERT_TRUE(popped.ok()) << popped.status();
  const std::string uuid = nlohmann::json::parse(popped->text).at("UUID");
  const std::string ended =
      StrCat(R"({"TaskUUID":")", uuid, R"(","TaskName":"get_task","State":"SUCCESS","Results":)",
             R"([{"Type":"string","Value":"{}"}],"Error":"","CreatedAt":"2025-01-02T03:04:05Z",)", R"("TTL":0})");
  ASSERT_TRUE(states->Run({"SET", uuid, ended}).ok());
  const auto result = world_.Run(manager.Await(group, Clock::now() + kPatience));
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(StateOf(*result), State::kSuccess);
}

TEST_F(RedisBrokers, SendTheRestOfAGroupWhoseSenderWasKilled) {
  Broker& manager = world_.Make();
  const std::string group = MakeGroupUuid();
  ASSERT_TRUE(world_.Run(manager.Send(group, Messages(3))).ok());
  // As it is when the sender ends between its last message and the note that all are sent.
  const auto queues = Client(1), states = Client(2);
  auto record = nlohmann::json::parse(states->Run({"GET", group})->text);
  record["Published"] = false;

  ASSERT_TRUE(states->Run({"SET", group, record.dump()}).ok());
  ASSERT_TRUE(queues->Run({"RPOP", kQueue}).ok());
  ASSERT_TRUE(world_.Run(world_.Make().Send(group, Messages(3))).ok());
  // Five messages for three tasks: each is done once.
  EXPECT_EQ(queues->Run({"LLEN", kQueue})->integer, 5);
  int calls = 0;
  const auto count = [](int* n) -> asio::awaitable<absl::StatusOr<std::string>> {
    ++*n;
    co_return "";
  };
  WorkerOptions options;
  options.name = "w";
  options.queues = {kQueue};
  options.handlers = {{"work", [&calls, count](std::string) { return count(&calls); }}};
  Worker worker(world_.io(), world_.Make(), std::move(options));
  worker.Start();
  const auto ended = world_.Run(manager.Await(group, Clock::now() + kPatience));
  ASSERT_TRUE(ended.ok() && HaveEnded(*ended));
  asio::co_spawn(world_.io(), worker.Stop(), asio::use_future).get();
  EXPECT_EQ(calls, 3);
}

TEST_F(RedisBrokers, TellWhatCameOfAJobWhenRedisIsBack) {
  Broker& manager = world_.Make();
  runtime::Signal begun, over;
  const uint64_t before_begun = begun.version(), before_over = over.version();
  WorkerOptions options;
  options.name = "w";
  options.queues = {kQueue};
  options.handlers = {{"work", [&](std::string argument) -> asio::awaitable<absl::StatusOr<std::string>> {
                         begun.Notify();
                         return [](runtime::Signal* end, uint64_t seen,
                                   std::string text) -> asio::awaitable<absl::StatusOr<std::string>> {
                           co_await end->Wait(seen);
                           co_return text;
                         }(&over, before_over, std::move(argument));
                       }}};
  Worker worker(world_.io(), world_.Make(), std::move(options));
  worker.Start();
  const std::string group = MakeGroupUuid();
  ASSERT_TRUE(world_.Run(manager.Send(group, Messages(1))).ok());
  const auto begins = [](runtime::Signal* signal, uint64_t seen) -> asio::awaitable<bool> {
    co_return co_await signal->Wait(seen, Clock::now() + kPatience);
  };
  ASSERT_TRUE(world_.Run(begins(&begun, before_begun)));
  // It ends while nobody can be told, which the worker notices.
  world_.server().Kill();
  over.Notify();
  const TimePoint patience = Clock::now() + kPatience;
  while (worker.state().ok()) ASSERT_LT(Clock::now(), patience);
  world_.server().Restart();
  const auto ended = world_.Run(manager.Await(group, Clock::now() + kPatience));
  ASSERT_TRUE(ended.ok()) << ended.status();
  EXPECT_EQ(StateOf(*ended), State::kSuccess);
  asio::co_spawn(world_.io(), worker.Stop(), asio::use_future).get();
}

TEST_F(RedisBrokers, GoOnWhenRedisIsBack) {
  Broker& manager = world_.Make();
  WorkerOptions options;
  options.name = "w";
  options.queues = {kQueue};
  options.handlers = {{"work", Echo}};
  Worker worker(world_.io(), world_.Make(), std::move(options));
  worker.Start();
  world_.server().Kill();
  const absl::Status status = world_.Run(manager.Send(MakeGroupUuid(), Messages(1)));
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
  world_.server().Restart();
  const std::string group = MakeGroupUuid();
  ASSERT_TRUE(world_.Run(manager.Send(group, Messages(1))).ok());
  const auto ended = world_.Run(manager.Await(group, Clock::now() + kPatience));
  ASSERT_TRUE(ended.ok()) << ended.status();
  EXPECT_EQ(StateOf(*ended), State::kSuccess);
  asio::co_spawn(world_.io(), worker.Stop(), asio::use_future).get();
}

}  // namespace
}  // namespace dragonfly::jobs
