// SPDX-License-Identifier: Apache-2.0
#include "redis/client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <thread>

#include "base/status.h"
#include "base/text.h"
#include "tests/support/redis_server.h"

namespace dragonfly::redis {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::Pair;

std::unique_ptr<Client> ClientOf(const std::string& address, Options options = Options()) {
  if (options.addresses.empty()) options.addresses = {address};
  auto client = Client::Make(std::move(options));
  EXPECT_TRUE(client.ok()) << client.status();
  return *std::move(client);
}

TEST(RedisClient, KeepsAnyBytes) {
  const dragonfly::testing::RedisServer server;
  const auto client = ClientOf(server.address());
  const std::string bytes("\0\r\n$5\xff", 7);
  ASSERT_TRUE(client->Run({"HSET", "key", "field", bytes}).ok());
  const auto reply = client->Run({"HGETALL", "key"});
  ASSERT_TRUE(reply.ok()) << reply.status();
  const auto fields = reply->Fields();
  ASSERT_TRUE(fields.ok()) << fields.status();
  EXPECT_THAT(*fields, ElementsAre(Pair("field", bytes)));
}

TEST(RedisClient, AnswersManyCommandsInTheirOrder) {
  const dragonfly::testing::RedisServer server;
  const auto client = ClientOf(server.address());
  std::vector<Command> commands;
  for (int i = 0; i < 1000; ++i) commands.push_back({"INCR", "n"});
  const auto replies = client->RunAll(commands);
  ASSERT_TRUE(replies.ok()) << replies.status();
  ASSERT_EQ(replies->size(), 1000u);
  for (size_t i = 0; i < 1000; ++i) EXPECT_EQ((*replies)[i].integer, static_cast<int64_t>(i) + 1);
}

TEST(RedisClient, NamesServerAndCommandButNoArgumentInAnError) {
  const dragonfly::testing::RedisServer server;
  const auto client = ClientOf(server.address());
  ASSERT_TRUE(client->Run({"SET", "key", "value"}).ok());
  const auto reply = client->Run({"LPUSH", "key", "secret"});
  ASSERT_FALSE(reply.ok());
  EXPECT_TRUE(IsError(reply.status(), "WRONGTYPE")) << reply.status();
  EXPECT_THAT(std::string(MessageOf(reply.status())), HasSubstr("LPUSH"));
  EXPECT_THAT(std::string(MessageOf(reply.status())), Not(HasSubstr("secret")));
}

TEST(RedisClient, RunsAScriptThatTheServerDoesNotHaveYet) {
  const dragonfly::testing::RedisServer server;
  const auto client = ClientOf(server.address());
  const Script script("return {KEYS[1], ARGV[1]}");
  for (int i = 0; i < 2; ++i) {
    const auto reply = client->RunScript(script, {"k"}, {"a"});
    ASSERT_TRUE(reply.ok()) << reply.status();
    const auto texts = reply->Texts();
    ASSERT_TRUE(texts.ok());
    EXPECT_THAT(*texts, ElementsAre("k", "a"));
  }
  const auto known = client->Run({"SCRIPT", "EXISTS", script.sha1()});
  ASSERT_TRUE(known.ok());
  ASSERT_EQ(known->array.size(), 1u);
  EXPECT_EQ(known->array[0].integer, 1);
}

TEST(RedisClient, GoesOnAfterTheServerWasRestarted) {
  dragonfly::testing::RedisServer server;
  const auto client = ClientOf(server.address());
  ASSERT_TRUE(client->Run({"SET", "key", "value"}).ok());
  server.Kill();
  const auto down = client->Run({"GET", "key"});
  EXPECT_TRUE(absl::IsUnavailable(down.status())) << down.status();
  EXPECT_THAT(std::string(MessageOf(down.status())), HasSubstr(server.address()));
  server.Restart();
  const auto up = client->Run({"GET", "key"});
  ASSERT_TRUE(up.ok()) << up.status();
  EXPECT_EQ(up->text, "value");
}

TEST(RedisClient, GivesUpACommandThatTakesTooLong) {
  const dragonfly::testing::RedisServer server;
  Options options;
  options.addresses = {server.address()};
  options.command_timeout = absl::Milliseconds(100);
  const auto client = ClientOf("", options);
  const absl::Time begin = absl::Now();
  const auto reply = client->Run({"BLPOP", "nothing", "30"});
  EXPECT_TRUE(absl::IsDeadlineExceeded(reply.status())) << reply.status();
  EXPECT_LT(absl::Now() - begin, absl::Seconds(5));
  EXPECT_TRUE(client->Run({"PING"}).ok());
}

TEST(RedisClient, LogsInAndSelectsItsDatabase) {
  const dragonfly::testing::RedisServer server({"--requirepass", "s3cret"});
  Options options;
  options.addresses = {server.address()};
  const auto stranger = ClientOf("", options)->Run({"PING"});
  EXPECT_TRUE(absl::IsUnauthenticated(stranger.status())) << stranger.status();
  options.password = "s3cret";
  options.db = 3;
  const auto client = ClientOf("", options);
  ASSERT_TRUE(client->Run({"SET", "key", "in three"}).ok());
  options.db = 0;
  const auto other = ClientOf("", options)->Run({"GET", "key"});
  ASSERT_TRUE(other.ok()) << other.status();
  EXPECT_TRUE(other->nil());
  options.password = "wrong";
  const auto refused = ClientOf("", options)->Run({"PING"});
  EXPECT_TRUE(absl::IsUnauthenticated(refused.status())) << refused.status();
  EXPECT_THAT(std::string(MessageOf(refused.status())), Not(HasSubstr("wrong ")));
}

TEST(RedisClient, FindsTheMasterThroughASentinel) {
  const dragonfly::testing::RedisServer master;
  const dragonfly::testing::TempDir dir;
  const std::string config =
      dir.Write("sentinel.conf", StrCat("sentinel monitor cache 127.0.0.1 ", master.port(), " 1\n"));
  // A sentinel is the same program in another mode; what it says when it is ready differs.
  const dragonfly::testing::RedisServer sentinel({config, "--sentinel"});
  Options options;
  options.addresses = {"127.0.0.1:1", sentinel.address()};
  options.master_name = "cache";
  const auto client = ClientOf("", options);
  ASSERT_TRUE(client->Run({"SET", "key", "value"}).ok());
  const auto direct = ClientOf(master.address())->Run({"GET", "key"});
  ASSERT_TRUE(direct.ok());
  EXPECT_EQ(direct->text, "value");
  options.master_name = "other";
  const auto unknown = ClientOf("", options)->Run({"PING"});
  EXPECT_THAT(std::string(MessageOf(unknown.status())), HasSubstr("\"other\""));
}

TEST(RedisClient, TalksTlsAndChecksTheServer) {
  const dragonfly::testing::TempDir dir;
  const std::string cert = (dir.path() / "cert.pem").string();
  const std::string key = (dir.path() / "key.pem").string();
  const std::string make = StrCat(
      "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=redis -addext "
      "subjectAltName=IP:127.0.0.1 -keyout ",
      key, " -out ", cert, " >/dev/null 2>&1");
  ASSERT_EQ(std::system(make.c_str()), 0);
  const dragonfly::testing::RedisServer server(
      {"--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", cert, "--tls-auth-clients", "no"});
  const auto plain = ClientOf(server.address());
  const std::string tls_port = StrCat(server.port() == 65535 ? 65534 : server.port() + 1);
  ASSERT_TRUE(plain->Run({"CONFIG", "SET", "tls-port", tls_port}).ok());
  Options options;
  options.addresses = {StrCat("127.0.0.1:", tls_port)};
  options.tls.emplace();
  const auto refused = ClientOf("", options)->Run({"PING"});
  EXPECT_TRUE(absl::IsUnavailable(refused.status())) << refused.status();
  options.tls->ca_cert = cert;
  const auto client = ClientOf("", options);
  const auto reply = client->Run({"PING"});
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_EQ(reply->text, "PONG");
  options.tls->ca_cert = "/nowhere.pem";
  const auto bad = Client::Make(options);
  EXPECT_THAT(std::string(MessageOf(bad.status())), HasSubstr("/nowhere.pem"));
}

TEST(RedisClient, ServesManyThreadsWithFewConnections) {
  const dragonfly::testing::RedisServer server;
  Options options;
  options.addresses = {server.address()};
  options.pool_size = 2;
  const auto client = ClientOf("", options);
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&client] {
      for (int n = 0; n < 100; ++n) EXPECT_TRUE(client->Run({"INCR", "n"}).ok());
    });
  }
  for (std::thread& thread : threads) thread.join();
  const auto count = client->Run({"GET", "n"});
  ASSERT_TRUE(count.ok());
  EXPECT_EQ(count->text, "800");
}

TEST(RedisClient, RefusesOptionsThatMakeNoSense) {
  EXPECT_FALSE(Client::Make(Options()).ok());
  Options options;
  options.addresses = {"no port"};
  EXPECT_THAT(std::string(MessageOf(Client::Make(options).status())), HasSubstr("no port"));
  options.addresses = {"a:1", "b:2"};
  options.db = 1;
  EXPECT_THAT(std::string(MessageOf(Client::Make(options).status())), HasSubstr("database"));
}

}  // namespace
}  // namespace dragonfly::redis
