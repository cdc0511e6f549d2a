// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <boost/asio/post.hpp>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/unit/vortex/loopback.h"
#include "vortex/quic_client.h"
#include "vortex/quic_server.h"

namespace dragonfly::vortex {

inline constexpr uint64_t kQuicPieceLength = 3 << 20;

// A server over QUIC that serves pieces of a file, and a client on the first io thread.

class QuicTest : public ::testing::Test {
 protected:
  QuicTest() { server_options_.ip = "127.0.0.1"; }
  ~QuicTest() override {
    MakeClient(/*end=*/true);
    if (server_) RunOn(io_.At(1), server_->Stop(Clock::now()));
  }

  void Serve(size_t pieces, uint64_t piece_length = kQuicPieceLength) {
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
    boost::asio::post(io_.At(0), [&] {
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

  static FetchRequest RequestFor(uint32_t number, uint64_t length = kQuicPieceLength) {
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
  void FetchAll(uint16_t port, uint32_t pieces, uint64_t length = kQuicPieceLength) {
    std::vector<MemorySink> sinks(pieces);
    std::vector<std::future<absl::StatusOr<ContentMetadata>>> fetches;
    for (uint32_t number = 0; number < pieces; ++number) {
      fetches.push_back(boost::asio::co_spawn(
          io_.At(0), client_->Fetch(Endpoint{"127.0.0.1", port}, RequestFor(number, length), sinks[number]),
          boost::asio::use_future));
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

}  // namespace dragonfly::vortex
