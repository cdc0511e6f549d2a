// SPDX-License-Identifier: Apache-2.0
// The streams of a connection: their coming and going, and what they may hold.
#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "vortex/quic_connection.h"

namespace dragonfly::vortex {

namespace asio = boost::asio;

namespace {

// Content of one connection that waits for acknowledgement: the reference's send window.
constexpr size_t kHeldMax = 16 << 20;

}  // namespace

void QuicConnection::HandshakeCompleted() {
  established_ = true;
  idle_since_ = Clock::now();
  changed_.Notify();
  parts_.owner.Established(*this);
}

asio::awaitable<absl::Status> QuicConnection::WaitUntilEstablished(TimePoint deadline) {
  const std::shared_ptr<QuicConnection> self = shared_from_this();
  for (;;) {
    const uint64_t seen = changed_.version();
    if (!ended_.ok()) co_return ended_;
    if (established_) co_return absl::OkStatus();
    if (!co_await changed_.Wait(seen, deadline)) co_return absl::DeadlineExceededError("no handshake in time");
  }
}

asio::awaitable<absl::StatusOr<std::shared_ptr<QuicStream>>> QuicConnection::OpenStream(TimePoint deadline) {
  const std::shared_ptr<QuicConnection> self = shared_from_this();
  for (;;) {
    const uint64_t seen = changed_.version();
    if (!ended_.ok()) co_return ended_;
    int64_t id = 0;
    const int error = ngtcp2_conn_open_bidi_stream(conn_, &id, nullptr);
    if (error == 0) {
      std::shared_ptr<QuicStream> stream = AddStream(id);
      ngtcp2_conn_set_stream_user_data(conn_, id, stream.get());
      co_return stream;
    }
    if (error != NGTCP2_ERR_STREAM_ID_BLOCKED) co_return absl::InternalError(ngtcp2_strerror(error));
    if (!co_await changed_.Wait(seen, deadline)) {
      co_return absl::DeadlineExceededError("the peer allows no more streams");
    }
  }
}

std::shared_ptr<QuicStream> QuicConnection::AddStream(int64_t id) {
  auto stream = std::make_shared<QuicStream>(*this, id);
  streams_.emplace(id, stream);
  UpdateKeepAlive();
  return stream;
}

void QuicConnection::RemoveStream(int64_t id) {
  const auto found = streams_.find(id);
  if (found == streams_.end()) return;
  const std::shared_ptr<QuicStream> stream = std::move(found->second);
  streams_.erase(found);
  stream->Break(absl::UnavailableError("the peer ended the stream"));
  stream->SetReader(nullptr);
  stream->connection_ = nullptr;
  if (streams_.empty()) idle_since_ = Clock::now();
  UpdateKeepAlive();
  if (ngtcp2_conn_is_local_stream(conn_, id) == 0) ngtcp2_conn_extend_max_streams_bidi(conn_, 1);
}

// A peer that is asked for nothing need not be kept awake.
void QuicConnection::UpdateKeepAlive() {
  if (settings_.keep_alive.count() == 0 || streams_.size() > 1) return;
  // 0 is off. A large number is not: added to the time of the last datagram it wraps around, the timeout has always
  // passed, and PINGs, which no probe timeout follows, fill the congestion window.
  const auto keep_alive = static_cast<uint64_t>(settings_.keep_alive.count()) * NGTCP2_MILLISECONDS;
  ngtcp2_conn_set_keep_alive_timeout(conn_, streams_.empty() ? 0 : keep_alive);
}

void QuicConnection::WantToSend(QuicStream& stream) {
  if (stream.in_line_ || stream.withheld_ || !stream.pending()) return;
  const auto found = streams_.find(stream.id());
  if (found == streams_.end()) return;
  stream.in_line_ = true;
  line_.push_back(found->second);
  FlushSoon();
}

void QuicConnection::ExtendWindow(QuicStream& stream, size_t bytes) {
  if (bytes == 0 || !ended_.ok()) return;
  ngtcp2_conn_extend_max_offset(conn_, bytes);
  // Of a stream that is known no more there is nothing to extend.
  if (stream.broken_.ok()) ngtcp2_conn_extend_max_stream_offset(conn_, stream.id(), bytes);
  FlushSoon();
}

void QuicConnection::Shutdown(QuicStream& stream, bool writing_too) {
  if (!ended_.ok()) return;
  if (writing_too) {
    ngtcp2_conn_shutdown_stream(conn_, stream.id(), 0);
  } else {
    ngtcp2_conn_shutdown_stream_read(conn_, stream.id(), 0);
  }
  FlushSoon();
}

void QuicConnection::Charge(size_t bytes) {
  held_ += bytes;
  parts_.memory.used += bytes;
}

void QuicConnection::Release(size_t bytes) {
  held_ -= bytes;
  parts_.memory.used -= bytes;
  if (!starved_ || bytes == 0 || !HasRoom()) return;
  starved_ = false;
  for (auto& [id, stream] : streams_) stream->changed_.Notify();
}

// A share of what is free, so that many slow connections cannot take all: each gets less the more there are, but one
// chunk in any case.
bool QuicConnection::HasRoom() {
  const SendMemory& memory = parts_.memory;
  const size_t free = memory.limit - std::min(memory.limit, memory.used);
  if (held_ < kSendChunkSize || held_ < std::min(kHeldMax, free / 4)) return true;
  starved_ = true;
  return false;
}

}  // namespace dragonfly::vortex
