// SPDX-License-Identifier: Apache-2.0
#include "daemon/proxy/pump.h"

#include <sys/socket.h>

#include <boost/asio/experimental/awaitable_operators.hpp>
#include <cstddef>
#include <span>
#include <vector>

#include "base/status.h"

namespace dragonfly::daemon::proxy {

namespace asio = boost::asio;

namespace {

constexpr size_t kStep = 64 << 10;

// One direction. The end of what comes is passed on.
asio::awaitable<absl::Status> Pump(Stream& from, Stream& to) {
  std::vector<std::byte> buffer;
  for (;;) {
    DF_CO_RETURN_IF_ERROR(co_await from.WaitReadable());
    if (buffer.empty()) buffer.resize(kStep);
    DF_CO_ASSIGN_OR_RETURN(const size_t got, co_await from.ReadSome(buffer));
    if (got == 0) break;
    const std::span<const std::byte> bytes(buffer.data(), got);
    DF_CO_RETURN_IF_ERROR(co_await to.Write(bytes));
    // The other direction waits for the same two.
    from.RenewPatience();
    to.RenewPatience();
  }
  ::shutdown(to.fd(), SHUT_WR);
  co_return absl::OkStatus();
}

// Ends both directions as soon as one has failed.
asio::awaitable<absl::Status> PumpOrCut(Stream& from, Stream& to) {
  const absl::Status status = co_await Pump(from, to);
  if (!status.ok()) {
    ::shutdown(from.fd(), SHUT_RDWR);
    ::shutdown(to.fd(), SHUT_RDWR);
  }
  co_return status;
}

}  // namespace

asio::awaitable<absl::Status> PumpBothWays(Stream& a, Stream& b) {
  using namespace asio::experimental::awaitable_operators;
  const auto [there, back] = co_await (PumpOrCut(a, b) && PumpOrCut(b, a));
  co_return there.ok() ? back : there;
}

}  // namespace dragonfly::daemon::proxy
