// SPDX-License-Identifier: Apache-2.0
#include "storage/open_files.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <deque>
#include <thread>

namespace dragonfly::storage {
namespace {

UniqueFd OpenSomething() { return UniqueFd(::open("/dev/null", O_RDONLY | O_CLOEXEC)); }

bool IsOpen(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }

TEST(OpenFiles, ClosesWhatWasNotUsedForLongest) {
  OpenFiles files(2);
  OpenFiles::Slot a(files), b(files), c(files);
  files.Put(a, OpenSomething());
  files.Put(b, OpenSomething());
  EXPECT_NE(a.Get(), nullptr);
  files.Put(c, OpenSomething());
  EXPECT_EQ(files.size(), 2u);
  EXPECT_NE(c.Get(), nullptr);
  EXPECT_EQ((a.Get() != nullptr) + (b.Get() != nullptr), 1);
}

TEST(OpenFiles, SparesWhatIsUsedBetweenTwoRounds) {
  OpenFiles files(3);
  OpenFiles::Slot hot(files);
  files.Put(hot, OpenSomething());
  std::deque<OpenFiles::Slot> cold;
  for (int i = 0; i < 20; ++i) {
    cold.emplace_back(files);
    files.Put(cold.back(), OpenSomething());
    ASSERT_NE(hot.Get(), nullptr) << i;
  }
  EXPECT_EQ(files.size(), 3u);
}

TEST(OpenFiles, KeepsADescriptorOpenForWhoHoldsIt) {
  OpenFiles files(1);
  OpenFiles::Slot a(files), b(files);
  std::shared_ptr<const UniqueFd> held = files.Put(a, OpenSomething());
  files.Put(b, OpenSomething());
  EXPECT_EQ(a.Get(), nullptr);
  EXPECT_TRUE(IsOpen(held->get()));
}

TEST(OpenFiles, ClosesWhatWasIdleBetweenTwoLooks) {
  OpenFiles files(3);
  OpenFiles::Slot idle(files), used(files), held(files);
  const int idle_fd = files.Put(idle, OpenSomething())->get();
  files.Put(used, OpenSomething());
  const std::shared_ptr<const UniqueFd> holder = files.Put(held, OpenSomething());
  files.CloseIdle();
  EXPECT_EQ(files.size(), 3u);
  EXPECT_NE(used.Get(), nullptr);
  files.CloseIdle();
  EXPECT_FALSE(IsOpen(idle_fd));
  EXPECT_EQ(idle.Get(), nullptr);
  EXPECT_NE(used.Get(), nullptr);
  EXPECT_EQ(held.Get(), holder);
  EXPECT_EQ(files.size(), 2u);
}

TEST(OpenFiles, GivesTheSecondOpenerWhatTheFirstHas) {
  OpenFiles files(2);
  OpenFiles::Slot slot(files);
  const auto first = files.Put(slot, OpenSomething());
  EXPECT_EQ(files.Put(slot, OpenSomething()), first);
  files.Close(slot);
  EXPECT_EQ(slot.Get(), nullptr);
  EXPECT_EQ(files.size(), 0u);
}

TEST(OpenFiles, ServesManyThreads) {
  OpenFiles files(4);
  std::deque<OpenFiles::Slot> slots;
  for (int i = 0; i < 16; ++i) slots.emplace_back(files);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (size_t i = 0; i < 2000; ++i) {
        OpenFiles::Slot& slot = slots[(i * 7 + static_cast<size_t>(t)) % slots.size()];
        std::shared_ptr<const UniqueFd> fd = slot.Get();
        if (fd == nullptr) fd = files.Put(slot, OpenSomething());
        ASSERT_TRUE(IsOpen(fd->get()));
        if (i % 100 == 0) files.Close(slot);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_LE(files.size(), 4u);
}

}  // namespace
}  // namespace dragonfly::storage
