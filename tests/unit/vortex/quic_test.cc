// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/post.hpp>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "tests/unit/vortex/loopback.h"
#include "tests/unit/vortex/lossy_relay.h"
#include "vortex/quic_client.h"
#include "vortex/quic_server.h"

namespace dragonfly::vortex {
namespace {

namespace asio = boost::asio;
using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr uint64_t kPieceLength = 3 << 20;

class QuicTest : public ::testing::Test {
 protected:
  QuicTest() { server_options_.ip = "127.0.0.1"; }
  ~QuicTest() override {
    MakeClient(/*end=*/true);
    if (server_) RunOn(io_.At(1), server_->Stop(Clock::now()));
  }

  void Serve(size_t pieces, uint64_t piece_length = kPieceLength) {
    provider_ = std::make_unique<FileProvider>(Content(pieces * piece_length), piece_length);
    StartServer(0);
  }
  void StartServer(uint16_t port) {
    server_options_.port = port;
    auto started = QuicServer::Start(server_options_, io_, *provider_, upload_);
    ASSERT_TRUE(started.ok()) << started.status();
    server_ = *std::move(started);
    if (!client_) MakeClient();
  }
  void StopServer(TimePoint deadline = Clock::now()) {
    RunOn(io_.At(1), server_->Stop(deadline));
    server_ = nullptr;
  }
  // A client lives and dies on its thread.
  void MakeClient(bool end = false) {
    OnClientThread(
        [&] { client_ = end ? nullptr : std::make_unique<QuicClient>(io_.At(0), download_, client_options_); });
  }
  template <typename Work>
  void OnClientThread(Work work) {
    std::promise<void> done;
    asio::post(io_.At(0), [&] {
      work();
      done.set_value();
    });
    Await(done.get_future());
  }
  size_t Connections() {
    size_t count = 0;
    OnClientThread([&] { count = client_->connections(); });
    return count;
  }

  static FetchRequest RequestFor(uint32_t number, uint64_t length = kPieceLength) {
    FetchRequest request;
    request.piece = Request{TaskId::Parse(kTaskId).value(), PieceNumber(number)};
    request.expected = {number * length, length};
    request.deadline = Clock::now() + kPatience;
    return request;
  }
  absl::StatusOr<ContentMetadata> Fetch(uint16_t port, FetchRequest request, ByteSink& sink) {
    return RunOn(io_.At(0), client_->Fetch(Endpoint{"127.0.0.1", port}, std::move(request), sink));
  }
  absl::Status FetchStatus(uint16_t port, FetchRequest request) {
    MemorySink sink;
    return Fetch(port, std::move(request), sink).status();
  }
  // All pieces at once; each must be right.
  void FetchAll(uint16_t port, uint32_t pieces, uint64_t length = kPieceLength) {
    std::vector<MemorySink> sinks(pieces);
    std::vector<std::future<absl::StatusOr<ContentMetadata>>> fetches;
    for (uint32_t number = 0; number < pieces; ++number) {
      fetches.push_back(asio::co_spawn(
          io_.At(0), client_->Fetch(Endpoint{"127.0.0.1", port}, RequestFor(number, length), sinks[number]),
          asio::use_future));
    }
    for (uint32_t number = 0; number < pieces; ++number) {
      const absl::StatusOr<ContentMetadata> metadata = Await(std::move(fetches[number]));
      ASSERT_TRUE(metadata.ok()) << metadata.status();
      EXPECT_EQ(metadata->number, PieceNumber(number));
      EXPECT_EQ(metadata->digest, FormatCrc32Digest(Crc32(provider_->Piece(number))));
      EXPECT_TRUE(sinks[number].bytes() == provider_->Piece(number)) << number;
    }
  }
  void AwaitServerConnections(size_t count) {
    const TimePoint deadline = Clock::now() + kPatience;
    while (server_->connections() != count && Clock::now() < deadline) std::this_thread::yield();
    EXPECT_EQ(server_->connections(), count);
  }

  runtime::IoThreads io_{2};
  runtime::TokenBucket download_{0};
  runtime::TokenBucket upload_{0};
  QuicServerOptions server_options_;
  QuicClient::Options client_options_;
  std::unique_ptr<FileProvider> provider_;
  std::unique_ptr<QuicServer> server_;
  std::unique_ptr<QuicClient> client_;
};

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
  const FileProvider::Transfer first{Tag::kDownloadPiece, 0, kPieceLength, true};
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

TEST_F(QuicTest, WaitsForAPieceThatIsBeingWritten) {
  const runtime::Signal ready;
  provider_ = std::make_unique<FileProvider>(Content(2 * kPieceLength), kPieceLength);
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
  provider_ = std::make_unique<FileProvider>(Content(3 * kPieceLength), kPieceLength);
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

TEST_F(QuicTest, TellsThatAPieceEndsEarly) {
  Serve(2);
  provider_->Truncate(kPieceLength + 1'000'000);
  EXPECT_TRUE(FetchStatus(server_->port(), RequestFor(0)).ok());
  const absl::Status status = FetchStatus(server_->port(), RequestFor(1));
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
  const FileProvider::Transfer broken{Tag::kDownloadPiece, 1, 1'000'000, false};
  EXPECT_EQ(provider_->Transfers(2)[1], broken);
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

TEST_F(QuicTest, FinishesRunningTransfersBeforeItStops) {
  const runtime::Signal ready;
  provider_ = std::make_unique<FileProvider>(Content(2 * kPieceLength), kPieceLength);
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
  provider_ = std::make_unique<FileProvider>(Content(2 * kPieceLength), kPieceLength);
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
  provider_ = std::make_unique<FileProvider>(Content(kPieceLength), kPieceLength);
  provider_->HoldBack(0, never);
  StartServer(0);
  EXPECT_THAT(FetchStatus(server_->port(), RequestFor(0)).ToString(), HasSubstr("piece is not ready"));
}

TEST_F(QuicTest, KeepsToItsDeadline) {
  const runtime::Signal never;
  provider_ = std::make_unique<FileProvider>(Content(kPieceLength), kPieceLength);
  provider_->HoldBack(0, never);
  StartServer(0);
  FetchRequest request = RequestFor(0);
  request.deadline = Clock::now() + std::chrono::milliseconds(200);
  EXPECT_EQ(FetchStatus(server_->port(), std::move(request)).code(), absl::StatusCode::kDeadlineExceeded);
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
