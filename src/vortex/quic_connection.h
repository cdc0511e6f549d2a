// SPDX-License-Identifier: Apache-2.0
// One QUIC connection of either end: ngtcp2's state machine with a TLS session, a timer and a socket around it.
//
//   datagrams ──▶ Read() ──▶ QuicStreamReader::Received()
//   QuicStream::Queue() ──▶ Flush() ──▶ runs of equal datagrams ──▶ QuicSocket::Send()
//
// The library keeps no content: bytes are sent, and sent again, from the chunks of the streams, which stay until they
// are acknowledged.
#pragma once

#include <ngtcp2/ngtcp2.h>
#include <ngtcp2/ngtcp2_crypto.h>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/clock.h"
#include "runtime/signal.h"
#include "vortex/quic_socket.h"
#include "vortex/quic_stream.h"
#include "vortex/quic_tls.h"

namespace dragonfly::vortex {

// Bytes of the connection ids that our servers give out.
inline constexpr size_t kQuicServerIdSize = 12;

// What the connections of one thread may hold together of content that is not acknowledged.
struct SendMemory {
  size_t limit = 0;
  size_t used = 0;
};

struct QuicSettings {
  QuicSettings() = default;
  uint64_t stream_window = 0;      // bytes that the peer may send on a stream before they are consumed
  uint64_t connection_window = 0;  // the same of all its streams
  uint64_t peer_streams_max = 0;   // streams that the peer may have open
  std::chrono::milliseconds handshake_timeout{10'000};
  std::chrono::milliseconds idle_timeout{60'000};  // without a datagram from the peer
  std::chrono::milliseconds keep_alive{0};         // a PING after so long without a datagram, while streams are open
};

class QuicConnection;

// What a connection asks of whoever keeps it, and tells him; on the connection's thread, in the middle of its work:
// nothing of the connection may be called but QuicStream::SetReader().
class QuicConnectionOwner {
 public:
  virtual ~QuicConnectionOwner() = default;
  // Fills `id`, of id.datalen bytes, so that it leads to this connection, and its stateless reset token.
  virtual void MakeId(QuicConnection& connection, ngtcp2_cid& id, uint8_t* reset_token) = 0;
  virtual void RetireId(QuicConnection& connection, const ngtcp2_cid& id) = 0;
  // The handshake is complete.
  virtual void Established(QuicConnection& connection) = 0;
  // The peer has opened a stream.
  virtual void Opened(QuicConnection& connection, std::shared_ptr<QuicStream> stream) = 0;
  // The connection has ended; the last call.
  virtual void Ended(QuicConnection& connection) = 0;
};

// A client's first packet, as ngtcp2_accept() read it, and what its token proved.
struct QuicInitial {
  ngtcp2_pkt_hd header;
  ngtcp2_cid original_dcid;  // of the client's very first packet
  bool after_retry = false;
};

// Thread rule: the thread of the io_context.
class QuicConnection : public std::enable_shared_from_this<QuicConnection> {
 public:
  struct Parts {
    boost::asio::io_context& io;
    QuicSocket& socket;
    const TlsCredentials& credentials;
    QuicConnectionOwner& owner;
    SendMemory& memory;
  };
  // All parts must outlive the connection's end. Errors: INTERNAL of the libraries.
  static absl::StatusOr<std::shared_ptr<QuicConnection>> Accept(const Parts& parts, const QuicSettings& settings,
                                                                const QuicInitial& initial,
                                                                const QuicSocket::Received& received);
  static absl::StatusOr<std::shared_ptr<QuicConnection>> Connect(const Parts& parts, const QuicSettings& settings,
                                                                 const SocketAddress& remote);
  // Without a word to the peer, if it has not ended.
  ~QuicConnection();
  QuicConnection(const QuicConnection&) = delete;
  QuicConnection& operator=(const QuicConnection&) = delete;

  // Takes datagrams in. Flush() must follow, once for all that came together.
  void Read(const QuicSocket::Received& received);
  // Sends what may be sent now.
  void Flush();
  // Ends the connection, telling the peer (CONNECTION_CLOSE of the application, code 0). Idempotent.
  void Close(std::string_view reason);
  // Ends the connection for a reason that is known from elsewhere, without telling the peer.
  void Fail(const absl::Status& why);

  // OK while the connection lives; then why it ended.
  const absl::Status& ended() const { return ended_; }
  bool established() const { return established_; }
  // Suspends until the handshake is complete. Errors: DEADLINE_EXCEEDED; why the connection ended.
  boost::asio::awaitable<absl::Status> WaitUntilEstablished(TimePoint deadline);
  // Opens a stream, waiting while the peer allows no more. Errors: the same.
  boost::asio::awaitable<absl::StatusOr<std::shared_ptr<QuicStream>>> OpenStream(TimePoint deadline);

  size_t streams() const { return streams_.size(); }
  // Since when no stream is open, and when the last datagram came.
  TimePoint idle_since() const { return idle_since_; }
  TimePoint last_received() const { return last_received_; }
  const ngtcp2_cid& client_initial_dcid() const { return *ngtcp2_conn_get_client_initial_dcid(conn_); }

 private:
  friend class QuicStream;
  friend struct QuicCallbacks;
  struct Run;

  QuicConnection(const Parts& parts, const QuicSettings& settings);
  absl::Status MakeSession();
  ngtcp2_settings LibrarySettings() const;
  ngtcp2_transport_params TransportParameters() const;

  // For the streams.
  void WantToSend(QuicStream& stream);
  void ExtendWindow(QuicStream& stream, size_t bytes);
  void Shutdown(QuicStream& stream, bool writing_too);
  void Charge(size_t bytes);
  void Release(size_t bytes);
  bool HasRoom();

  // For the callbacks.
  std::shared_ptr<QuicStream> AddStream(int64_t id);
  void RemoveStream(int64_t id);
  void HandshakeCompleted();

  void FlushSoon();
  void WritePackets(Run& run);
  int64_t WritePacketAt(std::span<std::byte> room, ngtcp2_path_storage& path, uint64_t now);
  void LeaveLine();
  bool SendRun(Run& run);
  void WaitForSocket();
  void ArmTimer();
  void OnTimer();
  void UpdateKeepAlive();
  void FailWith(int error, std::string_view what);
  void SendClose(const ngtcp2_connection_close_error& reason);
  void End(absl::Status why);

  const Parts parts_;
  const QuicSettings settings_;
  TlsSession tls_;
  ngtcp2_crypto_conn_ref conn_ref_{};
  ngtcp2_conn* conn_ = nullptr;
  absl::Status ended_;
  bool established_ = false;
  runtime::Signal changed_;  // established, ended, or streams allowed

  std::unordered_map<int64_t, std::shared_ptr<QuicStream>> streams_;
  std::deque<std::shared_ptr<QuicStream>> line_;  // streams that have something to send
  std::vector<std::span<const std::byte>> parts_to_send_;
  size_t held_ = 0;       // bytes of chunks that are not acknowledged
  bool starved_ = false;  // a stream waits for room
  TimePoint idle_since_ = Clock::now();
  TimePoint last_received_ = Clock::now();

  boost::asio::steady_timer timer_;
  uint64_t timer_armed_;  // in the library's time; never later than what the library waits for
  bool flush_posted_ = false;
  std::vector<std::byte> stuck_;  // a run that the socket did not take
  size_t stuck_segment_ = 0;
  SocketAddress stuck_remote_;
  SocketAddress stuck_local_;
};

}  // namespace dragonfly::vortex
