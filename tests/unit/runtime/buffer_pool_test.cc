// SPDX-License-Identifier: Apache-2.0
#include "runtime/buffer_pool.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <thread>
#include <utility>
#include <vector>

namespace dragonfly::runtime {
namespace {

TEST(BufferPool, BlocksArePageAlignedAndOneMebibyte) {
  const Block block = Block::Take();
  EXPECT_EQ(reinterpret_cast<uintptr_t>(block.data()) % 4096, 0u);
  EXPECT_EQ(block.span().size(), 1u << 20);
  block.span().front() = block.span().back() = std::byte{1};
  EXPECT_TRUE(Block().span().empty());
}

TEST(BufferPool, GivesTheSameBlockAgain) {
  std::byte* first = nullptr;
  {
    const Block block = Block::Take();
    first = block.data();
  }
  EXPECT_EQ(Block::Take().data(), first);
}

TEST(BufferPool, MovesOwnership) {
  Block a = Block::Take();
  std::byte* const data = a.data();
  Block b = std::move(a);
  EXPECT_EQ(b.data(), data);
  a = Block::Take();
  b = std::move(a);
  EXPECT_NE(b.data(), data);
  EXPECT_EQ(Block::Take().data(), data);
}

TEST(BufferPool, BlocksMayBeDroppedByAnotherThread) {
  std::vector<Block> blocks;
  for (int i = 0; i < 40; ++i) blocks.push_back(Block::Take());
  std::thread([moved = std::move(blocks)]() mutable { moved.clear(); }).join();
  const Block block = Block::Take();
  EXPECT_NE(block.data(), nullptr);
}

TEST(BufferPool, TellsWhenBlocksAreScarce) {
  ASSERT_EQ(BlocksInUse(), 0u);
  std::vector<Block> blocks;
  while (!BlocksAreScarce()) blocks.push_back(Block::TryTake());
  EXPECT_EQ(blocks.size(), kBlocksScarce);
  EXPECT_EQ(Block::TryTake().data(), nullptr);
  // Who gives it back before it waits gets one all the same.
  EXPECT_NE(Block::Take().data(), nullptr);
  blocks.pop_back();
  EXPECT_NE(Block::TryTake().data(), nullptr);
  blocks.clear();
  EXPECT_EQ(BlocksInUse(), 0u);
}

// A block in a thread-local object is dropped after the thread's pool may have gone.
TEST(BufferPool, SurvivesTheEndOfItsThread) {
  std::thread([] {
    static thread_local Block kept;
    kept = Block::Take();
    Block::Take();
  }).join();
}

}  // namespace
}  // namespace dragonfly::runtime
