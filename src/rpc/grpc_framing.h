// SPDX-License-Identifier: Apache-2.0
// What the gRPC protocol puts on HTTP/2: messages with their lengths in front, timeouts, texts and codes of errors.
// Source: PROTOCOL-HTTP2.md of grpc.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "runtime/clock.h"

namespace dragonfly::rpc {

// No message is longer, in either direction.
inline constexpr size_t kMessageLengthMax = 128 << 20;
inline constexpr size_t kMessagePrefixLength = 5;  // one byte of flags, four of length

// In front of a message of `length` bytes, at most kMessageLengthMax, that is not compressed.
std::string MessagePrefix(size_t length);

// Cuts messages out of what arrives.
class MessageReader {
 public:
  using OnMessage = std::function<absl::Status(std::string_view)>;

  // Hands over each message that `data` completes; one that is complete in `data` is not copied. Errors: what
  // `on_message` returns; INTERNAL for a compressed message; RESOURCE_EXHAUSTED for one above kMessageLengthMax.
  absl::Status Take(std::string_view data, const OnMessage& on_message);
  // A message has begun and not ended.
  bool within_message() const { return !begun_.empty(); }

 private:
  std::string begun_;  // of a message that is not complete, with its prefix
};

// The value of grpc-timeout: at most eight digits and a unit.
std::string TimeoutHeader(Clock::duration left);

// The text of a grpc-message header. What is no escape stands for itself.
std::string PercentDecode(std::string_view text);

// The code of a stream that was reset with `error` of HTTP/2 and without a status (section "Errors").
absl::StatusCode CodeOfReset(uint32_t error);

}  // namespace dragonfly::rpc
