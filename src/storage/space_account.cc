// SPDX-License-Identifier: Apache-2.0
#include "storage/space_account.h"

#include <sys/statvfs.h>

#include <algorithm>

#include "base/text.h"

namespace dragonfly::storage {
namespace {

struct FileSystemSpace {
  uint64_t available = 0;
  uint64_t total = 0;
};

FileSystemSpace SpaceOf(int fd) {
  struct statvfs st;
  if (::fstatvfs(fd, &st) != 0) return {};
  return {uint64_t{st.f_bavail} * st.f_frsize, uint64_t{st.f_blocks} * st.f_frsize};
}

uint64_t SubtractOrZero(uint64_t from, uint64_t amount) { return from > amount ? from - amount : 0; }

// Adds `amount` to `counter` unless that would pass `limit`.
bool RaiseWithin(std::atomic<uint64_t>& counter, uint64_t amount, uint64_t limit) {
  uint64_t value = counter.load();
  do {
    if (value > limit || amount > limit - value) return false;
  } while (!counter.compare_exchange_weak(value, value + amount));
  return true;
}

}  // namespace

Reservation::~Reservation() {
  if (account_ != nullptr && bytes_ != 0) account_->GiveBack(bytes_, unallocated_);
}

Reservation Reservation::Take(uint64_t bytes) {
  Reservation part;
  part.account_ = account_;
  part.bytes_ = std::min(bytes, bytes_);
  part.unallocated_ = std::min(part.bytes_, unallocated_);
  bytes_ -= part.bytes_;
  unallocated_ -= part.unallocated_;
  return part;
}

void Reservation::Add(Reservation other) {
  if (other.bytes_ == 0) return;
  account_ = other.account_;
  bytes_ += std::exchange(other.bytes_, 0);
  unallocated_ += std::exchange(other.unallocated_, 0);
}

void Reservation::MarkAllocated() {
  if (account_ != nullptr) account_->unallocated_ -= unallocated_;
  unallocated_ = 0;
}

void Reservation::Spend(uint64_t written) && {
  const Reservation spent = Take(written);
  if (spent.account_ == nullptr) return;
  spent.account_->AddContent(spent.bytes_);  // before the reservation goes, so that nobody sees the bytes as free
}

absl::StatusOr<Reservation> SpaceAccount::Reserve(uint64_t bytes) {
  if (capacity_ != 0) {
    if (!RaiseWithin(taken_, bytes, capacity_)) return FullStatus(bytes);
    unallocated_ += bytes;
  } else {
    if (!RaiseWithin(unallocated_, bytes, SpaceOf(directory_fd_).available)) return FullStatus(bytes);
    taken_ += bytes;
  }
  reserved_ += bytes;
  return Reservation(this, bytes);
}

absl::Status SpaceAccount::FullStatus(uint64_t bytes) const {
  const FileSystemSpace disk = SpaceOf(directory_fd_);
  std::string budget;
  if (capacity_ != 0) {
    budget = StrCat(SubtractOrZero(capacity_, taken_), " of its budget of ", capacity_, " bytes (disk: ");
  }
  return absl::ResourceExhaustedError(StrCat(
      "no space left on device: ", directory_, ": ", bytes, " bytes do not fit into ", budget,
      SubtractOrZero(disk.available, unallocated_), " available of ", disk.total, capacity_ != 0 ? ")" : " bytes",
      "; contents take ", content_bytes(), ", running downloads were promised ", reserved_bytes()));
}

void SpaceAccount::GiveBack(uint64_t bytes, uint64_t unallocated) {
  reserved_ -= bytes;
  unallocated_ -= unallocated;
  taken_ -= bytes;
}

void SpaceAccount::AddContent(uint64_t bytes) {
  content_ += bytes;
  taken_ += bytes;
}

void SpaceAccount::RemoveContent(uint64_t bytes) {
  content_ -= bytes;
  taken_ -= bytes;
}

uint64_t SpaceAccount::available_bytes() const {
  if (capacity_ != 0) return SubtractOrZero(capacity_, taken_);
  return SubtractOrZero(SpaceOf(directory_fd_).available, unallocated_);
}

uint64_t SpaceAccount::total_bytes() const { return capacity_ != 0 ? capacity_ : SpaceOf(directory_fd_).total; }

}  // namespace dragonfly::storage
