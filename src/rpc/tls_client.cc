// SPDX-License-Identifier: Apache-2.0
#include "rpc/tls_client.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <climits>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <utility>

#include "base/status.h"
#include "base/text.h"
#include "rpc/client_socket.h"

namespace dragonfly::rpc {
namespace {

constexpr std::chrono::seconds kHandshakeTimeout{10};
// ALPN of HTTP/2 (RFC 7540, section 3.3), with its length in front.
constexpr unsigned char kAlpn[] = {2, 'h', '2'};

struct Free {
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
  void operator()(SSL* ssl) const { SSL_free(ssl); }
};

// Sends and receives for the library: its own BIO of sockets would raise SIGPIPE when the server has gone.
int SocketOf(BIO* bio) { return static_cast<int>(reinterpret_cast<intptr_t>(BIO_get_data(bio))); }

int Done(BIO* bio, ssize_t result, void (*retry)(BIO*)) {
  BIO_clear_retry_flags(bio);
  if (result < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) retry(bio);
  return static_cast<int>(result);
}

BIO* MakeBio(int fd) {
  static BIO_METHOD* const method = [] {
    BIO_METHOD* const made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "socket without SIGPIPE");
    BIO_meth_set_write(made, [](BIO* bio, const char* data, int size) {
      const ssize_t sent = ::send(SocketOf(bio), data, static_cast<size_t>(size), MSG_NOSIGNAL);
      return Done(bio, sent, [](BIO* b) { BIO_set_retry_write(b); });
    });
    BIO_meth_set_read(made, [](BIO* bio, char* data, int size) {
      const ssize_t got = ::recv(SocketOf(bio), data, static_cast<size_t>(size), 0);
      return Done(bio, got, [](BIO* b) { BIO_set_retry_read(b); });
    });
    BIO_meth_set_ctrl(made, [](BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1L : 0L; });
    return made;
  }();
  BIO* const bio = BIO_new(method);
  if (bio == nullptr) return nullptr;
  BIO_set_data(bio, reinterpret_cast<void*>(static_cast<intptr_t>(fd)));
  BIO_set_init(bio, 1);
  return bio;
}

// The library's last error in words.
std::string LastError() {
  const unsigned long code = ERR_get_error();
  ERR_clear_error();
  const char* const reason = code != 0 ? ERR_reason_error_string(code) : nullptr;
  return reason != nullptr ? reason : "an error of TLS";
}

absl::Status WrongFile(std::string_view what, const std::string& path) {
  return absl::InvalidArgumentError(StrCat(what, " ", path, ": ", LastError()));
}

using Context = std::unique_ptr<SSL_CTX, Free>;

absl::StatusOr<Context> MakeContext(const TlsClientFiles& files) {
  ERR_clear_error();
  Context context(SSL_CTX_new(TLS_client_method()));
  if (context == nullptr) return absl::ResourceExhaustedError("out of memory");
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
  SSL_CTX_set_mode(context.get(), SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  // No password is asked for on the terminal: a key that needs one is refused.
  SSL_CTX_set_default_passwd_cb(context.get(), [](char*, int, int, void*) { return -1; });
  if (files.ca_cert.empty()) {
    SSL_CTX_set_default_verify_paths(context.get());
  } else if (SSL_CTX_load_verify_file(context.get(), files.ca_cert.c_str()) != 1) {
    return WrongFile("CA certificate", files.ca_cert);
  }
  if (files.cert.empty() != files.key.empty()) {
    return absl::InvalidArgumentError("a client certificate needs its key, and a key its certificate");
  }
  if (files.cert.empty()) return context;
  if (SSL_CTX_use_certificate_chain_file(context.get(), files.cert.c_str()) != 1) {
    return WrongFile("client certificate", files.cert);
  }
  if (SSL_CTX_use_PrivateKey_file(context.get(), files.key.c_str(), SSL_FILETYPE_PEM) != 1) {
    return WrongFile("key of the client certificate", files.key);
  }
  return context;
}

class TlsSocket final : public ClientSocket {
 public:
  TlsSocket(UniqueFd fd, Context context, std::unique_ptr<SSL, Free> ssl)
      : fd_(std::move(fd)), context_(std::move(context)), ssl_(std::move(ssl)) {}

  int fd() const override { return fd_.get(); }

  absl::StatusOr<size_t> Send(std::string_view bytes) override {
    ERR_clear_error();
    const int sent = SSL_write(ssl_.get(), bytes.data(), static_cast<int>(std::min<size_t>(bytes.size(), INT_MAX)));
    if (sent > 0) return static_cast<size_t>(sent);
    if (MustWait(sent)) return size_t{0};
    return Lost(sent);
  }

  absl::StatusOr<std::optional<size_t>> Receive(std::span<uint8_t> bytes) override {
    ERR_clear_error();
    const int got = SSL_read(ssl_.get(), bytes.data(), static_cast<int>(std::min<size_t>(bytes.size(), INT_MAX)));
    if (got > 0) return std::optional<size_t>(static_cast<size_t>(got));
    if (MustWait(got)) return std::optional<size_t>();
    if (SSL_get_error(ssl_.get(), got) == SSL_ERROR_ZERO_RETURN) return std::optional<size_t>(0);
    return Lost(got);
  }

  absl::Status Handshake(TimePoint deadline) {
    for (;;) {
      ERR_clear_error();
      const int done = SSL_connect(ssl_.get());
      if (done == 1) return absl::OkStatus();
      const int error = SSL_get_error(ssl_.get(), done);
      if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) {
        const long verified = SSL_get_verify_result(ssl_.get());
        if (verified == X509_V_OK) return Lost(done);
        ERR_clear_error();
        return absl::UnavailableError(StrCat("its certificate: ", X509_verify_cert_error_string(verified)));
      }
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
      pollfd waited{fd(), static_cast<short>(error == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT), 0};
      if (left <= 0 || ::poll(&waited, 1, static_cast<int>(left)) == 0) {
        return absl::UnavailableError("no answer to the TLS handshake in time");
      }
    }
  }

 private:
  bool MustWait(int result) const {
    const int error = SSL_get_error(ssl_.get(), result);
    return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE;
  }
  absl::Status Lost(int result) const {
    const int os_error = errno;
    const int error = SSL_get_error(ssl_.get(), result);
    if (error == SSL_ERROR_SYSCALL && ERR_peek_error() == 0) {
      return absl::UnavailableError(os_error == 0 ? "closed by the server" : std::strerror(os_error));
    }
    return absl::UnavailableError(ToAbsl(LastError()));
  }

  UniqueFd fd_;
  Context context_;
  std::unique_ptr<SSL, Free> ssl_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<UnixClient>> ConnectTls(const std::string& host, int port, const TlsClientFiles& files) {
  DF_ASSIGN_OR_RETURN(Context context, MakeContext(files));
  std::unique_ptr<SSL, Free> ssl(SSL_new(context.get()));
  if (ssl == nullptr) return absl::ResourceExhaustedError("out of memory");
  DF_ASSIGN_OR_RETURN(UniqueFd fd, ConnectTcpSocket(host, port));
  // An address is looked for among the certificate's addresses, a name among its names.
  if (X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl.get()), host.c_str()) != 1) {
    if (SSL_set1_host(ssl.get(), host.c_str()) != 1) return absl::ResourceExhaustedError("out of memory");
    SSL_set_tlsext_host_name(ssl.get(), host.c_str());
  }
  SSL_set_alpn_protos(ssl.get(), kAlpn, sizeof(kAlpn));
  BIO* const bio = MakeBio(fd.get());
  if (bio == nullptr) return absl::ResourceExhaustedError("out of memory");
  SSL_set_bio(ssl.get(), bio, bio);
  auto stream = std::make_unique<TlsSocket>(std::move(fd), std::move(context), std::move(ssl));
  if (const absl::Status secured = stream->Handshake(Clock::now() + kHandshakeTimeout); !secured.ok()) {
    return Annotate(secured, StrCat("connect to ", NameOf(host, port), " by TLS"));
  }
  return UnixClient::Over(std::move(stream), NameOf(host, port), "https");
}

}  // namespace dragonfly::rpc
