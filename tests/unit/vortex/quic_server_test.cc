// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <random>
#include <string>
#include <vector>

#include "tests/unit/vortex/lossy_relay.h"
#include "tests/unit/vortex/quic_fixture.h"

namespace dragonfly::vortex {
namespace {

namespace asio = boost::asio;
using ::testing::AllOf;
using ::testing::HasSubstr;

TEST_F(QuicTest, ArrivesWholeOverABadNetwork) {
  Serve(8);
  LossyRelay relay(server_->port(), {.lost_percent = 2, .doubled_percent = 2, .late_percent = 3});
  FetchAll(relay.port(), 8);
  EXPECT_GT(relay.lost(), 100u);
  EXPECT_GT(relay.late(), 100u);
}

TEST_F(QuicTest, SurvivesThatTheClientGetsAnotherAddress) {
  Serve(6);
  LossyRelay relay(server_->port(), {});
  for (uint32_t number = 0; number < 6; ++number) {
    MemorySink sink;
    ASSERT_TRUE(Fetch(relay.port(), RequestFor(number), sink).ok());
    EXPECT_TRUE(sink.bytes() == provider_->Piece(number));
    relay.MoveClients();
  }
  EXPECT_EQ(server_->connections(), 1u);
}

TEST_F(QuicTest, TellsThatAPieceEndsEarly) {
  Serve(2);
  provider_->Truncate(kQuicPieceLength + 1'000'000);
  EXPECT_TRUE(FetchStatus(server_->port(), RequestFor(0)).ok());
  MemorySink sink;
  const absl::Status status = Fetch(server_->port(), RequestFor(1), sink).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
  EXPECT_FALSE(sink.bytes().empty()) << "what had come is handed on";
  EXPECT_TRUE(provider_->Piece(1).starts_with(sink.bytes()));
  const FileProvider::Transfer broken{Tag::kDownloadPiece, 1, 1'000'000, false};
  EXPECT_EQ(provider_->Transfers(2)[1], broken);
}

TEST_F(QuicTest, FinishesRunningTransfersBeforeItStops) {
  const runtime::Signal ready;
  provider_ = std::make_unique<FileProvider>(Content(2 * kQuicPieceLength), kQuicPieceLength);
  provider_->HoldBack(0, ready);
  StartServer(0);
  const uint16_t port = server_->port();
  MemorySink sink;
  auto fetch =
      asio::co_spawn(io_.At(0), client_->Fetch(Endpoint{"127.0.0.1", port}, RequestFor(0), sink), asio::use_future);
  ASSERT_TRUE(FetchStatus(port, RequestFor(1)).ok());
  auto stop = asio::co_spawn(io_.At(1), server_->Stop(Clock::now() + kPatience), asio::use_future);
  // A stranger is refused while the last transfer runs.
  std::unique_ptr<QuicClient> stranger;
  OnClientThread([&] { stranger = std::make_unique<QuicClient>(io_.At(0), download_, QuicClient::Options()); });
  MemorySink nothing;
  absl::Status refused;
  do {
    refused = RunOn(io_.At(0), stranger->Fetch(Endpoint{"127.0.0.1", port}, RequestFor(1), nothing)).status();
  } while (refused.ok());
  EXPECT_EQ(refused.code(), absl::StatusCode::kUnavailable) << refused;
  OnClientThread([&] { stranger = nullptr; });
  runtime::Signal(ready).Notify();
  EXPECT_TRUE(Await(std::move(fetch)).ok());
  EXPECT_TRUE(sink.bytes() == provider_->Piece(0));
  Await(std::move(stop));
  server_ = nullptr;
}

TEST_F(QuicTest, CutsTransfersAtTheDeadlineOfItsStop) {
  const runtime::Signal never;
  provider_ = std::make_unique<FileProvider>(Content(2 * kQuicPieceLength), kQuicPieceLength);
  provider_->HoldBack(0, never);
  StartServer(0);
  MemorySink sink;
  auto fetch = asio::co_spawn(io_.At(0), client_->Fetch(Endpoint{"127.0.0.1", server_->port()}, RequestFor(0), sink),
                              asio::use_future);
  ASSERT_TRUE(FetchStatus(server_->port(), RequestFor(1)).ok());
  StopServer(Clock::now() + std::chrono::milliseconds(100));
  EXPECT_EQ(Await(std::move(fetch)).status().code(), absl::StatusCode::kUnavailable);
}

TEST_F(QuicTest, RefusesMoreConnectionsThanItsLimit) {
  server_options_.connections_max = 1;
  Serve(1);
  ASSERT_TRUE(FetchStatus(server_->port(), RequestFor(0)).ok());
  std::unique_ptr<QuicClient> second;
  OnClientThread([&] { second = std::make_unique<QuicClient>(io_.At(0), download_, QuicClient::Options()); });
  MemorySink sink;
  const absl::Status refused =
      RunOn(io_.At(0), second->Fetch(Endpoint{"127.0.0.1", server_->port()}, RequestFor(0), sink)).status();
  EXPECT_THAT(refused.ToString(), AllOf(HasSubstr("UNAVAILABLE"), HasSubstr("closed the connection: code 2")));
  OnClientThread([&] { second = nullptr; });
}

TEST_F(QuicTest, ValidatesAddressesWhenManyShakeHands) {
  server_options_.retry_above = 0;
  Serve(2);
  FetchAll(server_->port(), 2);
  EXPECT_EQ(server_->connections(), 1u);
}

TEST_F(QuicTest, TakesNoMoreHandshakesThanItsLimit) {
  server_options_.handshakes_max = 0;
  client_options_.connect_timeout = std::chrono::milliseconds(300);
  Serve(1);
  EXPECT_EQ(FetchStatus(server_->port(), RequestFor(0)).code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(server_->connections(), 0u);
}

TEST_F(QuicTest, EndsRequestsThatAreNotSentInTime) {
  // A piece that nobody finishes, and a child that leaves: the parent's side ends with its own timeout.
  const runtime::Signal never;
  server_options_.piece_wait_timeout = std::chrono::milliseconds(100);
  provider_ = std::make_unique<FileProvider>(Content(kQuicPieceLength), kQuicPieceLength);
  provider_->HoldBack(0, never);
  StartServer(0);
  EXPECT_THAT(FetchStatus(server_->port(), RequestFor(0)).ToString(), HasSubstr("piece is not ready"));
}

TEST(QuicLimits, HoldTheUploadToItsBandwidth) {
  runtime::IoThreads io(2);
  runtime::TokenBucket none(0);
  runtime::TokenBucket upload(8 << 20, 1 << 20);
  FileProvider provider(Content(4 << 20), 4 << 20);
  QuicServerOptions options;
  options.ip = "127.0.0.1";
  options.port = 0;
  auto server = QuicServer::Start(options, io, provider, upload).value();
  std::unique_ptr<QuicClient> client;
  const auto fetch = [&]() -> asio::awaitable<absl::Status> {
    client = std::make_unique<QuicClient>(io.At(0), none, QuicClient::Options());
    FetchRequest request;
    request.piece = Request{TaskId::Parse(kTaskId).value(), PieceNumber(0)};
    request.expected = {0, 4 << 20};
    MemorySink sink;
    const auto metadata = co_await client->Fetch(Endpoint{"127.0.0.1", server->port()}, std::move(request), sink);
    client = nullptr;
    co_return metadata.status();
  };
  const TimePoint begun = Clock::now();
  EXPECT_TRUE(RunOn(io.At(0), fetch()).ok());
  // 4 MiB at 8 MiB/s with a MiB at hand.
  EXPECT_GT(Clock::now() - begun, std::chrono::milliseconds(300));
  RunOn(io.At(1), server->Stop(Clock::now()));
}

TEST(QuicAddresses, ServesOverIPv6) {
  runtime::IoThreads io(2);
  runtime::TokenBucket none(0);
  FileProvider provider(Content(1 << 20), 1 << 20);
  QuicServerOptions options;
  options.ip = "::";
  options.port = 0;
  auto server = QuicServer::Start(options, io, provider, none).value();
  for (const std::string ip : {"::1", "127.0.0.1"}) {
    std::unique_ptr<QuicClient> client;
    const auto fetch = [&]() -> asio::awaitable<absl::Status> {
      client = std::make_unique<QuicClient>(io.At(0), none, QuicClient::Options());
      FetchRequest request;
      request.piece = Request{TaskId::Parse(kTaskId).value(), PieceNumber(0)};
      request.expected = {0, 1 << 20};
      MemorySink sink;
      const auto metadata = co_await client->Fetch(Endpoint{ip, server->port()}, std::move(request), sink);
      client = nullptr;
      co_return metadata.status();
    };
    const absl::Status status = RunOn(io.At(0), fetch());
    EXPECT_TRUE(status.ok()) << ip << ": " << status;
  }
  RunOn(io.At(1), server->Stop(Clock::now()));
}

TEST(QuicAddresses, RefusesAPortThatIsTaken) {
  runtime::IoThreads io(2);
  runtime::TokenBucket none(0);
  FileProvider provider("content", 7);
  QuicServerOptions options;
  options.ip = "127.0.0.1";
  options.port = 0;
  auto first = QuicServer::Start(options, io, provider, none).value();
  options.port = first->port();
  const auto second = QuicServer::Start(options, io, provider, none);
  EXPECT_THAT(second.status().ToString(), HasSubstr("serve pieces over QUIC on 127.0.0.1 port"));
  options.ip = "localhost";
  EXPECT_THAT(QuicServer::Start(options, io, provider, none).status().ToString(), HasSubstr("not an IP address"));
  RunOn(io.At(1), first->Stop(Clock::now()));
}

// Datagrams of no connection.
class QuicStrangers : public QuicTest {
 protected:
  QuicStrangers() {
    Serve(1);
    socket_ = UniqueFd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(server_->port());
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const timeval patience{10, 0};
    ::setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    if (::connect(socket_.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) std::abort();
  }
  std::string Ask(std::string datagram) {
    datagram.resize(std::max<size_t>(datagram.size(), 1200));
    if (::send(socket_.get(), datagram.data(), datagram.size(), 0) < 0) return "not sent";
    std::string answer(2000, '\0');
    const ssize_t n = ::recv(socket_.get(), answer.data(), answer.size(), 0);
    answer.resize(n < 0 ? 0 : static_cast<size_t>(n));
    return answer;
  }
  UniqueFd socket_;
};

TEST_F(QuicStrangers, AreToldTheVersionsThatAreSpoken) {
  using namespace std::string_literals;
  const std::string answer =
      Ask("\xc0\x1a\x2a\x3a\x4a\x08"
          "12345678"
          "\x04"
          "abcd"s);
  ASSERT_EQ(answer.size(), 1u + 4 + 1 + 4 + 1 + 8 + 4);
  EXPECT_EQ(answer.substr(1),
            "\0\0\0\0\x04"
            "abcd"
            "\x08"
            "12345678"
            "\0\0\0\x01"s);
}

TEST_F(QuicStrangers, GetAShorterResetForAConnectionThatIsNotKnown) {
  const std::string answer =
      Ask(std::string("\x40"
                      "123456789012345678901234567890"));
  EXPECT_GE(answer.size(), 21u);
  EXPECT_LE(answer.size(), 64u);
  EXPECT_EQ(answer[0] & 0xc0, 0x40);
}

TEST_F(QuicStrangers, DoNoHarmWithNoise) {
  std::mt19937 random(3);
  for (int i = 0; i < 3000; ++i) {
    std::string noise(random() % 1500, '\0');
    for (char& c : noise) c = static_cast<char>(random());
    // Half of them look like the first packet of a connection.
    if (i % 2 == 0 && noise.size() > 40) noise.replace(0, 6, std::string("\xc3\0\0\0\1\x08", 6));
    ::send(socket_.get(), noise.data(), noise.size(), MSG_DONTWAIT);
  }
  EXPECT_TRUE(FetchStatus(server_->port(), RequestFor(0)).ok());
}

}  // namespace
}  // namespace dragonfly::vortex
