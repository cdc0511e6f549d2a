// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/vortex/foreign_peer.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <utility>

namespace dragonfly::vortex {

namespace {

sockaddr_in Loopback(uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

}  // namespace

Wire::Wire(UniqueFd fd) : fd_(std::move(fd)) {
  const timeval patience{.tv_sec = 30, .tv_usec = 0};
  ::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  ::setsockopt(fd_.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
}

Wire Wire::Connect(uint16_t port) {
  UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const sockaddr_in address = Loopback(port);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    throw std::runtime_error("connect to the server under test");
  }
  return Wire(std::move(fd));
}

void Wire::Send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n < 0) return;  // The other side has gone: what it says about that is read next.
    bytes.remove_prefix(static_cast<size_t>(n));
  }
}

std::string Wire::Read(size_t size) {
  std::string bytes(size, '\0');
  size_t have = 0;
  while (have < size) {
    const ssize_t n = ::recv(fd_.get(), bytes.data() + have, size - have, 0);
    if (n <= 0) break;
    have += static_cast<size_t>(n);
  }
  bytes.resize(have);
  return bytes;
}

std::string Wire::End() {
  char byte = 0;
  const ssize_t n = ::recv(fd_.get(), &byte, 1, 0);
  if (n == 0) return "eof";
  if (n < 0) return errno == ECONNRESET ? "reset" : "timeout";
  return "a byte";
}

void Wire::ShrinkReceiveBuffer() {
  const int size = 4096;
  ::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
}

std::string BigEndian32(uint32_t value) {
  std::string bytes;
  for (int shift = 24; shift >= 0; shift -= 8) bytes.push_back(static_cast<char>(value >> shift));
  return bytes;
}

std::string BigEndian64(uint64_t value) {
  return BigEndian32(static_cast<uint32_t>(value >> 32)) + BigEndian32(static_cast<uint32_t>(value));
}

std::string RequestPacket(uint32_t number, uint8_t tag, uint8_t packet_id) {
  std::string packet = {static_cast<char>(packet_id), static_cast<char>(tag)};
  return packet + BigEndian32(68) + std::string(kTaskId) + BigEndian32(number);
}

std::string ContentHead::Packet() const {
  std::string metadata = BigEndian32(number) + BigEndian64(offset) + BigEndian64(length) +
                         BigEndian32(static_cast<uint32_t>(digest.size())) + digest +
                         BigEndian32(static_cast<uint32_t>(parent_id.size())) + parent_id + '\x01' + BigEndian64(0) +
                         BigEndian64(1751328000);
  const std::string value = BigEndian32(static_cast<uint32_t>(metadata.size())) + metadata;
  return std::string{'\x77', static_cast<char>(tag)} + BigEndian32(static_cast<uint32_t>(value.size())) + value;
}

std::string ErrorPacket(uint8_t code, std::string_view message) {
  return std::string{'\x11', '\xff'} + BigEndian32(static_cast<uint32_t>(1 + message.size())) +
         static_cast<char>(code) + std::string(message);
}

std::string Content(size_t size, uint32_t seed) {
  std::string bytes(size, '\0');
  uint64_t state = seed;
  for (size_t at = 0; at < size; at += sizeof(state)) {
    state = state * 6364136223846793005u + 1442695040888963407u;  // Knuth's MMIX
    const uint64_t word = state >> 32 | state << 32;
    std::memcpy(bytes.data() + at, &word, std::min(sizeof(word), size - at));
  }
  return bytes;
}

ForeignParent::ForeignParent(Script script)
    : script_(std::move(script)), listening_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_in address = Loopback(0);
  socklen_t size = sizeof(address);
  if (::bind(listening_.get(), reinterpret_cast<const sockaddr*>(&address), size) != 0 ||
      ::listen(listening_.get(), 128) != 0 ||
      ::getsockname(listening_.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    throw std::runtime_error("listen on loopback");
  }
  port_ = ntohs(address.sin_port);
  acceptor_ = std::thread([this] { Accept(); });
}

ForeignParent::~ForeignParent() {
  ::shutdown(listening_.get(), SHUT_RDWR);
  acceptor_.join();
}

void ForeignParent::Accept() {
  for (;;) {
    UniqueFd fd(::accept4(listening_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!fd.valid()) break;
    threads_.emplace_back([this, connection = connections_++, accepted = std::move(fd)]() mutable {
      Wire wire(std::move(accepted));
      script_(wire, connection);
    });
  }
  for (std::thread& thread : threads_) thread.join();
}

}  // namespace dragonfly::vortex
