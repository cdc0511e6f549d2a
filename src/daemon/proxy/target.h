// SPDX-License-Identifier: Apache-2.0
// What a request is about: the absolute URL behind its request line.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "base/url.h"
#include "daemon/proxy/message.h"

namespace dragonfly::daemon::proxy {

// Which certificates of an origin will do.
enum class Trust {
  kVerified,  // as the configuration says of all origins
  kAny,
};

// Where a request is to be sent.
struct Target {
  Url url;              // http or https, with a host, without user and fragment
  bool mirror = false;  // came as origin-form: this proxy is taken for a registry
  Trust trust = Trust::kVerified;
};

// Reads an absolute-form request ("GET http://host/path"). Errors: HttpError 400 naming what is wrong: another scheme,
// no host, a user or fragment in it.
absl::StatusOr<Target> AbsoluteTarget(std::string_view target);

// Reads an origin-form request ("GET /v2/...") as one to a registry: the one that the field X-Dragonfly-Registry
// names, else the query parameter `ns` (as containerd sends it), else `default_registry`; each "scheme://host", with a
// port and a path in front where wanted, or a host alone for `ns`, which then means https. "docker.io" is where its
// registry really is. The parameter `ns` does not go on to the registry. Errors: HttpError 400.
absl::StatusOr<Target> MirrorTarget(const RequestHead& request, std::string_view default_registry);

// Reads a request within a tunnel to `authority` ("host:port").
absl::StatusOr<Target> TunnelTarget(std::string_view target, std::string_view authority);

// The host and port of a CONNECT request. Errors: HttpError 400.
struct Authority {
  std::string host;  // IPv6 in brackets
  uint16_t port = 0;
};
absl::StatusOr<Authority> ParseAuthority(std::string_view text);

// The value of the Host field for `url`: no default port.
std::string HostField(const Url& url);
// Path and query: the request line that the origin gets.
std::string OriginForm(const Url& url);

// A registry's API under /v2/ (OCI distribution specification).
enum class RegistryPart {
  kNone,   // no registry URL
  kBlob,   // a blob by its digest: its bytes never change
  kOther,  // manifests, tags, referrers, uploads, catalog: never to be served from a store
};
RegistryPart RegistryPartOf(const Url& url);

// True for the token services of registries: what they answer belongs to one client.
bool IsTokenService(const Url& url);

}  // namespace dragonfly::daemon::proxy
