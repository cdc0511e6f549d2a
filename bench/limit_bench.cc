// SPDX-License-Identifier: Apache-2.0
// The limit that the piece protocol is divided by: one thread a stream that does sendfile(2), and one that does
// recv(2), CRC-32 and pwrite(2), with no protocol to speak of. A stream asks for --piece bytes at a time; 0 asks for
// its whole share at once.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/sendfile.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

#include "base/digest.h"
#include "bench/transfer.h"
#include "runtime/buffer_pool.h"

namespace bench = dragonfly::bench;
using dragonfly::UniqueFd;

namespace {

// One process, one byte order.
struct Request {
  uint64_t offset;
  uint64_t length;
};

sockaddr_in Loopback(uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

void Send(const UniqueFd& socket, int file) {
  Request request{};
  while (::recv(socket.get(), &request, sizeof(request), MSG_WAITALL) == sizeof(request)) {
    auto offset = static_cast<off_t>(request.offset);
    const auto end = static_cast<off_t>(request.offset + request.length);
    while (offset < end) {
      if (::sendfile(socket.get(), file, &offset, std::min<size_t>(4 << 20, static_cast<size_t>(end - offset))) <= 0) {
        return;
      }
    }
  }
}

uint16_t Serve(int file, const std::string& congestion) {
  const int listening = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = Loopback(0);
  socklen_t size = sizeof(address);
  const int on = 1;
  ::setsockopt(listening, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  if (::setsockopt(listening, IPPROTO_TCP, TCP_CONGESTION, congestion.data(),
                   static_cast<socklen_t>(congestion.size())) != 0) {
    bench::Die("congestion control " + congestion);
  }
  if (::bind(listening, reinterpret_cast<const sockaddr*>(&address), size) != 0 || ::listen(listening, 128) != 0 ||
      ::getsockname(listening, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    bench::Die("listen");
  }
  std::thread([listening, file] {
    for (;;) {
      UniqueFd accepted(::accept4(listening, nullptr, nullptr, SOCK_CLOEXEC));
      std::thread([socket = std::move(accepted), file] { Send(socket, file); }).detach();
    }
  }).detach();
  return ntohs(address.sin_port);
}

void ReceiveShare(const UniqueFd& socket, int target, uint64_t offset, uint64_t length, uint64_t piece) {
  const dragonfly::runtime::Block block = dragonfly::runtime::Block::Take();
  const uint64_t end = offset + length;
  while (offset < end) {
    const Request request{offset, std::min(piece, end - offset)};
    if (::send(socket.get(), &request, sizeof(request), MSG_NOSIGNAL) != sizeof(request)) bench::Die("send");
    uint32_t crc = 0;
    for (uint64_t at = 0; at < request.length;) {
      const uint64_t wanted = std::min<uint64_t>(block.span().size(), request.length - at);
      const ssize_t n = ::recv(socket.get(), block.data(), wanted, MSG_WAITALL);
      if (n <= 0) bench::Die("recv");
      const auto bytes = block.span().first(static_cast<size_t>(n));
      crc = dragonfly::Crc32(bytes, crc);
      if (target >= 0) bench::WriteFully(target, bytes, offset + at);
      at += bytes.size();
    }
    offset += request.length;
  }
}

}  // namespace

int main(int argc, char** argv) {
  const bench::TransferOptions options = bench::ParseTransferOptions(argc, argv);
  const UniqueFd source = bench::MakeSource(options);
  bench::Sender sender([&] { return Serve(source.get(), options.congestion); }, [] {});

  std::vector<UniqueFd> sockets;
  for (size_t i = 0; i < options.streams; ++i) {
    UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const int on = 1;
    ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    const sockaddr_in address = Loopback(sender.port());
    if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) bench::Die("connect");
    sockets.push_back(std::move(fd));
  }
  const uint64_t share = options.bytes / options.streams;
  const uint64_t piece = options.piece_length == 0 ? share : options.piece_length;
  bench::MeasureTransfer("limit", options, sender, [&](int target) {
    std::vector<std::thread> threads;
    for (size_t i = 0; i < options.streams; ++i) {
      threads.emplace_back([&, i] {
        ReceiveShare(sockets[i], options.target == "none" ? -1 : target, i * share,
                     i + 1 < options.streams ? share : options.bytes - i * share, piece);
      });
    }
    for (std::thread& thread : threads) thread.join();
  });
  return 0;
}
