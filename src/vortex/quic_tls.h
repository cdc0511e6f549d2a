// SPDX-License-Identifier: Apache-2.0
// TLS 1.3 for the piece protocol over QUIC, as the Rust client v1.0.25 and later does it (quic.rs of its server and
// client): the server shows a certificate of its own making with the name "d7y", the client sends that name, checks
// nothing and shows none, and neither names an application protocol. So: encrypted, not authenticated.
#pragma once

#include <gnutls/gnutls.h>

#include <memory>

#include "absl/status/statusor.h"

namespace dragonfly::vortex {

struct TlsSessionDeleter {
  void operator()(gnutls_session_t session) const { gnutls_deinit(session); }
};
using TlsSession = std::unique_ptr<gnutls_session_int, TlsSessionDeleter>;

// Key and certificate of one endpoint; outlives its sessions. Thread-safe.
class TlsCredentials {
 public:
  // A new ECDSA P-256 key and a certificate for "d7y". Errors: INTERNAL when the library fails.
  static absl::StatusOr<std::unique_ptr<TlsCredentials>> ForServer();
  static absl::StatusOr<std::unique_ptr<TlsCredentials>> ForClient();
  ~TlsCredentials();
  TlsCredentials(const TlsCredentials&) = delete;
  TlsCredentials& operator=(const TlsCredentials&) = delete;

  // A session for one connection, prepared for ngtcp2; its pointer (gnutls_session_set_ptr) is the caller's to set.
  absl::StatusOr<TlsSession> NewSession() const;

 private:
  TlsCredentials(gnutls_certificate_credentials_t credentials, bool server)
      : credentials_(credentials), server_(server) {}

  const gnutls_certificate_credentials_t credentials_;
  const bool server_;
};

}  // namespace dragonfly::vortex
