// SPDX-License-Identifier: Apache-2.0
#include "source/object_location.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>

#include "base/backend_error.h"

namespace dragonfly::source {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using Access = OriginAccess::ObjectStorage;

Access At(const std::string& endpoint, const std::string& region = "") {
  Access access;
  access.endpoint = endpoint;
  access.region = region;
  access.access_key_id = "id";
  access.access_key_secret = "secret";
  return access;
}

Environment Env(std::map<std::string, std::string> values = {}) {
  return [values = std::move(values)](const char* name) {
    const auto found = values.find(name);
    return found == values.end() ? std::string() : found->second;
  };
}

absl::StatusOr<ObjectPlace> Locate(const std::string& url, const Access& access,
                                   const Environment& environment = Env()) {
  const absl::StatusOr<ObjectUrl> parsed = ObjectUrl::Parse(url);
  if (!parsed.ok()) return parsed.status();
  Access local = access;
  local.own_key_allowed = true;
  return LocateBucket(*parsed, local, environment);
}

// The HTTP URL of an object.
std::string Http(const std::string& url, const Access& access) {
  const absl::StatusOr<ObjectPlace> place = Locate(url, access);
  return place.ok() ? place->UrlOf(*ObjectUrl::Parse(url)) : std::string(place.status().message());
}

TEST(ObjectUrl, SplitsBucketKeyAndVersion) {
  const absl::StatusOr<ObjectUrl> url = ObjectUrl::Parse("s3://My.Bucket_1/dir/a%20b%2Fc//d?x=y&versionId=v%2B1");
  ASSERT_TRUE(url.ok()) << url.status();
  EXPECT_EQ(url->bucket, "My.Bucket_1");
  EXPECT_EQ(url->key, "dir/a b/c//d");
  EXPECT_EQ(url->version, "v+1");
  EXPECT_EQ(ObjectUrl::Parse("gs://b/k?generation=7&versionId=8")->version, "7");
  EXPECT_EQ(ObjectUrl::Parse("abs://b")->key, "");
}

TEST(ObjectUrl, RefusesWhatNamesNoBucket) {
  for (const char* url : {"s3:///key", "s3:key", "s3://b%2Fc/key", "s3://../key", "s3://b:80/key", "s3://[::1]/k",
                          "http://bucket/key", "s3://b%0Ac/k"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(ObjectUrl::Parse(url).status())) << url;
  }
}

TEST(LocateBucket, FindsTheServiceOfEachVendor) {
  const std::string key = "/d/a%20b";
  struct Case {
    const char* url;
    Access access;
    const char* http;
  };
  const Case cases[] = {
      {"s3://bkt", At(""), "https://s3.us-east-1.amazonaws.com/bkt/d/a%20b"},
      {"s3://bkt", At("", "eu-west-1"), "https://s3.eu-west-1.amazonaws.com/bkt/d/a%20b"},
      {"s3://bkt", At("", "cn-north-1"), "https://s3.cn-north-1.amazonaws.com.cn/bkt/d/a%20b"},
      {"s3://bkt", At("minio.local:9000"), "https://minio.local:9000/bkt/d/a%20b"},
      {"s3://bkt", At("http://10.0.0.1:9000/prefix/"), "http://10.0.0.1:9000/prefix/bkt/d/a%20b"},
      {"s3://bkt", At("https://bkt.s3.amazonaws.com"), "https://bkt.s3.amazonaws.com/d/a%20b"},
      {"s3://b.kt", At("https://b.kt.s3.amazonaws.com"), "https://s3.amazonaws.com/b.kt/d/a%20b"},
      {"gs://bkt", At(""), "https://storage.googleapis.com/storage/v1/b/bkt/o/d%2Fa%20b?alt=media"},
      {"gs://bkt", At("http://fake:4443"), "http://fake:4443/storage/v1/b/bkt/o/d%2Fa%20b?alt=media"},
      {"abs://bkt", At("https://acc.blob.core.windows.net"), "https://acc.blob.core.windows.net/bkt/d/a%20b"},
      {"abs://bkt", At("http://127.0.0.1:10000/devstoreaccount1"),
       "http://127.0.0.1:10000/devstoreaccount1/bkt/d/a%20b"},
      {"oss://bkt", At("oss-cn-beijing.aliyuncs.com"), "https://bkt.oss-cn-beijing.aliyuncs.com/d/a%20b"},
      {"oss://bkt", At("http://bkt.oss.local:81"), "http://bkt.oss.local:81/d/a%20b"},
      {"oss://bkt", At("http://10.0.0.1:81"), "http://10.0.0.1:81/bkt/d/a%20b"},
      {"obs://bkt", At("https://obs.cn-north-4.myhuaweicloud.com"),
       "https://bkt.obs.cn-north-4.myhuaweicloud.com/d/a%20b"},
      {"obs://bkt", At("https://files.example.com"), "https://files.example.com/d/a%20b"},
      {"cos://bkt-125", At("https://cos.ap-beijing.myqcloud.com"),
       "https://bkt-125.cos.ap-beijing.myqcloud.com/d/a%20b"},
  };
  for (const Case& one : cases) EXPECT_EQ(Http(one.url + key, one.access), one.http);
  EXPECT_EQ(Http("s3://bkt/k?versionId=a/b", At("")), "https://s3.us-east-1.amazonaws.com/bkt/k?versionId=a%2Fb");
  EXPECT_EQ(Http("gs://bkt/k?generation=5", At("")),
            "https://storage.googleapis.com/storage/v1/b/bkt/o/k?alt=media&generation=5");
}

TEST(LocateBucket, KnowsWhatOssAndObsSign) {
  EXPECT_EQ(Locate("oss://b/k", At("oss-cn-hangzhou-internal.aliyuncs.com"))->region, "cn-hangzhou");
  EXPECT_EQ(Locate("oss://b/k", At("b.oss-us-east-1.aliyuncs.com"))->region, "us-east-1");
  EXPECT_EQ(Locate("oss://b/k", At("oss-accelerate.aliyuncs.com"))->region, "");
  EXPECT_EQ(Locate("oss://b/k", At("oss-accelerate.aliyuncs.com", "oss-cn-beijing"))->region, "cn-beijing");
  EXPECT_EQ(Locate("oss://b/k", At("http://localhost:1"))->region, "");
  EXPECT_EQ(Locate("oss://b/k", At("http://localhost:1"))->resource_prefix, "/b");
  EXPECT_EQ(Locate("oss://b/k", At("http://127.0.0.1:1"))->resource_prefix, "");
  EXPECT_EQ(Locate("obs://b/k", At("obs.eu-west-101.myhuaweicloud.eu"))->resource_prefix, "/b");
  EXPECT_EQ(Locate("obs://b/k", At("http://b.obs.local:1"))->resource_prefix, "/b");
  EXPECT_EQ(Locate("obs://b/k", At("http://files.local:1"))->resource_prefix, "/files.local");
}

TEST(LocateBucket, NamesWhatIsMissing) {
  Access half = At("e");
  half.access_key_secret.clear();
  const absl::Status secret = Locate("s3://b/k", half).status();
  EXPECT_TRUE(GetBackendError(secret).has_value());
  EXPECT_EQ(secret.message(), "backend error s3 need access_key_secret");
  half = At("e");
  half.access_key_id.clear();
  EXPECT_EQ(Locate("cos://b/k", half).status().message(), "backend error cos need access_key_id");
  for (const char* scheme : {"abs", "oss", "obs", "cos"}) {
    EXPECT_THAT(std::string(Locate(std::string(scheme) + "://b/k", At("")).status().message()),
                HasSubstr(std::string(scheme) + " need endpoint"));
  }
}

TEST(LocateBucket, RefusesEndpointsAndRegionsThatAreNone) {
  for (const char* endpoint : {"ftp://h", "http://", "https://user:secret@h", "http://h?secret", "http://h#f", "a b"}) {
    const absl::Status status = Locate("s3://b/k", At(endpoint)).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << endpoint;
    EXPECT_THAT(std::string(status.message()), Not(HasSubstr("secret")));
  }
  EXPECT_TRUE(absl::IsInvalidArgument(Locate("s3://b/k", At("", "evil.example/x")).status()));
}

TEST(LocateBucket, TakesTheKeyOfTheEnvironmentWhenTheRequestHasNone) {
  const Environment env = Env({{"AWS_ACCESS_KEY_ID", "own"},
                               {"AWS_SECRET_ACCESS_KEY", "own-secret"},
                               {"AWS_SESSION_TOKEN", "own-token"},
                               {"AWS_REGION", "eu-west-1"},
                               {"OSS_ACCESS_KEY_ID", "own"},
                               {"OSS_ACCESS_KEY_SECRET", "own-secret"},
                               {"GOOGLE_APPLICATION_CREDENTIALS", "/key.json"}});
  const absl::StatusOr<ObjectPlace> s3 = Locate("s3://b/k", Access(), env);
  ASSERT_TRUE(s3.ok()) << s3.status();
  EXPECT_EQ(s3->key.id, "own");
  EXPECT_EQ(s3->key.secret, "own-secret");
  EXPECT_EQ(s3->key.token, "own-token");
  EXPECT_EQ(s3->base, "https://s3.eu-west-1.amazonaws.com");
  EXPECT_EQ(Locate("gs://b/k", Access(), env)->credential_path, "/key.json");
  EXPECT_EQ(Locate("s3://b/k", At(""), env)->key.id, "id");
  EXPECT_EQ(Locate("s3://b/k", At(""), env)->key.token, "");
  Access oss;
  oss.endpoint = "oss-cn-beijing.aliyuncs.com";
  EXPECT_EQ(Locate("oss://b/k", oss, env)->key.id, "own");
}

TEST(LocateBucket, ShowsItsOwnKeyToTheVendorsServiceOnly) {
  const Environment env = Env({{"AWS_ACCESS_KEY_ID", "own"},
                               {"AWS_SECRET_ACCESS_KEY", "own-secret"},
                               {"OSS_ACCESS_KEY_ID", "own"},
                               {"OSS_ACCESS_KEY_SECRET", "own-secret"},
                               {"GOOGLE_APPLICATION_CREDENTIALS", "/key.json"}});
  for (const char* endpoint :
       {"https://evil.example", "http://s3.us-east-1.amazonaws.com", "https://s3.amazonaws.com.evil.example",
        "https://x.execute-api.us-east-1.amazonaws.com", "https://b.evil.example"}) {
    Access access;
    access.endpoint = endpoint;
    const absl::StatusOr<ObjectPlace> place = Locate("s3://b/k", access, env);
    ASSERT_TRUE(place.ok());
    EXPECT_EQ(place->key.id, "") << endpoint;
    EXPECT_STREQ(place->key_withheld, "are not for this endpoint");
  }
  Access access;
  access.endpoint = "https://evil.example";
  EXPECT_EQ(Locate("gs://b/k", access, env)->credential_path, "");
  access.endpoint = "https://f.cn-hangzhou.fc.aliyuncs.com";
  EXPECT_EQ(Locate("oss://b/k", access, env)->key.id, "");
  access.endpoint = "https://b.s3.eu-west-1.amazonaws.com";
  EXPECT_EQ(Locate("s3://b/k", access, env)->key.id, "own");
  access.insecure_skip_verify = true;
  EXPECT_EQ(Locate("s3://b/k", access, env)->key.id, "");
  // Its own endpoint may be named by the request, too.
  const Environment own = Env({{"AWS_ACCESS_KEY_ID", "own"},
                               {"AWS_SECRET_ACCESS_KEY", "own-secret"},
                               {"AWS_ENDPOINT_URL", "http://minio:9000"}});
  access = Access();
  access.endpoint = "http://minio:9000";
  EXPECT_EQ(Locate("s3://b/k", access, own)->key.id, "own");
}

TEST(LocateBucket, KeepsItsOwnKeyFromCallersOfOtherHosts) {
  const Environment env = Env({{"AWS_ACCESS_KEY_ID", "own"},
                               {"AWS_SECRET_ACCESS_KEY", "own-secret"},
                               {"GOOGLE_APPLICATION_CREDENTIALS", "/key.json"}});
  const absl::StatusOr<ObjectPlace> s3 = LocateBucket(*ObjectUrl::Parse("s3://b/k"), Access(), env);
  ASSERT_TRUE(s3.ok()) << s3.status();
  EXPECT_EQ(s3->key.id, "");
  EXPECT_EQ(s3->key.secret, "");
  EXPECT_STREQ(s3->key_withheld, "are for callers on its own host");
  const absl::StatusOr<ObjectPlace> gs = LocateBucket(*ObjectUrl::Parse("gs://b/k"), Access(), env);
  ASSERT_TRUE(gs.ok()) << gs.status();
  EXPECT_EQ(gs->credential_path, "");
  EXPECT_STREQ(gs->key_withheld, "are for callers on its own host");
  // What they bring themselves counts.
  EXPECT_EQ(LocateBucket(*ObjectUrl::Parse("s3://b/k"), At(""), env)->key.id, "id");
}

TEST(MoveToRegion, ChangesTheUrlOfAwsOnly) {
  ObjectPlace aws = *Locate("s3://b/k", At(""));
  EXPECT_FALSE(MoveToRegion("us-east-1", aws));
  EXPECT_FALSE(MoveToRegion("evil.example/", aws));
  EXPECT_TRUE(MoveToRegion("eu-west-1", aws));
  EXPECT_EQ(aws.base, "https://s3.eu-west-1.amazonaws.com");
  EXPECT_EQ(aws.region, "eu-west-1");
  ObjectPlace own = *Locate("s3://b/k", At("minio.local"));
  EXPECT_FALSE(MoveToRegion("eu-west-1", own));
}

TEST(ListUrl, AsksForAPageBelowThePrefix) {
  EXPECT_EQ(Locate("s3://b/d/", At(""))->ListUrl("d/", "a+/="),
            "https://s3.us-east-1.amazonaws.com/b/?list-type=2&encoding-type=url&max-keys=1000&prefix=d%2F"
            "&continuation-token=a%2B%2F%3D");
  EXPECT_EQ(Locate("cos://b/d/", At("cos.x.myqcloud.com"))->ListUrl("", "m"),
            "https://b.cos.x.myqcloud.com/?encoding-type=url&max-keys=1000&prefix=&marker=m");
  EXPECT_EQ(Locate("abs://b/d/", At("acc.blob.core.windows.net"))->ListUrl("d/", ""),
            "https://acc.blob.core.windows.net/b?restype=container&comp=list&maxresults=1000&prefix=d%2F");
}

}  // namespace
}  // namespace dragonfly::source
