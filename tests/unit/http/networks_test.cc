// SPDX-License-Identifier: Apache-2.0
#include "http/networks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace dragonfly::http {
namespace {

bool Has(const Networks& networks, const char* address) {
  return networks.Contains(boost::asio::ip::make_address(address));
}

TEST(Networks, KnowTheirAddresses) {
  const auto networks = Networks::Parse({"169.254.0.0/16", "fe80::/10", "10.0.0.1", "fd00::/8"});
  ASSERT_TRUE(networks.ok());
  for (const char* const in : {"169.254.169.254", "fe80::1", "febf::1", "10.0.0.1", "::ffff:169.254.1.1", "fd12::1"}) {
    EXPECT_TRUE(Has(*networks, in)) << in;
  }
  for (const char* const out : {"169.255.0.1", "10.0.0.2", "fec0::1", "::1", "127.0.0.1", "0.0.0.0", "::"}) {
    EXPECT_FALSE(Has(*networks, out)) << out;
  }
  for (const char* const bad : {"a", "10.0.0.0/33", "fe80::/129", "10.0.0.0/", "10.0.0.0/-1", ""}) {
    const auto refused = Networks::Parse({"10.0.0.1", bad});
    EXPECT_THAT(refused.status().message(), ::testing::HasSubstr(bad)) << bad;
  }
}

TEST(Networks, KeepTheTwoFamiliesApart) {
  EXPECT_TRUE(Has(*Networks::Parse({"0.0.0.0/0"}), "9.9.9.9"));
  EXPECT_FALSE(Has(*Networks::Parse({"0.0.0.0/0"}), "2001:db8::1"));
  EXPECT_TRUE(Has(*Networks::Parse({"::/0"}), "2001:db8::1"));
  EXPECT_FALSE(Has(*Networks::Parse({"::/0"}), "9.9.9.9"));
  EXPECT_TRUE(Has(*Networks::Parse({"::ffff:10.0.0.0/104"}), "10.9.9.9"));
  EXPECT_FALSE(Has(Networks(), "9.9.9.9"));
}

TEST(Networks, SeeAnAddressOfIpv4ThroughIpv6) {
  const auto networks = Networks::Parse(Networks::LinkLocalAndMetadata());
  ASSERT_TRUE(networks.ok()) << networks.status();
  for (const char* const in : {"::ffff:169.254.169.254", "64:ff9b::169.254.169.254", "169.254.170.2", "fd00:ec2::254",
                               "100.100.100.200", "168.63.129.16", "fe80::a9fe:a9fe"}) {
    EXPECT_TRUE(Has(*networks, in)) << in;
  }
  for (const char* const out : {"127.0.0.1", "10.0.0.1", "64:ff9b::8.8.8.8", "2001:db8::169.254.169.254"}) {
    EXPECT_FALSE(Has(*networks, out)) << out;
  }
}

TEST(Networks, TakeTheUnspecifiedAddressForThisHost) {
  for (const char* const text : {"127.0.0.0/8", "127.0.0.1"}) {
    EXPECT_TRUE(Has(*Networks::Parse({text}), "0.0.0.0")) << text;
    EXPECT_TRUE(Has(*Networks::Parse({text}), "::ffff:0.0.0.0")) << text;
  }
  EXPECT_TRUE(Has(*Networks::Parse({"::1"}), "::"));
  const auto here = Networks::Parse(Networks::Loopback());
  ASSERT_TRUE(here.ok()) << here.status();
  for (const char* const in : {"127.0.0.1", "127.9.9.9", "0.0.0.0", "::1", "::", "::ffff:127.0.0.1", "0.1.2.3"}) {
    EXPECT_TRUE(Has(*here, in)) << in;
  }
  EXPECT_FALSE(Has(*here, "128.0.0.1"));
}

TEST(Networks, AddUp) {
  Networks sum = *Networks::Parse({"10.0.0.0/8"});
  sum.Add(*Networks::Parse({"fd00::/8"}));
  EXPECT_TRUE(Has(sum, "10.0.0.1"));
  EXPECT_TRUE(Has(sum, "fd00::1"));
}

}  // namespace
}  // namespace dragonfly::http
