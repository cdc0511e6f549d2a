// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <string>
#include <vector>

#include "tests/unit/vortex/lossy_relay.h"
#include "tests/unit/vortex/quic_fixture.h"

namespace dragonfly::vortex {
namespace {

namespace asio = boost::asio;
using ::testing::AllOf;
using ::testing::HasSubstr;

TEST_F(QuicTest, FetchesOnePieceAfterTheOtherOverOneConnection) {
  Serve(4);
  for (uint32_t number = 0; number < 4; ++number) {
    MemorySink sink;
    const absl::StatusOr<ContentMetadata> metadata = Fetch(server_->port(), RequestFor(number), sink);
    ASSERT_TRUE(metadata.ok()) << metadata.status();
    EXPECT_TRUE(sink.bytes() == provider_->Piece(number));
    EXPECT_EQ(metadata->parent_id, "10.0.0.1-host-7d3a");
    EXPECT_EQ(server_->connections(), 1u);
    EXPECT_EQ(Connections(), 1u);
  }
  const FileProvider::Transfer first{Tag::kDownloadPiece, 0, kQuicPieceLength, true};
  EXPECT_EQ(provider_->Transfers(4)[0], first);
}

TEST_F(QuicTest, FetchesMorePiecesAtATimeThanTheParentAllows) {
  server_options_.streams_max = 5;
  Serve(40, 300'000);
  FetchAll(server_->port(), 40, 300'000);
  EXPECT_EQ(server_->connections(), 1u);
  for (const FileProvider::Transfer& transfer : provider_->Transfers(40)) EXPECT_TRUE(transfer.complete);
}

TEST_F(QuicTest, FetchesAPieceThatIsLargerThanEveryWindow) {
  constexpr uint64_t kLength = 48 << 20;
  server_options_.send_memory = 4 << 20;
  Serve(1, kLength);
  FetchAll(server_->port(), 1, kLength);
}

TEST_F(QuicTest, HandsLargeBlocksToTheSink) {
  Serve(1);
  MemorySink sink;
  ASSERT_TRUE(Fetch(server_->port(), RequestFor(0), sink).ok());
  EXPECT_EQ(sink.appends(), 3);
}

TEST_F(QuicTest, FetchesAnEmptyPiece) {
  Serve(1);
  FetchRequest request = RequestFor(0);
  request.expected.length = 0;
  // The parent has more than that.
  EXPECT_EQ(FetchStatus(server_->port(), std::move(request)).code(), absl::StatusCode::kDataLoss);
}

TEST_F(QuicTest, WaitsForAPieceThatIsBeingWritten) {
  const runtime::Signal ready;
  provider_ = std::make_unique<FileProvider>(Content(2 * kQuicPieceLength), kQuicPieceLength);
  provider_->HoldBack(1, ready);
  StartServer(0);
  MemorySink sink;
  auto fetch = asio::co_spawn(io_.At(0), client_->Fetch(Endpoint{"127.0.0.1", server_->port()}, RequestFor(1), sink),
                              asio::use_future);
  // Others are not held up by it.
  EXPECT_TRUE(FetchStatus(server_->port(), RequestFor(0)).ok());
  runtime::Signal(ready).Notify();
  EXPECT_TRUE(Await(std::move(fetch)).ok());
  EXPECT_TRUE(sink.bytes() == provider_->Piece(1));
}

TEST_F(QuicTest, TellsWhatTheParentSays) {
  provider_ = std::make_unique<FileProvider>(Content(3 * kQuicPieceLength), kQuicPieceLength);
  provider_->Fail(1, absl::InternalError("the disk is ill"));
  StartServer(0);
  EXPECT_THAT(FetchStatus(server_->port(), RequestFor(9)).ToString(),
              AllOf(HasSubstr("NOT_FOUND"), HasSubstr("fetch piece 9 of task a46de92f"), HasSubstr("code=NotFound"),
                    HasSubstr("-9 not found")));
  EXPECT_THAT(FetchStatus(server_->port(), RequestFor(1)).ToString(),
              AllOf(HasSubstr("INTERNAL"), HasSubstr("code=Internal"), HasSubstr("the disk is ill")));
  FetchRequest unknown = RequestFor(0);
  unknown.tag = static_cast<Tag>(9);
  EXPECT_THAT(FetchStatus(server_->port(), std::move(unknown)).ToString(), HasSubstr("unsupported tag 9"));
  // None of it is a reason to part.
  EXPECT_TRUE(FetchStatus(server_->port(), RequestFor(0)).ok());
  EXPECT_EQ(server_->connections(), 1u);
}

TEST_F(QuicTest, RefusesAParentThatSendsAnotherPiece) {
  Serve(2);
  FetchRequest request = RequestFor(1);
  request.expected.offset += 1;
  MemorySink sink;
  const absl::Status status = Fetch(server_->port(), std::move(request), sink).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
  EXPECT_TRUE(sink.bytes().empty());
  EXPECT_FALSE(provider_->Transfers(1)[0].complete);
}

TEST_F(QuicTest, ReturnsTheErrorOfTheSink) {
  Serve(2);
  MemorySink sink(1 << 20);
  const absl::Status status = Fetch(server_->port(), RequestFor(0), sink).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  EXPECT_TRUE(FetchStatus(server_->port(), RequestFor(1)).ok());
  EXPECT_EQ(server_->connections(), 1u);
}

TEST_F(QuicTest, KeepsTheConnectionWhenFetchesAreCancelled) {
  constexpr uint64_t kLength = 8 << 20;
  Serve(12, kLength);
  // Each leaves behind what was on its way: together more than the connection's window.
  class CancellingSink final : public ByteSink {
   public:
    explicit CancellingSink(asio::cancellation_signal& signal) : signal_(signal) {}
    absl::Status Append(std::span<const std::byte>) override {
      signal_.emit(asio::cancellation_type::terminal);
      return absl::OkStatus();
    }

   private:
    asio::cancellation_signal& signal_;
  };
  for (uint32_t number = 0; number < 11; ++number) {
    asio::cancellation_signal signal;
    CancellingSink sink(signal);
    std::promise<void> ended;
    asio::co_spawn(
        io_.At(0), client_->Fetch(Endpoint{"127.0.0.1", server_->port()}, RequestFor(number, kLength), sink),
        asio::bind_cancellation_slot(signal.slot(), [&](std::exception_ptr error, absl::StatusOr<ContentMetadata>) {
          EXPECT_TRUE(error != nullptr);
          ended.set_value();
        }));
    Await(ended.get_future());
  }
  MemorySink sink;
  ASSERT_TRUE(Fetch(server_->port(), RequestFor(11, kLength), sink).ok());
  EXPECT_TRUE(sink.bytes() == provider_->Piece(11));
  EXPECT_EQ(server_->connections(), 1u);
  int broken = 0;
  for (const FileProvider::Transfer& transfer : provider_->Transfers(12)) broken += transfer.complete ? 0 : 1;
  EXPECT_EQ(broken, 11);
}

TEST_F(QuicTest, NoticesAtOnceThatNobodyListens) {
  Serve(1);
  const uint16_t port = server_->port();
  StopServer();
  client_options_.connect_timeout = std::chrono::seconds(20);
  MakeClient();
  const TimePoint begun = Clock::now();
  const absl::Status status = FetchStatus(port, RequestFor(0));
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
  EXPECT_LT(Clock::now() - begun, std::chrono::seconds(5));
  EXPECT_EQ(Connections(), 0u);
}

TEST_F(QuicTest, GivesUpAPeerThatDoesNotAnswer) {
  const UniqueFd silent(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  ASSERT_EQ(::bind(silent.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_EQ(::getsockname(silent.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
  client_options_.connect_timeout = std::chrono::milliseconds(300);
  MakeClient();
  const absl::Status status = FetchStatus(ntohs(address.sin_port), RequestFor(0));
  EXPECT_THAT(status.ToString(), AllOf(HasSubstr("UNAVAILABLE"), HasSubstr("no handshake in time")));
  EXPECT_EQ(Connections(), 0u);
}

TEST_F(QuicTest, MakesANewConnectionWhenTheParentHasGoneWithoutAWord) {
  Serve(2);
  auto relay = std::make_unique<LossyRelay>(server_->port(), LossyRelay::Weather{});
  ASSERT_TRUE(FetchStatus(relay->port(), RequestFor(0)).ok());
  relay->Cut();
  FetchRequest request = RequestFor(1);
  request.stall_timeout = std::chrono::milliseconds(300);
  EXPECT_EQ(FetchStatus(relay->port(), std::move(request)).code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(Connections(), 0u);
}

TEST_F(QuicTest, AsksARestartedParentOnANewConnection) {
  Serve(2);
  const uint16_t port = server_->port();
  ASSERT_TRUE(FetchStatus(port, RequestFor(0)).ok());
  StopServer();
  StartServer(port);
  EXPECT_TRUE(FetchStatus(port, RequestFor(1)).ok());
}

TEST_F(QuicTest, SendsNothingOfItsOwnBetweenRequests) {
  constexpr uint32_t kPieces = 20;
  constexpr uint64_t kLength = 1000;
  Serve(kPieces, kLength);
  LossyRelay relay(server_->port(), {});
  for (uint32_t number = 0; number < kPieces; ++number) {
    EXPECT_TRUE(FetchStatus(relay.port(), RequestFor(number, kLength)).ok());
  }
  // A request and some acknowledgements for each, the handshake and the probes for the size of datagrams.
  EXPECT_LT(relay.sent_by_clients(), 10 * kPieces);
}

TEST_F(QuicTest, ClosesWhatIsIdle) {
  client_options_.idle_timeout = std::chrono::milliseconds(50);
  Serve(1);
  ASSERT_TRUE(FetchStatus(server_->port(), RequestFor(0)).ok());
  AwaitServerConnections(0);
}

TEST_F(QuicTest, ClosesItsConnectionsWhenItEnds) {
  Serve(1);
  ASSERT_TRUE(FetchStatus(server_->port(), RequestFor(0)).ok());
  EXPECT_EQ(server_->connections(), 1u);
  MakeClient(/*end=*/true);
  AwaitServerConnections(0);
}

TEST_F(QuicTest, KeepsToItsDeadline) {
  const runtime::Signal never;
  provider_ = std::make_unique<FileProvider>(Content(kQuicPieceLength), kQuicPieceLength);
  provider_->HoldBack(0, never);
  StartServer(0);
  FetchRequest request = RequestFor(0);
  request.deadline = Clock::now() + std::chrono::milliseconds(200);
  EXPECT_EQ(FetchStatus(server_->port(), std::move(request)).code(), absl::StatusCode::kDeadlineExceeded);
}

TEST(QuicLimits, HoldTheDownloadToItsBandwidth) {
  runtime::IoThreads io(2);
  runtime::TokenBucket none(0);
  runtime::TokenBucket download(8 << 20, 1 << 20);
  FileProvider provider(Content(4 << 20), 4 << 20);
  QuicServerOptions options;
  options.ip = "127.0.0.1";
  options.port = 0;
  auto server = QuicServer::Start(options, io, provider, none).value();
  std::unique_ptr<QuicClient> client;
  std::string bytes;
  const auto fetch = [&]() -> asio::awaitable<absl::Status> {
    client = std::make_unique<QuicClient>(io.At(0), download, QuicClient::Options());
    FetchRequest request;
    request.piece = Request{TaskId::Parse(kTaskId).value(), PieceNumber(0)};
    request.expected = {0, 4 << 20};
    MemorySink sink;
    const auto metadata = co_await client->Fetch(Endpoint{"127.0.0.1", server->port()}, std::move(request), sink);
    client = nullptr;
    bytes = sink.bytes();
    co_return metadata.status();
  };
  const TimePoint begun = Clock::now();
  EXPECT_TRUE(RunOn(io.At(0), fetch()).ok());
  EXPECT_TRUE(bytes == provider.Piece(0));
  EXPECT_GT(Clock::now() - begun, std::chrono::milliseconds(300));
  RunOn(io.At(1), server->Stop(Clock::now()));
}

}  // namespace
}  // namespace dragonfly::vortex
