// SPDX-License-Identifier: Apache-2.0
// Signatures against the examples of the vendors' documentation, and where that has none for a header signature,
// against what the vendors' own Python SDKs made of the same request at the same time.
#include "source/object_signature.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "source/object_crypto.h"

namespace dragonfly::source {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

http::CurlRequest Get(const std::string& url, std::vector<std::pair<std::string, std::string>> header = {}) {
  http::CurlRequest request;
  request.url = url;
  request.header = std::move(header);
  return request;
}

std::string Header(const http::CurlRequest& request, const std::string& name) {
  std::string value;
  for (const auto& [key, text] : request.header) {
    if (key == name) value += text;
  }
  return value;
}

AccessKey Key(const std::string& id, const std::string& secret, const std::string& token = "") {
  AccessKey key;
  key.id = id;
  key.secret = secret;
  key.token = token;
  return key;
}

absl::Time At(const std::string& text) {
  absl::Time time;
  std::string error;
  EXPECT_TRUE(absl::ParseTime(absl::RFC3339_full, text, &time, &error)) << error;
  return time;
}

// aws-sig-v4-test-suite: get-vanilla, get-vanilla-query-order-key-case.
TEST(SignAwsV4, PassesTheTestSuite) {
  const AccessKey key = Key("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY");
  const absl::Time now = At("2015-08-30T12:36:00Z");
  DerivedKey derived;
  http::CurlRequest request = Get("https://example.amazonaws.com/");
  SignAwsV4(key, "us-east-1", "service", now, derived, request);
  EXPECT_EQ(Header(request, "Authorization"),
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
            "SignedHeaders=host;x-amz-date, "
            "Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31");
  request = Get("https://example.amazonaws.com/?Param2=value2&Param1=value1");
  SignAwsV4(key, "us-east-1", "service", now, derived, request);
  EXPECT_THAT(Header(request, "Authorization"),
              EndsWith("Signature=b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"));
}

// "Authenticating Requests: Using the Authorization Header" of the S3 API reference.
TEST(SignAwsV4, SignsTheExamplesOfS3) {
  const AccessKey key = Key("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY");
  const absl::Time now = At("2013-05-24T00:00:00Z");
  DerivedKey derived;
  http::CurlRequest request = Get("https://examplebucket.s3.amazonaws.com/test.txt", {{"Range", "bytes=0-9"}});
  SignAwsV4(key, "us-east-1", "s3", now, derived, request);
  EXPECT_THAT(Header(request, "Authorization"),
              EndsWith("SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, "
                       "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"));
  request = Get("https://examplebucket.s3.amazonaws.com/?max-keys=2&prefix=J");
  SignAwsV4(key, "us-east-1", "s3", now, derived, request);
  EXPECT_THAT(Header(request, "Authorization"),
              EndsWith("Signature=34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"));
  request = Get("https://examplebucket.s3.amazonaws.com/?lifecycle");
  SignAwsV4(key, "us-east-1", "s3", now, derived, request);
  EXPECT_THAT(Header(request, "Authorization"),
              EndsWith("Signature=fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"));
}

TEST(SignAwsV4, ReplacesWhatItHasAddedBefore) {
  const AccessKey key = Key("id", "secret", "token");
  DerivedKey derived;
  http::CurlRequest request = Get("https://h/k", {{"authorization", "theirs"}, {"x-amz-date", "theirs"}});
  SignAwsV4(key, "r", "s3", At("2013-05-24T00:00:00Z"), derived, request);
  const http::CurlRequest once = request;
  SignAwsV4(key, "r", "s3", At("2013-05-24T00:00:00Z"), derived, request);
  EXPECT_EQ(request.header, once.header);
  EXPECT_EQ(request.header.size(), 4u);
  EXPECT_EQ(Header(request, "X-Amz-Security-Token"), "token");
  EXPECT_THAT(Header(request, "Authorization"), HasSubstr("x-amz-security-token"));
}

TEST(SignAwsV4, DerivesAnotherKeyForAnotherDayRegionAndService) {
  const AccessKey key = Key("id", "secret");
  DerivedKey derived;
  http::CurlRequest request = Get("https://h/k");
  SignAwsV4(key, "r", "s3", At("2013-05-24T00:00:00Z"), derived, request);
  const std::string first = derived.key;
  SignAwsV4(key, "r", "s3", At("2013-05-24T23:59:59Z"), derived, request);
  EXPECT_EQ(derived.key, first);
  SignAwsV4(key, "r", "s3", At("2013-05-25T00:00:00Z"), derived, request);
  EXPECT_NE(derived.key, first);
  const std::string second = derived.key;
  SignAwsV4(key, "q", "s3", At("2013-05-25T00:00:00Z"), derived, request);
  EXPECT_NE(derived.key, second);
}

// alibabacloud-oss-v2 1.4.1.
TEST(SignOssV4, AgreesWithTheSdk) {
  DerivedKey derived;
  http::CurlRequest request =
      Get("https://bucket.oss-cn-hangzhou.aliyuncs.com/dir/a%20b%2Bc.txt?list-type=2&prefix=dir%2F&empty",
          {{"Range", "bytes=0-9"}});
  SignOssV4(Key("ak", "sk", "token"), "cn-hangzhou", "/bucket", absl::FromUnixSeconds(1702743657), derived, request);
  EXPECT_EQ(Header(request, "x-oss-date"), "20231216T162057Z");
  EXPECT_EQ(Header(request, "Authorization"),
            "OSS4-HMAC-SHA256 Credential=ak/20231216/cn-hangzhou/oss/aliyun_v4_request,AdditionalHeaders=host;range,"
            "Signature=ca3e64a5c8cb802f4ce24cd206fde3525812b48129a9fa757b70128a3ea0bcd3");
}

// "Include a V1 signature in the Authorization header" of the OSS API reference.
TEST(SignOssV1, SignsTheExampleOfTheReference) {
  http::CurlRequest request = Get("https://oss-example.oss-cn-hangzhou.aliyuncs.com/nelson",
                                  {{"Content-Md5", "ODBGOERFMDMzQTczRUY3NUE3NzA5QzdFNUYzMDQxNEM="},
                                   {"Content-Type", "text/html"},
                                   {"X-OSS-Meta-Author", "foo@bar.com"},
                                   {"X-OSS-Magic", "abracadabra"}});
  request.method = "PUT";
  SignOssV1(Key("44CF9590006BF252F707", "OtxrzxIsfpFjA7SwPzILwy8Bw21TLhquhboDYROV"), "/oss-example",
            At("2005-11-17T18:49:58Z"), request);
  EXPECT_EQ(Header(request, "Date"), "Thu, 17 Nov 2005 18:49:58 GMT");
  EXPECT_EQ(Header(request, "Authorization"), "OSS 44CF9590006BF252F707:26NBxoKdsyly4EDv6inkoDft/yA=");
}

// esdk-obs-python 3.26.6.
TEST(SignObs, AgreesWithTheSdk) {
  http::CurlRequest request =
      Get("https://bucket.obs.cn-north-4.myhuaweicloud.com/dir/a%20b%2Bc%28x%29.txt?versionId=v1&marker=m",
          {{"Range", "bytes=0-9"}});
  SignObs(Key("AK", "SK/+secret", "TOKEN"), "/bucket", At("2015-10-21T07:28:00Z"), request);
  EXPECT_EQ(Header(request, "Authorization"), "OBS AK:oeiJH6H0+ywzbGRVvYja+AwOrWI=");
}

// cos-python-sdk-v5 1.9.44, with the key of the example in the COS reference.
TEST(SignCos, AgreesWithTheSdk) {
  http::CurlRequest request =
      Get("https://examplebucket-1250000000.cos.ap-beijing.myqcloud.com/"
          "exampleobject%28%E8%85%BE%E8%AE%AF%E4%BA%91%29%20%2B?prefix=dir%2F&max-keys=10",
          {{"Range", "bytes=0-9"}, {"User-Agent", "u"}});
  SignCos(Key("AKIDQjz3ltompVjBni5LitkWHFlFpwkn9U5q", "BQYIM75p8x0iWVFSIgqEKwFprpRSVHlz", "to/ken"),
          absl::FromUnixSeconds(1557989753), request);
  EXPECT_EQ(Header(request, "Authorization"),
            "q-sign-algorithm=sha1&q-ak=AKIDQjz3ltompVjBni5LitkWHFlFpwkn9U5q"
            "&q-sign-time=1557989693;1557990293&q-key-time=1557989693;1557990293"
            "&q-header-list=host;range;x-cos-security-token&q-url-param-list=max-keys;prefix"
            "&q-signature=54f84c2e5028a2c913e9c09b1e5c8bdbb2d02fb7");
}

// azure-storage-blob 12.31.1.
TEST(SignAzure, AgreesWithTheSdk) {
  http::CurlRequest request =
      Get("https://account.blob.core.windows.net/container?restype=container&comp=list&prefix=a%20b%2F",
          {{"If-Match", "\"e\""}});
  ASSERT_TRUE(SignAzure(Key("account", "c2VjcmV0IGtleSBvZiBhenVyZQ=="), At("2015-10-21T07:28:00Z"), request).ok());
  EXPECT_EQ(Header(request, "x-ms-version"), "2021-12-02");
  EXPECT_EQ(Header(request, "Authorization"), "SharedKey account:LBZCParlAZ1HJKfvHFgNIUTvD+fL4XXXi/znz/u0IJM=");
}

TEST(SignAzure, TellsAKeyThatIsNone) {
  http::CurlRequest request = Get("https://account.blob.core.windows.net/container/blob");
  const absl::Status status = SignAzure(Key("account", "!secret!"), absl::UnixEpoch(), request);
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_EQ(status.message(), "access_key_secret of abs is not base64");
}

TEST(UriEncode, LeavesUnreservedBytesOnly) {
  EXPECT_EQ(UriEncode("aZ09-._~ /+%\xC3\xBC", Slash::kKeep), "aZ09-._~%20/%2B%25%C3%BC");
  EXPECT_EQ(UriEncode("a/b", Slash::kEncode), "a%2Fb");
}

}  // namespace
}  // namespace dragonfly::source
