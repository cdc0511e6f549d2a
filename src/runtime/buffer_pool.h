// SPDX-License-Identifier: Apache-2.0
// Reused, page-aligned blocks for the data path: touching new memory costs more than the network.
#pragma once

#include <cstddef>
#include <span>
#include <utility>

namespace dragonfly::runtime {

inline constexpr size_t kBlockSize = 1 << 20;  // bytes

// One block of kBlockSize bytes, given back to the pool of the thread that drops it. Contents are whatever the last
// user left.
class Block {
 public:
  // Takes a block from this thread's pool, or a new one. Each thread keeps at most 16 free ones.
  static Block Take();
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

}  // namespace dragonfly::runtime
