// SPDX-License-Identifier: Apache-2.0
#include "manager/jwt.h"

#include "gtest/gtest.h"
#include "manager/login_throttle.h"
#include "manager/secret.h"

namespace dragonfly::manager {
namespace {

TEST(Jwt, ReadsWhatItSigns) {
  const Claims claims{7, absl::FromUnixSeconds(2'000'000'000), absl::FromUnixSeconds(1'700'000'000)};
  const std::string token = SignToken(claims, "key");
  const auto parsed = ParseToken(token, "key");
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->user_id, 7);
  EXPECT_EQ(parsed->expires, claims.expires);
  EXPECT_EQ(parsed->signed_at, claims.signed_at);
  EXPECT_FALSE(ParseToken(token, "other").ok());
  EXPECT_FALSE(ParseToken(token + "x", "key").ok());
  EXPECT_FALSE(ParseToken("", "key").ok());
  EXPECT_FALSE(ParseToken("a.b.c", "key").ok());
}

std::string Signed(const std::string& header, const std::string& payload) {
  const std::string text = Base64Url(header) + "." + Base64Url(payload);
  return text + "." + Base64Url(HmacSha256("key", text));
}

TEST(Jwt, TakesItsOwnAlgorithmAloneAndAllClaims) {
  const std::string payload = R"({"id":1,"exp":2000000000,"orig_iat":1700000000})";
  EXPECT_TRUE(ParseToken(Signed(R"({"alg":"HS256"})", payload), "key").ok());
  // As gin-jwt writes numbers that have been through a map.
  EXPECT_TRUE(ParseToken(Signed(R"({"alg":"HS256"})", R"({"id":1e0,"exp":2.0e9,"orig_iat":1.7e9})"), "key").ok());
  EXPECT_FALSE(ParseToken(Signed(R"({"alg":"none"})", payload), "key").ok());
  EXPECT_FALSE(ParseToken(Signed(R"({"alg":"HS512"})", payload), "key").ok());
  EXPECT_FALSE(ParseToken(Signed(R"({"alg":"HS256"})", R"({"id":1,"exp":2000000000})"), "key").ok());
  EXPECT_FALSE(ParseToken(Signed(R"({"alg":"HS256"})", R"({"id":"1","exp":1,"orig_iat":1})"), "key").ok());
  EXPECT_FALSE(ParseToken(Signed(R"({"alg":"HS256"})", "[]"), "key").ok());
}

TEST(LoginThrottle, ForgetsAfterAMinute) {
  LoginThrottle throttle;
  const TimePoint now = Clock::now();
  for (int i = 0; i < 5; ++i) {
    EXPECT_TRUE(throttle.Admits("1.2.3.4", "root", now));
    throttle.CountFailure("1.2.3.4", "root", now);
  }
  EXPECT_FALSE(throttle.Admits("1.2.3.4", "root", now));
  EXPECT_TRUE(throttle.Admits("1.2.3.5", "root", now));
  EXPECT_TRUE(throttle.Admits("1.2.3.4", "alice", now));
  EXPECT_TRUE(throttle.Admits("1.2.3.4", "root", now + std::chrono::seconds(61)));
}

TEST(LoginThrottle, CountsAnAddressForAllNamesAndANameForAllAddresses) {
  LoginThrottle throttle;
  const TimePoint now = Clock::now();
  for (int i = 0; i < 30; ++i) throttle.CountFailure("1.2.3.4", "user" + std::to_string(i), now);
  EXPECT_FALSE(throttle.Admits("1.2.3.4", "another", now));
  for (int i = 0; i < 100; ++i) throttle.CountFailure("10.0.0." + std::to_string(i), "root", now);
  EXPECT_FALSE(throttle.Admits("1.1.1.1", "root", now));
}

}  // namespace
}  // namespace dragonfly::manager
