// SPDX-License-Identifier: Apache-2.0
#include "daemon/proxy/rules.h"

#include <gtest/gtest.h>

#include "daemon/proxy/access_record.h"
#include "tests/support/temp_dir.h"

namespace dragonfly::daemon::proxy {
namespace {

Rules::Rule Rule(const std::string& regex, bool use_tls = false, const std::string& redirect = "") {
  Rules::Rule rule;
  rule.regex = regex;
  rule.use_tls = use_tls;
  rule.redirect = redirect;
  return rule;
}

Url U(const std::string& text) { return *Url::Parse(text); }

TEST(ProxyRules, TheFirstThatIsFoundWins) {
  const auto rules = Rules::Make({Rule("blobs/sha256.*"), Rule("^http://a\\.example/"), Rule("\\.tar$", true)});
  ASSERT_TRUE(rules.ok());
  EXPECT_EQ((*rules)->Match(U("https://r/v2/x/blobs/sha256:ab?ns=r"))->regex, "blobs/sha256.*");
  EXPECT_EQ((*rules)->Match(U("http://a.example:80/x.tar"))->regex, "^http://a\\.example/");
  EXPECT_EQ((*rules)->Match(U("http://b.example/x.tar?y=z"))->regex, "\\.tar$") << "the query is left out";
  EXPECT_EQ((*rules)->Match(U("http://b.example/x?y=.tar"))->regex, "\\.tar$") << "or looked into, as v1.0.0 does";
  EXPECT_EQ((*rules)->Match(U("http://b.example/x")), nullptr);
  const auto everything = Rules::Make({Rules::Rule()});
  EXPECT_NE((*everything)->Match(U("http://b.example/")), nullptr) << "a rule without regex takes all";
}

TEST(ProxyRules, NameWhatIsWrong) {
  EXPECT_FALSE(Rules::Make({Rule("(")}).ok());
  for (const char* const bad : {"http://a", "a/b", "a@b", "a b", "a?b"}) {
    EXPECT_FALSE(Rules::Make({Rule(".*", false, bad)}).ok()) << bad;
  }
}

TEST(ProxyRules, AskByTlsAndElsewhere) {
  const auto apply = [](const Rules::Rule& rule, const char* url) { return Rules::Apply(rule, U(url))->ToString(); };
  EXPECT_EQ(apply(Rule("", true), "http://a/x?y"), "https://a/x?y");
  EXPECT_EQ(apply(Rule("", true), "http://a:8080/x"), "https://a:8080/x");
  EXPECT_EQ(apply(Rule("", true), "https://a/x"), "https://a/x");
  EXPECT_EQ(apply(Rule("", false, "b:81"), "http://a:8080/x"), "http://b:81/x");
  EXPECT_EQ(apply(Rule("", true, "b"), "http://a:8080/x"), "https://b/x");
}

TEST(ProxyRules, TellWhichTunnelsNeedNotBeOpened) {
  const auto may = [](const std::string& regex, const char* host, uint16_t port = 443) {
    Authority authority;
    authority.host = host;
    authority.port = port;
    return (*Rules::Make({Rule(regex)}))->MayMatch(authority);
  };
  EXPECT_TRUE(may("blobs/sha256", "any.example"));
  EXPECT_TRUE(may("^https://ghcr\\.io/", "ghcr.io"));
  EXPECT_TRUE(may("^https://ghcr\\.io/v2/.*/blobs/", "ghcr.io"));
  EXPECT_TRUE(may("^https?://ghcr\\.io/", "ghcr.io"));
  EXPECT_TRUE(may("^https://[a-z]*\\.io/", "ghcr.io"));
  EXPECT_FALSE(may("^https://ghcr\\.io/", "quay.io"));
  EXPECT_FALSE(may("^https://ghcr\\.io/", "ghcr.io", 8443));
  EXPECT_FALSE(may("^http://", "ghcr.io"));
  EXPECT_TRUE(may("^https://ghcr\\.io/|x", "quay.io")) << "cannot tell";
  EXPECT_FALSE((*Rules::Make({}))->MayMatch(Authority()));
}

TEST(ProxyAccess, AnAcceptanceHoldsForItsCredentialsAndItsTime) {
  AccessRecord::Options options;
  options.entries_max = 2;
  AccessRecord record(options);
  Fields alice, bob;
  alice.Add("Authorization", "Bearer a");
  bob.Add("authorization", "Bearer b");
  const std::string key = AccessRecord::KeyOf("https://r/x", alice);
  EXPECT_NE(key, AccessRecord::KeyOf("https://r/x", bob));
  EXPECT_NE(key, AccessRecord::KeyOf("https://r/y", alice));
  EXPECT_NE(key, AccessRecord::KeyOf("https://r/x", Fields()));
  Fields custom, harmless;
  custom.Add("PRIVATE-TOKEN", "secret");
  harmless.Add("User-Agent", "curl");
  harmless.Add("X-Dragonfly-Tag", "t");
  EXPECT_NE(AccessRecord::KeyOf("https://r/x", custom), AccessRecord::KeyOf("https://r/x", Fields()));
  EXPECT_EQ(AccessRecord::KeyOf("https://r/x", harmless), AccessRecord::KeyOf("https://r/x", Fields()));
  EXPECT_TRUE(AccessRecord::HasCredentials(custom));
  EXPECT_FALSE(AccessRecord::HasCredentials(harmless));
  EXPECT_TRUE(AccessRecord::HasCredentials(alice));
  EXPECT_FALSE(AccessRecord::HasCredentials(Fields()));
  const TimePoint now = Clock::now();
  record.Accept(key, now);
  EXPECT_TRUE(record.Fresh(key, now + std::chrono::seconds(59)));
  EXPECT_FALSE(record.Fresh(key, now + std::chrono::seconds(61)));
  EXPECT_TRUE(record.Stale(key, now + std::chrono::hours(23)));
  EXPECT_FALSE(record.Stale(key, now + std::chrono::hours(25)));
  record.Accept("2", now);
  record.Accept("3", now);
  EXPECT_FALSE(record.Stale(key, now)) << "its number is bounded";
  record.Forget("3");
  EXPECT_FALSE(record.Fresh("3", now));
}

}  // namespace
}  // namespace dragonfly::daemon::proxy
