// SPDX-License-Identifier: Apache-2.0
#include "http/server.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <array>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <stdexcept>
#include <string>
#include <string_view>

#include "base/unique_fd.h"
#include "tests/unit/runtime/run_coroutine.h"

namespace dragonfly::http {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

// A client that sends exact bytes; each wait for the answer ends after ten seconds.
class RawClient {
 public:
  explicit RawClient(uint16_t port) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const timeval patience{10, 0};
    ::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port);
    if (::connect(fd_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
      throw std::runtime_error("connect failed");
    }
  }
  void Send(std::string_view bytes) const {
    while (!bytes.empty()) {
      const ssize_t sent = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return;  // the server has said its last word
      bytes.remove_prefix(static_cast<size_t>(sent));
    }
  }
  // Until `end` has been seen, or the server has closed.
  std::string ReadUntil(std::string_view end) {
    for (;;) {
      const size_t at = pending_.find(end);
      if (at != pending_.npos) {
        std::string taken = pending_.substr(0, at + end.size());
        pending_.erase(0, at + end.size());
        return taken;
      }
      std::array<char, 4096> bytes;
      const ssize_t got = ::recv(fd_.get(), bytes.data(), bytes.size(), 0);
      if (got <= 0) {
        closed_ = got == 0;
        return std::exchange(pending_, "");
      }
      pending_.append(bytes.data(), static_cast<size_t>(got));
    }
  }
  std::string ReadAll() { return ReadUntil(std::string_view("\0never\0", 7)); }
  // The server closed in order.
  bool closed() const { return closed_; }
  void CloseSending() const { ::shutdown(fd_.get(), SHUT_WR); }

 private:
  UniqueFd fd_;
  std::string pending_;
  bool closed_ = false;
};

boost::asio::awaitable<Response> Echo(Request request) {
  Response response;
  if (request.target == "/throw") throw std::runtime_error("broken handler");
  if (request.target == "/missing") response.status = 404;
  response.body = request.method + " " + request.target + " " + request.body + "\n";
  co_return response;
}

boost::asio::awaitable<Response> Forever(Request) {
  boost::asio::steady_timer timer(co_await boost::asio::this_coro::executor, std::chrono::hours(1));
  co_await timer.async_wait(boost::asio::use_awaitable);
  co_return Response();
}

class ServerTest : public ::testing::Test {
 protected:
  void Start(Server::Handler handle = Echo) {
    options_.ip = "127.0.0.1";
    absl::StatusOr<std::unique_ptr<Server>> server = Server::Start(options_, io_, std::move(handle));
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }
  void Stop() {
    if (server_ != nullptr) runtime::RunOn(io_.At(0), server_->Stop());
    server_.reset();
  }
  void TearDown() override { Stop(); }
  std::string Ask(std::string_view request) const {
    RawClient client(server_->port());
    client.Send(request);
    client.CloseSending();
    return client.ReadAll();
  }

  runtime::IoThreads io_{2};
  ServerOptions options_;
  std::unique_ptr<Server> server_;
};

TEST_F(ServerTest, AnswersAndKeepsTheConnection) {
  Start();
  RawClient client(server_->port());
  client.Send("GET /metrics?a=b HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(client.ReadUntil("GET /metrics?a=b \n"), StartsWith("HTTP/1.1 200 OK\r\n"));
  client.Send("POST /two HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody");
  EXPECT_THAT(client.ReadUntil("POST /two body\n"), StartsWith("HTTP/1.1 200 OK\r\n"));
}

TEST_F(ServerTest, AnswersPipelinedRequestsInOrder) {
  Start();
  const std::string answers =
      Ask("GET /1 HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\n\r\n"
          "GET /3 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  EXPECT_LT(answers.find("GET /1"), answers.find("GET /2"));
  EXPECT_LT(answers.find("GET /2"), answers.find("GET /3"));
}

TEST_F(ServerTest, HandsHeadersInAndOut) {
  Start([](Request request) -> boost::asio::awaitable<Response> {
    Response response;
    response.header.emplace_back("X-Seen", std::string(request.Find("x-color")));
    co_return response;
  });
  const std::string answer = Ask("GET / HTTP/1.1\r\nHost: x\r\nX-Color: red\r\nConnection: close\r\n\r\n");
  EXPECT_THAT(answer, HasSubstr("X-Seen: red\r\n"));
}

TEST_F(ServerTest, LeavesTheBodyOutForHead) {
  Start();
  const std::string answer = Ask("HEAD /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  EXPECT_THAT(answer, HasSubstr("Content-Length: 14\r\n"));  // of "GET /metrics \n"
  EXPECT_THAT(answer, EndsWith("\r\n\r\n"));
}

TEST_F(ServerTest, ClosesAfterAnHttp10Request) {
  Start();
  RawClient client(server_->port());
  client.Send("GET / HTTP/1.0\r\n\r\n");
  EXPECT_THAT(client.ReadAll(), StartsWith("HTTP/1.0 200 OK\r\n"));
  EXPECT_TRUE(client.closed());
}

TEST_F(ServerTest, RefusesWhatIsNotHttp) {
  Start();
  EXPECT_THAT(Ask("\x16\x03\x01 not http at all\r\n\r\n"), StartsWith("HTTP/1.1 400 Bad Request\r\n"));
  EXPECT_THAT(Ask("GET / HTTP/1.1\r\nContent-Length: -5\r\n\r\n"), StartsWith("HTTP/1.1 400 Bad Request\r\n"));
}

TEST_F(ServerTest, RefusesLargeHeaders) {
  options_.header_max = 1024;
  Start();
  const std::string request = "GET / HTTP/1.1\r\nX: " + std::string(100'000, 'x') + "\r\n\r\n";
  EXPECT_THAT(Ask(request), StartsWith("HTTP/1.1 431 Request Header Fields Too Large\r\n"));
}

TEST_F(ServerTest, RefusesLargeBodies) {
  options_.body_max = 1000;
  Start();
  const std::string request = "POST / HTTP/1.1\r\nContent-Length: 200000\r\n\r\n" + std::string(200'000, 'x');
  EXPECT_THAT(Ask(request), StartsWith("HTTP/1.1 413 Payload Too Large\r\n"));
  EXPECT_THAT(Ask("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n800\r\n" + std::string(0x800, 'x') + "\r\n"),
              StartsWith("HTTP/1.1 413 Payload Too Large\r\n"));
}

TEST_F(ServerTest, AsksForTheBodyOfAClientThatExpectsTo) {
  Start();
  RawClient client(server_->port());
  client.Send("POST / HTTP/1.1\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_THAT(client.ReadUntil("\r\n\r\n"), StartsWith("HTTP/1.1 100 Continue\r\n"));
  client.Send("ok");
  EXPECT_THAT(client.ReadUntil("ok\n"), StartsWith("HTTP/1.1 200 OK\r\n"));
}

TEST_F(ServerTest, AnswersWith500WhenTheHandlerThrows) {
  Start();
  EXPECT_THAT(Ask("GET /throw HTTP/1.1\r\nHost: x\r\n\r\n"), StartsWith("HTTP/1.1 500 Internal Server Error\r\n"));
  EXPECT_THAT(Ask("GET /missing HTTP/1.1\r\nHost: x\r\n\r\n"), StartsWith("HTTP/1.1 404 Not Found\r\n"));
}

TEST_F(ServerTest, ClosesConnectionsThatSayNothing) {
  options_.idle_timeout = std::chrono::milliseconds(50);
  Start();
  RawClient client(server_->port());
  client.Send("GET / HT");
  EXPECT_EQ(client.ReadAll(), "");
  EXPECT_TRUE(client.closed());
}

TEST_F(ServerTest, TakesNoMoreConnectionsThanAllowed) {
  options_.connections_max = 1;
  Start();
  RawClient first(server_->port());
  first.Send("GET /1 HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(first.ReadUntil("GET /1 \n"), StartsWith("HTTP/1.1 200 OK\r\n"));
  RawClient second(server_->port());
  EXPECT_EQ(second.ReadAll(), "");
}

TEST_F(ServerTest, StopEndsWhatRuns) {
  Start(Forever);
  RawClient idle(server_->port());
  RawClient busy(server_->port());
  busy.Send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  const uint16_t port = server_->port();
  Stop();
  EXPECT_EQ(busy.ReadAll(), "");
  EXPECT_EQ(idle.ReadAll(), "");
  EXPECT_THROW(RawClient{port}, std::runtime_error);
}

TEST_F(ServerTest, SaysWhyItCannotListen) {
  Start();
  ServerOptions taken = options_;
  taken.port = server_->port();
  const absl::Status status = Server::Start(taken, io_, Echo).status();
  EXPECT_FALSE(status.ok());
  EXPECT_THAT(std::string(status.message()), HasSubstr("listen on 127.0.0.1 port"));
  taken.ip = "no address";
  EXPECT_TRUE(absl::IsInvalidArgument(Server::Start(taken, io_, Echo).status()));
}

}  // namespace
}  // namespace dragonfly::http
