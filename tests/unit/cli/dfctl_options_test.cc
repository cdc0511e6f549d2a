// SPDX-License-Identifier: Apache-2.0
#include "cli/dfctl_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>

#include "base/status.h"
#include "base/url.h"
#include "cli/dfctl_preheat.h"

namespace dragonfly::cli {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

ParsedDfctlOptions Parse(std::vector<std::string> arguments) { return ParseDfctlOptions(std::move(arguments)); }

// Sets variables for one scope.
class Environment {
 public:
  explicit Environment(std::map<std::string, std::string> variables) : variables_(std::move(variables)) {
    for (const auto& [name, value] : variables_) ::setenv(name.c_str(), value.c_str(), 1);
  }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;
  ~Environment() {
    for (const auto& [name, value] : variables_) ::unsetenv(name.c_str());
  }

 private:
  std::map<std::string, std::string> variables_;
};

TEST(DfctlOptions, EachCommandIsFound) {
  const std::vector<std::pair<std::vector<std::string>, DfctlCommand>> commands = {
      {{"task", "ls"}, DfctlCommand::kTaskLs},
      {{"task", "stat", "id"}, DfctlCommand::kTaskStat},
      {{"task", "rm", "id"}, DfctlCommand::kTaskRm},
      {{"task", "preheat", "http://h/f", "--scheduler-endpoint", "http://s:8002"}, DfctlCommand::kTaskPreheat},
      {{"why", "http://h/f"}, DfctlCommand::kWhy},
      {{"persistent-task", "ls"}, DfctlCommand::kPersistentTaskLs},
      {{"persistent-cache-task", "ls"}, DfctlCommand::kPersistentCacheTaskLs}};
  for (const auto& [arguments, command] : commands) {
    const ParsedDfctlOptions parsed = Parse(arguments);
    ASSERT_FALSE(parsed.exit_code.has_value()) << arguments.front();
    EXPECT_EQ(parsed.options.command, command);
    EXPECT_EQ(parsed.options.endpoint, "/var/run/dragonfly/dfdaemon.sock");
  }
}

TEST(DfctlOptions, TakeTheSocketAndWhatConcernsLogs) {
  for (const std::vector<std::string>& command : {std::vector<std::string>{"task", "ls"},
                                                  {"task", "rm", "a"},
                                                  {"task", "stat", "a"},
                                                  {"persistent-task", "ls"},
                                                  {"persistent-cache-task", "ls"}}) {
    std::vector<std::string> arguments = command;
    for (const char* more : {"-e", "/tmp/d.sock", "-l", "debug", "--console", "--json"}) arguments.emplace_back(more);
    const ParsedDfctlOptions parsed = Parse(arguments);
    ASSERT_FALSE(parsed.exit_code.has_value());
    EXPECT_EQ(parsed.options.endpoint, "/tmp/d.sock");
    EXPECT_TRUE(parsed.options.json);
  }
}

TEST(DfctlOptions, TakeTheirVariables) {
  const Environment environment(
      {{"DFCTL_TASK_LS_LOG_LEVEL", "debug"}, {"DFCTL_TASK_LS_CONSOLE", "true"}, {"DFCTL_TASK_RM_CONSOLE", "perhaps"}});
  EXPECT_FALSE(Parse({"task", "ls"}).exit_code.has_value());
  EXPECT_EQ(Parse({"task", "rm", "id"}).exit_code, 2);
}

TEST(DfctlOptions, RemoveSeveralTasksAndOnlyHereWhenAsked) {
  const ParsedDfctlOptions parsed = Parse({"task", "rm", "a", "b", "--local"});
  ASSERT_FALSE(parsed.exit_code.has_value());
  EXPECT_THAT(parsed.options.task_ids, ElementsAre("a", "b"));
  EXPECT_TRUE(parsed.options.local);
}

TEST(DfctlOptions, NameTheTaskThatWhyAsksAbout) {
  const ParsedDfctlOptions parsed = Parse(
      {"why", "http://h/f", "--tag", "t", "--application", "a", "--filtered-query-param", "x", "--piece-length", "8mib",
       "--content-for-calculating-task-id", "c", "--pieces", "--json", "-e", "/tmp/d", "-l", "info", "--console"});
  ASSERT_FALSE(parsed.exit_code.has_value());
  const WhyOptions& why = parsed.options.why;
  EXPECT_EQ(why.what, "http://h/f");
  EXPECT_EQ(why.tag, "t");
  EXPECT_EQ(why.application, "a");
  EXPECT_THAT(why.filtered_query_params, ElementsAre("x"));
  EXPECT_EQ(why.piece_length, 8u << 20);
  EXPECT_EQ(why.content_for_calculating_task_id, "c");
  EXPECT_TRUE(why.pieces);
  EXPECT_EQ(Parse({"why", "http://h/f"}).options.why.filtered_query_params.size(), DefaultFilteredQueryParams().size());
}

TEST(DfctlOptions, WrongUsageEndsWithTwo) {
  for (const std::vector<std::string>& wrong : {std::vector<std::string>{},
                                                {"task"},
                                                {"task", "rm"},
                                                {"task", "ls", "--bogus"},
                                                {"nothing"},
                                                {"task", "preheat", "http://h/f"},
                                                {"task", "stat", "a", "b"},
                                                {"why"}}) {
    EXPECT_EQ(Parse(wrong).exit_code, 2);
  }
  EXPECT_EQ(Parse({"--help"}).exit_code, 0);
  EXPECT_EQ(Parse({"task", "preheat", "-h"}).exit_code, 0);
  EXPECT_EQ(Parse({"--version"}).exit_code, 0);
}

std::vector<std::string> PreheatArguments(std::vector<std::string> more, const std::string& url = "http://h/f") {
  std::vector<std::string> arguments = {"task", "preheat", url, "--scheduler-endpoint", "http://s:8002"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

TEST(DfctlPreheat, HasTheDefaultsOfTheOriginal) {
  const ParsedDfctlOptions parsed = Parse(PreheatArguments({}));
  ASSERT_FALSE(parsed.exit_code.has_value());
  const auto request = MakePreheatFileRequest(parsed.options.preheat);
  EXPECT_EQ(request.url(), "http://h/f");
  EXPECT_EQ(request.scope(), "all_seed_peers");
  EXPECT_EQ(request.concurrent_task_count(), 4);
  EXPECT_FALSE(request.has_concurrent_peer_count());
  EXPECT_TRUE(request.has_tag());
  EXPECT_TRUE(request.has_application());
  EXPECT_EQ(request.priority(), 6);
  EXPECT_EQ(request.timeout().seconds(), 7200);
  EXPECT_EQ(static_cast<size_t>(request.filtered_query_params_size()), DefaultFilteredQueryParams().size());
  EXPECT_FALSE(request.has_object_storage());
}

TEST(DfctlPreheat, SendsEveryOption) {
  const ParsedDfctlOptions parsed = Parse(PreheatArguments({"--scope",
                                                            "all_peers",
                                                            "--ip",
                                                            "10.0.0.1",
                                                            "--ip",
                                                            "10.0.0.2",
                                                            "--percentage",
                                                            "50",
                                                            "--concurrent-task-count",
                                                            "9",
                                                            "--concurrent-peer-count",
                                                            "7",
                                                            "--piece-length",
                                                            "8mib",
                                                            "--tag",
                                                            "t",
                                                            "--application",
                                                            "a",
                                                            "--filtered-query-param",
                                                            "x",
                                                            "-H",
                                                            "X-A: 1",
                                                            "--header",
                                                            "x-a: 2",
                                                            "-p",
                                                            "3",
                                                            "--insecure-skip-verify",
                                                            "--timeout",
                                                            "90s",
                                                            "--request-sdk",
                                                            "--enable-task-id-based-blob-digest",
                                                            "-l",
                                                            "info",
                                                            "--console"}));
  ASSERT_FALSE(parsed.exit_code.has_value());
  const auto request = MakePreheatFileRequest(parsed.options.preheat);
  EXPECT_EQ(request.scope(), "all_peers");
  EXPECT_THAT(request.ips(), ElementsAre("10.0.0.1", "10.0.0.2"));
  EXPECT_EQ(request.percentage(), 50u);
  EXPECT_EQ(request.concurrent_task_count(), 9);
  EXPECT_EQ(request.concurrent_peer_count(), 7);
  EXPECT_EQ(request.piece_length(), 8u << 20);
  EXPECT_EQ(request.tag(), "t");
  EXPECT_EQ(request.application(), "a");
  EXPECT_THAT(request.filtered_query_params(), ElementsAre("x"));
  EXPECT_THAT(request.header(), ElementsAre(Pair("x-a", "2")));
  EXPECT_EQ(request.priority(), 3);
  EXPECT_TRUE(request.insecure_skip_verify());
  EXPECT_EQ(request.timeout().seconds(), 90);
  EXPECT_EQ(MakePreheatFileRequest(Parse(PreheatArguments({"--count", "20"})).options.preheat).count(), 20u);
}

TEST(DfctlPreheat, SendsCredentialsOnlyWhereTheyBelong) {
  const std::vector<std::string> storage = {"--storage-region",
                                            "r",
                                            "--storage-endpoint",
                                            "http://e",
                                            "--storage-access-key-id",
                                            "k",
                                            "--storage-access-key-secret",
                                            "s",
                                            "--storage-session-token",
                                            "st",
                                            "--storage-security-token",
                                            "sec",
                                            "--storage-credential-path",
                                            "/c",
                                            "--storage-insecure-skip-verify",
                                            "true",
                                            "--hdfs-delegation-token",
                                            "d"};
  const auto object = MakePreheatFileRequest(Parse(PreheatArguments(storage, "s3://b/k")).options.preheat);
  EXPECT_EQ(object.object_storage().region(), "r");
  EXPECT_EQ(object.object_storage().endpoint(), "http://e");
  EXPECT_EQ(object.object_storage().access_key_id(), "k");
  EXPECT_EQ(object.object_storage().access_key_secret(), "s");
  EXPECT_EQ(object.object_storage().session_token(), "st");
  EXPECT_EQ(object.object_storage().security_token(), "sec");
  EXPECT_EQ(object.object_storage().credential_path(), "/c");
  EXPECT_EQ(object.object_storage().predefined_acl(), "publicRead");
  EXPECT_TRUE(object.object_storage().insecure_skip_verify());
  EXPECT_FALSE(object.has_hdfs());
  const auto hdfs = MakePreheatFileRequest(Parse(PreheatArguments(storage, "hdfs://n:9870/p")).options.preheat);
  EXPECT_EQ(hdfs.hdfs().delegation_token(), "d");
  EXPECT_FALSE(hdfs.has_object_storage());
  const auto webhdfs = MakePreheatFileRequest(Parse(PreheatArguments(storage, "webhdfs://n:9870/p")).options.preheat);
  EXPECT_EQ(webhdfs.hdfs().delegation_token(), "d");
  const auto plain = MakePreheatFileRequest(Parse(PreheatArguments(storage)).options.preheat);
  EXPECT_FALSE(plain.has_object_storage() || plain.has_hdfs());
  const Environment environment({{"DFCTL_TASK_PREHEAT_STORAGE_ACCESS_KEY_SECRET", "from-variable"},
                                 {"DFCTL_TASK_PREHEAT_STORAGE_PREDEFINED_ACL", "private"}});
  const auto secret = MakePreheatFileRequest(Parse(PreheatArguments({}, "gs://b/k")).options.preheat);
  EXPECT_EQ(secret.object_storage().access_key_secret(), "from-variable");
  EXPECT_EQ(secret.object_storage().predefined_acl(), "private");
}

TEST(DfctlPreheat, NamesTheManifestOfAnImage) {
  const std::vector<std::pair<std::string, std::string>> images = {
      {"oci://reg.example.com/team/app:1.0", "https://reg.example.com/v2/team/app/manifests/1.0"},
      {"oci://reg.example.com:5000/app", "https://reg.example.com:5000/v2/app/manifests/latest"},
      {"oci://localhost/app@sha256:ab", "https://localhost/v2/app/manifests/sha256:ab"},
      {"oci://reg.io/a/b:1@sha256:ab", "https://reg.io/v2/a/b/manifests/sha256:ab"},
      {"oci://nginx:1.27", "https://index.docker.io/v2/library/nginx/manifests/1.27"},
      {"oci://bitnami/redis", "https://index.docker.io/v2/bitnami/redis/manifests/latest"}};
  for (const auto& [reference, url] : images) {
    const auto manifest = ManifestUrl(reference);
    ASSERT_TRUE(manifest.ok()) << reference << ": " << manifest.status();
    EXPECT_EQ(*manifest, url);
  }
  for (const std::string wrong : {"oci:/x", "oci://", "oci://reg.io/", "oci://reg.io/A b", "oci://reg.io/a:"})
    EXPECT_FALSE(ManifestUrl(wrong).ok()) << wrong;
  const ParsedDfctlOptions parsed =
      Parse(PreheatArguments({"--username", "u", "--password", "p", "--platform", "linux/arm64"}, "oci://r.io/a:1"));
  ASSERT_FALSE(parsed.exit_code.has_value());
  const auto request = MakePreheatImageRequest(parsed.options.preheat);
  ASSERT_TRUE(request.ok());
  EXPECT_EQ(request->url(), "https://r.io/v2/a/manifests/1");
  EXPECT_EQ(request->username(), "u");
  EXPECT_EQ(request->password(), "p");
  EXPECT_EQ(request->platform(), "linux/arm64");
  EXPECT_EQ(Parse(PreheatArguments({}, "ocix://r.io/a")).exit_code, 2);
}

TEST(DfctlPreheat, RefusesWhatIsOutOfRange) {
  for (const std::vector<std::string>& wrong : {std::vector<std::string>{"--percentage", "0"},
                                                {"--percentage", "101"},
                                                {"--count", "201"},
                                                {"--concurrent-task-count", "101"},
                                                {"--concurrent-peer-count", "1001"},
                                                {"--scope", "everybody"},
                                                {"--piece-length", "1mib"},
                                                {"-H", "no colon"},
                                                {"--count", "1", "--percentage", "1"},
                                                {"--timeout", "5"}}) {
    EXPECT_EQ(Parse(PreheatArguments(wrong)).exit_code, 2) << wrong.front() << " " << wrong.back();
  }
}

TEST(DfctlPreheat, FindsTheScheduler) {
  const auto named = ParseSchedulerEndpoint("http://scheduler:8002");
  ASSERT_TRUE(named.ok());
  EXPECT_EQ(named->host, "scheduler");
  EXPECT_EQ(named->port, 8002);
  const auto six = ParseSchedulerEndpoint("[::1]:8002");
  ASSERT_TRUE(six.ok());
  EXPECT_EQ(six->host, "::1");
  EXPECT_FALSE(named->tls);
  const auto secure = ParseSchedulerEndpoint("https://s:8002");
  ASSERT_TRUE(secure.ok()) << secure.status();
  EXPECT_EQ(secure->host, "s");
  EXPECT_EQ(secure->port, 8002);
  EXPECT_TRUE(secure->tls);
  EXPECT_THAT(MessageOf(ParseSchedulerEndpoint("ftp://s:8002").status()), HasSubstr("http or https, not ftp"));
}

}  // namespace
}  // namespace dragonfly::cli
