// SPDX-License-Identifier: Apache-2.0
// Reads HTTP/1.x messages from a stream, one after another, their bodies piece by piece.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "daemon/proxy/chunked_decoder.h"
#include "daemon/proxy/message.h"
#include "daemon/proxy/stream.h"

namespace dragonfly::daemon::proxy {

// Thread rule: that of the stream, which must outlive the reader.
class MessageReader {
 public:
  // `head_time`: within which the head of a request must have come, from its first byte on; 0: no limit of its own.
  explicit MessageReader(Stream& stream, Clock::duration head_time = Clock::duration::zero())
      : stream_(stream), head_time_(head_time) {}
  MessageReader(const MessageReader&) = delete;
  MessageReader& operator=(const MessageReader&) = delete;

  // True when bytes of a next message are here already.
  bool HasBytes() const { return !pending_.empty(); }
  // Takes them: the stream carries something else than messages from here on.
  std::string TakeBytes() { return std::exchange(pending_, std::string()); }
  // The next request; nullopt when the stream ends before its first byte. Errors: HttpError of ParseRequestHead(), 400
  // when the stream ends within a head; 408 when the deadline passes within it; UNAVAILABLE, DEADLINE_EXCEEDED before
  // its first byte.
  boost::asio::awaitable<absl::StatusOr<std::optional<RequestHead>>> ReadRequest();
  // The answer to a request of `method`; interim ones (1xx) are skipped. `begun` is set as soon as a byte has come.
  // Errors: HttpError 502; UNAVAILABLE; DEADLINE_EXCEEDED.
  boost::asio::awaitable<absl::StatusOr<ResponseHead>> ReadResponse(std::string method, bool& begun);

  // The next bytes of the body of the message that was read last; 0 at its end. Errors: HttpError 400 for a broken
  // coding; UNAVAILABLE when the stream ends too early.
  boost::asio::awaitable<absl::StatusOr<size_t>> ReadBody(std::span<std::byte> out);
  // True when all of the body was read, or there is none.
  bool body_done() const { return body_done_; }

 private:
  // Reads until pending_ begins with a whole head. Returns its length; 0 when the stream ended before its first byte.
  boost::asio::awaitable<absl::StatusOr<size_t>> ReadHead(bool& begun);
  boost::asio::awaitable<absl::StatusOr<size_t>> Fill();
  void BeginHead();
  void EndHead();
  void BeginBody(const BodyFraming& framing);
  boost::asio::awaitable<absl::StatusOr<size_t>> ReadPlain(std::span<std::byte> out);
  boost::asio::awaitable<absl::StatusOr<size_t>> ReadChunked(std::span<std::byte> out);

  Stream& stream_;
  const Clock::duration head_time_;
  TimePoint head_by_ = kNoDeadline;
  std::string pending_;  // read, but not used yet
  BodyFraming framing_;
  uint64_t left_ = 0;  // of a body of known length
  bool body_done_ = true;
  std::unique_ptr<ChunkedDecoder> chunks_;
};

}  // namespace dragonfly::daemon::proxy
