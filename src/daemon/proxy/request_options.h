// SPDX-License-Identifier: Apache-2.0
// The X-Dragonfly-* fields of a request, and the download that it becomes. Names and defaults: client v1.5.1,
// dragonfly-client/src/proxy/header.rs; see docs/proxy.md.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "base/url.h"
#include "daemon/config.h"
#include "daemon/proxy/message.h"

namespace common::v2 {
class Download;
}

namespace dragonfly::daemon::proxy {

// X-Dragonfly-Use-P2P: true.
bool WantsP2p(const Fields& fields);

// The one range that `fields` ask for, as a Range value that every server reads alike. nullopt: the whole file, also
// for what RFC 9110 §14.2 lets a server ignore: other units, several ranges, what does not parse.
std::optional<std::string> SingleRange(const Fields& fields);

// Whether `fields` ask for the answer only if it has, or has not, changed (If-None-Match, If-Modified-Since, If-Match,
// If-Unmodified-Since).
bool IsConditional(const Fields& fields);

// The fields of a request that go on to its origin: those of one connection, X-Dragonfly-* and Host are left out.
Fields ForOrigin(const Fields& fields);

// Who asks.
struct Client {
  std::string ip;
  bool loopback = false;
};

// The download of `url` that `request` asks for, by `rule`. Errors: HttpError 400 for a piece length that is too small;
// 403 for an output path where the configuration allows none.
absl::StatusOr<std::shared_ptr<common::v2::Download>> MakeDownload(const DaemonConfig::Proxy& config,
                                                                   const DaemonConfig::Proxy::Rule& rule,
                                                                   const Url& url, const RequestHead& request,
                                                                   const Client& client);

}  // namespace dragonfly::daemon::proxy
