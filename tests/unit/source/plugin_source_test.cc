// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <sys/stat.h>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/post.hpp>
#include <cstdlib>
#include <filesystem>

#include "base/text.h"
#include "source/plugin_set.h"
#include "tests/support/temp_dir.h"
#include "tests/unit/source/source_fixture.h"

namespace dragonfly::source {
namespace {

namespace asio = boost::asio;
namespace fs = std::filesystem;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Key;
using ::testing::Not;
using ::testing::Pair;

class PluginSource : public SourceFixture {
 protected:
  PluginSource() {
    ::unsetenv("ODD_ORIGIN");
    ::setenv("DF_FILE_ORIGIN_ROOT", root_.path().c_str(), 1);
  }

  void Install(const std::string& library, const std::string& name) const {
    fs::copy_file(library, plugins_.path() / name, fs::copy_options::overwrite_existing);
  }
  void Load() {
    sources_.reset();
    options_.plugins = PluginSet::Load(plugins_.path().string());
  }
  void LoadOdd() {
    Install(DF_ODD_ORIGIN, "libodd.so");
    Load();
  }
  void LoadFile() {
    Install(DF_FILE_ORIGIN, "libfile.so");
    Load();
  }
  // Why the plugin for odd is not there.
  std::string Reason() {
    const absl::Status status = MakeSources(io_, options_)->For("odd://x").status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    EXPECT_THAT(status.ToString(), HasSubstr("unsupported scheme \"odd\""));
    return status.ToString();
  }
  static std::string Digits(size_t offset, size_t length) {
    std::string text;
    for (size_t i = 0; i < length; ++i) text += static_cast<char>('0' + (offset + i) % 10);
    return text;
  }

  absl::StatusOr<Opening> Open(const std::string& url, uint64_t first_bytes, bool wanted = true) {
    sink_.text.clear();
    const Source::Opened opened = [this, wanted](const OriginStat&) -> absl::StatusOr<ByteSink*> {
      return wanted ? &sink_ : nullptr;
    };
    return Run(SourceFor(url).Open(Ask(url), first_bytes, opened, limiter_));
  }

  testing::TempDir root_;  // of the file plugin
  testing::TempDir plugins_;
};

// ---- loading ----

TEST_F(PluginSource, LoadsNothingFromWhereThereIsNothing) {
  options_.plugins = PluginSet::Load("/nonexistent/backend");
  EXPECT_EQ(options_.plugins->size(), 0u);
  EXPECT_TRUE(absl::IsNotFound(options_.plugins->Find("odd").status()));
  Reason();
}

TEST_F(PluginSource, SaysWhyAPluginIsNotLoaded) {
  plugins_.Write("libodd.so", "this is no library");
  Load();
  EXPECT_THAT(Reason(), HasSubstr("libodd.so"));

  Install(DF_ODD_ORIGIN, "libodd.so");
  for (const auto& [how, why] : std::vector<std::pair<std::string, std::string>>{
           {"refuse", "not today"}, {"future", "version 7"}, {"half", "lacks stat or read"}}) {
    ::setenv("ODD_ORIGIN", how.c_str(), 1);
    Load();
    EXPECT_THAT(Reason(), HasSubstr(why));
  }
  ::unsetenv("ODD_ORIGIN");
  ::chmod((plugins_.path() / "libodd.so").c_str(), 0777);
  Load();
  EXPECT_THAT(Reason(), HasSubstr("everybody may write"));
  ::chmod((plugins_.path() / "libodd.so").c_str(), 0755);
  Load();
  EXPECT_EQ(options_.plugins->size(), 1u);
}

TEST_F(PluginSource, ABadPluginDoesNotKeepOthersOut) {
  plugins_.Write("libbad.so", "garbage");
  plugins_.Write("README", "not a plugin");
  fs::create_directory(plugins_.path() / "libdir.so");
  Install(DF_ODD_ORIGIN, "libother.so");  // it is for odd
  LoadOdd();
  EXPECT_EQ(options_.plugins->size(), 1u);
  EXPECT_THAT(options_.plugins->Find("other").status().ToString(), HasSubstr("file name does not say"));
  EXPECT_THAT(options_.plugins->Find("dir").status().ToString(), HasSubstr("not a file"));
  EXPECT_TRUE(Stat("odd://x/").ok());
}

TEST_F(PluginSource, DoesNotReplaceABuiltInScheme) {
  for (const char* scheme : {"http", "https", "hdfs", "hf", "modelscope"}) {
    EXPECT_TRUE(IsBuiltInScheme(scheme));
    Install(DF_ODD_ORIGIN, StrCat("lib", std::string(scheme), ".so"));
  }
  EXPECT_FALSE(IsBuiltInScheme("odd"));
  Load();
  EXPECT_EQ(options_.plugins->size(), 0u);
}

// ---- calls ----

TEST_F(PluginSource, StatsAndReads) {
  LoadOdd();
  const absl::StatusOr<OriginStat> stat = Stat("odd://host/file");
  ASSERT_TRUE(stat.ok()) << stat.status();
  EXPECT_EQ(stat->content_length, 100'000u);
  EXPECT_TRUE(stat->accepts_ranges);
  EXPECT_THAT(stat->header, Contains(Pair("etag", "\"v1\"")));
  EXPECT_THAT(stat->header, Contains(Pair("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT")));
  for (const ByteRange range : {ByteRange{0, 100'000}, ByteRange{3, 1}, ByteRange{77'777, 12'345}}) {
    const absl::Status read = Read("odd://host/version", range, VersionOf(*stat));
    ASSERT_TRUE(read.ok()) << read;
    EXPECT_EQ(sink_.text, Digits(range.offset, range.length));
  }
  const absl::StatusOr<uint64_t> all = ReadAll("odd://host/file", VersionOf(*stat));
  ASSERT_TRUE(all.ok()) << all.status();
  EXPECT_EQ(*all, 100'000u);

  const absl::StatusOr<OriginStat> unknown = Stat("odd://host/unknown");
  ASSERT_TRUE(unknown.ok());
  EXPECT_EQ(unknown->content_length, std::nullopt);
  EXPECT_FALSE(unknown->accepts_ranges);
  EXPECT_THAT(Stat("odd://host/badtag")->header, Not(Contains(Key("etag"))));
}

TEST_F(PluginSource, OpensByOneCallWhereThePluginCan) {
  ::setenv("ODD_ORIGIN", "opens", 1);
  LoadOdd();
  for (const uint64_t first : {uint64_t{7}, uint64_t{100'000}, uint64_t{1} << 20}) {
    const absl::StatusOr<Opening> opening = Open("odd://host/file", first);
    ASSERT_TRUE(opening.ok()) << opening.status();
    EXPECT_TRUE(opening->body.ok()) << opening->body;
    EXPECT_EQ(opening->stat.content_length, 100'000u);
    EXPECT_THAT(opening->stat.header, Contains(Pair("etag", "\"opened\""))) << "by stat and read it would be v1";
    EXPECT_EQ(opening->bytes, std::min<uint64_t>(first, 100'000));
    EXPECT_EQ(sink_.text, Digits(0, std::min<size_t>(first, 100'000)));
  }
  const absl::StatusOr<Opening> unknown = Open("odd://host/unknown", 7);
  ASSERT_TRUE(unknown.ok()) << unknown.status();
  EXPECT_EQ(unknown->stat.content_length, std::nullopt);
  EXPECT_EQ(unknown->bytes, 100'000u) << "without a length all of it is the first read";
  const absl::StatusOr<Opening> unwanted = Open("odd://host/file", 7, /*wanted=*/false);
  ASSERT_TRUE(unwanted.ok()) << unwanted.status();
  EXPECT_EQ(unwanted->bytes, 0u);
  EXPECT_EQ(sink_.text, "");
  EXPECT_TRUE(Open("odd://host/down", 7).ok()) << "asked again, since nothing was told";
}

TEST_F(PluginSource, TakesNothingFromAnOpenThatBreaksItsPromises) {
  ::setenv("ODD_ORIGIN", "opens", 1);
  LoadOdd();
  EXPECT_EQ(CodeOf(Open("odd://host/missing", 7).status()), 404);
  EXPECT_THAT(Open("odd://host/silent", 7).status().ToString(), HasSubstr("open has told nothing of the object"));
  const absl::StatusOr<Opening> twice = Open("odd://host/twice", 7);
  ASSERT_TRUE(twice.ok()) << twice.status();
  EXPECT_FALSE(twice->body.ok());
  const absl::StatusOr<Opening> longer = Open("odd://host/long", 7);
  ASSERT_TRUE(longer.ok()) << longer.status();
  EXPECT_TRUE(absl::IsFailedPrecondition(longer->body)) << longer->body;
  const absl::StatusOr<Opening> shorter = Open("odd://host/short", 70);
  ASSERT_TRUE(shorter.ok()) << shorter.status();
  EXPECT_TRUE(absl::IsDataLoss(shorter->body)) << shorter->body;
}

TEST_F(PluginSource, OpensByTwoCallsWhereThePluginKnowsNoOther) {
  LoadOdd();
  const absl::StatusOr<Opening> opening = Open("odd://host/file", 7);
  ASSERT_TRUE(opening.ok()) << opening.status();
  EXPECT_THAT(opening->stat.header, Contains(Pair("etag", "\"v1\"")));
  EXPECT_EQ(sink_.text, Digits(0, 7));
}

TEST_F(PluginSource, TellsThePluginsErrors) {
  LoadOdd();
  const absl::Status missing = Stat("odd://host/missing").status();
  EXPECT_EQ(CodeOf(missing), 404);
  EXPECT_THAT(missing.ToString(), HasSubstr("no such thing"));
  EXPECT_EQ(CodeOf(Stat("odd://host/forbidden").status()), 403);
  EXPECT_THAT(Stat("odd://host/crazy").status().ToString(), HasSubstr("4711"));
  ObjectVersion other;
  other.etag = "\"v0\"";
  EXPECT_TRUE(absl::IsDataLoss(Read("odd://host/version", {0, 1}, other)));
  EXPECT_TRUE(absl::IsFailedPrecondition(Read("odd://host/long", {0, 10})));
  EXPECT_TRUE(absl::IsDataLoss(Read("odd://host/short", {0, 10})));
  EXPECT_TRUE(absl::IsInvalidArgument(Run([&] {
                                        OriginRequest request = Ask("odd://host/file");
                                        request.header = {{"X\n", "y"}};
                                        return SourceFor("odd://").Stat(std::move(request));
                                      }())
                                          .status()));
}

TEST_F(PluginSource, GoesOnWhereTheLineBroke) {
  options_.retries = 2;
  LoadOdd();
  const absl::Status read = Read("odd://host/breaks", {10, 50'000});
  ASSERT_TRUE(read.ok()) << read;
  EXPECT_EQ(sink_.text, Digits(10, 50'000));
}

TEST_F(PluginSource, PassesOnWhatTheSinkSays) {
  LoadOdd();
  sink_.on_append = [] { return absl::OutOfRangeError("no room"); };
  EXPECT_TRUE(absl::IsOutOfRange(Read("odd://host/file", {0, 50'000})));
}

TEST_F(PluginSource, KeepsTheDeadline) {
  LoadOdd();
  OriginRequest request = Ask("odd://host/stuck");
  request.deadline = Clock::now() + std::chrono::milliseconds(50);
  const absl::Status read =
      Run(SourceFor("odd://").Read(std::move(request), ByteRange{0, 10}, ObjectVersion(), sink_, limiter_));
  EXPECT_TRUE(absl::IsDeadlineExceeded(read)) << read;
}

TEST_F(PluginSource, CancellationEndsTheCallAtOnceAndTellsThePlugin) {
  LoadOdd();
  const std::string mark = (root_.path() / "mark").string();
  OriginRequest request = Ask("odd://host/stuck");
  request.header = {{"X-Mark", mark}};
  asio::cancellation_signal cancel;
  bool cancelled = false;
  absl::Status outcome;
  // The first bytes say that the plugin is at work.
  sink_.on_append = [&] {
    asio::post(io_, [&] { cancel.emit(asio::cancellation_type::terminal); });
    return absl::OkStatus();
  };
  asio::co_spawn(
      io_,
      Keep(SourceFor("odd://").Read(std::move(request), ByteRange{0, 1 << 20}, ObjectVersion(), sink_, limiter_),
           outcome),
      asio::bind_cancellation_slot(cancel.slot(),
                                   [&](const std::exception_ptr& error) { cancelled = error != nullptr; }));
  io_.run();
  EXPECT_TRUE(cancelled);
  // The threads of the plugins end with them.
  sources_.reset();
  options_.plugins.reset();
  EXPECT_TRUE(fs::exists(mark));
}

TEST_F(PluginSource, HoldsThePluginBackByTheBandwidth) {
  LoadOdd();
  runtime::TokenBucket slow(400'000, 1000);
  const TimePoint begin = Clock::now();
  ASSERT_TRUE(
      Run(SourceFor("odd://").Read(Ask("odd://host/file"), ByteRange{0, 100'000}, ObjectVersion(), sink_, slow)).ok());
  EXPECT_GE(Clock::now() - begin, std::chrono::milliseconds(200));
  EXPECT_EQ(sink_.text.size(), 100'000u);
}

TEST_F(PluginSource, Lists) {
  LoadOdd();
  const absl::StatusOr<std::vector<OriginEntry>> entries = List("odd://host/some");
  ASSERT_TRUE(entries.ok()) << entries.status();
  ASSERT_EQ(entries->size(), 10u);
  EXPECT_EQ(entries->at(3).url, "odd://host/some/dir/3");
  EXPECT_EQ(entries->at(3).content_length, 3u);
  EXPECT_TRUE(absl::IsResourceExhausted(List("odd://host/some/", 9).status()));
  const absl::Status unsafe = List("odd://host/unsafe/").status();
  EXPECT_TRUE(absl::IsFailedPrecondition(unsafe)) << unsafe;
  EXPECT_THAT(unsafe.ToString(), HasSubstr("../x"));
  ::setenv("ODD_ORIGIN", "flat", 1);
  Load();
  EXPECT_TRUE(absl::IsUnimplemented(List("odd://host/some/").status()));
}

// ---- the example ----

TEST_F(PluginSource, TheExampleReadsFilesBelowItsRoot) {
  const std::string content = Pattern(3'000'000);
  root_.Write("dir/some file", content);
  LoadFile();
  const std::string url = "file:///dir/some%20file";
  const absl::StatusOr<OriginStat> stat = Stat(url);
  ASSERT_TRUE(stat.ok()) << stat.status();
  EXPECT_EQ(stat->content_length, content.size());
  const absl::StatusOr<Opening> opening = Open(url, 1'000'000);
  ASSERT_TRUE(opening.ok()) << opening.status();
  EXPECT_EQ(opening->stat.header, stat->header);
  EXPECT_EQ(opening->bytes, 1'000'000u);
  EXPECT_TRUE(sink_.text == content.substr(0, 1'000'000));
  for (const ByteRange range : {ByteRange{0, 3'000'000}, ByteRange{2'999'999, 1}, ByteRange{1'000'001, 1'500'000}}) {
    const absl::Status read = Read(url, range, VersionOf(*stat));
    ASSERT_TRUE(read.ok()) << read;
    EXPECT_TRUE(sink_.text == content.substr(range.offset, range.length));
  }
  ASSERT_TRUE(ReadAll(url).ok());
  EXPECT_TRUE(sink_.text == content);
  root_.Write("dir/some file", "changed");
  EXPECT_TRUE(absl::IsDataLoss(Read(url, {0, 5}, VersionOf(*stat))));
  EXPECT_EQ(CodeOf(Stat("file:///dir/none").status()), 404);
  EXPECT_TRUE(absl::IsInvalidArgument(Stat("file:///dir").status()));
}

TEST_F(PluginSource, TheExampleLeavesItsRootNeitherByDotsNorByLinks) {
  const testing::TempDir outside;
  outside.Write("secret", "secret");
  root_.Write("dir/file", "x");
  fs::create_symlink(outside.path() / "secret", root_.path() / "link");
  fs::create_directory_symlink(outside.path(), root_.path() / "dir/outside");
  LoadFile();
  for (const std::string& path : {std::string("link"), std::string("dir/outside/secret"),
                                  StrCat("dir/%2e%2e/%2e%2e/", outside.path().filename().string(), "/secret"),
                                  StrCat("dir/..%2f..%2f", outside.path().filename().string(), "/secret")}) {
    EXPECT_FALSE(ReadAll(StrCat("file:///", path)).ok()) << path;
    EXPECT_EQ(sink_.text, "") << path;
  }
  EXPECT_FALSE(ReadAll("file:///dir%00/file").ok());
  EXPECT_FALSE(ReadAll("file://otherhost/dir/file").ok());
  const absl::StatusOr<std::vector<OriginEntry>> entries = List("file:///");
  ASSERT_TRUE(entries.ok()) << entries.status();
  EXPECT_THAT(Described(*entries), ElementsAre("file:///dir/", "file:///dir/file 1"));
}

TEST_F(PluginSource, TheExampleWantsARoot) {
  ::unsetenv("DF_FILE_ORIGIN_ROOT");
  LoadFile();
  EXPECT_THAT(MakeSources(io_, options_)->For("file:///x").status().ToString(), HasSubstr("DF_FILE_ORIGIN_ROOT"));
}

}  // namespace
}  // namespace dragonfly::source
