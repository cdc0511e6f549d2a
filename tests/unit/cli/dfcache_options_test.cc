// SPDX-License-Identifier: Apache-2.0
#include "cli/dfcache_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "base/status.h"
#include "cli/dfcache.h"
#include "tests/support/temp_dir.h"

namespace dragonfly::cli {
namespace {

using ::testing::HasSubstr;

DfcacheOptions Parse(std::vector<std::string> arguments) {
  const ParsedDfcacheOptions parsed = ParseDfcacheOptions(std::move(arguments));
  EXPECT_FALSE(parsed.exit_code.has_value());
  return parsed.options;
}

std::string Refusal(std::vector<std::string> arguments) {
  DfcacheOptions options = Parse(std::move(arguments));
  return std::string(MessageOf(ValidateDfcacheOptions(options)));
}

TEST(DfcacheOptions, ImportHasTheDefaultsOfTheOriginal) {
  const DfcacheOptions options = Parse({"import", "/data/file"});
  EXPECT_EQ(options.command, DfcacheCommand::kImport);
  EXPECT_EQ(options.path, "/data/file");
  EXPECT_EQ(options.endpoint, "/var/run/dragonfly/dfdaemon.sock");
  EXPECT_EQ(options.persistent_replica_count, 2u);
  EXPECT_EQ(options.ttl, absl::Hours(1));
  EXPECT_EQ(options.timeout, absl::Minutes(30));
  EXPECT_FALSE(options.tag_given || options.application_given);
  EXPECT_FALSE(options.piece_length || options.content_for_calculating_task_id);
}

TEST(DfcacheOptions, ImportTakesAll) {
  const DfcacheOptions options = Parse({"import",
                                        "/f",
                                        "--content-for-calculating-task-id",
                                        "name",
                                        "--persistent-replica-count",
                                        "3",
                                        "--piece-length",
                                        "8mib",
                                        "--application",
                                        "app",
                                        "--tag=t",
                                        "--ttl",
                                        "1d 2h",
                                        "--timeout",
                                        "5m",
                                        "--no-progress",
                                        "--hard-link",
                                        "--json",
                                        "-e",
                                        "/sock",
                                        "-l",
                                        "debug",
                                        "--log-dir",
                                        "/tmp",
                                        "--log-max-files",
                                        "3",
                                        "--console"});
  EXPECT_EQ(options.content_for_calculating_task_id, "name");
  EXPECT_EQ(options.persistent_replica_count, 3u);
  EXPECT_EQ(options.piece_length, 8u << 20);
  EXPECT_EQ(options.application, "app");
  EXPECT_EQ(options.tag, "t");
  EXPECT_TRUE(options.tag_given && options.application_given);
  EXPECT_TRUE(options.hard_link);
  EXPECT_EQ(options.ttl, absl::Hours(26));
  EXPECT_EQ(options.timeout, absl::Minutes(5));
  EXPECT_TRUE(options.no_progress && options.json);
  EXPECT_EQ(options.endpoint, "/sock");
}

TEST(DfcacheOptions, ExportTakesAll) {
  const DfcacheOptions options =
      Parse({"export", "123", "-O", "/out", "--transfer-from-dfdaemon", "--force-hard-link", "--overwrite", "--digest",
             "crc32:5", "--application", "a", "--tag", "t", "--no-progress"});
  EXPECT_EQ(options.command, DfcacheCommand::kExport);
  EXPECT_EQ(options.task_id, "123");
  EXPECT_EQ(options.output, "/out");
  EXPECT_TRUE(options.transfer_from_dfdaemon && options.force_hard_link && options.overwrite && options.no_progress);
  EXPECT_EQ(options.digest, "crc32:5");
  EXPECT_EQ(options.timeout, absl::Hours(2));
  EXPECT_EQ(Parse({"export", "1", "-O", "/o", "--timeout", "3s"}).timeout, absl::Seconds(3));
}

TEST(DfcacheOptions, TheOthersTakeAnIdOrNothing) {
  EXPECT_EQ(Parse({"stat", "7", "--json"}).task_id, "7");
  EXPECT_EQ(Parse({"stat", "7"}).command, DfcacheCommand::kStat);
  EXPECT_EQ(Parse({"stat", "7"}).timeout, absl::Seconds(15));
  EXPECT_EQ(Parse({"remove", "7"}).command, DfcacheCommand::kRemove);
  EXPECT_EQ(Parse({"list", "--json", "-e", "/s"}).command, DfcacheCommand::kList);
}

TEST(DfcacheOptions, TakesTheVariablesOfTheOriginal) {
  ::setenv("DFCACHE_IMPORT_TTL", "2h", 1);
  ::setenv("DFCACHE_IMPORT_TAG", "of the variable", 1);
  ::setenv("DFCACHE_STAT_DFDAEMON_ENDPOINT", "/else", 1);
  EXPECT_EQ(Parse({"import", "/f"}).ttl, absl::Hours(2));
  EXPECT_EQ(Parse({"import", "/f"}).tag, "of the variable");
  EXPECT_EQ(Parse({"import", "/f", "--ttl", "1d"}).ttl, absl::Hours(24));
  EXPECT_EQ(Parse({"stat", "1"}).endpoint, "/else");
  ::unsetenv("DFCACHE_IMPORT_TTL");
  ::unsetenv("DFCACHE_IMPORT_TAG");
  ::unsetenv("DFCACHE_STAT_DFDAEMON_ENDPOINT");
}

TEST(DfcacheOptions, WrongUsageEndsWithTwoAndHelpWithZero) {
  for (const std::vector<std::string>& wrong :
       std::vector<std::vector<std::string>>{{},
                                             {"import"},
                                             {"export", "1"},
                                             {"stat"},
                                             {"import", "/f", "--ttl", "soon"},
                                             {"export", "1", "-O", "/o", "--digest", "x"},
                                             {"move", "1"},
                                             {"list", "--nothing"}}) {
    ::testing::internal::CaptureStderr();
    EXPECT_EQ(ParseDfcacheOptions(wrong).exit_code, 2);
    EXPECT_NE(::testing::internal::GetCapturedStderr(), "");
  }
  for (const char* command : {"import", "export", "stat", "remove", "list"}) {
    ::testing::internal::CaptureStdout();
    EXPECT_EQ(ParseDfcacheOptions({command, "--help"}).exit_code, 0);
    EXPECT_THAT(::testing::internal::GetCapturedStdout(), HasSubstr("--endpoint"));
  }
  ::testing::internal::CaptureStdout();
  EXPECT_EQ(ParseDfcacheOptions({"--version"}).exit_code, 0);
  EXPECT_THAT(::testing::internal::GetCapturedStdout(), HasSubstr("dfcache "));
}

TEST(DfcacheOptions, SaysWhatIsNotValid) {
  const dragonfly::testing::TempDir dir;
  const std::string file = dir.Write("file", "x");
  EXPECT_EQ(Refusal({"import", file}), "");
  EXPECT_EQ(Refusal({"import", file, "--ttl", "1m"}), "ttl must be between 5 minutes and 7 days, but got 60");
  EXPECT_EQ(Refusal({"import", file, "--ttl", "8d"}), "ttl must be between 5 minutes and 7 days, but got 691200");
  EXPECT_EQ(Refusal({"import", dir.path().string()}), "path " + dir.path().string() + " is a directory");
  EXPECT_EQ(Refusal({"import", file + "x"}), "path " + file + "x does not exist");
  EXPECT_THAT(Refusal({"import", file, "--piece-length", "1mib"}), HasSubstr("piece length 1048576 bytes is less"));
  EXPECT_THAT(Refusal({"import", file, "--persistent-replica-count", "9"}), HasSubstr("between 1 and 5, but got 9"));
  EXPECT_EQ(Refusal({"export", "1", "-O", file}), "output path " + file + " is already exist");
  EXPECT_EQ(Refusal({"export", "1", "-O", file, "--overwrite"}), "");
  EXPECT_THAT(Refusal({"export", "1", "-O", dir.path().string() + "/no/file"}), HasSubstr("is not a directory"));
}

TEST(Dfcache, SaysThatNobodyServesTheSocket) {
  ::testing::internal::CaptureStdout();
  EXPECT_EQ(RunDfcache({"stat", "1", "-e", "/nowhere.sock"}), 1);
  const std::string report = ::testing::internal::GetCapturedStdout();
  EXPECT_THAT(report, HasSubstr("Connect Dfdaemon Failed!"));
  EXPECT_THAT(report, HasSubstr("/nowhere.sock"));
}

}  // namespace
}  // namespace dragonfly::cli
