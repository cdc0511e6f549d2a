// SPDX-License-Identifier: Apache-2.0
#include "storage/space_account.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

#include "base/unique_fd.h"

namespace dragonfly::storage {
namespace {

class SpaceAccountTest : public ::testing::Test {
 protected:
  UniqueFd directory_{::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
};

TEST_F(SpaceAccountTest, PromisesNoByteTwice) {
  SpaceAccount account(directory_.get(), "/store", 100);
  absl::StatusOr<Reservation> first = account.Reserve(70);
  ASSERT_TRUE(first.ok());
  EXPECT_EQ(account.available_bytes(), 30u);
  const absl::Status refused = account.Reserve(31).status();
  EXPECT_TRUE(absl::IsResourceExhausted(refused));
  EXPECT_THAT(std::string(refused.message()),
              ::testing::AllOf(::testing::StartsWith("no space left on device: /store: 31 bytes do not fit into 30 of "
                                                     "its budget of 100 bytes (disk: "),
                               ::testing::HasSubstr("contents take 0, running downloads were promised 70")));
  EXPECT_TRUE(account.Reserve(30).ok());
  EXPECT_EQ(account.available_bytes(), 30u);  // given back at once
  *first = Reservation();
  EXPECT_EQ(account.available_bytes(), 100u);
}

TEST_F(SpaceAccountTest, TurnsReservedBytesIntoContent) {
  SpaceAccount account(directory_.get(), "/store", 100);
  absl::StatusOr<Reservation> all = account.Reserve(50);
  ASSERT_TRUE(all.ok());
  Reservation part = all->Take(20);
  EXPECT_EQ(all->bytes(), 30u);
  std::move(part).Spend(15);
  part = Reservation();
  EXPECT_EQ(account.content_bytes(), 15u);
  EXPECT_EQ(account.reserved_bytes(), 30u);
  EXPECT_EQ(account.available_bytes(), 55u);
  account.RemoveContent(15);
  EXPECT_EQ(account.available_bytes(), 70u);
}

TEST_F(SpaceAccountTest, CountsTheFileSystemsFreeBytesWithoutCapacity) {
  SpaceAccount account(directory_.get(), "/store", 0);
  EXPECT_GT(account.total_bytes(), account.available_bytes());
  EXPECT_TRUE(absl::IsResourceExhausted(account.Reserve(account.total_bytes()).status()));
  // What the file system has set aside is missing in its own count already.
  const uint64_t half = account.available_bytes() / 2;
  absl::StatusOr<Reservation> big = account.Reserve(half);
  ASSERT_TRUE(big.ok());
  EXPECT_LT(account.available_bytes(), half + half / 2);
  big->MarkAllocated();
  EXPECT_GT(account.available_bytes(), half + half / 2);
  EXPECT_EQ(account.reserved_bytes(), half);
}

TEST_F(SpaceAccountTest, StaysRightWhenManyThreadsReserve) {
  SpaceAccount account(directory_.get(), "/store", 1000);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&account] {
      for (int i = 0; i < 5000; ++i) {
        absl::StatusOr<Reservation> bytes = account.Reserve(300);
        if (!bytes.ok()) continue;
        std::move(*bytes).Spend(100);
        account.RemoveContent(100);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(account.available_bytes(), 1000u);
  EXPECT_EQ(account.reserved_bytes(), 0u);
  EXPECT_EQ(account.content_bytes(), 0u);
}

}  // namespace
}  // namespace dragonfly::storage
