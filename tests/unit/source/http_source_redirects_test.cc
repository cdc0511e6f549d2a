// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "source/signer.h"
#include "tests/support/nginx.h"
#include "tests/unit/source/http_source_fixture.h"

namespace dragonfly::source {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::HeaderOf;
using ::testing::IsEmpty;
using testing::Nginx;
using ::testing::Not;
using ::testing::Pair;
using testing::ScriptedServer;
using ::testing::SizeIs;

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

}  // namespace
}  // namespace dragonfly::source
