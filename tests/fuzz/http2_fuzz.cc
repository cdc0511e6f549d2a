// SPDX-License-Identifier: Apache-2.0
// What a client says behind the preface of HTTP/2, in steps as a socket gives it. Whatever it is: the session ends with
// the connection, and each request that comes out of it is one that an HTTP/1.1 reader takes, whole or not at all.
#include <sys/socket.h>

#include <array>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/proxy/http2_session.h"
#include "daemon/proxy/http_error.h"
#include "daemon/proxy/message_reader.h"
#include "daemon/proxy/stream.h"

namespace asio = boost::asio;
namespace proxy = dragonfly::daemon::proxy;

namespace {

constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

void Require(bool condition) {
  if (!condition) std::abort();
}

// As the proxy, but for what it answers.
asio::awaitable<void> Answer(proxy::Stream& stream) {
  proxy::MessageReader reader(stream, std::chrono::seconds(10));
  const absl::StatusOr<std::optional<proxy::RequestHead>> request = co_await reader.ReadRequest();
  if (!request.ok()) {
    // Too large a head is refused here and not before; a client may also have left.
    const int status = proxy::HttpStatusOf(request.status());
    Require(status == 431 || status == 502 || status == 504);
    constexpr std::string_view kTooLarge = "HTTP/1.1 431 x\r\nContent-Length: 0\r\n\r\n";
    // The client may have left.
    if (status == 431) (void)co_await stream.Write(kTooLarge);
    co_return;
  }
  if (!*request) co_return;
  Require((*request)->target.starts_with('/') && (*request)->version == 11);
  size_t length = 0;
  std::vector<std::byte> buffer(4096);
  while (!reader.body_done()) {
    const absl::StatusOr<size_t> got = co_await reader.ReadBody(buffer);
    if (!got.ok()) co_return;
    length += *got;
  }
  const std::string body(length % 70'000, 'x');
  const std::string head = "HTTP/1.1 200 OK\r\nX-Y: z\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n";
  const absl::Status sent = co_await stream.Write(head);
  if (sent.ok() && (*request)->method != "HEAD") (void)co_await stream.Write(std::string_view(body));
}

asio::awaitable<void> Send(proxy::Stream& client, std::string_view text, size_t step) {
  absl::Status sent = co_await client.Write(kPreface);
  while (sent.ok() && !text.empty()) {
    const std::string_view part = text.substr(0, step);
    sent = co_await client.Write(part);
    text.remove_prefix(part.size());
  }
  ::shutdown(client.fd(), SHUT_WR);
}

asio::awaitable<void> Drain(proxy::Stream& client) {
  std::vector<std::byte> buffer(64 << 10);
  for (;;) {
    const absl::StatusOr<size_t> got = co_await client.ReadSome(buffer);
    if (!got.ok() || *got == 0) co_return;
  }
}

asio::awaitable<void> Serve(asio::io_context& io, dragonfly::UniqueFd fd) {
  proxy::Stream stream(io, std::move(fd));
  const proxy::Http2Requests requests = [](proxy::Stream& one) { return Answer(one); };
  co_await proxy::ServeHttp2(io, requests, stream);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data + 1), size - 1);
  std::array<int, 2> pair{};
  Require(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair.data()) == 0);
  asio::io_context io;
  proxy::Stream client(io, dragonfly::UniqueFd(pair[0]));
  // Clocks that nobody waits for any more would go on.
  int left = 3;
  const auto ended = [&io, &left](const std::exception_ptr& error) {
    if (error) std::rethrow_exception(error);
    if (--left == 0) io.stop();
  };
  asio::co_spawn(io, Serve(io, dragonfly::UniqueFd(pair[1])), ended);
  asio::co_spawn(io, Send(client, text, 1 + size_t{data[0]} * 8), ended);
  asio::co_spawn(io, Drain(client), ended);
  io.run();
  return 0;
}
