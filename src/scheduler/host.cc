// SPDX-License-Identifier: Apache-2.0
#include "scheduler/host.h"

#include <utility>

namespace dragonfly::scheduler {
namespace {

constexpr uint32_t kUploadWindow = 1024;  // pieces

constexpr uint64_t Pack(uint32_t pieces, uint32_t failed) { return uint64_t{pieces} << 32 | failed; }
constexpr uint32_t Pieces(uint64_t packed) { return static_cast<uint32_t>(packed >> 32); }
constexpr uint32_t Failed(uint64_t packed) { return static_cast<uint32_t>(packed); }

}  // namespace

Host::Host(std::shared_ptr<const HostFacts> facts, TimePoint now)
    : id_(facts->id), facts_(std::move(facts)), updated_at_(now.time_since_epoch().count()) {}

std::shared_ptr<const HostFacts> Host::facts() const {
  absl::MutexLock lock(&mutex_);
  return facts_;
}

void Host::Update(std::shared_ptr<const HostFacts> facts, TimePoint now) {
  {
    absl::MutexLock lock(&mutex_);
    facts_ = std::move(facts);
  }
  Touch(now);
}

bool Host::TakeUploadSlot(int32_t limit) {
  int32_t taken = slots_.load(std::memory_order_relaxed);
  while (taken < limit) {
    if (slots_.compare_exchange_weak(taken, taken + 1, std::memory_order_relaxed)) return true;
  }
  return false;
}

void Host::GiveUploadSlot() { slots_.fetch_sub(1, std::memory_order_relaxed); }

void Host::CountUpload(bool ok) {
  uint64_t packed = uploads_.load(std::memory_order_relaxed);
  uint64_t next = 0;
  do {
    uint32_t pieces = Pieces(packed);
    uint32_t failed = Failed(packed);
    if (pieces >= kUploadWindow) {
      pieces /= 2;
      failed /= 2;
    }
    next = Pack(pieces + 1, failed + (ok ? 0 : 1));
  } while (!uploads_.compare_exchange_weak(packed, next, std::memory_order_relaxed));
}

double Host::UploadSuccess() const {
  const uint64_t packed = uploads_.load(std::memory_order_relaxed);
  if (Pieces(packed) == 0) return 1;
  return static_cast<double>(Pieces(packed) - Failed(packed)) / Pieces(packed);
}

}  // namespace dragonfly::scheduler
