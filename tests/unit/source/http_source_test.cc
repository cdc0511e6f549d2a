// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/certificates.h"
#include "tests/support/nginx.h"
#include "tests/unit/source/http_source_fixture.h"

namespace dragonfly::source {
namespace {

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
