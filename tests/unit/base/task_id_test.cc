// SPDX-License-Identifier: Apache-2.0
#include "base/task_id.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "base/url.h"

namespace dragonfly {
namespace {

std::vector<std::string> DefaultFilter() {
  const auto params = DefaultFilteredQueryParams();
  return {params.begin(), params.end()};
}

// Source of the vectors: computed by the rules of client v1.0.0 and v1.5.1, dragonfly-client-util/src/id_generator.
TEST(UrlTaskId, IsTheIdThatTheRustPeersCompute) {
  const struct {
    UrlTaskKey key;
    const char* id;
  } kCases[] = {
      {{.url = "https://example.com", .tag = "foo", .application = "bar", .piece_length = 1024},
       "27554d06dfc788c2c2c60e01960152ffbd4b145fc103fcb80b432b4dc238a6fe"},
      {{.url = "https://example.com", .tag = "foo", .application = "bar"},
       "06408fbf247ddaca478f8cb9565fe5591c28efd0994b8fea80a6a87d3203c5ca"},
      {{.url = "https://example.com", .tag = "foo"},
       "3c3f230ef9f191dd2821510346a7bc138e4894bee9aee184ba250a3040701d2a"},
      {{.url = "https://example.com", .application = "bar"},
       "c9f9261b7305c24371244f9f149f5d4589ed601348fdf22d7f6f4b10658fdba2"},
      {{.url = "https://example.com", .piece_length = 1024},
       "9f7c9aafbc6f30f8f41a96ca77eeae80c5b60964b3034b0ee43ccf7b2f9e52b8"},
      {{.url = "https://example.com?foo=foo&bar=bar", .filtered_query_params = {"foo", "bar"}},
       "457b4328cde278e422c9e243f7bfd1e97f511fec43a80f535cf6b0ef6b086776"},
      {{.url = "https://example.com"}, "457b4328cde278e422c9e243f7bfd1e97f511fec43a80f535cf6b0ef6b086776"},
      {{.url = "https://example.com/"}, "457b4328cde278e422c9e243f7bfd1e97f511fec43a80f535cf6b0ef6b086776"},
      {{.url = "HTTPS://Example.COM:443/a/../b"}, "abb3b909e1606a64a07b1639e1e2634653182173cd5069f4a7060ad2ba1b79d0"},
      {{.url = "https://example.com/path/file.bin"},
       "cb22513aebc6c760f51bfd6b1380a9af99579fc07d808661b28002bf5905f015"},
      {{.url = "https://example.com/path/"}, "48c4611ab6302d4e6ddc5753fcd4fda69f76ecc5fab5d2c506975f05c66dc43f"},
      {{.url = "https://example.com/f?b=2&a=1", .filtered_query_params = {"c"}},
       "d5fb627f5710ff9848b216dd87b656a600d83a27a06952d5e30cfd69486e261a"},
      {{.url = "https://example.com/f?a=1&b=2"}, "2d3d55b693e81116dab2925ae6d11ac4581f252ecfed050b89b53577296a1f02"},
      {{.url = "https://example.com/f?x"}, "d68248e1a56e18edbb365c6cc02caa2db2a3b783e1c8a1a69f6a0a1988e7e14b"},
      {{.url = "https://example.com/f?q=a%20b~c*d"},
       "7b1f40b172d15b8e93660bcc67593149a06f2539d1aeb4787ece28eca872656c"},
      {{.url = "https://example.com/f#frag"}, "649c4f42462ca47df04ff036e8cc55305af2e7e21d0deb2152d11c610c4bfdd6"},
      {{.url = "https://bucket.s3.amazonaws.com/k?X-Amz-Signature=abc&X-Amz-Date=20250101T000000Z&versionId=7",
        .filtered_query_params = DefaultFilter()},
       "13efe52a2ab99e6166225dd9515d4ce393adc61a1de252802a220c39d8294b48"},
      {{.url = "https://index.docker.io/v2/library/alpine/blobs/"
               "sha256:c5b1261d6d3e43071626931fc004f70149baeba2c8ec672bd4f27761f8e1ad6b?ns=docker.io",
        .filtered_query_params = DefaultFilter()},
       "2e02cafce8a355dbf1a11261bd92f70bbee79e56f801ddfda6db06c8d0694619"},
      {{.url = "s3://bucket/dir/object.bin"}, "3093ad93d28e4f1e34f42c81e941c7a29f50e69dfece5efbb985d546f2debabb"},
      {{.url = "https://example.com/large.bin", .piece_length = 4194304},
       "bdce8fa39a3127acc9e0a2b35d85e9ce7f447827ab703ff1c7b2808d8d8df5bc"},
      {{.url = "https://example.com/large.bin", .tag = "d7y", .application = "ml", .piece_length = 16777216},
       "b4ebf36d891d4dcc56f5a75004466af92d97f79b1bfac7ed60c49bc9a4141ad9"},
      {{.url = "not a url", .tag = "ignored", .content = "This is a test file"},
       "e2d0fe1585a63ec6009c8016ff8dda8b17719a637405a4e23c0ff81339148249"},
      {{.url = "https://example.com", .tag = "foo", .application = "bar", .revision = "v1.0", .piece_length = 1024},
       "5844f27a257287e9b734256bb25603d8005422ced8c0377f15063ec11963b25f"},
      {{.url = "https://example.com", .revision = "v1.0"},
       "b171331534b80e0bf91da38ebbfcdbf4d177898f4b9beac44f14733e3f004d4e"},
  };
  for (const auto& test : kCases) {
    const auto id = UrlTaskId(test.key);
    ASSERT_TRUE(id.ok()) << id.status();
    EXPECT_EQ(id->str(), test.id) << test.key.url;
  }
}

TEST(UrlTaskId, RefusesWhatIsNoUrl) {
  EXPECT_EQ(UrlTaskId({.url = "/relative"}).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(BlobDigestTaskId, IsTheDigestOfTheLayer) {
  const std::string digest = "c5b1261d6d3e43071626931fc004f70149baeba2c8ec672bd4f27761f8e1ad6b";
  for (const std::string& url : {"https://index.docker.io/v2/library/alpine/blobs/sha256:" + digest + "?ns=docker.io",
                                 "http://10.0.0.1:5000/v2/a/b/c/blobs/sha256:" + digest}) {
    const auto id = BlobDigestTaskId(url);
    ASSERT_TRUE(id.has_value()) << url;
    EXPECT_EQ(id->str(), digest);
  }
  for (const std::string& url :
       {"https://h/v2/a/manifests/sha256:" + digest, std::string("https://h/v2/a/blobs/sha256:1"),
        "https://h/v2/a/blobs/sha256:" + digest + "/x", "https://h/a/blobs/sha256:" + digest,
        "https://h/v2/a/blobs/sha512:" + digest + digest, "blobs/sha256:" + digest}) {
    EXPECT_FALSE(BlobDigestTaskId(url).has_value()) << url;
  }
}

TEST(PersistentTaskId, IsTheIdThatTheRustPeersCompute) {
  EXPECT_EQ(PersistentTaskId("my-object-key", "us-west-1", "https://s3.us-west-1.amazonaws.com").str(),
            "b51f4f44921bb585277a5cbac13e7f6e2858238e98546f3ee6bfeb56369979c0");
}

TEST(PersistentCacheId, IsTheIdThatTheRustPeersCompute) {
  const std::string text = "This is a test file";
  const struct {
    std::string file;
    PersistentCacheKey key;
    const char* crc32;
    const char* sha256;  // null: no vector
  } kCases[] = {
      {text,
       {.tag = "tag1", .application = "app1", .piece_length = 1024},
       "3490958009",
       "7160a071a9acea5ac341e770c14d0211c38a4b15b3bbe2c5f848a706fd47419e"},
      {text, {.application = "app1"}, "735741469", "0d0f8536f51227fda07141308f5ae8149b561b51b61c6517125f25dfa27acf5b"},
      {text, {.tag = "tag1"}, "3954905097", "a98b76813681e30cf83733fe055792b86393bba6f18e3d89fd8c18253922d992"},
      {text, {.piece_length = 1024}, "4162557545", "e894374a39e39cfa78c409cac02f2cdbb5605a24f5ff55c7bc2b624877556c03"},
      {text, {}, "656996176", "91ae5d9d7ea8763cc482e9999a6d5edac534a6000599777d6a26d1c66d2bab16"},
      {"", {}, "2712911205", nullptr},
      {"", {.piece_length = 4194304}, "2004830989", nullptr},
      {"hello world\n", {}, "2863146639", nullptr},
      {std::string(4096, '\0'), {}, "3308195279", nullptr},
  };
  for (const auto& test : kCases) {
    for (const auto form : {PersistentCacheIdForm::kCrc32, PersistentCacheIdForm::kSha256}) {
      const char* expected = form == PersistentCacheIdForm::kCrc32 ? test.crc32 : test.sha256;
      if (expected == nullptr) continue;
      PersistentCacheIdBuilder builder(form);
      const auto bytes = std::as_bytes(std::span(test.file));
      builder.Update(bytes.first(bytes.size() / 2));
      builder.Update(bytes.subspan(bytes.size() / 2));
      EXPECT_EQ(builder.Finish(test.key).str(), expected) << test.file;
    }
  }
  EXPECT_EQ(PersistentCacheIdFromContent(PersistentCacheIdForm::kCrc32, text).str(), "107352521");
  EXPECT_EQ(PersistentCacheIdFromContent(PersistentCacheIdForm::kSha256, text).str(),
            "e2d0fe1585a63ec6009c8016ff8dda8b17719a637405a4e23c0ff81339148249");
}

}  // namespace
}  // namespace dragonfly
