// SPDX-License-Identifier: Apache-2.0
// The signatures of the object storages' HTTP APIs, as headers of a request. docs/origins.md tells which parts of a
// request each of them covers.
//
// All of them sign the request as it stands (method, URL, Range and the vendor's own headers) at the time `now`, set
// what they add in place of an equal header, and expect no body.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "http/curl_client.h"

namespace dragonfly::source {

// The key of an account; with a token for as long as that lives.
struct AccessKey {
  AccessKey() = default;
  std::string id;
  std::string secret;
  std::string token;  // empty: a lasting key
};

// A key derived from the secret, which is good for one day, region and service. Kept from one request to the next.
struct DerivedKey {
  DerivedKey() = default;
  std::string scope;
  std::string key;
};

// AWS Signature Version 4 for a request without a body
// (https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html). `service`: "s3".
void SignAwsV4(const AccessKey& key, std::string_view region, std::string_view service, absl::Time now,
               DerivedKey& derived, http::CurlRequest& request);

// Aliyun OSS signature V4, "OSS4-HMAC-SHA256"
// (https://help.aliyun.com/zh/oss/developer-reference/recommend-to-use-signature-version-4). `resource_prefix`: what
// stands before the URL's path in the canonical resource: "/<bucket>" where the bucket stands in the host name, else
// empty.
void SignOssV4(const AccessKey& key, std::string_view region, std::string_view resource_prefix, absl::Time now,
               DerivedKey& derived, http::CurlRequest& request);

// Aliyun OSS signature V1, "OSS <id>:<HMAC-SHA1>", for services without a region.
void SignOssV1(const AccessKey& key, std::string_view resource_prefix, absl::Time now, http::CurlRequest& request);

// Huawei Cloud OBS, "OBS <id>:<HMAC-SHA1>". `resource_prefix`: as for OSS; for a domain of the user's own it is
// "/<domain>".
void SignObs(const AccessKey& key, std::string_view resource_prefix, absl::Time now, http::CurlRequest& request);

// Tencent Cloud COS, "q-sign-algorithm=sha1" (https://cloud.tencent.com/document/product/436/7778).
void SignCos(const AccessKey& key, absl::Time now, http::CurlRequest& request);

// Azure Storage Shared Key (https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key). key.id:
// the account. Errors: INVALID_ARGUMENT when key.secret is no base64.
absl::Status SignAzure(const AccessKey& key, absl::Time now, http::CurlRequest& request);

// The REST version whose answers ParseListPage() reads; SignAzure() sends it, and so must a request without a key.
inline constexpr char kAzureVersion[] = "2021-12-02";

// Sets a header, in place of all of that name (any case).
void SetHeader(http::CurlRequest& request, std::string_view name, std::string value);

}  // namespace dragonfly::source
