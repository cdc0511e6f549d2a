// SPDX-License-Identifier: Apache-2.0
// What the servers of all transports share: which requests are served, and how one is answered.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/unique_fd.h"
#include "runtime/clock.h"
#include "runtime/token_bucket.h"
#include "vortex/codec.h"

namespace dragonfly::vortex {

// A finished piece to send: `file` at metadata.range.
struct ServedPiece {
  std::shared_ptr<const UniqueFd> file;
  ContentMetadata metadata;
};

// What the servers serve: the daemon's store behind them.
class PieceProvider {
 public:
  virtual ~PieceProvider() = default;
  // Waits, at most until `deadline`, for a piece that is just being written. `tag` is the request's tag. Called on the
  // thread of the connection. Errors: NOT_FOUND when nobody has or writes the piece; others are sent as Internal.
  virtual boost::asio::awaitable<absl::StatusOr<ServedPiece>> Provide(Tag tag, Request request, TimePoint deadline) = 0;
  // After the last byte of a piece was handed on (`sent` of them: to the kernel by TCP, acknowledged by QUIC), or the
  // transfer broke.
  virtual void Sent(Tag tag, const Request& request, uint64_t sent, bool complete) = 0;
};

// The header of a request of which `received` has come so far, as soon as it decides what follows: when the packet is
// complete, or when it can be none that is served. nullopt: more must come.
std::optional<Header> RequestHeader(std::span<const std::byte> received);
// The request in the complete `packet`, whose header RequestHeader() gave. Errors: INVALID_ARGUMENT when it is none
// that is served; the message is for the peer, too.
absl::StatusOr<Request> ParseRequest(const Header& header, std::span<const std::byte> packet);
// "<task id>-<number>", as the reference names pieces in its errors.
std::string PieceId(const Request& request);

// How the bytes of one answer reach the peer.
class AnswerWriter {
 public:
  virtual ~AnswerWriter() = default;
  // The waits of the other functions end with DEADLINE_EXCEEDED when `deadline` passes.
  virtual void SetDeadline(TimePoint deadline) = 0;
  // Sends all of `bytes`, which need not live longer than the await; `more`: something follows at once.
  virtual boost::asio::awaitable<absl::Status> Send(std::span<const std::byte> bytes, bool more) = 0;
  // Sends some of the `length` > 0 bytes of `file` from `offset`, and returns how many: at least one. Errors: DATA_LOSS
  // when the file ends there.
  virtual boost::asio::awaitable<absl::StatusOr<uint64_t>> SendFile(const UniqueFd& file, uint64_t offset,
                                                                    uint64_t length) = 0;
  // Nothing follows in this answer; what was sent is on its way to the peer.
  virtual boost::asio::awaitable<absl::Status> Finish() = 0;
};

// Answers requests. Thread-safe; each answer runs on its connection's thread.
class Answerer {
 public:
  struct Options {
    Options() = default;
    std::chrono::milliseconds piece_wait_timeout{30'000};  // for a piece that is being written
    std::chrono::milliseconds stall_timeout{60'000};       // without a byte taken by the peer
  };
  // `limiter` is the upload bandwidth. Both must outlive it.
  Answerer(PieceProvider& provider, runtime::TokenBucket& limiter, Options options);

  // Sends the piece, or the error that tells why not, and reports to the provider. Errors: of `writer`; the answer is
  // then incomplete.
  boost::asio::awaitable<absl::Status> Answer(AnswerWriter& writer, Header header, Request request) const;
  // Sends Error(InvalidArgument).
  boost::asio::awaitable<absl::Status> Refuse(AnswerWriter& writer, uint8_t packet_id, std::string message) const;

 private:
  boost::asio::awaitable<absl::Status> SendPiece(AnswerWriter& writer, Header header, ServedPiece piece,
                                                 uint64_t& sent) const;
  TimePoint Patience() const { return Clock::now() + options_.stall_timeout; }

  PieceProvider& provider_;
  runtime::TokenBucket& limiter_;
  const Options options_;
};

}  // namespace dragonfly::vortex
