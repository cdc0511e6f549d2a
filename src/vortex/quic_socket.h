// SPDX-License-Identifier: Apache-2.0
// A UDP socket for QUIC: many datagrams a system call (UDP_SEGMENT, UDP_GRO and recvmmsg), since the calls are what
// datagrams cost.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/unique_fd.h"
#include "vortex/socket_address.h"

namespace dragonfly::vortex {

// Bytes of the largest run of datagrams that is sent at once.
inline constexpr size_t kDatagramRunMax = 64000;

// Thread rule: the thread of the io_context.
class QuicSocket {
 public:
  // Datagrams that came together from one peer: all of `segment` bytes, but for the last, which may be shorter.
  struct Received {
    const SocketAddress& remote;
    const SocketAddress& local;  // to which they were sent
    std::span<const std::byte> bytes;
    size_t segment;
  };
  enum class SendResult { kSent, kFull, kRefused };

  // `count` sockets bound to one address; the kernel gives each datagram to the socket that the first byte of its
  // connection id names (modulo `count`), or, where it cannot, to one that the addresses choose. Errors: of bind.
  static absl::StatusOr<std::vector<UniqueFd>> Listen(const SocketAddress& address, size_t count);
  // A socket that talks to `remote` only. Errors: of socket and connect.
  static absl::StatusOr<UniqueFd> Connect(const SocketAddress& remote);

  // Takes one of the above. `connected` for the latter.
  QuicSocket(boost::asio::io_context& io, UniqueFd fd, bool connected);
  QuicSocket(const QuicSocket&) = delete;
  QuicSocket& operator=(const QuicSocket&) = delete;

  // The address that the socket is bound to.
  const SocketAddress& bound() const { return bound_; }

  // `ready` is called, once, when datagrams may be there or may be sent; not after Close().
  void WhenReadable(std::function<void()> ready);
  void WhenWritable(std::function<void()> ready);
  // Gives what is there to `take`, up to a bound; false when nothing was left. The bytes are good during the call.
  // Errors: UNAVAILABLE when nobody listens at the remote end of a connected socket.
  absl::StatusOr<bool> Receive(absl::FunctionRef<void(const Received&)> take);

  // Sends `bytes` as datagrams of `segment` bytes; the last may be shorter. At most kDatagramRunMax bytes.
  // kFull: nothing was sent, the socket takes nothing now. kRefused: lost, as on the network (the path does not take
  // the size, has gone, ...).
  SendResult Send(const SocketAddress& remote, const SocketAddress& local, std::span<const std::byte> bytes,
                  size_t segment);
  void Close();

 private:
  SendResult SendOnce(const SocketAddress& remote, const SocketAddress& local, std::span<const std::byte> bytes,
                      size_t segment);

  boost::asio::posix::stream_descriptor socket_;
  SocketAddress bound_;
  const bool connected_;
  bool segments_ = true;  // the kernel cuts runs of datagrams
};

}  // namespace dragonfly::vortex
