// SPDX-License-Identifier: Apache-2.0
#include "source/redirect_cache.h"

#include <gtest/gtest.h>

#include <chrono>
#include <string>

namespace dragonfly::source {
namespace {

using std::chrono::seconds;

Target To(const std::string& url, HeaderFields header = {}) { return Target{url, std::move(header)}; }

std::string UrlOf(const std::optional<Target>& target) { return target.has_value() ? target->url : ""; }

TEST(RedirectCache, RemembersUntilItsTimeHasPassed) {
  RedirectCache cache(10, seconds(60));
  const TimePoint now{};
  cache.Put(To("a"), To("b"), now);
  EXPECT_EQ(UrlOf(cache.Find(To("a"), now + seconds(59))), "b");
  EXPECT_EQ(UrlOf(cache.Find(To("a"), now + seconds(60))), "");
  EXPECT_EQ(UrlOf(cache.Find(To("b"), now)), "");
}

TEST(RedirectCache, KeepsCallersApart) {
  RedirectCache cache(10, seconds(60));
  const TimePoint now{};
  cache.Put(To("a", {{"Authorization", "one"}}), To("b"), now);
  EXPECT_EQ(UrlOf(cache.Find(To("a", {{"Authorization", "one"}}), now)), "b");
  EXPECT_EQ(UrlOf(cache.Find(To("a", {{"Authorization", "two"}}), now)), "");
  EXPECT_EQ(UrlOf(cache.Find(To("a"), now)), "");
}

TEST(RedirectCache, ForgetsTheOldestWhenFull) {
  RedirectCache cache(2, seconds(60));
  const TimePoint now{};
  cache.Put(To("a"), To("1"), now);
  cache.Put(To("b"), To("2"), now + seconds(1));
  cache.Put(To("c"), To("3"), now + seconds(2));
  EXPECT_EQ(UrlOf(cache.Find(To("a"), now + seconds(2))), "");
  EXPECT_EQ(UrlOf(cache.Find(To("b"), now + seconds(2))), "2");
  EXPECT_EQ(UrlOf(cache.Find(To("c"), now + seconds(2))), "3");
}

TEST(RedirectCache, ARenewedEntryOutlivesItsOldTime) {
  RedirectCache cache(10, seconds(60));
  const TimePoint now{};
  cache.Put(To("a"), To("1"), now);
  cache.Put(To("a"), To("2"), now + seconds(30));
  cache.Put(To("b"), To("3"), now + seconds(70));
  EXPECT_EQ(UrlOf(cache.Find(To("a"), now + seconds(70))), "2");
  cache.Erase(To("a"));
  EXPECT_EQ(UrlOf(cache.Find(To("a"), now + seconds(70))), "");
}

}  // namespace
}  // namespace dragonfly::source
