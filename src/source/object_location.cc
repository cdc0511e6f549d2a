// SPDX-License-Identifier: Apache-2.0
#include "source/object_location.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <initializer_list>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_join.h"
#include "base/backend_error.h"
#include "base/status.h"
#include "base/text.h"
#include "base/url.h"
#include "source/object_crypto.h"

namespace dragonfly::source {
namespace {

struct VendorFacts {
  ObjectVendor vendor;
  std::string_view scheme;
  std::string_view version_parameter;
  // Where keys of this process's environment stand; the first that is set counts.
  std::vector<const char*> id_names, secret_names, token_names;
  // Host names of the service itself begin and end so; other services of the vendor may belong to anybody.
  std::string_view host_begin;
  std::vector<std::string_view> domains;
};

const VendorFacts& FactsOf(ObjectVendor vendor) {
  static const auto* const facts = new std::array<VendorFacts, 6>{{
      {ObjectVendor::kS3,
       "s3",
       "versionId",
       {"AWS_ACCESS_KEY_ID"},
       {"AWS_SECRET_ACCESS_KEY"},
       {"AWS_SESSION_TOKEN"},
       "s3",
       {".amazonaws.com", ".amazonaws.com.cn"}},
      {ObjectVendor::kGs, "gs", "generation", {}, {}, {}, "storage", {".googleapis.com"}},
      {ObjectVendor::kAbs,
       "abs",
       "versionid",
       {"AZBLOB_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT"},
       {"AZBLOB_ACCOUNT_KEY", "AZURE_STORAGE_KEY"},
       {},
       "",
       {".blob.core.windows.net", ".blob.core.chinacloudapi.cn", ".blob.core.usgovcloudapi.net"}},
      {ObjectVendor::kOss,
       "oss",
       "versionId",
       {"ALIBABA_CLOUD_ACCESS_KEY_ID", "OSS_ACCESS_KEY_ID"},
       {"ALIBABA_CLOUD_ACCESS_KEY_SECRET", "OSS_ACCESS_KEY_SECRET"},
       {"ALIBABA_CLOUD_SECURITY_TOKEN", "OSS_SESSION_TOKEN"},
       "oss",
       {".aliyuncs.com"}},
      {ObjectVendor::kObs,
       "obs",
       "versionId",
       {"HUAWEI_CLOUD_ACCESS_KEY_ID"},
       {"HUAWEI_CLOUD_SECRET_ACCESS_KEY"},
       {"HUAWEI_CLOUD_SECURITY_TOKEN"},
       "obs",
       {".myhuaweicloud.com", ".myhuaweicloud.eu", ".huawei.com"}},
      {ObjectVendor::kCos,
       "cos",
       "versionId",
       {"TENCENTCLOUD_SECRET_ID"},
       {"TENCENTCLOUD_SECRET_KEY"},
       {"TENCENTCLOUD_TOKEN", "TENCENTCLOUD_SECURITY_TOKEN"},
       "cos",
       {".myqcloud.com", ".tencentcos.cn"}},
  }};
  return *std::find_if(facts->begin(), facts->end(), [vendor](const VendorFacts& one) { return one.vendor == vendor; });
}

std::string FirstSet(const Environment& environment, const std::vector<const char*>& names) {
  for (const char* name : names) {
    std::string value = environment(name);
    if (!value.empty()) return value;
  }
  return "";
}

bool IsBucketName(std::string_view text) {
  return !text.empty() && text.size() <= 255 && text != "." && text != ".." &&
         std::all_of(text.begin(), text.end(), [](char c) {
           return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '.' || c == '_';
         });
}

bool IsAddress(const std::string& host) {
  in_addr address;
  return host.starts_with('[') || ::inet_pton(AF_INET, host.c_str(), &address) == 1;
}

bool EndsWithAny(std::string_view host, const std::vector<std::string_view>& ends) {
  return std::any_of(ends.begin(), ends.end(), [host](std::string_view end) { return host.ends_with(end); });
}

// Whether `host`, with the bucket before it or not, is one of the vendor's own storage service.
bool IsServiceHost(const ObjectPlace& place, std::string_view host) {
  const VendorFacts& facts = FactsOf(place.vendor);
  const std::string label = StrCat(place.bucket, ".");
  if (host.starts_with(label)) host.remove_prefix(label.size());
  return host.starts_with(facts.host_begin) && EndsWithAny(host, facts.domains);
}

absl::Status Missing(ObjectVendor vendor, const std::vector<std::string>& names) {
  BackendError error;
  error.message = StrCat(NameOf(vendor), " need ", absl::StrJoin(names, ", "));
  return MakeBackendErrorStatus(error);
}

std::string AwsEndpoint(std::string_view scheme, std::string_view region) {
  return StrCat(scheme, "://s3.", region, region.starts_with("cn-") ? ".amazonaws.com.cn" : ".amazonaws.com");
}

absl::StatusOr<Url> ParseEndpoint(ObjectVendor vendor, const std::string& text) {
  const absl::StatusOr<Url> url = Url::Parse(text.find("://") == text.npos ? StrCat("https://", text) : text);
  if (!url.ok() || (url->scheme != "http" && url->scheme != "https") || url->host.empty() || url->has_query ||
      url->has_fragment || !url->username.empty() || !url->password.empty()) {
    return absl::InvalidArgumentError(
        StrCat("endpoint of ", NameOf(vendor), " is no http or https URL of a service and no host[:port]"));
  }
  return url;
}

// "oss-cn-hangzhou.aliyuncs.com", "oss-cn-hangzhou-internal.aliyuncs.com": cn-hangzhou.
std::string OssRegionOf(const std::string& host) {
  const size_t at = host.find(".aliyuncs.com");
  if (at == host.npos || at == 0) return "";
  const size_t dot = host.rfind('.', at - 1);
  std::string_view label = std::string_view(host).substr(0, at);
  if (dot != host.npos) label.remove_prefix(dot + 1);
  if (!label.starts_with("oss-")) return "";
  label.remove_prefix(4);
  if (label.ends_with("-internal")) label.remove_suffix(9);
  const bool is_region = IsRegionName(label) && label.find('-') != label.npos && !label.starts_with("accelerate");
  return is_region ? std::string(label) : "";
}

// Puts the bucket where the service wants it.
void Address(Url endpoint, ObjectPlace& place) {
  while (endpoint.path.ends_with('/')) endpoint.path.pop_back();
  const std::string label = StrCat(place.bucket, ".");
  const bool named = endpoint.host.starts_with(label) && endpoint.host.size() > label.size();
  bool in_host = false;
  switch (place.vendor) {
    case ObjectVendor::kS3:
      // A wildcard certificate covers no dots, and the path does as well.
      in_host = named && (place.bucket.find('.') == std::string::npos || endpoint.scheme == "http");
      if (named && !in_host) endpoint.host.erase(0, label.size());
      break;
    case ObjectVendor::kOss:
    case ObjectVendor::kCos:
      in_host = !IsAddress(endpoint.host);
      if (in_host && !named) endpoint.host.insert(0, label);
      break;
    case ObjectVendor::kObs: {
      const bool is_service = !named && IsServiceHost(place, endpoint.host);
      if (is_service) endpoint.host.insert(0, label);
      // Anything else is a domain that the user has bound to the bucket.
      in_host = true;
      place.resource_prefix = StrCat("/", is_service || named ? place.bucket : endpoint.host);
      break;
    }
    case ObjectVendor::kGs:
    case ObjectVendor::kAbs:
      break;
  }
  if (!in_host) place.bucket_path = StrCat("/", place.bucket);
  if (in_host && place.vendor == ObjectVendor::kOss) place.resource_prefix = StrCat("/", place.bucket);
  place.base =
      StrCat(endpoint.scheme, "://", endpoint.host, endpoint.port < 0 ? "" : StrCat(":", endpoint.port), endpoint.path);
}

// The key that the request gives, else that of this process.
absl::Status FindKey(const OriginAccess::ObjectStorage& access, const Environment& environment,
                     const std::string& asked_endpoint, const Url& endpoint, ObjectPlace& place) {
  const VendorFacts& facts = FactsOf(place.vendor);
  place.key.id = access.access_key_id;
  place.key.secret = access.access_key_secret;
  place.key.token = access.session_token.empty() ? access.security_token : access.session_token;
  place.credential_path = access.credential_path;
  // What this process may do is not for everybody who reaches its port, nor for a server of the user's choice to
  // collect.
  const bool trusted = asked_endpoint.empty() || (endpoint.scheme == "https" && !access.insecure_skip_verify &&
                                                  IsServiceHost(place, endpoint.host));
  const char* const withheld = !access.own_key_allowed ? "are for callers on its own host"
                               : !trusted              ? "are not for this endpoint"
                                                       : nullptr;
  if (place.vendor == ObjectVendor::kGs) {
    place.key = AccessKey();
    if (place.credential_path.empty()) {
      place.credential_path = environment("GOOGLE_APPLICATION_CREDENTIALS");
      if (!place.credential_path.empty() && withheld != nullptr) {
        place.credential_path.clear();
        place.key_withheld = withheld;
      }
    }
    return absl::OkStatus();
  }
  std::vector<std::string> missing;
  if (!place.key.secret.empty() && place.key.id.empty()) missing.emplace_back("access_key_id");
  if (!place.key.id.empty() && place.key.secret.empty()) missing.emplace_back("access_key_secret");
  if (!missing.empty()) return Missing(place.vendor, missing);
  if (!place.key.id.empty()) return absl::OkStatus();

  place.key = AccessKey();
  AccessKey own;
  own.id = FirstSet(environment, facts.id_names);
  own.secret = FirstSet(environment, facts.secret_names);
  own.token = FirstSet(environment, facts.token_names);
  if (own.id.empty() || own.secret.empty()) return absl::OkStatus();
  place.key_withheld = withheld;
  if (withheld == nullptr) place.key = std::move(own);
  return absl::OkStatus();
}

}  // namespace

bool IsRegionName(std::string_view text) {
  return !text.empty() && text.size() <= 64 && std::all_of(text.begin(), text.end(), [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '-';
  });
}

std::optional<ObjectVendor> ObjectVendorOf(std::string_view scheme) {
  for (const ObjectVendor vendor : {ObjectVendor::kS3, ObjectVendor::kGs, ObjectVendor::kAbs, ObjectVendor::kOss,
                                    ObjectVendor::kObs, ObjectVendor::kCos}) {
    if (FactsOf(vendor).scheme == scheme) return vendor;
  }
  return std::nullopt;
}

std::string_view NameOf(ObjectVendor vendor) { return FactsOf(vendor).scheme; }

absl::StatusOr<ObjectUrl> ObjectUrl::Parse(std::string_view text) {
  DF_ASSIGN_OR_RETURN(const Url url, Url::Parse(text));
  const std::optional<ObjectVendor> vendor = ObjectVendorOf(url.scheme);
  if (!vendor.has_value()) return absl::InvalidArgumentError(StrCat("unsupported scheme ", Quoted(url.scheme)));
  ObjectUrl result;
  result.vendor = *vendor;
  result.bucket = url.host;
  if (!IsBucketName(result.bucket)) {
    return absl::InvalidArgumentError(StrCat("no name of a bucket: ", Quoted(result.bucket)));
  }
  if (url.port >= 0) {
    return absl::InvalidArgumentError(
        StrCat("URL of bucket ", result.bucket, " has a port: the service is named by the endpoint"));
  }
  result.key = PercentDecode(std::string_view(url.path).substr(std::min<size_t>(url.path.size(), 1)));
  for (std::string_view rest = url.query; !rest.empty();) {
    const std::string_view pair = rest.substr(0, rest.find('&'));
    rest.remove_prefix(std::min(rest.size(), pair.size() + 1));
    const size_t equals = pair.find('=');
    if (equals == pair.npos || pair.substr(0, equals) != FactsOf(*vendor).version_parameter) continue;
    result.version = PercentDecode(pair.substr(equals + 1));
  }
  return result;
}

std::string ObjectPlace::UrlOf(const ObjectUrl& object) const {
  std::string url = base;
  if (vendor == ObjectVendor::kGs) {
    url.append("/storage/v1/b").append(bucket_path).append("/o/").append(UriEncode(object.key, Slash::kEncode));
    url.append("?alt=media");
  } else {
    url.append(bucket_path).append("/").append(UriEncode(object.key, Slash::kKeep));
  }
  if (!object.version.empty()) {
    url.append(vendor == ObjectVendor::kGs ? "&" : "?").append(FactsOf(vendor).version_parameter);
    url.append("=").append(UriEncode(object.version, Slash::kEncode));
  }
  return url;
}

std::string ObjectPlace::ListUrl(std::string_view prefix, std::string_view continuation) const {
  std::string url = StrCat(base, vendor == ObjectVendor::kGs ? "/storage/v1/b" : "", bucket_path);
  const char* continuation_name = "marker";
  switch (vendor) {
    case ObjectVendor::kS3:
    case ObjectVendor::kOss:
      url.append("/?list-type=2&encoding-type=url&max-keys=").append(StrCat(kListPageSize));
      continuation_name = "continuation-token";
      break;
    case ObjectVendor::kObs:
    case ObjectVendor::kCos:
      url.append("/?encoding-type=url&max-keys=").append(StrCat(kListPageSize));
      break;
    case ObjectVendor::kGs:
      url.append("/o?fields=items(name,size),nextPageToken&maxResults=").append(StrCat(kListPageSize));
      continuation_name = "pageToken";
      break;
    case ObjectVendor::kAbs:
      url.append("?restype=container&comp=list&maxresults=").append(StrCat(kListPageSize));
      break;
  }
  url.append("&prefix=").append(UriEncode(prefix, Slash::kEncode));
  if (!continuation.empty()) {
    url.append("&").append(continuation_name).append("=").append(UriEncode(continuation, Slash::kEncode));
  }
  return url;
}

absl::StatusOr<ObjectPlace> LocateBucket(const ObjectUrl& url, const OriginAccess::ObjectStorage& access,
                                         const Environment& environment) {
  ObjectPlace place;
  place.vendor = url.vendor;
  place.bucket = url.bucket;
  place.insecure_skip_verify = access.insecure_skip_verify;
  place.region = access.region;

  std::string asked = access.endpoint;
  std::string text = asked;
  const std::string own_endpoint =
      url.vendor == ObjectVendor::kS3 ? FirstSet(environment, {"AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"}) : "";
  if (asked == own_endpoint) asked.clear();  // it is this process's own choice as well
  if (url.vendor == ObjectVendor::kS3) {
    if (place.region.empty()) place.region = FirstSet(environment, {"AWS_REGION", "AWS_DEFAULT_REGION"});
    if (place.region.empty()) place.region = "us-east-1";
    if (!IsRegionName(place.region)) return absl::InvalidArgumentError("region of s3 is no name of a region");
    if (text.empty()) text = own_endpoint;
    if (text.empty()) text = AwsEndpoint("https", place.region);
  } else if (url.vendor == ObjectVendor::kGs) {
    if (text.empty()) text = "https://storage.googleapis.com";
  }
  if (text.empty()) return Missing(url.vendor, {"endpoint"});
  DF_ASSIGN_OR_RETURN(const Url endpoint, ParseEndpoint(url.vendor, text));

  if (url.vendor == ObjectVendor::kOss) {
    if (place.region.empty()) place.region = OssRegionOf(endpoint.host);
    if (place.region.starts_with("oss-")) place.region.erase(0, 4);
    if (!place.region.empty() && !IsRegionName(place.region)) {
      return absl::InvalidArgumentError("region of oss is no name of a region");
    }
  }
  DF_RETURN_IF_ERROR(FindKey(access, environment, asked, endpoint, place));
  Address(endpoint, place);
  return place;
}

bool MoveToRegion(const std::string& region, ObjectPlace& place) {
  if (place.vendor != ObjectVendor::kS3 || !IsRegionName(region) || region == place.region) return false;
  const absl::StatusOr<Url> base = Url::Parse(place.base);
  if (!base.ok() || !IsServiceHost(place, base->host)) return false;
  place.region = region;
  place.base = AwsEndpoint(base->scheme, region);
  place.bucket_path = StrCat("/", place.bucket);
  return true;
}

}  // namespace dragonfly::source
