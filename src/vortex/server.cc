// SPDX-License-Identifier: Apache-2.0
// Connections are accepted on the first io thread; each is handed to the thread that has the fewest and is served
// there, request after request, by a coroutine of its own. The kernel moves the bytes of a piece from the page cache to
// the socket (sendfile); this code only decides how many may go.
#include "vortex/server.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/sendfile.h>
#include <sys/socket.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <string_view>
#include <unordered_set>
#include <utility>

#include "absl/status/status.h"
#include "base/status.h"
#include "base/text.h"
#include "runtime/acceptor.h"
#include "runtime/task_group.h"
#include "telemetry/log.h"
#include "vortex/connection.h"
#include "vortex/socket_address.h"

namespace dragonfly::vortex {

namespace asio = boost::asio;

namespace {

constexpr int kBacklog = 1024;
// Bytes of one sendfile(2), and bytes after which a connection that never has to wait lets others run.
constexpr uint64_t kSendStep = 4 << 20;
constexpr uint64_t kBytesPerTurn = 16 << 20;

struct Served;

// What belongs to one io thread. Members without a note are used on that thread only.
struct Shard {
  explicit Shard(asio::io_context& context) : io(context), group(context.get_executor()) {}

  asio::io_context& io;
  runtime::TaskGroup group;  // thread-safe
  std::unordered_set<Served*> served;
  bool stopping = false;
};

// A connection in the frame of the coroutine that serves it.
struct Served {
  Served(Shard& s, UniqueFd fd) : shard(s), connection(s.io, std::move(fd)) { shard.served.insert(this); }
  ~Served() { shard.served.erase(this); }
  Served(const Served&) = delete;
  Served& operator=(const Served&) = delete;

  Shard& shard;
  Connection connection;
  bool between_requests = true;
};

asio::awaitable<void> StopBetweenRequests(Shard& shard) {
  shard.stopping = true;
  for (Served* served : shard.served) {
    if (served->between_requests) served->connection.Interrupt();
  }
  co_return;
}

Answerer::Options AnswerOptions(const ServerOptions& options) {
  Answerer::Options out;
  out.piece_wait_timeout = options.piece_wait_timeout;
  out.stall_timeout = options.stall_timeout;
  return out;
}

runtime::Acceptor::Options AcceptorOptions() {
  runtime::Acceptor::Options options;
  options.report = [](const absl::Status& status) { DF_LOG(Warn, "piece connections: {}", MessageOf(status)); };
  return options;
}

// A socket that listens at the address; options set here are inherited by what it accepts.
absl::StatusOr<UniqueFd> Listen(const std::string& ip, uint16_t port, bool fast_open) {
  const std::string what = StrCat("listen for pieces on ", ip, " port ", port);
  const absl::StatusOr<SocketAddress> address = SocketAddress::Make(ip, port);
  if (!address.ok()) return Annotate(address.status(), what);
  UniqueFd fd(::socket(address->family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return ErrnoStatus(errno, what);
  const int on = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  SetConnectionOptions(fd.get());
  constexpr std::string_view kCongestion = "cubic";
  if (::setsockopt(fd.get(), IPPROTO_TCP, TCP_CONGESTION, kCongestion.data(), kCongestion.size()) != 0) {
    DF_LOG(Warn, "{}: congestion control {} is not available, the system's default stays", what, kCongestion);
  }
  if (fast_open && ::setsockopt(fd.get(), IPPROTO_TCP, TCP_FASTOPEN, &kBacklog, sizeof(kBacklog)) != 0) {
    DF_LOG(Warn, "{}: no TCP Fast Open: {}", what, std::strerror(errno));
  }
  if (::bind(fd.get(), address->get(), address->size) != 0 || ::listen(fd.get(), kBacklog) != 0) {
    return ErrnoStatus(errno, what);
  }
  return fd;
}

// The answers of one connection: the kernel moves the bytes of a piece from the page cache to the socket.
class TcpAnswerWriter final : public AnswerWriter {
 public:
  explicit TcpAnswerWriter(Connection& connection) : connection_(connection) {}

  void SetDeadline(TimePoint deadline) override { connection_.SetDeadline(deadline); }
  asio::awaitable<absl::Status> Send(std::span<const std::byte> bytes, bool more) override {
    // Held back by the kernel until the first bytes of the piece fill the segment.
    return connection_.Send(bytes, more ? MSG_MORE : 0);
  }
  asio::awaitable<absl::StatusOr<uint64_t>> SendFile(const UniqueFd& file, uint64_t offset, uint64_t length) override {
    auto at = static_cast<off_t>(offset);
    if (turn_ >= kBytesPerTurn) {
      turn_ = 0;
      co_await asio::post(asio::use_awaitable);
    }
    for (;;) {
      const ssize_t n = ::sendfile(connection_.fd(), file.get(), &at, std::min(length, kSendStep));
      if (n > 0) {
        turn_ += static_cast<uint64_t>(n);
        co_return static_cast<uint64_t>(n);
      }
      if (n == 0) co_return absl::DataLossError(StrCat("the file ends ", length, " bytes before the piece does"));
      if (errno == EAGAIN) {
        turn_ = 0;
        DF_CO_RETURN_IF_ERROR(co_await connection_.WaitWritable());
      } else if (errno != EINTR) {
        co_return ErrnoStatus(errno, "sendfile");
      }
    }
  }
  asio::awaitable<absl::Status> Finish() override { co_return absl::OkStatus(); }

 private:
  Connection& connection_;
  uint64_t turn_ = 0;  // bytes since this connection last let others run
};

}  // namespace

struct Server::State {
  State(const ServerOptions& o, runtime::IoThreads& io, PieceProvider& p, runtime::TokenBucket& l, UniqueFd listening)
      : options(o),
        answerer(p, l, AnswerOptions(o)),
        seats(io.size(), o.connections_max),
        acceptor(io.At(0), std::move(listening), AcceptorOptions(),
                 [this](UniqueFd fd, const sockaddr_storage&) { Admit(std::move(fd)); }) {
    for (size_t i = 0; i < io.size(); ++i) shards.push_back(std::make_unique<Shard>(io.At(i)));
  }

  void Admit(UniqueFd fd);
  asio::awaitable<void> Serve(runtime::Seats::Seat seat, Shard& shard, UniqueFd fd);
  asio::awaitable<absl::StatusOr<Header>> ReadRequest(Served& served, TimePoint first_byte_by,
                                                      std::span<std::byte, kRequestSize> packet);

  const ServerOptions options;
  const Answerer answerer;
  uint16_t port = 0;
  runtime::Seats seats;
  std::vector<std::unique_ptr<Shard>> shards;
  runtime::Acceptor acceptor;
};

void Server::State::Admit(UniqueFd fd) {
  std::optional<runtime::Seats::Seat> seat = seats.Take();
  if (!seat) return;
  Shard& shard = *shards[seat->thread()];
  shard.group.Spawn(Serve(*std::move(seat), shard, std::move(fd)));
}

asio::awaitable<void> Server::State::Serve(runtime::Seats::Seat /*seat*/, Shard& shard, UniqueFd fd) {
  Served served(shard, std::move(fd));
  Connection& connection = served.connection;
  TcpAnswerWriter writer(connection);
  std::array<std::byte, kRequestSize> packet;
  TimePoint first_byte_by = Clock::now() + options.first_byte_timeout;
  while (!shard.stopping) {
    const absl::StatusOr<Header> header = co_await ReadRequest(served, first_byte_by, packet);
    if (!header.ok() || header->tag == Tag::kClose) co_return;
    const absl::StatusOr<Request> request = ParseRequest(*header, packet);
    if (!request.ok()) {
      const absl::Status told = co_await answerer.Refuse(writer, header->id, std::string(MessageOf(request.status())));
      if (told.ok()) co_await connection.CloseGently();
      co_return;
    }
    if (const absl::Status sent = co_await answerer.Answer(writer, *header, *request); !sent.ok()) {
      DF_LOG(Debug, "send piece {}: {}", PieceId(*request), MessageOf(sent));
      co_return;
    }
    first_byte_by = Clock::now() + options.idle_timeout;
  }
}

// Reads one request into `packet`, or as much of it as shows that it is none.
asio::awaitable<absl::StatusOr<Header>> Server::State::ReadRequest(Served& served, TimePoint first_byte_by,
                                                                   std::span<std::byte, kRequestSize> packet) {
  Connection& connection = served.connection;
  served.between_requests = true;
  connection.SetDeadline(first_byte_by);
  size_t have = 0;
  for (;;) {
    const absl::StatusOr<size_t> n = connection.ReceiveSome(packet.subspan(have));
    if (!n.ok()) co_return n.status();
    if (*n == 0) {
      DF_CO_RETURN_IF_ERROR(co_await connection.WaitReadable());
      continue;
    }
    if (have == 0) {
      // A first request has what is left of its time; a later one does not keep the idle connection's long patience.
      served.between_requests = false;
      connection.SetDeadline(std::min(first_byte_by, Clock::now() + options.first_byte_timeout));
    }
    have += *n;
    if (const std::optional<Header> header = RequestHeader(packet.first(have))) co_return *header;
  }
}

absl::StatusOr<std::unique_ptr<Server>> Server::Start(const ServerOptions& options, runtime::IoThreads& io,
                                                      PieceProvider& provider, runtime::TokenBucket& limiter) {
  DF_ASSIGN_OR_RETURN(UniqueFd listening, Listen(options.ip, options.port, options.fast_open));
  DF_ASSIGN_OR_RETURN(const SocketAddress address, SocketAddress::OfSocket(listening.get()));
  // sendfile(2) to a peer that has gone raises SIGPIPE and takes no flag against it.
  struct sigaction action{};
  if (::sigaction(SIGPIPE, nullptr, &action) == 0 && action.sa_handler == SIG_DFL) ::signal(SIGPIPE, SIG_IGN);

  auto state = std::make_shared<State>(options, io, provider, limiter, std::move(listening));
  state->port = address.port();
  state->acceptor.Start();
  return std::unique_ptr<Server>(new Server(std::move(state)));
}

Server::Server(std::shared_ptr<State> state) : state_(std::move(state)) {}

Server::~Server() = default;

uint16_t Server::port() const { return state_->port; }

size_t Server::connections() const { return state_->seats.taken(); }

asio::awaitable<void> Server::Stop(TimePoint deadline) {
  const std::shared_ptr<State> state = state_;
  co_await state->acceptor.Stop();
  for (const std::unique_ptr<Shard>& shard : state->shards) {
    co_await asio::co_spawn(shard->io, StopBetweenRequests(*shard), asio::use_awaitable);
  }
  asio::steady_timer cut(co_await asio::this_coro::executor, deadline);
  cut.async_wait([weak = std::weak_ptr<State>(state)](const boost::system::error_code& error) {
    const std::shared_ptr<State> alive = weak.lock();
    if (error || alive == nullptr) return;
    for (const std::unique_ptr<Shard>& shard : alive->shards) shard->group.Cancel();
  });
  for (const std::unique_ptr<Shard>& shard : state->shards) co_await shard->group.Drain();
}

}  // namespace dragonfly::vortex
