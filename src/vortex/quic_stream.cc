// SPDX-License-Identifier: Apache-2.0
#include "vortex/quic_stream.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "vortex/quic_connection.h"

namespace dragonfly::vortex {

namespace asio = boost::asio;

namespace {

// Of one stream: bytes that wait to be sent when no more are read from the file, and when reading goes on.
constexpr uint64_t kUnsentHigh = 4 * kSendChunkSize;
constexpr uint64_t kUnsentLow = 2 * kSendChunkSize;

constexpr size_t kChunksKept = 64;  // for each thread

// Plain data, so that chunks dropped by other thread-local objects at the thread's end still find it.
struct FreeChunks {
  std::array<std::byte*, kChunksKept> chunks;
  size_t count;
  bool ended;
};
constinit thread_local FreeChunks free_chunks{};

struct Cleaner {
  ~Cleaner() {
    free_chunks.ended = true;
    while (free_chunks.count > 0) ::operator delete(free_chunks.chunks[--free_chunks.count]);
  }
};

}  // namespace

SendChunk SendChunk::Take() {
  thread_local Cleaner cleaner;
  (void)cleaner;
  if (free_chunks.count > 0) return {free_chunks.chunks[--free_chunks.count], kSendChunkSize};
  return {static_cast<std::byte*>(::operator new(kSendChunkSize)), kSendChunkSize};
}

SendChunk SendChunk::Copy(std::span<const std::byte> bytes) {
  SendChunk chunk(static_cast<std::byte*>(::operator new(bytes.size())), bytes.size());
  std::memcpy(chunk.data_, bytes.data(), bytes.size());
  chunk.size_ = bytes.size();
  return chunk;
}

SendChunk::SendChunk(SendChunk&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), capacity_(other.capacity_), size_(other.size_) {}

SendChunk::~SendChunk() {
  if (data_ == nullptr) return;
  if (capacity_ != kSendChunkSize || free_chunks.ended || free_chunks.count == kChunksKept) {
    ::operator delete(data_);
  } else {
    free_chunks.chunks[free_chunks.count++] = data_;
  }
}

QuicStream::QuicStream(QuicConnection& connection, int64_t id) : connection_(&connection), id_(id) {}

QuicStream::~QuicStream() = default;

void QuicStream::SetReader(QuicStreamReader* reader) {
  reader_ = reader;
  // Nobody will take what the last reader left.
  if (reader_ == nullptr && unconsumed_ > 0) Consumed(unconsumed_);
}

void QuicStream::Consumed(size_t bytes) {
  unconsumed_ -= bytes;
  if (connection_ != nullptr) connection_->ExtendWindow(*this, bytes);
}

void QuicStream::Deliver(std::span<const std::byte> bytes, bool last) {
  unconsumed_ += bytes.size();
  if (reader_ != nullptr) {
    reader_->Received(bytes, last);
  } else {
    Consumed(bytes.size());
  }
}

void QuicStream::Queue(SendChunk chunk) {
  if (!broken_.ok() || chunk.bytes().empty()) return;
  queued_ += chunk.bytes().size();
  connection_->Charge(chunk.bytes().size());
  chunks_.push_back(std::move(chunk));
  connection_->WantToSend(*this);
}

void QuicStream::QueueEnd() {
  if (!broken_.ok()) return;
  end_queued_ = true;
  connection_->WantToSend(*this);
}

bool QuicStream::Gather(std::vector<std::span<const std::byte>>& parts) const {
  parts.clear();
  // Two chunks are more than a datagram takes.
  uint64_t skip = sent_ - chunks_begin_;
  size_t i = 0;
  for (; i < chunks_.size() && parts.size() < 2; ++i) {
    const std::span<const std::byte> bytes = chunks_[i].bytes();
    if (skip >= bytes.size()) {
      skip -= bytes.size();
      continue;
    }
    parts.push_back(bytes.subspan(skip));
    skip = 0;
  }
  return i == chunks_.size() && end_queued_;
}

void QuicStream::Sent(uint64_t bytes, bool end) {
  const uint64_t before = queued_ - sent_;
  sent_ += bytes;
  if (end) {
    end_sent_ = true;
    changed_.Notify();
  }
  if (before > kUnsentLow && queued_ - sent_ <= kUnsentLow) changed_.Notify();
}

void QuicStream::Acknowledged(uint64_t up_to) {
  if (!broken_.ok()) return;
  const uint64_t before = acknowledged_;
  acknowledged_ = std::min(up_to, sent_);
  while (!chunks_.empty() && chunks_begin_ + chunks_.front().bytes().size() <= acknowledged_) {
    chunks_begin_ += chunks_.front().bytes().size();
    chunks_.pop_front();
  }
  if (connection_ != nullptr) connection_->Release(acknowledged_ - before);
  if (end_sent_ && acknowledged_ == queued_) changed_.Notify();
}

void QuicStream::Break(const absl::Status& why) {
  if (!broken_.ok()) return;
  broken_ = why;
  if (connection_ != nullptr) connection_->Release(queued_ - acknowledged_);
  if (reader_ != nullptr) reader_->Broken(why);
  changed_.Notify();
}

asio::awaitable<absl::Status> QuicStream::WaitUntil(absl::FunctionRef<bool()> reached, TimePoint deadline) {
  for (;;) {
    const uint64_t seen = changed_.version();
    if (reached()) co_return absl::OkStatus();
    if (!broken_.ok()) co_return broken_;
    if (!co_await changed_.Wait(seen, deadline)) co_return absl::DeadlineExceededError("the peer is silent");
  }
}

asio::awaitable<absl::Status> QuicStream::WaitForRoom(TimePoint deadline) {
  const auto room = [this] { return broken_.ok() && queued_ - sent_ < kUnsentHigh && connection_->HasRoom(); };
  co_return co_await WaitUntil(room, deadline);
}

asio::awaitable<absl::Status> QuicStream::WaitUntilAcknowledged(TimePoint deadline) {
  const auto acknowledged = [this] { return (end_sent_ && acknowledged_ == queued_) || (!broken_.ok() && all_sent()); };
  co_return co_await WaitUntil(acknowledged, deadline);
}

void QuicStream::Abandon() {
  SetReader(nullptr);
  if (connection_ != nullptr && broken_.ok()) connection_->Shutdown(*this, /*writing_too=*/true);
}

void QuicStream::StopReading() {
  SetReader(nullptr);
  if (connection_ != nullptr && broken_.ok()) connection_->Shutdown(*this, /*writing_too=*/false);
}

}  // namespace dragonfly::vortex
