// SPDX-License-Identifier: Apache-2.0
#include "manager/client_address.h"

#include "gtest/gtest.h"

namespace dragonfly::manager {
namespace {

http::Request From(const std::string& peer, const std::string& forwarded, const std::string& proto = "") {
  http::Request request;
  request.client = peer;
  if (!forwarded.empty()) request.header.emplace_back("x-forwarded-for", forwarded);
  if (!proto.empty()) request.header.emplace_back("x-forwarded-proto", proto);
  return request;
}

TEST(TrustedProxies, BelievesNobodyByDefault) {
  const TrustedProxies nobody({});
  EXPECT_EQ(nobody.Of(From("10.0.0.1", "1.2.3.4", "https")).address, "10.0.0.1");
  EXPECT_FALSE(nobody.Of(From("10.0.0.1", "1.2.3.4", "https")).secure);
}

TEST(TrustedProxies, TakesTheLastHopThatNoneOfThemHasWritten) {
  const TrustedProxies proxies({"10.0.0.0/8", "fd00::/16", "192.168.1.1"});
  // The stranger has put the first entry there.
  EXPECT_EQ(proxies.Of(From("10.0.0.1", "6.6.6.6, 1.2.3.4, 10.9.9.9")).address, "1.2.3.4");
  EXPECT_EQ(proxies.Of(From("fd00::1", "[2001:db8::7]:443")).address, "2001:db8::7");
  EXPECT_EQ(proxies.Of(From("192.168.1.1", "1.2.3.4:5000")).address, "1.2.3.4");
  EXPECT_EQ(proxies.Of(From("192.168.1.2", "1.2.3.4")).address, "192.168.1.2");
  // All of them trusted: the farthest.
  EXPECT_EQ(proxies.Of(From("10.0.0.1", "10.0.0.3,10.0.0.2")).address, "10.0.0.3");
  EXPECT_EQ(proxies.Of(From("10.0.0.1", "unknown")).address, "10.0.0.1");
  EXPECT_EQ(proxies.Of(From("10.0.0.1", "")).address, "10.0.0.1");
  std::string many;
  for (int i = 0; i < 5000; ++i) many += "6.6.6.6,";
  EXPECT_EQ(proxies.Of(From("10.0.0.1", many + "1.2.3.4")).address, "1.2.3.4");
}

TEST(TrustedProxies, KnowsWhoSpeaksTls) {
  const TrustedProxies proxies({"10.0.0.1"});
  EXPECT_TRUE(proxies.Of(From("10.0.0.1", "1.2.3.4", "https")).secure);
  EXPECT_FALSE(proxies.Of(From("10.0.0.2", "1.2.3.4", "https")).secure);
  http::Request direct = From("10.0.0.2", "");
  direct.tls = true;
  EXPECT_TRUE(proxies.Of(direct).secure);
}

TEST(TrustedProxies, KnowsWhatANetworkHolds) {
  // Of IPv4 alone.
  EXPECT_EQ(TrustedProxies({"0.0.0.0/0"}).Of(From("fd00::1", "1.2.3.4")).address, "fd00::1");
  EXPECT_EQ(TrustedProxies({"10.0.0.0/9"}).Of(From("10.128.0.1", "1.2.3.4")).address, "10.128.0.1");
  EXPECT_EQ(TrustedProxies({"10.0.0.0/9"}).Of(From("10.127.0.1", "1.2.3.4")).address, "1.2.3.4");
}

}  // namespace
}  // namespace dragonfly::manager
