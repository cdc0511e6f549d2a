// SPDX-License-Identifier: Apache-2.0
// One end of a connection that carries HTTP: plain TCP, or TLS over it.
#pragma once

#include <openssl/ssl.h>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/unique_fd.h"
#include "runtime/clock.h"
#include "vortex/connection.h"

namespace dragonfly::daemon::proxy {

// Thread rule: the thread of the io_context. One reader and one writer at a time; WhenPeerGone() may run beside the
// writer. Each wait for the peer ends with DEADLINE_EXCEEDED after the patience, or at the deadline if that is earlier.
class Stream {
 public:
  // Takes a connected, or connecting, non-blocking socket.
  Stream(boost::asio::io_context& io, UniqueFd fd) : connection_(io, std::move(fd)) {}
  virtual ~Stream() = default;
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  void SetPatience(Clock::duration patience) { patience_ = patience; }
  void SetDeadline(TimePoint deadline) { deadline_ = deadline; }

  // What waits now, and what will, has the whole patience again.
  void RenewPatience() { Arm(); }

  // Returns when there is something to read, the end included. No memory is held meanwhile.
  virtual boost::asio::awaitable<absl::Status> WaitReadable();
  // Reads at least one byte; 0 at the orderly end. Errors: UNAVAILABLE when the connection broke.
  virtual boost::asio::awaitable<absl::StatusOr<size_t>> ReadSome(std::span<std::byte> bytes);
  // Sends all. `more`: what follows at once belongs into the same segment.
  virtual boost::asio::awaitable<absl::Status> Write(std::span<const std::byte> bytes, bool more = false);
  // Sends a part of a file: by sendfile(2) on a plain connection.
  virtual boost::asio::awaitable<absl::Status> SendFile(int fd, uint64_t offset, uint64_t length);

  boost::asio::awaitable<absl::Status> Write(std::string_view text, bool more = false);

  // Returns when the peer has ended or broken the connection.
  boost::asio::awaitable<void> WhenPeerGone();
  // True when the peer has neither ended the connection nor sent anything.
  virtual bool QuietAndOpen() { return connection_.QuietAndOpen(); }
  // True when bytes, or the end, could be read now.
  virtual bool Readable() { return !connection_.QuietAndOpen(); }
  // Ends it so that what was sent arrives although not all of the peer's bytes were read.
  virtual boost::asio::awaitable<void> CloseGently() { co_await connection_.CloseGently(); }
  // Ends it so that the peer cannot take what it got for the whole.
  void Abort();
  // Ends the wait of this moment, if there is one.
  void Interrupt() { connection_.Interrupt(); }

  int fd() { return connection_.fd(); }
  virtual bool tls() const { return false; }
  // Gives the socket away; the stream must not be used any more. Only of a plain stream.
  UniqueFd Release();

 protected:
  boost::asio::awaitable<absl::Status> WaitToRead();
  boost::asio::awaitable<absl::Status> WaitToWrite();

  vortex::Connection connection_;

 private:
  void Arm();

  Clock::duration patience_ = std::chrono::seconds(60);
  TimePoint deadline_ = kNoDeadline;
  uint64_t turn_ = 0;  // bytes since others had their turn
};

// A TLS connection; Handshake() first.
class TlsStream final : public Stream {
 public:
  // `ssl` is fresh and in accept or connect state. The stream takes it.
  TlsStream(boost::asio::io_context& io, UniqueFd fd, SSL* ssl);
  // TLS that goes through another connection: the tunnel of a proxy.
  TlsStream(boost::asio::io_context& io, std::unique_ptr<Stream> through, SSL* ssl);
  ~TlsStream() override;

  // Errors: UNAUTHENTICATED naming why the peer's certificate is not accepted; UNAVAILABLE.
  boost::asio::awaitable<absl::Status> Handshake();

  boost::asio::awaitable<absl::Status> WaitReadable() override;
  boost::asio::awaitable<absl::StatusOr<size_t>> ReadSome(std::span<std::byte> bytes) override;
  boost::asio::awaitable<absl::Status> Write(std::span<const std::byte> bytes, bool more = false) override;
  boost::asio::awaitable<absl::Status> SendFile(int fd, uint64_t offset, uint64_t length) override;
  bool QuietAndOpen() override { return !Readable(); }
  bool Readable() override;
  boost::asio::awaitable<void> CloseGently() override;
  bool tls() const override { return true; }
  // The protocol agreed on by ALPN; empty without one.
  std::string protocol() const;

 private:
  absl::Status Failure(const char* what, int result);
  // Waits for what the last call of OpenSSL wants. Errors: the failure.
  boost::asio::awaitable<absl::Status> WaitFor(const char* what, int result);

  // Something was read from the socket and not yet taken.
  bool Pending() const;

  std::unique_ptr<TlsStream> through_;  // null: the socket
  SSL* const ssl_;
};

}  // namespace dragonfly::daemon::proxy
