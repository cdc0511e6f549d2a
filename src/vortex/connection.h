// SPDX-License-Identifier: Apache-2.0
// One end of a Vortex connection: a non-blocking socket and the one timer behind all its deadlines.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/unique_fd.h"
#include "runtime/clock.h"

namespace dragonfly::vortex {

// Sets what both ends of every connection have: TCP_NODELAY, and keep-alive probes after 5 s, every 3 s, 3 times. An
// option that cannot be set is no error: the connection works without it.
void SetConnectionOptions(int fd);

// Thread rule: the thread of the io_context. One wait at a time.
class Connection {
 public:
  // Takes a connected, or connecting, non-blocking stream socket. One that is none, as after a failed dup(2), or that
  // the kernel cannot watch makes a connection that is broken: all that is done with it fails.
  Connection(boost::asio::io_context& io, UniqueFd fd);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  int fd() { return socket_.native_handle(); }
  // Bytes received in all.
  uint64_t received() const { return received_; }

  // Waits end with DEADLINE_EXCEEDED when `deadline` passes. Cheap enough for every step of a transfer: the timer is
  // not touched when the deadline moves to later, it looks again when it fires.
  void SetDeadline(TimePoint deadline);

  // Suspend until the socket can be read or written. Errors: DEADLINE_EXCEEDED; CANCELLED by Interrupt(), or when the
  // coroutine is cancelled (its next await throws).
  boost::asio::awaitable<absl::Status> WaitReadable();
  boost::asio::awaitable<absl::Status> WaitWritable();
  // Ends the wait of this moment, if there is one.
  void Interrupt();

  // Reads what is there, at most bytes.size() of it, without waiting. Returns 0 when nothing is there yet. Errors:
  // UNAVAILABLE when the peer has closed or reset the connection.
  absl::StatusOr<size_t> ReceiveSome(std::span<std::byte> bytes);
  // Fills `bytes`. Errors: those of ReceiveSome() and WaitReadable().
  boost::asio::awaitable<absl::Status> Receive(std::span<std::byte> bytes);
  // Sends all of `bytes`; `flags` as for send(2). Errors: UNAVAILABLE when the peer has gone; those of WaitWritable().
  boost::asio::awaitable<absl::Status> Send(std::span<const std::byte> bytes, int flags = 0);

  // True when the peer has neither closed the connection nor sent anything, so that it can carry another request.
  bool QuietAndOpen();

  // Ends the connection so that what was sent arrives although the peer's bytes have not all been read: closing a
  // socket with unread bytes resets it, which may destroy the answer on its way. Reads and drops until the peer closes,
  // for a second and a MiB at most.
  boost::asio::awaitable<void> CloseGently();

 private:
  // Shared with the timer's handler, which may run after the connection has gone.
  struct Watch;

  boost::asio::awaitable<absl::Status> Wait(boost::asio::posix::stream_descriptor::wait_type type);

  boost::asio::posix::stream_descriptor socket_;
  std::shared_ptr<Watch> watch_;
  uint64_t received_ = 0;
};

}  // namespace dragonfly::vortex
