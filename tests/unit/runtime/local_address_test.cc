// SPDX-License-Identifier: Apache-2.0
#include "runtime/local_address.h"

#include <gtest/gtest.h>

namespace dragonfly::runtime {
namespace {

TEST(LocalAddress, FindsAnAddressOfThisMachine) {
  const auto found = FindLocalAddress(/*prefer_ipv6=*/false);
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(InterfaceOf(found->ip), found->interface);
  EXPECT_EQ(IsLoopback(found->ip), found->loopback);
  EXPECT_EQ(InterfaceOf("127.0.0.1"), "lo");
  EXPECT_EQ(InterfaceOf("203.0.113.77"), "");
  EXPECT_FALSE(SystemHostname()->empty());
}

}  // namespace
}  // namespace dragonfly::runtime
