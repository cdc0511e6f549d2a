// SPDX-License-Identifier: Apache-2.0
// Sections that the files of several programs have: mutual TLS and the export of traces.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace dragonfly::config {

class Section;

// PEM files of mutual TLS, all three or none; none means plaintext.
struct TlsFiles {
  TlsFiles() = default;
  std::string ca_cert, cert, key;
  bool enabled() const { return !ca_cert.empty() || !cert.empty() || !key.empty(); }
};

// Spans are exported when protocol and endpoint are set.
struct Tracing {
  Tracing() = default;
  explicit Tracing(std::string service) : service_name(std::move(service)) {}
  std::string protocol;  // grpc, http, https
  std::string endpoint;  // host:port
  std::string path = "/v1/traces";
  std::string service_name;
  std::vector<std::pair<std::string, std::string>> headers;
  bool enabled() const { return !protocol.empty() && !endpoint.empty(); }
};

// The section `tls` of `parent`.
void ReadTls(Section& parent, TlsFiles& files);
// `section` itself.
void ReadTracing(Section& section, Tracing& tracing);

}  // namespace dragonfly::config
