// SPDX-License-Identifier: Apache-2.0
// One fetch on one stream of a QUIC connection.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <cstddef>
#include <deque>
#include <memory>
#include <span>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/byte_sink.h"
#include "runtime/buffer_pool.h"
#include "runtime/clock.h"
#include "runtime/signal.h"
#include "runtime/token_bucket.h"
#include "vortex/fetch.h"
#include "vortex/quic_stream.h"

namespace dragonfly::vortex {

// Gathers what the stream brings in large blocks, and hands each to the sink when it is full. What waits here is
// bounded by the stream's window, which opens again by what the sink has taken. Thread rule: the thread of the stream's
// connection.
class QuicFetch final : public QuicStreamReader {
 public:
  // Hands on at least `block` bytes at a time unless blocks are scarce, at most runtime::kBlockSize. All must outlive
  // it.
  QuicFetch(std::shared_ptr<QuicStream> stream, const FetchRequest& request, runtime::TokenBucket& limiter,
            size_t block);
  // Abandons a stream whose piece is not complete.
  ~QuicFetch() override;
  QuicFetch(const QuicFetch&) = delete;
  QuicFetch& operator=(const QuicFetch&) = delete;

  // Sends `packet`, the request, and takes the answer. Errors: as QuicClient::Fetch.
  boost::asio::awaitable<absl::StatusOr<ContentMetadata>> Run(std::span<const std::byte> packet, ByteSink& sink);
  // Whether anything came.
  bool answered() const { return answered_; }

  void Received(std::span<const std::byte> bytes, bool last) override;
  void Broken(const absl::Status& why) override;

 private:
  struct Filled {
    runtime::Block block;
    size_t size = 0;
  };

  void TakeHead(std::span<const std::byte>& bytes);
  void TakeContent(std::span<const std::byte> bytes);
  boost::asio::awaitable<absl::Status> WaitForBlock();
  boost::asio::awaitable<absl::Status> HandOn(ByteSink& sink);

  const std::shared_ptr<QuicStream> stream_;
  const FetchRequest& request_;
  runtime::TokenBucket& limiter_;
  const size_t block_size_;
  AnswerHead head_;
  uint64_t missing_;  // of the content: bytes that have not come
  Filled filling_;
  std::deque<Filled> ready_;
  absl::Status status_;  // why nothing more will come
  TimePoint last_byte_ = Clock::now();
  runtime::Signal changed_;
  bool answered_ = false;
  bool ended_ = false;  // the peer's half
};

}  // namespace dragonfly::vortex
