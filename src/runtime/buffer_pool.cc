// SPDX-License-Identifier: Apache-2.0
#include "runtime/buffer_pool.h"

#include <array>
#include <new>

namespace dragonfly::runtime {

namespace {

constexpr std::align_val_t kAlignment{4096};
constexpr size_t kKeptBlocks = 16;  // per thread

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
    while (free_list.count > 0) Free(free_list.blocks[--free_list.count]);
  }
};

void Give(std::byte* data) {
  if (free_list.ended || free_list.count == kKeptBlocks) {
    Free(data);
    return;
  }
  static thread_local const Cleaner cleaner;
  static_cast<void>(cleaner);
  free_list.blocks[free_list.count++] = data;
}

}  // namespace

Block Block::Take() {
  if (free_list.count > 0) return Block(free_list.blocks[--free_list.count]);
  return Block(Allocate());
}

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
