// SPDX-License-Identifier: Apache-2.0
#include "daemon/proxy/stream.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>
#include <poll.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cerrno>
#include <vector>

#include "base/status.h"
#include "base/text.h"
#include "runtime/timeout.h"

namespace dragonfly::daemon::proxy {

namespace asio = boost::asio;

namespace {

// Bytes of one sendfile(2), and bytes after which a connection that never has to wait lets others run.
constexpr uint64_t kSendStep = 4 << 20;
constexpr uint64_t kBytesPerTurn = 16 << 20;
// One step from a file into a TLS connection.
constexpr size_t kTlsStep = 256 << 10;
// How often a peer that has sent something ahead is looked at.
constexpr std::chrono::milliseconds kGoneCheck{250};

absl::Status Broken(const char* what) { return absl::UnavailableError(ErrnoStatus(errno, what).message()); }

bool PeerGone(int fd) {
  pollfd poll_fd{fd, POLLRDHUP, 0};
  return ::poll(&poll_fd, 1, 0) > 0 && (poll_fd.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

}  // namespace

void Stream::Arm() { connection_.SetDeadline(std::min(deadline_, Clock::now() + patience_)); }

asio::awaitable<absl::Status> Stream::WaitToRead() {
  Arm();
  co_return co_await connection_.WaitReadable();
}

asio::awaitable<absl::Status> Stream::WaitToWrite() {
  Arm();
  co_return co_await connection_.WaitWritable();
}

asio::awaitable<absl::Status> Stream::WaitReadable() { return WaitToRead(); }

asio::awaitable<absl::StatusOr<size_t>> Stream::ReadSome(std::span<std::byte> bytes) {
  for (;;) {
    const ssize_t n = ::recv(fd(), bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (n >= 0) co_return static_cast<size_t>(n);
    if (errno == EAGAIN) {
      DF_CO_RETURN_IF_ERROR(co_await WaitToRead());
    } else if (errno != EINTR) {
      co_return Broken("receive");
    }
  }
}

asio::awaitable<absl::Status> Stream::Write(std::span<const std::byte> bytes, bool more) {
  while (!bytes.empty()) {
    const ssize_t n = ::send(fd(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL | (more ? MSG_MORE : 0));
    if (n >= 0) {
      bytes = bytes.subspan(static_cast<size_t>(n));
    } else if (errno == EAGAIN) {
      DF_CO_RETURN_IF_ERROR(co_await WaitToWrite());
    } else if (errno != EINTR) {
      co_return Broken("send");
    }
  }
  co_return absl::OkStatus();
}

asio::awaitable<absl::Status> Stream::Write(std::string_view text, bool more) {
  return Write(std::as_bytes(std::span(text.data(), text.size())), more);
}

asio::awaitable<absl::Status> Stream::SendFile(int file, uint64_t offset, uint64_t length) {
  auto at = static_cast<off_t>(offset);
  while (length > 0) {
    if (turn_ >= kBytesPerTurn) {
      turn_ = 0;
      co_await asio::post(asio::use_awaitable);
    }
    const ssize_t n = ::sendfile(fd(), file, &at, std::min(length, kSendStep));
    if (n > 0) {
      length -= static_cast<uint64_t>(n);
      turn_ += static_cast<uint64_t>(n);
    } else if (n == 0) {
      co_return absl::DataLossError(StrCat("the file ends ", length, " bytes too early"));
    } else if (errno == EAGAIN) {
      turn_ = 0;
      DF_CO_RETURN_IF_ERROR(co_await WaitToWrite());
    } else if (errno != EINTR) {
      co_return Broken("sendfile");
    }
  }
  co_return absl::OkStatus();
}

asio::awaitable<void> Stream::WhenPeerGone() {
  // Without a deadline of its own: whoever writes meanwhile has one.
  while (!PeerGone(fd())) {
    if (connection_.QuietAndOpen()) {
      const absl::Status waited = co_await connection_.WaitReadable();
      if (absl::IsDeadlineExceeded(waited)) co_await runtime::SleepUntil(Clock::now() + kGoneCheck);
      if (absl::IsCancelled(waited)) co_return;
    } else {
      // A next request has come already, which would end every wait at once.
      co_await runtime::SleepUntil(Clock::now() + kGoneCheck);
    }
  }
}

void Stream::Abort() {
  const linger reset{1, 0};
  ::setsockopt(fd(), SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
}

UniqueFd Stream::Release() { return UniqueFd(::dup(fd())); }

TlsStream::TlsStream(asio::io_context& io, UniqueFd fd, SSL* ssl) : Stream(io, std::move(fd)), ssl_(ssl) {
  SSL_set_fd(ssl_, this->fd());
  SSL_set_mode(ssl_, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
}

// Of a stream that speaks TLS, the inner connection writes into the outer one, and both wait for the same socket.
TlsStream::TlsStream(asio::io_context& io, std::unique_ptr<Stream> through, SSL* ssl)
    : Stream(io, through->Release()), ssl_(ssl) {
  SSL_set_mode(ssl_, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
  BIO* const bio = through->tls() ? BIO_new(BIO_f_ssl()) : nullptr;
  if (bio == nullptr) {
    SSL_set_fd(ssl_, this->fd());
    return;
  }
  through_.reset(static_cast<TlsStream*>(through.release()));
  BIO_set_ssl(bio, through_->ssl_, BIO_NOCLOSE);
  SSL_set_bio(ssl_, bio, bio);
}

TlsStream::~TlsStream() { SSL_free(ssl_); }

bool TlsStream::Pending() const {
  return SSL_pending(ssl_) > 0 || (through_ != nullptr && SSL_has_pending(through_->ssl_) == 1);
}

absl::Status TlsStream::Failure(const char* what, int result) {
  const int error = SSL_get_error(ssl_, result);
  const long verified = SSL_get_verify_result(ssl_);
  const unsigned long code = ERR_peek_error();
  const char* const reason = code != 0 ? ERR_reason_error_string(code) : nullptr;
  ERR_clear_error();
  if (verified != X509_V_OK && error == SSL_ERROR_SSL) {
    return absl::UnauthenticatedError(
        StrCat(what, ": the certificate is not accepted: ", X509_verify_cert_error_string(verified)));
  }
  if (reason != nullptr) return absl::UnavailableError(StrCat(what, ": ", reason));
  if (error == SSL_ERROR_SYSCALL && errno != 0) return Broken(what);
  return absl::UnavailableError(StrCat(what, ": the peer closed the connection"));
}

asio::awaitable<absl::Status> TlsStream::WaitFor(const char* what, int result) {
  const int error = SSL_get_error(ssl_, result);
  if (error == SSL_ERROR_WANT_READ) co_return co_await WaitToRead();
  if (error == SSL_ERROR_WANT_WRITE) co_return co_await WaitToWrite();
  co_return Failure(what, result);
}

asio::awaitable<absl::Status> TlsStream::Handshake() {
  for (;;) {
    ERR_clear_error();
    const int result = SSL_do_handshake(ssl_);
    if (result == 1) co_return absl::OkStatus();
    DF_CO_RETURN_IF_ERROR(co_await WaitFor("TLS handshake", result));
  }
}

asio::awaitable<absl::Status> TlsStream::WaitReadable() {
  if (Pending()) co_return absl::OkStatus();
  co_return co_await WaitToRead();
}

bool TlsStream::Readable() {
  if (SSL_pending(ssl_) > 0) return true;
  if (!Pending() && connection_.QuietAndOpen()) return false;
  // What lies there may be no data: TLS 1.3 sends tickets at any time. This takes them away.
  char byte = 0;
  ERR_clear_error();
  const int result = SSL_peek(ssl_, &byte, 1);
  const bool nothing = result <= 0 && SSL_get_error(ssl_, result) == SSL_ERROR_WANT_READ;
  ERR_clear_error();
  return !nothing;
}

asio::awaitable<absl::StatusOr<size_t>> TlsStream::ReadSome(std::span<std::byte> bytes) {
  for (;;) {
    ERR_clear_error();
    size_t n = 0;
    const int result = SSL_read_ex(ssl_, bytes.data(), bytes.size(), &n);
    if (result == 1) co_return n;
    if (SSL_get_error(ssl_, result) == SSL_ERROR_ZERO_RETURN) co_return 0;
    DF_CO_RETURN_IF_ERROR(co_await WaitFor("TLS read", result));
  }
}

asio::awaitable<absl::Status> TlsStream::Write(std::span<const std::byte> bytes, bool /*more*/) {
  while (!bytes.empty()) {
    ERR_clear_error();
    size_t n = 0;
    const int result = SSL_write_ex(ssl_, bytes.data(), bytes.size(), &n);
    if (result == 1) {
      bytes = bytes.subspan(n);
    } else {
      DF_CO_RETURN_IF_ERROR(co_await WaitFor("TLS write", result));
    }
  }
  co_return absl::OkStatus();
}

asio::awaitable<absl::Status> TlsStream::SendFile(int file, uint64_t offset, uint64_t length) {
  std::vector<std::byte> buffer(static_cast<size_t>(std::min<uint64_t>(length, kTlsStep)));
  while (length > 0) {
    const ssize_t n = ::pread(file, buffer.data(), static_cast<size_t>(std::min<uint64_t>(length, buffer.size())),
                              static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) co_return ErrnoStatus(errno, "read the content");
    if (n == 0) co_return absl::DataLossError(StrCat("the file ends ", length, " bytes too early"));
    const std::span<const std::byte> read(buffer.data(), static_cast<size_t>(n));
    DF_CO_RETURN_IF_ERROR(co_await Write(read));
    offset += read.size();
    length -= read.size();
    co_await asio::post(asio::use_awaitable);
  }
  co_return absl::OkStatus();
}

asio::awaitable<void> TlsStream::CloseGently() {
  SSL_shutdown(ssl_);
  ERR_clear_error();
  co_await Stream::CloseGently();
}

std::string TlsStream::protocol() const {
  const unsigned char* name = nullptr;
  unsigned length = 0;
  SSL_get0_alpn_selected(ssl_, &name, &length);
  return std::string(reinterpret_cast<const char*>(name), length);
}

}  // namespace dragonfly::daemon::proxy
