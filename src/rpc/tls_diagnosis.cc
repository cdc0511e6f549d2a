// SPDX-License-Identifier: Apache-2.0
#include "rpc/tls_diagnosis.h"

#include <netdb.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <memory>
#include <string_view>

#include "base/status.h"
#include "base/text.h"
#include "base/unique_fd.h"
#include "rpc/tls_files.h"

namespace dragonfly::rpc {
namespace {

// How long a server may take to refuse our certificate after the handshake has ended on our side (TLS 1.3).
constexpr auto kRefusalWait = std::chrono::milliseconds(300);

struct Free {
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
  void operator()(SSL* ssl) const { SSL_free(ssl); }
  void operator()(addrinfo* list) const { freeaddrinfo(list); }
};

absl::Status Trouble(std::string_view reason) { return absl::UnavailableError(ToAbsl(reason)); }

// False when the deadline passes first.
bool WaitFor(int fd, short events, TimePoint deadline) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
  pollfd entry{.fd = fd, .events = events, .revents = 0};
  return ::poll(&entry, 1, static_cast<int>(std::clamp<int64_t>(left.count(), 0, 60'000))) > 0;
}

struct HostAndPort {
  std::string host;
  std::string port;
};

HostAndPort Split(const std::string& address) {
  const size_t colon = address.rfind(':');
  HostAndPort parts;
  if (colon == std::string::npos) return parts;
  parts.host = address.substr(0, colon);
  parts.port = address.substr(colon + 1);
  if (parts.host.starts_with('[') && parts.host.ends_with(']'))
    parts.host = parts.host.substr(1, parts.host.size() - 2);
  return parts;
}

absl::StatusOr<UniqueFd> Connect(const HostAndPort& parts, TimePoint deadline) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* head = nullptr;
  const int error = ::getaddrinfo(parts.host.c_str(), parts.port.c_str(), &hints, &head);
  if (error != 0) return Trouble(gai_strerror(error));
  const std::unique_ptr<addrinfo, Free> owner(head);
  UniqueFd fd(::socket(head->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (fd.get() < 0) return Trouble(std::strerror(errno));
  if (::connect(fd.get(), head->ai_addr, head->ai_addrlen) != 0 && errno != EINPROGRESS) {
    return Trouble(std::strerror(errno));
  }
  if (!WaitFor(fd.get(), POLLOUT, deadline)) return Trouble("no connection in time");
  int outcome = 0;
  socklen_t length = sizeof(outcome);
  ::getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &outcome, &length);
  if (outcome != 0) return Trouble(std::strerror(outcome));
  return fd;
}

// Trusts what is in caCert, and shows our certificate. Without files it shows nothing and trusts nobody.
absl::StatusOr<std::unique_ptr<SSL_CTX, Free>> MakeContext(const TlsFiles& files) {
  std::unique_ptr<SSL_CTX, Free> context(SSL_CTX_new(TLS_client_method()));
  if (context == nullptr) return absl::InternalError("no memory for TLS");
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  if (files.enabled()) {
    SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
    SSL_CTX_load_verify_locations(context.get(), files.ca_cert.c_str(), nullptr);
    SSL_CTX_use_certificate_chain_file(context.get(), files.cert.c_str());
    SSL_CTX_use_PrivateKey_file(context.get(), files.key.c_str(), SSL_FILETYPE_PEM);
  }
  static constexpr unsigned char kHttp2[] = {2, 'h', '2'};
  SSL_CTX_set_alpn_protos(context.get(), kHttp2, sizeof(kHttp2));
  return context;
}

// Whether the operation is to be tried again, when it can be.
bool WaitAgain(SSL* ssl, int result, TimePoint deadline) {
  switch (SSL_get_error(ssl, result)) {
    case SSL_ERROR_WANT_READ:
      return WaitFor(SSL_get_fd(ssl), POLLIN, deadline);
    case SSL_ERROR_WANT_WRITE:
      return WaitFor(SSL_get_fd(ssl), POLLOUT, deadline);
    default:
      return false;
  }
}

std::string FileName(const TlsFiles& files, std::string_view key, const std::string& path) {
  return StrCat(files.section, files.section.empty() ? "" : ".", key, " ", path);
}

// The oldest error of the library's queue; its text when it is an alert of the other side.
std::string AlertText(unsigned long error) {
  const char* const text = ERR_reason_error_string(error);
  const std::string reason = text == nullptr ? "" : text;
  return reason.find("alert") == std::string::npos ? "" : reason;
}

// Servers of gRPC close the connection without an alert.
absl::Status Refusal(const TlsFiles& files, const std::string& alert) {
  return Trouble(StrCat("the server refuses ", FileName(files, "cert", files.cert), ": ",
                        alert.empty() ? "it has closed the connection when it had seen it" : alert));
}

absl::Status ExplainFailure(const TlsFiles& files, SSL* ssl, unsigned long error) {
  const long verdict = SSL_get_verify_result(ssl);
  if (files.enabled() && verdict != X509_V_OK) {
    return Trouble(StrCat("the server's certificate fails the check against ", FileName(files, "caCert", files.ca_cert),
                          ": ", X509_verify_cert_error_string(verdict)));
  }
  if (const std::string alert = AlertText(error); !alert.empty()) {
    if (!files.enabled()) return Trouble("the server wants TLS, and no certificate is configured here");
    return Refusal(files, alert);
  }
  if (!files.enabled()) return absl::OkStatus();
  if (SSL_get0_peer_certificate(ssl) != nullptr) return Refusal(files, "");
  return Trouble("the server does not speak TLS");
}

}  // namespace

absl::Status DiagnoseTls(const std::string& address, const TlsFiles& files, Clock::duration timeout) {
  DF_RETURN_IF_ERROR(CheckTlsFiles(files));
  const TimePoint deadline = Clock::now() + timeout;
  const HostAndPort parts = Split(address);
  DF_ASSIGN_OR_RETURN(const UniqueFd fd, Connect(parts, deadline));
  DF_ASSIGN_OR_RETURN(const auto context, MakeContext(files));
  const std::unique_ptr<SSL, Free> ssl(SSL_new(context.get()));
  if (ssl == nullptr || SSL_set_fd(ssl.get(), fd.get()) != 1) return absl::InternalError("no memory for TLS");
  if (files.enabled() && X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl.get()), parts.host.c_str()) != 1) {
    SSL_set1_host(ssl.get(), parts.host.c_str());
    SSL_set_tlsext_host_name(ssl.get(), parts.host.c_str());
  }

  ERR_clear_error();
  int result;
  while ((result = SSL_connect(ssl.get())) != 1 && WaitAgain(ssl.get(), result, deadline)) {
  }
  if (result != 1) {
    const unsigned long error = ERR_peek_error();
    ERR_clear_error();
    if (error == 0 && Clock::now() >= deadline) return Trouble("the server does not answer in time");
    return ExplainFailure(files, ssl.get(), error);
  }
  if (!files.enabled()) return Trouble("the server wants TLS, and no certificate is configured here");

  // With TLS 1.3 the server judges our certificate after that: an alert, or the settings frame of HTTP/2.
  const TimePoint judged_by = std::min(deadline, Clock::now() + kRefusalWait);
  char byte;
  while ((result = SSL_read(ssl.get(), &byte, 1)) <= 0 && WaitAgain(ssl.get(), result, judged_by)) {
  }
  const bool silent = result <= 0 && SSL_get_error(ssl.get(), result) == SSL_ERROR_WANT_READ;
  const std::string alert = AlertText(ERR_peek_error());
  ERR_clear_error();
  if (result > 0 || silent) return absl::OkStatus();
  return Refusal(files, alert);
}

}  // namespace dragonfly::rpc
