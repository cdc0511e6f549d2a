// SPDX-License-Identifier: Apache-2.0
// TLS for UnixClient; apart from it, so that a program that needs none does not carry it.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "rpc/unix_client.h"

namespace dragonfly::rpc {

// Files in PEM.
struct TlsClientFiles {
  TlsClientFiles() = default;
  std::string ca_cert;  // authorities to trust; empty: those of the system
  std::string cert;     // to show to the server, with its chain; empty: none
  std::string key;      // of `cert`
};

// As UnixClient::ConnectTcp() with TLS 1.2 or later: the server's certificate must be for `host` and come from a
// trusted authority. The handshake takes at most ten seconds. Errors: INVALID_ARGUMENT naming a file that is not what
// it should be; UNAVAILABLE naming host and port, and what is wrong with the certificate.
absl::StatusOr<std::unique_ptr<UnixClient>> ConnectTls(const std::string& host, int port, const TlsClientFiles& files);

}  // namespace dragonfly::rpc
