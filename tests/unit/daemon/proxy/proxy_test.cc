// SPDX-License-Identifier: Apache-2.0
// The proxy of a whole daemon, by exact bytes on its port, in front of real and of scripted origins.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include "base/status.h"
#include "base/text.h"
#include "daemon/daemon.h"
#include "http/networks.h"
#include "tests/support/certificates.h"
#include "tests/support/nginx.h"
#include "tests/support/scripted_server.h"
#include "tests/unit/daemon/daemon_fixture.h"
#include "tests/unit/daemon/proxy/http_client.h"
#include "tests/unit/daemon/scripted_origin.h"

namespace dragonfly::daemon::proxy {
namespace {

using daemon::test::RandomBytes;
using ::dragonfly::testing::HeaderOf;
using ::dragonfly::testing::Nginx;
using ::dragonfly::testing::ScriptedServer;
using test::Answer;
using test::HttpClient;
using test::RequestText;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

class ProxyTest : public daemon::test::DaemonFixture {
 protected:
  // A daemon with a rule for everything that has "/p2p/" or ".bin" in its URL.
  DaemonConfig ProxyConfig() {
    DaemonConfig config = Config("peer");
    DaemonConfig::Proxy::Rule rule;
    rule.regex = "/p2p/|\\.bin|blobs/sha256";
    config.proxy.rules = {rule};
    return config;
  }
};

// --- Pass-through ---

TEST_F(ProxyTest, PassesOnWhatNoRuleWants) {
  const Nginx origin({{"location / { add_header X-Origin yes; }"}});
  origin.Put("file.txt", "hello");
  const auto daemon = Start(ProxyConfig());
  ASSERT_NE(daemon, nullptr);
  HttpClient client(daemon->proxy_port());
  for (int i = 0; i < 3; ++i) {
    const Answer answer = client.Get(origin.Url("/file.txt"));
    EXPECT_EQ(answer.status, 200);
    EXPECT_EQ(answer.body, "hello");
    EXPECT_EQ(answer["x-origin"], "yes");
    EXPECT_EQ(answer["content-length"], "5");
    EXPECT_THAT(answer["via"], HasSubstr("dfdaemon-"));
  }
  EXPECT_EQ(client.Get(origin.Url("/none"), {}, "HEAD").status, 404);
  EXPECT_EQ(client.Get(origin.Url("/none")).status, 404);
}

TEST_F(ProxyTest, AsksTheOriginByPathAndHostAndHidesTheConnectionsFields) {
  ScriptedServer origin([](ScriptedServer::Connection& connection, const std::string&, int) {
    connection.Send(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: X-Secret\r\nX-Secret: 1\r\nKeep-Alive: x\r\n\r\nok");
  });
  const auto daemon = Start(ProxyConfig());
  ASSERT_NE(daemon, nullptr);
  HttpClient client(daemon->proxy_port());
  const Answer answer = client.Get(
      origin.Url("/a?b=c"), {"Connection: keep-alive, X-Hop", "X-Hop: 1", "TE: trailers",
                             "Proxy-Connection: keep-alive", "Upgrade: h2c", "X-Dragonfly-Tag: t", "Accept: */*"});
  EXPECT_EQ(answer.body, "ok");
  EXPECT_THAT(answer["x-secret"], IsEmpty());
  EXPECT_THAT(answer["keep-alive"], IsEmpty());
  client.Get(origin.Url("/second"));
  ASSERT_EQ(origin.requests().size(), 2u);
  EXPECT_EQ(origin.connections(), 1) << "the connection is kept";
  const std::string request = origin.requests()[0];
  EXPECT_THAT(request, StartsWith("GET /a?b=c HTTP/1.1\r\n"));
  EXPECT_EQ(HeaderOf(request, "Host"), StrCat("127.0.0.1:", origin.port()));
  EXPECT_EQ(HeaderOf(request, "Accept"), "*/*");
  for (const char* name : {"X-Hop", "TE", "Proxy-Connection", "Upgrade", "X-Dragonfly-Tag", "Connection"}) {
    EXPECT_THAT(HeaderOf(request, name), IsEmpty()) << name;
  }
}

TEST_F(ProxyTest, PassesBodiesOfBothWaysOn) {
  const std::string big = RandomBytes(3 << 20);
  std::string received;
  ScriptedServer origin([&](ScriptedServer::Connection& connection, const std::string& request, int number) {
    if (number == 0) {
      EXPECT_EQ(HeaderOf(request, "Content-Length"), "5");
    } else {
      EXPECT_EQ(HeaderOf(request, "Transfer-Encoding"), "chunked");
    }
    connection.Send(StrCat("HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n", "300000\r\n",
                           big, "\r\n0\r\nTrailer: 1\r\n\r\n"));
    connection.Close();
  });
  const auto daemon = Start(ProxyConfig());
  ASSERT_NE(daemon, nullptr);
  HttpClient client(daemon->proxy_port());
  client.Send(RequestText("POST", origin.Url("/x"), {"Content-Length: 5"}) + "world");
  const Answer first = client.Read();
  EXPECT_EQ(first.status, 201);
  EXPECT_TRUE(first.whole);
  EXPECT_TRUE(first.body == "hello" + big);
}

TEST_F(ProxyTest, SaysWhyAnOriginCannotBeReached) {
  const auto daemon = Start(ProxyConfig());
  ASSERT_NE(daemon, nullptr);
  HttpClient client(daemon->proxy_port());
  const Answer refused = client.Get("http://127.0.0.1:1/x");
  EXPECT_EQ(refused.status, 502);
  EXPECT_EQ(refused["x-dragonfly-error-type"], "backend");
  EXPECT_THAT(refused.body, HasSubstr("127.0.0.1"));
  EXPECT_THAT(refused.body, HasSubstr("refused"));
  const Answer unknown = client.Get("http://no-such-host.invalid/x");
  EXPECT_EQ(unknown.status, 502);
  EXPECT_THAT(unknown.body, HasSubstr("no-such-host.invalid"));
}

TEST_F(ProxyTest, AnAnswerThatBreaksOffIsSeenToBreakOff) {
  for (const char* const head : {"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc",
                                 "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"}) {
    ScriptedServer origin({head});
    const auto daemon = Start(ProxyConfig());
    ASSERT_NE(daemon, nullptr);
    HttpClient client(daemon->proxy_port());
    const Answer answer = client.Get(origin.Url("/x"));
    EXPECT_EQ(answer.status, 200);
    EXPECT_FALSE(answer.whole);
    EXPECT_TRUE(answer.closed);
  }
}

// --- Requests that two servers would read differently ---

TEST_F(ProxyTest, RefusesAmbiguousRequestsAndCloses) {
  ScriptedServer origin({"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"});
  const auto daemon = Start(ProxyConfig());
  ASSERT_NE(daemon, nullptr);
  const std::string url = origin.Url("/x");
  const std::string line = "POST " + url + " HTTP/1.1\r\nHost: a\r\n";
  const std::pair<int, std::string> cases[] = {
      {400, line + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello"},
      {400, line + "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello"},
      {400, line + "Content-Length: 5, 5\r\n\r\nhello"},
      {400, line + "Content-Length: +5\r\n\r\nhello"},
      {400, line + "Content-Length: 0x5\r\n\r\nhello"},
      {400, line + "Content-Length: 99999999999999999999999\r\n\r\n"},
      {400, line + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
      {501, line + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"},
      {400, line + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n"},
      {400, line + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"},
      {400, line + "X-Folded: a\r\n b\r\n\r\n"},
      {400, line + " X-First: folded\r\n\r\n"},
      {400, "GET " + url + " HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"},
      {400, "GET " + url + " HTTP/1.1\r\n\r\n"},
      {400, "GET " + url + " HTTP/1.1\nHost: a\n\n"},
      {400, "GET " + url + " HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n"},
      {400, "GET " + url + " HTTP/1.1\r\nHost: a\r\nX: a" + std::string(1, '\0') + "b\r\n\r\n"},
      {400, "GET " + url + " HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n"},
      {400, "GET " + url + " HTTP/1.1\r\nHost: a\r\n: no name\r\n\r\n"},
      {400, "GET " + url + " HTTP/1.1\r\nHost: a\r\nConnection: Content-Length\r\n\r\n"},
      {400, "POST " + url + " HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
      {505, "GET " + url + " HTTP/2.0\r\nHost: a\r\n\r\n"},
      {400, "GET " + url + "\r\n\r\n"},
      {400, "GET ftp://a/x HTTP/1.1\r\nHost: a\r\n\r\n"},
      {400, "GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n"},
      {400, "GET http:a/x HTTP/1.1\r\nHost: a\r\n\r\n"},
      {400, "GET http://user:secret@a/x HTTP/1.1\r\nHost: a\r\n\r\n"},
      {400, "GET http://a\\@b/x HTTP/1.1\r\nHost: a\r\n\r\n"},
      {400, "GET http://a/x#y HTTP/1.1\r\nHost: a\r\n\r\n"},
      {400, "GET * HTTP/1.1\r\nHost: a\r\n\r\n"},
      {400, "CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n"},
      {400, "CONNECT a:0 HTTP/1.1\r\nHost: a\r\n\r\n"},
      {400, "CONNECT a:443/x HTTP/1.1\r\nHost: a\r\n\r\n"},
      {431, "GET " + url + " HTTP/1.1\r\nHost: a\r\nX: " + std::string(70 << 10, 'x') + "\r\n\r\n"},
      {400, "\x16\x03\x01\x02" + std::string(8, '\n')},
  };
  for (const auto& [status, text] : cases) {
    HttpClient client(daemon->proxy_port());
    client.Send(text);
    const Answer answer = client.Read();
    EXPECT_EQ(answer.status, status) << Quoted(text, 200) << answer.body;
    EXPECT_THAT(answer.body, Not(HasSubstr("secret")));
    // What is wrong only in its target leaves the connection in step.
    if (answer["connection"] == "close") EXPECT_TRUE(client.AtEnd()) << Quoted(text, 200);
    if (text.starts_with("POST")) EXPECT_EQ(answer["connection"], "close") << Quoted(text, 200);
  }
  std::string many = "GET " + url + " HTTP/1.1\r\nHost: a\r\n";
  for (int i = 0; i < 300; ++i) many += StrCat("X-", i, ": 1\r\n");
  HttpClient client(daemon->proxy_port());
  client.Send(many + "\r\n");
  EXPECT_EQ(client.Read().status, 431);
  EXPECT_THAT(origin.requests(), IsEmpty());
}

TEST_F(ProxyTest, RefusesABodyWithBadChunks) {
  for (const char* const body :
       {"zz\r\n", "5\r\nhelloworld\r\n", "-1\r\n", "fffffffffffffffff\r\n", "5\nhello\n0\n\n"}) {
    ScriptedServer origin(
        [](ScriptedServer::Connection& connection, const std::string&, int) { connection.AwaitClientGone(); });
    const auto daemon = Start(ProxyConfig());
    ASSERT_NE(daemon, nullptr);
    HttpClient client(daemon->proxy_port());
    client.Send(RequestText("PUT", origin.Url("/x"), {"Transfer-Encoding: chunked"}) + body);
    EXPECT_EQ(client.Read().status, 400) << body;
    EXPECT_TRUE(client.AtEnd());
  }
}

TEST_F(ProxyTest, AnswersPipelinedRequestsInOrder) {
  const Nginx origin({{""}});
  for (int i = 0; i < 20; ++i) origin.Put(StrCat("f", i), StrCat("content ", i));
  for (int i = 0; i < 20; i += 2) origin.Put(StrCat("p2p/f", i), StrCat("p2p ", i));
  const auto daemon = Start(ProxyConfig());
  ASSERT_NE(daemon, nullptr);
  HttpClient client(daemon->proxy_port());
  std::string all;
  for (int i = 0; i < 20; ++i) all += RequestText("GET", origin.Url(StrCat(i % 2 == 0 ? "/p2p/f" : "/f", i)));
  client.Send(all);
  for (int i = 0; i < 20; ++i) {
    const Answer answer = client.Read();
    EXPECT_EQ(answer.status, 200);
    EXPECT_EQ(answer.body, StrCat(i % 2 == 0 ? "p2p " : "content ", i));
  }
}

// --- Downloads ---

TEST_F(ProxyTest, ServesWhatARuleWantsFromTheStore) {
  const std::string content = RandomBytes((9 << 20) + 7);
  const ScriptedOrigin origin(content);
  const auto daemon = Start(ProxyConfig());
  ASSERT_NE(daemon, nullptr);
  HttpClient client(daemon->proxy_port());
  const Answer first = client.Get(origin.Url());
  EXPECT_EQ(first.status, 200);
  EXPECT_TRUE(first.body == content);
  EXPECT_EQ(first["content-length"], std::to_string(content.size()));
  EXPECT_EQ(first["x-dragonfly-task-id"].size(), 64u);
  EXPECT_EQ(first["x-dragonfly-server-ip"], "127.0.0.1");
  EXPECT_THAT(first["x-dragonfly-task-download-finished"], IsEmpty());
  EXPECT_EQ(first["etag"], "\"v1\"");
  const Answer second = client.Get(origin.Url());
  EXPECT_EQ(second.status, 200);
  EXPECT_TRUE(second.body == content);
  EXPECT_EQ(second["x-dragonfly-task-download-finished"], "true");
  EXPECT_EQ(origin.reads_of_any_byte(), 1) << "each byte is read once from the origin";
}

TEST_F(ProxyTest, AnswersRanges) {
  const std::string content = RandomBytes((9 << 20) + 7);
  const Nginx origin({{""}});
  origin.Put("file.bin", content);
  const auto daemon = Start(ProxyConfig());
  ASSERT_NE(daemon, nullptr);
  const std::string url = origin.Url("/file.bin");
  const size_t size = content.size();
  struct Case {
    std::string range;
    size_t offset, length;
  };
  HttpClient client(daemon->proxy_port());
  for (const Case& c : {Case{"bytes=0-0", 0, 1}, Case{"bytes=5-9", 5, 5}, Case{"bytes=4194300-4194310", 4194300, 11},
                        Case{"bytes=-7", size - 7, 7}, Case{"BYTES=9437180-", 9437180, size - 9437180},
                        Case{"bytes=9437180-99999999", 9437180, size - 9437180}}) {
    const Answer answer = client.Get(url, {"Range: " + c.range});
    EXPECT_EQ(answer.status, 206) << c.range;
    EXPECT_EQ(answer["content-range"], StrCat("bytes ", c.offset, "-", c.offset + c.length - 1, "/", size));
    EXPECT_EQ(answer["content-length"], std::to_string(c.length));
    EXPECT_TRUE(answer.body == content.substr(c.offset, c.length)) << c.range;
  }
  for (const char* const bad : {"bytes=20000000-", "bytes=-0"}) {
    const Answer answer = client.Get(url, {StrCat("Range: ", bad)});
    EXPECT_EQ(answer.status, 416) << bad;
    EXPECT_EQ(answer["content-range"], StrCat("bytes */", size));
    EXPECT_THAT(answer.body, Not(IsEmpty()));
  }
  for (const char* const ignored : {"bytes=0-1,5-6", "bytes=9-5", "lines=1-2", "bytes=x-"}) {
    const Answer answer = client.Get(url, {StrCat("Range: ", ignored)});
    EXPECT_EQ(answer.status, 200) << ignored;
    EXPECT_TRUE(answer.body == content);
  }
  const std::string etag = client.Get(url)["etag"];
  EXPECT_EQ(client.Get(url, {"Range: bytes=1-2", "If-Range: " + etag}).status, 206);
  const Answer changed = client.Get(url, {"Range: bytes=1-2", "If-Range: \"other\""});
  EXPECT_EQ(changed.status, 200);
  EXPECT_EQ(changed.body.size(), size);
}

TEST_F(ProxyTest, AnswersHeadAndConditions) {
  const Nginx origin({{""}});
  origin.Put("file.bin", "twelve bytes");
  const auto daemon = Start(ProxyConfig());
  ASSERT_NE(daemon, nullptr);
  const std::string url = origin.Url("/file.bin");
  HttpClient client(daemon->proxy_port());
  for (int i = 0; i < 2; ++i) {
    const Answer head = client.Get(url, {}, "HEAD");
    EXPECT_EQ(head.status, 200);
    EXPECT_EQ(head["content-length"], "12");
    const Answer get = client.Get(url);
    EXPECT_EQ(get.body, "twelve bytes");
    const Answer same = client.Get(url, {"If-None-Match: " + get["etag"]});
    EXPECT_EQ(same.status, 304);
    EXPECT_EQ(same["etag"], get["etag"]);
    EXPECT_EQ(client.Get(url, {"If-Modified-Since: " + get["last-modified"]}).status, 304);
    EXPECT_EQ(client.Get(url, {"If-None-Match: \"other\""}).status, 200);
    EXPECT_EQ(client.Get(url, {"If-Match: \"other\""}).status, 412);
  }
}

// A hub of models redirects to where its large files are, and tells about them beside the redirect.
TEST_F(ProxyTest, AnswersTheHeadOfARedirectedFileAsItsGet) {
  std::atomic<bool> takes_heads = true;
  std::atomic<size_t> tokens_leaked = 0;
  ScriptedServer files([&](ScriptedServer::Connection& connection, const std::string& request, int) {
    if (!HeaderOf(request, "Authorization").empty()) ++tokens_leaked;
    if (request.starts_with("HEAD")) {
      connection.Send(takes_heads ? "HTTP/1.1 200 OK\r\nContent-Length: 7\r\nETag: \"of-file\"\r\n\r\n"
                                  : "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
    } else if (HeaderOf(request, "Range") == "bytes=0-0") {
      connection.Send("HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-0/7\r\nContent-Length: 1\r\n\r\nc");
    } else {
      connection.Send("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\ncontent");
    }
  });
  ScriptedServer hub([&](ScriptedServer::Connection& connection, const std::string&, int) {
    connection.Send(StrCat("HTTP/1.1 302 Found\r\nX-Repo-Commit: abc\r\nETag: \"of-redirect\"\r\nLocation: ",
                           files.Url("/signed"), "\r\nContent-Length: 0\r\n\r\n"));
  });
  const auto daemon = Start(ProxyConfig());
  ASSERT_NE(daemon, nullptr);
  HttpClient client(daemon->proxy_port());
  const std::string url = hub.Url("/p2p/model");
  for (const bool heads : {true, false}) {
    takes_heads = heads;
    const Answer head = client.Get(url, {"Authorization: Bearer secret"}, "HEAD");
    EXPECT_EQ(head.status, 200);
    EXPECT_EQ(head["content-length"], "7");
    EXPECT_EQ(head["x-repo-commit"], "abc");
    EXPECT_EQ(head["etag"], heads ? "\"of-file\"" : "");
    EXPECT_EQ(head["location"], "");
    EXPECT_EQ(client.Get(url, {"Authorization: Bearer secret"}).body, "content");
  }
  EXPECT_EQ(tokens_leaked, 0u);
  // Without a rule the client sees what the hub says.
  EXPECT_EQ(client.Get(hub.Url("/model"), {}, "HEAD").status, 302);
}

TEST_F(ProxyTest, AHeadFollowsRelativeLocations) {
  std::string location;
  ScriptedServer files([&](ScriptedServer::Connection& connection, const std::string& request, int) {
    const std::string target = request.substr(0, request.find(" HTTP/"));
    if (target == "HEAD /p2p/a/b?v=1") {
      connection.Send(StrCat("HTTP/1.1 302 Found\r\nLocation: ", location, "\r\nContent-Length: 0\r\n\r\n"));
    } else {
      connection.Send(StrCat("HTTP/1.1 200 OK\r\nX-Target: ", target, "\r\nContent-Length: 7\r\n\r\n"));
    }
  });
  const auto daemon = Start(ProxyConfig());
  ASSERT_NE(daemon, nullptr);
  HttpClient client(daemon->proxy_port());
  const struct {
    std::string location, leads_to;
  } cases[] = {{"/c", "/c"},
               {"c", "/p2p/a/c"},
               {"../c?at=http://d/e", "/p2p/c?at=http://d/e"},
               {"?v=2", "/p2p/a/b?v=2"},
               {StrCat("//127.0.0.1:", files.port(), "/c"), "/c"},
               {files.Url("/c:d"), "/c:d"}};
  for (const auto& c : cases) {
    location = c.location;
    const Answer head = client.Get(files.Url("/p2p/a/b?v=1"), {}, "HEAD");
    EXPECT_EQ(head.status, 200) << location;
    EXPECT_EQ(head["x-target"], StrCat("HEAD ", c.leads_to)) << location;
  }
}

TEST_F(ProxyTest, AHeadTakesNoLengthOfOneByteForTheFiles) {
  ScriptedServer files([&](ScriptedServer::Connection& connection, const std::string& request, int) {
    connection.Send(request.starts_with("HEAD") ? "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"
                                                : "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-0/*\r\n"
                                                  "Content-Length: 1\r\n\r\nc");
  });
  ScriptedServer hub([&](ScriptedServer::Connection& connection, const std::string&, int) {
    connection.Send(StrCat("HTTP/1.1 302 Found\r\nLocation: ", files.Url("/live"), "\r\nContent-Length: 0\r\n\r\n"));
  });
  const auto daemon = Start(ProxyConfig());
  ASSERT_NE(daemon, nullptr);
  HttpClient client(daemon->proxy_port());
  const Answer head = client.Get(hub.Url("/p2p/model"), {}, "HEAD");
  EXPECT_EQ(head.status, 200);
  EXPECT_EQ(head["content-length"], "");
}

TEST_F(ProxyTest, AnswersEmptyFilesAndOriginsThatTellNoLength) {
  const Nginx origin({{""}});
  origin.Put("empty.bin", "");
  ScriptedOrigin::Behaviour behaviour;
  behaviour.takes_ranges = behaviour.stat_takes_ranges = behaviour.tells_length = false;
  const std::string content = RandomBytes((5 << 20) + 3);
  const ScriptedOrigin unknown(content, behaviour);
  const auto daemon = Start(ProxyConfig());
  ASSERT_NE(daemon, nullptr);
  HttpClient client(daemon->proxy_port());
  const Answer empty = client.Get(origin.Url("/empty.bin"));
  EXPECT_EQ(empty.status, 200);
  EXPECT_EQ(empty["content-length"], "0");
  EXPECT_TRUE(empty.whole);
  const Answer chunked = client.Get(unknown.Url());
  EXPECT_EQ(chunked.status, 200);
  EXPECT_TRUE(chunked.whole);
  EXPECT_TRUE(chunked.body == content);
}

TEST_F(ProxyTest, GivesTheOriginsRefusalOn) {
  const Nginx origin(
      {{"location /p2p/401 { add_header WWW-Authenticate 'Bearer realm=x' always; return 401; }\n"
        "location /p2p/500 { return 500; } location /p2p/502 { return 502; }"}});
  const auto daemon = Start(ProxyConfig());
  ASSERT_NE(daemon, nullptr);
  HttpClient client(daemon->proxy_port());
  for (const int status : {401, 404, 500, 502}) {
    const Answer answer = client.Get(origin.Url(StrCat("/p2p/", status)));
    EXPECT_EQ(answer.status, status);
    EXPECT_EQ(answer["x-dragonfly-error-type"], "backend");
    EXPECT_THAT(answer.body, HasSubstr(std::to_string(status)));
    if (status == 401) EXPECT_EQ(answer["www-authenticate"], "Bearer realm=x");
  }
  const Answer gone = client.Get("http://127.0.0.1:1/x.bin");
  EXPECT_EQ(gone.status, 502);
  EXPECT_THAT(gone.body, HasSubstr("127.0.0.1"));
}

TEST_F(ProxyTest, ServesWhatIsHereWhileTheOriginIsAway) {
  auto origin = std::make_unique<Nginx>(std::vector<Nginx::ServerBlock>{{""}});
  origin->Put("file.bin", "kept");
  const std::string url = origin->Url("/file.bin");
  const auto daemon = Start(ProxyConfig());
  ASSERT_NE(daemon, nullptr);
  HttpClient client(daemon->proxy_port());
  EXPECT_EQ(client.Get(url).body, "kept");
  origin.reset();
  const Answer answer = client.Get(url);
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.body, "kept");
  const Answer head = client.Get(url, {}, "HEAD");
  EXPECT_EQ(head.status, 200);
  EXPECT_EQ(head["content-length"], "4");
}

TEST_F(ProxyTest, SendsTheFirstPieceBeforeTheLastIsThere) {
  const std::string content = RandomBytes((12 << 20) + 7);
  ScriptedOrigin origin(content);
  origin.HoldFrom(9 << 20);
  const auto daemon = Start(ProxyConfig());
  ASSERT_NE(daemon, nullptr);
  HttpClient client(daemon->proxy_port());
  client.Send(RequestText("GET", origin.Url()));
  EXPECT_EQ(client.ReadHead().status, 200);
  std::string got;
  while (got.size() < (4 << 20)) {
    const std::string some = client.ReadSome();
    ASSERT_FALSE(some.empty());
    got += some;
  }
  origin.Release();
  while (got.size() < content.size()) {
    const std::string some = client.ReadSome();
    ASSERT_FALSE(some.empty());
    got += some;
  }
  EXPECT_TRUE(got == content);
}

TEST_F(ProxyTest, AClientThatDoesNotReadHoldsUpNobody) {
  const std::string content = RandomBytes(40 << 20);
  const ScriptedOrigin origin(content);
  const auto daemon = Start(ProxyConfig());
  ASSERT_NE(daemon, nullptr);
  std::vector<HttpClient> lazy;
  for (int i = 0; i < 8; ++i) {
    lazy.emplace_back(daemon->proxy_port());
    lazy.back().Send(RequestText("GET", origin.Url()));
    EXPECT_EQ(lazy.back().ReadHead().status, 200);
  }
  HttpClient client(daemon->proxy_port());
  EXPECT_TRUE(client.Get(origin.Url()).body == content);
  EXPECT_EQ(origin.reads_of_any_byte(), 1);
}

TEST_F(ProxyTest, AClientThatLeavesCancelsWhatOnlyItWanted) {
  ScriptedOrigin origin(RandomBytes(12 << 20));
  origin.HoldFrom(5 << 20);
  const auto daemon = Start(ProxyConfig());
  ASSERT_NE(daemon, nullptr);
  {
    HttpClient client(daemon->proxy_port());
    client.Send(RequestText("GET", origin.Url()));
    ASSERT_EQ(client.ReadHead().status, 200);
    ASSERT_TRUE(origin.AwaitHeld());
  }
  // The download ends with nobody left: its failure is counted.
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  std::string metrics;
  do {
    metrics = daemon::test::HttpCall(daemon->metrics_port(), "GET", "/metrics").body;
  } while (metrics.find("dragonfly_client_download_task_failure_total{") == std::string::npos &&
           std::chrono::steady_clock::now() < deadline);
  EXPECT_THAT(metrics, HasSubstr("dragonfly_client_download_task_failure_total{"));
  origin.Release();
}

// --- Who may ---

TEST_F(ProxyTest, AsksForUserAndPassword) {
  const Nginx origin({{""}});
  origin.Put("x", "x");
  DaemonConfig config = ProxyConfig();
  config.proxy.basic_auth.emplace();
  config.proxy.basic_auth->username = "u";
  config.proxy.basic_auth->password = "p:q";
  const auto daemon = Start(config);
  ASSERT_NE(daemon, nullptr);
  HttpClient client(daemon->proxy_port());
  const Answer refused = client.Get(origin.Url("/x"));
  EXPECT_EQ(refused.status, 407);
  EXPECT_THAT(refused["proxy-authenticate"], StartsWith("Basic "));
  EXPECT_EQ(refused["x-dragonfly-error-type"], "proxy");
  EXPECT_EQ(client.Get("/v2/").status, 401);
  EXPECT_EQ(client.Get(origin.Url("/x"), {"Proxy-Authorization: Basic dTpwOnE="}).body, "x");
  HttpClient tunnel(daemon->proxy_port());
  EXPECT_EQ(tunnel.Get(StrCat("127.0.0.1:", origin.port()), {}, "CONNECT").status, 407);
}

TEST_F(ProxyTest, LimitsTheRateOfRequests) {
  const Nginx origin({{""}});
  origin.Put("x", "x");
  DaemonConfig config = ProxyConfig();
  config.proxy.request_rate_limit = 2;
  const auto daemon = Start(config);
  ASSERT_NE(daemon, nullptr);
  HttpClient client(daemon->proxy_port());
  int refused = 0;
  for (int i = 0; i < 20; ++i) {
    const Answer answer = client.Get(origin.Url("/x"));
    if (answer.status != 429) continue;
    ++refused;
    EXPECT_EQ(answer["retry-after"], "1");
    EXPECT_THAT(answer.body, HasSubstr("requestRateLimit"));
  }
  EXPECT_GE(refused, 15);
}

TEST_F(ProxyTest, LeadsNobodyToForbiddenNetworks) {
  const Nginx origin({{""}});
  origin.Put("x", "x");
  DaemonConfig config = ProxyConfig();
  config.proxy.forbidden_networks.push_back("127.0.0.0/8");
  const auto daemon = Start(config);
  ASSERT_NE(daemon, nullptr);
  for (const std::string& url :
       {origin.Url("/x"), origin.Url("/p2p/x"), std::string("http://2130706433/x"), std::string("http://localhost:1/x"),
        std::string("http://169.254.169.254/latest"), std::string("http://[::ffff:169.254.169.254]/p2p/")}) {
    HttpClient client(daemon->proxy_port());
    const Answer answer = client.Get(url);
    EXPECT_EQ(answer.status, 403) << url;
    EXPECT_THAT(answer.body, HasSubstr("proxy.forbiddenNetworks"));
  }
  HttpClient mirror(daemon->proxy_port());
  EXPECT_EQ(mirror.Get("/v2/", {"X-Dragonfly-Registry: http://127.0.0.1"}).status, 403);
  HttpClient tunnel(daemon->proxy_port());
  EXPECT_EQ(tunnel.Get(StrCat("127.0.0.1:", origin.port()), {}, "CONNECT").status, 403);
}

TEST_F(ProxyTest, FollowsNoRedirectIntoAForbiddenNetwork) {
  const Nginx origin({{"listen 127.0.0.2:@0@; location /p2p/ { return 302 http://localhost:@0@/secret; }"}});
  origin.Put("secret", "secret");
  DaemonConfig config = ProxyConfig();
  config.proxy.forbidden_networks = {"127.0.0.1", "::1"};
  const auto daemon = Start(config);
  ASSERT_NE(daemon, nullptr);
  HttpClient client(daemon->proxy_port());
  const std::string url = StrCat("http://127.0.0.2:", origin.port());
  EXPECT_EQ(client.Get(url + "/secret").body, "secret") << "the origin itself may be asked";
  for (const char* const range : {"Range: bytes=0-1", "Accept: */*"}) {
    const Answer answer = client.Get(url + "/p2p/x", {range});
    EXPECT_EQ(answer.status, 403) << answer.body;
    EXPECT_THAT(answer.body, HasSubstr("which is in a forbidden network"));
    EXPECT_THAT(answer.body, Not(HasSubstr("secret\n")));
  }
  EXPECT_EQ(client.Get(url + "/p2p/x", {}, "HEAD").status, 302) << "the client may follow it";
}

TEST(ProxyDefaults, ForbidWhatNobodyNeeds) {
  EXPECT_EQ(DaemonConfig().proxy.forbidden_networks, http::Networks::LinkLocalAndMetadata());
}

TEST_F(ProxyTest, TakesAnyCertificateWhereARuleSaysSo) {
  const testing::Certificates certificates("IP:127.0.0.1");
  const Nginx origin({{certificates.NginxLines(), /*tls=*/true}});
  std::filesystem::create_directories(origin.www() + "/p2p");
  for (const char* const name : {"p2p/free", "p2p/strict", "free", "strict"}) origin.Put(name, name);
  DaemonConfig config = ProxyConfig();
  config.proxy.rules.insert(config.proxy.rules.begin(), DaemonConfig::Proxy::Rule());
  config.proxy.rules[0].regex = "/free$";
  config.proxy.rules[0].insecure_skip_verify = true;
  const auto daemon = Start(config);
  ASSERT_NE(daemon, nullptr);
  HttpClient client(daemon->proxy_port());
  const std::string registry = StrCat("X-Dragonfly-Registry: ", origin.Url(""));
  for (int round = 0; round < 2; ++round) {
    for (const char* const path : {"/p2p/free", "/free"}) {
      const Answer answer = client.Get(path, {registry});
      EXPECT_EQ(answer.status, 200) << path << answer.body;
      EXPECT_EQ(answer.body, path + 1);
      EXPECT_EQ(client.Get(path, {registry}, "HEAD").status, 200) << path;
      EXPECT_EQ(client.Get(path, {registry}, "DELETE").status, 405) << path;
    }
    // The connections that are kept meanwhile are not for them.
    for (const char* const path : {"/p2p/strict", "/strict"}) {
      const Answer answer = client.Get(path, {registry});
      EXPECT_EQ(answer.status, 502) << path;
      EXPECT_THAT(answer.body, HasSubstr("certificate")) << path;
      EXPECT_EQ(client.Get(path, {registry}, "HEAD").status, 502) << path;
    }
  }
}

TEST_F(ProxyTest, KeepsToTheBlockListOfTheOperators) {
  const Nginx origin({{""}});
  origin.Put("file.bin", "x");
  DaemonConfig config = ProxyConfig();
  config.dynconfig.path = dir_.path() + "/dynconfig.yaml";
  std::ofstream(config.dynconfig.path) << "scheduler: {addr: '127.0.0.1:1'}\n"
                                       << "clientConfig: {blockList: {task: {download: {tags: [nightly]}}}}\n";
  const auto daemon = Start(config);
  ASSERT_NE(daemon, nullptr);
  HttpClient client(daemon->proxy_port());
  const Answer blocked = client.Get(origin.Url("/file.bin"), {"X-Dragonfly-Tag: nightly"});
  EXPECT_EQ(blocked.status, 403);
  EXPECT_THAT(blocked.body, HasSubstr("blocklist"));
  EXPECT_EQ(client.Get(origin.Url("/file.bin")).body, "x");
}

TEST_F(ProxyTest, SeesThatARequestGoesInCircles) {
  const auto daemon = Start(ProxyConfig());
  ASSERT_NE(daemon, nullptr);
  HttpClient client(daemon->proxy_port());
  const Answer answer = client.Get(StrCat("http://127.0.0.1:", daemon->proxy_port(), "/v2/"),
                                   {StrCat("X-Dragonfly-Registry: http://127.0.0.1:", daemon->proxy_port())});
  // Each way round leaves one's name behind: the registry that the mirror asks is the mirror itself.
  EXPECT_EQ(answer.status, 508) << answer.body;
}

TEST_F(ProxyTest, SeesThatItsEnvironmentNamesItAsItsOwnProxy) {
  const Nginx origin({{""}});
  origin.Put("file.bin", "x");
  const auto daemon = Start(ProxyConfig());
  ASSERT_NE(daemon, nullptr);
  ::setenv("http_proxy", StrCat("http://127.0.0.1:", daemon->proxy_port()).c_str(), 1);
  HttpClient client(daemon->proxy_port());
  const Answer answer = client.Get(origin.Url("/file.bin"));
  ::unsetenv("http_proxy");
  EXPECT_EQ(answer.status, 508);
}

TEST_F(ProxyTest, DoesNotWaitForSlowHeads) {
  const auto daemon = Start(ProxyConfig());
  ASSERT_NE(daemon, nullptr);
  HttpClient client(daemon->proxy_port());
  client.Send("GET http://127.0.0.1/x HTTP/1.1\r\nHost: ");
  const Answer answer = client.Read();
  EXPECT_EQ(answer.status, 408);
  EXPECT_TRUE(client.AtEnd());
}

// A registry that gives its blobs to who has the right token, and counts what it gave.
class PrivateRegistry {
 public:
  explicit PrivateRegistry(std::string blob) : blob_(std::move(blob)) {}
  uint16_t port() const { return server_.port(); }
  std::string Blob() const { return "/v2/private/blobs/sha256:" + std::string(64, 'a'); }
  std::string Url() const { return server_.Url(Blob()); }
  size_t Bodies() const { return bodies_; }
  size_t Heads() const { return heads_; }

 private:
  void Answer(ScriptedServer::Connection& connection, const std::string& request) {
    if (HeaderOf(request, "Authorization") != "Bearer good") {
      connection.Send("HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer realm=\"x\"\r\nContent-Length: 2\r\n\r\n");
      if (!request.starts_with("HEAD")) connection.Send("no");
      return;
    }
    const std::string range = HeaderOf(request, "Range");
    if (request.starts_with("HEAD")) {
      ++heads_;
      connection.Send(StrCat("HTTP/1.1 200 OK\r\nContent-Length: ", blob_.size(), "\r\n\r\n"));
    } else if (range == "bytes=0-0") {
      connection.Send(StrCat("HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-0/", blob_.size(),
                             "\r\nContent-Length: 1\r\n\r\n", blob_.substr(0, 1)));
    } else {
      ++bodies_;
      connection.Send(StrCat("HTTP/1.1 200 OK\r\nContent-Length: ", blob_.size(), "\r\n\r\n", blob_));
    }
  }
  const std::string blob_;
  std::atomic<size_t> bodies_ = 0, heads_ = 0;
  ScriptedServer server_{
      [this](ScriptedServer::Connection& connection, const std::string& request, int) { Answer(connection, request); }};
};

TEST_F(ProxyTest, GivesAStoredBlobOnlyToWhomTheRegistryAccepts) {
  const PrivateRegistry registry("the private blob");
  const auto daemon = Start(ProxyConfig());
  ASSERT_NE(daemon, nullptr);
  const std::string mirror = StrCat("X-Dragonfly-Registry: http://127.0.0.1:", registry.port());
  HttpClient client(daemon->proxy_port());
  const Answer stranger = client.Get(registry.Blob(), {mirror});
  EXPECT_EQ(stranger.status, 401);
  EXPECT_EQ(stranger["www-authenticate"], "Bearer realm=\"x\"");
  EXPECT_EQ(client.Get(registry.Blob(), {mirror, "Authorization: Bearer good"}).body, "the private blob");
  const Answer again = client.Get(registry.Blob(), {mirror, "Authorization: Bearer good"});
  EXPECT_EQ(again.body, "the private blob");
  EXPECT_EQ(again["x-dragonfly-task-download-finished"], "true");
  for (const char* const fields : {"X-None: 1", "Authorization: Bearer bad", "Authorization: Basic Z29vZA=="}) {
    const Answer refused = client.Get(registry.Blob(), {mirror, fields});
    EXPECT_EQ(refused.status, 401) << fields;
    EXPECT_EQ(refused["www-authenticate"], "Bearer realm=\"x\"");
    EXPECT_EQ(refused["x-dragonfly-error-type"], "backend");
    EXPECT_THAT(refused.body, Not(HasSubstr("private")));
  }
  EXPECT_EQ(registry.Bodies(), 1u);
  EXPECT_LE(registry.Heads(), 1u) << "an acceptance is remembered for a while";
}

TEST_F(ProxyTest, ManifestsAreNeverServedFromTheStore) {
  std::atomic<int> version = 0;
  ScriptedServer origin([&](ScriptedServer::Connection& connection, const std::string&, int) {
    const std::string body = StrCat("v", ++version);
    connection.Send(StrCat("HTTP/1.1 200 OK\r\nContent-Length: ", body.size(), "\r\n\r\n", body));
  });
  DaemonConfig config = ProxyConfig();
  config.proxy.rules = {DaemonConfig::Proxy::Rule()};  // takes everything
  config.proxy.registry_mirror = StrCat("http://127.0.0.1:", origin.port());
  const auto daemon = Start(config);
  ASSERT_NE(daemon, nullptr);
  HttpClient client(daemon->proxy_port());
  EXPECT_EQ(client.Get("/v2/a/manifests/latest?ns=").body, "v1");
  EXPECT_EQ(client.Get("/v2/a/manifests/latest", {"X-Dragonfly-Use-P2P: true"}).body, "v2");
  EXPECT_EQ(client.Get("/v2/a/tags/list").body, "v3");
  EXPECT_EQ(client.Get("/token?service=x").body, "v4");
}

TEST_F(ProxyTest, CountsRequests) {
  const Nginx origin({{""}});
  origin.Put("file.bin", "x");
  const auto daemon = Start(ProxyConfig());
  ASSERT_NE(daemon, nullptr);
  HttpClient client(daemon->proxy_port());
  client.Get(origin.Url("/file.bin"));
  client.Get(origin.Url("/other"));
  client.Get("http://127.0.0.1:1/x");
  client.Get(origin.Url("/other"));  // by now the one before has been counted
  const std::string page = daemon::test::HttpCall(daemon->metrics_port(), "GET", "/metrics").body;
  EXPECT_THAT(page, HasSubstr("dragonfly_client_proxy_request_total 4"));
  EXPECT_THAT(page, HasSubstr("dragonfly_client_proxy_request_via_dfdaemon_total 1"));
  EXPECT_THAT(page, HasSubstr("dragonfly_client_proxy_request_failure_total 1"));
}

}  // namespace
}  // namespace dragonfly::daemon::proxy
