// SPDX-License-Identifier: Apache-2.0
// Who may still write how many bytes. Internal to storage.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/statusor.h"

namespace dragonfly::storage {

class SpaceAccount;

// Bytes promised to a download that are not written yet. Given back when dropped.
class Reservation {
 public:
  Reservation() = default;
  Reservation(Reservation&& other) noexcept { Swap(other); }
  Reservation& operator=(Reservation&& other) noexcept {
    Reservation dropped;
    dropped.Swap(*this);
    Swap(other);
    return *this;
  }
  ~Reservation();

  uint64_t bytes() const { return bytes_; }

  // Cuts `bytes` off, at most what is there.
  Reservation Take(uint64_t bytes);
  // Joins `other` to this one.
  void Add(Reservation other);
  // The file system has set blocks aside for all of it (fallocate), so they no longer count as free there.
  void MarkAllocated();
  // `written` of the bytes became content; the rest is given back.
  void Spend(uint64_t written) &&;

 private:
  friend class SpaceAccount;
  Reservation(SpaceAccount* account, uint64_t bytes) : account_(account), bytes_(bytes), unallocated_(bytes) {}
  void Swap(Reservation& other) {
    std::swap(account_, other.account_);
    std::swap(bytes_, other.bytes_);
    std::swap(unallocated_, other.unallocated_);
  }

  SpaceAccount* account_ = nullptr;  // outlives the reservation
  uint64_t bytes_ = 0;
  uint64_t unallocated_ = 0;  // part of bytes_ that the file system still counts as free
};

// Running counts; nothing here walks a directory. Thread-safe.
class SpaceAccount {
 public:
  // `directory_fd` names the file system and stays open as long as the account; `directory` is its name in messages.
  // `capacity`: bytes that contents may take together; 0: what the file system has.
  SpaceAccount(int directory_fd, std::string directory, uint64_t capacity)
      : directory_fd_(directory_fd), directory_(std::move(directory)), capacity_(capacity) {}

  // Errors: RESOURCE_EXHAUSTED "no space left on device: ...".
  absl::StatusOr<Reservation> Reserve(uint64_t bytes);
  // RESOURCE_EXHAUSTED "no space left on device: <directory>: <bytes> bytes do not fit into ...", for who was told so
  // by the file system.
  absl::Status FullStatus(uint64_t bytes) const;

  // Content that was found at start, or was removed.
  void AddContent(uint64_t bytes);
  void RemoveContent(uint64_t bytes);

  uint64_t content_bytes() const { return content_.load(std::memory_order_relaxed); }
  uint64_t reserved_bytes() const { return reserved_.load(std::memory_order_relaxed); }
  uint64_t available_bytes() const;
  uint64_t total_bytes() const;
  bool has_capacity() const { return capacity_ != 0; }

 private:
  friend class Reservation;
  void GiveBack(uint64_t bytes, uint64_t unallocated);

  const int directory_fd_;
  const std::string directory_;
  const uint64_t capacity_;
  std::atomic<uint64_t> content_ = 0;
  std::atomic<uint64_t> reserved_ = 0;
  std::atomic<uint64_t> unallocated_ = 0;  // part of reserved_ that the file system still counts as free
  std::atomic<uint64_t> taken_ = 0;        // content_ + reserved_, in one number so that it can be compared and raised
};

}  // namespace dragonfly::storage
