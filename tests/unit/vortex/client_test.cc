// SPDX-License-Identifier: Apache-2.0
#include "vortex/client.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/post.hpp>
#include <string>
#include <vector>

#include "runtime/buffer_pool.h"
#include "tests/unit/vortex/foreign_peer.h"
#include "tests/unit/vortex/loopback.h"

namespace dragonfly::vortex {
namespace {

namespace asio = boost::asio;
using ::testing::HasSubstr;

constexpr uint64_t kPieceLength = 3 << 20;

class ClientTest : public ::testing::Test {
 protected:
  ClientTest() { Make(limiter_); }
  ~ClientTest() override { Make(limiter_, /*end=*/true); }

  // A client lives and dies on its thread.
  void Make(runtime::TokenBucket& limiter, bool end = false) {
    std::promise<void> done;
    asio::post(io_.At(0), [&] {
      client_ = end ? nullptr : std::make_unique<Client>(io_.At(0), limiter, options_);
      done.set_value();
    });
    Await(done.get_future());
  }

  static FetchRequest RequestFor(uint32_t number, uint64_t length = kPieceLength) {
    FetchRequest request;
    request.piece = Request{TaskId::Parse(kTaskId).value(), PieceNumber(number)};
    request.expected = {number * kPieceLength, length};
    return request;
  }
  absl::StatusOr<ContentMetadata> Fetch(uint16_t port, FetchRequest request, ByteSink& sink) {
    return RunOn(io_.At(0), client_->Fetch(Endpoint{"127.0.0.1", port}, std::move(request), sink));
  }
  absl::Status FetchStatus(uint16_t port, FetchRequest request) {
    MemorySink sink;
    return Fetch(port, std::move(request), sink).status();
  }
  void CloseIdle() {
    asio::post(io_.At(0), [this] { client_->CloseIdle(); });
  }
  size_t IdleConnections() {
    std::promise<size_t> count;
    asio::post(io_.At(0), [&] { count.set_value(client_->idle_connections()); });
    return Await(count.get_future());
  }

  // The head of a true answer.
  static ContentHead HeadFor(uint32_t number, uint64_t length = kPieceLength) {
    ContentHead head;
    head.number = number;
    head.offset = number * kPieceLength;
    head.length = length;
    return head;
  }

  runtime::IoThreads io_{2};
  runtime::TokenBucket limiter_{0};
  Client::Options options_;
  std::unique_ptr<Client> client_;
};

TEST_F(ClientTest, FetchesFromAReferenceParent) {
  const std::string content = Content(kPieceLength);
  std::atomic<bool> byte_exact = true;
  ForeignParent parent([&](Wire& wire, int connection) {
    const auto number = static_cast<uint32_t>(connection);
    std::string request = wire.Read(74);
    request[0] = 0x5a;  // the packet id is anything
    if (request != RequestPacket(number)) byte_exact = false;
    ContentHead head = HeadFor(number);
    head.digest = FormatCrc32Digest(Crc32(content));
    head.parent_id = "peer";
    wire.Send(head.Packet());
    wire.Send(content);
  });  // and closes
  for (uint32_t number = 0; number < 3; ++number) {
    MemorySink sink;
    const absl::StatusOr<ContentMetadata> metadata = Fetch(parent.port(), RequestFor(number), sink);
    ASSERT_TRUE(metadata.ok()) << metadata.status();
    EXPECT_TRUE(sink.bytes() == content);
    EXPECT_EQ(metadata->digest, FormatCrc32Digest(Crc32(content)));
    EXPECT_EQ(metadata->parent_id, "peer");
    EXPECT_EQ(metadata->number, PieceNumber(number));
  }
  EXPECT_TRUE(byte_exact);
  EXPECT_EQ(parent.connections(), 3);
}

TEST_F(ClientTest, KeepsTheConnectionOfAParentThatDoes) {
  FileProvider provider(Content(4 * kPieceLength), kPieceLength);
  ServerOptions options;
  options.ip = "127.0.0.1";
  options.port = 0;
  auto server = Server::Start(options, io_, provider, limiter_).value();
  for (uint32_t number = 0; number < 4; ++number) {
    MemorySink sink;
    const absl::StatusOr<ContentMetadata> metadata = Fetch(server->port(), RequestFor(number), sink);
    ASSERT_TRUE(metadata.ok()) << metadata.status();
    EXPECT_TRUE(sink.bytes() == provider.Piece(number));
    EXPECT_EQ(IdleConnections(), 1u);
    EXPECT_EQ(server->connections(), 1u);
  }
  // An answer that says no is no reason to part.
  EXPECT_EQ(FetchStatus(server->port(), RequestFor(99)).code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(IdleConnections(), 1u);
  CloseIdle();
  EXPECT_EQ(IdleConnections(), 0u);
  RunOn(io_.At(1), server->Stop(Clock::now() + kPatience));
}

TEST_F(ClientTest, AsksAgainOnANewConnectionWhenAKeptOneHasEnded) {
  const std::string content = Content(kPieceLength);
  ForeignParent parent([&](Wire& wire, int) {
    // Serves one piece, keeps the connection, and closes it when the next request comes.
    wire.Read(74);
    wire.Send(HeadFor(0).Packet() + content);
    wire.Read(74);
  });
  for (int i = 1; i <= 3; ++i) {
    EXPECT_TRUE(FetchStatus(parent.port(), RequestFor(0)).ok());
    EXPECT_EQ(parent.connections(), i);
  }
  CloseIdle();
}

TEST_F(ClientTest, ANewConnectionThatEndsIsNotTriedAgain) {
  ForeignParent parent([&](Wire& wire, int) { wire.Read(74); });
  EXPECT_EQ(FetchStatus(parent.port(), RequestFor(0)).code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(parent.connections(), 1);
}

TEST_F(ClientTest, DoesNotReuseAConnectionWithBytesLeftOver) {
  const std::string content = Content(kPieceLength);
  ForeignParent parent([&](Wire& wire, int) {
    wire.Read(74);
    wire.Send(HeadFor(0).Packet() + content + "more");
    wire.End();
  });
  EXPECT_TRUE(FetchStatus(parent.port(), RequestFor(0)).ok());
  EXPECT_TRUE(FetchStatus(parent.port(), RequestFor(0)).ok());
  EXPECT_EQ(parent.connections(), 2);
}

TEST_F(ClientTest, ForgetsConnectionsThatStayIdle) {
  options_.idle_timeout = std::chrono::milliseconds(20);
  Make(limiter_);
  std::promise<std::string> end;
  ForeignParent parent([&](Wire& wire, int) {
    wire.Read(74);
    wire.Send(HeadFor(0, 5).Packet() + "hello");
    end.set_value(wire.End());
  });
  EXPECT_TRUE(FetchStatus(parent.port(), RequestFor(0, 5)).ok());
  EXPECT_EQ(Await(end.get_future()), "eof");
  EXPECT_EQ(IdleConnections(), 0u);
}

TEST_F(ClientTest, RefusesAParentThatLies) {
  struct Case {
    const char* what;
    std::string answer;
    const char* message;
  };
  ContentHead number = HeadFor(1);
  number.number = 2;
  ContentHead offset = HeadFor(1);
  offset.offset = 0;
  ContentHead length = HeadFor(1);
  length.length = kPieceLength - 1;
  ContentHead tag = HeadFor(1);
  tag.tag = 3;
  ContentHead digest = HeadFor(1);
  digest.digest = "\xff\xfe";
  std::string metadata_length = HeadFor(1).Packet();
  metadata_length.replace(6, 4, "\xff\xff\xff\xff");
  std::string huge_head = HeadFor(1).Packet();
  huge_head.replace(2, 4, "\xff\xff\xff\xff");
  const Case cases[] = {
      {"number", number.Packet(), "sends piece 2"},
      {"offset", offset.Packet(), "at 0 of"},
      {"length", length.Packet(), "of 3145727 bytes"},
      {"tag", tag.Packet(), "tag 3"},
      {"request tag", RequestPacket(1), "tag 0"},
      {"digest", digest.Packet(), "not UTF-8"},
      {"metadata length", metadata_length, "names a length"},
      {"head length", huge_head, "head of 4294967295"},
      {"error length", std::string("\x01\xff\x00\x01\x00\x01", 6), "head of 65537"},
      {"error without a code", std::string("\x01\xff\x00\x00\x00\x00", 6), "without a code"},
      {"HTTP/2 settings", std::string("\x00\x00\x06\x04\x00\x00\x00\x00\x00", 9), "tag 0"},
  };
  for (const Case& c : cases) {
    ForeignParent parent([&](Wire& wire, int) {
      wire.Read(74);
      wire.Send(c.answer + Content(1000));
      wire.End();
    });
    MemorySink sink;
    const absl::Status status = Fetch(parent.port(), RequestFor(1), sink).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << c.what << ": " << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(c.message)) << c.what;
    EXPECT_EQ(sink.bytes(), "") << c.what;
    EXPECT_EQ(IdleConnections(), 0u) << c.what;
  }
}

TEST_F(ClientTest, PassesOnWhatTheParentSays) {
  struct Case {
    uint8_t code;
    absl::StatusCode status;
    const char* message;
  };
  const Case cases[] = {
      {0, absl::StatusCode::kInternal, "vortex protocol status: code=Unknown, message=why"},
      {1, absl::StatusCode::kInvalidArgument, "vortex protocol status: code=InvalidArgument, message=why"},
      {2, absl::StatusCode::kNotFound, "vortex protocol status: code=NotFound, message=why"},
      {3, absl::StatusCode::kInternal, "vortex protocol status: code=Internal, message=why"},
      {9, absl::StatusCode::kInternal, "vortex protocol status: code=Reserved, message=why"},
  };
  for (const Case& c : cases) {
    ForeignParent parent([&](Wire& wire, int) {
      wire.Read(74);
      wire.Send(ErrorPacket(c.code, "why"));
    });
    const absl::Status status = FetchStatus(parent.port(), RequestFor(1));
    EXPECT_EQ(status.code(), c.status);
    EXPECT_THAT(std::string(status.message()), HasSubstr(c.message));
  }
}

TEST_F(ClientTest, NoticesAParentThatEndsEarly) {
  const std::string whole = HeadFor(0).Packet() + Content(kPieceLength);
  for (const size_t size : {size_t{0}, size_t{1}, size_t{6}, size_t{20}, whole.size() - 1}) {
    ForeignParent parent([&](Wire& wire, int) {
      wire.Read(74);
      wire.Send(std::string_view(whole).substr(0, size));
    });
    EXPECT_EQ(FetchStatus(parent.port(), RequestFor(0)).code(), absl::StatusCode::kUnavailable) << size;
  }
}

TEST_F(ClientTest, LeavesASilentParentAtEveryStage) {
  const std::string whole = HeadFor(0).Packet() + Content(kPieceLength);
  for (const size_t size : {size_t{0}, size_t{1}, size_t{6}, size_t{20}, size_t{1000}, whole.size() - 1}) {
    ForeignParent parent([&](Wire& wire, int) {
      wire.Read(74);
      wire.Send(std::string_view(whole).substr(0, size));
      wire.End();
    });
    FetchRequest request = RequestFor(0);
    request.stall_timeout = std::chrono::milliseconds(50);
    EXPECT_EQ(FetchStatus(parent.port(), std::move(request)).code(), absl::StatusCode::kDeadlineExceeded) << size;
  }
}

TEST_F(ClientTest, KeepsTheDeadlineOfThePiece) {
  // A parent that is never silent for long, and never done.
  ForeignParent parent([&](Wire& wire, int) {
    wire.Read(74);
    wire.Send(HeadFor(0).Packet());
    wire.Send(Content(1000));
    wire.End();
  });
  FetchRequest request = RequestFor(0);
  request.deadline = Clock::now() + std::chrono::milliseconds(50);
  EXPECT_EQ(FetchStatus(parent.port(), std::move(request)).code(), absl::StatusCode::kDeadlineExceeded);
}

TEST_F(ClientTest, TellsWhomItCannotReach) {
  uint16_t port = 0;
  {
    ForeignParent gone([](Wire&, int) {});
    port = gone.port();
  }
  const absl::Status refused = FetchStatus(port, RequestFor(0));
  EXPECT_EQ(refused.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(refused.message()), HasSubstr("from 127.0.0.1:" + std::to_string(port) + ": connect: "));

  MemorySink sink;
  const absl::Status name = RunOn(io_.At(0), client_->Fetch(Endpoint{"localhost", 1}, RequestFor(0), sink)).status();
  EXPECT_EQ(name.code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(ClientTest, DoesNotWaitLongForAConnection) {
  options_.connect_timeout = std::chrono::milliseconds(50);
  Make(limiter_);
  // A listener that never accepts and whose queue is full drops further attempts.
  const UniqueFd listening(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  ASSERT_EQ(::bind(listening.get(), reinterpret_cast<const sockaddr*>(&address), size), 0);
  ASSERT_EQ(::listen(listening.get(), 0), 0);
  ASSERT_EQ(::getsockname(listening.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
  const Wire filler = Wire::Connect(ntohs(address.sin_port));
  EXPECT_EQ(FetchStatus(ntohs(address.sin_port), RequestFor(0)).code(), absl::StatusCode::kUnavailable);
}

TEST_F(ClientTest, EndsTheConnectionWhenTheSinkFails) {
  std::promise<std::string> end;
  const std::string content = Content(kPieceLength);
  ForeignParent parent([&](Wire& wire, int) {
    wire.Read(74);
    wire.Send(HeadFor(0).Packet() + content);
    end.set_value(wire.End());
  });
  MemorySink sink(1 << 20);
  const absl::Status status = Fetch(parent.port(), RequestFor(0), sink).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()), HasSubstr("the disk is full"));
  EXPECT_THAT(Await(end.get_future()), ::testing::AnyOf("eof", "reset"));
  EXPECT_EQ(IdleConnections(), 0u);
}

TEST_F(ClientTest, CancellationClosesTheConnection) {
  std::promise<void> asked;
  std::promise<std::string> end;
  ForeignParent parent([&](Wire& wire, int) {
    wire.Read(74);
    wire.Send(HeadFor(0).Packet() + "some");
    asked.set_value();
    end.set_value(wire.End());
  });
  MemorySink sink;
  asio::cancellation_signal cancel;
  std::promise<absl::Status> result;
  asio::post(io_.At(0), [&] {
    auto done = [&](const std::exception_ptr& failure, absl::StatusOr<ContentMetadata> metadata) {
      result.set_value(failure ? absl::CancelledError() : metadata.status());
    };
    asio::co_spawn(io_.At(0), client_->Fetch(Endpoint{"127.0.0.1", parent.port()}, RequestFor(0), sink),
                   asio::bind_cancellation_slot(cancel.slot(), std::move(done)));
  });
  Await(asked.get_future());
  asio::post(io_.At(0), [&] { cancel.emit(asio::cancellation_type::terminal); });
  EXPECT_EQ(Await(result.get_future()).code(), absl::StatusCode::kCancelled);
  EXPECT_THAT(Await(end.get_future()), ::testing::AnyOf("eof", "reset"));
}

TEST_F(ClientTest, TakesTheBytesOfAPieceFromTheLimiterAndNoMore) {
  runtime::TokenBucket limiter(1, 10 << 20);
  Make(limiter);
  const std::string content = Content(kPieceLength);
  ForeignParent parent([&](Wire& wire, int) {
    wire.Read(74);
    wire.Send(HeadFor(0).Packet() + content);
  });
  EXPECT_TRUE(FetchStatus(parent.port(), RequestFor(0)).ok());
  const TimePoint now = Clock::now();
  EXPECT_EQ(limiter.Reserve((10 << 20) - kPieceLength, now), Clock::duration::zero());
  EXPECT_GT(limiter.Reserve(1000, now), Clock::duration::zero());
  Make(limiter_);
}

TEST_F(ClientTest, HandsOnLargeRuns) {
  FileProvider provider(Content(kPieceLength), kPieceLength);
  ServerOptions options;
  options.ip = "127.0.0.1";
  options.port = 0;
  auto server = Server::Start(options, io_, provider, limiter_).value();
  MemorySink sink;
  EXPECT_TRUE(Fetch(server->port(), RequestFor(0), sink).ok());
  EXPECT_LE(sink.appends(), 12);  // at least 256 KiB each
  RunOn(io_.At(1), server->Stop(Clock::now()));
}

// Sees how many blocks the fetches hold.
class WatchingSink final : public ByteSink {
 public:
  WatchingSink(MemorySink& sink, size_t& most) : sink_(sink), most_(most) {}
  absl::Status Append(std::span<const std::byte> bytes) override {
    most_ = std::max(most_, runtime::BlocksInUse());
    return sink_.Append(bytes);
  }

 private:
  MemorySink& sink_;
  size_t& most_;
};

TEST_F(ClientTest, FetchesManyAtOnceWithFewBlocks) {
  size_t most_blocks = 0;  // written on the client's thread only
  std::vector<std::unique_ptr<WatchingSink>> watches;
  FileProvider provider(Content(20 * kPieceLength), kPieceLength);
  ServerOptions options;
  options.ip = "127.0.0.1";
  options.port = 0;
  auto server = Server::Start(options, io_, provider, limiter_).value();
  std::vector<std::unique_ptr<MemorySink>> sinks;
  std::vector<std::future<absl::StatusOr<ContentMetadata>>> results;
  for (uint32_t i = 0; i < 100; ++i) {
    sinks.push_back(std::make_unique<MemorySink>());
    watches.push_back(std::make_unique<WatchingSink>(*sinks.back(), most_blocks));
    results.push_back(asio::co_spawn(
        io_.At(0), client_->Fetch(Endpoint{"127.0.0.1", server->port()}, RequestFor(i % 20), *watches.back()),
        asio::use_future));
  }
  for (uint32_t i = 0; i < 100; ++i) {
    EXPECT_TRUE(Await(std::move(results[i])).ok()) << i;
    EXPECT_TRUE(sinks[i]->bytes() == provider.Piece(i % 20)) << i;
  }
  EXPECT_LE(IdleConnections(), options_.idle_per_endpoint);
  EXPECT_LE(most_blocks, runtime::kBlocksScarce + 1);
  EXPECT_EQ(runtime::BlocksInUse(), 0u);
  RunOn(io_.At(1), server->Stop(Clock::now() + kPatience));
}

TEST_F(ClientTest, RefusesIdsThatARequestCannotCarry) {
  FetchRequest request = RequestFor(0);
  request.piece->task_id = TaskId::Parse("2229733261").value();
  EXPECT_EQ(FetchStatus(1, std::move(request)).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(FetchStatus(1, FetchRequest()).code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace dragonfly::vortex
