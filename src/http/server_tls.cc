// SPDX-License-Identifier: Apache-2.0
#include "http/server_tls.h"

#include <openssl/ssl.h>

#include <string_view>
#include <utility>

#include "base/status.h"
#include "base/text.h"
#include "telemetry/log.h"

namespace dragonfly::http {
namespace {

namespace ssl = boost::asio::ssl;

constexpr std::chrono::seconds kLookInterval{1};

absl::Status Wrong(std::string_view what, const std::string& file, const boost::system::error_code& error) {
  return absl::InvalidArgumentError(StrCat(what, " ", file, ": ", error.message()));
}

// HTTP/1.1 where the client lets us choose; a client that knows nothing of it is served as well.
int ChooseProtocol(SSL*, const unsigned char** out, unsigned char* length, const unsigned char* offered,
                   unsigned int offered_length, void*) {
  static constexpr unsigned char kHttp11[] = {8, 'h', 't', 't', 'p', '/', '1', '.', '1'};
  unsigned char* chosen = nullptr;
  if (SSL_select_next_proto(&chosen, length, kHttp11, sizeof(kHttp11), offered, offered_length) !=
      OPENSSL_NPN_NEGOTIATED) {
    return SSL_TLSEXT_ERR_NOACK;
  }
  *out = chosen;
  return SSL_TLSEXT_ERR_OK;
}

absl::StatusOr<std::shared_ptr<ssl::context>> Load(const ServerTls& files) {
  if (files.cert.empty() || files.key.empty()) return absl::InvalidArgumentError("TLS needs a certificate and its key");
  auto context = std::make_shared<ssl::context>(ssl::context::tls_server);
  SSL_CTX* const native = context->native_handle();
  SSL_CTX_set_min_proto_version(native, TLS1_2_VERSION);
  SSL_CTX_set_options(native, SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_alpn_select_cb(native, ChooseProtocol, nullptr);
  // A key that needs a password is refused, and nobody is asked for one on the terminal.
  boost::system::error_code error;
  context->set_password_callback([](size_t, ssl::context::password_purpose) { return std::string(); }, error);
  context->use_certificate_chain_file(files.cert, error);
  if (error) return Wrong("certificate", files.cert, error);
  context->use_private_key_file(files.key, ssl::context::pem, error);
  if (error) return Wrong("key", files.key, error);
  if (SSL_CTX_check_private_key(native) != 1) {
    return absl::InvalidArgumentError(StrCat("key ", files.key, ": does not belong to the certificate ", files.cert));
  }
  if (files.client_ca.empty()) return context;
  context->load_verify_file(files.client_ca, error);
  if (error) return Wrong("authority", files.client_ca, error);
  context->set_verify_mode(ssl::verify_peer | ssl::verify_fail_if_no_peer_cert, error);
  if (error) return Wrong("authority", files.client_ca, error);
  // Sessions are resumed only by those that were verified for this server.
  static constexpr unsigned char kSessions[] = "dragonfly";
  SSL_CTX_set_session_id_context(native, kSessions, sizeof(kSessions) - 1);
  return context;
}

}  // namespace

absl::StatusOr<std::unique_ptr<TlsContexts>> TlsContexts::Make(const ServerTls& files) {
  std::unique_ptr<TlsContexts> contexts(new TlsContexts(files));
  contexts->stamps_ = contexts->Stamps();
  contexts->looked_ = Clock::now();
  DF_ASSIGN_OR_RETURN(contexts->context_, Load(files));
  return contexts;
}

std::vector<std::filesystem::file_time_type> TlsContexts::Stamps() const {
  std::vector<std::filesystem::file_time_type> stamps;
  for (const std::string* const file : {&files_.cert, &files_.key, &files_.client_ca}) {
    std::error_code ignored;
    stamps.push_back(std::filesystem::last_write_time(*file, ignored));
  }
  return stamps;
}

std::shared_ptr<ssl::context> TlsContexts::Current() {
  const TimePoint now = Clock::now();
  if (now - looked_ < kLookInterval) return context_;
  looked_ = now;
  std::vector<std::filesystem::file_time_type> stamps = Stamps();
  if (stamps == stamps_) return context_;
  auto loaded = Load(files_);
  // One file may be written before the other: the pair is looked at again when the next one changes.
  stamps_ = std::move(stamps);
  if (loaded.ok()) {
    context_ = *std::move(loaded);
    DF_LOG(Info, "the certificate {} was read again", files_.cert);
  } else {
    DF_LOG(Warn, "the former certificate stays: {}", MessageOf(loaded.status()));
  }
  return context_;
}

}  // namespace dragonfly::http
