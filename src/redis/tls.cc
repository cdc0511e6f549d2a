// SPDX-License-Identifier: Apache-2.0
#include "redis/tls.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <array>
#include <string>

#include "base/text.h"

namespace dragonfly::redis {

std::string TakeTlsError() {
  const unsigned long code = ::ERR_get_error();
  ::ERR_clear_error();
  if (code == 0) return "the connection was closed";
  std::array<char, 256> text{};
  ::ERR_error_string_n(code, text.data(), text.size());
  return text.data();
}

absl::StatusOr<TlsContext> MakeTlsContext(const TlsOptions& options) {
  TlsContext context(::SSL_CTX_new(::TLS_client_method()), [](ssl_ctx_st* c) { ::SSL_CTX_free(c); });
  if (context == nullptr) return absl::InternalError(StrCat("redis.tls: ", TakeTlsError()));
  ::SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  ::SSL_CTX_set_verify(context.get(), options.verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, nullptr);
  const auto bad = [](const char* key, const std::string& file) {
    return absl::InvalidArgumentError(StrCat("redis.tls.", key, " ", file, ": ", TakeTlsError()));
  };
  if (options.ca_cert.empty()) {
    ::SSL_CTX_set_default_verify_paths(context.get());
  } else if (::SSL_CTX_load_verify_locations(context.get(), options.ca_cert.c_str(), nullptr) != 1) {
    return bad("caCert", options.ca_cert);
  }
  if (!options.cert.empty()) {
    if (::SSL_CTX_use_certificate_chain_file(context.get(), options.cert.c_str()) != 1)
      return bad("cert", options.cert);
    if (::SSL_CTX_use_PrivateKey_file(context.get(), options.key.c_str(), SSL_FILETYPE_PEM) != 1) {
      return bad("key", options.key);
    }
  }
  return context;
}

}  // namespace dragonfly::redis
