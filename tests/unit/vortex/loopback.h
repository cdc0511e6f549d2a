// SPDX-License-Identifier: Apache-2.0
// What the tests of the server and of the client share: io threads, a store in a file, a sink in memory.
#pragma once

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/use_future.hpp>
#include <chrono>
#include <cstring>
#include <future>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "base/byte_sink.h"
#include "base/digest.h"
#include "runtime/io_threads.h"
#include "runtime/signal.h"
#include "runtime/token_bucket.h"
#include "tests/unit/vortex/foreign_peer.h"
#include "vortex/client.h"
#include "vortex/server.h"

namespace dragonfly::vortex {

inline constexpr std::chrono::seconds kPatience{30};

template <typename T>
T Await(std::future<T> result) {
  if (result.wait_for(kPatience) != std::future_status::ready) throw std::runtime_error("the coroutine did not end");
  return result.get();
}

template <typename T>
T RunOn(boost::asio::io_context& io, boost::asio::awaitable<T> work) {
  return Await(boost::asio::co_spawn(io, std::move(work), boost::asio::use_future));
}

// Pieces of one length in a file without a name. Set up before the server starts.
class FileProvider final : public PieceProvider {
 public:
  FileProvider(std::string content, uint64_t piece_length) : content_(std::move(content)), piece_length_(piece_length) {
    UniqueFd fd(::memfd_create("content", MFD_CLOEXEC));
    if (::write(fd.get(), content_.data(), content_.size()) != static_cast<ssize_t>(content_.size())) {
      throw std::runtime_error("write the content");
    }
    file_ = std::make_shared<const UniqueFd>(std::move(fd));
  }

  // Pieces from `number` on are announced but lie behind the end of the file.
  void Truncate(uint64_t size) {
    if (::ftruncate(file_->get(), static_cast<off_t>(size)) != 0) throw std::runtime_error("truncate");
  }
  // The answer for a piece instead of its bytes.
  void Fail(uint32_t number, absl::Status status) { failures_[number] = std::move(status); }
  // This piece is being written until `ready` is notified.
  void HoldBack(uint32_t number, runtime::Signal ready) { held_.emplace(number, std::move(ready)); }

  std::string_view Piece(uint32_t number) const {
    return std::string_view(content_).substr(number * piece_length_, piece_length_);
  }

  boost::asio::awaitable<absl::StatusOr<ServedPiece>> Provide(Tag /*tag*/, Request request,
                                                              TimePoint deadline) override {
    const uint32_t number = request.number.value();
    if (const auto held = held_.find(number); held != held_.end()) {
      if (!co_await held->second.Wait(0, deadline)) co_return absl::DeadlineExceededError("piece is not ready");
    }
    if (const auto failure = failures_.find(number); failure != failures_.end()) co_return failure->second;
    if (request.task_id.str() != kTaskId || number * piece_length_ >= content_.size()) {
      co_return absl::NotFoundError("no such piece");
    }
    ServedPiece piece;
    piece.file = file_;
    piece.metadata.number = request.number;
    piece.metadata.range = {number * piece_length_, Piece(number).size()};
    piece.metadata.digest = FormatCrc32Digest(Crc32(Piece(number)));
    piece.metadata.parent_id = "10.0.0.1-host-7d3a";
    piece.metadata.created_at = 1751328000;
    co_return piece;
  }

  struct Transfer {
    Tag tag;
    uint32_t number;
    uint64_t sent;
    bool complete;
    bool operator==(const Transfer&) const = default;
  };
  void Sent(Tag tag, const Request& request, uint64_t sent, bool complete) override {
    absl::MutexLock lock(&mutex_);
    transfers_.push_back({tag, request.number.value(), sent, complete});
  }
  // Waits for `count` transfers to have ended, and returns them.
  std::vector<Transfer> Transfers(size_t count) {
    absl::MutexLock lock(&mutex_);
    const auto enough = [this, count]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return transfers_.size() >= count; };
    mutex_.AwaitWithTimeout(absl::Condition(&enough), absl::Seconds(30));
    return transfers_;
  }

 private:
  const std::string content_;
  const uint64_t piece_length_;
  std::shared_ptr<const UniqueFd> file_;
  std::map<uint32_t, absl::Status> failures_;
  std::map<uint32_t, runtime::Signal> held_;
  absl::Mutex mutex_;
  std::vector<Transfer> transfers_ ABSL_GUARDED_BY(mutex_);
};

// Collects bytes; fails when more than `room` come.
class MemorySink final : public ByteSink {
 public:
  explicit MemorySink(size_t room = SIZE_MAX) : room_(room) {}
  absl::Status Append(std::span<const std::byte> bytes) override {
    if (bytes.size() > room_ - bytes_.size()) return absl::ResourceExhaustedError("the disk is full");
    bytes_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    ++appends_;
    return absl::OkStatus();
  }
  const std::string& bytes() const { return bytes_; }
  int appends() const { return appends_; }

 private:
  const size_t room_;
  std::string bytes_;
  int appends_ = 0;
};

}  // namespace dragonfly::vortex
