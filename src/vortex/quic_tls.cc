// SPDX-License-Identifier: Apache-2.0
#include "vortex/quic_tls.h"

#include <gnutls/crypto.h>
#include <gnutls/x509.h>
#include <ngtcp2/ngtcp2_crypto_gnutls.h>

#include <array>
#include <ctime>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "base/status.h"
#include "base/text.h"

namespace dragonfly::vortex {

namespace {

// AES-128 first: the content is public to the cluster anyway, and the larger key costs time for each byte.
constexpr char kPriority[] =
    "NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+AES-128-GCM:+AES-256-GCM:+CHACHA20-POLY1305:"
    "-GROUP-ALL:+GROUP-X25519:+GROUP-SECP256R1:+GROUP-SECP384R1:%DISABLE_TLS13_COMPAT_MODE:%SERVER_PRECEDENCE";
constexpr std::string_view kServerName = "d7y";
// Nobody looks at the dates; they only have to be such that a clock that is off does no harm.
constexpr time_t kYear = 365L * 24 * 3600;

absl::Status TlsStatus(int error, std::string_view what) {
  return error >= 0 ? absl::OkStatus() : absl::InternalError(StrCat(what, ": ", gnutls_strerror(error)));
}

struct KeyDeleter {
  void operator()(gnutls_x509_privkey_t key) const { gnutls_x509_privkey_deinit(key); }
};
struct CertificateDeleter {
  void operator()(gnutls_x509_crt_t certificate) const { gnutls_x509_crt_deinit(certificate); }
};
using Key = std::unique_ptr<gnutls_x509_privkey_int, KeyDeleter>;
using Certificate = std::unique_ptr<gnutls_x509_crt_int, CertificateDeleter>;

absl::StatusOr<Key> MakeKey() {
  gnutls_x509_privkey_t raw = nullptr;
  DF_RETURN_IF_ERROR(TlsStatus(gnutls_x509_privkey_init(&raw), "make a key"));
  Key key(raw);
  DF_RETURN_IF_ERROR(
      TlsStatus(gnutls_x509_privkey_generate(raw, GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0),
                "make a key"));
  return key;
}

absl::StatusOr<Certificate> MakeCertificate(gnutls_x509_privkey_t key) {
  gnutls_x509_crt_t raw = nullptr;
  DF_RETURN_IF_ERROR(TlsStatus(gnutls_x509_crt_init(&raw), "make a certificate"));
  Certificate certificate(raw);
  std::array<unsigned char, 16> serial;
  DF_RETURN_IF_ERROR(TlsStatus(gnutls_rnd(GNUTLS_RND_NONCE, serial.data(), serial.size()), "make a certificate"));
  serial[0] &= 0x7f;  // a positive number
  const time_t now = std::time(nullptr);
  const auto name_size = static_cast<unsigned>(kServerName.size());
  for (const int result :
       {gnutls_x509_crt_set_version(raw, 3), gnutls_x509_crt_set_serial(raw, serial.data(), serial.size()),
        gnutls_x509_crt_set_activation_time(raw, now - kYear),
        gnutls_x509_crt_set_expiration_time(raw, now + 20 * kYear),
        gnutls_x509_crt_set_dn_by_oid(raw, GNUTLS_OID_X520_COMMON_NAME, 0, kServerName.data(), name_size),
        gnutls_x509_crt_set_subject_alt_name(raw, GNUTLS_SAN_DNSNAME, kServerName.data(), name_size, GNUTLS_FSAN_SET),
        gnutls_x509_crt_set_key(raw, key), gnutls_x509_crt_sign2(raw, raw, key, GNUTLS_DIG_SHA256, 0)}) {
    DF_RETURN_IF_ERROR(TlsStatus(result, "make a certificate"));
  }
  return certificate;
}

}  // namespace

absl::StatusOr<std::unique_ptr<TlsCredentials>> TlsCredentials::ForServer() {
  DF_ASSIGN_OR_RETURN(Key key, MakeKey());
  DF_ASSIGN_OR_RETURN(Certificate certificate, MakeCertificate(key.get()));
  gnutls_certificate_credentials_t raw = nullptr;
  DF_RETURN_IF_ERROR(TlsStatus(gnutls_certificate_allocate_credentials(&raw), "make credentials"));
  std::unique_ptr<TlsCredentials> credentials(new TlsCredentials(raw, /*server=*/true));
  gnutls_x509_crt_t chain = certificate.get();
  DF_RETURN_IF_ERROR(TlsStatus(gnutls_certificate_set_x509_key(raw, &chain, 1, key.get()), "use the certificate"));
  return credentials;
}

absl::StatusOr<std::unique_ptr<TlsCredentials>> TlsCredentials::ForClient() {
  gnutls_certificate_credentials_t raw = nullptr;
  DF_RETURN_IF_ERROR(TlsStatus(gnutls_certificate_allocate_credentials(&raw), "make credentials"));
  return std::unique_ptr<TlsCredentials>(new TlsCredentials(raw, /*server=*/false));
}

TlsCredentials::~TlsCredentials() { gnutls_certificate_free_credentials(credentials_); }

absl::StatusOr<TlsSession> TlsCredentials::NewSession() const {
  gnutls_session_t raw = nullptr;
  const unsigned flags = GNUTLS_NO_END_OF_EARLY_DATA |
                         (server_ ? GNUTLS_SERVER | GNUTLS_NO_AUTO_SEND_TICKET : GNUTLS_CLIENT | GNUTLS_NO_TICKETS);
  DF_RETURN_IF_ERROR(TlsStatus(gnutls_init(&raw, flags), "make a TLS session"));
  TlsSession session(raw);
  DF_RETURN_IF_ERROR(TlsStatus(gnutls_priority_set_direct(raw, kPriority, nullptr), "choose the ciphers"));
  DF_RETURN_IF_ERROR(
      TlsStatus(gnutls_credentials_set(raw, GNUTLS_CRD_CERTIFICATE, credentials_), "use the certificate"));
  if (!server_) {
    DF_RETURN_IF_ERROR(TlsStatus(gnutls_server_name_set(raw, GNUTLS_NAME_DNS, kServerName.data(), kServerName.size()),
                                 "name the server"));
  }
  const int configured =
      server_ ? ngtcp2_crypto_gnutls_configure_server_session(raw) : ngtcp2_crypto_gnutls_configure_client_session(raw);
  if (configured != 0) return absl::InternalError("prepare a TLS session for QUIC");
  return session;
}

}  // namespace dragonfly::vortex
