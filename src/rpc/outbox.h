// SPDX-License-Identifier: Apache-2.0
// Messages of a stream that wait until gRPC has sent those before them.
#pragma once

#include <cstddef>
#include <list>
#include <utility>

namespace dragonfly::rpc {

// Not thread-safe: the lock of the stream guards it.
template <typename Response>
class Outbox {
  struct Entry {
    Response response;
    size_t bytes;
  };

 public:
  // Messages that are not needed any more, for whoever frees them outside of the lock.
  using Removed = std::list<Entry>;

  void Add(Response response) {
    const size_t bytes = response.ByteSizeLong();
    entries_.push_back(Entry{std::move(response), bytes});
    bytes_ += bytes;
  }
  bool empty() const { return entries_.empty(); }
  size_t size() const { return entries_.size(); }
  // Of all messages, as sent.
  size_t bytes() const { return bytes_; }
  // The one that is being sent. It stays where it is until it is removed.
  const Response& front() const { return entries_.front().response; }

  // The front was sent, or, when it could not be, nothing behind it will be. There must be a front.
  [[nodiscard]] Removed Sent(bool ok) {
    Removed removed;
    if (ok) {
      bytes_ -= entries_.front().bytes;
      removed.splice(removed.end(), entries_, entries_.begin());
    } else {
      bytes_ = 0;
      removed.swap(entries_);
    }
    return removed;
  }

 private:
  std::list<Entry> entries_;
  size_t bytes_ = 0;
};

}  // namespace dragonfly::rpc
