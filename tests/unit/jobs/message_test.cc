// SPDX-License-Identifier: Apache-2.0
#include "jobs/message.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/status.h"
#include "jobs/preheat_request.h"
#include "jobs/results.h"
#include "jobs/task_request.h"

namespace dragonfly::jobs {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

TEST(JobMessage, IsWrittenAsMachineryWritesIt) {
  Message message;
  message.uuid = "task_1";
  message.name = kPreheat;
  message.queue = "scheduler_1_host";
  message.group_uuid = "group_1";
  message.group_size = 3;
  message.argument = R"({"url":"http://a/b"})";
  // As machinery v1.10.14 marshals its Signature.
  EXPECT_EQ(
      ToJson(message),
      R"({"UUID":"task_1","Name":"preheat","RoutingKey":"scheduler_1_host","ETA":null,"GroupUUID":"group_1",)"
      R"("GroupTaskCount":3,"Args":[{"Name":"","Type":"string","Value":"{\"url\":\"http://a/b\"}"}],"Headers":{},)"
      R"("Priority":0,"Immutable":false,"RetryCount":0,"RetryTimeout":0,"OnSuccess":null,"OnError":null,)"
      R"("ChordCallback":null,"BrokerMessageGroupId":"","SQSReceiptHandle":"","StopTaskDeletionOnError":false,)"
      R"("IgnoreWhenTaskNotRegistered":false})");
  message.argument.reset();
  EXPECT_TRUE(json::parse(ToJson(message)).at("Args").is_null());
}

TEST(JobMessage, IsReadWithWhatItNeedsAndMembersThatNobodyKnows) {
  const auto message = ParseMessage(R"({"UUID":"task_1","Name":"sync_peers","Args":null,"New":{"a":[1]}})");
  ASSERT_TRUE(message.ok()) << message.status();
  EXPECT_EQ(message->name, kSyncPeers);
  EXPECT_FALSE(message->argument.has_value());
  for (const char* const wrong : {"", "[]", "{}", R"({"UUID":"","Name":"a"})", R"({"UUID":1,"Name":"a"})",
                                  R"({"UUID":"a","Name":"b","Args":[1]})"}) {
    EXPECT_EQ(ParseMessage(wrong).status().code(), absl::StatusCode::kInvalidArgument) << wrong;
  }
  EXPECT_FALSE(ParseMessage(std::string(kMessageMax + 1, ' ')).ok());
}

TEST(JobMessage, KeepsStatesAndGroups) {
  TaskState state;
  state.uuid = "task_1";
  state.name = kGetTask;
  state.state = State::kSuccess;
  state.results = {R"({"peers":null})"};
  absl::Time time;
  std::string error;
  ASSERT_TRUE(absl::ParseTime(absl::RFC3339_full, "2025-01-02T03:04:05.123456789Z", &time, &error));
  state.created_at = time;
  EXPECT_EQ(ToJson(state),
            R"({"TaskUUID":"task_1","TaskName":"get_task","State":"SUCCESS","Results":[{"Type":"string","Value":)"
            R"("{\"peers\":null}"}],"Error":"","CreatedAt":"2025-01-02T03:04:05.123456789Z","TTL":0})");
  const auto back = ParseTaskState(ToJson(state));
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(back->created_at, time);
  EXPECT_EQ(back->results, state.results);
  EXPECT_FALSE(ParseTaskState(R"({"TaskUUID":"a","State":"DREAMING"})").ok());

  // As the original writes it: what is on its way.
  const auto group =
      ParseGroup(R"({"GroupUUID":"group_1","TaskUUIDs":["task_1","task_2"],"ChordTriggered":false,"Lock":false,)"
                 R"("CreatedAt":"2025-01-02T03:04:05Z","TTL":0})");
  ASSERT_TRUE(group.ok()) << group.status();
  EXPECT_THAT(group->task_uuids, ElementsAre("task_1", "task_2"));
  EXPECT_TRUE(group->published);
}

TEST(JobMessage, NamesTheSameTasksOfAGroupAlways) {
  const std::string group = MakeGroupUuid();
  EXPECT_THAT(group,
              ::testing::MatchesRegex("group_[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"));
  EXPECT_NE(MakeGroupUuid(), group);
  EXPECT_EQ(TaskUuidOf(group, 1), TaskUuidOf(group, 1));
  EXPECT_NE(TaskUuidOf(group, 1), TaskUuidOf(group, 2));
  EXPECT_THAT(TaskUuidOf(group, 1),
              ::testing::MatchesRegex("task_[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"));
  EXPECT_EQ(SchedulerQueue(1, "host"), "scheduler_1_host");
  EXPECT_EQ(SchedulerQueue(1, "host", "10.0.0.1"), "scheduler_1_host_10.0.0.1");
}

TEST(JobMessage, SumsUpTheStatesOfAGroup) {
  const auto of = [](std::vector<State> states) {
    std::vector<TaskState> tasks;
    for (const State state : states) tasks.emplace_back().state = state;
    return StateOf(tasks);
  };
  EXPECT_EQ(of({State::kSuccess, State::kSuccess}), State::kSuccess);
  EXPECT_EQ(of({State::kSuccess, State::kStarted}), State::kPending);
  EXPECT_EQ(of({State::kStarted, State::kFailure}), State::kFailure);
  EXPECT_EQ(of({}), State::kPending);
}

TEST(PreheatRequest, ReadsWhatBothReleasesSend) {
  // As dragonfly v2.3.0 marshals it.
  const auto old = ParsePreheatRequest(
      R"({"url":"http://a/b","pieceLength":4194304,"tag":"t","filtered_query_params":"a&b","headers":{"X":"y"},)"
      R"("application":"app","priority":3,"scope":"all_peers","percentage":50,"count":null,"concurrent_count":7,)"
      R"("certificate_chain":["AQID"],"insecure_skip_verify":false,"timeout":60000000000,"load_to_cache":true,)"
      R"("content_for_calculating_task_id":"content"})");
  ASSERT_TRUE(old.ok()) << old.status();
  EXPECT_THAT(old->urls, ElementsAre("http://a/b"));
  EXPECT_EQ(old->piece_length, 4194304u);
  EXPECT_THAT(old->FilteredQueryParams(), ElementsAre("a", "b"));
  EXPECT_EQ(old->scope, Scope::kAllPeers);
  EXPECT_EQ(old->percentage, 50u);
  EXPECT_FALSE(old->count.has_value());
  EXPECT_EQ(old->peers_at_once, 7);
  EXPECT_THAT(old->certificate_chain, ElementsAre("\x01\x02\x03"));
  EXPECT_EQ(old->timeout, absl::Minutes(1));
  EXPECT_TRUE(old->load_to_cache);
  EXPECT_EQ(old->content, "content");

  const auto later = ParsePreheatRequest(
      R"({"url":"","urls":["http://a/1","http://a/2"],"pieceLength":null,"scope":"all_seed_peers","ips":["10.0.0.1"],)"
      R"("concurrent_task_count":2,"concurrent_peer_count":3,"group_uuid":"g","task_uuid":"t","timeout":0})");
  ASSERT_TRUE(later.ok()) << later.status();
  EXPECT_THAT(later->urls, ElementsAre("http://a/1", "http://a/2"));
  EXPECT_THAT(later->ips, ElementsAre("10.0.0.1"));
  EXPECT_EQ(later->tasks_at_once, 2);
  EXPECT_EQ(later->peers_at_once, 3);

  for (const Form form : {Form::kOneUrl, Form::kAllUrls}) {
    const auto back = ParsePreheatRequest(ToJson(*old, form));
    ASSERT_TRUE(back.ok()) << back.status();
    EXPECT_EQ(ToJson(*back, form), ToJson(*old, form));
  }
}

TEST(PreheatRequest, SaysWhatIsWrong) {
  const std::pair<const char*, const char*> cases[] = {
      {"{}", "url or urls is required"},
      {R"({"url":1})", "url: is no text"},
      {R"({"url":"a","percentage":101})", "percentage: 101"},
      {R"({"url":"a","count":0})", "count: 0"},
      {R"({"url":"a","headers":{"x":1}})", "headers:"},
      {R"({"url":"a","certificate_chain":["*"]})", "certificate_chain"},
      {R"({"url":"a","timeout":"1s"})", "timeout: is no whole number"}};
  for (const auto& [text, message] : cases) {
    const auto parsed = ParsePreheatRequest(text);
    EXPECT_EQ(parsed.status().code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_THAT(std::string(MessageOf(parsed.status())), HasSubstr(message)) << text;
  }
}

TEST(TaskRequest, IsReadAndSaysWhatIsWrong) {
  const auto request = ParseTaskRequest(R"({"task_id":"abc","timeout":1000000000,"group_uuid":""})");
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->task_id, "abc");
  EXPECT_EQ(request->timeout, absl::Seconds(1));
  EXPECT_FALSE(ParseTaskRequest(R"({"timeout":1})").ok());
}

TEST(JobResults, HaveTheMembersOfTheOriginal) {
  PreheatResult preheat;
  preheat.cluster_id = 1;
  EXPECT_EQ(ToJson(preheat), R"({"success_tasks":null,"failure_tasks":null,"scheduler_cluster_id":1})");
  auto& failed = preheat.failures.emplace_back();
  failed.url = "u";
  failed.hostname = "h";
  failed.ip = "i";
  failed.description = "d";
  EXPECT_EQ(ToJson(preheat),
            R"({"success_tasks":null,"failure_tasks":[{"url":"u","hostname":"h","ip":"i","description":"d"}],)"
            R"("scheduler_cluster_id":1})");
  const auto back = ParsePreheatResult(ToJson(preheat));
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(back->failures.front().description, "d");

  EXPECT_EQ(ToJson(GetTaskResult()), R"({"peers":null,"scheduler_cluster_id":0})");
  EXPECT_EQ(ToJson(DeleteTaskResult()), R"({"success_tasks":[],"failure_tasks":[],"scheduler_cluster_id":0})");

  // As dragonfly v2.3.0 marshals a host, shortened.
  const auto hosts = ParseHosts(
      R"([{"ID":"10.0.0.1-a","Type":1,"Hostname":"a","IP":"10.0.0.1","Port":4000,"DownloadPort":4001,"OS":"linux",)"
      R"("CPU":{"LogicalCount":2},"Network":{"TCPConnectionCount":1,"Location":"l","IDC":"i"},)"
      R"("Build":{"GitVersion":"v","GitCommit":"c","GoVersion":"","Platform":"p"},"SchedulerClusterID":1,"Peers":{},)"
      R"("PeerCount":0,"Log":null}])");
  ASSERT_TRUE(hosts.ok()) << hosts.status();
  ASSERT_EQ(hosts->size(), 1u);
  EXPECT_EQ(hosts->front().idc, "i");
  EXPECT_EQ(hosts->front().git_commit, "c");
  const auto again = ParseHosts(ToJson(*hosts));
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(ToJson(*again), ToJson(*hosts));
  EXPECT_THAT(ToJson(*hosts), StartsWith(R"([{"ID":"10.0.0.1-a","Type":1,)"));
}

}  // namespace
}  // namespace dragonfly::jobs
