// SPDX-License-Identifier: Apache-2.0
#include "rpc/client_socket.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <utility>

#include "base/status.h"
#include "base/text.h"

namespace dragonfly::rpc {
namespace {

constexpr std::chrono::seconds kConnectTimeout{2};

struct FreeAddresses {
  void operator()(addrinfo* addresses) const { ::freeaddrinfo(addresses); }
};

// Connects within a bound and makes the socket non-blocking.
absl::Status ConnectSocket(int fd, const sockaddr* address, socklen_t length, const std::string& name) {
  // Bounds connect() when the server does not accept.
  const timeval timeout{kConnectTimeout.count(), 0};
  ::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
  if (::connect(fd, address, length) != 0) {
    // What Linux says when that time is over.
    const int error = errno == EINPROGRESS ? ETIMEDOUT : errno;
    return absl::UnavailableError(StrCat("connect to ", name, ": ", std::strerror(error)));
  }
  if (::fcntl(fd, F_SETFL, O_NONBLOCK) != 0)
    return absl::UnavailableError(StrCat("connect to ", name, ": ", std::strerror(errno)));
  return absl::OkStatus();
}

class PlainSocket final : public ClientSocket {
 public:
  explicit PlainSocket(UniqueFd fd) : fd_(std::move(fd)) {}

  int fd() const override { return fd_.get(); }
  absl::StatusOr<size_t> Send(std::string_view bytes) override {
    for (;;) {
      const ssize_t sent = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent >= 0) return static_cast<size_t>(sent);
      if (errno == EAGAIN || errno == EWOULDBLOCK) return size_t{0};
      if (errno != EINTR) return absl::UnavailableError(std::strerror(errno));
    }
  }
  absl::StatusOr<std::optional<size_t>> Receive(std::span<uint8_t> bytes) override {
    const ssize_t got = ::recv(fd_.get(), bytes.data(), bytes.size(), 0);
    if (got >= 0) return std::optional<size_t>(static_cast<size_t>(got));
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) return std::optional<size_t>();
    return absl::UnavailableError(std::strerror(errno));
  }

 private:
  UniqueFd fd_;
};

}  // namespace

std::unique_ptr<ClientSocket> MakePlainSocket(UniqueFd fd) { return std::make_unique<PlainSocket>(std::move(fd)); }

absl::StatusOr<UniqueFd> ConnectUnixSocket(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(address.sun_path))
    return absl::UnavailableError(StrCat("connect to ", Quoted(path), ": not a path of a Unix socket"));
  std::memcpy(address.sun_path, path.data(), path.size());

  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return absl::UnavailableError(StrCat("make a Unix socket: ", std::strerror(errno)));
  DF_RETURN_IF_ERROR(ConnectSocket(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address), path));
  return fd;
}

std::string NameOf(const std::string& host, int port) {
  return host.find(':') == std::string::npos ? StrCat(host, ":", port) : StrCat("[", host, "]:", port);
}

absl::StatusOr<UniqueFd> ConnectTcpSocket(const std::string& host, int port) {
  const std::string name = NameOf(host, port);
  addrinfo wanted{};
  wanted.ai_socktype = SOCK_STREAM;
  wanted.ai_flags = AI_NUMERICSERV | AI_ADDRCONFIG;
  addrinfo* raw_found = nullptr;
  if (const int error = ::getaddrinfo(host.c_str(), StrCat(port).c_str(), &wanted, &raw_found); error != 0)
    return absl::UnavailableError(StrCat("look up ", Quoted(host), ": ", ::gai_strerror(error)));
  const std::unique_ptr<addrinfo, FreeAddresses> found(raw_found);

  absl::Status connected = absl::UnavailableError(StrCat("connect to ", name, ": the name has no address"));
  for (const addrinfo* address = found.get(); address != nullptr; address = address->ai_next) {
    UniqueFd fd(::socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!fd.valid()) {
      connected = absl::UnavailableError(StrCat("make a TCP socket: ", std::strerror(errno)));
      continue;
    }
    connected = ConnectSocket(fd.get(), address->ai_addr, address->ai_addrlen, name);
    if (!connected.ok()) continue;
    const int on = 1;
    ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    return fd;
  }
  return connected;
}

}  // namespace dragonfly::rpc
