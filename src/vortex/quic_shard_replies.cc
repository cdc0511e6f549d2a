// SPDX-License-Identifier: Apache-2.0
// What a shard answers to datagrams that belong to no connection. Nothing is kept for them, and no answer is longer
// than what it answers.
#include <gnutls/crypto.h>
#include <ngtcp2/ngtcp2_crypto.h>

#include <algorithm>
#include <array>
#include <cstdlib>

#include "vortex/quic_shard.h"

namespace dragonfly::vortex {

namespace {

constexpr size_t kReplyMax = 1200;
// RFC 9000 §10.3: the shortest datagram that is answered.
constexpr size_t kResettableMin = 43;

uint64_t Now() {
  return static_cast<uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now().time_since_epoch()).count());
}

void Random(uint8_t* out, size_t size) {
  if (gnutls_rnd(GNUTLS_RND_NONCE, out, size) != 0) std::abort();
}

}  // namespace

void QuicShard::Reply(const QuicSocket::Received& received, std::span<const std::byte> datagram) {
  // A socket that is full drops it: whoever is there asks again.
  socket_.Send(received.remote, received.local, datagram, datagram.size());
}

void QuicShard::SendVersions(const QuicSocket::Received& received, const ngtcp2_version_cid& ids) {
  if (received.segment < kReplyMax) return;
  std::array<std::byte, kReplyMax> reply;
  const std::array<uint32_t, 1> versions = {NGTCP2_PROTO_VER_V1};
  uint8_t random = 0;
  Random(&random, 1);
  const ngtcp2_ssize size =
      ngtcp2_pkt_write_version_negotiation(reinterpret_cast<uint8_t*>(reply.data()), reply.size(), random, ids.scid,
                                           ids.scidlen, ids.dcid, ids.dcidlen, versions.data(), versions.size());
  if (size > 0) Reply(received, std::span(reply).first(static_cast<size_t>(size)));
}

void QuicShard::SendRetry(const QuicSocket::Received& received, const ngtcp2_pkt_hd& header) {
  ngtcp2_cid id{};
  id.datalen = kQuicServerIdSize;
  FillId(id);
  std::array<uint8_t, NGTCP2_CRYPTO_MAX_RETRY_TOKENLEN> token;
  const ngtcp2_ssize token_size =
      ngtcp2_crypto_generate_retry_token(token.data(), shared_->secret.data(), shared_->secret.size(), header.version,
                                         received.remote.get(), received.remote.size, &id, &header.dcid, Now());
  if (token_size < 0) return;
  std::array<std::byte, kReplyMax> reply;
  const ngtcp2_ssize size =
      ngtcp2_crypto_write_retry(reinterpret_cast<uint8_t*>(reply.data()), reply.size(), header.version, &header.scid,
                                &id, &header.dcid, token.data(), static_cast<size_t>(token_size));
  if (size > 0) Reply(received, std::span(reply).first(static_cast<size_t>(size)));
}

void QuicShard::SendRefusal(const QuicSocket::Received& received, const ngtcp2_pkt_hd& header, uint64_t code) {
  std::array<std::byte, kReplyMax> reply;
  const ngtcp2_ssize size =
      ngtcp2_crypto_write_connection_close(reinterpret_cast<uint8_t*>(reply.data()), reply.size(), header.version,
                                           &header.scid, &header.dcid, code, nullptr, 0);
  if (size > 0) Reply(received, std::span(reply).first(static_cast<size_t>(size)));
}

void QuicShard::SendStatelessReset(const QuicSocket::Received& received, std::span<const std::byte> datagram) {
  if (datagram.size() < kResettableMin || resets_left_ == 0) return;
  --resets_left_;
  ngtcp2_cid id{};
  ngtcp2_cid_init(&id, reinterpret_cast<const uint8_t*>(datagram.data()) + 1, kQuicServerIdSize);
  std::array<uint8_t, NGTCP2_STATELESS_RESET_TOKENLEN> token;
  if (ngtcp2_crypto_generate_stateless_reset_token(token.data(), shared_->secret.data(), shared_->secret.size(), &id) !=
      0) {
    return;
  }
  // Shorter than what it answers, so that two ends that know nothing cannot answer each other for ever.
  std::array<uint8_t, 32> random;
  Random(random.data(), random.size());
  const size_t random_size = std::min(random.size(), datagram.size() - 1 - token.size());
  std::array<std::byte, 64> reply;
  const ngtcp2_ssize size = ngtcp2_pkt_write_stateless_reset(reinterpret_cast<uint8_t*>(reply.data()), reply.size(),
                                                             token.data(), random.data(), random_size);
  if (size > 0) Reply(received, std::span(reply).first(static_cast<size_t>(size)));
}

}  // namespace dragonfly::vortex
