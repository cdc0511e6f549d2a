// SPDX-License-Identifier: Apache-2.0
// One stream of a QUIC connection: bytes that wait to be sent or acknowledged, and who takes what is received.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "runtime/clock.h"
#include "runtime/signal.h"

namespace dragonfly::vortex {

class QuicConnection;

// Bytes of a full chunk.
inline constexpr size_t kSendChunkSize = 64 << 10;

// Bytes that are kept until the peer has acknowledged them. The memory of full chunks is reused within a thread.
class SendChunk {
 public:
  static SendChunk Copy(std::span<const std::byte> bytes);
  // Room for kSendChunkSize bytes; what is in it is undefined.
  static SendChunk Take();
  SendChunk(SendChunk&& other) noexcept;
  SendChunk& operator=(SendChunk&&) = delete;
  ~SendChunk();

  std::span<std::byte> room() { return {data_, capacity_}; }
  void SetSize(size_t size) { size_ = size; }
  std::span<const std::byte> bytes() const { return {data_, size_}; }

 private:
  SendChunk(std::byte* data, size_t capacity) : data_(data), capacity_(capacity) {}
  std::byte* data_;
  size_t capacity_;
  size_t size_ = 0;
};

// Takes what a stream receives. Called on the connection's thread, in the middle of its work: a reader copies, counts
// and notifies, and calls nothing of the connection but QuicStream::Consumed().
class QuicStreamReader {
 public:
  virtual ~QuicStreamReader() = default;
  // The next bytes, in order; `last`: nothing follows. The reader owes Consumed() for them.
  virtual void Received(std::span<const std::byte> bytes, bool last) = 0;
  // Nothing more will come: the peer reset the stream, or the connection has ended.
  virtual void Broken(const absl::Status& why) = 0;
};

// Thread rule: the connection's thread. Made by its connection, shared with whoever uses it; of no use, but harmless,
// after the connection has ended.
class QuicStream {
 public:
  QuicStream(QuicConnection& connection, int64_t id);
  QuicStream(const QuicStream&) = delete;
  QuicStream& operator=(const QuicStream&) = delete;
  ~QuicStream();

  int64_t id() const { return id_; }

  // Who takes what comes; null: it is dropped. The reader must stay until another is set.
  void SetReader(QuicStreamReader* reader);
  // Lets the peer send as many bytes more.
  void Consumed(size_t bytes);

  // Sends the chunk after all before it.
  void Queue(SendChunk chunk);
  // Nothing follows.
  void QueueEnd();
  // Suspends until the stream can take another chunk: little waits to be sent, and the connection holds no more than
  // its share of memory. Errors: DEADLINE_EXCEEDED; why the stream is broken.
  boost::asio::awaitable<absl::Status> WaitForRoom(TimePoint deadline);
  // Suspends until the peer has acknowledged everything up to the end. A peer that ends the connection when all has
  // been sent counts, too: it has what it wanted.
  boost::asio::awaitable<absl::Status> WaitUntilAcknowledged(TimePoint deadline);

  // Ends both directions at once: the peer need not send more, and will not get more.
  void Abandon();
  // Asks the peer to send no more. What comes all the same is dropped.
  void StopReading();

 private:
  friend class QuicConnection;
  friend struct QuicCallbacks;

  // Whether there is something to send.
  bool pending() const { return broken_.ok() && (sent_ < queued_ || (end_queued_ && !end_sent_)); }
  // Bytes not sent yet, in `parts`; true when they reach to the end of the stream.
  bool Gather(std::vector<std::span<const std::byte>>& parts) const;
  void Sent(uint64_t bytes, bool end);
  void Acknowledged(uint64_t up_to);
  void Break(const absl::Status& why);
  void Deliver(std::span<const std::byte> bytes, bool last);
  bool all_sent() const { return end_sent_ && sent_ == queued_; }
  boost::asio::awaitable<absl::Status> WaitUntil(absl::FunctionRef<bool()> reached, TimePoint deadline);

  QuicConnection* connection_;  // null when it has ended
  const int64_t id_;
  runtime::Signal changed_;
  absl::Status broken_;

  // Offsets in the stream: acknowledged_ <= sent_ <= queued_. The first chunk begins at chunks_begin_.
  std::deque<SendChunk> chunks_;
  uint64_t chunks_begin_ = 0;
  uint64_t acknowledged_ = 0;
  uint64_t sent_ = 0;
  uint64_t queued_ = 0;
  bool end_queued_ = false;
  bool end_sent_ = false;
  bool in_line_ = false;   // in the connection's line of streams that have something to send
  bool withheld_ = false;  // by the peer's window of this stream

  QuicStreamReader* reader_ = nullptr;
  uint64_t unconsumed_ = 0;
};

}  // namespace dragonfly::vortex
