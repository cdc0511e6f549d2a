// SPDX-License-Identifier: Apache-2.0
#include "http/curl_client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/system/system_error.hpp>
#include <cstdlib>
#include <exception>
#include <functional>
#include <string>

#include "base/text.h"
#include "tests/support/certificates.h"
#include "tests/support/nginx.h"
#include "tests/support/scripted_server.h"

namespace dragonfly::http {
namespace {

namespace asio = boost::asio;
using std::chrono::milliseconds;
using testing::Certificates;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using testing::HeaderOf;
using testing::Nginx;
using ::testing::Not;
using testing::ScriptedServer;
using ::testing::SizeIs;
using ::testing::StartsWith;

class Collector : public CurlSink {
 public:
  absl::Status OnHeader(const CurlResponse& response) override {
    ++headers;
    status = response.status;
    if (on_header) return on_header();
    return absl::OkStatus();
  }
  absl::Status OnBody(std::span<const std::byte> bytes) override {
    body.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    ++calls;
    if (on_body) return on_body();
    return absl::OkStatus();
  }
  Clock::duration PauseFor(size_t bytes) override { return pause ? pause(bytes) : Clock::duration::zero(); }

  std::function<absl::Status()> on_header;
  std::function<absl::Status()> on_body;
  std::function<Clock::duration(size_t)> pause;
  std::string body;
  int status = 0;
  int headers = 0;
  int calls = 0;
};

class CurlClientTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { ::setenv("no_proxy", "*", 1); }

  static CurlRequest Get(const std::string& url) {
    CurlRequest request;
    request.url = url;
    request.deadline = Clock::now() + std::chrono::seconds(20);
    return request;
  }
  // Runs the transfers side by side and returns their outcomes.
  using Outcome = absl::StatusOr<CurlResponse>;
  void Spawn(CurlRequest request, CurlSink& sink, Outcome& outcome) {
    asio::co_spawn(io_, Keep(client_, std::move(request), sink, outcome), [](const std::exception_ptr& error) {
      if (error) std::rethrow_exception(error);
    });
  }
  static asio::awaitable<void> Keep(CurlClient& client, CurlRequest request, CurlSink& sink, Outcome& outcome) {
    outcome = co_await client.Run(std::move(request), sink);
  }
  Outcome Run(CurlRequest request, CurlSink& sink) {
    Outcome outcome = absl::UnknownError("did not end");
    Spawn(std::move(request), sink, outcome);
    io_.restart();
    io_.run();
    return outcome;
  }

  asio::io_context io_;
  CurlClient client_{io_};
};

std::string Pattern(size_t size) {
  std::string text(size, '\0');
  for (size_t i = 0; i < size; ++i) text[i] = static_cast<char>((i * 2654435761u) >> 11);
  return text;
}

TEST_F(CurlClientTest, FetchesALargeBodyInLargeSteps) {
  Nginx nginx({{""}});
  const std::string content = Pattern(20'000'003);
  nginx.Put("large", content);
  Collector sink;
  const Outcome outcome = Run(Get(nginx.Url("/large")), sink);
  ASSERT_TRUE(outcome.ok()) << outcome.status();
  EXPECT_EQ(outcome->status, 200);
  EXPECT_EQ(outcome->status_text, "200 OK");
  EXPECT_EQ(outcome->Find("content-length"), "20000003");
  EXPECT_TRUE(sink.body == content);
  EXPECT_EQ(sink.headers, 1);
  EXPECT_LT(sink.calls, 20'000'003 / (16 << 10));
}

TEST_F(CurlClientTest, KeepsConnections) {
  ScriptedServer server([](ScriptedServer::Connection& connection, const std::string&, int) {
    connection.Send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
  });
  for (int i = 0; i < 3; ++i) {
    Collector sink;
    ASSERT_TRUE(Run(Get(server.Url()), sink).ok());
    EXPECT_EQ(sink.body, "ok");
  }
  EXPECT_EQ(server.connections(), 1);
}

TEST_F(CurlClientTest, ClosesConnectionsThatWereIdleBetweenTwoLooks) {
  ScriptedServer server([](ScriptedServer::Connection& connection, const std::string&, int) {
    connection.Send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
  });
  const auto run = [&] {
    Collector sink;
    EXPECT_TRUE(Run(Get(server.Url()), sink).ok());
    EXPECT_EQ(sink.body, "ok");
  };
  run();
  client_.CloseIdle();
  run();
  EXPECT_EQ(server.connections(), 1);
  client_.CloseIdle();
  client_.CloseIdle();
  run();
  EXPECT_EQ(server.connections(), 2);
}

TEST_F(CurlClientTest, AsksForTheBytesAsTheyAre) {
  ScriptedServer server({"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nraw"});
  Collector sink;
  CurlRequest request = Get(server.Url());
  request.header = {{"X-Empty", ""}, {"X-Value", " a b "}};
  ASSERT_TRUE(Run(std::move(request), sink).ok());
  EXPECT_EQ(sink.body, "raw");
  CurlRequest own = Get(server.Url());
  own.header = {{"accept-encoding", "zstd"}};
  Collector again;
  ASSERT_TRUE(Run(std::move(own), again).ok());
  ASSERT_THAT(server.requests(), SizeIs(2));
  EXPECT_EQ(HeaderOf(server.requests()[0], "Accept-Encoding"), "identity");
  EXPECT_EQ(HeaderOf(server.requests()[0], "X-Value"), "a b");
  EXPECT_THAT(server.requests()[0], HasSubstr("X-Empty:"));
  EXPECT_EQ(HeaderOf(server.requests()[1], "Accept-Encoding"), "zstd");
  EXPECT_THAT(server.requests()[1], Not(HasSubstr("identity")));
}

TEST_F(CurlClientTest, SendsABody) {
  std::string body(3000, 'a');
  body[1500] = '\0';
  ScriptedServer server([](ScriptedServer::Connection& connection, const std::string&, int) {
    connection.Send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    connection.Close();
  });
  CurlRequest request = Get(server.Url());
  request.method = "POST";
  request.body = body;
  request.header = {{"Content-Type", "text/plain"}};
  Collector sink;
  const Outcome outcome = Run(std::move(request), sink);
  ASSERT_TRUE(outcome.ok()) << outcome.status();
  const std::string head = server.requests().at(0);
  EXPECT_THAT(head, StartsWith("POST /file HTTP/1.1"));
  EXPECT_EQ(HeaderOf(head, "Content-Length"), "3000");
  EXPECT_EQ(HeaderOf(head, "Content-Type"), "text/plain");
  EXPECT_THAT(head, Not(HasSubstr("Expect")));
}

TEST_F(CurlClientTest, RefusesHeadersThatWouldInjectOthers) {
  const std::vector<std::pair<std::string, std::string>> table[] = {{{"X", "a\r\nHost: evil"}},
                                                                    {{"X", "a\nb"}},
                                                                    {{"X", std::string("a\0b", 3)}},
                                                                    {{"X Y", "a"}},
                                                                    {{"X:", "a"}},
                                                                    {{"", "a"}}};
  for (const auto& header : table) {
    Collector sink;
    CurlRequest request = Get("http://127.0.0.1:9/");
    request.header = header;
    EXPECT_TRUE(absl::IsInvalidArgument(Run(std::move(request), sink).status()));
  }
}

TEST_F(CurlClientTest, RefusesOtherSchemesAndBadUrls) {
  for (const char* url : {"file:///etc/passwd", "ftp://127.0.0.1/", "gopher://127.0.0.1/", "", "nonsense", "http://",
                          "http://127.0.0.1:99999/", "http://a\r\nb/"}) {
    Collector sink;
    const Outcome outcome = Run(Get(url), sink);
    EXPECT_TRUE(absl::IsInvalidArgument(outcome.status())) << url << ": " << outcome.status();
  }
}

// Names are looked up by the resolver of the system, which knows localhost.
TEST_F(CurlClientTest, MakesNoConnectionIntoAForbiddenNetwork) {
  ScriptedServer server([](ScriptedServer::Connection& connection, const std::string&, int) {
    connection.Send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
  });
  CurlClient guarded(io_, *Networks::Parse(Networks::Loopback()));
  const std::string port = std::to_string(server.port());
  for (const char* host : {"127.0.0.1", "localhost", "LOCALHOST", "127.1", "2130706433", "0x7f.1", "0177.0.0.1",
                           "0.0.0.0", "[::ffff:127.0.0.1]", "[::1]", "[::]", "user:secret@localhost"}) {
    const std::string url = StrCat("http://", host, ":", port, "/file?secret");
    Collector sink;
    Outcome outcome = absl::UnknownError("did not end");
    asio::co_spawn(io_, Keep(guarded, Get(url), sink, outcome), [](const std::exception_ptr& error) {
      if (error) std::rethrow_exception(error);
    });
    io_.restart();
    io_.run();
    EXPECT_EQ(outcome.status().code(), absl::StatusCode::kPermissionDenied) << url << ": " << outcome.status();
    EXPECT_THAT(outcome.status().message(), HasSubstr("is in a forbidden network")) << url;
    EXPECT_THAT(outcome.status().message(), StartsWith("GET http://")) << url;
    EXPECT_THAT(outcome.status().message(), Not(HasSubstr("secret"))) << url;
    EXPECT_EQ(sink.headers, 0) << url;
  }
  EXPECT_EQ(server.connections(), 0);
}

TEST_F(CurlClientTest, ReachesWhatIsNotForbidden) {
  ScriptedServer server([](ScriptedServer::Connection& connection, const std::string&, int) {
    connection.Send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
  });
  CurlClient guarded(io_, *Networks::Parse(Networks::LinkLocalAndMetadata()));
  for (int i = 0; i < 2; ++i) {
    Collector sink;
    Outcome outcome = absl::UnknownError("did not end");
    asio::co_spawn(io_, Keep(guarded, Get(StrCat("http://localhost:", server.port(), "/")), sink, outcome),
                   [](const std::exception_ptr& error) {
                     if (error) std::rethrow_exception(error);
                   });
    io_.restart();
    io_.run();
    ASSERT_TRUE(outcome.ok()) << outcome.status();
    EXPECT_EQ(sink.body, "ok");
  }
  EXPECT_EQ(server.connections(), 1) << "connections are kept as ever";
}

TEST_F(CurlClientTest, DoesNotFollowRedirectsButTellsTheTarget) {
  ScriptedServer server([](ScriptedServer::Connection& connection, const std::string& request, int) {
    const std::string target = request.starts_with("GET /a ") ? "../other?x=1" : "https://example.com/b c";
    connection.Send("HTTP/1.1 302 Found\r\nLocation: " + target + "\r\nContent-Length: 0\r\n\r\n");
  });
  Collector sink;
  const Outcome relative = Run(Get(server.Url("/a")), sink);
  ASSERT_TRUE(relative.ok()) << relative.status();
  EXPECT_EQ(relative->location, server.Url("/other?x=1"));
  const Outcome absolute = Run(Get(server.Url("/b")), sink);
  ASSERT_TRUE(absolute.ok()) << absolute.status();
  EXPECT_EQ(absolute->location, "https://example.com/b%20c");
}

TEST_F(CurlClientTest, SkipsInformationalAnswersAndTrailers) {
  ScriptedServer server(
      {"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Long: a\r\n"
       "  b\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nX-Trailer: late\r\n\r\n"});
  Collector sink;
  const Outcome outcome = Run(Get(server.Url()), sink);
  ASSERT_TRUE(outcome.ok()) << outcome.status();
  EXPECT_EQ(sink.body, "abcde");
  EXPECT_EQ(sink.headers, 1);
  EXPECT_FALSE(outcome->Find("link").has_value());
  EXPECT_FALSE(outcome->Find("x-trailer").has_value());
  EXPECT_EQ(outcome->Find("x-long"), "a b");
}

TEST_F(CurlClientTest, BoundsTheHeaders) {
  ScriptedServer server([](ScriptedServer::Connection& connection, const std::string&, int) {
    connection.Send("HTTP/1.1 200 OK\r\n");
    const std::string line = "X: " + std::string(1000, 'x') + "\r\n";
    while (connection.Send(line)) {
    }
    connection.Close();
  });
  Collector sink;
  const Outcome outcome = Run(Get(server.Url()), sink);
  EXPECT_TRUE(absl::IsResourceExhausted(outcome.status())) << outcome.status();
}

TEST_F(CurlClientTest, EndsWithWhatTheSinkSays) {
  Nginx nginx({{""}});
  nginx.Put("large", Pattern(8 << 20));
  Collector header_refuser;
  header_refuser.on_header = [] { return absl::DataLossError("wrong header"); };
  EXPECT_EQ(Run(Get(nginx.Url("/large")), header_refuser).status(), absl::DataLossError("wrong header"));
  EXPECT_EQ(header_refuser.calls, 0);
  Collector body_refuser;
  body_refuser.on_body = [] { return absl::ResourceExhaustedError("disk full"); };
  EXPECT_EQ(Run(Get(nginx.Url("/large")), body_refuser).status(), absl::ResourceExhaustedError("disk full"));
  EXPECT_EQ(body_refuser.calls, 1);
}

TEST_F(CurlClientTest, PausesWithoutLosingBytes) {
  Nginx nginx({{""}});
  const std::string content = Pattern(4 << 20);
  nginx.Put("large", content);
  Collector sink;
  TimePoint free_at = Clock::now();
  int early = 0;
  sink.on_body = [&] {
    if (Clock::now() < free_at) ++early;
    return absl::OkStatus();
  };
  sink.pause = [&](size_t) {
    free_at = Clock::now() + milliseconds(5);
    return milliseconds(5);
  };
  CurlRequest request = Get(nginx.Url("/large"));
  request.stall_timeout = milliseconds(1000);
  const Outcome outcome = Run(std::move(request), sink);
  ASSERT_TRUE(outcome.ok()) << outcome.status();
  EXPECT_TRUE(sink.body == content);
  EXPECT_EQ(early, 0);
}

TEST_F(CurlClientTest, DoesNotCountAPauseAsAStall) {
  ScriptedServer slow([](ScriptedServer::Connection& connection, const std::string&, int) {
    connection.Send("HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n");
    connection.Send(std::string(200'000, 'x'));
  });
  Collector sink;
  sink.pause = [first = true](size_t) mutable {
    return std::exchange(first, false) ? milliseconds(150) : milliseconds(0);
  };
  CurlRequest request = Get(slow.Url());
  request.stall_timeout = milliseconds(50);
  const Outcome outcome = Run(std::move(request), sink);
  EXPECT_TRUE(outcome.ok()) << outcome.status();
  EXPECT_THAT(sink.body, SizeIs(200'000));
}

TEST_F(CurlClientTest, GivesAStalledTransferUp) {
  ScriptedServer server([](ScriptedServer::Connection& connection, const std::string&, int) {
    connection.Send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc");
    connection.AwaitClientGone();
  });
  Collector sink;
  CurlRequest request = Get(server.Url("/file?signature=secret"));
  request.stall_timeout = milliseconds(50);
  const Outcome outcome = Run(std::move(request), sink);
  EXPECT_TRUE(absl::IsUnavailable(outcome.status())) << outcome.status();
  EXPECT_THAT(std::string(outcome.status().message()), HasSubstr("no byte for 50 ms"));
  EXPECT_THAT(std::string(outcome.status().message()), Not(HasSubstr("secret")));
  EXPECT_EQ(sink.body, "abc");
}

TEST_F(CurlClientTest, KeepsTheDeadlineAgainstADribble) {
  ScriptedServer server([](ScriptedServer::Connection& connection, const std::string&, int) {
    connection.Send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
    while (connection.Send("x")) {
    }
    connection.Close();
  });
  Collector sink;
  CurlRequest request = Get(server.Url());
  request.deadline = Clock::now() + milliseconds(100);
  const Outcome outcome = Run(std::move(request), sink);
  EXPECT_TRUE(absl::IsDeadlineExceeded(outcome.status())) << outcome.status();
  Collector late;
  CurlRequest too_late = Get(server.Url());
  too_late.deadline = Clock::now();
  EXPECT_TRUE(absl::IsDeadlineExceeded(Run(std::move(too_late), late).status()));
}

TEST_F(CurlClientTest, TellsABrokenBody) {
  ScriptedServer short_body({"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"});
  Collector sink;
  EXPECT_TRUE(absl::IsUnavailable(Run(Get(short_body.Url()), sink).status()));
  EXPECT_EQ(sink.body, "abc");
  ScriptedServer reset([](ScriptedServer::Connection& connection, const std::string&, int) {
    connection.Send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc");
    connection.Reset();
  });
  Collector cut;
  EXPECT_TRUE(absl::IsUnavailable(Run(Get(reset.Url()), cut).status()));
  ScriptedServer garbage({"SSH-2.0-OpenSSH_9.2\r\n"});
  Collector nothing;
  EXPECT_TRUE(absl::IsUnavailable(Run(Get(garbage.Url()), nothing).status()));
  EXPECT_EQ(nothing.body, "");
}

TEST_F(CurlClientTest, TellsARefusedConnection) {
  uint16_t port = 0;
  {
    port = ScriptedServer({""}).port();
  }
  Collector sink;
  const Outcome outcome = Run(Get("http://user:secret@127.0.0.1:" + std::to_string(port) + "/x"), sink);
  EXPECT_TRUE(absl::IsUnavailable(outcome.status())) << outcome.status();
  EXPECT_THAT(std::string(outcome.status().message()), StartsWith("GET http://127.0.0.1:"));
}

TEST_F(CurlClientTest, CancellationClosesTheTransfer) {
  asio::cancellation_signal signal;
  ScriptedServer server([](ScriptedServer::Connection& connection, const std::string&, int) {
    connection.Send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc");
    connection.AwaitClientGone();  // else the server's destructor would find it waiting
  });
  Collector sink;
  sink.on_body = [&] {
    asio::post(io_, [&] { signal.emit(asio::cancellation_type::terminal); });
    return absl::OkStatus();
  };
  Outcome outcome = absl::UnknownError("did not end");
  std::exception_ptr thrown;
  asio::co_spawn(io_, Keep(client_, Get(server.Url()), sink, outcome),
                 asio::bind_cancellation_slot(signal.slot(), [&](const std::exception_ptr& error) { thrown = error; }));
  io_.run();
  ASSERT_TRUE(thrown);
  try {
    std::rethrow_exception(thrown);
  } catch (const boost::system::system_error& error) {
    EXPECT_EQ(error.code(), asio::error::operation_aborted);
  }
}

TEST_F(CurlClientTest, RunsManyTransfersAtOnce) {
  Nginx nginx({{""}});
  const std::string content = Pattern(1'000'000);
  nginx.Put("file", content);
  std::vector<Collector> sinks(24);
  std::vector<Outcome> outcomes(sinks.size(), absl::UnknownError("did not end"));
  for (size_t i = 0; i < sinks.size(); ++i) Spawn(Get(nginx.Url("/file")), sinks[i], outcomes[i]);
  io_.run();
  for (size_t i = 0; i < sinks.size(); ++i) {
    EXPECT_TRUE(outcomes[i].ok()) << outcomes[i].status();
    EXPECT_TRUE(sinks[i].body == content);
  }
}

TEST_F(CurlClientTest, StartsATransferFromWithinASink) {
  ScriptedServer server({"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"});
  Collector outer;
  Collector inner;
  Outcome second = absl::UnknownError("did not end");
  outer.on_header = [&] {
    Spawn(Get(server.Url()), inner, second);
    return absl::OkStatus();
  };
  EXPECT_TRUE(Run(Get(server.Url()), outer).ok());
  EXPECT_TRUE(second.ok()) << second.status();
}

TEST_F(CurlClientTest, GoesThroughTheProxyOfTheEnvironment) {
  ScriptedServer proxy({"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nproxy"});
  ScriptedServer direct({"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\ndirect"});
  const std::string address = "http://127.0.0.1:" + std::to_string(proxy.port());
  for (const char* name : {"http_proxy", "HTTP_PROXY"}) {
    ::setenv(name, address.c_str(), 1);
    ::setenv("no_proxy", "127.0.0.1", 1);
    CurlClient client(io_);
    for (const bool excepted : {false, true}) {
      Collector sink;
      Outcome outcome = absl::UnknownError("did not end");
      const std::string url = excepted ? direct.Url() : "http://origin.example/file";
      asio::co_spawn(io_, Keep(client, Get(url), sink, outcome), asio::detached);
      io_.restart();
      io_.run();
      EXPECT_TRUE(outcome.ok()) << outcome.status();
      EXPECT_EQ(sink.body, excepted ? "direct" : "proxy") << name;
    }
    ::unsetenv(name);
    ::setenv("no_proxy", "*", 1);
  }
  EXPECT_THAT(proxy.requests().front(), StartsWith("GET http://origin.example/file HTTP/1.1"));
}

TEST_F(CurlClientTest, TakesTheProxyOfTheEnvironmentForAllowed) {
  ScriptedServer proxy({"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nproxy"});
  ::setenv("http_proxy", StrCat("http://127.0.0.1:", proxy.port()).c_str(), 1);
  ::unsetenv("no_proxy");
  CurlClient guarded(io_, *Networks::Parse(Networks::Loopback()));
  for (const char* const url : {"http://origin.example/file", "http://127.1/file"}) {
    Collector sink;
    Outcome outcome = absl::UnknownError("did not end");
    asio::co_spawn(io_, Keep(guarded, Get(url), sink, outcome), asio::detached);
    io_.restart();
    io_.run();
    const bool named = std::string_view(url) == "http://origin.example/file";
    EXPECT_EQ(outcome.status().code(), named ? absl::StatusCode::kOk : absl::StatusCode::kPermissionDenied);
    EXPECT_EQ(sink.body, named ? "proxy" : "");
  }
  EXPECT_EQ(proxy.connections(), 1);
  ::unsetenv("http_proxy");
  ::setenv("no_proxy", "*", 1);
}

class TlsTest : public CurlClientTest {
 protected:
  Certificates good_{"IP:127.0.0.1"};
  Certificates other_{"DNS:other.example"};
  Nginx nginx_{{{good_.NginxLines(), true}, {other_.NginxLines(), true}}};

  Outcome Fetch(size_t server, const std::string& ca_file, bool verify = true) {
    Collector sink;
    CurlRequest request = Get(nginx_.Url("/file", server));
    request.ca_file = ca_file;
    request.verify_tls = verify;
    Outcome outcome = Run(std::move(request), sink);
    body_ = sink.body;
    return outcome;
  }
  std::string body_;
};

TEST_F(TlsTest, TrustsTheAuthorityOfTheFileBesideTheSystems) {
  const std::string content = Pattern(3'000'000);
  nginx_.Put("file", content);
  EXPECT_TRUE(absl::IsUnauthenticated(Fetch(0, "").status()));
  const Outcome trusted = Fetch(0, good_.ca_file());
  EXPECT_TRUE(trusted.ok()) << trusted.status();
  EXPECT_TRUE(body_ == content);
  // The trust and the kept connection belong to requests with that file only.
  EXPECT_TRUE(absl::IsUnauthenticated(Fetch(0, "").status()));
  EXPECT_TRUE(absl::IsUnauthenticated(Fetch(0, other_.ca_file()).status()));
}

TEST_F(TlsTest, RefusesACertificateForAnotherName) {
  nginx_.Put("file", "x");
  const Outcome outcome = Fetch(1, other_.ca_file());
  EXPECT_TRUE(absl::IsUnauthenticated(outcome.status())) << outcome.status();
}

TEST_F(TlsTest, VerifiesNothingWhenToldSo) {
  nginx_.Put("file", "x");
  EXPECT_TRUE(Fetch(1, "", false).ok());
  EXPECT_EQ(body_, "x");
  EXPECT_TRUE(absl::IsUnauthenticated(Fetch(1, "").status()));
}

TEST_F(TlsTest, TellsAnUnusableCaFile) {
  EXPECT_TRUE(absl::IsInvalidArgument(Fetch(0, "/nonexistent/ca.pem").status()));
  testing::TempDir dir;
  EXPECT_TRUE(absl::IsInvalidArgument(Fetch(0, dir.Write("empty.pem", "no certificate")).status()));
}

}  // namespace
}  // namespace dragonfly::http
