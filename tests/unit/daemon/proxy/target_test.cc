// SPDX-License-Identifier: Apache-2.0
#include "daemon/proxy/target.h"

#include <gtest/gtest.h>

#include "base/task_id.h"
#include "base/text.h"
#include "daemon/proxy/http_error.h"

namespace dragonfly::daemon::proxy {
namespace {

RequestHead Request(const std::string& target, const std::string& registry = "") {
  RequestHead request;
  request.method = "GET";
  request.target = target;
  if (!registry.empty()) request.fields.Add("X-Dragonfly-Registry", registry);
  return request;
}

std::string Mirrored(const RequestHead& request) {
  const absl::StatusOr<Target> target = MirrorTarget(request, "https://default.example:5000/prefix");
  return target.ok() ? target->url.ToString() : StrCat(HttpStatusOf(target.status()));
}

TEST(ProxyMirror, KnowsTheRegistryOfARequest) {
  const std::string path = "/v2/library/alpine/blobs/sha256:ab";
  EXPECT_EQ(Mirrored(Request(path)), "https://default.example:5000/prefix" + path);
  EXPECT_EQ(Mirrored(Request(path + "?ns=ghcr.io")), "https://ghcr.io" + path);
  EXPECT_EQ(Mirrored(Request(path + "?ns=docker.io")), "https://registry-1.docker.io" + path);
  EXPECT_EQ(Mirrored(Request(path + "?a=b&ns=http%3A%2F%2F10.0.0.1%3A5000&ns=x&c=d")),
            "http://10.0.0.1:5000" + path + "?a=b&c=d");
  EXPECT_EQ(Mirrored(Request(path + "?ns=ghcr.io", "http://quay.io:8080/")), "http://quay.io:8080" + path);
  EXPECT_EQ(Mirrored(Request("/other?ns=mine&x=1")), "https://default.example:5000/prefix/other?ns=mine&x=1");
  EXPECT_EQ(Mirrored(Request("//evil.example/x")), "https://default.example:5000/prefix//evil.example/x");
  for (const char* const bad : {"ftp://a", "ghcr.io", "http://", "http://a?x=y", "http://user@a", "http://a#b"}) {
    EXPECT_EQ(Mirrored(Request(path, bad)), "400") << bad;
  }
  EXPECT_EQ(Mirrored(Request(path + "?ns=a%20b")), "400");
}

// dragonfly@v2.3.0, test/e2e: the layer of ghcr.io/dragonflyoss/manager:v2.1.0 as containerd asks for it.
TEST(ProxyMirror, ALayerHasTheTaskIdOfTheOriginal) {
  const auto target =
      MirrorTarget(Request("/v2/dragonflyoss/manager/blobs/"
                           "sha256:ca51217de9012bffe54390f1a91365af22a06279a3f2b3e57d4d2dc99b989588?ns=ghcr.io"),
                   "https://index.docker.io");
  ASSERT_TRUE(target.ok());
  UrlTaskKey key;
  key.url = target->url.ToString();
  const auto id = UrlTaskId(key);
  ASSERT_TRUE(id.ok());
  EXPECT_EQ(id->str(), "1f047bc5cd298700f1190641992556c3958ad3bf389105dedd537e7913b3f8dc");
}

TEST(ProxyTarget, ReadsAuthorities) {
  EXPECT_EQ(ParseAuthority("Example.COM:443")->host, "example.com");
  EXPECT_EQ(ParseAuthority("[::1]:8443")->host, "[::1]");
  EXPECT_EQ(ParseAuthority("[::1]:8443")->port, 8443);
  for (const char* const bad :
       {"", "a", ":443", "a:", "a:0", "a:65536", "a:1/x", "user@a:1", "a b:1", "a?b:1", "a,DNS:b:1", "a*b:1"}) {
    EXPECT_FALSE(ParseAuthority(bad).ok()) << bad;
  }
}

TEST(ProxyTarget, ARequestStaysInItsTunnel) {
  EXPECT_EQ(TunnelTarget("/a?b", "x.example:443")->url.ToString(), "https://x.example/a?b");
  EXPECT_EQ(TunnelTarget("/a", "x.example:8443")->url.ToString(), "https://x.example:8443/a");
  EXPECT_EQ(TunnelTarget("https://x.example/a", "x.example:443")->url.ToString(), "https://x.example/a");
  for (const char* const bad : {"https://y.example/a", "http://x.example/a", "https://x.example:444/a"}) {
    EXPECT_FALSE(TunnelTarget(bad, "x.example:443").ok()) << bad;
  }
}

TEST(ProxyTarget, TellsBlobsFromWhatMustNotBeStored) {
  const std::pair<const char*, RegistryPart> cases[] = {
      {"https://r/v2/a/b/blobs/sha256:0af", RegistryPart::kBlob},
      {"https://r/prefix/v2/a/blobs/sha256:0af", RegistryPart::kBlob},
      {"https://r/v2/a/blobs/sha256%3A0af", RegistryPart::kBlob},
      {"https://r/v2/a/blobs/uploads/", RegistryPart::kOther},
      {"https://r/v2/a/blobs/uploads/uuid", RegistryPart::kOther},
      {"https://r/v2/a/manifests/latest", RegistryPart::kOther},
      {"https://r/v2/a/manifests/sha256:0af", RegistryPart::kOther},
      {"https://r/v2/a/tags/list", RegistryPart::kOther},
      {"https://r/v2/a/referrers/sha256:0af", RegistryPart::kOther},
      {"https://r/v2/_catalog", RegistryPart::kOther},
      {"https://r/v2/", RegistryPart::kOther},
      {"https://r/v2", RegistryPart::kOther},
      {"https://r/file.bin", RegistryPart::kNone},
      {"https://r/v2/files/a.tgz", RegistryPart::kNone},
  };
  for (const auto& [url, part] : cases) EXPECT_EQ(RegistryPartOf(*Url::Parse(url)), part) << url;
}

}  // namespace
}  // namespace dragonfly::daemon::proxy
