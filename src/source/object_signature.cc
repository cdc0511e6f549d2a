// SPDX-License-Identifier: Apache-2.0
#include "source/object_signature.h"

#include <algorithm>
#include <array>
#include <map>

#include "base/digest.h"
#include "base/text.h"
#include "base/url.h"
#include "source/object_crypto.h"

namespace dragonfly::source {
namespace {

using Fields = std::vector<std::pair<std::string, std::string>>;

// A key time of COS begins a little before our clock's, for a service whose clock is behind.
constexpr absl::Duration kCosEarly = absl::Seconds(60);
constexpr absl::Duration kCosLifetime = absl::Seconds(600);

// SHA-256 of nothing: what GET sends.
constexpr char kNoBodySha256[] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

std::string BasicDate(absl::Time now) { return absl::FormatTime("%Y%m%dT%H%M%SZ", now, absl::UTCTimeZone()); }
std::string HttpDate(absl::Time now) { return absl::FormatTime("%a, %d %b %Y %H:%M:%S GMT", now, absl::UTCTimeZone()); }

// The parts of a request that signatures are made of.
struct Parts {
  explicit Parts(const http::CurlRequest& request) {
    // HttpSource sends only URLs that have been parsed and written again.
    const absl::StatusOr<Url> url = Url::Parse(request.url);
    if (url.ok()) {
      path = url->path;
      host = url->port < 0 ? url->host : StrCat(url->host, ":", url->port);
      std::string_view rest = url->query;
      while (!rest.empty()) {
        const std::string_view pair = rest.substr(0, rest.find('&'));
        rest.remove_prefix(std::min(rest.size(), pair.size() + 1));
        if (pair.empty()) continue;
        const size_t equals = pair.find('=');
        const std::string_view value = equals == pair.npos ? "" : pair.substr(equals + 1);
        query.emplace_back(PercentDecode(pair.substr(0, equals)), PercentDecode(value));
      }
      std::sort(query.begin(), query.end());
    }
    for (const auto& [name, value] : request.header) {
      const auto [at, is_new] = header.emplace(ToLowerAscii(name), TrimSpace(value));
      if (!is_new) at->second.append(",").append(TrimSpace(value));
    }
  }

  std::string Header(const std::string& name) const {
    const auto found = header.find(name);
    return found == header.end() ? "" : found->second;
  }

  // The headers of a vendor, and those among `more` that are there, by name.
  Fields Chosen(std::string_view prefix, const std::vector<std::string>& more) const {
    Fields chosen;
    for (const auto& [name, value] : header) {
      if (name.starts_with(prefix) || std::find(more.begin(), more.end(), name) != more.end()) {
        chosen.emplace_back(name, value);
      }
    }
    return chosen;
  }

  std::string path;                           // as it is sent: percent-encoded
  std::string host;                           // as the Host header has it
  Fields query;                               // decoded, sorted
  std::map<std::string, std::string> header;  // lower-case names
};

std::string Join(const Fields& fields, std::string_view between, std::string_view after) {
  std::string text;
  for (const auto& [name, value] : fields) text.append(name).append(between).append(value).append(after);
  return text;
}

std::string Names(const Fields& fields) {
  std::string names;
  for (const auto& [name, value] : fields) names.append(names.empty() ? "" : ";").append(name);
  return names;
}

// "a=b&c=d" with both sides encoded; a parameter without a value is "a=" or "a".
enum class EmptyValue { kEquals, kBare };
std::string EncodedQuery(const Fields& query, EmptyValue empty) {
  std::string text;
  for (const auto& [name, value] : query) {
    text.append(text.empty() ? "" : "&").append(UriEncode(name, Slash::kEncode));
    if (!value.empty() || empty == EmptyValue::kEquals) text.append("=").append(UriEncode(value, Slash::kEncode));
  }
  return text;
}

// The chain of HMACs that AWS and OSS share. `scope`: "<date>/<region>/<service>/<terminator>".
const std::string& Derive(std::string_view salt, const AccessKey& key, const std::string& scope, DerivedKey& derived) {
  if (derived.scope == scope) return derived.key;
  std::string step = StrCat(salt, key.secret);
  for (std::string_view rest = scope; !rest.empty();) {
    const std::string_view part = rest.substr(0, rest.find('/'));
    rest.remove_prefix(std::min(rest.size(), part.size() + 1));
    step = HmacSha256(step, part);
  }
  derived.scope = scope;
  derived.key = std::move(step);
  return derived.key;
}

// "?acl&versionId=x": the parameters that belong to the resource, by OSS V1 and OBS; empty when there is none.
template <size_t N>
std::string Subresources(const Fields& query, const std::array<std::string_view, N>& signed_names) {
  std::string text;
  for (const auto& [name, value] : query) {
    if (std::find(signed_names.begin(), signed_names.end(), name) == signed_names.end()) continue;
    text.append(text.empty() ? "?" : "&").append(name);
    if (!value.empty()) text.append("=").append(value);
  }
  return text;
}

// The text of OSS V1 and OBS, which differ in prefix and resource.
std::string HeaderText(const http::CurlRequest& request, const Parts& parts, std::string_view vendor_prefix,
                       std::string_view resource) {
  return StrCat(request.method, "\n", parts.Header("content-md5"), "\n", parts.Header("content-type"), "\n",
                parts.Header("date"), "\n", Join(parts.Chosen(vendor_prefix, {}), ":", "\n"), resource);
}

}  // namespace

void SetHeader(http::CurlRequest& request, std::string_view name, std::string value) {
  std::erase_if(request.header, [name](const auto& field) { return EqualsIgnoreCase(field.first, name); });
  request.header.emplace_back(name, std::move(value));
}

void SignAwsV4(const AccessKey& key, std::string_view region, std::string_view service, absl::Time now,
               DerivedKey& derived, http::CurlRequest& request) {
  const std::string date = BasicDate(now);
  SetHeader(request, "X-Amz-Date", date);
  if (service == "s3") SetHeader(request, "X-Amz-Content-Sha256", kNoBodySha256);
  if (!key.token.empty()) SetHeader(request, "X-Amz-Security-Token", key.token);

  Parts parts(request);
  parts.header["host"] = parts.host;
  const Fields header = parts.Chosen("x-amz-", {"host", "range"});
  const std::string names = Names(header);
  const std::string canonical =
      StrCat(request.method, "\n", parts.path, "\n", EncodedQuery(parts.query, EmptyValue::kEquals), "\n",
             Join(header, ":", "\n"), "\n", names, "\n", kNoBodySha256);
  const std::string scope = StrCat(date.substr(0, 8), "/", region, "/", service, "/aws4_request");
  const std::string text = StrCat("AWS4-HMAC-SHA256\n", date, "\n", scope, "\n", Sha256Hex(canonical));
  const std::string signature = ToHex(HmacSha256(Derive("AWS4", key, scope, derived), text));
  SetHeader(
      request, "Authorization",
      StrCat("AWS4-HMAC-SHA256 Credential=", key.id, "/", scope, ", SignedHeaders=", names, ", Signature=", signature));
}

void SignOssV4(const AccessKey& key, std::string_view region, std::string_view resource_prefix, absl::Time now,
               DerivedKey& derived, http::CurlRequest& request) {
  const std::string date = BasicDate(now);
  SetHeader(request, "x-oss-date", date);
  SetHeader(request, "x-oss-content-sha256", "UNSIGNED-PAYLOAD");
  if (!key.token.empty()) SetHeader(request, "x-oss-security-token", key.token);

  Parts parts(request);
  parts.header["host"] = parts.host;
  // Beyond the vendor's own headers and these two, which are always signed, the request names what it signs.
  const Fields header = parts.Chosen("x-oss-", {"content-md5", "content-type", "host", "range"});
  Fields additional;
  for (const auto& field : header) {
    if (field.first == "host" || field.first == "range") additional.push_back(field);
  }
  const std::string names = Names(additional);
  const std::string canonical = StrCat(request.method, "\n", UriEncode(resource_prefix, Slash::kKeep), parts.path, "\n",
                                       EncodedQuery(parts.query, EmptyValue::kBare), "\n", Join(header, ":", "\n"),
                                       "\n", names, "\nUNSIGNED-PAYLOAD");
  const std::string scope = StrCat(date.substr(0, 8), "/", region, "/oss/aliyun_v4_request");
  const std::string text = StrCat("OSS4-HMAC-SHA256\n", date, "\n", scope, "\n", Sha256Hex(canonical));
  const std::string signature = ToHex(HmacSha256(Derive("aliyun_v4", key, scope, derived), text));
  SetHeader(request, "Authorization",
            StrCat("OSS4-HMAC-SHA256 Credential=", key.id, "/", scope, ",AdditionalHeaders=", names,
                   ",Signature=", signature));
}

void SignOssV1(const AccessKey& key, std::string_view resource_prefix, absl::Time now, http::CurlRequest& request) {
  SetHeader(request, "Date", HttpDate(now));
  if (!key.token.empty()) SetHeader(request, "x-oss-security-token", key.token);
  const Parts parts(request);
  constexpr std::array<std::string_view, 2> kSigned = {"continuation-token", "versionId"};
  const std::string resource = StrCat(resource_prefix, PercentDecode(parts.path), Subresources(parts.query, kSigned));
  const std::string signature = ToBase64(HmacSha1(key.secret, HeaderText(request, parts, "x-oss-", resource)));
  SetHeader(request, "Authorization", StrCat("OSS ", key.id, ":", signature));
}

void SignObs(const AccessKey& key, std::string_view resource_prefix, absl::Time now, http::CurlRequest& request) {
  SetHeader(request, "Date", HttpDate(now));
  if (!key.token.empty()) SetHeader(request, "x-obs-security-token", key.token);
  const Parts parts(request);
  constexpr std::array<std::string_view, 1> kSigned = {"versionId"};
  // Unlike OSS, it signs the path as it is sent.
  const std::string resource = StrCat(resource_prefix, parts.path, Subresources(parts.query, kSigned));
  const std::string signature = ToBase64(HmacSha1(key.secret, HeaderText(request, parts, "x-obs-", resource)));
  SetHeader(request, "Authorization", StrCat("OBS ", key.id, ":", signature));
}

void SignCos(const AccessKey& key, absl::Time now, http::CurlRequest& request) {
  if (!key.token.empty()) SetHeader(request, "x-cos-security-token", key.token);
  Parts parts(request);
  parts.header["host"] = parts.host;

  const auto encoded = [](const Fields& fields) {
    Fields result;
    for (const auto& [name, value] : fields) {
      result.emplace_back(ToLowerAscii(UriEncode(name, Slash::kEncode)), UriEncode(value, Slash::kEncode));
    }
    std::sort(result.begin(), result.end());
    return result;
  };
  const auto joined = [](const Fields& fields) {
    std::string text = Join(fields, "=", "&");
    if (!text.empty()) text.pop_back();
    return text;
  };
  const Fields query = encoded(parts.query);
  const Fields header = encoded(parts.Chosen("x-cos-", {"host", "range"}));

  const std::string time =
      StrCat(absl::ToUnixSeconds(now - kCosEarly), ";", absl::ToUnixSeconds(now - kCosEarly + kCosLifetime));
  const std::string canonical = StrCat(ToLowerAscii(request.method), "\n", PercentDecode(parts.path), "\n",
                                       joined(query), "\n", joined(header), "\n");
  const std::string text = StrCat("sha1\n", time, "\n", Sha1Hex(canonical), "\n");
  const std::string signature = ToHex(HmacSha1(ToHex(HmacSha1(key.secret, time)), text));
  SetHeader(request, "Authorization",
            StrCat("q-sign-algorithm=sha1&q-ak=", key.id, "&q-sign-time=", time, "&q-key-time=", time,
                   "&q-header-list=", Names(header), "&q-url-param-list=", Names(query), "&q-signature=", signature));
}

absl::Status SignAzure(const AccessKey& key, absl::Time now, http::CurlRequest& request) {
  const std::optional<std::string> secret = FromBase64(key.secret);
  if (!secret.has_value()) return absl::InvalidArgumentError("access_key_secret of abs is not base64");
  SetHeader(request, "x-ms-date", HttpDate(now));
  SetHeader(request, "x-ms-version", kAzureVersion);
  const Parts parts(request);

  std::string text = request.method;
  for (const char* name : {"content-encoding", "content-language", "content-length", "content-md5", "content-type",
                           "date", "if-modified-since", "if-match", "if-none-match", "if-unmodified-since", "range"}) {
    text.append("\n").append(parts.Header(name));
  }
  text.append("\n").append(Join(parts.Chosen("x-ms-", {}), ":", "\n"));
  text.append("/").append(key.id).append(parts.path);
  std::map<std::string, std::string> query;
  for (const auto& [name, value] : parts.query) {
    const auto [at, is_new] = query.emplace(ToLowerAscii(name), value);
    if (!is_new) at->second.append(",").append(value);
  }
  for (const auto& [name, value] : query) text.append("\n").append(name).append(":").append(value);
  SetHeader(request, "Authorization", StrCat("SharedKey ", key.id, ":", ToBase64(HmacSha256(*secret, text))));
  return absl::OkStatus();
}

}  // namespace dragonfly::source
