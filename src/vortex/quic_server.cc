// SPDX-License-Identifier: Apache-2.0
#include "vortex/quic_server.h"

#include <algorithm>
#include <atomic>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <utility>
#include <vector>

#include "base/status.h"
#include "base/text.h"
#include "vortex/quic_shard.h"

namespace dragonfly::vortex {

namespace asio = boost::asio;

struct QuicServer::State {
  std::shared_ptr<QuicServerShared> shared;
  std::vector<std::shared_ptr<QuicShard>> shards;
  uint16_t port = 0;
};

absl::StatusOr<std::unique_ptr<QuicServer>> QuicServer::Start(const QuicServerOptions& options, runtime::IoThreads& io,
                                                              PieceProvider& provider, runtime::TokenBucket& limiter) {
  const std::string what = StrCat("serve pieces over QUIC on ", options.ip, " port ", options.port);
  absl::StatusOr<SocketAddress> address = SocketAddress::Make(options.ip, options.port);
  if (!address.ok()) return Annotate(address.status(), what);
  absl::StatusOr<std::vector<UniqueFd>> sockets = QuicSocket::Listen(*address, io.size());
  if (!sockets.ok()) return Annotate(sockets.status(), what);
  absl::StatusOr<std::shared_ptr<QuicServerShared>> shared = QuicServerShared::Make(options, provider, limiter);
  if (!shared.ok()) return Annotate(shared.status(), what);
  auto state = std::make_shared<State>();
  state->shared = *std::move(shared);
  DF_ASSIGN_OR_RETURN(const SocketAddress bound, SocketAddress::OfSocket(sockets->front().get()));
  state->port = bound.port();
  for (size_t i = 0; i < io.size(); ++i) {
    state->shards.push_back(
        std::make_shared<QuicShard>(io.At(i), std::move((*sockets)[i]), state->shared, i, io.size()));
  }
  for (const std::shared_ptr<QuicShard>& shard : state->shards) shard->Start();
  return std::unique_ptr<QuicServer>(new QuicServer(std::move(state)));
}

QuicServer::QuicServer(std::shared_ptr<State> state) : state_(std::move(state)) {}

QuicServer::~QuicServer() = default;

uint16_t QuicServer::port() const { return state_->port; }

size_t QuicServer::connections() const { return state_->shared->connections.load(std::memory_order_relaxed); }

namespace {

asio::awaitable<void> BeginToStop(QuicShard& shard) {
  shard.BeginToStop();
  co_return;
}

asio::awaitable<void> Close(QuicShard& shard) {
  shard.Close();
  co_return;
}

}  // namespace

asio::awaitable<void> QuicServer::Stop(TimePoint deadline) {
  const std::shared_ptr<State> state = state_;
  for (const std::shared_ptr<QuicShard>& shard : state->shards) {
    co_await asio::co_spawn(shard->io(), BeginToStop(*shard), asio::use_awaitable);
  }
  asio::steady_timer cut(co_await asio::this_coro::executor, deadline);
  cut.async_wait([weak = std::weak_ptr<State>(state)](const boost::system::error_code& error) {
    const std::shared_ptr<State> alive = weak.lock();
    if (error || alive == nullptr) return;
    for (const std::shared_ptr<QuicShard>& shard : alive->shards) shard->requests().Cancel();
  });
  for (const std::shared_ptr<QuicShard>& shard : state->shards) co_await shard->requests().Drain();
  for (const std::shared_ptr<QuicShard>& shard : state->shards) {
    co_await asio::co_spawn(shard->io(), Close(*shard), asio::use_awaitable);
  }
}

}  // namespace dragonfly::vortex
