// SPDX-License-Identifier: Apache-2.0
#include "scheduler/host_table.h"

#include <set>

#include "tests/unit/scheduler/world.h"

namespace dragonfly::scheduler {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using testing::MakeFacts;

constexpr TimePoint kNow = TimePoint{} + 1h;

std::shared_ptr<HostFacts> Seed(int last_octet) {
  auto facts = MakeFacts("seed-" + std::to_string(last_octet), true);
  facts->ip = "10.0.0." + std::to_string(last_octet);
  return facts;
}

std::vector<std::string> Ids(const std::vector<std::shared_ptr<Host>>& hosts) {
  std::vector<std::string> ids;
  for (const auto& host : hosts) ids.push_back(host->id());
  return ids;
}

// Vectors: dragonfly v2.3.0, pkg/balancer/consistent_hashing.go with members 10.0.0.{1,2,3}:4000.
TEST(HostTable, ChoosesTheSeedThatAllSchedulersChoose) {
  HostTable table;
  for (const int octet : {1, 2, 3}) table.Announce(Seed(octet), kNow);
  table.Announce(MakeFacts("normal"), kNow);
  const std::vector<std::pair<std::string, std::string>> vectors = {
      {"27554d06dfc788c2c2c60e01960152ffbd4b145fc103fcb80b432b4dc238a6fe", "seed-3"},
      {"06408fbf247ddaca478f8cb9565fe5591c28efd0994b8fea80a6a87d3203c5ca", "seed-1"},
      {"c9f9261b7305c24371244f9f149f5d4589ed601348fdf22d7f6f4b10658fdba2", "seed-2"},
      {"2229733261", "seed-2"},
  };
  for (const auto& [task, seed] : vectors) {
    const auto seeds = table.SeedsFor(task, kNow);
    ASSERT_EQ(seeds.size(), 3u);
    EXPECT_EQ(seeds.front()->id(), seed) << task;
  }
}

TEST(HostTable, LeavesOutASeedThatHasFailedUntilItsTimeOrItsNextAnnouncement) {
  HostTable table;
  table.Announce(Seed(1), kNow);
  table.Announce(Seed(2), kNow);
  table.SkipSeed("seed-1", kNow + 30s);
  EXPECT_THAT(Ids(table.SeedsFor("task", kNow + 29s)), ElementsAre("seed-2"));
  EXPECT_EQ(table.SeedsFor("task", kNow + 30s).size(), 2u);
  table.SkipSeed("seed-1", kNow + 60s);
  table.Announce(Seed(1), kNow + 31s);
  EXPECT_EQ(table.SeedsFor("task", kNow + 31s).size(), 2u);
}

TEST(HostTable, AHostThatStopsBeingASeedIsAskedNoMore) {
  HostTable table;
  table.Announce(Seed(1), kNow);
  auto normal = Seed(1);
  normal->type = 0;
  table.Announce(normal, kNow);
  EXPECT_TRUE(table.SeedsFor("task", kNow).empty());
}

TEST(HostTable, ASeedThatDoesNotShareIsNotAsked) {
  HostTable table;
  auto selfish = Seed(1);
  selfish->disable_shared = true;
  table.Announce(selfish, kNow);
  EXPECT_TRUE(table.SeedsFor("task", kNow).empty());
}

TEST(HostTable, ListsByType) {
  HostTable table;
  table.Announce(Seed(1), kNow);
  table.Announce(MakeFacts("a"), kNow);
  table.Announce(MakeFacts("b"), kNow);
  EXPECT_EQ(table.List().size(), 3u);
  EXPECT_EQ(table.List(0).size(), 2u);
  EXPECT_THAT(Ids(table.List(1)), ElementsAre("seed-1"));
  EXPECT_TRUE(table.List(2).empty());
}

TEST(HostTable, RemovesHostsThatHaveMissedTwoAnnouncements) {
  HostTable table;
  auto eternal = MakeFacts("eternal");
  eternal->announce_interval = 0s;
  table.Announce(eternal, kNow);
  table.Announce(MakeFacts("silent"), kNow);
  table.Announce(MakeFacts("alive"), kNow);
  table.Find("alive")->Touch(kNow + 500s);
  EXPECT_TRUE(table.RemoveSilent(kNow + 600s).empty());
  EXPECT_THAT(table.RemoveSilent(kNow + 601s), ElementsAre("silent"));
  EXPECT_EQ(table.size(), 2u);
}

// More than one hold of the lock.
TEST(HostTable, WalksOverVeryManyHosts) {
  HostTable table;
  constexpr size_t kHosts = 2500;
  for (size_t i = 0; i < kHosts; ++i) table.Announce(MakeFacts("h" + std::to_string(i)), kNow);
  const std::vector<std::string> ids = Ids(table.List());
  EXPECT_EQ(ids.size(), kHosts);
  EXPECT_EQ(std::set<std::string>(ids.begin(), ids.end()).size(), kHosts);
  for (size_t i = 0; i < kHosts; i += 5) table.Find("h" + std::to_string(i))->Touch(kNow + 500s);
  EXPECT_EQ(table.RemoveSilent(kNow + 601s).size(), kHosts - kHosts / 5);
  EXPECT_EQ(table.size(), kHosts / 5);
}

TEST(HostTable, TheOrderOfSeedsFollowsTheirChanges) {
  HostTable table;
  table.Announce(Seed(1), kNow);
  EXPECT_THAT(Ids(table.SeedsFor("task", kNow)), ElementsAre("seed-1"));
  table.Announce(Seed(2), kNow);
  EXPECT_EQ(table.SeedsFor("task", kNow).size(), 2u);
  auto selfish = Seed(1);
  selfish->disable_shared = true;
  table.Announce(selfish, kNow);
  EXPECT_THAT(Ids(table.SeedsFor("task", kNow)), ElementsAre("seed-2"));
  table.Announce(Seed(1), kNow);
  EXPECT_EQ(table.SeedsFor("task", kNow).size(), 2u);
  table.Remove("seed-2");
  EXPECT_THAT(Ids(table.SeedsFor("task", kNow)), ElementsAre("seed-1"));
  // The same id on another port takes another place on the ring; the answer names the host as it is now.
  auto moved = Seed(1);
  moved->port = 4999;
  table.Announce(moved, kNow);
  ASSERT_EQ(table.SeedsFor("task", kNow).size(), 1u);
  EXPECT_EQ(table.SeedsFor("task", kNow)[0]->facts()->port, 4999);
}

TEST(Host, TakesNoMoreSlotsThanItsLimit) {
  Host host(MakeFacts("h"), kNow);
  EXPECT_TRUE(host.TakeUploadSlot(2));
  EXPECT_TRUE(host.TakeUploadSlot(2));
  EXPECT_FALSE(host.TakeUploadSlot(2));
  host.GiveUploadSlot();
  EXPECT_TRUE(host.TakeUploadSlot(2));
}

TEST(Host, RecoversFromFailedUploads) {
  Host host(MakeFacts("h"), kNow);
  EXPECT_EQ(host.UploadSuccess(), 1);
  for (int i = 0; i < 4; ++i) host.CountUpload(i % 2 == 0);
  EXPECT_EQ(host.UploadSuccess(), 0.5);
  for (int i = 0; i < 1024; ++i) host.CountUpload(false);
  EXPECT_LT(host.UploadSuccess(), 0.01);
  for (int i = 0; i < 8 * 1024; ++i) host.CountUpload(true);
  EXPECT_GT(host.UploadSuccess(), 0.95);
}

}  // namespace
}  // namespace dragonfly::scheduler
