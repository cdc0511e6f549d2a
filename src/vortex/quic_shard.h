// SPDX-License-Identifier: Apache-2.0
// One io thread's part of the QUIC server: a socket, the connections that came to it, and what they ask for.
#pragma once

#include <array>
#include <atomic>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/statusor.h"
#include "base/unique_fd.h"
#include "runtime/task_group.h"
#include "vortex/answer.h"
#include "vortex/quic_connection.h"
#include "vortex/quic_request.h"
#include "vortex/quic_server.h"
#include "vortex/quic_socket.h"
#include "vortex/quic_tls.h"

namespace dragonfly::vortex {

// What the shards share. Thread-safe: constant, but for the counts.
struct QuicServerShared {
  // Errors: INTERNAL of the TLS library.
  static absl::StatusOr<std::shared_ptr<QuicServerShared>> Make(const QuicServerOptions& options,
                                                                PieceProvider& provider, runtime::TokenBucket& limiter);
  QuicServerShared(const QuicServerOptions& options, PieceProvider& provider, runtime::TokenBucket& limiter);

  const QuicServerOptions options;
  const Answerer answerer;
  QuicSettings settings;
  std::unique_ptr<TlsCredentials> credentials;
  std::array<uint8_t, 32> secret{};  // of tokens: stateless reset and Retry
  std::atomic<size_t> connections = 0;
  std::atomic<size_t> handshakes = 0;
};

// A connection id as key of a map.
struct QuicIdKey {
  QuicIdKey(const uint8_t* data, size_t size);
  explicit QuicIdKey(const ngtcp2_cid& id) : QuicIdKey(id.data, id.datalen) {}
  bool operator==(const QuicIdKey&) const = default;
  template <typename H>
  friend H AbslHashValue(H h, const QuicIdKey& key) {
    return H::combine(std::move(h), key.bytes, key.size);
  }
  std::array<uint8_t, NGTCP2_MAX_CIDLEN> bytes{};
  uint8_t size = 0;
};

// Thread rule: the thread of its io_context, but for Start(), io() and requests().
class QuicShard final : public QuicConnectionOwner, public std::enable_shared_from_this<QuicShard> {
 public:
  // Connection ids that lead here have a first byte of `index` modulo `count`.
  QuicShard(boost::asio::io_context& io, UniqueFd socket, std::shared_ptr<QuicServerShared> shared, size_t index,
            size_t count);

  void Start();
  boost::asio::io_context& io() { return io_; }
  runtime::TaskGroup& requests() { return requests_; }
  // Takes no more connections and requests; ends what has no request.
  void BeginToStop();
  // Ends all connections and closes the socket.
  void Close();

  void MakeId(QuicConnection& connection, ngtcp2_cid& id, uint8_t* reset_token) override;
  void RetireId(QuicConnection& connection, const ngtcp2_cid& id) override;
  void Established(QuicConnection& connection) override;
  void Opened(QuicConnection& connection, std::shared_ptr<QuicStream> stream) override;
  void Ended(QuicConnection& connection) override;

 private:
  struct Kept {
    std::shared_ptr<QuicConnection> connection;
    absl::flat_hash_set<QuicIdKey> ids;
    bool handshaking = true;
  };

  void Listen();
  void OnReadable();
  void Take(const QuicSocket::Received& run);
  void TakeSome(const QuicSocket::Received& received, std::span<const std::byte> first);
  void TakeFirst(const QuicSocket::Received& received, std::span<const std::byte> datagram);
  bool CheckAddress(const QuicSocket::Received& received, QuicInitial& initial);
  void Accept(const QuicSocket::Received& received, const QuicInitial& initial);

  void SendVersions(const QuicSocket::Received& received, const ngtcp2_version_cid& ids);
  void SendRetry(const QuicSocket::Received& received, const ngtcp2_pkt_hd& header);
  void SendRefusal(const QuicSocket::Received& received, const ngtcp2_pkt_hd& header, uint64_t code);
  void SendStatelessReset(const QuicSocket::Received& received, std::span<const std::byte> datagram);
  void Reply(const QuicSocket::Received& received, std::span<const std::byte> datagram);

  void FillId(ngtcp2_cid& id) const;
  void LeaveHandshakes(Kept& kept);
  void Sweep();
  boost::asio::awaitable<void> Serve(std::unique_ptr<QuicRequest> request, std::shared_ptr<QuicConnection> connection);

  boost::asio::io_context& io_;
  const std::shared_ptr<QuicServerShared> shared_;
  const size_t index_;
  const size_t count_;
  QuicSocket socket_;
  SendMemory memory_;
  runtime::TaskGroup requests_;
  boost::asio::steady_timer sweeper_;
  std::unordered_map<QuicConnection*, Kept> kept_;
  absl::flat_hash_map<QuicIdKey, QuicConnection*> by_id_;
  std::unordered_set<QuicRequest*> reading_;
  std::vector<std::shared_ptr<QuicConnection>> touched_;  // by the datagrams of this turn
  int resets_left_ = 0;                                   // until the next sweep
  bool stopping_ = false;
};

}  // namespace dragonfly::vortex
