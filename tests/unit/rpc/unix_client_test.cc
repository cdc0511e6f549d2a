// SPDX-License-Identifier: Apache-2.0
#include "rpc/unix_client.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <thread>

#include "base/backend_error.h"
#include "base/status.h"
#include "base/unique_fd.h"
#include "tests/unit/rpc/rpc_fixture.h"

namespace dragonfly::rpc {
namespace {

using dfdaemon::v2::DownloadTaskRequest;
using dfdaemon::v2::DownloadTaskResponse;
using TaskWriter = std::shared_ptr<ResponseWriter<DownloadTaskResponse>>;

constexpr std::string_view kDownloadTask = "/dfdaemon.v2.DfdaemonUpload/DownloadTask";
constexpr std::string_view kDownloadPiece = "/dfdaemon.v2.DfdaemonUpload/DownloadPiece";

class UnixClientTest : public RpcTest {
 protected:
  void ServeUnix() {
    socket_ = dir_.File("dfdaemon.sock");
    ServerOptions options;
    options.addresses = {"unix:" + socket_};
    options.receive_message_max = 80 << 20;
    Serve(options);
  }

  std::unique_ptr<UnixClient> Client() {
    absl::StatusOr<std::unique_ptr<UnixClient>> client = UnixClient::Connect(socket_);
    EXPECT_TRUE(client.ok()) << client.status();
    return client.ok() ? *std::move(client) : nullptr;
  }

  static absl::Status Ignore(std::string_view) { return absl::OkStatus(); }

  TempDir dir_;
  std::string socket_;
};

TEST_F(UnixClientTest, CallsAUnaryMethodSeveralTimesOnOneConnection) {
  upload_.download_piece = [](const DownloadPieceRequest& request,
                              DownloadPieceResponse* response) -> asio::awaitable<absl::Status> {
    response->mutable_piece()->set_number(request.piece_number());
    co_return absl::OkStatus();
  };
  ServeUnix();
  const auto client = Client();
  for (uint32_t number = 0; number < 10; ++number) {
    DownloadPieceRequest request;
    request.set_piece_number(number);
    DownloadPieceResponse response;
    const absl::Status status = client->Call(
        kDownloadPiece, request.SerializeAsString(),
        [&](std::string_view message) {
          return response.ParseFromArray(message.data(), static_cast<int>(message.size()))
                     ? absl::OkStatus()
                     : absl::DataLossError("cannot parse");
        },
        Soon());
    EXPECT_TRUE(status.ok()) << status;
    EXPECT_EQ(response.piece().number(), number);
  }
}

TEST_F(UnixClientTest, CallsOverTcpByNameAndByAddress) {
  upload_.download_piece = [](const DownloadPieceRequest&, DownloadPieceResponse*) -> asio::awaitable<absl::Status> {
    co_return absl::NotFoundError("no such piece");
  };
  ServerOptions options;
  options.addresses = {"127.0.0.1:0"};
  Serve(options);
  for (const std::string host : {"127.0.0.1", "localhost"}) {
    const auto client = UnixClient::ConnectTcp(host, server_->port());
    ASSERT_TRUE(client.ok()) << host << ": " << client.status();
    EXPECT_EQ((*client)->Call(kDownloadPiece, "", Ignore, Soon()), absl::NotFoundError("no such piece")) << host;
  }
}

TEST_F(UnixClientTest, NamesHostAndPortThatNobodyServes) {
  // Bound and never listened on, so that nobody else gets the port.
  const UniqueFd bound(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(address);
  ASSERT_EQ(::bind(bound.get(), reinterpret_cast<const sockaddr*>(&address), length), 0);
  ASSERT_EQ(::getsockname(bound.get(), reinterpret_cast<sockaddr*>(&address), &length), 0);
  const int port = ntohs(address.sin_port);
  const absl::Status refused = UnixClient::ConnectTcp("127.0.0.1", port).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(MessageOf(refused), testing::HasSubstr("127.0.0.1:" + std::to_string(port)));
  const absl::Status unknown = UnixClient::ConnectTcp("no-such-host.invalid", 1).status();
  EXPECT_EQ(unknown.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(MessageOf(unknown), testing::HasSubstr("no-such-host.invalid"));
}

TEST_F(UnixClientTest, ReceivesLargeAndSmallMessagesOfAStream) {
  const std::string content(70 << 20, 'p');
  const std::vector<size_t> lengths = {0, 1, content.size(), 5, 1 << 20, content.size(), 0};
  upload_.download_task = [&](const DownloadTaskRequest&, TaskWriter writer) {
    auto work = [](TaskWriter w, const std::string* c, std::vector<size_t> sizes) -> asio::awaitable<absl::Status> {
      for (const size_t length : sizes) {
        DownloadTaskResponse response;
        if (length > 0)
          response.mutable_download_piece_finished_response()->mutable_piece()->set_content(c->substr(0, length));
        const absl::Status status = co_await w->Write(std::move(response));
        if (!status.ok()) co_return status;
      }
      co_return absl::OkStatus();
    };
    return work(std::move(writer), &content, lengths);
  };
  ServeUnix();
  std::vector<size_t> received;
  bool intact = true;
  const absl::Status status = Client()->Call(
      kDownloadTask, "",
      [&](std::string_view message) {
        DownloadTaskResponse response;
        if (!response.ParseFromArray(message.data(), static_cast<int>(message.size())))
          return absl::DataLossError("cannot parse");
        const std::string& bytes = response.download_piece_finished_response().piece().content();
        received.push_back(bytes.size());
        intact = intact && bytes == std::string_view(content).substr(0, bytes.size());
        return absl::OkStatus();
      },
      Soon());
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(received, lengths);
  EXPECT_TRUE(intact);
}

TEST_F(UnixClientTest, SendsALargeRequest) {
  const std::string task_id(60 << 20, 'q');
  upload_.download_piece = [&](const DownloadPieceRequest& request, DownloadPieceResponse*) {
    auto work = [](bool same) -> asio::awaitable<absl::Status> {
      co_return same ? absl::OkStatus() : absl::DataLossError("spoilt");
    };
    return work(request.task_id() == task_id);
  };
  ServeUnix();
  DownloadPieceRequest request;
  request.set_task_id(task_id);
  EXPECT_EQ(Client()->Call(kDownloadPiece, request.SerializeAsString(), Ignore, Soon()), absl::OkStatus());
}

TEST_F(UnixClientTest, ReportsCodeTextAndBackendError) {
  upload_.download_task = [](const DownloadTaskRequest&, TaskWriter) -> asio::awaitable<absl::Status> {
    BackendError error;
    error.message = "403 für Gäste 100%\n";
    error.header = {{"server", "nginx"}};
    error.status_code = 403;
    co_return MakeBackendErrorStatus(error);
  };
  ServeUnix();
  const absl::Status status = Client()->Call(kDownloadTask, "", Ignore, Soon());
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_EQ(MessageOf(status), "backend error 403 für Gäste 100%\n");
  const std::optional<BackendError> error = GetBackendError(status);
  ASSERT_TRUE(error.has_value());
  EXPECT_EQ(error->status_code, 403);
  EXPECT_EQ(error->header.at("server"), "nginx");
}

TEST_F(UnixClientTest, UnknownMethodIsUnimplemented) {
  ServeUnix();
  EXPECT_EQ(Client()->Call("/no.such.Service/Method", "", Ignore, Soon()).code(), absl::StatusCode::kUnimplemented);
}

TEST_F(UnixClientTest, ErrorOfTheReaderEndsTheCallAndTheConnectionLives) {
  Flag gone;
  upload_.download_task = [&](const DownloadTaskRequest&, TaskWriter writer) {
    auto work = [](TaskWriter w, Flag* flag) -> asio::awaitable<absl::Status> {
      struct OnExit {
        Flag* f;
        ~OnExit() { f->Set(); }
      } on_exit{flag};
      for (;;) {
        DownloadTaskResponse response;
        response.set_task_id(std::string(1000, 't'));
        const absl::Status status = co_await w->Write(std::move(response));
        if (!status.ok()) co_return status;
      }
    };
    return work(std::move(writer), &gone);
  };
  upload_.download_piece = [](const DownloadPieceRequest&, DownloadPieceResponse*) -> asio::awaitable<absl::Status> {
    co_return absl::OkStatus();
  };
  ServeUnix();
  const auto client = Client();
  int count = 0;
  const absl::Status status = client->Call(
      kDownloadTask, "",
      [&](std::string_view) { return ++count == 3 ? absl::AbortedError("enough") : absl::OkStatus(); }, Soon());
  EXPECT_EQ(status, absl::AbortedError("enough"));
  EXPECT_EQ(count, 3);
  EXPECT_TRUE(gone.Await());
  EXPECT_EQ(client->Call(kDownloadPiece, "", Ignore, Soon()), absl::OkStatus());
}

TEST_F(UnixClientTest, DeadlineEndsTheCallOnBothSides) {
  Flag gone;
  upload_.download_task = [&](const DownloadTaskRequest&, TaskWriter writer) {
    auto work = [](TaskWriter w, Flag* flag) -> asio::awaitable<absl::Status> {
      struct OnExit {
        Flag* f;
        ~OnExit() { f->Set(); }
      } on_exit{flag};
      runtime::Signal never;
      co_await never.Wait(0);
      co_return absl::OkStatus();
    };
    return work(std::move(writer), &gone);
  };
  ServeUnix();
  const auto client = Client();
  EXPECT_EQ(client->Call(kDownloadTask, "", Ignore, Clock::now() + std::chrono::milliseconds(50)).code(),
            absl::StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(gone.Await());
  EXPECT_EQ(client->Call("/no.such.Service/Method", "", Ignore, Soon()).code(), absl::StatusCode::kUnimplemented);
}

TEST_F(UnixClientTest, ServerThatStopsIsUnavailable) {
  Flag started;
  upload_.download_task = [&](const DownloadTaskRequest&, TaskWriter writer) {
    auto work = [](TaskWriter w, Flag* flag) -> asio::awaitable<absl::Status> {
      flag->Set();
      runtime::Signal never;
      co_await never.Wait(0);
      co_return absl::OkStatus();
    };
    return work(std::move(writer), &started);
  };
  ServeUnix();
  const auto client = Client();
  std::thread stopper([&] {
    if (started.Await()) server_->Shutdown(Clock::now());
  });
  const absl::Status status = client->Call(kDownloadTask, "", Ignore, Soon());
  stopper.join();
  EXPECT_FALSE(status.ok());
  EXPECT_EQ(client->Call(kDownloadTask, "", Ignore, Soon()).code(), absl::StatusCode::kUnavailable);
}

TEST_F(UnixClientTest, ConnectNamesTheSocketThatIsNotThere) {
  const absl::StatusOr<std::unique_ptr<UnixClient>> client = UnixClient::Connect(dir_.File("none.sock"));
  EXPECT_EQ(client.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(client.status().message()), testing::HasSubstr(dir_.File("none.sock")));
}

// A server that is no gRPC server at all: it accepts, answers with `bytes` and closes.
absl::Status CallStranger(const TempDir& dir, std::string bytes) {
  const std::string path = dir.File("stranger.sock");
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  const UniqueFd listener(::socket(AF_UNIX, SOCK_STREAM, 0));
  EXPECT_EQ(::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  EXPECT_EQ(::listen(listener.get(), 1), 0);
  std::thread server([&] {
    const UniqueFd connection(::accept(listener.get(), nullptr, nullptr));
    (void)!::write(connection.get(), bytes.data(), bytes.size());
    ::shutdown(connection.get(), SHUT_WR);
    char drain[4096];
    while (::read(connection.get(), drain, sizeof(drain)) > 0) {
    }
  });
  absl::StatusOr<std::unique_ptr<UnixClient>> client = UnixClient::Connect(path);
  EXPECT_TRUE(client.ok());
  const absl::Status status =
      (*client)->Call(kDownloadTask, "", [](std::string_view) { return absl::OkStatus(); }, Soon());
  client->reset();
  server.join();
  ::unlink(path.c_str());
  return status;
}

std::string Frame(uint8_t type, uint8_t flags, uint8_t stream, const std::string& payload) {
  const size_t n = payload.size();
  std::string frame = {static_cast<char>(n >> 16),
                       static_cast<char>(n >> 8),
                       static_cast<char>(n),
                       static_cast<char>(type),
                       static_cast<char>(flags),
                       0,
                       0,
                       0,
                       static_cast<char>(stream)};
  return frame + payload;
}

TEST_F(UnixClientTest, SurvivesServersThatSpeakNonsense) {
  const std::string settings = Frame(4, 0, 0, "");
  const std::string headers = Frame(1, 4, 1, "\x88");  // :status 200
  struct Case {
    const char* name;
    std::string bytes;
    absl::StatusCode code;
  };
  const std::vector<Case> cases = {
      {"closes at once", "", absl::StatusCode::kUnavailable},
      {"speaks HTTP/1", "HTTP/1.1 400 Bad Request\r\n\r\n", absl::StatusCode::kUnavailable},
      {"ends within a frame", settings + headers.substr(0, 5), absl::StatusCode::kUnavailable},
      {"ends without a status", settings + headers + Frame(0, 1, 1, ""), absl::StatusCode::kInternal},
      {"answers HTTP 404", settings + Frame(1, 5, 1, "\x8d"), absl::StatusCode::kUnknown},
      {"refuses the stream", settings + Frame(3, 0, 1, std::string("\0\0\0\x07", 4)), absl::StatusCode::kUnavailable},
      {"announces 4 GiB", settings + headers + Frame(0, 0, 1, std::string("\0\xff\xff\xff\xff", 5)),
       absl::StatusCode::kResourceExhausted},
      {"compresses", settings + headers + Frame(0, 0, 1, std::string("\1\0\0\0\1x", 6)), absl::StatusCode::kInternal},
      {"goes away", settings + Frame(7, 0, 0, std::string(8, '\0')), absl::StatusCode::kUnavailable},
      {"ends within a message",
       settings + headers + Frame(0, 0, 1, std::string("\0\0\0\0\5x", 6)) +
           // grpc-status: 0 as a literal header that is not indexed.
           Frame(1, 5, 1,
                 std::string("\0\x0bgrpc-status\x01"
                             "0",
                             15)),
       absl::StatusCode::kDataLoss},
  };
  for (const Case& c : cases) {
    const absl::Status status = CallStranger(dir_, c.bytes);
    EXPECT_EQ(status.code(), c.code) << c.name << ": " << status;
  }
}

}  // namespace
}  // namespace dragonfly::rpc
