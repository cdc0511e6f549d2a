// SPDX-License-Identifier: Apache-2.0
// Reused, page-aligned blocks for the data path: touching new memory costs more than the network.
//
// One rule bounds what thousands of transfers take together: who waits for the world gives its block back first, or,
// where that would cost many small writes, keeps it as long as blocks are not scarce. Nobody waits for a block, so no
// transfer can hold up another.
#pragma once

#include <cstddef>
#include <span>
#include <utility>

namespace dragonfly::runtime {

inline constexpr size_t kBlockSize = 1 << 20;  // bytes
// When so many blocks of the process are in use, they are scarce.
inline constexpr size_t kBlocksScarce = 16;

// One block of kBlockSize bytes, given back to the pool of the thread that drops it. Contents are whatever the last
// user left.
class Block {
 public:
  // Takes a block from this thread's pool, or a new one. Each thread keeps at most 4 free ones, all together 32.
  static Block Take();
  // For who may wait while it holds the block: empty when blocks are scarce.
  static Block TryTake();
  Block() = default;
  Block(Block&& other) noexcept : data_(std::exchange(other.data_, nullptr)) {}
  Block& operator=(Block&& other) noexcept;
  ~Block();

  std::span<std::byte> span() const { return {data_, data_ ? kBlockSize : 0}; }
  std::byte* data() const { return data_; }

 private:
  explicit Block(std::byte* data) : data_(data) {}
  std::byte* data_ = nullptr;
};

// True while at least kBlocksScarce blocks are in use: who holds one across a wait should give it back. Any thread.
bool BlocksAreScarce();
// Blocks that are in use by the whole process.
size_t BlocksInUse();

}  // namespace dragonfly::runtime
