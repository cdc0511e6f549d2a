// SPDX-License-Identifier: Apache-2.0
#include "vortex/quic_client.h"

#include <gnutls/crypto.h>

#include <algorithm>
#include <array>
#include <boost/asio/steady_timer.hpp>
#include <cstdlib>
#include <map>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "base/status.h"
#include "base/text.h"
#include "runtime/buffer_pool.h"
#include "vortex/quic_connection.h"
#include "vortex/quic_fetch.h"
#include "vortex/quic_socket.h"
#include "vortex/quic_tls.h"
#include "vortex/socket_address.h"

namespace dragonfly::vortex {

namespace asio = boost::asio;

namespace {

constexpr uint64_t kWindowMin = 256 << 10;

// A connection with its socket.
class Link final : public QuicConnectionOwner, public std::enable_shared_from_this<Link> {
 public:
  Link(asio::io_context& io, UniqueFd fd) : socket_(io, std::move(fd), /*connected=*/true) {}
  ~Link() override {
    if (connection_) connection_->Close("");
    socket_.Close();
  }

  absl::Status Connect(asio::io_context& io, const TlsCredentials& credentials, const QuicSettings& settings,
                       const SocketAddress& remote) {
    const QuicConnection::Parts parts{io, socket_, credentials, *this, memory_};
    DF_ASSIGN_OR_RETURN(connection_, QuicConnection::Connect(parts, settings, remote));
    Listen();
    connection_->Flush();
    return absl::OkStatus();
  }
  QuicConnection& connection() { return *connection_; }

  // The socket, not the id, leads here; and nobody will ask to reset what the socket does not know.
  void MakeId(QuicConnection& /*connection*/, ngtcp2_cid& id, uint8_t* reset_token) override {
    if (gnutls_rnd(GNUTLS_RND_NONCE, id.data, id.datalen) != 0 ||
        gnutls_rnd(GNUTLS_RND_RANDOM, reset_token, NGTCP2_STATELESS_RESET_TOKENLEN) != 0) {
      std::abort();
    }
  }
  void RetireId(QuicConnection& /*connection*/, const ngtcp2_cid& /*id*/) override {}
  void Established(QuicConnection& /*connection*/) override {}
  void Opened(QuicConnection& /*connection*/, std::shared_ptr<QuicStream> /*stream*/) override {}
  void Ended(QuicConnection& /*connection*/) override { socket_.Close(); }

 private:
  void Listen() {
    socket_.WhenReadable([weak = weak_from_this()] {
      if (const std::shared_ptr<Link> self = weak.lock()) self->OnReadable();
    });
  }
  void OnReadable() {
    const absl::StatusOr<bool> more =
        socket_.Receive([this](const QuicSocket::Received& received) { connection_->Read(received); });
    if (!more.ok() && !connection_->established()) connection_->Fail(more.status());
    if (!connection_->ended().ok()) return;
    connection_->Flush();
    Listen();
  }

  QuicSocket socket_;
  SendMemory memory_{SIZE_MAX, 0};
  std::shared_ptr<QuicConnection> connection_;
};

}  // namespace

struct QuicClient::State : std::enable_shared_from_this<State> {
  State(asio::io_context& i, runtime::TokenBucket& l, Options o) : io(i), limiter(l), options(o), sweeper(i) {}

  // The connection to `endpoint`, made if there is none; `kept` tells whether it was there.
  absl::StatusOr<std::shared_ptr<Link>> LinkTo(const Endpoint& endpoint, bool& kept);
  // Leaves the connection to those who use it; the next fetch makes a new one.
  void Forget(const Endpoint& endpoint, const std::shared_ptr<Link>& link);
  asio::awaitable<absl::StatusOr<ContentMetadata>> Exchange(Link& link, const FetchRequest& request,
                                                            std::span<const std::byte> packet, ByteSink& sink,
                                                            bool& answered);
  QuicSettings Settings() const;
  void Sweep(TimePoint older_than);
  void ArmSweeper();

  asio::io_context& io;
  runtime::TokenBucket& limiter;
  const Options options;
  std::unique_ptr<TlsCredentials> credentials;
  std::map<Endpoint, std::shared_ptr<Link>> links;
  uint8_t next_packet_id = 0;  // nobody reads it; it tells packets apart in a trace
  asio::steady_timer sweeper;
  bool sweeping = false;
};

QuicSettings QuicClient::State::Settings() const {
  QuicSettings settings;
  settings.stream_window = options.stream_window;
  settings.connection_window = options.connection_window;
  if (!limiter.unlimited()) {
    // No more on its way than a quarter of a second's worth: what has been sent cannot be held back.
    const uint64_t most = std::max(kWindowMin, limiter.rate() / 4);
    settings.stream_window = std::min(settings.stream_window, most);
    settings.connection_window = std::min(settings.connection_window, most);
  }
  settings.handshake_timeout = options.connect_timeout;
  settings.idle_timeout = options.silence_timeout;
  settings.keep_alive = options.keep_alive;
  return settings;
}

absl::StatusOr<std::shared_ptr<Link>> QuicClient::State::LinkTo(const Endpoint& endpoint, bool& kept) {
  if (const auto found = links.find(endpoint); found != links.end()) {
    if (found->second->connection().ended().ok()) {
      kept = found->second->connection().established();
      return found->second;
    }
    links.erase(found);
  }
  kept = false;
  if (credentials == nullptr) {
    DF_ASSIGN_OR_RETURN(credentials, TlsCredentials::ForClient());
  }
  DF_ASSIGN_OR_RETURN(const SocketAddress remote, SocketAddress::Make(endpoint.ip, endpoint.port));
  DF_ASSIGN_OR_RETURN(UniqueFd fd, QuicSocket::Connect(remote));
  auto link = std::make_shared<Link>(io, std::move(fd));
  DF_RETURN_IF_ERROR(link->Connect(io, *credentials, Settings(), remote));
  links.emplace(endpoint, link);
  ArmSweeper();
  return link;
}

void QuicClient::State::Forget(const Endpoint& endpoint, const std::shared_ptr<Link>& link) {
  const auto found = links.find(endpoint);
  if (found != links.end() && found->second == link) links.erase(found);
}

void QuicClient::State::ArmSweeper() {
  if (sweeping) return;
  sweeping = true;
  sweeper.expires_after(options.idle_timeout / 2);
  sweeper.async_wait([weak = weak_from_this()](const boost::system::error_code& error) {
    const std::shared_ptr<State> state = weak.lock();
    if (error || state == nullptr) return;
    state->sweeping = false;
    state->Sweep(Clock::now() - state->options.idle_timeout);
    if (!state->links.empty()) state->ArmSweeper();
  });
}

// Closes what carries no fetch since `older_than`, and forgets what has ended.
void QuicClient::State::Sweep(TimePoint older_than) {
  std::erase_if(links, [older_than](const auto& entry) {
    QuicConnection& connection = entry.second->connection();
    const bool idle = connection.established() && connection.streams() == 0 && connection.idle_since() <= older_than;
    if (idle) connection.Close("idle");
    return !connection.ended().ok();
  });
}

asio::awaitable<absl::StatusOr<ContentMetadata>> QuicClient::State::Exchange(Link& link, const FetchRequest& request,
                                                                             std::span<const std::byte> packet,
                                                                             ByteSink& sink, bool& answered) {
  QuicConnection& connection = link.connection();
  DF_CO_RETURN_IF_ERROR(co_await connection.WaitUntilEstablished(request.deadline));
  const TimePoint patience = std::min(request.deadline, Clock::now() + request.stall_timeout);
  absl::StatusOr<std::shared_ptr<QuicStream>> stream = co_await connection.OpenStream(patience);
  if (!stream.ok()) co_return stream.status();
  // A block that is larger than what the window lets through would never be full.
  const QuicSettings settings = Settings();
  const size_t block = std::min<uint64_t>(runtime::kBlockSize, settings.stream_window / 4);
  QuicFetch fetch(*std::move(stream), request, request.limiter != nullptr ? *request.limiter : limiter, block);
  absl::StatusOr<ContentMetadata> metadata = co_await fetch.Run(packet, sink);
  answered = fetch.answered();
  co_return metadata;
}

QuicClient::QuicClient(asio::io_context& io, runtime::TokenBucket& limiter, Options options)
    : state_(std::make_shared<State>(io, limiter, options)) {}

QuicClient::~QuicClient() {
  state_->sweeper.cancel();
  for (auto& [endpoint, link] : state_->links) link->connection().Close("");
  state_->links.clear();
}

asio::awaitable<absl::StatusOr<ContentMetadata>> QuicClient::Fetch(Endpoint endpoint, FetchRequest request,
                                                                   ByteSink& sink) {
  const std::shared_ptr<State> state = state_;
  if (!request.piece.has_value()) co_return absl::InvalidArgumentError("a fetch without a piece");
  const std::string what = request.ToString(endpoint);
  const absl::StatusOr<std::array<std::byte, kRequestSize>> packet =
      EncodeRequest(state->next_packet_id++, request.tag, *request.piece);
  if (!packet.ok()) co_return Annotate(packet.status(), what);

  for (bool again = false;; again = true) {
    bool kept = false;
    absl::StatusOr<std::shared_ptr<Link>> link = state->LinkTo(endpoint, kept);
    if (!link.ok()) co_return Annotate(link.status(), what);
    bool answered = false;
    const TimePoint begun = Clock::now();
    absl::StatusOr<ContentMetadata> metadata = co_await state->Exchange(**link, request, *packet, sink, answered);
    if (metadata.ok()) co_return metadata;
    QuicConnection& connection = (*link)->connection();
    if (!connection.ended().ok()) {
      state->Forget(endpoint, *link);
      if (kept && !answered && !again) {
        // The parent closed the kept connection while the request was on its way. Asking twice does no harm.
        continue;
      }
    } else if (absl::IsDeadlineExceeded(metadata.status()) &&
               connection.last_received() <= begun + (Clock::now() - begun) / 2) {
      // Nothing came on the whole connection, but what may have been on its way when the request left: the parent has
      // gone without a word. One that lives acknowledges at least the PINGs of the wait.
      state->Forget(endpoint, *link);
    }
    co_return Annotate(metadata.status(), what);
  }
}

void QuicClient::CloseIdle() { state_->Sweep(Clock::now()); }

size_t QuicClient::connections() const { return state_->links.size(); }

}  // namespace dragonfly::vortex
