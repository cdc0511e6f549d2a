// SPDX-License-Identifier: Apache-2.0
#include "cli/dfget_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <set>

#include "base/url.h"

namespace dragonfly::cli {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

ParsedDfgetOptions Parse(std::vector<std::string> arguments) { return ParseDfgetOptions(std::move(arguments)); }

TEST(DfgetOptions, HaveTheDefaultsOfTheOriginal) {
  const auto parsed = Parse({"https://example.com/a", "-O", "/tmp/a"});
  ASSERT_FALSE(parsed.exit_code.has_value());
  EXPECT_THAT(parsed.options.urls, ElementsAre("https://example.com/a"));
  EXPECT_EQ(parsed.options.max_files, 100u);
  EXPECT_EQ(parsed.options.max_concurrent_requests, 5u);
  EXPECT_EQ(parsed.options.origin.object_storage.predefined_acl, "publicRead");
  EXPECT_EQ(parsed.options.origin.hugging_face.revision, "main");
  EXPECT_EQ(parsed.options.origin.model_scope.revision, "master");
  EXPECT_EQ(parsed.options.endpoint, "/var/run/dragonfly/dfdaemon.sock");
  EXPECT_EQ(parsed.options.timeout, absl::Hours(2));
  EXPECT_EQ(parsed.options.priority, 6);
  EXPECT_EQ(parsed.options.filtered_query_params.size(), DefaultFilteredQueryParams().size());
  EXPECT_FALSE(parsed.options.piece_length.has_value());
}

TEST(DfgetOptions, TakeShortOptionsInEveryForm) {
  for (const std::vector<std::string>& form : std::vector<std::vector<std::string>>{
           {"-O", "/tmp/out"}, {"-O/tmp/out"}, {"-O=/tmp/out"}, {"--output", "/tmp/out"}, {"--output=/tmp/out"}}) {
    std::vector<std::string> arguments = form;
    arguments.push_back("http://h/f");
    const auto parsed = Parse(arguments);
    ASSERT_FALSE(parsed.exit_code.has_value()) << form.front();
    EXPECT_EQ(parsed.options.output, "/tmp/out") << form.front();
  }
}

TEST(DfgetOptions, RepeatHeadersAndTheLastOfEqualNamesWins) {
  const auto parsed = Parse({"-H", "Accept: a", "-H", "X-Key:  v:1 ", "-H", "accept: b", "http://h/f", "-O", "/tmp/x"});
  ASSERT_FALSE(parsed.exit_code.has_value());
  EXPECT_THAT(parsed.options.header, ElementsAre(Pair("Accept", "b"), Pair("X-Key", "v:1")));
}

TEST(DfgetOptions, ReadSizesAndDurations) {
  const auto parsed = Parse({"http://h/f", "-O", "/tmp/x", "--piece-length", "8mib", "--timeout", "1h 30m"});
  ASSERT_FALSE(parsed.exit_code.has_value());
  EXPECT_EQ(parsed.options.piece_length, 8u << 20);
  EXPECT_EQ(parsed.options.timeout, absl::Minutes(90));
}

TEST(DfgetOptions, AnyFilteredParamReplacesTheDefaultList) {
  const auto parsed =
      Parse({"--filtered-query-param", "a", "--filtered-query-param", "b", "http://h/f", "-O", "/tmp/x"});
  ASSERT_FALSE(parsed.exit_code.has_value());
  EXPECT_THAT(parsed.options.filtered_query_params, ElementsAre("a", "b"));
}

struct UsageCase {
  std::vector<std::string> arguments;
  std::string message;
};

TEST(DfgetOptions, EndWithTwoAndAnErrorForWrongUsage) {
  const std::vector<UsageCase> cases = {
      {{}, "error: the following required arguments were not provided:"},
      {{"http://h/f"}, "--output <OUTPUT>"},
      {{"http://h/f", "-O", "/tmp/x", "--bogus"}, "error: unexpected argument '--bogus' found"},
      {{"http://h/f", "-O", "/tmp/x", "-O", "/tmp/y"}, "cannot be used multiple times"},
      {{"not a url", "-O", "/tmp/x"}, "error: "},
      {{"http://h/f", "-O", "/tmp/x", "--timeout", "5"}, "error: "},
      {{"http://h/f", "-O", "/tmp/x", "--piece-length", "big"}, "error: "},
      {{"http://h/f", "-O", "/tmp/x", "--digest", "sha256:12"}, "error: "},
      {{"http://h/f", "-O", "/tmp/x", "--overwrite", "--force-hard-link"},
       "error: the argument '--overwrite' cannot be used with '--force-hard-link'"},
      {{"http://h/f", "-O", "/tmp/x", "--storage-insecure-skip-verify", "yes"},
       "error: invalid value 'yes' for '--storage-insecure-skip-verify': must be true or false"},
      {{"http://h/f", "-O", "/tmp/x", "--max-files", "-1"}, "error: "},
      {{"http://h/f", "-O", "/tmp/x", "--max-concurrent-requests", "0"},
       "error: invalid value '0' for '--max-concurrent-requests <MAX_CONCURRENT_REQUESTS>': expected a number from 1 "
       "to "
       "1024"},
  };
  for (const UsageCase& usage : cases) {
    testing::internal::CaptureStderr();
    const auto parsed = Parse(usage.arguments);
    const std::string text = testing::internal::GetCapturedStderr();
    EXPECT_EQ(parsed.exit_code, 2) << usage.message;
    EXPECT_THAT(text, HasSubstr(usage.message));
    EXPECT_THAT(text, HasSubstr("Usage: dfget [OPTIONS] --output <OUTPUT> <URL>"));
    EXPECT_THAT(text, HasSubstr("For more information, try '--help'."));
  }
}

// Sets variables for one test.
class Environment {
 public:
  explicit Environment(std::vector<std::pair<std::string, std::string>> variables) : variables_(std::move(variables)) {
    for (const auto& [name, value] : variables_) ::setenv(name.c_str(), value.c_str(), 1);
  }
  ~Environment() {
    for (const auto& [name, value] : variables_) ::unsetenv(name.c_str());
  }

 private:
  const std::vector<std::pair<std::string, std::string>> variables_;
};

TEST(DfgetOptions, ComeFromTheEnvironmentWhereTheCommandLineIsSilent) {
  const Environment environment({{"DFGET_TRANSFER_FROM_DFDAEMON", "true"},
                                 {"DFGET_OVERWRITE", "true"},
                                 {"DFGET_FORCE_HARD_LINK", "false"},
                                 {"DFGET_DISABLE_BACK_TO_SOURCE", "true"},
                                 {"DFGET_NO_PROGRESS", "true"},
                                 {"DFGET_JSON", "true"},
                                 {"DFGET_CONSOLE", "false"},
                                 {"DFGET_CONTENT_FOR_CALCULATING_TASK_ID", "same"},
                                 {"DFGET_TIMEOUT", "5m"},
                                 {"DFGET_PRIORITY", "3"},
                                 {"DFGET_PIECE_LENGTH", "8mib"},
                                 {"DFGET_APPLICATION", "app"},
                                 {"DFGET_TAG", "of the environment"},
                                 {"DFGET_MAX_FILES", "7"},
                                 {"DFGET_MAX_CONCURRENT_REQUESTS", "2"}});
  const auto parsed = Parse({"http://h/f", "-O", "/tmp/x", "--tag", "of the command line"});
  ASSERT_FALSE(parsed.exit_code.has_value());
  const DfgetOptions& o = parsed.options;
  EXPECT_TRUE(o.transfer_from_dfdaemon && o.overwrite && o.disable_back_to_source && o.no_progress && o.json);
  EXPECT_FALSE(o.force_hard_link);
  EXPECT_EQ(o.content_for_calculating_task_id, "same");
  EXPECT_EQ(o.timeout, absl::Minutes(5));
  EXPECT_EQ(o.priority, 3);
  EXPECT_EQ(o.piece_length, 8u << 20);
  EXPECT_EQ(o.application, "app");
  EXPECT_EQ(o.tag, "of the command line");
  EXPECT_EQ(o.max_files, 7u);
  EXPECT_EQ(o.max_concurrent_requests, 2u);
}

TEST(DfgetOptions, TakeOnlyTrueAndFalseForSwitchesOfTheEnvironment) {
  for (const std::string& wrong : {"1", "yes", "TRUE", "perhaps"}) {
    const Environment environment({{"DFGET_OVERWRITE", wrong}});
    testing::internal::CaptureStderr();
    const auto parsed = Parse({"http://h/f", "-O", "/tmp/x"});
    EXPECT_EQ(parsed.exit_code, 2) << wrong;
    EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("error: ")) << wrong;
    EXPECT_FALSE(Parse({"http://h/f", "-O", "/tmp/x", "--overwrite"}).exit_code.has_value()) << wrong;
  }
}

TEST(DfgetOptions, TakeSeveralUrlsAndPatterns) {
  const auto parsed = Parse({"-r", "s3://b/d", "-I", "*.bin", "hf://o/r", "--include-files", "sub/", "-O", "/tmp/x"});
  ASSERT_FALSE(parsed.exit_code.has_value());
  EXPECT_TRUE(parsed.options.recursive);
  EXPECT_THAT(parsed.options.urls, ElementsAre("s3://b/d", "hf://o/r"));
  EXPECT_THAT(parsed.options.include_files, ElementsAre("*.bin", "sub/"));
}

TEST(DfgetOptions, LetDfgetItselfWriteToStandardOutput) {
  const auto parsed = Parse({"http://h/f", "-O", "-"});
  ASSERT_FALSE(parsed.exit_code.has_value());
  EXPECT_EQ(parsed.options.output, "-");
  EXPECT_TRUE(parsed.options.transfer_from_dfdaemon);
}

std::string Help() {
  testing::internal::CaptureStdout();
  EXPECT_EQ(Parse({"--help"}).exit_code, 0);
  return testing::internal::GetCapturedStdout();
}

TEST(DfgetOptions, PrintHelpAndVersionAndEndWithZero) {
  EXPECT_THAT(Help(), HasSubstr("--disable-back-to-source"));
  for (const char* const group : {"Output:", "Task:", "Directories:", "Environment:", "Exit status:", "Examples:"}) {
    EXPECT_THAT(Help(), HasSubstr(group));
  }
  testing::internal::CaptureStdout();
  EXPECT_EQ(Parse({"-V"}).exit_code, 0);
  EXPECT_THAT(testing::internal::GetCapturedStdout(), testing::MatchesRegex("dfget 2\\.3\\.0 \\(.*, .*\\)\n"));
}

// All that looks like `pattern` in `text`.
std::set<std::string> Find(const std::string& text, const std::regex& pattern) {
  std::set<std::string> found;
  for (std::sregex_iterator at(text.begin(), text.end(), pattern), end; at != end; ++at) found.insert(at->str(1));
  return found;
}

TEST(DfgetOptions, AreAllInTheManualPage) {
  std::ifstream file(DF_SOURCE_DIR "/docs/man/dfget.1");
  std::string page{std::istreambuf_iterator<char>(file), {}};
  page = std::regex_replace(page, std::regex(R"(\\-)"), "-");
  page = std::regex_replace(page, std::regex(R"(\\f[BIR])"), "");
  const std::string help = Help();
  const std::regex option(R"((?:^|\n)\s+(?:-\w,)?(--[a-z][a-z-]+))");
  const std::regex described(R"(\n\.BR? (?:-\w ", " )?(--[a-z][a-z-]+))");
  EXPECT_EQ(Find(page, described), Find(help, option));
  const std::regex variable(R"(\b(DFGET_[A-Z_]+))");
  EXPECT_EQ(Find(page, variable), Find(help, variable));
}

class DfgetValidation : public testing::Test {
 protected:
  DfgetValidation() { std::filesystem::create_directories(dir_); }
  ~DfgetValidation() override { std::filesystem::remove_all(dir_); }

  static DfgetOptions Options(std::vector<std::string> urls, std::string output) {
    DfgetOptions options;
    options.urls = std::move(urls);
    options.output = std::move(output);
    return options;
  }
  static std::string Check(const DfgetOptions& options) {
    return std::string(ValidateDfgetOptions(options).status().message());
  }
  static std::string Check(std::string url, std::string output) { return Check(Options({std::move(url)}, output)); }

  const std::string dir_ = testing::TempDir() + "dfget_validation_" + std::to_string(::getpid());
};

TEST_F(DfgetValidation, NamesWhatIsWrongWithTheOutput) {
  std::ofstream(dir_ + "/there") << "x";
  EXPECT_EQ(Check("http://h/f", dir_ + "/new"), "");
  EXPECT_EQ(Check("http://h", dir_ + "/new"), "");
  EXPECT_EQ(Check("http://h/f", "-"), "");
  EXPECT_EQ(Check("http://h/f", dir_ + "/there"), "output path " + dir_ + "/there is already exist");
  EXPECT_EQ(Check("http://h/f", dir_ + "/none/new"), "output path " + dir_ + "/none is not a directory");
  EXPECT_EQ(Check("http://h/f", "/"), "output path / is not exist");
  EXPECT_EQ(Check("http://h/d/", dir_ + "/new"), "output path " + dir_ + "/new is not a directory");
  EXPECT_EQ(Check("http://h/d/", dir_), "unsupported http download directory");
}

TEST_F(DfgetValidation, RefusesAShortPieceLength) {
  DfgetOptions options = Options({"http://h/f"}, dir_ + "/new");
  options.piece_length = 4194303;
  EXPECT_EQ(Check(options), "piece length 4194303 bytes is less than the minimum piece length 4194304 bytes");
}

TEST_F(DfgetValidation, TakesASlashOrTheOptionForADirectory) {
  const auto slash = ValidateDfgetOptions(Options({"s3://bucket/a b/?versionId=1"}, dir_));
  ASSERT_TRUE(slash.ok()) << slash.status();
  EXPECT_TRUE(slash->front().is_directory);
  EXPECT_EQ(slash->front().url, "s3://bucket/a%20b/");
  EXPECT_EQ(slash->front().output, dir_);
  DfgetOptions recursive = Options({"hf://owner/repository"}, dir_ + "/");
  EXPECT_EQ(Check(recursive), "output path " + dir_ + "/ is not exist");
  recursive.recursive = true;
  const auto targets = ValidateDfgetOptions(recursive);
  ASSERT_TRUE(targets.ok()) << targets.status();
  EXPECT_EQ(targets->front().url, "hf://owner/repository/");
}

TEST_F(DfgetValidation, PutsSeveralUrlsIntoADirectory) {
  const auto targets = ValidateDfgetOptions(Options({"http://h/a%20b?x=1", "http://h/d/c", "s3://b/dir/"}, dir_));
  ASSERT_TRUE(targets.ok()) << targets.status();
  EXPECT_EQ(targets->at(0).output, dir_ + "/a b");
  EXPECT_EQ(targets->at(1).output, dir_ + "/c");
  EXPECT_EQ(targets->at(2).output, dir_ + "/dir");
  EXPECT_EQ(Check(Options({"http://h/a", "http://i/a"}, dir_)), "output path " + dir_ + "/a is named by two URLs");
  EXPECT_EQ(Check(Options({"http://h/a", "http://i/b"}, dir_ + "/none")),
            "output path " + dir_ + "/none is not a directory");
  for (const std::string& nameless : {"http://h/", "http://h/%2e%2e%2fx", "http://h/a%00"}) {
    EXPECT_THAT(Check(Options({"hdfs://h/a", nameless}, dir_)), testing::Not("")) << nameless;
  }
}

TEST_F(DfgetValidation, RefusesWhatIsAboutOneFileForSeveral) {
  const DfgetOptions several = Options({"http://h/a", "http://h/b"}, dir_);
  EXPECT_EQ(Check(several), "");
  DfgetOptions wrong = several;
  wrong.digest = "crc32:1";
  EXPECT_THAT(Check(wrong), HasSubstr("--digest is about one file"));
  wrong = several;
  wrong.range = "bytes=0-1";
  EXPECT_THAT(Check(wrong), HasSubstr("--range is about one file"));
  wrong = several;
  wrong.content_for_calculating_task_id = "x";
  EXPECT_THAT(Check(wrong), HasSubstr("--content-for-calculating-task-id is about one file"));
  wrong = Options({"http://h/a"}, "-");
  wrong.json = true;
  EXPECT_THAT(Check(wrong), HasSubstr("standard output"));
}

TEST_F(DfgetValidation, ChecksThePatterns) {
  DfgetOptions options = Options({"s3://b/d/"}, dir_);
  options.include_files = {"a["};
  EXPECT_EQ(Check(options), "invalid glob pattern in include_files: 'a['");
  options.include_files = {"../x"};
  EXPECT_EQ(Check(options),
            "path is not a normal relative path in include_files: '../x'. It must not contain '..', '.', or start with "
            "'/'.");
  options = Options({"s3://b/f"}, dir_ + "/f");
  options.include_files = {"*"};
  EXPECT_EQ(Check(options), "--include-files needs the URL of a directory");
}

}  // namespace
}  // namespace dragonfly::cli
