// SPDX-License-Identifier: Apache-2.0
// Peers that speak Vortex as the reference does, byte by byte over blocking sockets, without a line of src/vortex.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/unique_fd.h"

namespace dragonfly::vortex {

inline constexpr std::string_view kTaskId = "a46de92fcb9430049cf9e61e267e1c3c9db1f1aa4a8680a048949b06adb625a5";

// A blocking TCP connection whose reads give up after half a minute.
class Wire {
 public:
  explicit Wire(UniqueFd fd);
  static Wire Connect(uint16_t port);

  void Send(std::string_view bytes);
  // Up to `size` bytes: fewer when the other side ends the connection before.
  std::string Read(size_t size);
  // How the connection ends from here on: "eof", "reset", or what came instead.
  std::string End();
  void Close() { fd_.Reset(); }
  // Small buffers, so that a sender soon waits for the reader.
  void ShrinkReceiveBuffer();

 private:
  UniqueFd fd_;
};

std::string BigEndian32(uint32_t value);
std::string BigEndian64(uint64_t value);
// 74 bytes.
std::string RequestPacket(uint32_t number, uint8_t tag = 0, uint8_t packet_id = 0x5a);
// Header and metadata. Every field may be a lie.
struct ContentHead {
  uint8_t tag = 1;
  uint32_t number = 0;
  uint64_t offset = 0;
  uint64_t length = 0;
  std::string digest = "crc32:1";
  std::string parent_id;
  std::string Packet() const;
};
std::string ErrorPacket(uint8_t code, std::string_view message);
// `size` bytes that depend on `seed`.
std::string Content(size_t size, uint32_t seed = 1);

// A parent on a loopback port: runs `script` for each connection in turn, each on a thread of its own.
class ForeignParent {
 public:
  using Script = std::function<void(Wire& wire, int connection)>;
  explicit ForeignParent(Script script);
  ~ForeignParent();

  uint16_t port() const { return port_; }
  int connections() const { return connections_; }

 private:
  void Accept();

  Script script_;
  UniqueFd listening_;
  uint16_t port_ = 0;
  std::atomic<int> connections_ = 0;
  std::thread acceptor_;
  std::vector<std::thread> threads_;  // of acceptor_
};

}  // namespace dragonfly::vortex
