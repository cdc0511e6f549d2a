// SPDX-License-Identifier: Apache-2.0
// Where an object lives: from s3://bucket/key and its like to the URL of a service's HTTP API.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "source/object_signature.h"
#include "source/source.h"

namespace dragonfly::source {

enum class ObjectVendor { kS3, kGs, kAbs, kOss, kObs, kCos };

// nullopt for another scheme.
std::optional<ObjectVendor> ObjectVendorOf(std::string_view scheme);
// The scheme: "s3".
std::string_view NameOf(ObjectVendor vendor);

// A parsed <scheme>://<bucket>/<key>[?<version parameter>].
struct ObjectUrl {
  ObjectUrl() = default;
  ObjectVendor vendor = ObjectVendor::kS3;
  std::string bucket;
  std::string key;      // decoded, without the leading '/'; may be empty
  std::string version;  // of versionId (generation for gs, versionid for abs), the only parameters that are looked at

  // Errors: INVALID_ARGUMENT, also for a bucket with other characters than letters, digits, '-', '.' and '_'.
  static absl::StatusOr<ObjectUrl> Parse(std::string_view url);
};

// Letters, digits and '-', not more than 64.
bool IsRegionName(std::string_view text);

// Reads an environment variable; empty when it is not set.
using Environment = std::function<std::string(const char* name)>;

// Everything that a request's OriginAccess and the environment of this process say about one bucket.
struct ObjectPlace {
  ObjectPlace() = default;
  ObjectVendor vendor = ObjectVendor::kS3;
  std::string bucket;
  std::string base;             // "https://host[:port][/prefix]" of the service, the bucket in it or not
  std::string bucket_path;      // "/<bucket>" where the URL's path names the bucket; else empty
  std::string resource_prefix;  // of the signature (object_signature.h)
  std::string region;           // empty: the signature needs none
  AccessKey key;                // without an id: requests are not signed
  std::string credential_path;  // of gs; empty: none
  // This process has a key, which is not used: why, as "are not for ...". Null: it has none, or uses it.
  const char* key_withheld = nullptr;
  bool insecure_skip_verify = false;

  // The URL of an object.
  std::string UrlOf(const ObjectUrl& object) const;
  // The URL of the page after `continuation` (empty: the first) of all keys that begin with `prefix`, at every depth.
  std::string ListUrl(std::string_view prefix, std::string_view continuation) const;
};

// How many entries a page has at most.
inline constexpr int kListPageSize = 1000;

// Errors: INTERNAL with a BackendError "<scheme> need <names of what is missing>"; INVALID_ARGUMENT for an endpoint
// that is no URL of http or https.
absl::StatusOr<ObjectPlace> LocateBucket(const ObjectUrl& url, const OriginAccess::ObjectStorage& access,
                                         const Environment& environment);

// The same place after its service has told that the bucket lives in `region`: true when that changes its URL, which is
// so for AWS only.
bool MoveToRegion(const std::string& region, ObjectPlace& place);

}  // namespace dragonfly::source
