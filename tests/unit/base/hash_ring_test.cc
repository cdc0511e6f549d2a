// SPDX-License-Identifier: Apache-2.0
#include "base/hash_ring.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"

namespace dragonfly {
namespace {

using testing::ElementsAre;
using testing::UnorderedElementsAre;

constexpr uint16_t kPort = 8002;

TEST(SipHash24, MatchesWhatTheRustPeersCompute) {
  // Ring points and keys of the Rust seed ring: node number (8 bytes LE), name, 0xff; task id, 0xff.
  EXPECT_EQ(SipHash24(std::string(8, '\0') + "seed-0\xff"), 0xb9a380ff82f73dafu);
  EXPECT_EQ(SipHash24(std::string("\xff\x01\0\0\0\0\0\0", 8) + "seed-0\xff"), 0x74a5d8594722067fu);
  EXPECT_EQ(SipHash24("27554d06dfc788c2c2c60e01960152ffbd4b145fc103fcb80b432b4dc238a6fe\xff"), 0x1898b21a6171ee2du);
  EXPECT_EQ(SipHash24("06408fbf247ddaca478f8cb9565fe5591c28efd0994b8fea80a6a87d3203c5ca\xff"), 0x0ea2c3d5b0962482u);
}

TEST(SchedulerRing, PlacesNodesAsTheRustPeersDo) {
  const struct {
    const char* ip;
    uint64_t hash;
  } kCases[] = {
      {"192.168.1.10", 0x66bb86f995f476ca}, {"192.168.1.11", 0x3d622d18edd0b172}, {"192.168.1.12", 0x97d32668cf08d4f9},
      {"127.0.0.1", 0x2c30ce45aaaf7546},    {"::1", 0x3f52c1d091552b23},          {"[::1]", 0x3f52c1d091552b23},
      {"10.0.0.1", 0x9948a09af7ec8dee},     {"10.0.0.2", 0x3c5a35daa4177512},     {"10.0.0.3", 0x3fb2e2c7ee4f0057},
      {"192.168.1.2", 0x016d447481e855f4},  {"2001:db8::1", 0x7594c522abec20ee},
  };
  for (const auto& test : kCases) {
    const auto hash = SchedulerRing::NodeHash(test.ip, kPort);
    ASSERT_TRUE(hash.ok()) << hash.status();
    EXPECT_EQ(*hash, test.hash) << test.ip;
  }
}

TEST(SchedulerRing, HashesTheFirstFiveBytesOfTheTaskId) {
  const struct {
    const char* prefix;
    uint64_t hash;
  } kCases[] = {
      {"27554", 0x8bb4ecff9d4b2a1b}, {"06408", 0xd6b27f30679d0b91}, {"3c3f2", 0x0ab2cf5a340b992b},
      {"c9f92", 0xda5bc50bfa003546}, {"9f7c9", 0x3c2104d782d4da03}, {"457b4", 0xa96e1294e304728d},
      {"e2d0f", 0x5c00fcf320620345}, {"10735", 0x1231bbe0e41d3e43}, {"22297", 0xc8854051f5856755},
      {"12345", 0x4e9d735f863c6067},
  };
  for (const auto& test : kCases) {
    EXPECT_EQ(SchedulerRing::KeyHash(test.prefix), test.hash) << test.prefix;
    EXPECT_EQ(SchedulerRing::KeyHash(std::string(test.prefix) + "d06dfc788"), test.hash) << test.prefix;
  }
}

TEST(SchedulerRing, PicksTheSchedulerThatTheRustPeersPick) {
  SchedulerRing lan;
  for (const char* ip : {"192.168.1.10", "192.168.1.11", "192.168.1.12"}) ASSERT_TRUE(lan.Add(ip, kPort).ok());
  EXPECT_EQ(lan.Pick("27554d06"), 2u);
  EXPECT_EQ(lan.Pick("e2d0fe15"), 0u);
  for (const char* id : {"06408fbf", "3c3f230e", "c9f9261b", "9f7c9aaf", "457b4328", "107352521", "2229733261"}) {
    EXPECT_EQ(lan.Pick(id), 1u) << id;
  }

  SchedulerRing ten;
  for (const char* ip : {"10.0.0.1", "10.0.0.2", "10.0.0.3"}) ASSERT_TRUE(ten.Add(ip, kPort).ok());
  EXPECT_EQ(ten.Pick("27554"), 0u);
  EXPECT_EQ(ten.Pick("06408"), 1u);
  EXPECT_EQ(ten.Pick("c9f92"), 1u);
  EXPECT_EQ(ten.Pick("12345"), 0u);
}

TEST(SchedulerRing, FailsOverInRingOrder) {
  SchedulerRing ring;
  for (const char* ip : {"192.168.1.10", "192.168.1.11", "192.168.1.12"}) ASSERT_TRUE(ring.Add(ip, kPort).ok());
  EXPECT_EQ(ring.size(), 3u);
  EXPECT_THAT(ring.Order("27554"), ElementsAre(2, 1, 0));  // .11 < .10 < .12 on the ring
  EXPECT_THAT(ring.Order("e2d0f"), ElementsAre(0, 2, 1));
  EXPECT_THAT(ring.Order("06408"), ElementsAre(1, 0, 2));
}

TEST(SchedulerRing, IsEmptyWithoutSchedulers) {
  const SchedulerRing ring;
  EXPECT_TRUE(ring.empty());
  EXPECT_EQ(ring.Pick("27554"), std::nullopt);
  EXPECT_TRUE(ring.Order("27554").empty());
}

TEST(SchedulerRing, TakesIdsShorterThanThePrefix) {
  SchedulerRing ring;
  ASSERT_TRUE(ring.Add("10.0.0.1", kPort).ok());
  EXPECT_EQ(ring.Pick("1"), 0u);
  EXPECT_EQ(ring.Pick(""), 0u);
}

TEST(SchedulerRing, RefusesWhatIsNoIpAddress) {
  SchedulerRing ring;
  for (const std::string& ip :
       {std::string("localhost"), std::string(""), std::string("10.0.0"), std::string("[]"), std::string("[10.0.0.1]"),
        std::string("10.0.0.1\0", 9), std::string("::1%eth0"), std::string("[::1"), std::string("010.0.0.1")}) {
    EXPECT_EQ(ring.Add(ip, kPort).code(), absl::StatusCode::kInvalidArgument) << ip;
  }
  EXPECT_TRUE(ring.empty());
}

TEST(SeedRing, PicksTheSeedThatTheGoSchedulerPicks) {
  const struct {
    const char* task_id;
    size_t with_host;
    size_t plain;
  } kCases[] = {
      {"27554d06dfc788c2c2c60e01960152ffbd4b145fc103fcb80b432b4dc238a6fe", 2, 2},
      {"06408fbf247ddaca478f8cb9565fe5591c28efd0994b8fea80a6a87d3203c5ca", 0, 0},
      {"c9f9261b7305c24371244f9f149f5d4589ed601348fdf22d7f6f4b10658fdba2", 1, 1},
      {"2229733261", 1, 2},
  };
  SeedRing with_host;
  for (const char* member : {"10.0.0.1:4000:10.0.0.1", "10.0.0.2:4000:10.0.0.2", "10.0.0.3:4000:10.0.0.3"}) {
    with_host.Add(member);
  }
  SeedRing plain;
  for (const char* member : {"10.0.0.1:4000", "10.0.0.2:4000", "10.0.0.3:4000"}) plain.Add(member);
  for (const auto& test : kCases) {
    EXPECT_EQ(with_host.Pick(test.task_id), test.with_host) << test.task_id;
    EXPECT_EQ(plain.Pick(test.task_id), test.plain) << test.task_id;
    EXPECT_EQ(plain.Order(test.task_id).front(), test.plain);
    EXPECT_THAT(plain.Order(test.task_id), UnorderedElementsAre(0, 1, 2));
  }
}

TEST(SeedRing, GivesASharedPointToTheLaterMember) {
  SeedRing ring;
  ring.Add("10.0.0.1:4000");
  ring.Add("10.0.0.1:4000");
  EXPECT_THAT(ring.Order("27554"), ElementsAre(1));
}

TEST(SeedRing, ManyMembersAtOnceAreAsOneAfterAnother) {
  std::vector<std::string> members;
  for (int i = 0; i < 500; ++i) members.push_back(absl::StrCat("10.0.", i / 250, ".", i % 250, ":4000:10.0.0.1"));
  // The last one lies on the points of the first.
  members.push_back(members.front());
  SeedRing one_by_one;
  for (const std::string& member : members) one_by_one.Add(member);
  const SeedRing at_once(members);
  for (int i = 0; i < 200; ++i) {
    const std::string task = absl::StrCat("task-", i);
    EXPECT_EQ(at_once.Pick(task), one_by_one.Pick(task));
    EXPECT_EQ(at_once.Order(task), one_by_one.Order(task));
  }
  EXPECT_EQ(at_once.Order("task").size(), members.size() - 1);
}

TEST(SeedRing, IsEmptyWithoutMembers) {
  const SeedRing ring;
  EXPECT_TRUE(ring.empty());
  EXPECT_EQ(ring.Pick("27554"), std::nullopt);
  EXPECT_TRUE(ring.Order("27554").empty());
}

}  // namespace
}  // namespace dragonfly
