// SPDX-License-Identifier: Apache-2.0
#include "vortex/quic_connection.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>

#include <algorithm>
#include <array>
#include <boost/asio/post.hpp>
#include <cstring>
#include <utility>

#include "base/status.h"
#include "base/text.h"
#include "vortex/quic_callbacks.h"

namespace dragonfly::vortex {

namespace asio = boost::asio;

namespace {

constexpr uint64_t kNever = UINT64_MAX;
// Bytes that are sent at once on any network. Less would make the timer, which a busy machine serves late, the limit of
// fast ones.
constexpr size_t kBurst = 2 * kDatagramRunMax;
// The networks between peers are those of a cluster: the library's 333 ms would make the first lost packet expensive.
constexpr ngtcp2_duration kInitialRtt = 100 * NGTCP2_MILLISECONDS;
constexpr size_t kClientDcidSize = 18;
constexpr size_t kClientIdSize = 8;
// Room for one datagram, above whatever a path's discovery tries.
constexpr size_t kDatagramMax = 1500;

uint64_t Now() {
  return static_cast<uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now().time_since_epoch()).count());
}
TimePoint ToTimePoint(uint64_t time) { return TimePoint(std::chrono::nanoseconds(static_cast<int64_t>(time))); }
ngtcp2_duration ToDuration(std::chrono::milliseconds time) {
  return static_cast<uint64_t>(time.count()) * NGTCP2_MILLISECONDS;
}

ngtcp2_addr ToLibrary(const SocketAddress& address) {
  return {const_cast<sockaddr*>(address.get()), static_cast<ngtcp2_socklen>(address.size)};
}

SocketAddress FromLibrary(const ngtcp2_addr& address) {
  SocketAddress out;
  out.size = static_cast<socklen_t>(std::min<size_t>(address.addrlen, sizeof(out.storage)));
  std::memcpy(&out.storage, address.addr, out.size);
  return out;
}

absl::Status LibraryError(int error, std::string_view what) {
  return absl::InternalError(StrCat(what, ": ", ngtcp2_strerror(error)));
}

// What runs of datagrams are written into, one for each thread: they are sent before anything else is written.
std::span<std::byte> RunRoom() {
  thread_local const std::unique_ptr<std::byte[]> room =
      std::make_unique_for_overwrite<std::byte[]>(kDatagramRunMax + kDatagramMax);
  return {room.get(), kDatagramRunMax + kDatagramMax};
}

}  // namespace

// Datagrams for one address, all of `segment` bytes, but for the last, which may be shorter.
struct QuicConnection::Run {
  std::span<std::byte> room = RunRoom();
  size_t size = 0;
  size_t segment = 0;
  size_t total = 0;          // bytes sent in earlier runs
  ngtcp2_path_storage path;  // of the datagrams in `room`
};

QuicConnection::QuicConnection(const Parts& parts, const QuicSettings& settings)
    : parts_(parts), settings_(settings), timer_(parts.io), timer_armed_(kNever) {
  conn_ref_.get_conn = [](ngtcp2_crypto_conn_ref* ref) { return static_cast<QuicConnection*>(ref->user_data)->conn_; };
  conn_ref_.user_data = this;
}

absl::Status QuicConnection::MakeSession() {
  DF_ASSIGN_OR_RETURN(tls_, parts_.credentials.NewSession());
  gnutls_session_set_ptr(tls_.get(), &conn_ref_);
  return absl::OkStatus();
}

ngtcp2_settings QuicConnection::LibrarySettings() const {
  ngtcp2_settings settings;
  ngtcp2_settings_default(&settings);
  settings.initial_ts = Now();
  settings.initial_rtt = kInitialRtt;
  settings.handshake_timeout = ToDuration(settings_.handshake_timeout);
  // As the reference's parent: a datagram that is lost does not always tell of a full network.
  settings.cc_algo = NGTCP2_CC_ALGO_BBR;
  return settings;
}

ngtcp2_transport_params QuicConnection::TransportParameters() const {
  ngtcp2_transport_params params;
  ngtcp2_transport_params_default(&params);
  params.initial_max_stream_data_bidi_local = settings_.stream_window;
  params.initial_max_stream_data_bidi_remote = settings_.stream_window;
  params.initial_max_data = settings_.connection_window;
  params.initial_max_streams_bidi = settings_.peer_streams_max;
  params.max_idle_timeout = ToDuration(settings_.idle_timeout);
  return params;
}

absl::StatusOr<std::shared_ptr<QuicConnection>> QuicConnection::Accept(const Parts& parts,
                                                                       const QuicSettings& quic_settings,
                                                                       const QuicInitial& initial,
                                                                       const QuicSocket::Received& received) {
  std::shared_ptr<QuicConnection> connection(new QuicConnection(parts, quic_settings));
  DF_RETURN_IF_ERROR(connection->MakeSession());
  ngtcp2_settings settings = connection->LibrarySettings();
  ngtcp2_transport_params params = connection->TransportParameters();
  params.original_dcid = initial.original_dcid;
  if (initial.after_retry) {
    params.retry_scid = initial.header.dcid;
    params.retry_scid_present = 1;
    settings.token = initial.header.token;
  }
  ngtcp2_cid id{};
  id.datalen = kQuicServerIdSize;
  params.stateless_reset_token_present = 1;
  parts.owner.MakeId(*connection, id, params.stateless_reset_token);
  const ngtcp2_path path{ToLibrary(received.local), ToLibrary(received.remote), nullptr};
  const ngtcp2_callbacks callbacks = QuicCallbacks::ForServer();
  const int error = ngtcp2_conn_server_new(&connection->conn_, &initial.header.scid, &id, &path, initial.header.version,
                                           &callbacks, &settings, &params, nullptr, connection.get());
  if (error != 0) return LibraryError(error, "accept a connection");
  ngtcp2_conn_set_tls_native_handle(connection->conn_, connection->tls_.get());
  return connection;
}

absl::StatusOr<std::shared_ptr<QuicConnection>> QuicConnection::Connect(const Parts& parts,
                                                                        const QuicSettings& quic_settings,
                                                                        const SocketAddress& remote) {
  std::shared_ptr<QuicConnection> connection(new QuicConnection(parts, quic_settings));
  DF_RETURN_IF_ERROR(connection->MakeSession());
  const ngtcp2_settings settings = connection->LibrarySettings();
  const ngtcp2_transport_params params = connection->TransportParameters();
  // The socket belongs to this connection alone, so that no id would be needed to find it; but a parent can follow its
  // child to another address only with one.
  ngtcp2_cid scid{};
  ngtcp2_cid dcid{};
  scid.datalen = kClientIdSize;
  dcid.datalen = kClientDcidSize;
  if (gnutls_rnd(GNUTLS_RND_NONCE, scid.data, scid.datalen) != 0 ||
      gnutls_rnd(GNUTLS_RND_NONCE, dcid.data, dcid.datalen) != 0) {
    return absl::InternalError("no random bytes");
  }
  const ngtcp2_path path{ToLibrary(parts.socket.bound()), ToLibrary(remote), nullptr};
  const ngtcp2_callbacks callbacks = QuicCallbacks::ForClient();
  const int error = ngtcp2_conn_client_new(&connection->conn_, &dcid, &scid, &path, NGTCP2_PROTO_VER_V1, &callbacks,
                                           &settings, &params, nullptr, connection.get());
  if (error != 0) return LibraryError(error, "make a connection");
  ngtcp2_conn_set_tls_native_handle(connection->conn_, connection->tls_.get());
  return connection;
}

QuicConnection::~QuicConnection() {
  if (ended_.ok()) {
    ended_ = absl::CancelledError("the connection was dropped");
    for (auto& [id, stream] : streams_) {
      stream->Break(ended_);
      stream->connection_ = nullptr;
    }
  }
  ngtcp2_conn_del(conn_);
}

void QuicConnection::Read(const QuicSocket::Received& received) {
  const std::shared_ptr<QuicConnection> self = shared_from_this();
  const ngtcp2_path path{ToLibrary(received.local), ToLibrary(received.remote), nullptr};
  const ngtcp2_pkt_info info{};
  const uint64_t now = Now();
  last_received_ = ToTimePoint(now);
  for (size_t at = 0; at < received.bytes.size() && ended_.ok(); at += received.segment) {
    const std::span<const std::byte> datagram =
        received.bytes.subspan(at, std::min(received.segment, received.bytes.size() - at));
    const int error = ngtcp2_conn_read_pkt(conn_, &path, &info, reinterpret_cast<const uint8_t*>(datagram.data()),
                                           datagram.size(), now);
    if (error != 0) FailWith(error, "read a packet");
  }
}

void QuicConnection::Flush() {
  if (!ended_.ok() || !stuck_.empty()) return;
  const std::shared_ptr<QuicConnection> self = shared_from_this();
  Run run;
  ngtcp2_path_storage_zero(&run.path);
  WritePackets(run);
  if (!ended_.ok()) return;
  if (stuck_.empty()) SendRun(run);
  ngtcp2_conn_update_pkt_tx_time(conn_, Now());
  ArmTimer();
}

void QuicConnection::WritePackets(Run& run) {
  const uint64_t now = Now();
  ngtcp2_path_storage path;
  ngtcp2_path_storage_zero(&path);
  for (;;) {
    std::span<std::byte> at = run.room.subspan(run.size);
    const int64_t written = WritePacketAt(at, path, now);
    if (written < 0) return FailWith(static_cast<int>(written), "write a packet");
    if (written == 0) return;
    const auto size = static_cast<size_t>(written);
    if (run.size > 0 && (size > run.segment || ngtcp2_path_eq(&run.path.path, &path.path) == 0)) {
      // The new datagram begins a run of its own.
      const size_t end = run.size;
      if (!SendRun(run)) return;
      std::memmove(run.room.data(), run.room.data() + end, size);
    }
    if (run.size == 0) {
      run.segment = size;
      ngtcp2_path_copy(&run.path.path, &path.path);
    }
    run.size += size;
    if (size < run.segment || run.size + run.segment > kDatagramRunMax) {
      if (!SendRun(run)) return;
      // Another stream's turn.
      if (line_.size() > 1) {
        line_.push_back(std::move(line_.front()));
        line_.pop_front();
      }
      // The rest waits for the timer: the library spaces out what is sent.
      if (run.total + run.segment > std::max(ngtcp2_conn_get_send_quantum(conn_), kBurst)) return;
    }
  }
}

// One datagram with content of the first streams in line. Returns its size, 0 when nothing can be sent now, or a final
// error of the library.
int64_t QuicConnection::WritePacketAt(std::span<std::byte> room, ngtcp2_path_storage& path, uint64_t now) {
  ngtcp2_pkt_info info{};
  for (;;) {
    // A connection whose window is closed sends no content, but what else there is.
    const bool open = !line_.empty() && ngtcp2_conn_get_max_data_left(conn_) > 0;
    QuicStream* const stream =
        line_.empty() || (!open && line_.front()->sent_ < line_.front()->queued_) ? nullptr : line_.front().get();
    std::array<ngtcp2_vec, 2> vectors;
    size_t count = 0;
    uint32_t flags = NGTCP2_WRITE_STREAM_FLAG_NONE;
    if (stream != nullptr) {
      const bool reaches_end = stream->Gather(parts_to_send_);
      for (const std::span<const std::byte> part : parts_to_send_) {
        vectors[count++] = {const_cast<uint8_t*>(reinterpret_cast<const uint8_t*>(part.data())), part.size()};
      }
      flags = NGTCP2_WRITE_STREAM_FLAG_MORE | (reaches_end ? NGTCP2_WRITE_STREAM_FLAG_FIN : 0);
    }
    ngtcp2_ssize taken = -1;
    const ngtcp2_ssize written = ngtcp2_conn_writev_stream(
        conn_, &path.path, &info, reinterpret_cast<uint8_t*>(room.data()), std::min(room.size(), kDatagramMax), &taken,
        flags, stream != nullptr ? stream->id() : -1, vectors.data(), count, now);
    if (stream != nullptr && taken >= 0) {
      uint64_t offered = 0;
      for (size_t i = 0; i < count; ++i) offered += vectors[i].len;
      const auto bytes = static_cast<uint64_t>(taken);
      stream->Sent(bytes, bytes == offered && (flags & NGTCP2_WRITE_STREAM_FLAG_FIN) != 0);
    }
    switch (written) {
      case NGTCP2_ERR_WRITE_MORE:
        break;
      case NGTCP2_ERR_STREAM_DATA_BLOCKED:
        // Back in line when the peer opens the window.
        stream->withheld_ = true;
        break;
      case NGTCP2_ERR_STREAM_SHUT_WR:
      case NGTCP2_ERR_STREAM_NOT_FOUND:
        stream->Break(absl::UnavailableError("the peer wants no more of the stream"));
        break;
      default:
        if (stream != nullptr && !stream->pending()) LeaveLine();
        return written;
    }
    if (stream->withheld_ || !stream->pending()) LeaveLine();
  }
}

void QuicConnection::LeaveLine() {
  line_.front()->in_line_ = false;
  line_.pop_front();
}

// Sends the run and empties it; false when the socket is full, and the run is kept for later.
bool QuicConnection::SendRun(Run& run) {
  if (run.size == 0) return true;
  const SocketAddress remote = FromLibrary(run.path.path.remote);
  const SocketAddress local = FromLibrary(run.path.path.local);
  const std::span<const std::byte> bytes = run.room.first(run.size);
  run.total += run.size;
  run.size = 0;
  if (parts_.socket.Send(remote, local, bytes, run.segment) != QuicSocket::SendResult::kFull) return true;
  stuck_.assign(bytes.begin(), bytes.end());
  stuck_segment_ = run.segment;
  stuck_remote_ = remote;
  stuck_local_ = local;
  WaitForSocket();
  return false;
}

void QuicConnection::WaitForSocket() {
  parts_.socket.WhenWritable([weak = weak_from_this()] {
    const std::shared_ptr<QuicConnection> self = weak.lock();
    if (self == nullptr || !self->ended_.ok()) return;
    if (self->parts_.socket.Send(self->stuck_remote_, self->stuck_local_, self->stuck_, self->stuck_segment_) ==
        QuicSocket::SendResult::kFull) {
      return self->WaitForSocket();
    }
    self->stuck_.clear();
    self->Flush();
  });
}

void QuicConnection::FlushSoon() {
  if (flush_posted_ || !ended_.ok()) return;
  flush_posted_ = true;
  asio::post(parts_.io, [weak = weak_from_this()] {
    const std::shared_ptr<QuicConnection> self = weak.lock();
    if (self == nullptr) return;
    self->flush_posted_ = false;
    self->Flush();
  });
}

// The timer is left alone while it fires before the library needs it: what it waits for moves with every packet.
void QuicConnection::ArmTimer() {
  if (!ended_.ok()) return;
  const uint64_t expiry = ngtcp2_conn_get_expiry(conn_);
  if (expiry >= timer_armed_) return;
  timer_armed_ = expiry;
  timer_.expires_at(ToTimePoint(std::min<uint64_t>(expiry, INT64_MAX)));
  timer_.async_wait([weak = weak_from_this()](const boost::system::error_code& error) {
    const std::shared_ptr<QuicConnection> self = weak.lock();
    if (!error && self != nullptr) self->OnTimer();
  });
}

void QuicConnection::OnTimer() {
  timer_armed_ = kNever;
  if (!ended_.ok()) return;
  const uint64_t now = Now();
  if (ngtcp2_conn_get_expiry(conn_) > now) return ArmTimer();
  if (const int error = ngtcp2_conn_handle_expiry(conn_, now); error != 0) return FailWith(error, "wait");
  Flush();
  ArmTimer();
}

void QuicConnection::FailWith(int error, std::string_view what) {
  ngtcp2_connection_close_error reason;
  ngtcp2_connection_close_error_default(&reason);
  switch (error) {
    case NGTCP2_ERR_DRAINING: {
      ngtcp2_conn_get_connection_close_error(conn_, &reason);
      const std::string_view said(reinterpret_cast<const char*>(reason.reason), reason.reasonlen);
      return End(absl::UnavailableError(StrCat("the peer closed the connection: code ", reason.error_code,
                                               said.empty() ? "" : " ", said.empty() ? "" : Quoted(said))));
    }
    case NGTCP2_ERR_IDLE_CLOSE:
      return End(absl::UnavailableError("the peer is silent"));
    case NGTCP2_ERR_HANDSHAKE_TIMEOUT:
      return End(absl::UnavailableError("no handshake in time"));
    case NGTCP2_ERR_DROP_CONN:
    case NGTCP2_ERR_RETRY:
      return End(absl::UnavailableError("the peer's first packet is none"));
    case NGTCP2_ERR_CRYPTO:
      ngtcp2_connection_close_error_set_transport_error_tls_alert(&reason, ngtcp2_conn_get_tls_alert(conn_), nullptr,
                                                                  0);
      SendClose(reason);
      return End(absl::UnavailableError(
          StrCat("TLS handshake: ",
                 gnutls_alert_get_name(static_cast<gnutls_alert_description_t>(ngtcp2_conn_get_tls_alert(conn_))))));
    default:
      ngtcp2_connection_close_error_set_transport_error_liberr(&reason, error, nullptr, 0);
      SendClose(reason);
      return End(absl::UnavailableError(StrCat(what, ": ", ngtcp2_strerror(error))));
  }
}

void QuicConnection::SendClose(const ngtcp2_connection_close_error& reason) {
  std::array<std::byte, kDatagramMax> room;
  ngtcp2_path_storage path;
  ngtcp2_path_storage_zero(&path);
  ngtcp2_pkt_info info{};
  const ngtcp2_ssize size = ngtcp2_conn_write_connection_close(
      conn_, &path.path, &info, reinterpret_cast<uint8_t*>(room.data()), room.size(), &reason, Now());
  if (size <= 0) return;
  const auto bytes = static_cast<size_t>(size);
  parts_.socket.Send(FromLibrary(path.path.remote), FromLibrary(path.path.local), std::span(room).first(bytes), bytes);
}

void QuicConnection::Close(std::string_view why) {
  if (!ended_.ok()) return;
  ngtcp2_connection_close_error reason;
  ngtcp2_connection_close_error_default(&reason);
  ngtcp2_connection_close_error_set_application_error(&reason, 0, reinterpret_cast<const uint8_t*>(why.data()),
                                                      why.size());
  SendClose(reason);
  End(absl::UnavailableError(StrCat("the connection was closed: ", why)));
}

void QuicConnection::Fail(const absl::Status& why) {
  if (ended_.ok()) End(why);
}

void QuicConnection::End(absl::Status why) {
  const std::shared_ptr<QuicConnection> self = shared_from_this();
  timer_.cancel();
  for (auto& [id, stream] : streams_) stream->Break(why);
  for (auto& [id, stream] : streams_) stream->connection_ = nullptr;
  ended_ = std::move(why);
  line_.clear();
  changed_.Notify();
  parts_.owner.Ended(*this);
}

}  // namespace dragonfly::vortex
