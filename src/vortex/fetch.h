// SPDX-License-Identifier: Apache-2.0
// What the clients of all transports share: what is asked for, and how the head of the answer is read and checked.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "base/byte_range.h"
#include "runtime/clock.h"
#include "runtime/token_bucket.h"
#include "vortex/codec.h"

namespace dragonfly::vortex {

struct Endpoint {
  std::string ip;
  uint16_t port = 0;
  auto operator<=>(const Endpoint&) const = default;
};
// "10.0.0.1:4005", "[fd00::1]:4005".
std::string ToString(const Endpoint& endpoint);

struct FetchRequest {
  FetchRequest() = default;
  Tag tag = Tag::kDownloadPiece;
  std::optional<Request> piece;
  ByteRange expected;                // from the piece number and the task's layout, never from the parent
  TimePoint deadline = kNoDeadline;  // for the whole piece
  std::chrono::milliseconds stall_timeout{10'000};  // without a byte from the parent
  runtime::TokenBucket* limiter = nullptr;          // instead of the client's

  // "fetch piece 7 of task a46d... from 10.0.0.1:4005", for messages. `piece` is set.
  std::string ToString(const Endpoint& endpoint) const;
};

// Reads the head of an answer, from its first byte to the first of the piece, in whatever steps it comes. Keeps at most
// the limits of the codec, whatever the parent announces.
class AnswerHead {
 public:
  AnswerHead(Tag requested, PieceNumber number, ByteRange expected);

  // Where the next bytes of the answer belong; empty when the head is complete.
  std::span<std::byte> wanted();
  // The first `n` bytes of wanted() have been filled. Errors, all final: DATA_LOSS when this is no answer to the
  // request, or one with another number, offset or length; NOT_FOUND, INVALID_ARGUMENT and INTERNAL as the parent said
  // ("vortex protocol status: code=NotFound, message=...").
  absl::Status Filled(size_t n);
  // True when the error was the parent's own answer, read to its end: the connection can carry another request.
  bool refused() const { return refused_; }
  // What the parent says about the piece; valid when wanted() is empty.
  const ContentMetadata& metadata() const { return metadata_; }

 private:
  absl::Status ReadHeader();
  absl::Status ReadValue();

  const Tag requested_;
  const PieceNumber number_;
  const ByteRange expected_;
  std::array<std::byte, kHeaderSize> header_bytes_;
  std::vector<std::byte> value_;
  size_t filled_ = 0;  // of what is being read
  bool in_value_ = false;
  bool is_error_ = false;
  bool complete_ = false;
  bool refused_ = false;
  ContentMetadata metadata_;
};

}  // namespace dragonfly::vortex
