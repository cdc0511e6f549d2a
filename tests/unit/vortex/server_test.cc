// SPDX-License-Identifier: Apache-2.0
#include "vortex/server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <array>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "tests/unit/vortex/foreign_peer.h"
#include "tests/unit/vortex/loopback.h"

namespace dragonfly::vortex {
namespace {

using ::testing::ElementsAre;
using ::testing::StartsWith;

constexpr uint64_t kPieceLength = 3 << 20;
constexpr uint32_t kPieces = 3;
constexpr uint64_t kBigPiece = 24 << 20;  // more than socket buffers hold
constexpr size_t kHeadSize = 55 + 18;     // of FileProvider's metadata, without the digest

class ServerTest : public ::testing::Test {
 protected:
  ServerTest() : provider_(Content(kPieceLength * kPieces - 1000), kPieceLength), limiter_(0) {
    options_.ip = "127.0.0.1";
    options_.port = 0;
  }
  ~ServerTest() override {
    if (server_ != nullptr) Stop(Clock::now());
  }

  Server& Start() { return Start(limiter_); }
  Server& Start(runtime::TokenBucket& limiter) {
    server_ = Server::Start(options_, io_, provider_, limiter).value();
    return *server_;
  }
  void Stop(TimePoint deadline) { RunOn(io_.At(0), server_->Stop(deadline)); }
  Wire Connect() { return Wire::Connect(server_->port()); }

  // What a reference child gets for `number`.
  std::string Expected(uint32_t number, uint8_t tag, uint8_t packet_id) const {
    ContentHead head;
    head.tag = tag;
    head.number = number;
    head.offset = number * kPieceLength;
    head.length = provider_.Piece(number).size();
    head.digest = FormatCrc32Digest(Crc32(provider_.Piece(number)));
    head.parent_id = "10.0.0.1-host-7d3a";
    std::string packet = head.Packet();
    packet[0] = static_cast<char>(packet_id);
    return packet.append(provider_.Piece(number));
  }

  runtime::IoThreads io_{2};
  FileProvider provider_;
  runtime::TokenBucket limiter_;
  ServerOptions options_;
  std::unique_ptr<Server> server_;
};

TEST_F(ServerTest, ServesAReferenceChild) {
  Start();
  Wire child = Connect();
  child.Send(RequestPacket(1, 0, 0x42));
  const std::string expected = Expected(1, 1, 0x42);
  EXPECT_TRUE(child.Read(expected.size()) == expected);
  child.Close();
  EXPECT_THAT(provider_.Transfers(1),
              ElementsAre(FileProvider::Transfer{Tag::kDownloadPiece, 1, provider_.Piece(1).size(), true}));
}

TEST_F(ServerTest, KeepsTheConnectionForTheNextRequest) {
  Start();
  Wire child = Connect();
  for (const uint32_t number : {0u, 2u, 1u, 2u}) {
    child.Send(RequestPacket(number));
    const std::string expected = Expected(number, 1, 0x5a);
    ASSERT_TRUE(child.Read(expected.size()) == expected) << number;
  }
  EXPECT_EQ(server_->connections(), 1u);
}

TEST_F(ServerTest, AnswersEachRequestTagWithItsContentTag) {
  Start();
  for (const uint8_t tag : std::array<uint8_t, 4>{0, 2, 4, 6}) {
    Wire child = Connect();
    child.Send(RequestPacket(2, tag));
    const std::string expected = Expected(2, static_cast<uint8_t>(tag + 1), 0x5a);
    EXPECT_TRUE(child.Read(expected.size()) == expected) << static_cast<int>(tag);
  }
}

TEST_F(ServerTest, TakesARequestInPiecesAndSeveralAtOnce) {
  Start();
  Wire child = Connect();
  const std::string request = RequestPacket(2);
  for (const char c : request) child.Send(std::string_view(&c, 1));
  const std::string expected = Expected(2, 1, 0x5a);
  EXPECT_TRUE(child.Read(expected.size()) == expected);
  child.Send(request + request);
  EXPECT_TRUE(child.Read(expected.size()) == expected);
  EXPECT_TRUE(child.Read(expected.size()) == expected);
}

TEST_F(ServerTest, TellsWhatItHasNotAndKeepsTheConnection) {
  provider_.Fail(0, absl::InternalError("the disk is on fire"));
  Start();
  Wire child = Connect();
  const std::string id(kTaskId);
  const std::string not_found = ErrorPacket(2, "piece " + id + "-77 not found");
  child.Send(RequestPacket(77, 0, 0x11));
  EXPECT_EQ(child.Read(not_found.size()), not_found);
  const std::string internal = ErrorPacket(3, "failed to get piece " + id + "-0 content: the disk is on fire");
  child.Send(RequestPacket(0, 0, 0x11));
  EXPECT_EQ(child.Read(internal.size()), internal);
  child.Send(RequestPacket(2));
  const std::string expected = Expected(2, 1, 0x5a);
  EXPECT_TRUE(child.Read(expected.size()) == expected);
}

TEST_F(ServerTest, WaitsForAPieceThatIsBeingWritten) {
  runtime::Signal ready;
  provider_.HoldBack(1, ready);
  Start();
  Wire child = Connect();
  child.Send(RequestPacket(1));
  ready.Notify();
  const std::string expected = Expected(1, 1, 0x5a);
  EXPECT_TRUE(child.Read(expected.size()) == expected);
}

TEST_F(ServerTest, AnswersWithinTheTimeForAPieceThatIsBeingWritten) {
  options_.piece_wait_timeout = std::chrono::milliseconds(20);
  provider_.HoldBack(1, runtime::Signal());
  Start();
  Wire child = Connect();
  child.Send(RequestPacket(1));
  EXPECT_EQ(child.Read(7)[6], 3);
}

TEST_F(ServerTest, RefusesWhatIsNoRequestAndCloses) {
  struct Case {
    const char* what;
    std::string bytes;
    const char* message;
  };
  std::string upper = RequestPacket(0);
  upper[6] = 'A';
  const Case cases[] = {
      {"content tag", RequestPacket(0, 1), "unsupported tag 1"},
      {"reserved tag", RequestPacket(0, 8), "unsupported tag 8"},
      {"error tag", RequestPacket(0, 255), "unsupported tag 255"},
      {"HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "unsupported tag 82"},
      {"short request", std::string("\x01\x00\x00\x00\x00\x43", 6) + std::string(67, 'a'), "a piece request of 67"},
      {"long request", std::string("\x01\x00\x00\x00\x00\x45", 6) + std::string(69, 'a'), "a piece request of 69"},
      {"huge request", std::string("\x01\x00\xff\xff\xff\xff", 6), "a piece request of 4294967295"},
      {"empty request", std::string("\x01\x00\x00\x00\x00\x00", 6), "a piece request of 0"},
      {"upper-case id", upper, "task id"},
      {"piece beyond all files", RequestPacket(1u << 24), "no task has a piece number"},
  };
  Start();
  for (const Case& c : cases) {
    Wire child = Connect();
    // More than it reads: a plain close would reset the connection and might destroy the answer.
    child.Send(c.bytes + std::string(100'000, 'x'));
    const std::string head = child.Read(7);
    ASSERT_EQ(head.size(), 7u) << c.what;
    EXPECT_EQ(head[1], '\xff') << c.what;
    EXPECT_EQ(head[6], 1) << c.what;
    const auto length = static_cast<size_t>(static_cast<unsigned char>(head[5])) +
                        (static_cast<size_t>(static_cast<unsigned char>(head[4])) << 8);
    EXPECT_THAT(child.Read(length - 1), StartsWith(c.message)) << c.what;
    EXPECT_EQ(child.End(), "eof") << c.what;
  }
}

TEST_F(ServerTest, ClosesOnRequest) {
  Start();
  Wire child = Connect();
  child.Send(std::string("\x99\xfe\x00\x00\x00\x00", 6));
  EXPECT_EQ(child.End(), "eof");
}

TEST_F(ServerTest, DoesNotWaitForEverForARequest) {
  options_.first_byte_timeout = std::chrono::milliseconds(50);
  Start();
  Wire silent = Connect();
  Wire slow = Connect();
  slow.Send(RequestPacket(0).substr(0, 73));
  EXPECT_EQ(silent.End(), "eof");
  EXPECT_EQ(slow.End(), "eof");
}

TEST_F(ServerTest, ClosesConnectionsThatStayIdle) {
  options_.idle_timeout = std::chrono::milliseconds(50);
  Start();
  Wire child = Connect();
  child.Send(RequestPacket(2));
  const std::string expected = Expected(2, 1, 0x5a);
  EXPECT_EQ(child.Read(expected.size()).size(), expected.size());
  EXPECT_EQ(child.End(), "eof");
}

TEST_F(ServerTest, CutsAChildThatDoesNotRead) {
  options_.stall_timeout = std::chrono::milliseconds(100);
  FileProvider big(Content(kBigPiece), kBigPiece);
  auto server = Server::Start(options_, io_, big, limiter_).value();
  Wire child = Wire::Connect(server->port());
  child.ShrinkReceiveBuffer();
  child.Send(RequestPacket(0));
  const std::vector<FileProvider::Transfer> transfers = big.Transfers(1);
  ASSERT_EQ(transfers.size(), 1u);
  EXPECT_FALSE(transfers[0].complete);
  EXPECT_GT(transfers[0].sent, 0u);
  RunOn(io_.At(1), server->Stop(Clock::now()));
}

TEST_F(ServerTest, ReportsATransferThatTheChildEnds) {
  FileProvider big(Content(kBigPiece), kBigPiece);
  auto server = Server::Start(options_, io_, big, limiter_).value();
  Wire child = Wire::Connect(server->port());
  child.Send(RequestPacket(0));
  EXPECT_EQ(child.Read(1000).size(), 1000u);
  child.Close();
  const std::vector<FileProvider::Transfer> transfers = big.Transfers(1);
  ASSERT_EQ(transfers.size(), 1u);
  EXPECT_FALSE(transfers[0].complete);
  RunOn(io_.At(1), server->Stop(Clock::now()));
}

TEST_F(ServerTest, EndsTheConnectionWhenTheFileIsTooShort) {
  provider_.Truncate(kPieceLength + 100);
  Start();
  Wire child = Connect();
  child.Send(RequestPacket(1));
  const std::string expected = Expected(1, 1, 0x5a);
  EXPECT_EQ(child.Read(expected.size()).size(), expected.size() - provider_.Piece(1).size() + 100);
  EXPECT_THAT(provider_.Transfers(1), ElementsAre(FileProvider::Transfer{Tag::kDownloadPiece, 1, 100, false}));
}

TEST_F(ServerTest, ServesManyAtOnce) {
  Start();
  std::vector<Wire> children;
  for (int i = 0; i < 100; ++i) {
    children.push_back(Connect());
    children.back().Send(RequestPacket(2));
  }
  const std::string expected = Expected(2, 1, 0x5a);
  for (Wire& child : children) EXPECT_TRUE(child.Read(expected.size()) == expected);
  EXPECT_EQ(server_->connections(), 100u);
}

TEST_F(ServerTest, RefusesConnectionsBeyondItsLimit) {
  options_.connections_max = 2;
  Start();
  std::vector<Wire> children;
  const std::string expected = Expected(2, 1, 0x5a);
  for (int i = 0; i < 2; ++i) {
    children.push_back(Connect());
    children.back().Send(RequestPacket(2));
    EXPECT_TRUE(children.back().Read(expected.size()) == expected);
  }
  EXPECT_THAT(Connect().End(), ::testing::AnyOf("eof", "reset"));
  EXPECT_EQ(server_->connections(), 2u);
}

TEST_F(ServerTest, TakesTheBytesOfAPieceFromTheLimiterAndNoMore) {
  // One token a second, so that what the test itself lasts adds next to nothing.
  runtime::TokenBucket limiter(1, 10 << 20);
  Start(limiter);
  Wire child = Connect();
  child.Send(RequestPacket(1));
  const std::string expected = Expected(1, 1, 0x5a);
  EXPECT_TRUE(child.Read(expected.size()) == expected);
  const TimePoint now = Clock::now();
  EXPECT_EQ(limiter.Reserve((10 << 20) - kPieceLength, now), Clock::duration::zero());
  EXPECT_GT(limiter.Reserve(1000, now), Clock::duration::zero());
}

TEST_F(ServerTest, PacesWithinAPiece) {
  // The burst is sixteen chunks: what comes at once is not the whole piece.
  runtime::TokenBucket limiter(1, 256 << 10);
  Start(limiter);
  Wire child = Connect();
  child.Send(RequestPacket(1));
  EXPECT_EQ(child.Read(256 << 10).size(), 256u << 10);
  Stop(Clock::now());
  EXPECT_THAT(provider_.Transfers(1), ElementsAre(FileProvider::Transfer{Tag::kDownloadPiece, 1, 256 << 10, false}));
}

TEST_F(ServerTest, StopLetsTransfersEndAndClosesTheOthers) {
  FileProvider big(Content(kBigPiece), kBigPiece);
  auto server = Server::Start(options_, io_, big, limiter_).value();
  Wire idle = Wire::Connect(server->port());
  Wire child = Wire::Connect(server->port());
  child.Send(RequestPacket(0));
  std::string got = child.Read(1000);
  std::future<void> stopped =
      boost::asio::co_spawn(io_.At(1), server->Stop(Clock::now() + kPatience), boost::asio::use_future);
  EXPECT_EQ(idle.End(), "eof");
  EXPECT_THROW(Wire::Connect(server->port()), std::runtime_error);
  got += child.Read(kHeadSize + FormatCrc32Digest(Crc32(big.Piece(0))).size() + (kBigPiece)-1000);
  EXPECT_EQ(child.End(), "eof");
  Await(std::move(stopped));
  EXPECT_TRUE(std::string_view(got).substr(got.size() - (kBigPiece)) == big.Piece(0));
  EXPECT_EQ(server->connections(), 0u);
}

TEST_F(ServerTest, StopCutsTransfersAtItsDeadline) {
  FileProvider big(Content(kBigPiece), kBigPiece);
  auto server = Server::Start(options_, io_, big, limiter_).value();
  Wire child = Wire::Connect(server->port());
  child.ShrinkReceiveBuffer();
  child.Send(RequestPacket(0));
  EXPECT_EQ(child.Read(1000).size(), 1000u);
  RunOn(io_.At(1), server->Stop(Clock::now() + std::chrono::milliseconds(20)));
  EXPECT_FALSE(big.Transfers(1).at(0).complete);
  EXPECT_EQ(server->connections(), 0u);
}

TEST_F(ServerTest, NamesTheAddressThatItCannotHave) {
  const Server& first = Start();
  options_.port = first.port();
  const absl::StatusOr<std::unique_ptr<Server>> second = Server::Start(options_, io_, provider_, limiter_);
  EXPECT_THAT(std::string(second.status().message()), ::testing::HasSubstr("127.0.0.1 port"));
  options_.ip = "localhost";
  EXPECT_EQ(Server::Start(options_, io_, provider_, limiter_).status().code(), absl::StatusCode::kInvalidArgument);
}

// TCP_FASTOPEN of this process's socket that listens at `port`; -1 when there is none.
int FastOpenOf(uint16_t port) {
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    const int fd = std::stoi(entry.path().filename().string());
    int listens = 0;
    socklen_t size = sizeof(listens);
    if (::getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) != 0 || listens == 0) continue;
    sockaddr_in address{};
    size = sizeof(address);
    if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0 || ntohs(address.sin_port) != port)
      continue;
    int queue = 0;
    size = sizeof(queue);
    return ::getsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN, &queue, &size) == 0 ? queue : -1;
  }
  return -1;
}

TEST_F(ServerTest, TakesDataWithTheFirstPacketWhenToldSo) {
  EXPECT_EQ(FastOpenOf(Start().port()), 0);
  Stop(Clock::now());
  options_.fast_open = true;
  EXPECT_GT(FastOpenOf(Start().port()), 0);
  Wire child = Connect();
  child.Send(RequestPacket(2));
  const std::string expected = Expected(2, 1, 0x5a);
  EXPECT_TRUE(child.Read(expected.size()) == expected);
}

TEST_F(ServerTest, ListensOnIpv6) {
  options_.ip = "::";  // takes IPv4, too
  Start();
  Wire child = Connect();
  child.Send(RequestPacket(2));
  const std::string expected = Expected(2, 1, 0x5a);
  EXPECT_TRUE(child.Read(expected.size()) == expected);
}

}  // namespace
}  // namespace dragonfly::vortex
