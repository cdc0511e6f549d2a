// SPDX-License-Identifier: Apache-2.0
#include "vortex/quic_socket.h"

#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/status.h"
#include "base/text.h"
#include "telemetry/log.h"

namespace dragonfly::vortex {

namespace asio = boost::asio;

namespace {

constexpr int kSocketBuffer = 16 << 20;  // asked for; what the system allows is taken
constexpr size_t kMessages = 8;          // of one recvmmsg(2)
constexpr size_t kMessageSize = 65536;   // the longest run that the kernel joins
constexpr int kCallsPerTurn = 4;
constexpr size_t kSegmentsMax = 64;  // of one run: UDP_MAX_SEGMENTS of the kernel

struct alignas(cmsghdr) Control {
  std::array<std::byte, 128> bytes;
};

// Room for one recvmmsg(2), one for each thread: what is received is used up before the next call.
struct ReceiveRoom {
  std::array<mmsghdr, kMessages> messages;
  std::array<iovec, kMessages> parts;
  std::array<SocketAddress, kMessages> remotes;
  std::array<Control, kMessages> controls;
  std::unique_ptr<std::byte[]> bytes = std::make_unique_for_overwrite<std::byte[]>(kMessages * kMessageSize);
};

ReceiveRoom& Room() {
  thread_local ReceiveRoom room;
  return room;
}

void SetBuffer(int fd, int name, int forced_name) {
  const int size = kSocketBuffer;
  // Beyond the system's limit only with the right to it.
  if (::setsockopt(fd, SOL_SOCKET, forced_name, &size, sizeof(size)) != 0) {
    ::setsockopt(fd, SOL_SOCKET, name, &size, sizeof(size));
  }
}

absl::StatusOr<UniqueFd> MakeSocket(int family) {
  UniqueFd fd(::socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return ErrnoStatus(errno, "socket");
  const auto set = [&fd](int level, int name, int value) {
    return ::setsockopt(fd.get(), level, name, &value, sizeof(value));
  };
  SetBuffer(fd.get(), SO_RCVBUF, SO_RCVBUFFORCE);
  SetBuffer(fd.get(), SO_SNDBUF, SO_SNDBUFFORCE);
  // Without them datagrams come one by one, and from the address that the routing table likes best.
  set(IPPROTO_UDP, UDP_GRO, 1);
  if (family == AF_INET) {
    set(IPPROTO_IP, IP_PKTINFO, 1);
    set(IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE);
  } else {
    set(IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
    set(IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_PROBE);
    // An IPv4 datagram on an IPv6 socket obeys the option of IPv4.
    set(IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE);
  }
  return fd;
}

// Gives each datagram to the socket that its connection id names: in a long header the id begins at byte 6, in a short
// one at byte 1 (RFC 8999). So a connection stays on its thread even when its peer's address changes.
bool SteerByConnectionId(int fd, size_t count) {
  const auto n = static_cast<uint32_t>(count);
  std::array<sock_filter, 7> program = {{
      BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 0),
      BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 0x80, 0, 2),
      BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 6),
      BPF_STMT(BPF_JMP | BPF_JA, 1),
      BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 1),
      BPF_STMT(BPF_ALU | BPF_MOD | BPF_K, n),
      BPF_STMT(BPF_RET | BPF_A, 0),
  }};
  const sock_fprog filter{static_cast<unsigned short>(program.size()), program.data()};
  return ::setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &filter, sizeof(filter)) == 0;
}

// What the control messages of a received message say.
struct Ancillary {
  size_t segment = 0;
  SocketAddress local;
};

Ancillary ReadAncillary(msghdr& message, const SocketAddress& bound) {
  Ancillary out;
  out.local = bound;
  for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
    if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO) {
      int size = 0;
      std::memcpy(&size, CMSG_DATA(c), sizeof(size));
      out.segment = static_cast<size_t>(std::max(size, 0));
    } else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO && bound.family() == AF_INET) {
      in_pktinfo info;
      std::memcpy(&info, CMSG_DATA(c), sizeof(info));
      reinterpret_cast<sockaddr_in&>(out.local.storage).sin_addr = info.ipi_addr;
    } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO && bound.family() == AF_INET6) {
      in6_pktinfo info;
      std::memcpy(&info, CMSG_DATA(c), sizeof(info));
      reinterpret_cast<sockaddr_in6&>(out.local.storage).sin6_addr = info.ipi6_addr;
    }
  }
  return out;
}

// Writes control messages one behind the other.
class ControlWriter {
 public:
  template <typename T>
  void Add(int level, int type, const T& value) {
    auto* c = reinterpret_cast<cmsghdr*>(control_.bytes.data() + size_);
    c->cmsg_level = level;
    c->cmsg_type = type;
    c->cmsg_len = CMSG_LEN(sizeof(value));
    std::memcpy(CMSG_DATA(c), &value, sizeof(value));
    size_ += CMSG_SPACE(sizeof(value));
  }
  void Attach(msghdr& message) {
    if (size_ == 0) return;
    message.msg_control = &control_;
    message.msg_controllen = size_;
  }

 private:
  Control control_{};
  size_t size_ = 0;
};

void AddSource(const SocketAddress& local, ControlWriter& control) {
  if (local.family() == AF_INET) {
    in_pktinfo info{};
    info.ipi_spec_dst = reinterpret_cast<const sockaddr_in&>(local.storage).sin_addr;
    if (info.ipi_spec_dst.s_addr != INADDR_ANY) control.Add(IPPROTO_IP, IP_PKTINFO, info);
  } else {
    in6_pktinfo info{};
    info.ipi6_addr = reinterpret_cast<const sockaddr_in6&>(local.storage).sin6_addr;
    if (!IN6_IS_ADDR_UNSPECIFIED(&info.ipi6_addr)) control.Add(IPPROTO_IPV6, IPV6_PKTINFO, info);
  }
}

}  // namespace

absl::StatusOr<std::vector<UniqueFd>> QuicSocket::Listen(const SocketAddress& address, size_t count) {
  std::vector<UniqueFd> sockets;
  SocketAddress at = address;
  for (size_t i = 0; i < count; ++i) {
    DF_ASSIGN_OR_RETURN(UniqueFd fd, MakeSocket(at.family()));
    const int on = 1;
    // The first without: a port that somebody else has is then an error, and not shared with him.
    if (i > 0) ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
    if (::bind(fd.get(), at.get(), at.size) != 0) return ErrnoStatus(errno, "bind");
    if (i == 0) {
      DF_ASSIGN_OR_RETURN(at, SocketAddress::OfSocket(fd.get()));
      ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
    }
    sockets.push_back(std::move(fd));
  }
  if (count > 1 && !SteerByConnectionId(sockets.front().get(), count)) {
    DF_LOG(Warn, "QUIC datagrams are given to threads by address only: {}",
           MessageOf(ErrnoStatus(errno, "attach a filter")));
  }
  return sockets;
}

absl::StatusOr<UniqueFd> QuicSocket::Connect(const SocketAddress& remote) {
  DF_ASSIGN_OR_RETURN(UniqueFd fd, MakeSocket(remote.family()));
  if (::connect(fd.get(), remote.get(), remote.size) != 0) return ErrnoStatus(errno, "connect");
  return fd;
}

QuicSocket::QuicSocket(asio::io_context& io, UniqueFd fd, bool connected) : socket_(io), connected_(connected) {
  if (absl::StatusOr<SocketAddress> bound = SocketAddress::OfSocket(fd.get()); bound.ok()) {
    bound_ = *bound;
  }
  boost::system::error_code error;
  socket_.assign(fd.get(), error);
  if (!error) (void)fd.Release();
}

void QuicSocket::WhenReadable(std::function<void()> ready) {
  socket_.async_wait(asio::posix::stream_descriptor::wait_read,
                     [ready = std::move(ready)](const boost::system::error_code& error) {
                       if (!error) ready();
                     });
}

void QuicSocket::WhenWritable(std::function<void()> ready) {
  socket_.async_wait(asio::posix::stream_descriptor::wait_write,
                     [ready = std::move(ready)](const boost::system::error_code& error) {
                       if (!error) ready();
                     });
}

absl::StatusOr<bool> QuicSocket::Receive(absl::FunctionRef<void(const Received&)> take) {
  ReceiveRoom& room = Room();
  for (int call = 0; call < kCallsPerTurn; ++call) {
    for (size_t i = 0; i < kMessages; ++i) {
      room.parts[i] = {room.bytes.get() + i * kMessageSize, kMessageSize};
      msghdr& message = room.messages[i].msg_hdr;
      message = {};
      message.msg_name = &room.remotes[i].storage;
      message.msg_namelen = sizeof(room.remotes[i].storage);
      message.msg_iov = &room.parts[i];
      message.msg_iovlen = 1;
      message.msg_control = &room.controls[i];
      message.msg_controllen = sizeof(room.controls[i]);
    }
    if (!socket_.is_open()) return false;
    const int count = ::recvmmsg(socket_.native_handle(), room.messages.data(), kMessages, MSG_DONTWAIT, nullptr);
    if (count < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN) return false;
      // Only a connected socket is told that nobody listens there.
      if (connected_ && errno == ECONNREFUSED) return ErrnoStatus(errno, "the parent");
      continue;
    }
    for (size_t i = 0; i < static_cast<size_t>(count); ++i) {
      room.remotes[i].size = room.messages[i].msg_hdr.msg_namelen;
      const Ancillary ancillary = ReadAncillary(room.messages[i].msg_hdr, bound_);
      const std::span<const std::byte> bytes(room.bytes.get() + i * kMessageSize, room.messages[i].msg_len);
      const size_t segment = ancillary.segment == 0 ? bytes.size() : ancillary.segment;
      if (!bytes.empty()) take(Received{room.remotes[i], ancillary.local, bytes, segment});
    }
    if (static_cast<size_t>(count) < kMessages) return false;
  }
  return true;
}

QuicSocket::SendResult QuicSocket::Send(const SocketAddress& remote, const SocketAddress& local,
                                        std::span<const std::byte> bytes, size_t segment) {
  if (!socket_.is_open()) return SendResult::kRefused;
  const size_t run = segments_ ? kSegmentsMax * segment : segment;
  SendResult result = SendResult::kSent;
  for (size_t at = 0; at < bytes.size() && result != SendResult::kFull;) {
    const std::span<const std::byte> part = bytes.subspan(at, std::min(run, bytes.size() - at));
    result = SendOnce(remote, local, part, segment);
    if (result == SendResult::kRefused && segments_ && part.size() > segment && errno != EMSGSIZE) {
      // The device or the kernel cannot cut runs: one by one from now on.
      segments_ = false;
      return Send(remote, local, bytes.subspan(at), segment);
    }
    // What a full socket does not take after a part was sent is lost, as it may be on the network.
    if (result == SendResult::kFull && at > 0) return SendResult::kRefused;
    at += part.size();
  }
  return result;
}

QuicSocket::SendResult QuicSocket::SendOnce(const SocketAddress& remote, const SocketAddress& local,
                                            std::span<const std::byte> bytes, size_t segment) {
  iovec part{const_cast<std::byte*>(bytes.data()), bytes.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  ControlWriter control;
  SocketAddress to = remote;
  if (!connected_) {
    message.msg_name = to.get();
    message.msg_namelen = to.size;
    AddSource(local, control);
  }
  if (bytes.size() > segment) control.Add(IPPROTO_UDP, UDP_SEGMENT, static_cast<uint16_t>(segment));
  control.Attach(message);
  for (;;) {
    if (::sendmsg(socket_.native_handle(), &message, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) return SendResult::kSent;
    if (errno == EINTR) continue;
    return errno == EAGAIN || errno == ENOBUFS ? SendResult::kFull : SendResult::kRefused;
  }
}

void QuicSocket::Close() {
  boost::system::error_code ignored;
  socket_.close(ignored);
}

}  // namespace dragonfly::vortex
