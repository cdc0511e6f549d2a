// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/system/system_error.hpp>
#include <cstdlib>
#include <exception>
#include <memory>
#include <string>

#include "base/backend_error.h"
#include "base/text.h"
#include "source/signer.h"
#include "source/source.h"
#include "tests/support/certificates.h"
#include "tests/support/nginx.h"
#include "tests/support/scripted_server.h"

namespace dragonfly::source {
namespace {

namespace asio = boost::asio;
using std::chrono::milliseconds;
using testing::Certificates;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::HeaderOf;
using ::testing::IsEmpty;
using ::testing::Key;
using testing::Nginx;
using ::testing::Not;
using ::testing::Pair;
using testing::ScriptedServer;
using ::testing::SizeIs;
using ::testing::StartsWith;

class Collector : public ByteSink {
 public:
  absl::Status Append(std::span<const std::byte> bytes) override {
    if (text.size() + bytes.size() > room) return absl::OutOfRangeError("no room");
    text.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    if (on_append) on_append();
    return absl::OkStatus();
  }
  std::string text;
  size_t room = 1 << 30;
  std::function<void()> on_append;
};

std::string Pattern(size_t size) {
  std::string text(size, '\0');
  for (size_t i = 0; i < size; ++i) text[i] = static_cast<char>((i * 2654435761u) >> 11);
  return text;
}

std::string Ok(const std::string& body, const std::string& more = "") {
  return StrCat("HTTP/1.1 200 OK\r\nContent-Length: ", body.size(), "\r\n", more, "\r\n", body);
}

std::string Status(const std::string& line, const std::string& more = "") {
  return StrCat("HTTP/1.1 ", line, "\r\nContent-Length: 0\r\n", more, "\r\n");
}

// The honest 206 to a request for a range of `content`, with `more` header lines; the body cut to `sent` bytes.
std::string Partial(const std::string& request, const std::string& content, const std::string& more = "",
                    size_t sent = std::string::npos) {
  const absl::StatusOr<ByteRange> range = ParseHttpRange(HeaderOf(request, "Range"), content.size());
  if (!range.ok()) return Status("500 Internal Server Error");
  return StrCat("HTTP/1.1 206 Partial Content\r\nContent-Range: bytes ", range->offset, "-", range->end() - 1, "/",
                content.size(), "\r\nContent-Length: ", range->length, "\r\n", more, "\r\n",
                content.substr(range->offset, range->length).substr(0, sent));
}

std::optional<int> CodeOf(const absl::Status& status) {
  const std::optional<BackendError> error = GetBackendError(status);
  return error.has_value() ? error->status_code : std::nullopt;
}

class HttpSourceTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { ::setenv("no_proxy", "*", 1); }

  HttpSourceTest() {
    options_.backoff_min = milliseconds(1);
    options_.backoff_max = milliseconds(4);
    options_.stall_timeout = milliseconds(5000);
  }

  static OriginRequest Ask(const std::string& url, std::vector<std::pair<std::string, std::string>> header = {}) {
    OriginRequest request;
    request.url = url;
    request.header = std::move(header);
    request.deadline = Clock::now() + std::chrono::seconds(20);
    return request;
  }

  SourceSet& sources() {
    if (sources_ == nullptr) sources_ = MakeSources(io_, options_);
    return *sources_;
  }
  Source& source() { return **sources().For("http://x/"); }

  template <typename T>
  static asio::awaitable<void> Keep(asio::awaitable<T> work, T& outcome) {
    outcome = co_await std::move(work);
  }
  template <typename T>
  T Run(asio::awaitable<T> work) {
    T outcome = absl::UnknownError("did not end");
    asio::co_spawn(io_, Keep(std::move(work), outcome), [](const std::exception_ptr& error) {
      if (error) std::rethrow_exception(error);
    });
    io_.restart();
    io_.run();
    return outcome;
  }

  absl::StatusOr<OriginStat> Stat(OriginRequest request) { return Run(source().Stat(std::move(request))); }
  absl::Status Read(OriginRequest request, ByteRange range, ObjectVersion version = ObjectVersion()) {
    sink_.text.clear();
    return Run(source().Read(std::move(request), range, std::move(version), sink_, limiter_));
  }
  absl::StatusOr<uint64_t> ReadAll(OriginRequest request, ObjectVersion version = ObjectVersion()) {
    sink_.text.clear();
    return Run(source().ReadAll(std::move(request), std::move(version), sink_, limiter_));
  }

  // Opens with what is wanted going to sink_, which opened() says.
  absl::StatusOr<Opening> Open(OriginRequest request, uint64_t first_bytes, bool wanted = true) {
    sink_.text.clear();
    opened_.reset();
    const auto opened = [this, wanted](const OriginStat& stat) -> absl::StatusOr<ByteSink*> {
      EXPECT_FALSE(opened_) << "told twice";
      EXPECT_THAT(sink_.text, IsEmpty());
      opened_ = stat;
      return wanted ? &sink_ : nullptr;
    };
    return Run(source().Open(std::move(request), first_bytes, opened, limiter_));
  }

  asio::io_context io_;
  std::optional<OriginStat> opened_;
  SourceOptions options_;
  std::unique_ptr<SourceSet> sources_;
  Collector sink_;
  runtime::TokenBucket limiter_{0};
};

// ---- honest origins ----

TEST_F(HttpSourceTest, PicksBySchemeAndRefusesOthers) {
  EXPECT_TRUE(sources().For("http://a/b").ok());
  EXPECT_TRUE(sources().For("HTTPS://a/b").ok());
  for (const char* url : {"s4://bucket/key", "file:///etc/passwd", "nonsense", ""}) {
    EXPECT_TRUE(absl::IsInvalidArgument(sources().For(url).status())) << url;
  }
}

TEST_F(HttpSourceTest, StatsAndReadsRangesFromNginx) {
  Nginx nginx({{""}});
  const std::string content = Pattern(5'000'000);
  nginx.Put("dir/file.txt", content);
  const OriginRequest request = Ask(nginx.Url("/dir/file.txt"));
  const absl::StatusOr<OriginStat> stat = Stat(request);
  ASSERT_TRUE(stat.ok()) << stat.status();
  EXPECT_EQ(stat->content_length, content.size());
  EXPECT_TRUE(stat->accepts_ranges);
  EXPECT_THAT(stat->header, Contains(Pair("content-length", "5000000")));
  EXPECT_THAT(stat->header, Contains(Pair("content-type", "text/plain")));
  EXPECT_THAT(stat->header, Contains(Key("etag")));
  EXPECT_THAT(stat->header, Not(Contains(Key("content-range"))));

  const ObjectVersion version = VersionOf(*stat);
  for (const ByteRange range :
       {ByteRange{0, 5'000'000}, ByteRange{0, 1}, ByteRange{4'999'999, 1}, ByteRange{1'000'001, 2'345'678}}) {
    const absl::Status read = Read(request, range, version);
    ASSERT_TRUE(read.ok()) << read;
    EXPECT_TRUE(sink_.text == content.substr(range.offset, range.length));
  }
  const absl::StatusOr<uint64_t> all = ReadAll(request, version);
  ASSERT_TRUE(all.ok()) << all.status();
  EXPECT_EQ(*all, content.size());
  EXPECT_TRUE(sink_.text == content);
  EXPECT_TRUE(Read(request, ByteRange{7, 0}, version).ok());
  EXPECT_THAT(sink_.text, IsEmpty());
}

TEST_F(HttpSourceTest, RunsRangesSideBySide) {
  Nginx nginx({{""}});
  const std::string content = Pattern(4 << 20);
  nginx.Put("file", content);
  std::vector<Collector> sinks(8);
  std::vector<absl::Status> outcomes(8, absl::UnknownError("did not end"));
  for (size_t i = 0; i < sinks.size(); ++i) {
    const ByteRange range{i << 19, 1 << 19};
    asio::co_spawn(
        io_, Keep(source().Read(Ask(nginx.Url("/file")), range, ObjectVersion(), sinks[i], limiter_), outcomes[i]),
        [](const std::exception_ptr& error) {
          if (error) std::rethrow_exception(error);
        });
  }
  io_.run();
  for (size_t i = 0; i < sinks.size(); ++i) {
    EXPECT_TRUE(outcomes[i].ok()) << outcomes[i];
    EXPECT_TRUE(sinks[i].text == content.substr(i << 19, 1 << 19));
  }
}

TEST_F(HttpSourceTest, StatsAnEmptyFile) {
  Nginx nginx({{""}});
  nginx.Put("empty", "");
  const absl::StatusOr<OriginStat> stat = Stat(Ask(nginx.Url("/empty")));
  ASSERT_TRUE(stat.ok()) << stat.status();
  EXPECT_EQ(stat->content_length, 0u);
  EXPECT_THAT(stat->header, Contains(Pair("content-length", "0")));
  const absl::StatusOr<uint64_t> all = ReadAll(Ask(nginx.Url("/empty")), VersionOf(*stat));
  ASSERT_TRUE(all.ok()) << all.status();
  EXPECT_EQ(*all, 0u);
}

TEST_F(HttpSourceTest, TellsARefusalWithStatusAndHeaders) {
  Nginx nginx({{"add_header X-Why gone always; add_header Set-Cookie secret always;"}});
  const absl::Status stat = Stat(Ask(nginx.Url("/missing"))).status();
  EXPECT_TRUE(absl::IsInternal(stat)) << stat;
  const std::optional<BackendError> error = GetBackendError(stat);
  ASSERT_TRUE(error.has_value());
  EXPECT_EQ(error->message, "404 Not Found");
  EXPECT_EQ(error->status_code, 404);
  EXPECT_THAT(error->header, Contains(Pair("x-why", "gone")));
  EXPECT_THAT(error->header, Not(Contains(Key("set-cookie"))));
  EXPECT_EQ(CodeOf(Read(Ask(nginx.Url("/missing")), {0, 5})), 404);
  EXPECT_EQ(CodeOf(ReadAll(Ask(nginx.Url("/missing"))).status()), 404);
  ScriptedServer counting({Status("403 Forbidden")});
  EXPECT_EQ(CodeOf(Stat(Ask(counting.Url())).status()), 403);
  EXPECT_THAT(counting.requests(), SizeIs(1)) << "a refusal is final";
}

TEST_F(HttpSourceTest, ForwardsCredentialsAndDefaults) {
  Nginx nginx(
      {{"location / { if ($http_authorization != \"Bearer t\") { return 401; } "
        "if ($http_x_site != \"here\") { return 400; } }"}});
  nginx.Put("file", "content");
  options_.request_header = {{"X-Site", "here"}};
  EXPECT_EQ(CodeOf(Stat(Ask(nginx.Url("/file"))).status()), 401);
  const absl::StatusOr<OriginStat> stat = Stat(Ask(nginx.Url("/file"), {{"authorization", "Bearer t"}}));
  EXPECT_TRUE(stat.ok()) << stat.status();
}

TEST_F(HttpSourceTest, NeverForwardsTheCallersRange) {
  Nginx nginx({{""}});
  nginx.Put("file", "0123456789");
  const OriginRequest request = Ask(nginx.Url("/file"), {{"RANGE", "bytes=5-6"}});
  const absl::StatusOr<OriginStat> stat = Stat(request);
  ASSERT_TRUE(stat.ok()) << stat.status();
  EXPECT_EQ(stat->content_length, 10u);
  ASSERT_TRUE(ReadAll(request).ok());
  EXPECT_EQ(sink_.text, "0123456789");
  ASSERT_TRUE(Read(request, {1, 2}).ok());
  EXPECT_EQ(sink_.text, "12");
}

TEST_F(HttpSourceTest, RefusesHeaderInjection) {
  ScriptedServer server({Ok("x")});
  EXPECT_TRUE(absl::IsInvalidArgument(Stat(Ask(server.Url(), {{"X", "a\r\nHost: evil"}})).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(Read(Ask(server.Url(), {{"X\nY", "a"}}), {0, 1})));
  EXPECT_TRUE(absl::IsInvalidArgument(ReadAll(Ask("ftp://127.0.0.1/")).status()));
  EXPECT_THAT(server.requests(), IsEmpty());
}

TEST_F(HttpSourceTest, SendsAnotherHostWhenAsked) {
  Nginx nginx({{"location / { if ($host != \"registry.example\") { return 421; } }"}});
  nginx.Put("file", "x");
  EXPECT_TRUE(Stat(Ask(nginx.Url("/file"), {{"Host", "registry.example"}})).ok());
}

TEST_F(HttpSourceTest, KeepsToTheBandwidth) {
  Nginx nginx({{""}});
  const std::string content = Pattern(300'000);
  nginx.Put("file", content);
  runtime::TokenBucket limiter(1'000'000, 100'000);
  Collector sink;
  const TimePoint begin = Clock::now();
  const absl::Status read = Run(source().Read(Ask(nginx.Url("/file")), {0, 300'000}, ObjectVersion(), sink, limiter));
  EXPECT_TRUE(read.ok()) << read;
  EXPECT_TRUE(sink.text == content);
  // The bytes are booked as they come: whoever is next has to wait for them.
  EXPECT_GT(limiter.Reserve(1, begin + milliseconds(100)), milliseconds(50));
}

TEST_F(HttpSourceTest, TrustsTheConfiguredAuthority) {
  Certificates certificates("IP:127.0.0.1");
  Nginx nginx({{certificates.NginxLines(), true}});
  const std::string content = Pattern(2'000'000);
  nginx.Put("file", content);
  const absl::Status untrusted = Stat(Ask(nginx.Url("/file"))).status();
  EXPECT_TRUE(absl::IsInternal(untrusted)) << untrusted;
  ASSERT_TRUE(GetBackendError(untrusted).has_value());
  EXPECT_EQ(CodeOf(untrusted), std::nullopt);

  options_.ca_file = certificates.ca_file();
  sources_.reset();
  const absl::StatusOr<OriginStat> stat = Stat(Ask(nginx.Url("/file")));
  ASSERT_TRUE(stat.ok()) << stat.status();
  ASSERT_TRUE(Read(Ask(nginx.Url("/file")), {5, 1'900'000}, VersionOf(*stat)).ok());
  EXPECT_TRUE(sink_.text == content.substr(5, 1'900'000));
}

TEST_F(HttpSourceTest, TrustsTheAuthoritiesOfTheRequestForThatRequestOnly) {
  const Certificates certificates("IP:127.0.0.1");
  const Certificates others("IP:127.0.0.1");
  Nginx nginx({{certificates.NginxLines(), true}});
  nginx.Put("file", "content");
  const OriginRequest plain = Ask(nginx.Url("/file"));
  OriginRequest trusting = plain;
  trusting.authorities =
      std::make_shared<const std::vector<std::string>>(std::vector{others.CaDer(), certificates.CaDer()});
  OriginRequest mistaken = plain;
  mistaken.authorities = std::make_shared<const std::vector<std::string>>(std::vector{others.CaDer()});
  // Whoever comes later does not profit from the connections, sessions and redirects of who came before.
  for (int i = 0; i < 2; ++i) {
    EXPECT_FALSE(Stat(plain).ok());
    const absl::StatusOr<OriginStat> stat = Stat(trusting);
    ASSERT_TRUE(stat.ok()) << stat.status();
    ASSERT_TRUE(Read(trusting, {3, 4}, VersionOf(*stat)).ok());
    EXPECT_EQ(sink_.text, "tent");
    EXPECT_FALSE(Read(mistaken, {3, 4}).ok());
    EXPECT_FALSE(Read(plain, {3, 4}).ok());
  }
  // Beside those of the configuration.
  options_.ca_file = others.ca_file();
  sources_.reset();
  EXPECT_TRUE(Stat(trusting).ok());
  EXPECT_FALSE(Stat(plain).ok());

  OriginRequest bad = plain;
  bad.authorities = std::make_shared<const std::vector<std::string>>(
      std::vector<std::string>{certificates.CaDer(), "no certificate"});
  const absl::Status refused = Stat(bad).status();
  EXPECT_TRUE(absl::IsInvalidArgument(refused)) << refused;
  EXPECT_THAT(std::string(refused.message()), HasSubstr("certificate_chain[1]"));
  bad.authorities = std::make_shared<const std::vector<std::string>>(65, certificates.CaDer());
  EXPECT_TRUE(absl::IsInvalidArgument(Stat(bad).status()));
}

// ---- lengths ----

TEST_F(HttpSourceTest, LeavesTheLengthOfAChunkedBodyOpenAndReadsAllOfIt) {
  ScriptedServer server(
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"});
  const absl::StatusOr<OriginStat> stat = Stat(Ask(server.Url()));
  ASSERT_TRUE(stat.ok()) << stat.status();
  EXPECT_EQ(stat->content_length, std::nullopt);
  EXPECT_FALSE(stat->accepts_ranges);
  const absl::StatusOr<uint64_t> all = ReadAll(Ask(server.Url()), VersionOf(*stat));
  ASSERT_TRUE(all.ok()) << all.status();
  EXPECT_EQ(*all, 11u);
  EXPECT_EQ(sink_.text, "hello world");
}

TEST_F(HttpSourceTest, StatEndsAnEndlessBodyAtOnce) {
  ScriptedServer server([](ScriptedServer::Connection& connection, const std::string&, int) {
    connection.Send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    while (connection.Send("5\r\nhello\r\n")) {
    }
    connection.Close();
  });
  EXPECT_TRUE(Stat(Ask(server.Url())).ok());
}

TEST_F(HttpSourceTest, StatTakesTheLengthOfAnOriginWithoutRanges) {
  Nginx nginx({{"max_ranges 0;"}});
  nginx.Put("file", Pattern(1'000'000));
  const absl::StatusOr<OriginStat> stat = Stat(Ask(nginx.Url("/file")));
  ASSERT_TRUE(stat.ok()) << stat.status();
  EXPECT_EQ(stat->content_length, 1'000'000u);
  EXPECT_FALSE(stat->accepts_ranges);
}

TEST_F(HttpSourceTest, StatAsksWithoutRangeWhenTheRangeIsRefusedOrSaysNothing) {
  const std::string first_answers[] = {
      Status("416 Range Not Satisfiable"), Status("416 Range Not Satisfiable", "Content-Range: bytes */77\r\n"),
      "HTTP/1.1 206 Partial Content\r\nContent-Length: 1\r\n\r\nx",
      "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-0/*\r\nContent-Length: 1\r\n\r\nx"};
  for (const std::string& first : first_answers) {
    ScriptedServer server({first, Ok("content", "ETag: \"1\"\r\n")});
    const absl::StatusOr<OriginStat> stat = Stat(Ask(server.Url()));
    ASSERT_TRUE(stat.ok()) << first << stat.status();
    EXPECT_EQ(stat->content_length, 7u);
    EXPECT_THAT(stat->header, Contains(Pair("etag", "\"1\"")));
    ASSERT_THAT(server.requests(), SizeIs(2));
    EXPECT_EQ(HeaderOf(server.requests()[0], "Range"), "bytes=0-0");
    EXPECT_EQ(HeaderOf(server.requests()[1], "Range"), "");
  }
}

TEST_F(HttpSourceTest, StatReadsTheEmptyObjectFromA416) {
  ScriptedServer server(
      {Status("416 Range Not Satisfiable", "Content-Range: bytes */0\r\nContent-Type: text/html\r\nETag: \"0\"\r\n")});
  const absl::StatusOr<OriginStat> stat = Stat(Ask(server.Url()));
  ASSERT_TRUE(stat.ok()) << stat.status();
  EXPECT_EQ(stat->content_length, 0u);
  EXPECT_THAT(stat->header, ElementsAre(Pair("content-length", "0"), Pair("etag", "\"0\"")));
}

// ---- stat and first bytes at once ----

TEST_F(HttpSourceTest, OpensASmallFileWithOneRequest) {
  const std::string content = Pattern(1000);
  ScriptedServer server([&](ScriptedServer::Connection& connection, const std::string& request, int) {
    connection.Send(Partial(request, content, "ETag: \"1\"\r\n"));
  });
  const absl::StatusOr<Opening> opening = Open(Ask(server.Url()), 4096);
  ASSERT_TRUE(opening.ok()) << opening.status();
  EXPECT_TRUE(opening->body.ok()) << opening->body;
  EXPECT_EQ(opening->bytes, 1000u);
  EXPECT_EQ(opening->stat.content_length, 1000u);
  EXPECT_TRUE(opening->stat.accepts_ranges);
  EXPECT_THAT(opened_->header, Contains(Pair("content-length", "1000")));
  EXPECT_THAT(opened_->header, Contains(Pair("etag", "\"1\"")));
  EXPECT_EQ(sink_.text, content);
  ASSERT_THAT(server.requests(), SizeIs(1));
  EXPECT_EQ(HeaderOf(server.requests()[0], "Range"), "bytes=0-4095");
}

TEST_F(HttpSourceTest, OpensALargeFileWithItsFirstBytes) {
  Nginx nginx({{""}});
  nginx.Put("file", Pattern(100'000));
  const absl::StatusOr<Opening> opening = Open(Ask(nginx.Url("/file")), 4096);
  ASSERT_TRUE(opening.ok()) << opening.status();
  EXPECT_TRUE(opening->body.ok()) << opening->body;
  EXPECT_EQ(opening->stat.content_length, 100'000u);
  EXPECT_EQ(sink_.text, Pattern(100'000).substr(0, 4096));
}

TEST_F(HttpSourceTest, AnOpenThatIsAnsweredWithTheWholeTakesTheWhole) {
  Nginx nginx({{"max_ranges 0;"}});
  nginx.Put("file", Pattern(100'000));
  const absl::StatusOr<Opening> opening = Open(Ask(nginx.Url("/file")), 4096);
  ASSERT_TRUE(opening.ok()) << opening.status();
  EXPECT_TRUE(opening->body.ok()) << opening->body;
  EXPECT_FALSE(opening->stat.accepts_ranges);
  EXPECT_EQ(opening->bytes, 100'000u);
  EXPECT_EQ(sink_.text, Pattern(100'000));
}

TEST_F(HttpSourceTest, AnOpenWhoseBytesAreNotWantedIsCut) {
  ScriptedServer server([](ScriptedServer::Connection& connection, const std::string&, int) {
    connection.Send("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n");
    const std::string more(10'000, 'x');
    while (connection.Send(more)) {
    }
    connection.Close();
  });
  const absl::StatusOr<Opening> opening = Open(Ask(server.Url()), 4096, /*wanted=*/false);
  ASSERT_TRUE(opening.ok()) << opening.status();
  EXPECT_TRUE(opening->body.ok());
  EXPECT_EQ(opening->bytes, 0u);
  EXPECT_EQ(opening->stat.content_length, 100'000'000u);
  EXPECT_THAT(sink_.text, IsEmpty());
}

TEST_F(HttpSourceTest, OpensAnEmptyFile) {
  ScriptedServer server({Status("416 Range Not Satisfiable", "Content-Range: bytes */0\r\nETag: \"0\"\r\n")});
  const absl::StatusOr<Opening> opening = Open(Ask(server.Url()), 4096);
  ASSERT_TRUE(opening.ok()) << opening.status();
  EXPECT_EQ(opened_->content_length, 0u);
  EXPECT_EQ(opening->bytes, 0u);
  EXPECT_THAT(server.requests(), SizeIs(1));
}

TEST_F(HttpSourceTest, AnOpenThatBreaksTellsWhatItGot) {
  const std::string content = Pattern(1000);
  ScriptedServer server([&](ScriptedServer::Connection& connection, const std::string& request, int) {
    connection.Send(Partial(request, content, "", 600));
    connection.Close();
  });
  const absl::StatusOr<Opening> opening = Open(Ask(server.Url()), 4096);
  ASSERT_TRUE(opening.ok()) << opening.status();
  EXPECT_FALSE(opening->body.ok());
  EXPECT_EQ(opening->bytes, 600u);
  EXPECT_EQ(opening->stat.content_length, 1000u);
}

TEST_F(HttpSourceTest, AnOpenTriesABusyOriginAgainAndTellsARefusal) {
  const std::string content = Pattern(10);
  options_.retries = 1;
  ScriptedServer busy([&](ScriptedServer::Connection& connection, const std::string& request, int number) {
    connection.Send(number == 0 ? Status("503 Service Unavailable") : Partial(request, content));
  });
  EXPECT_TRUE(Open(Ask(busy.Url()), 4096).ok());
  EXPECT_EQ(sink_.text, content);
  ScriptedServer refusing({Status("404 Not Found")});
  EXPECT_EQ(CodeOf(Open(Ask(refusing.Url()), 4096).status()), 404);
  EXPECT_FALSE(opened_);
}

TEST_F(HttpSourceTest, AnOpenAsksAsAStatWhereTheFirstAnswerSaysTooLittle) {
  const std::string content = Pattern(10);
  ScriptedServer server(
      {"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-9/*\r\nContent-Length: 10\r\n\r\n" + content,
       "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-0/*\r\nContent-Length: 1\r\n\r\nx", Ok(content),
       Ok(content)});
  const absl::StatusOr<Opening> opening = Open(Ask(server.Url()), 4096);
  ASSERT_TRUE(opening.ok()) << opening.status();
  EXPECT_TRUE(opening->body.ok()) << opening->body;
  EXPECT_EQ(sink_.text, content);
}

// ---- lying origins ----

TEST_F(HttpSourceTest, RefusesAnotherRangeThanAsked) {
  const std::string answers[] = {
      "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-9/100\r\nContent-Length: 10\r\n\r\n0123456789",
      "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 10-18/100\r\nContent-Length: 9\r\n\r\n012345678",
      "HTTP/1.1 206 Partial Content\r\nContent-Length: 10\r\n\r\n0123456789",
      Ok(Pattern(100)),
  };
  for (const std::string& answer : answers) {
    ScriptedServer server({answer});
    const absl::Status read = Read(Ask(server.Url()), {10, 10});
    EXPECT_TRUE(absl::IsFailedPrecondition(read)) << read;
    EXPECT_THAT(sink_.text, IsEmpty());
    EXPECT_THAT(server.requests(), SizeIs(1)) << "asking again would not help";
  }
}

TEST_F(HttpSourceTest, RefusesABodyThatIsLongerThanItsRange) {
  ScriptedServer server({"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 10-19/100\r\n\r\n0123456789and more"});
  const absl::Status read = Read(Ask(server.Url()), {10, 10});
  EXPECT_TRUE(absl::IsFailedPrecondition(read)) << read;
  EXPECT_EQ(sink_.text, "0123456789");
}

TEST_F(HttpSourceTest, TakesTheBeginningOfAWholeBodyAndEndsIt) {
  ScriptedServer server([](ScriptedServer::Connection& connection, const std::string&, int) {
    connection.Send("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n0123456789");
    const std::string more(10'000, 'x');
    while (connection.Send(more)) {
    }
    connection.Close();
  });
  const absl::Status read = Read(Ask(server.Url()), {0, 8});
  EXPECT_TRUE(read.ok()) << read;
  EXPECT_EQ(sink_.text, "01234567");
}

TEST_F(HttpSourceTest, TellsAnObjectThatHasChanged) {
  const std::string content = Pattern(100);
  ObjectVersion version;
  version.etag = "\"1\"";
  version.content_length = 100;
  ScriptedServer other_tag([&](ScriptedServer::Connection& connection, const std::string& request, int) {
    connection.Send(Partial(request, content, "ETag: \"2\"\r\n"));
  });
  EXPECT_TRUE(absl::IsDataLoss(Read(Ask(other_tag.Url()), {10, 10}, version)));
  EXPECT_THAT(sink_.text, IsEmpty());
  ScriptedServer longer([&](ScriptedServer::Connection& connection, const std::string& request, int) {
    connection.Send(Partial(request, content + "x", "ETag: \"1\"\r\n"));
  });
  EXPECT_TRUE(absl::IsDataLoss(Read(Ask(longer.Url()), {10, 10}, version)));
  ScriptedServer shorter({Status("416 Range Not Satisfiable", "Content-Range: bytes */5\r\n")});
  EXPECT_TRUE(absl::IsDataLoss(Read(Ask(shorter.Url()), {10, 10}, version)));
  ScriptedServer whole({Ok("four")});
  EXPECT_TRUE(absl::IsDataLoss(ReadAll(Ask(whole.Url()), version).status()));
  ScriptedServer chunked({"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfour\r\n0\r\n\r\n"});
  EXPECT_TRUE(absl::IsDataLoss(ReadAll(Ask(chunked.Url()), version).status()));
}

TEST_F(HttpSourceTest, DoesNotMixTwoVersionsWhenItResumes) {
  const std::string content = Pattern(100);
  ScriptedServer server([&](ScriptedServer::Connection& connection, const std::string& request, int number) {
    const std::string tag = StrCat("ETag: \"", number, "\"\r\n");
    connection.Send(Partial(request, content, tag, number == 0 ? 30 : 100));
    connection.Close();
  });
  // The caller knows no version: the first answer's counts.
  const absl::Status read = Read(Ask(server.Url()), {0, 100});
  EXPECT_TRUE(absl::IsDataLoss(read)) << read;
  EXPECT_THAT(std::string(read.message()), HasSubstr("object has changed"));
}

TEST_F(HttpSourceTest, PassesOnWhatTheSinkSays) {
  ScriptedServer server({Ok(Pattern(1000))});
  sink_.room = 10;
  EXPECT_EQ(Read(Ask(server.Url()), {0, 1000}), absl::OutOfRangeError("no room"));
  EXPECT_EQ(ReadAll(Ask(server.Url())).status(), absl::OutOfRangeError("no room"));
  EXPECT_THAT(server.requests(), SizeIs(2)) << "the sink's error is final";
}

// ---- retries ----

TEST_F(HttpSourceTest, ResumesABrokenBodyWhereItBroke) {
  const std::string content = Pattern(1000);
  ScriptedServer server([&](ScriptedServer::Connection& connection, const std::string& request, int number) {
    connection.Send(Partial(request, content, "ETag: \"1\"\r\n", number < 2 ? 100 : 1000));
    if (number == 0) connection.Close();
    if (number == 1) connection.AwaitClientGone();
  });
  options_.retries = 2;
  options_.stall_timeout = milliseconds(100);
  const absl::Status read = Read(Ask(server.Url()), {200, 500});
  EXPECT_TRUE(read.ok()) << read;
  EXPECT_TRUE(sink_.text == content.substr(200, 500));
  ASSERT_THAT(server.requests(), SizeIs(3));
  EXPECT_EQ(HeaderOf(server.requests()[0], "Range"), "bytes=200-699");
  EXPECT_EQ(HeaderOf(server.requests()[1], "Range"), "bytes=300-699");
  EXPECT_EQ(HeaderOf(server.requests()[2], "Range"), "bytes=400-699");
}

TEST_F(HttpSourceTest, ResumesAfterAReset) {
  const std::string content = Pattern(2'000'000);
  ScriptedServer server([&](ScriptedServer::Connection& connection, const std::string& request, int number) {
    connection.Send(Partial(request, content, "", number == 0 ? 1'000'000 : std::string::npos));
    if (number == 0) connection.Reset();
  });
  const absl::Status read = Read(Ask(server.Url()), {0, 2'000'000});
  EXPECT_TRUE(read.ok()) << read;
  EXPECT_TRUE(sink_.text == content);
}

TEST_F(HttpSourceTest, GivesABodyUpThatBreaksForGood) {
  const std::string content = Pattern(1000);
  ScriptedServer server([&](ScriptedServer::Connection& connection, const std::string& request, int) {
    connection.Send(Partial(request, content, "", 10));
    connection.Close();
  });
  options_.retries = 3;
  const absl::Status read = Read(Ask(server.Url()), {0, 1000});
  EXPECT_TRUE(absl::IsDataLoss(read)) << read;
  EXPECT_THAT(std::string(read.message()), HasSubstr("after 40 of 1000 bytes"));
  EXPECT_THAT(server.requests(), SizeIs(4));
}

TEST_F(HttpSourceTest, TakesAChunkedRangeThatEndsEarlyForBroken) {
  ScriptedServer server(
      {"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-9/10\r\nTransfer-Encoding: chunked\r\n\r\n"
       "3\r\nabc\r\n0\r\n\r\n"});
  options_.retries = 0;
  EXPECT_TRUE(absl::IsDataLoss(Read(Ask(server.Url()), {0, 10})));
}

TEST_F(HttpSourceTest, AsksAgainWhileTheOriginIsBusy) {
  for (const char* line :
       {"500 Internal Server Error", "503 Service Unavailable", "408 Request Timeout", "429 Too Many Requests"}) {
    ScriptedServer server({Status(line), Ok("content")});
    const absl::StatusOr<OriginStat> stat = Stat(Ask(server.Url()));
    EXPECT_TRUE(stat.ok()) << line << stat.status();
    ScriptedServer for_all({Status(line), Ok("content")});
    EXPECT_TRUE(ReadAll(Ask(for_all.Url())).ok());
    ScriptedServer for_range({Status(line), Ok("content")});
    EXPECT_TRUE(Read(Ask(for_range.Url()), {0, 7}).ok());
    ScriptedServer always({Status(line)});
    EXPECT_EQ(CodeOf(Stat(Ask(always.Url())).status()), ParseDecimal<int>(std::string(line, 3)));
    EXPECT_THAT(always.requests(), SizeIs(2));
  }
}

TEST_F(HttpSourceTest, WaitsAsLongAsTheOriginAsks) {
  TimePoint first;
  TimePoint second;
  ScriptedServer server([&](ScriptedServer::Connection& connection, const std::string&, int number) {
    (number == 0 ? first : second) = Clock::now();
    connection.Send(number == 0 ? Status("429 Too Many Requests", "Retry-After: 1\r\n") : Ok("content"));
  });
  EXPECT_TRUE(Stat(Ask(server.Url())).ok());
  EXPECT_GE(second - first, milliseconds(990));
}

TEST_F(HttpSourceTest, DoesNotWaitLongerThanAllowed) {
  options_.retry_after_max = milliseconds(2000);
  ScriptedServer server({Status("503 Service Unavailable", "Retry-After: 3600\r\n")});
  EXPECT_EQ(CodeOf(Stat(Ask(server.Url())).status()), 503);
  EXPECT_THAT(server.requests(), SizeIs(1));
  ScriptedServer soon({Status("503 Service Unavailable", "Retry-After: 2\r\n")});
  OriginRequest hurried = Ask(soon.Url());
  hurried.deadline = Clock::now() + milliseconds(500);
  EXPECT_EQ(CodeOf(Stat(hurried).status()), 503) << "the deadline comes first";
}

TEST_F(HttpSourceTest, TellsAnUnreachableOrigin) {
  uint16_t port = 0;
  {
    port = ScriptedServer({""}).port();
  }
  const absl::Status stat = Stat(Ask(StrCat("http://127.0.0.1:", port, "/"))).status();
  EXPECT_TRUE(absl::IsInternal(stat)) << stat;
  const std::optional<BackendError> error = GetBackendError(stat);
  ASSERT_TRUE(error.has_value());
  EXPECT_EQ(error->status_code, std::nullopt);
  EXPECT_FALSE(error->message.empty());
}

TEST_F(HttpSourceTest, KeepsTheDeadline) {
  ScriptedServer silent(
      [](ScriptedServer::Connection& connection, const std::string&, int) { connection.AwaitClientGone(); });
  OriginRequest request = Ask(silent.Url());
  request.deadline = Clock::now() + milliseconds(50);
  EXPECT_TRUE(absl::IsDeadlineExceeded(Stat(request).status()));
  EXPECT_TRUE(absl::IsDeadlineExceeded(Read(request, {0, 1})));
  EXPECT_TRUE(absl::IsDeadlineExceeded(ReadAll(request).status()));
}

TEST_F(HttpSourceTest, DoesNotRepeatAWholeBodyOnceAByteWasTaken) {
  ScriptedServer server({"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", Ok("0123456789")});
  EXPECT_TRUE(absl::IsDataLoss(ReadAll(Ask(server.Url())).status()));
  EXPECT_EQ(sink_.text, "abc");
  EXPECT_THAT(server.requests(), SizeIs(1));
  ScriptedServer before({"", Ok("0123456789")});
  EXPECT_TRUE(ReadAll(Ask(before.Url())).ok());
  EXPECT_EQ(sink_.text, "0123456789");
}

TEST_F(HttpSourceTest, CancellationClosesTheTransfer) {
  ScriptedServer server([](ScriptedServer::Connection& connection, const std::string&, int) {
    connection.Send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc");
    connection.AwaitClientGone();
  });
  asio::cancellation_signal signal;
  sink_.on_append = [&] { asio::post(io_, [&] { signal.emit(asio::cancellation_type::terminal); }); };
  absl::Status outcome = absl::UnknownError("did not end");
  std::exception_ptr thrown;
  asio::co_spawn(io_, Keep(source().Read(Ask(server.Url()), {0, 10}, ObjectVersion(), sink_, limiter_), outcome),
                 asio::bind_cancellation_slot(signal.slot(), [&](const std::exception_ptr& error) { thrown = error; }));
  io_.run();
  EXPECT_TRUE(thrown);
  EXPECT_EQ(sink_.text, "abc");
}

// ---- redirects ----

TEST_F(HttpSourceTest, FollowsRedirectsWithoutCarryingCredentialsToOthers) {
  Nginx nginx(
      {{"location /same { return 302 /file; } location /other { return 307 http://127.0.0.1:@1@/file; }"}, {""}});
  nginx.Put("file", "content");
  const std::vector<std::pair<std::string, std::string>> secrets = {
      {"Authorization", "Bearer t"}, {"Cookie", "c"}, {"X-Kept", "k"}};
  ASSERT_TRUE(Read(Ask(nginx.Url("/same"), secrets), {1, 3}).ok());
  EXPECT_EQ(sink_.text, "ont");
  ASSERT_TRUE(Read(Ask(nginx.Url("/other"), secrets), {1, 3}).ok());
  EXPECT_EQ(sink_.text, "ont");
  const absl::StatusOr<OriginStat> stat = Stat(Ask(nginx.Url("/other"), secrets));
  ASSERT_TRUE(stat.ok()) << stat.status();
  EXPECT_EQ(stat->content_length, 7u);
}

TEST_F(HttpSourceTest, StripsCredentialsWhenSchemeHostOrPortChanges) {
  ScriptedServer target({Ok("content")});
  for (const std::string& location : {target.Url("/x"), StrCat("http://localhost:", target.port(), "/x")}) {
    ScriptedServer origin({Status("301 Moved Permanently", "Location: " + location + "\r\n")});
    const size_t before = target.requests().size();
    ASSERT_TRUE(Stat(Ask(origin.Url(), {{"authorization", "secret"},
                                        {"Cookie", "secret"},
                                        {"Cookie2", "secret"},
                                        {"Proxy-Authorization", "secret"},
                                        {"WWW-Authenticate", "secret"},
                                        {"Host", "secret"},
                                        {"X-Kept", "k"}}))
                    .ok());
    ASSERT_GT(target.requests().size(), before);
    EXPECT_THAT(target.requests().back(), Not(HasSubstr("secret")));
    EXPECT_EQ(HeaderOf(target.requests().back(), "X-Kept"), "k");
    EXPECT_EQ(HeaderOf(target.requests().back(), "Range"), "bytes=0-0");
    EXPECT_THAT(origin.requests().back(), HasSubstr("Authorization: secret"));
  }
}

TEST_F(HttpSourceTest, EndsRedirectLoops) {
  ScriptedServer server([](ScriptedServer::Connection& connection, const std::string&, int) {
    connection.Send(Status("302 Found", "Location: /again\r\n"));
  });
  options_.redirects_max = 3;
  const absl::Status stat = Stat(Ask(server.Url())).status();
  EXPECT_EQ(CodeOf(stat), 302);
  EXPECT_THAT(std::string(stat.message()), HasSubstr("more than 3 redirects"));
  EXPECT_THAT(server.requests(), SizeIs(4));
}

TEST_F(HttpSourceTest, DoesNotFollowToOtherSchemes) {
  for (const char* location : {"file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://127.0.0.1:1/x", "http://"}) {
    ScriptedServer server({Status("302 Found", StrCat("Location: ", location, "\r\n"))});
    EXPECT_EQ(CodeOf(Stat(Ask(server.Url())).status()), 302) << location;
    EXPECT_THAT(server.requests(), SizeIs(1));
  }
}

TEST_F(HttpSourceTest, RemembersWhereRangesWereSent) {
  const std::string content = Pattern(100);
  ScriptedServer target([&](ScriptedServer::Connection& connection, const std::string& request, int) {
    connection.Send(Partial(request, content));
  });
  ScriptedServer origin({Status("307 Temporary Redirect", "Location: " + target.Url("/signed") + "\r\n")});
  ASSERT_TRUE(Stat(Ask(origin.Url())).ok());
  for (uint64_t i = 0; i < 5; ++i) {
    ASSERT_TRUE(Read(Ask(origin.Url()), {i * 10, 10}).ok());
    EXPECT_TRUE(sink_.text == content.substr(i * 10, 10));
  }
  EXPECT_THAT(origin.requests(), SizeIs(1));
  ASSERT_TRUE(Read(Ask(origin.Url(), {{"X-User", "other"}}), {0, 10}).ok());
  EXPECT_THAT(origin.requests(), SizeIs(2)) << "another caller may be sent elsewhere";
}

TEST_F(HttpSourceTest, AsksTheWayAgainWhenARememberedTargetRefuses) {
  const std::string content = Pattern(100);
  ScriptedServer target([&](ScriptedServer::Connection& connection, const std::string& request, int) {
    connection.Send(request.starts_with("GET /signed1 ") && HeaderOf(request, "Range") != "bytes=0-0"
                        ? Status("403 Forbidden")
                        : Partial(request, content));
  });
  ScriptedServer origin([&](ScriptedServer::Connection& connection, const std::string&, int number) {
    connection.Send(Status("302 Found", StrCat("Location: ", target.Url("/signed"), number + 1, "\r\n")));
  });
  options_.retries = 0;
  ASSERT_TRUE(Stat(Ask(origin.Url())).ok());
  const absl::Status read = Read(Ask(origin.Url()), {10, 10});
  EXPECT_TRUE(read.ok()) << read;
  EXPECT_TRUE(sink_.text == content.substr(10, 10));
  EXPECT_THAT(origin.requests(), SizeIs(2));
}

TEST_F(HttpSourceTest, LeadsNoGuardedRequestIntoAForbiddenNetwork) {
  // The origin is 127.0.0.2; what it redirects to is not.
  const Nginx nginx({{"listen 127.0.0.2:@0@; location /away { return 302 http://localhost:@0@/file; }"}});
  nginx.Put("file", Pattern(1000));
  options_.forbidden = *http::Networks::Parse({"127.0.0.1", "::1"});
  const std::string base = StrCat("http://127.0.0.2:", nginx.port());
  for (const bool guarded : {false, true}) {
    OriginRequest near = Ask(base + "/file");
    near.guarded = guarded;
    EXPECT_TRUE(Read(near, {0, 1000}).ok());
    // The redirect is known from the round before.
    OriginRequest away = Ask(base + "/away");
    away.guarded = guarded;
    OriginRequest there = Ask(nginx.Url("/file"));
    there.guarded = guarded;
    for (const absl::Status& status : {Read(away, {0, 1000}), Read(away, {0, 1000}), ReadAll(away).status(),
                                       Stat(away).status(), Open(away, 10).status(), Stat(there).status()}) {
      EXPECT_EQ(status.code(), guarded ? absl::StatusCode::kPermissionDenied : absl::StatusCode::kOk) << status;
      if (guarded) EXPECT_THAT(status.message(), HasSubstr("which is in a forbidden network"));
    }
  }
}

TEST_F(HttpSourceTest, DoesNotRememberWhatTheOriginForbidsToCache) {
  const std::string content = Pattern(100);
  ScriptedServer target([&](ScriptedServer::Connection& connection, const std::string& request, int) {
    connection.Send(Partial(request, content));
  });
  ScriptedServer origin([&](ScriptedServer::Connection& connection, const std::string&, int) {
    connection.Send(Status("302 Found", "Cache-Control: No-Store\r\nLocation: " + target.Url("/x") + "\r\n"));
  });
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(Read(Ask(origin.Url()), {0, 10}).ok());
  EXPECT_THAT(origin.requests(), SizeIs(3));
}

TEST_F(HttpSourceTest, DrainsShortRefusalsAndEndsLongOnes) {
  ScriptedServer short_refusal([](ScriptedServer::Connection& connection, const std::string&, int) {
    connection.Send("HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\nsorry");
  });
  for (int i = 0; i < 3; ++i) EXPECT_EQ(CodeOf(Stat(Ask(short_refusal.Url())).status()), 404);
  EXPECT_EQ(short_refusal.connections(), 1);
  ScriptedServer endless([](ScriptedServer::Connection& connection, const std::string&, int) {
    connection.Send("HTTP/1.1 404 Not Found\r\n\r\n");
    const std::string text(1000, 'x');
    while (connection.Send(text)) {
    }
    connection.Close();
  });
  EXPECT_EQ(CodeOf(Stat(Ask(endless.Url())).status()), 404);
}

// ---- signers ----

// Signs by an Authorization that counts what it has signed.
class CountingSigner : public Signer {
 public:
  explicit CountingSigner(std::string identity) : identity_(std::move(identity)) {}
  asio::awaitable<absl::Status> Sign(http::CurlRequest& request) override {
    seen.push_back(request);
    request.header.emplace_back("Authorization", StrCat(identity_, " ", seen.size()));
    co_return outcome;
  }
  std::string Identity() const override { return identity_; }
  bool Renew(const http::CurlResponse& refusal, std::string_view body) override {
    renewals.push_back(StrCat(refusal.status, " ", body));
    return may_renew;
  }
  std::string Explain(std::string_view body) const override { return StrCat("<", body, ">"); }

  std::vector<http::CurlRequest> seen;
  std::vector<std::string> renewals;
  absl::Status outcome;
  bool may_renew = false;

 private:
  const std::string identity_;
};

OriginRequest Signed(OriginRequest request, const std::shared_ptr<Signer>& signer) {
  request.signer = signer;
  return request;
}

TEST_F(HttpSourceTest, SignsEveryAttemptOfItsOwn) {
  const std::string content = Pattern(100);
  ScriptedServer server([&](ScriptedServer::Connection& connection, const std::string& request, int number) {
    if (number == 0) return (void)connection.Send(Status("503 Service Unavailable"));
    connection.Send(Partial(request, content));
  });
  const auto signer = std::make_shared<CountingSigner>("key");
  ASSERT_TRUE(Read(Signed(Ask(server.Url("/a%20b?c=d")), signer), {10, 20}).ok());
  EXPECT_EQ(sink_.text, content.substr(10, 20));
  ASSERT_THAT(server.requests(), SizeIs(2));
  EXPECT_EQ(HeaderOf(server.requests()[0], "Authorization"), "key 1");
  EXPECT_EQ(HeaderOf(server.requests()[1], "Authorization"), "key 2");
  ASSERT_THAT(signer->seen, SizeIs(2));
  EXPECT_EQ(signer->seen[0].method, "GET");
  EXPECT_EQ(signer->seen[0].url, server.Url("/a%20b?c=d"));
  EXPECT_THAT(signer->seen[0].header, Contains(Pair("Range", "bytes=10-29")));
}

TEST_F(HttpSourceTest, NeverSignsForAnotherOrigin) {
  ScriptedServer other({Ok("content")});
  ScriptedServer origin([&](ScriptedServer::Connection& connection, const std::string& request, int) {
    const bool first = request.starts_with("GET /file ");
    connection.Send(Status("307 Temporary Redirect", StrCat("Location: ", first ? "/near" : other.Url(), "\r\n")));
  });
  const auto signer = std::make_shared<CountingSigner>("key");
  ASSERT_TRUE(Stat(Signed(Ask(origin.Url()), signer)).ok());
  ASSERT_THAT(origin.requests(), SizeIs(2));
  EXPECT_EQ(HeaderOf(origin.requests()[1], "Authorization"), "key 2");
  ASSERT_THAT(other.requests(), SizeIs(1));
  EXPECT_EQ(HeaderOf(other.requests()[0], "Authorization"), "");
  EXPECT_THAT(signer->seen, SizeIs(2));
}

TEST_F(HttpSourceTest, RemembersRedirectsForEqualSignersOnly) {
  const std::string content = Pattern(100);
  ScriptedServer target([&](ScriptedServer::Connection& connection, const std::string& request, int) {
    connection.Send(Partial(request, content));
  });
  ScriptedServer origin({Status("307 Temporary Redirect", StrCat("Location: ", target.Url(), "\r\n"))});
  const auto alice = std::make_shared<CountingSigner>("alice");
  ASSERT_TRUE(Read(Signed(Ask(origin.Url()), alice), {0, 10}).ok());
  ASSERT_TRUE(Read(Signed(Ask(origin.Url()), std::make_shared<CountingSigner>("alice")), {10, 10}).ok());
  EXPECT_THAT(origin.requests(), SizeIs(1));
  ASSERT_TRUE(Read(Signed(Ask(origin.Url()), std::make_shared<CountingSigner>("bob")), {0, 10}).ok());
  EXPECT_THAT(origin.requests(), SizeIs(2));
  ASSERT_TRUE(Read(Ask(origin.Url()), {0, 10}).ok());
  EXPECT_THAT(origin.requests(), SizeIs(3));
}

TEST_F(HttpSourceTest, SignsAnewOnceWhenTheSignerKnowsBetter) {
  const std::string refusal = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 7\r\n\r\nexpired";
  for (const bool may_renew : {true, false}) {
    ScriptedServer server([&](ScriptedServer::Connection& connection, const std::string& request, int) {
      connection.Send(HeaderOf(request, "Authorization") == "key 2" ? Ok("content") : refusal);
    });
    const auto signer = std::make_shared<CountingSigner>("key");
    signer->may_renew = may_renew;
    const absl::StatusOr<OriginStat> stat = Stat(Signed(Ask(server.Url()), signer));
    EXPECT_EQ(stat.ok(), may_renew);
    EXPECT_THAT(signer->renewals, ElementsAre("401 expired"));
    if (!may_renew) {
      EXPECT_EQ(CodeOf(stat.status()), 401);
      EXPECT_THAT(std::string(stat.status().message()), HasSubstr("401 Unauthorized: <expired>"));
    }
  }
  ScriptedServer server({refusal});
  const auto signer = std::make_shared<CountingSigner>("key");
  signer->may_renew = true;
  EXPECT_EQ(CodeOf(Stat(Signed(Ask(server.Url()), signer)).status()), 401);
  EXPECT_THAT(server.requests(), SizeIs(2));
}

TEST_F(HttpSourceTest, AsksNobodyWhenItCannotSign) {
  ScriptedServer server({Ok("content")});
  const auto signer = std::make_shared<CountingSigner>("key");
  signer->outcome = absl::InvalidArgumentError("the key is no key");
  const absl::Status stat = Stat(Signed(Ask(server.Url()), signer)).status();
  EXPECT_THAT(std::string(stat.message()), HasSubstr("the key is no key"));
  EXPECT_THAT(server.requests(), IsEmpty());
}

// ---- the length of chunked answers ----

TEST_F(HttpSourceTest, AsksHeadForTheLengthOfAChunkedAnswer) {
  const std::string content = Pattern(5000);
  ScriptedServer server([&](ScriptedServer::Connection& connection, const std::string& request, int) {
    if (request.starts_with("HEAD ")) {
      EXPECT_EQ(HeaderOf(request, "X-Mine"), "yes");
      connection.Send("HTTP/1.1 200 OK\r\nContent-Length: 5000\r\nETag: \"a\"\r\n\r\n");
      return;
    }
    connection.Send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nETag: \"a\"\r\n\r\n1388\r\n");
    connection.Send(content);
    connection.Send("\r\n0\r\n\r\n");
  });
  const OriginRequest request = Ask(server.Url(), {{"X-Mine", "yes"}});
  const absl::StatusOr<OriginStat> stat = Stat(request);
  ASSERT_TRUE(stat.ok()) << stat.status();
  EXPECT_EQ(stat->content_length, 5000u);
  EXPECT_FALSE(stat->accepts_ranges);
  EXPECT_THAT(stat->header, Contains(Pair("content-length", "5000")));
  ASSERT_TRUE(ReadAll(request, VersionOf(*stat)).ok());
  EXPECT_TRUE(sink_.text == content);
}

TEST_F(HttpSourceTest, LeavesTheLengthOpenWhereHeadIsNoHelp) {
  for (const std::string& head : {Status("403 Forbidden"), Status("200 OK"),
                                  std::string("HTTP/1.1 200 OK\r\nContent-Length: 7\r\nETag: \"b\"\r\n\r\n"),
                                  std::string("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")}) {
    ScriptedServer server([&](ScriptedServer::Connection& connection, const std::string& request, int) {
      if (request.starts_with("HEAD ")) {
        connection.Send(head);
      } else {
        connection.Send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nETag: \"a\"\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
      }
      connection.Close();
    });
    const absl::StatusOr<OriginStat> stat = Stat(Ask(server.Url()));
    ASSERT_TRUE(stat.ok()) << stat.status() << head;
    EXPECT_EQ(stat->content_length, std::nullopt) << head;
    EXPECT_THAT(server.requests(), SizeIs(2)) << "HEAD is not repeated: " << head;
  }
}

// ---- credentials in URLs, proxies, names ----

TEST_F(HttpSourceTest, SendsTheUserOfTheUrlToItsOriginOnly) {
  Nginx nginx({{"location = /away { return 307 http://127.0.0.1:@1@/file; } "
                "location = /near { return 307 file?q=1; } "
                "location / { auth_basic x; auth_basic_user_file passwords; }"},
               {"if ($http_authorization) { return 400; }"}});
  nginx.Put("file", "0123456789");
  nginx.Put("../passwords", "user:{PLAIN}p@ss\n");
  const std::string base = StrCat("http://user:p%40ss@127.0.0.1:", nginx.port());
  ASSERT_EQ(CodeOf(Stat(Ask(nginx.Url("/file"))).status()), 401);
  for (const char* path : {"/file", "/near", "/away"}) {
    const absl::Status read = Read(Ask(base + path), {2, 3});
    EXPECT_TRUE(read.ok()) << path << ": " << read;
    EXPECT_EQ(sink_.text, "234") << path;
  }
  const absl::Status wrong = Stat(Ask(StrCat("http://user:secret@127.0.0.1:", nginx.port(), "/file"))).status();
  EXPECT_EQ(CodeOf(wrong), 401);
  EXPECT_THAT(wrong.ToString(), Not(HasSubstr("secret")));
}

TEST_F(HttpSourceTest, FollowsRelativeRedirectsWithTheirOwnQuery) {
  ScriptedServer server([&](ScriptedServer::Connection& connection, const std::string& request, int) {
    if (request.starts_with("GET /a/b?x=1 ")) {
      connection.Send(Status("307 Temporary Redirect", "Location: ../c/d?sig=%2B%2F&y\r\n"));
    } else if (request.starts_with("GET /c/d?sig=%2B%2F&y ")) {
      connection.Send(Partial(request, "0123456789"));
    } else {
      connection.Send(Status("404 Not Found"));
    }
  });
  for (int i = 0; i < 2; ++i) {
    const absl::Status read = Read(Ask(server.Url("/a/b?x=1")), {1, 2});
    ASSERT_TRUE(read.ok()) << read;
    EXPECT_EQ(sink_.text, "12");
  }
  EXPECT_THAT(server.requests(), SizeIs(3)) << "the way is remembered";
}

TEST_F(HttpSourceTest, RemembersNoRedirectWhereThatIsSwitchedOff) {
  options_.redirect_cache_ttl = std::chrono::seconds(0);
  ScriptedServer server([&](ScriptedServer::Connection& connection, const std::string& request, int) {
    if (request.starts_with("GET /file ")) {
      connection.Send(Status("307 Temporary Redirect", "Location: /there\r\n"));
    } else {
      connection.Send(Partial(request, "0123456789"));
    }
  });
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(Read(Ask(server.Url()), {1, 2}).ok());
  EXPECT_THAT(server.requests(), SizeIs(4));
}

TEST_F(HttpSourceTest, NeverAsksForCompression) {
  Nginx nginx({{"gzip on; gzip_min_length 1; gzip_types *; gzip_proxied any;"}});
  const std::string content(100'000, 'x');
  nginx.Put("file.txt", content);
  const absl::StatusOr<OriginStat> stat = Stat(Ask(nginx.Url("/file.txt")));
  ASSERT_TRUE(stat.ok());
  EXPECT_EQ(stat->content_length, content.size());
  EXPECT_THAT(stat->header, Not(Contains(Key("content-encoding"))));
  ASSERT_TRUE(ReadAll(Ask(nginx.Url("/file.txt")), VersionOf(*stat)).ok());
  EXPECT_TRUE(sink_.text == content);
}

TEST_F(HttpSourceTest, NamesTheHostInTheHandshake) {
  const Certificates certificates("DNS:localhost");
  Nginx nginx({{certificates.NginxLines() + "add_header X-Sni $ssl_server_name;", true}});
  nginx.Put("file", "content");
  options_.ca_file = certificates.ca_file();
  const absl::StatusOr<OriginStat> stat = Stat(Ask(StrCat("https://localhost:", nginx.port(), "/file")));
  ASSERT_TRUE(stat.ok()) << stat.status();
  EXPECT_THAT(stat->header, Contains(Pair("x-sni", "localhost")));
  EXPECT_FALSE(Stat(Ask(nginx.Url("/file"))).ok()) << "the certificate is for another name";
}

TEST_F(HttpSourceTest, GoesByTheProxyOfTheEnvironment) {
  ScriptedServer proxy([&](ScriptedServer::Connection& connection, const std::string& request, int) {
    EXPECT_THAT(request, StartsWith("GET http://origin.invalid/file HTTP/1.1\r\n"));
    connection.Send(Partial(request, "0123456789"));
  });
  ::unsetenv("no_proxy");
  ::setenv("HTTP_PROXY", StrCat("http://127.0.0.1:", proxy.port()).c_str(), 1);
  const absl::Status read = Read(Ask("http://origin.invalid/file"), {1, 2});
  ::unsetenv("HTTP_PROXY");
  ::setenv("no_proxy", "*", 1);
  EXPECT_TRUE(read.ok()) << read;
  EXPECT_EQ(sink_.text, "12");
}

TEST_F(HttpSourceTest, ReadsFromAWebDavServer) {
  Nginx nginx({{"dav_methods PUT DELETE MKCOL; create_full_put_path on; dav_access user:rw; autoindex on;"}});
  nginx.Put("dir/file", "0123456789");
  ASSERT_TRUE(Read(Ask(nginx.Url("/dir/file")), {9, 1}).ok());
  EXPECT_EQ(sink_.text, "9");
  EXPECT_TRUE(absl::IsUnimplemented(Run(source().List(Ask(nginx.Url("/dir/")), 10)).status()));
}

}  // namespace
}  // namespace dragonfly::source
