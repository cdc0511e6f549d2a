// SPDX-License-Identifier: Apache-2.0
#include "vortex/quic_fetch.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/status.h"
#include "base/text.h"

namespace dragonfly::vortex {

namespace asio = boost::asio;

QuicFetch::QuicFetch(std::shared_ptr<QuicStream> stream, const FetchRequest& request, runtime::TokenBucket& limiter,
                     size_t block)
    : stream_(std::move(stream)),
      request_(request),
      limiter_(limiter),
      block_size_(std::min(block, runtime::kBlockSize)),
      head_(request.tag, request.piece->number, request.expected),
      missing_(request.expected.length) {
  stream_->SetReader(this);
}

QuicFetch::~QuicFetch() {
  const bool complete = head_.wanted().empty() && missing_ == 0 && ready_.empty();
  if (complete || head_.refused()) {
    // The parent's end of the stream may still be on its way.
    stream_->SetReader(nullptr);
  } else {
    stream_->Abandon();
  }
}

void QuicFetch::Received(std::span<const std::byte> bytes, bool last) {
  last_byte_ = Clock::now();
  answered_ = answered_ || !bytes.empty();
  const size_t came = bytes.size();
  if (status_.ok() && !head_.wanted().empty()) TakeHead(bytes);
  if (status_.ok()) {
    const size_t content = std::min<uint64_t>(bytes.size(), missing_);
    TakeContent(bytes.first(content));
    // What follows the piece is dropped, as by the reference.
    stream_->Consumed(came - content);
  } else {
    stream_->Consumed(came);
  }
  // A block that waits for more of a slow stream is one that others lack.
  if (filling_.size > 0 && ready_.empty() && runtime::BlocksAreScarce()) {
    ready_.push_back(std::exchange(filling_, Filled()));
    changed_.Notify();
  }
  ended_ = ended_ || last;
  if (last && status_.ok() && (missing_ > 0 || !head_.wanted().empty())) {
    Broken(absl::UnavailableError("the parent ended the stream early"));
  }
}

void QuicFetch::TakeHead(std::span<const std::byte>& bytes) {
  while (status_.ok() && !bytes.empty() && !head_.wanted().empty()) {
    const std::span<std::byte> wanted = head_.wanted();
    const size_t n = std::min(wanted.size(), bytes.size());
    std::memcpy(wanted.data(), bytes.data(), n);
    bytes = bytes.subspan(n);
    status_ = head_.Filled(n);
  }
  changed_.Notify();
}

void QuicFetch::TakeContent(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    if (filling_.block.data() == nullptr) filling_.block = runtime::Block::Take();
    const size_t n = std::min(bytes.size(), block_size_ - filling_.size);
    std::memcpy(filling_.block.data() + filling_.size, bytes.data(), n);
    filling_.size += n;
    missing_ -= n;
    bytes = bytes.subspan(n);
    if (filling_.size == block_size_ || missing_ == 0) {
      ready_.push_back(std::exchange(filling_, Filled()));
      changed_.Notify();
    }
  }
}

void QuicFetch::Broken(const absl::Status& why) {
  const bool complete = head_.wanted().empty() && missing_ == 0;
  if (status_.ok() && !complete) {
    status_ = why;
    // As over TCP: whoever asks another way, or anew, goes by whether anything had come.
    if (filling_.size > 0) ready_.push_back(std::exchange(filling_, Filled()));
  }
  changed_.Notify();
}

asio::awaitable<absl::StatusOr<ContentMetadata>> QuicFetch::Run(std::span<const std::byte> packet, ByteSink& sink) {
  stream_->Queue(SendChunk::Copy(packet));
  stream_->QueueEnd();
  for (;;) {
    DF_CO_RETURN_IF_ERROR(co_await WaitForBlock());
    if (ready_.empty()) break;
    DF_CO_RETURN_IF_ERROR(co_await HandOn(sink));
  }
  co_return head_.metadata();
}

// Returns with a block that is ready, or with none when the piece is complete.
asio::awaitable<absl::Status> QuicFetch::WaitForBlock() {
  for (;;) {
    const uint64_t seen = changed_.version();
    if (!ready_.empty()) co_return absl::OkStatus();
    if (!status_.ok()) co_return status_;
    if (head_.wanted().empty() && missing_ == 0) co_return absl::OkStatus();
    const TimePoint patience = std::min(request_.deadline, last_byte_ + request_.stall_timeout);
    if (co_await changed_.Wait(seen, patience)) continue;
    if (Clock::now() >= request_.deadline || Clock::now() >= last_byte_ + request_.stall_timeout) {
      co_return absl::DeadlineExceededError("the peer is silent");
    }
  }
}

asio::awaitable<absl::Status> QuicFetch::HandOn(ByteSink& sink) {
  // The bytes are here, whatever the limit says: their blocks go back first, and the parent may send as many more when
  // their tokens have been taken.
  size_t size = 0;
  while (!ready_.empty()) {
    const Filled filled = std::move(ready_.front());
    ready_.pop_front();
    DF_CO_RETURN_IF_ERROR(sink.Append(filled.block.span().first(filled.size)));
    size += filled.size;
  }
  if (!limiter_.unlimited()) {
    const runtime::TransferSize whole = limiter_.SizeOf(request_.expected.length);
    for (size_t paid = 0; paid < size; paid += block_size_) {
      co_await limiter_.Take(std::min(block_size_, size - paid), whole);
    }
    const bool all_here = missing_ == 0 && ready_.empty();
    if (!all_here && Clock::now() >= request_.deadline) {
      co_return absl::DeadlineExceededError("the download limit left no time");
    }
  }
  stream_->Consumed(size);
  // The wait for tokens was not the parent's.
  last_byte_ = std::max(last_byte_, Clock::now());
  co_return absl::OkStatus();
}

}  // namespace dragonfly::vortex
