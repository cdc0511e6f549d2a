// SPDX-License-Identifier: Apache-2.0
#include "base/url.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace dragonfly {
namespace {

using testing::HasSubstr;
using testing::Not;

struct Serialised {
  std::string text;
  std::string url;
};

// Source of the tables: the WHATWG URL standard and its test data (urltestdata.json).
class UrlTest : public testing::TestWithParam<Serialised> {};

TEST_P(UrlTest, IsSerialisedByTheStandard) {
  const auto url = Url::Parse(GetParam().text);
  ASSERT_TRUE(url.ok()) << url.status();
  EXPECT_EQ(url->ToString(), GetParam().url);
  const auto again = Url::Parse(url->ToString());
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->ToString(), url->ToString());
}

INSTANTIATE_TEST_SUITE_P(Schemes, UrlTest,
                         testing::Values(Serialised{"https://example.com", "https://example.com/"},
                                         Serialised{"HTTPS://Example.COM:443/a/../b", "https://example.com/b"},
                                         Serialised{"http://example.com:80", "http://example.com/"},
                                         Serialised{"http://example.com:443/", "http://example.com:443/"},
                                         Serialised{"http://example.com:/", "http://example.com/"},
                                         Serialised{"http://example.com:000080/", "http://example.com/"},
                                         Serialised{"ftp://example.com:21/x", "ftp://example.com/x"},
                                         Serialised{"ws://example.com:80", "ws://example.com/"},
                                         Serialised{"wss://example.com:443", "wss://example.com/"},
                                         Serialised{"http:example.com/x", "http://example.com/x"},
                                         Serialised{"http:\\\\example.com\\x\\..\\y", "http://example.com/y"},
                                         Serialised{"http://////example.com/x", "http://example.com/x"},
                                         Serialised{"  http://example.com/ \t", "http://example.com/"},
                                         Serialised{"ht\ntp://exa\tmple.com/\r", "http://example.com/"}));

INSTANTIATE_TEST_SUITE_P(
    OtherSchemes, UrlTest,
    testing::Values(Serialised{"s3://bucket/dir/object.bin", "s3://bucket/dir/object.bin"},
                    Serialised{"S3://Bucket/Dir", "s3://Bucket/Dir"}, Serialised{"s3://bucket", "s3://bucket"},
                    Serialised{"s3://bucket/", "s3://bucket/"}, Serialised{"s3://bucket/a/./b/../c", "s3://bucket/a/c"},
                    Serialised{"hdfs://node:8020/x", "hdfs://node:8020/x"},
                    Serialised{"foo://h\xc3\xb6st/", "foo://h%C3%B6st/"}, Serialised{"foo:///p", "foo:///p"},
                    Serialised{"foo://[::1]:80/p", "foo://[::1]:80/p"}, Serialised{"foo:/a/../b", "foo:/b"},
                    Serialised{"foo:/.//p", "foo:/.//p"}, Serialised{"foo:opaque path?q#f", "foo:opaque path?q#f"},
                    Serialised{"foo:", "foo:"}, Serialised{"foo://?q", "foo://?q"},
                    Serialised{"foo://h/a\\b", "foo://h/a\\b"}, Serialised{"foo://h?a'b", "foo://h?a'b"}));

INSTANTIATE_TEST_SUITE_P(
    Paths, UrlTest,
    testing::Values(Serialised{"http://h/a/b/../../../c", "http://h/c"}, Serialised{"http://h/a/.", "http://h/a/"},
                    Serialised{"http://h/a/..", "http://h/"}, Serialised{"http://h/a/%2e%2E/b", "http://h/b"},
                    Serialised{"http://h/a/.%2e/b", "http://h/b"}, Serialised{"http://h/a/%2E/b", "http://h/a/b"},
                    Serialised{"http://h//a//b/", "http://h//a//b/"}, Serialised{"http://h/...", "http://h/..."},
                    Serialised{"http://h/a b\"<>`{}", "http://h/a%20b%22%3C%3E%60%7B%7D"},
                    Serialised{"http://h/a|^b~[]'!$&()*+,;=:@", "http://h/a|^b~[]'!$&()*+,;=:@"},
                    Serialised{"http://h/%zz%41", "http://h/%zz%41"},
                    Serialised{"http://h/\xc3\xa4\x7f", "http://h/%C3%A4%7F"}, Serialised{"http://h?q", "http://h/?q"},
                    Serialised{"http://h#f", "http://h/#f"}, Serialised{"http://h/?", "http://h/?"},
                    Serialised{"http://h/#", "http://h/#"},
                    Serialised{"http://h/?a b\"<>'`{}^|#x", "http://h/?a%20b%22%3C%3E%27`{}^|#x"},
                    Serialised{"http://h/#a b\"<>`{}#'\xc3\xa4", "http://h/#a%20b%22%3C%3E%60{}#'%C3%A4"},
                    Serialised{"http://h/?q?r=/../", "http://h/?q?r=/../"}));

INSTANTIATE_TEST_SUITE_P(Authorities, UrlTest,
                         testing::Values(Serialised{"http://user:pass@h/", "http://user:pass@h/"},
                                         Serialised{"http://user@h/", "http://user@h/"},
                                         Serialised{"http://:pass@h/", "http://:pass@h/"},
                                         Serialised{"http://@h/", "http://h/"}, Serialised{"http://:@h/", "http://h/"},
                                         Serialised{"http://a@b@c/", "http://a%40b@c/"},
                                         Serialised{"http://a:b:c d@h/", "http://a:b%3Ac%20d@h/"},
                                         Serialised{"http://u%41:p@h:8080/x", "http://u%41:p@h:8080/x"}));

INSTANTIATE_TEST_SUITE_P(
    Hosts, UrlTest,
    testing::Values(
        Serialised{"http://EX%41MPLE.com", "http://example.com/"},
        Serialised{"http://b\xc3\xbc"
                   "cher.de",
                   "http://xn--bcher-kva.de/"},
        Serialised{"http://B\xc3\x9c"
                   "CHER.de",
                   "http://xn--bcher-kva.de/"},
        Serialised{"http://xn--bcher-kva.de", "http://xn--bcher-kva.de/"},
        Serialised{"http://b%C3%BCcher.de", "http://xn--bcher-kva.de/"},
        Serialised{"http://fa\xc3\x9f.de", "http://xn--fa-hia.de/"},
        Serialised{"http://\xef\xbd\x85xample.com", "http://example.com/"},
        Serialised{"http://a_b-.c--d..e./", "http://a_b-.c--d..e./"},
        Serialised{"http://127.0.0.1", "http://127.0.0.1/"}, Serialised{"http://127.0.0.1.", "http://127.0.0.1/"},
        Serialised{"http://0x7f.1", "http://127.0.0.1/"}, Serialised{"http://017700000001", "http://127.0.0.1/"},
        Serialised{"http://2130706433", "http://127.0.0.1/"}, Serialised{"http://1.2.3", "http://1.2.0.3/"},
        Serialised{"http://0x", "http://0.0.0.0/"}, Serialised{"http://1.2.3.4.example", "http://1.2.3.4.example/"},
        Serialised{"http://[::1]", "http://[::1]/"},
        Serialised{"http://[2001:DB8:0:0:1:0:0:1]:8080", "http://[2001:db8::1:0:0:1]:8080/"},
        Serialised{"http://[::ffff:1.2.3.4]/", "http://[::ffff:102:304]/"},
        Serialised{"http://[1:0:2:3:4:5:6:7]/", "http://[1:0:2:3:4:5:6:7]/"},
        Serialised{"http://[1:2:3:4:5:6::]/", "http://[1:2:3:4:5:6::]/"}, Serialised{"http://[::]/", "http://[::]/"}));

INSTANTIATE_TEST_SUITE_P(Files, UrlTest,
                         testing::Values(Serialised{"file:///etc/passwd", "file:///etc/passwd"},
                                         Serialised{"file:/etc/../x", "file:///x"}, Serialised{"file:x", "file:///x"},
                                         Serialised{"file://localhost/x", "file:///x"},
                                         Serialised{"file://host/x", "file://host/x"}, Serialised{"file:", "file:///"},
                                         Serialised{"file:///C|/a/../..", "file:///C:/"},
                                         Serialised{"file://c:/x", "file:///c:/x"},
                                         Serialised{"file:\\\\x\\y", "file://x/y"}));

TEST(Url, GivesItsParts) {
  const auto url = Url::Parse("https://us%40er:pw@Example.com:8443/a b?q=1#f");
  ASSERT_TRUE(url.ok()) << url.status();
  EXPECT_EQ(url->scheme, "https");
  EXPECT_EQ(url->username, "us%40er");
  EXPECT_EQ(url->password, "pw");
  EXPECT_TRUE(url->has_host);
  EXPECT_EQ(url->host, "example.com");
  EXPECT_EQ(url->port, 8443);
  EXPECT_EQ(url->effective_port(), 8443);
  EXPECT_EQ(url->path, "/a%20b");
  EXPECT_TRUE(url->has_query);
  EXPECT_EQ(url->query, "q=1");
  EXPECT_TRUE(url->has_fragment);
  EXPECT_EQ(url->fragment, "f");
  EXPECT_TRUE(url->special());
}

TEST(Url, KnowsThePortInUse) {
  EXPECT_EQ(Url::Parse("https://h:443")->port, -1);
  EXPECT_EQ(Url::Parse("https://h")->effective_port(), 443);
  EXPECT_EQ(Url::Parse("http://h")->effective_port(), 80);
  EXPECT_EQ(Url::Parse("s3://b")->effective_port(), -1);
  EXPECT_FALSE(Url::Parse("s3://b")->special());
}

TEST(Url, RefusesWhatTheStandardRefuses) {
  const std::string kBad[] = {
      "",
      " ",
      "example.com",
      "/path",
      "//host/path",
      "1http://h",
      "ht_tp://h",
      ":",
      "http:",
      "http://",
      "http:///",
      "http://?q",
      "http://@/",
      "http://u@/",
      "http://:80/",
      "http://h:65536/",
      "http://h:8a/",
      "http://h:-1/",
      "http://h:80:80/",
      "http://a b/",
      "http://a%20b/",
      "http://a%00b/",
      "http://a<b/",
      "http://a^b/",
      "http://a|b/",
      "http://a%25b/",
      "http://[::1/",
      "http://[::1]x/",
      "http://[::1%25eth0]/",
      "http://[1:2:3:4:5:6:7:8:9]/",
      "http://[1:2:3:4::5:6:7:8]/",
      "http://[::1.2.3]/",
      "http://[]/",
      "http://::1/",
      "http://256.256.256.256/",
      "http://1.2.3.4.5/",
      "http://1.2.3.08/",
      "http://4294967296/",
      "http://a.0x1g.1/",
      "http://xn--/",
      "http://xn--a/",
      "http://%ff/",
      "http://\xef\xbf\xbd/",
      "s3://a b/",
      "foo://a<b/",
      "foo://:80/",
      "foo://[::1/",
      "file://a b/x",
      "http://h/\xff",
      "http://h/\xed\xa0\x80",
      "http://h/\xc0\xaf",
      "http://h/" + std::string(70'000, 'x'),
  };
  for (const std::string& text : kBad) {
    const auto url = Url::Parse(text);
    EXPECT_EQ(url.status().code(), absl::StatusCode::kInvalidArgument) << text.substr(0, 100);
    EXPECT_LT(url.status().message().size(), 1000u);
  }
}

TEST(Url, ErrorsShowNoSecrets) {
  for (const char* text :
       {"https://user:secret@host:99999/x", "https://host:99999/x?sig=secret", "secret@host", "http:user:secret@[::1",
        "https://user:secret/more@host:99999", "https://u:secret?x@h:99999", "https://h:99999/#secret"}) {
    const auto url = Url::Parse(text);
    ASSERT_FALSE(url.ok()) << text;
    EXPECT_THAT(std::string(url.status().message()), Not(HasSubstr("secret"))) << text;
  }
}

TEST(PercentDecode, LeavesWhatIsNoEscape) {
  EXPECT_EQ(PercentDecode("a%20b%2Fc%2f"), "a b/c/");
  EXPECT_EQ(PercentDecode("%"), "%");
  EXPECT_EQ(PercentDecode("%4"), "%4");
  EXPECT_EQ(PercentDecode("%zz%41%"), "%zzA%");
  EXPECT_EQ(PercentDecode("%2541"), "%41");
  EXPECT_EQ(PercentDecode("a+b"), "a+b");
}

struct Canonical {
  std::string url;
  std::vector<std::string> filter;
  std::string canonical;
};

TEST(CanonicalUrl, DropsFilteredPairsAndWritesTheRestAsAForm) {
  const Canonical kCases[] = {
      {"https://example.com", {}, "https://example.com"},
      {"https://example.com/", {}, "https://example.com"},
      {"https://example.com//", {}, "https://example.com//"},
      {"https://example.com/path/", {}, "https://example.com/path/"},
      {"https://example.com/?", {}, "https://example.com"},
      {"https://example.com/?a", {}, "https://example.com/?a="},
      {"https://example.com/f?&&a=1&&", {}, "https://example.com/f?a=1"},
      {"https://example.com/f?=", {}, "https://example.com/f?="},
      {"https://example.com/f?b=2&a=1", {}, "https://example.com/f?b=2&a=1"},
      {"https://example.com/f?b=2&a=1&b=3", {"b"}, "https://example.com/f?a=1"},
      {"https://example.com/f?b=2&B=1", {"b"}, "https://example.com/f?B=1"},
      {"https://example.com/f?%62=2&a=1", {"b"}, "https://example.com/f?a=1"},
      {"https://example.com/f?a+b=1&c", {"a b"}, "https://example.com/f?c="},
      {"https://example.com/f?b=2", {"b"}, "https://example.com/f"},
      {"https://example.com/f?b=2#x", {"b"}, "https://example.com/f#x"},
      {"https://example.com/f?q=a%20b~c*d-e.f_g", {}, "https://example.com/f?q=a+b%7Ec*d-e.f_g"},
      {"https://example.com/f?q=a=b", {}, "https://example.com/f?q=a%3Db"},
      {"https://example.com/f?q=%FF", {}, "https://example.com/f?q=%EF%BF%BD"},
      {"https://example.com/f?q=%zz", {}, "https://example.com/f?q=%25zz"},
      {"https://example.com/f?q=\xc3\xa4", {}, "https://example.com/f?q=%C3%A4"},
      {"https://example.com/#a/", {}, "https://example.com/#a"},
      {"s3://bucket/", {}, "s3://bucket"},
      {"foo:x ?b=1", {"b"}, "foo:x"},
  };
  for (const Canonical& test : kCases) {
    const auto canonical = CanonicalUrl(test.url, test.filter);
    ASSERT_TRUE(canonical.ok()) << canonical.status();
    EXPECT_EQ(*canonical, test.canonical) << test.url;
    EXPECT_EQ(*CanonicalUrl(*canonical, test.filter), *canonical) << test.url;
  }
  EXPECT_FALSE(CanonicalUrl("example.com", {}).ok());
}

TEST(DefaultFilteredQueryParams, DropTheSignatureOfACloud) {
  EXPECT_EQ(DefaultFilteredQueryParams().size(), 30u);
  EXPECT_EQ(
      *CanonicalUrl("https://bucket.s3.amazonaws.com/k?X-Amz-Signature=abc&X-Amz-Date=20250101T000000Z&versionId=7",
                    DefaultFilteredQueryParams()),
      "https://bucket.s3.amazonaws.com/k?versionId=7");
}

}  // namespace
}  // namespace dragonfly
