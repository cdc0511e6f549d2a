// SPDX-License-Identifier: Apache-2.0
#include "runtime/buffer_pool.h"

#include <array>
#include <atomic>
#include <new>

namespace dragonfly::runtime {

namespace {

constexpr std::align_val_t kAlignment{4096};
constexpr size_t kKeptBlocks = 4;      // per thread
constexpr size_t kKeptBlocksMax = 32;  // of all threads

std::atomic<size_t> in_use{0};
std::atomic<size_t> kept{0};

std::byte* Allocate() { return static_cast<std::byte*>(::operator new(kBlockSize, kAlignment)); }
void Free(std::byte* data) { ::operator delete(data, kBlockSize, kAlignment); }

// The free blocks of one thread. Plain data, so that blocks dropped by destructors of other thread-local objects, when
// the thread ends, still find it.
struct FreeList {
  std::array<std::byte*, kKeptBlocks> blocks;
  size_t count;
  bool ended;
};
constinit thread_local FreeList free_list{};

// Gives the blocks back to the system when the thread ends.
struct Cleaner {
  ~Cleaner() {
    free_list.ended = true;
    kept.fetch_sub(free_list.count, std::memory_order_relaxed);
    while (free_list.count > 0) Free(free_list.blocks[--free_list.count]);
  }
};

void Give(std::byte* data) {
  in_use.fetch_sub(1, std::memory_order_relaxed);
  // Several threads may pass the common bound at once; by as many blocks it is no bound that matters.
  if (free_list.ended || free_list.count == kKeptBlocks || kept.load(std::memory_order_relaxed) >= kKeptBlocksMax) {
    Free(data);
    return;
  }
  static thread_local const Cleaner cleaner;
  static_cast<void>(cleaner);
  kept.fetch_add(1, std::memory_order_relaxed);
  free_list.blocks[free_list.count++] = data;
}

}  // namespace

bool BlocksAreScarce() { return BlocksInUse() >= kBlocksScarce; }

size_t BlocksInUse() { return in_use.load(std::memory_order_relaxed); }

Block Block::Take() {
  in_use.fetch_add(1, std::memory_order_relaxed);
  if (free_list.count == 0) return Block(Allocate());
  kept.fetch_sub(1, std::memory_order_relaxed);
  return Block(free_list.blocks[--free_list.count]);
}

Block Block::TryTake() { return BlocksAreScarce() ? Block() : Take(); }

Block& Block::operator=(Block&& other) noexcept {
  if (this != &other) {
    if (data_ != nullptr) Give(data_);
    data_ = std::exchange(other.data_, nullptr);
  }
  return *this;
}

Block::~Block() {
  if (data_ != nullptr) Give(data_);
}

}  // namespace dragonfly::runtime
