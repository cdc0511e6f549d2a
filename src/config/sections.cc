// SPDX-License-Identifier: Apache-2.0
#include "config/sections.h"

#include <optional>

#include "config/options.h"
#include "config/section.h"

namespace dragonfly::config {

void ReadTls(Section& parent, TlsFiles& files) {
  auto given = files.enabled() ? std::optional<TlsFiles>(files) : std::nullopt;
  parent.Sub("tls", &given, [](Section& section, TlsFiles& tls) {
    const auto keys = {std::pair{"caCert", &tls.ca_cert}, {"cert", &tls.cert}, {"key", &tls.key}};
    for (const auto& [name, value] : keys) section.String(name, value, Path());
    for (const auto& [name, value] : keys) {
      if (value->empty()) section.Fail(name, "caCert, cert and key must be given together");
    }
  });
  files = given.value_or(TlsFiles());
}

void ReadTracing(Section& section, Tracing& tracing) {
  section.String("protocol", &tracing.protocol, OneOf({"", "grpc", "http", "https"}));
  section.String("endpoint", &tracing.endpoint, Address());
  section.String("path", &tracing.path);
  section.String("service-name", &tracing.service_name);
  section.StringMap("headers", &tracing.headers, Secret());
  if (tracing.protocol.empty() != tracing.endpoint.empty()) {
    section.Warn(tracing.protocol.empty() ? "endpoint" : "protocol",
                 "has no effect: traces are exported when protocol and endpoint are set");
  }
  IgnoreAll(section, {"addr", "jaeger"});
}

}  // namespace dragonfly::config
