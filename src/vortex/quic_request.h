// SPDX-License-Identifier: Apache-2.0
// One request that a QUIC server serves: a stream from its opening to the acknowledgement of the answer's last byte.
#pragma once

#include <array>
#include <boost/asio/awaitable.hpp>
#include <chrono>
#include <cstddef>
#include <memory>

#include "absl/status/status.h"
#include "runtime/clock.h"
#include "runtime/signal.h"
#include "vortex/answer.h"
#include "vortex/quic_stream.h"

namespace dragonfly::vortex {

// Thread rule: the thread of the stream's connection.
class QuicRequest final : public QuicStreamReader {
 public:
  explicit QuicRequest(std::shared_ptr<QuicStream> stream);
  // Abandons a stream that has not been answered to the end.
  ~QuicRequest() override;
  QuicRequest(const QuicRequest&) = delete;
  QuicRequest& operator=(const QuicRequest&) = delete;

  // Reads the request and answers it. Errors: why the answer did not arrive.
  boost::asio::awaitable<absl::Status> Serve(const Answerer& answerer, TimePoint request_by);
  // Ends the request if it is still being read.
  void StopReading();

  void Received(std::span<const std::byte> bytes, bool last) override;
  void Broken(const absl::Status& why) override;

 private:
  boost::asio::awaitable<absl::StatusOr<Header>> ReadHeader(TimePoint deadline);

  const std::shared_ptr<QuicStream> stream_;
  std::array<std::byte, kRequestSize> packet_;
  size_t have_ = 0;
  absl::Status broken_;
  runtime::Signal changed_;
  bool half_ended_ = false;  // by the peer
  bool answered_ = false;
};

}  // namespace dragonfly::vortex
