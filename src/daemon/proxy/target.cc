// SPDX-License-Identifier: Apache-2.0
#include "daemon/proxy/target.h"

#include <optional>

#include "base/text.h"
#include "daemon/proxy/http_error.h"

namespace dragonfly::daemon::proxy {
namespace {

// What "docker.io" and its older name stand for.
constexpr std::string_view kDockerRegistry = "https://registry-1.docker.io";

absl::Status BadTarget(std::string_view target, std::string_view why) {
  // Neither credentials nor signatures of the target are shown.
  const std::string_view shown = target.substr(0, target.find('?'));
  return HttpError(400, StrCat("request target ", shown.find('@') == shown.npos ? Quoted(shown) : "", ": ", why));
}

// application/x-www-form-urlencoded
std::string FormDecode(std::string_view text) {
  std::string spaced(text);
  for (char& c : spaced) {
    if (c == '+') c = ' ';
  }
  return PercentDecode(spaced);
}

absl::StatusOr<Url> ParseHttpUrl(std::string_view text) {
  absl::StatusOr<Url> url = Url::Parse(text);
  if (!url.ok()) return BadTarget(text, "no URL");
  if (url->scheme != "http" && url->scheme != "https") return BadTarget(text, "neither http nor https");
  if (!url->has_host || url->host.empty()) return BadTarget(text, "no host");
  if (!url->username.empty() || !url->password.empty()) return BadTarget("", "a user in the URL");
  if (url->has_fragment) return BadTarget(text, "a fragment in the URL");
  return url;
}

bool HasForbiddenBytes(std::string_view target) {
  for (const char c : target) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte <= 0x20 || byte >= 0x7f || c == '\\' || c == '#') return true;
  }
  return false;
}

// Takes the parameter `ns` out of `query` and returns its first value.
std::optional<std::string> TakeNamespace(std::string& query) {
  std::optional<std::string> found;
  std::string rest;
  for (std::string_view left = query; !left.empty();) {
    const size_t end = std::min(left.find('&'), left.size());
    const std::string_view pair = left.substr(0, end);
    left.remove_prefix(std::min(end + 1, left.size()));
    if (pair == "ns" || pair.starts_with("ns=")) {
      if (!found) found = FormDecode(pair.substr(std::min<size_t>(3, pair.size())));
      continue;
    }
    if (!rest.empty()) rest += '&';
    rest += pair;
  }
  query = rest;
  return found;
}

bool IsHex(std::string_view text) {
  for (const char c : text) {
    if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) return false;
  }
  return !text.empty();
}

}  // namespace

absl::StatusOr<Target> AbsoluteTarget(std::string_view target) {
  if (HasForbiddenBytes(target)) return BadTarget(target, "a byte that no URL has");
  // "http:host" and "http:///host" would be mended by the parser, and read otherwise by somebody else.
  const size_t colon = target.find("://");
  if (colon == std::string_view::npos || colon + 3 >= target.size() || target[colon + 3] == '/') {
    return BadTarget(target, "not of the form scheme://host/path");
  }
  absl::StatusOr<Url> url = ParseHttpUrl(target);
  if (!url.ok()) return url.status();
  Target out;
  out.url = *std::move(url);
  return out;
}

absl::StatusOr<Target> MirrorTarget(const RequestHead& request, std::string_view default_registry) {
  const std::string_view target = request.target;
  if (!target.starts_with('/')) return BadTarget(target, "neither a path nor a URL");
  if (HasForbiddenBytes(target)) return BadTarget(target, "a byte that no URL has");
  const size_t question = target.find('?');
  const std::string_view path = target.substr(0, question);
  std::string query(question == target.npos ? "" : target.substr(question + 1));

  std::string base(default_registry);
  // Only what is sent to a registry has a namespace; elsewhere the parameter is the caller's own.
  const bool registry = path == "/v2" || path.starts_with("/v2/");
  const std::optional<std::string> ns = registry ? TakeNamespace(query) : std::nullopt;
  if (const auto named = request.fields.Find("x-dragonfly-registry")) {
    base = std::string(TrimSpace(*named));
  } else if (ns && !ns->empty()) {
    base = ns->find("://") != ns->npos ? *ns : StrCat("https://", *ns);
    if (*ns == "docker.io" || *ns == "index.docker.io") base = std::string(kDockerRegistry);
  }
  while (base.ends_with('/')) base.pop_back();
  const absl::StatusOr<Target> parsed_base = AbsoluteTarget(base);
  if (!parsed_base.ok() || parsed_base->url.has_query) {
    return HttpError(400, StrCat("registry ", Quoted(base), " is not of the form scheme://host"));
  }
  absl::StatusOr<Target> out = AbsoluteTarget(StrCat(base, path, query.empty() ? "" : "?", query));
  if (out.ok()) out->mirror = true;
  return out;
}

absl::StatusOr<Target> TunnelTarget(std::string_view target, std::string_view authority) {
  if (target.starts_with('/')) return AbsoluteTarget(StrCat("https://", authority, target));
  absl::StatusOr<Target> out = AbsoluteTarget(target);
  if (!out.ok()) return out;
  const absl::StatusOr<Target> tunnel = AbsoluteTarget(StrCat("https://", authority, "/"));
  if (!tunnel.ok()) return tunnel;
  if (out->url.scheme != "https" || out->url.host != tunnel->url.host ||
      out->url.effective_port() != tunnel->url.effective_port()) {
    return BadTarget(target, "leads out of its tunnel");
  }
  return out;
}

absl::StatusOr<Authority> ParseAuthority(std::string_view text) {
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos || HasForbiddenBytes(text)) return BadTarget(text, "not of the form host:port");
  const std::optional<uint16_t> port = ParseDecimal<uint16_t>(text.substr(colon + 1));
  if (!port || *port == 0) return BadTarget(text, "no valid port");
  const absl::StatusOr<Target> url = AbsoluteTarget(StrCat("http://", text, "/"));
  if (!url.ok() || url->url.path != "/" || url->url.has_query) return BadTarget(text, "not of the form host:port");
  // It becomes a name in a certificate.
  constexpr std::string_view kHostBytes = "abcdefghijklmnopqrstuvwxyz0123456789-._:[]";
  if (url->url.host.find_first_not_of(kHostBytes) != std::string::npos) return BadTarget(text, "no valid host");
  Authority authority;
  authority.host = url->url.host;
  authority.port = *port;
  return authority;
}

std::string HostField(const Url& url) { return url.port < 0 ? url.host : StrCat(url.host, ":", url.port); }

std::string OriginForm(const Url& url) {
  return StrCat(url.path.empty() ? "/" : url.path, url.has_query ? "?" : "", url.query);
}

RegistryPart RegistryPartOf(const Url& url) {
  const std::string_view path = url.path;
  const size_t api = path.find("/v2/");
  if (path.ends_with("/v2")) return RegistryPart::kOther;
  if (api == path.npos) return RegistryPart::kNone;
  const std::string_view rest = path.substr(api + 4);
  if (const size_t blobs = rest.rfind("/blobs/"); blobs != rest.npos) {
    const std::string_view digest = rest.substr(blobs + 7);
    const size_t colon = std::min(digest.find(':'), digest.find("%3A"));
    if (colon != digest.npos && IsHex(digest.substr(colon + (digest[colon] == ':' ? 1 : 3)))) {
      return RegistryPart::kBlob;
    }
    return RegistryPart::kOther;  // uploads
  }
  for (const char* part : {"/manifests/", "/tags/", "/referrers/"}) {
    if (rest.find(part) != rest.npos) return RegistryPart::kOther;
  }
  return rest.empty() || rest == "_catalog" ? RegistryPart::kOther : RegistryPart::kNone;
}

bool IsTokenService(const Url& url) {
  const std::string_view path = url.path;
  return path.ends_with("/token") || path.ends_with("/v2/auth") || path.ends_with("/jwt/auth");
}

}  // namespace dragonfly::daemon::proxy
