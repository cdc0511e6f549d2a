// SPDX-License-Identifier: Apache-2.0
#include "vortex/quic_shard.h"

#include <gnutls/crypto.h>
#include <ngtcp2/ngtcp2_crypto.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "base/status.h"
#include "telemetry/log.h"

namespace dragonfly::vortex {

namespace asio = boost::asio;

namespace {

// A request is 74 bytes: a peer that sends more has nothing to say.
constexpr uint64_t kRequestWindow = 4 << 10;
constexpr std::chrono::seconds kSweepEvery{10};
// Datagrams of connections that are not known and get an answer, between two sweeps. An answer helps a peer whose
// connection has ended without its knowing; to somebody who makes ids up no answer is owed.
constexpr int kResetsMax = 1000;
constexpr ngtcp2_duration kRetryTokenLife = 10 * NGTCP2_SECONDS;

uint64_t Now() {
  return static_cast<uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now().time_since_epoch()).count());
}

void Random(uint8_t* out, size_t size) {
  if (gnutls_rnd(GNUTLS_RND_NONCE, out, size) != 0) std::abort();
}

const uint8_t* Bytes(std::span<const std::byte> bytes) { return reinterpret_cast<const uint8_t*>(bytes.data()); }

Answerer::Options AnswerOptions(const QuicServerOptions& options) {
  Answerer::Options out;
  out.piece_wait_timeout = options.piece_wait_timeout;
  out.stall_timeout = options.stall_timeout;
  return out;
}

}  // namespace

QuicServerShared::QuicServerShared(const QuicServerOptions& o, PieceProvider& provider, runtime::TokenBucket& limiter)
    : options(o), answerer(provider, limiter, AnswerOptions(o)) {
  settings.stream_window = kRequestWindow;
  settings.connection_window = kRequestWindow * options.streams_max;
  settings.peer_streams_max = options.streams_max;
  settings.handshake_timeout = options.handshake_timeout;
  settings.idle_timeout = options.silence_timeout;
}

absl::StatusOr<std::shared_ptr<QuicServerShared>> QuicServerShared::Make(const QuicServerOptions& options,
                                                                         PieceProvider& provider,
                                                                         runtime::TokenBucket& limiter) {
  auto shared = std::make_shared<QuicServerShared>(options, provider, limiter);
  DF_ASSIGN_OR_RETURN(shared->credentials, TlsCredentials::ForServer());
  Random(shared->secret.data(), shared->secret.size());
  return shared;
}

QuicIdKey::QuicIdKey(const uint8_t* data, size_t length) {
  size = static_cast<uint8_t>(std::min(length, bytes.size()));
  std::memcpy(bytes.data(), data, size);
}

QuicShard::QuicShard(asio::io_context& io, UniqueFd socket, std::shared_ptr<QuicServerShared> shared, size_t index,
                     size_t count)
    : io_(io),
      shared_(std::move(shared)),
      index_(index),
      count_(count),
      socket_(io, std::move(socket), /*connected=*/false),
      memory_{shared_->options.send_memory / count, 0},
      requests_(io.get_executor()),
      sweeper_(io) {}

void QuicShard::Start() {
  asio::post(io_, [weak = weak_from_this()] {
    const std::shared_ptr<QuicShard> self = weak.lock();
    if (self == nullptr || self->stopping_) return;
    self->Listen();
    self->Sweep();
  });
}

void QuicShard::Listen() {
  socket_.WhenReadable([weak = weak_from_this()] {
    if (const std::shared_ptr<QuicShard> self = weak.lock()) self->OnReadable();
  });
}

void QuicShard::OnReadable() {
  const absl::StatusOr<bool> more = socket_.Receive([this](const QuicSocket::Received& received) { Take(received); });
  // Once for all datagrams of the turn: one acknowledgement for many, and full runs of datagrams.
  for (const std::shared_ptr<QuicConnection>& connection : touched_) connection->Flush();
  touched_.clear();
  Listen();
}

// A run comes from one address, where several connections may live: it is cut where the connection changes.
void QuicShard::Take(const QuicSocket::Received& run) {
  const auto same_short_id = [](std::span<const std::byte> a, std::span<const std::byte> b) {
    constexpr size_t kEnd = 1 + kQuicServerIdSize;
    const auto is_short = [](std::span<const std::byte> d) { return (std::to_integer<unsigned>(d[0]) & 0x80u) == 0; };
    return a.size() >= kEnd && b.size() >= kEnd && is_short(a) && is_short(b) &&
           std::memcmp(&a[1], &b[1], kQuicServerIdSize) == 0;
  };
  const auto datagram = [&run](size_t at) {
    return run.bytes.subspan(at, std::min(run.segment, run.bytes.size() - at));
  };
  for (size_t at = 0; at < run.bytes.size();) {
    const std::span<const std::byte> first = datagram(at);
    size_t end = at + first.size();
    while (end < run.bytes.size() && same_short_id(first, datagram(end))) end += datagram(end).size();
    TakeSome({run.remote, run.local, run.bytes.subspan(at, end - at), run.segment}, first);
    at = end;
  }
}

void QuicShard::TakeSome(const QuicSocket::Received& received, std::span<const std::byte> first) {
  ngtcp2_version_cid ids;
  const int error = ngtcp2_pkt_decode_version_cid(&ids, Bytes(first), first.size(), kQuicServerIdSize);
  if (error == NGTCP2_ERR_VERSION_NEGOTIATION) return SendVersions(received, ids);
  if (error != 0) return;
  const auto found = by_id_.find(QuicIdKey(ids.dcid, ids.dcidlen));
  if (found == by_id_.end()) return TakeFirst(received, first);
  const std::shared_ptr<QuicConnection> connection = kept_.at(found->second).connection;
  connection->Read(received);
  if (std::find(touched_.begin(), touched_.end(), connection) == touched_.end()) touched_.push_back(connection);
}

void QuicShard::TakeFirst(const QuicSocket::Received& received, std::span<const std::byte> datagram) {
  QuicInitial initial{};
  const int error = ngtcp2_accept(&initial.header, Bytes(datagram), datagram.size());
  if (error != 0) {
    const bool is_short = (std::to_integer<unsigned>(datagram[0]) & 0x80u) == 0;
    if (is_short) SendStatelessReset(received, datagram);
    return;
  }
  const QuicServerOptions& options = shared_->options;
  if (stopping_ || shared_->connections.load(std::memory_order_relaxed) >= options.connections_max) {
    return SendRefusal(received, initial.header, NGTCP2_CONNECTION_REFUSED);
  }
  if (shared_->handshakes.load(std::memory_order_relaxed) >= options.handshakes_max) return;
  if (CheckAddress(received, initial)) Accept(received, initial);
}

// True when the connection may be made: the peer's address is proved, or nothing asks for a proof.
bool QuicShard::CheckAddress(const QuicSocket::Received& received, QuicInitial& initial) {
  const ngtcp2_pkt_hd& header = initial.header;
  initial.original_dcid = header.dcid;
  const bool is_retry_token = header.token.len > 0 && header.token.base[0] == NGTCP2_CRYPTO_TOKEN_MAGIC_RETRY;
  if (!is_retry_token) {
    if (shared_->handshakes.load(std::memory_order_relaxed) < shared_->options.retry_above) return true;
    SendRetry(received, header);
    return false;
  }
  const int error = ngtcp2_crypto_verify_retry_token(
      &initial.original_dcid, header.token.base, header.token.len, shared_->secret.data(), shared_->secret.size(),
      header.version, received.remote.get(), received.remote.size, &header.dcid, kRetryTokenLife, Now());
  if (error != 0) {
    SendRefusal(received, header, NGTCP2_INVALID_TOKEN);
    return false;
  }
  initial.after_retry = true;
  return true;
}

void QuicShard::Accept(const QuicSocket::Received& received, const QuicInitial& initial) {
  const QuicConnection::Parts parts{io_, socket_, *shared_->credentials, *this, memory_};
  absl::StatusOr<std::shared_ptr<QuicConnection>> accepted =
      QuicConnection::Accept(parts, shared_->settings, initial, received);
  if (!accepted.ok()) {
    std::erase_if(kept_, [](const auto& entry) { return entry.second.connection == nullptr; });
    DF_LOG(Warn, "QUIC: {}", MessageOf(accepted.status()));
    return;
  }
  const std::shared_ptr<QuicConnection>& connection = *accepted;
  Kept& kept = kept_[connection.get()];
  kept.connection = connection;
  // Until it knows an id of ours, the client uses its own choice.
  const QuicIdKey chosen(initial.header.dcid);
  kept.ids.insert(chosen);
  for (const QuicIdKey& id : kept.ids) by_id_[id] = connection.get();
  shared_->connections.fetch_add(1, std::memory_order_relaxed);
  shared_->handshakes.fetch_add(1, std::memory_order_relaxed);
  connection->Read(received);
  touched_.push_back(connection);
}

void QuicShard::FillId(ngtcp2_cid& id) const {
  Random(id.data, id.datalen);
  const size_t byte = id.data[0] - id.data[0] % count_ + index_;
  id.data[0] = static_cast<uint8_t>(byte > UINT8_MAX ? byte - count_ : byte);
}

void QuicShard::MakeId(QuicConnection& connection, ngtcp2_cid& id, uint8_t* reset_token) {
  FillId(id);
  if (ngtcp2_crypto_generate_stateless_reset_token(reset_token, shared_->secret.data(), shared_->secret.size(), &id) !=
      0) {
    std::abort();
  }
  const QuicIdKey key(id);
  Kept& kept = kept_[&connection];
  kept.ids.insert(key);
  if (kept.connection != nullptr) by_id_[key] = &connection;
}

void QuicShard::RetireId(QuicConnection& connection, const ngtcp2_cid& id) {
  const QuicIdKey key(id);
  by_id_.erase(key);
  if (const auto found = kept_.find(&connection); found != kept_.end()) found->second.ids.erase(key);
}

void QuicShard::Established(QuicConnection& connection) {
  if (const auto found = kept_.find(&connection); found != kept_.end()) LeaveHandshakes(found->second);
}

void QuicShard::LeaveHandshakes(Kept& kept) {
  if (!std::exchange(kept.handshaking, false)) return;
  shared_->handshakes.fetch_sub(1, std::memory_order_relaxed);
}

void QuicShard::Opened(QuicConnection& connection, std::shared_ptr<QuicStream> stream) {
  auto request = std::make_unique<QuicRequest>(std::move(stream));
  if (stopping_) return;  // which abandons it
  requests_.Spawn(Serve(std::move(request), kept_[&connection].connection));
}

asio::awaitable<void> QuicShard::Serve(std::unique_ptr<QuicRequest> request,
                                       std::shared_ptr<QuicConnection> /*connection*/) {
  if (stopping_) co_return;
  struct Registration {
    Registration(std::unordered_set<QuicRequest*>& set, QuicRequest* member) : reading(set), request(member) {
      reading.insert(request);
    }
    ~Registration() { reading.erase(request); }
    std::unordered_set<QuicRequest*>& reading;
    QuicRequest* const request;
  };
  const Registration registration(reading_, request.get());
  const absl::Status served =
      co_await request->Serve(shared_->answerer, Clock::now() + shared_->options.first_byte_timeout);
  if (!served.ok()) DF_LOG(Debug, "QUIC request: {}", MessageOf(served));
}

void QuicShard::Ended(QuicConnection& connection) {
  const auto found = kept_.find(&connection);
  if (found == kept_.end()) return;
  LeaveHandshakes(found->second);
  for (const QuicIdKey& id : found->second.ids) by_id_.erase(id);
  if (found->second.connection != nullptr) shared_->connections.fetch_sub(1, std::memory_order_relaxed);
  kept_.erase(found);
}

// Ends connections that are kept alive without a request for long.
void QuicShard::Sweep() {
  resets_left_ = kResetsMax;
  const TimePoint too_old = Clock::now() - shared_->options.idle_timeout;
  std::vector<std::shared_ptr<QuicConnection>> idle;
  for (const auto& [key, kept] : kept_) {
    if (kept.connection->streams() == 0 && kept.connection->idle_since() < too_old) idle.push_back(kept.connection);
  }
  for (const std::shared_ptr<QuicConnection>& connection : idle) connection->Close("idle");
  sweeper_.expires_after(kSweepEvery);
  sweeper_.async_wait([weak = weak_from_this()](const boost::system::error_code& error) {
    const std::shared_ptr<QuicShard> self = weak.lock();
    if (!error && self != nullptr && !self->stopping_) self->Sweep();
  });
}

void QuicShard::BeginToStop() {
  stopping_ = true;
  sweeper_.cancel();
  for (QuicRequest* request : reading_) request->StopReading();
  std::vector<std::shared_ptr<QuicConnection>> idle;
  for (const auto& [key, kept] : kept_) {
    if (kept.connection->streams() == 0) idle.push_back(kept.connection);
  }
  for (const std::shared_ptr<QuicConnection>& connection : idle) connection->Close("the server is stopping");
}

void QuicShard::Close() {
  std::vector<std::shared_ptr<QuicConnection>> all;
  for (const auto& [key, kept] : kept_) all.push_back(kept.connection);
  for (const std::shared_ptr<QuicConnection>& connection : all) connection->Close("the server is stopping");
  touched_.clear();
  socket_.Close();
}

}  // namespace dragonfly::vortex
