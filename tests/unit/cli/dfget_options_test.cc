// SPDX-License-Identifier: Apache-2.0
#include "cli/dfget_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

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
  EXPECT_EQ(parsed.options.url, "https://example.com/a");
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
      {{"http://h/f", "-O", "/tmp/x", "--overwrite", "--force-hard-link"}, "error: "},
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

TEST(DfgetOptions, PrintHelpAndVersionAndEndWithZero) {
  testing::internal::CaptureStdout();
  EXPECT_EQ(Parse({"--help"}).exit_code, 0);
  EXPECT_THAT(testing::internal::GetCapturedStdout(), HasSubstr("--disable-back-to-source"));
  testing::internal::CaptureStdout();
  EXPECT_EQ(Parse({"-V"}).exit_code, 0);
  EXPECT_THAT(testing::internal::GetCapturedStdout(), testing::MatchesRegex("dfget 2\\.3\\.0 \\(.*, .*\\)\n"));
}

class DfgetValidation : public testing::Test {
 protected:
  DfgetValidation() { std::filesystem::create_directories(dir_); }
  ~DfgetValidation() override { std::filesystem::remove_all(dir_); }

  std::string Check(std::string url, std::string output) {
    DfgetOptions options;
    options.url = std::move(url);
    options.output = std::move(output);
    return std::string(ValidateDfgetOptions(options).message());
  }

  const std::string dir_ = testing::TempDir() + "dfget_validation_" + std::to_string(::getpid());
};

TEST_F(DfgetValidation, NamesWhatIsWrongWithTheOutput) {
  std::ofstream(dir_ + "/there") << "x";
  EXPECT_EQ(Check("http://h/f", dir_ + "/new"), "");
  EXPECT_EQ(Check("http://h", dir_ + "/new"), "");
  EXPECT_EQ(Check("http://h/f", dir_ + "/there"), "output path " + dir_ + "/there is already exist");
  EXPECT_EQ(Check("http://h/f", dir_ + "/none/new"), "output path " + dir_ + "/none is not a directory");
  EXPECT_EQ(Check("http://h/f", "/"), "output path / is not exist");
  EXPECT_EQ(Check("http://h/d/", dir_ + "/new"), "output path " + dir_ + "/new is not a directory");
  EXPECT_EQ(Check("http://h/d/", dir_), "unsupported http download directory");
}

TEST_F(DfgetValidation, RefusesAShortPieceLength) {
  DfgetOptions options;
  options.url = "http://h/f";
  options.output = dir_ + "/new";
  options.piece_length = 4194303;
  EXPECT_EQ(ValidateDfgetOptions(options).message(),
            "piece length 4194303 bytes is less than the minimum piece length 4194304 bytes");
}

}  // namespace
}  // namespace dragonfly::cli
