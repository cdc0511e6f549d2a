// SPDX-License-Identifier: Apache-2.0
// A fetch takes a connection (kept or new), sends one request, reads the answer's head, and then fills one reused block
// after the other straight from the socket into the sink. Nothing here is sized by the parent's numbers.
#include "vortex/client.h"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cerrno>
#include <map>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "base/status.h"
#include "base/text.h"
#include "runtime/buffer_pool.h"
#include "vortex/connection.h"
#include "vortex/socket_address.h"

namespace dragonfly::vortex {

namespace asio = boost::asio;

namespace {

using runtime::Block;

// Blocks that a parent may fill without a pause before others on the thread get a turn.
constexpr int kBlocksPerTurn = 1;
// A pause in the stream hands on what has come when it is at least this much. Less is kept until more is there: the
// sink writes to a file, and small writes cost several times what large ones do.
constexpr size_t kWorthAppending = 256 << 10;
// A parent whose kept connection has ended so soon closes after each piece, and is not tried again for a while.
constexpr std::chrono::seconds kClosesWithin{2};
constexpr std::chrono::seconds kClosesFor{60};

using ConnectionPtr = std::unique_ptr<Connection>;

}  // namespace

struct Client::State : std::enable_shared_from_this<State> {
  State(asio::io_context& i, runtime::TokenBucket& l, Options o) : io(i), limiter(l), options(o), sweeper(i) {}

  // One fetch on one connection; `reusable` tells whether the connection may carry another.
  asio::awaitable<absl::StatusOr<ContentMetadata>> Exchange(Connection& connection, const FetchRequest& request,
                                                            std::span<const std::byte> packet, ByteSink& sink,
                                                            bool& reusable);
  asio::awaitable<absl::Status> ReadContent(Connection& connection, const FetchRequest& request, ByteSink& sink);
  asio::awaitable<absl::StatusOr<ConnectionPtr>> Connect(const Endpoint& endpoint, TimePoint deadline);

  // A kept connection that is still good; null when there is none.
  ConnectionPtr TakeIdle(const Endpoint& endpoint);
  void Keep(const Endpoint& endpoint, ConnectionPtr connection);
  void Sweep();
  void ArmSweeper();

  // Patience with the parent from now on, within the deadline of the piece.
  static TimePoint Patience(const FetchRequest& request) {
    return std::min(request.deadline, Clock::now() + request.stall_timeout);
  }

  struct Idle {
    ConnectionPtr connection;
    TimePoint since;
  };
  struct Parent {
    std::vector<Idle> idle;  // the oldest first
    TimePoint closes_until =
        TimePoint::min();  // closes after each piece: until then keeping would only pile up sockets
  };

  asio::io_context& io;
  runtime::TokenBucket& limiter;
  const Options options;
  std::map<Endpoint, Parent> parents;
  size_t idle_count = 0;
  uint8_t next_packet_id = 0;  // nobody reads it; it tells packets apart in a capture
  asio::steady_timer sweeper;
  bool sweeping = false;
};

ConnectionPtr Client::State::TakeIdle(const Endpoint& endpoint) {
  const auto found = parents.find(endpoint);
  if (found == parents.end()) return nullptr;
  Parent& parent = found->second;
  while (!parent.idle.empty()) {
    // The youngest first: the likeliest to live, and the others may grow old and go.
    ConnectionPtr connection = std::move(parent.idle.back().connection);
    const TimePoint since = parent.idle.back().since;
    parent.idle.pop_back();
    --idle_count;
    const TimePoint now = Clock::now();
    if (!connection->QuietAndOpen()) {
      if (since + kClosesWithin > now) parent.closes_until = now + kClosesFor;
    } else if (since + options.idle_timeout > now) {
      return connection;
    }
  }
  return nullptr;
}

void Client::State::Keep(const Endpoint& endpoint, ConnectionPtr connection) {
  ArmSweeper();
  Parent& parent = parents[endpoint];
  const TimePoint now = Clock::now();
  if (parent.closes_until > now || parent.idle.size() >= options.idle_per_endpoint) return;
  if (!connection->QuietAndOpen()) {
    parent.closes_until = now + kClosesFor;
    return;
  }
  connection->SetDeadline(kNoDeadline);
  parent.idle.push_back({std::move(connection), now});
  ++idle_count;
}

void Client::State::ArmSweeper() {
  if (sweeping) return;
  sweeping = true;
  sweeper.expires_after(options.idle_timeout / 2);
  sweeper.async_wait([weak = weak_from_this()](const boost::system::error_code& error) {
    const std::shared_ptr<State> state = weak.lock();
    if (error || state == nullptr) return;
    state->sweeping = false;
    state->Sweep();
  });
}

// Closes what has been idle for long, and forgets parents of which nothing is left to know.
void Client::State::Sweep() {
  const TimePoint now = Clock::now();
  for (auto at = parents.begin(); at != parents.end();) {
    Parent& parent = at->second;
    const auto old_end = std::find_if(parent.idle.begin(), parent.idle.end(), [&](const Idle& idle) {
      return idle.since + options.idle_timeout > now && idle.connection->QuietAndOpen();
    });
    idle_count -= static_cast<size_t>(old_end - parent.idle.begin());
    parent.idle.erase(parent.idle.begin(), old_end);
    at = parent.idle.empty() && parent.closes_until <= now ? parents.erase(at) : std::next(at);
  }
  if (!parents.empty()) ArmSweeper();
}

asio::awaitable<absl::StatusOr<ConnectionPtr>> Client::State::Connect(const Endpoint& endpoint, TimePoint deadline) {
  const absl::StatusOr<SocketAddress> address = SocketAddress::Make(endpoint.ip, endpoint.port);
  if (!address.ok()) co_return address.status();
  UniqueFd fd(::socket(address->family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd.valid()) co_return ErrnoStatus(errno, "socket");
  SetConnectionOptions(fd.get());
  auto connection = std::make_unique<Connection>(io, std::move(fd));
  int error = 0;
  if (::connect(connection->fd(), address->get(), address->size) != 0) error = errno;
  if (error == EINPROGRESS) {
    connection->SetDeadline(std::min(deadline, Clock::now() + options.connect_timeout));
    if (const absl::Status waited = co_await connection->WaitWritable(); !waited.ok()) {
      co_return absl::IsDeadlineExceeded(waited) && Clock::now() < deadline
          ? absl::UnavailableError("connect: no answer in time")
          : waited;
    }
    socklen_t error_size = sizeof(error);
    if (::getsockopt(connection->fd(), SOL_SOCKET, SO_ERROR, &error, &error_size) != 0) error = errno;
  }
  if (error != 0) co_return absl::UnavailableError(ErrnoStatus(error, "connect").message());
  co_return connection;
}

asio::awaitable<absl::StatusOr<ContentMetadata>> Client::State::Exchange(Connection& connection,
                                                                         const FetchRequest& request,
                                                                         std::span<const std::byte> packet,
                                                                         ByteSink& sink, bool& reusable) {
  reusable = false;
  connection.SetDeadline(Patience(request));
  DF_CO_RETURN_IF_ERROR(co_await connection.Send(packet));

  AnswerHead head(request.tag, request.piece->number, request.expected);
  while (!head.wanted().empty()) {
    const std::span<std::byte> wanted = head.wanted();
    DF_CO_RETURN_IF_ERROR(co_await connection.Receive(wanted));
    connection.SetDeadline(Patience(request));
    const absl::Status read = head.Filled(wanted.size());
    reusable = head.refused();
    DF_CO_RETURN_IF_ERROR(read);
  }
  DF_CO_RETURN_IF_ERROR(co_await ReadContent(connection, request, sink));
  reusable = true;
  co_return head.metadata();
}

asio::awaitable<absl::Status> Client::State::ReadContent(Connection& connection, const FetchRequest& request,
                                                         ByteSink& sink) {
  runtime::TokenBucket& bucket = request.limiter != nullptr ? *request.limiter : limiter;
  const runtime::TransferSize size = bucket.SizeOf(request.expected.length);
  const uint64_t step = std::min<uint64_t>(bucket.chunk(), runtime::kBlockSize);
  Block block;
  uint64_t remaining = request.expected.length;
  int blocks = 0;
  while (remaining > 0) {
    const uint64_t wanted = std::min(remaining, step);
    if (!bucket.unlimited()) {
      co_await bucket.Take(wanted, size);
      if (Clock::now() >= request.deadline) co_return absl::DeadlineExceededError("the download limit left no time");
    }
    connection.SetDeadline(Patience(request));

    size_t filled = 0;        // of the block
    size_t missing = wanted;  // not received
    while (missing > 0 || filled > 0) {
      if (block.data() == nullptr) block = Block::Take();
      const absl::StatusOr<size_t> n = connection.ReceiveSome(block.span().subspan(filled, missing));
      if (!n.ok()) {
        // Whoever asks another way, or anew, goes by whether anything had come.
        if (filled > 0) DF_CO_RETURN_IF_ERROR(sink.Append(block.span().first(filled)));
        co_return n.status();
      }
      filled += *n;
      missing -= *n;
      const bool pause = *n == 0;
      if (missing == 0 || (pause && (filled >= kWorthAppending || (filled > 0 && runtime::BlocksAreScarce())))) {
        DF_CO_RETURN_IF_ERROR(sink.Append(block.span().first(filled)));
        filled = 0;
      } else if (pause) {
        if (filled == 0) block = Block();
        connection.SetDeadline(Patience(request));
        DF_CO_RETURN_IF_ERROR(co_await connection.WaitReadable());
      }
    }
    remaining -= wanted;
    // Whoever has the turn takes it.
    block = Block();
    if (++blocks % kBlocksPerTurn == 0) co_await asio::post(asio::use_awaitable);
  }
  co_return absl::OkStatus();
}

Client::Client(asio::io_context& io, runtime::TokenBucket& limiter, Options options)
    : state_(std::make_shared<State>(io, limiter, options)) {}

Client::~Client() { state_->sweeper.cancel(); }

asio::awaitable<absl::StatusOr<ContentMetadata>> Client::Fetch(Endpoint endpoint, FetchRequest request,
                                                               ByteSink& sink) {
  const std::shared_ptr<State> state = state_;
  if (!request.piece.has_value()) co_return absl::InvalidArgumentError("a fetch without a piece");
  const std::string what = request.ToString(endpoint);
  const absl::StatusOr<std::array<std::byte, kRequestSize>> packet =
      EncodeRequest(state->next_packet_id++, request.tag, *request.piece);
  if (!packet.ok()) co_return Annotate(packet.status(), what);

  ConnectionPtr connection = state->TakeIdle(endpoint);
  for (;;) {
    const bool kept = connection != nullptr;
    if (!kept) {
      absl::StatusOr<ConnectionPtr> connected = co_await state->Connect(endpoint, request.deadline);
      if (!connected.ok()) co_return Annotate(connected.status(), what);
      connection = *std::move(connected);
    }
    const uint64_t received_before = connection->received();
    bool reusable = false;
    absl::StatusOr<ContentMetadata> metadata = co_await state->Exchange(*connection, request, *packet, sink, reusable);
    const bool answered = connection->received() != received_before;
    if (reusable) state->Keep(endpoint, std::move(connection));
    if (metadata.ok()) co_return metadata;
    if (kept && !answered && absl::IsUnavailable(metadata.status())) {
      // The parent closed the kept connection while the request was on its way. Asking twice does no harm.
      connection = nullptr;
      continue;
    }
    co_return Annotate(metadata.status(), what);
  }
}

void Client::CloseIdle() {
  for (auto& [endpoint, parent] : state_->parents) parent.idle.clear();
  state_->idle_count = 0;
}

size_t Client::idle_connections() const { return state_->idle_count; }

}  // namespace dragonfly::vortex
