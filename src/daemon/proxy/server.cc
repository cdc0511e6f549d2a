// SPDX-License-Identifier: Apache-2.0
#include "daemon/proxy/server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/rand.h>
#include <sys/socket.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cerrno>
#include <csignal>
#include <optional>
#include <unordered_set>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "base/status.h"
#include "base/text.h"
#include "daemon/proxy/handler.h"
#include "daemon/proxy/origin_client.h"
#include "daemon/proxy/parts.h"
#include "daemon/proxy/stream.h"
#include "runtime/acceptor.h"
#include "runtime/task_group.h"
#include "telemetry/log.h"
#include "vortex/socket_address.h"

namespace dragonfly::daemon::proxy {

namespace asio = boost::asio;

namespace {

constexpr int kBacklog = 4096;
// Names that are looked up at once, and that wait for it.
constexpr size_t kResolvers = 8;
constexpr size_t kResolversQueue = 1024;

// A connection in the frame of the coroutine that serves it.
struct Served {
  explicit Served(asio::io_context& io, UniqueFd fd) : stream(io, std::move(fd)) {}
  Stream stream;
  bool busy = false;
};

// What belongs to one io thread.
struct Shard {
  Shard(asio::io_context& context, runtime::BlockingPool& resolvers, const Parts& parts, OriginClient::Options options)
      : io(context),
        group(context.get_executor()),
        origin(context, resolvers, *parts.origin_tls, parts.forbidden, std::move(options)) {}

  asio::io_context& io;
  runtime::TaskGroup group;  // thread-safe
  OriginClient origin;
  std::unordered_set<Served*> served;
  bool stopping = false;
};

asio::awaitable<void> StopBetweenRequests(Shard& shard) {
  shard.stopping = true;
  for (Served* const served : shard.served) {
    if (!served->busy) served->stream.Interrupt();
  }
  co_return;
}

asio::awaitable<void> CloseOrigins(Shard& shard) {
  shard.origin.Clear();
  co_return;
}

absl::StatusOr<UniqueFd> Listen(const std::string& ip, uint16_t port) {
  const std::string what = StrCat("listen on ", ip, " port ", port);
  const absl::StatusOr<vortex::SocketAddress> address = vortex::SocketAddress::Make(ip, port);
  if (!address.ok()) return Annotate(address.status(), what);
  UniqueFd fd(::socket(address->family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return ErrnoStatus(errno, what);
  const int on = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  vortex::SetConnectionOptions(fd.get());
  // Most clients are on this host: what paces for distant networks halves the speed of loopback.
  constexpr std::string_view kCongestion = "cubic";
  ::setsockopt(fd.get(), IPPROTO_TCP, TCP_CONGESTION, kCongestion.data(), kCongestion.size());
  if (::bind(fd.get(), address->get(), address->size) != 0 || ::listen(fd.get(), kBacklog) != 0) {
    return ErrnoStatus(errno, what);
  }
  return fd;
}

Client ClientOf(const sockaddr_storage& address) {
  Client client;
  char text[INET6_ADDRSTRLEN] = "";
  if (address.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(address);
    ::inet_ntop(AF_INET, &v4.sin_addr, text, sizeof(text));
    client.loopback = (ntohl(v4.sin_addr.s_addr) >> 24) == 127;
  } else if (address.ss_family == AF_INET6) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address);
    ::inet_ntop(AF_INET6, &v6.sin6_addr, text, sizeof(text));
    client.loopback =
        IN6_IS_ADDR_LOOPBACK(&v6.sin6_addr) || (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr) && v6.sin6_addr.s6_addr[12] == 127);
  }
  client.ip = text;
  return client;
}

absl::Status Prepare(const DaemonConfig& config, const Server::Options& options, Parts& parts) {
  DF_ASSIGN_OR_RETURN(parts.rules, Rules::Make(config.proxy.rules));
  absl::StatusOr<http::Networks> forbidden = http::Networks::Parse(config.proxy.forbidden_networks);
  if (!forbidden.ok()) return Annotate(forbidden.status(), "proxy.forbiddenNetworks");
  parts.forbidden = *std::move(forbidden);
  OriginTls::Options tls;
  tls.verify = config.backend.verify_tls;
  tls.ca_files = {config.proxy.registry_cert, config.backend.ca_file};
  DF_ASSIGN_OR_RETURN(parts.origin_tls, OriginTls::Make(tls));
  TunnelCertificates::Options authority;
  authority.ca_cert = config.proxy.ca_cert;
  authority.ca_key = config.proxy.ca_key;
  authority.own_dir = options.authority_dir;
  absl::StatusOr<std::unique_ptr<TunnelCertificates>> certificates = TunnelCertificates::Make(authority);
  if (certificates.ok()) {
    parts.certificates = *std::move(certificates);
  } else if (!config.proxy.ca_cert.empty()) {
    return Annotate(certificates.status(), "proxy.server.caCert and caKey");
  } else {
    DF_LOG(Warn, "proxy: no authority of its own, so no tunnel is opened: {}", MessageOf(certificates.status()));
  }
  // Unlike every other proxy's, so that a request that comes back is known.
  unsigned char random[8];
  if (RAND_bytes(random, sizeof(random)) != 1) return absl::InternalError("no random bytes");
  const std::string id(reinterpret_cast<const char*>(random), sizeof(random));
  parts.via = StrCat("dfdaemon-", absl::BytesToHexString(id));
  return absl::OkStatus();
}

}  // namespace

struct Server::State {
  State(const DaemonConfig& config, Options o, TaskManager& tasks, const CallGate& gate, size_t threads)
      : options(std::move(o)), parts(config, tasks, gate), seats(threads, options.connections_max) {}

  void Admit(UniqueFd fd, Client client);
  asio::awaitable<void> Serve(runtime::Seats::Seat seat, Shard& shard, UniqueFd fd, Client client);

  const Options options;
  Parts parts;
  uint16_t port = 0;
  runtime::Seats seats;
  runtime::BlockingPool resolvers{kResolvers, kResolversQueue};
  std::vector<std::unique_ptr<Shard>> shards;
  std::unique_ptr<runtime::Acceptor> acceptor;
};

void Server::State::Admit(UniqueFd fd, Client client) {
  std::optional<runtime::Seats::Seat> seat = seats.Take();
  if (!seat) return;
  Shard& shard = *shards[seat->thread()];
  shard.group.Spawn(Serve(*std::move(seat), shard, std::move(fd), std::move(client)));
}

asio::awaitable<void> Server::State::Serve(runtime::Seats::Seat /*seat*/, Shard& shard, UniqueFd fd, Client client) {
  Served served(shard.io, std::move(fd));
  struct Registered {
    Shard& shard;
    Served& served;
    Registered(Shard& s, Served& c) : shard(s), served(c) { shard.served.insert(&served); }
    ~Registered() { shard.served.erase(&served); }
  };
  const Registered registered(shard, served);
  Handler handler(parts, shard.origin, shard.io, std::move(client), "");
  co_await ServeRequests(handler, served.stream, served.busy, shard.stopping);
}

absl::StatusOr<std::unique_ptr<Server>> Server::Start(const DaemonConfig& config, Options options,
                                                      runtime::IoThreads& io, TaskManager& tasks,
                                                      const CallGate& gate) {
  auto state = std::make_shared<State>(config, std::move(options), tasks, gate, io.size());
  DF_RETURN_IF_ERROR(Prepare(config, state->options, state->parts));
  DF_ASSIGN_OR_RETURN(UniqueFd listening, Listen(config.proxy.server.ip, config.proxy.server.port));
  DF_ASSIGN_OR_RETURN(const vortex::SocketAddress address, vortex::SocketAddress::OfSocket(listening.get()));
  // sendfile(2) to a client that has gone raises SIGPIPE and takes no flag against it.
  struct sigaction action{};
  if (::sigaction(SIGPIPE, nullptr, &action) == 0 && action.sa_handler == SIG_DFL) ::signal(SIGPIPE, SIG_IGN);
  state->port = address.port();
  OriginClient::Options origins;
  origins.via = state->parts.via;
  origins.own.port = state->port;
  origins.own.hosts = {config.host.ip, config.host.hostname, tasks.identity().ip, tasks.identity().hostname};
  for (size_t index = 0; index < io.size(); ++index) {
    state->shards.push_back(std::make_unique<Shard>(io.At(index), state->resolvers, state->parts, origins));
  }
  runtime::Acceptor::Options accepting;
  accepting.report = [](const absl::Status& status) {
    DF_LOG(Warn, "connections to the proxy: {}", MessageOf(status));
  };
  state->acceptor =
      std::make_unique<runtime::Acceptor>(io.At(0), std::move(listening), std::move(accepting),
                                          [to = state.get()](UniqueFd fd, const sockaddr_storage& address) {
                                            to->Admit(std::move(fd), ClientOf(address));
                                          });
  state->acceptor->Start();
  return std::unique_ptr<Server>(new Server(std::move(state)));
}

Server::Server(std::shared_ptr<State> state) : state_(std::move(state)) {}
Server::~Server() = default;

uint16_t Server::port() const { return state_->port; }
size_t Server::connections() const { return state_->seats.taken(); }

asio::awaitable<void> Server::Stop(TimePoint deadline) {
  const std::shared_ptr<State> state = state_;
  co_await state->acceptor->Stop();
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
  for (const std::unique_ptr<Shard>& shard : state->shards) {
    co_await asio::co_spawn(shard->io, CloseOrigins(*shard), asio::use_awaitable);
  }
}

}  // namespace dragonfly::daemon::proxy
