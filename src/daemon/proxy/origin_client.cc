// SPDX-License-Identifier: Apache-2.0
#include "daemon/proxy/origin_client.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <memory>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/status.h"
#include "base/text.h"
#include "daemon/proxy/http_error.h"
#include "daemon/proxy/target.h"
#include "runtime/signal.h"
#include "runtime/timeout.h"

namespace dragonfly::daemon::proxy {

namespace asio = boost::asio;
using asio::ip::tcp;

namespace {

using Addresses = std::vector<asio::ip::address>;

constexpr std::chrono::seconds kTunnelTime{30};
constexpr size_t kBodyStep = 64 << 10;
// Addresses of one name that are tried.
constexpr size_t kAddressesMax = 8;

std::string NameOf(const Url& url) { return StrCat(url.scheme, "://", url.host, ":", url.effective_port()); }

// Connections whose certificate nobody has looked at are not for those who care.
std::string KeyOf(const Url& url, Trust trust, const std::optional<UpstreamProxy>& proxy) {
  return StrCat(trust == Trust::kAny ? "any " : "", NameOf(url), proxy ? StrCat(" by ", NameOf(proxy->url)) : "");
}

std::string WithoutBrackets(std::string host) {
  if (host.starts_with('[') && host.ends_with(']')) return host.substr(1, host.size() - 2);
  return host;
}

absl::StatusOr<Addresses> LookUp(const std::string& host) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_ADDRCONFIG;
  addrinfo* found = nullptr;
  if (const int error = ::getaddrinfo(host.c_str(), nullptr, &hints, &found); error != 0) {
    return absl::UnavailableError(StrCat("resolve ", host, ": ", ::gai_strerror(error)));
  }
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(found, ::freeaddrinfo);
  Addresses out;
  for (const addrinfo* entry = found; entry != nullptr && out.size() < kAddressesMax; entry = entry->ai_next) {
    if (entry->ai_family == AF_INET) {
      const auto* const v4 = reinterpret_cast<const sockaddr_in*>(entry->ai_addr);
      out.emplace_back(asio::ip::address_v4(ntohl(v4->sin_addr.s_addr)));
    } else if (entry->ai_family == AF_INET6) {
      const auto* const v6 = reinterpret_cast<const sockaddr_in6*>(entry->ai_addr);
      asio::ip::address_v6::bytes_type bytes;
      std::copy(std::begin(v6->sin6_addr.s6_addr), std::end(v6->sin6_addr.s6_addr), bytes.begin());
      out.emplace_back(asio::ip::address_v6(bytes, v6->sin6_scope_id));
    }
  }
  return out;
}

// Shared by the thread that looks up and whoever waits.
struct Lookup {
  absl::StatusOr<Addresses> found = absl::UnavailableError("not looked up");  // told by `done`
  runtime::Signal done;
};

asio::awaitable<absl::Status> ConnectSocket(tcp::socket& socket, tcp::endpoint endpoint) {
  boost::system::error_code error;
  co_await socket.async_connect(endpoint, asio::redirect_error(asio::use_awaitable, error));
  if (error) co_return absl::UnavailableError(ToAbsl(error.message()));
  co_return absl::OkStatus();
}

// What a client is told: which origin, and what failed.
absl::Status OriginFailure(const absl::Status& error, const std::string& origin) {
  const int status = HttpStatusOf(error);
  if (status < 500 && status != 408) return error;
  return HttpError(status == 504 || status == 408 ? 504 : 502, StrCat("origin ", origin, ": ", MessageOf(error)));
}

// Sending it twice does no more than sending it once (RFC 9110 §9.2.2).
bool MayRepeat(const std::string& method) {
  for (const char* const safe : {"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"}) {
    if (method == safe) return true;
  }
  return false;
}

}  // namespace

OriginClient::OriginClient(asio::io_context& io, runtime::BlockingPool& resolvers, const OriginTls& tls,
                           const http::Networks& forbidden, Options options)
    : io_(io), resolvers_(resolvers), tls_(tls), forbidden_(forbidden), options_(options) {}

asio::awaitable<absl::StatusOr<Addresses>> OriginClient::Resolve(std::string host) {
  host = WithoutBrackets(std::move(host));
  boost::system::error_code error;
  const asio::ip::address literal = asio::ip::make_address(host, error);
  if (!error) co_return Addresses{literal};
  // Nothing ends a look-up that has begun; one that has not, when nobody waits for it any more, is left out.
  const auto lookup = std::make_shared<Lookup>();
  const uint64_t seen = lookup->done.version();
  const bool queued = resolvers_.Post([waiting = std::weak_ptr<Lookup>(lookup), host] {
    const std::shared_ptr<Lookup> wanted = waiting.lock();
    if (wanted == nullptr) return;
    wanted->found = LookUp(host);
    wanted->done.Notify();
  });
  if (!queued) co_return absl::UnavailableError(StrCat("resolve ", host, ": too many names are looked up"));
  if (!co_await lookup->done.Wait(seen, Clock::now() + options_.resolve_timeout)) {
    co_return HttpError(504, StrCat("resolve ", host, ": no answer"));
  }
  absl::StatusOr<Addresses> found = std::move(lookup->found);
  if (found.ok() && found->empty()) co_return absl::UnavailableError(StrCat("resolve ", host, ": no address"));
  co_return found;
}

asio::awaitable<absl::Status> OriginClient::CheckAllowed(std::string host) {
  if (forbidden_.empty()) co_return absl::OkStatus();
  const absl::StatusOr<Addresses> addresses = co_await Resolve(host);
  if (!addresses.ok()) co_return absl::OkStatus();
  for (const asio::ip::address& address : *addresses) {
    if (forbidden_.Contains(address)) {
      co_return HttpError(403, StrCat(host, " lies in a network of proxy.forbiddenNetworks"));
    }
  }
  co_return absl::OkStatus();
}

asio::awaitable<absl::StatusOr<UniqueFd>> OriginClient::Dial(std::string host, uint16_t port, bool guarded) {
  DF_CO_ASSIGN_OR_RETURN(const Addresses addresses, co_await Resolve(host));
  absl::Status failed = absl::UnavailableError("no address");
  for (const asio::ip::address& address : addresses) {
    if (guarded && forbidden_.Contains(address)) {
      co_return HttpError(403, StrCat(host, " lies in a network of proxy.forbiddenNetworks"));
    }
  }
  for (const asio::ip::address& address : addresses) {
    tcp::socket socket(io_);
    const tcp::endpoint endpoint(address, port);
    failed = co_await runtime::WithDeadline(ConnectSocket(socket, endpoint), Clock::now() + options_.connect_timeout);
    if (!failed.ok()) {
      failed = Annotate(failed, StrCat("connect ", address.to_string(), " port ", port));
      continue;
    }
    boost::system::error_code error;
    UniqueFd fd(socket.release(error));
    if (error) co_return absl::UnavailableError(ToAbsl(error.message()));
    ::fcntl(fd.get(), F_SETFL, ::fcntl(fd.get(), F_GETFL) | O_NONBLOCK);
    vortex::SetConnectionOptions(fd.get());
    co_return fd;
  }
  co_return failed;
}

asio::awaitable<absl::StatusOr<std::unique_ptr<Stream>>> OriginClient::DialProxy(UpstreamProxy proxy) {
  const std::string what = StrCat("by the proxy ", NameOf(proxy.url));
  absl::StatusOr<UniqueFd> fd =
      co_await Dial(proxy.url.host, static_cast<uint16_t>(proxy.url.effective_port()), /*guarded=*/false);
  if (!fd.ok()) co_return Annotate(fd.status(), what);
  if (proxy.url.scheme == "http") co_return std::make_unique<Stream>(io_, *std::move(fd));
  SSL* const ssl = tls_.NewConnection(proxy.url.host, Trust::kVerified);
  if (ssl == nullptr) co_return absl::ResourceExhaustedError("no memory for TLS");
  auto stream = std::make_unique<TlsStream>(io_, *std::move(fd), ssl);
  stream->SetDeadline(Clock::now() + options_.connect_timeout);
  if (const absl::Status shaken = co_await stream->Handshake(); !shaken.ok()) co_return Annotate(shaken, what);
  stream->SetDeadline(kNoDeadline);
  co_return stream;
}

asio::awaitable<absl::StatusOr<OriginTunnel>> OriginClient::TunnelBy(UpstreamProxy proxy, std::string host,
                                                                     uint16_t port) {
  OriginTunnel tunnel;
  DF_CO_ASSIGN_OR_RETURN(tunnel.stream, co_await DialProxy(proxy));
  RequestHead ask;
  ask.method = "CONNECT";
  ask.target = StrCat(host, ":", port);
  ask.fields.Add("Host", ask.target);
  if (!proxy.authorization.empty()) ask.fields.Add("Proxy-Authorization", proxy.authorization);
  if (!options_.via.empty()) ask.fields.Add("Via", StrCat("1.1 ", options_.via));
  // The proxy may have to try several addresses.
  tunnel.stream->SetDeadline(Clock::now() + kTunnelTime);
  MessageReader reader(*tunnel.stream);
  absl::Status sent = co_await tunnel.stream->Write(Serialise(ask));
  bool begun = false;
  absl::StatusOr<ResponseHead> head = absl::UnavailableError("no answer");
  if (sent.ok()) {
    head = co_await reader.ReadResponse("CONNECT", begun);
  } else {
    head = sent;
  }
  const std::string what = StrCat("by the proxy ", NameOf(proxy.url));
  if (!head.ok()) co_return Annotate(head.status(), what);
  if (head->status / 100 != 2) {
    co_return absl::UnavailableError(StrCat(what, ": it answers CONNECT with ", head->status, " ", head->reason));
  }
  tunnel.stream->SetDeadline(kNoDeadline);
  tunnel.ahead = reader.TakeBytes();
  co_return tunnel;
}

asio::awaitable<absl::StatusOr<OriginTunnel>> OriginClient::Connect(std::string host, uint16_t port) {
  Url url;
  url.scheme = "https";
  url.host = host;
  DF_CO_ASSIGN_OR_RETURN(std::optional<UpstreamProxy> proxy, UpstreamProxyOf(url, options_.own));
  if (proxy) {
    DF_CO_RETURN_IF_ERROR(co_await CheckAllowed(host));
    co_return co_await TunnelBy(*std::move(proxy), std::move(host), port);
  }
  DF_CO_ASSIGN_OR_RETURN(UniqueFd fd, co_await Dial(std::move(host), port, /*guarded=*/true));
  OriginTunnel tunnel;
  tunnel.stream = std::make_unique<Stream>(io_, std::move(fd));
  co_return tunnel;
}

asio::awaitable<absl::StatusOr<std::unique_ptr<OriginConnection>>> OriginClient::Open(
    Url url, Trust trust, std::optional<UpstreamProxy> proxy) {
  const std::string key = KeyOf(url, trust, proxy);
  const auto port = static_cast<uint16_t>(url.effective_port());
  std::unique_ptr<Stream> way;
  if (proxy) DF_CO_RETURN_IF_ERROR(co_await CheckAllowed(url.host));
  if (proxy && url.scheme == "https") {
    DF_CO_ASSIGN_OR_RETURN(OriginTunnel tunnel, co_await TunnelBy(*std::move(proxy), url.host, port));
    if (!tunnel.ahead.empty()) co_return absl::UnavailableError("somebody speaks before TLS does");
    way = std::move(tunnel.stream);
  } else if (proxy) {
    DF_CO_ASSIGN_OR_RETURN(way, co_await DialProxy(*std::move(proxy)));
  } else {
    DF_CO_ASSIGN_OR_RETURN(UniqueFd fd, co_await Dial(url.host, port, /*guarded=*/true));
    way = std::make_unique<Stream>(io_, std::move(fd));
  }
  if (url.scheme == "http") co_return std::make_unique<OriginConnection>(key, std::move(way));
  SSL* const ssl = tls_.NewConnection(url.host, trust);
  if (ssl == nullptr) co_return absl::ResourceExhaustedError("no memory for TLS");
  auto stream = std::make_unique<TlsStream>(io_, std::move(way), ssl);
  stream->SetDeadline(Clock::now() + options_.connect_timeout);
  DF_CO_RETURN_IF_ERROR(co_await stream->Handshake());
  stream->SetDeadline(kNoDeadline);
  co_return std::make_unique<OriginConnection>(key, std::move(stream));
}

std::unique_ptr<OriginConnection> OriginClient::TakeKept(const std::string& key, Clock::duration idle_max) {
  const TimePoint oldest = Clock::now() - options_.idle_timeout;
  std::erase_if(idle_, [oldest](const auto& connection) { return connection->idle_since < oldest; });
  for (auto it = idle_.rbegin(); it != idle_.rend(); ++it) {
    if ((*it)->key != key || (*it)->idle_since + idle_max < Clock::now()) continue;
    std::unique_ptr<OriginConnection> taken = std::move(*it);
    idle_.erase(std::next(it).base());
    // An origin that has closed it, or says something unasked, is asked on another one.
    if (!taken->stream->QuietAndOpen() || taken->reader.HasBytes()) return TakeKept(key, idle_max);
    taken->reused = true;
    return taken;
  }
  return nullptr;
}

void OriginClient::Keep(std::unique_ptr<OriginConnection> connection, bool keep_alive) {
  if (!keep_alive || !connection->reader.body_done() || connection->reader.HasBytes()) return;
  if (!connection->stream->QuietAndOpen()) return;
  connection->idle_since = Clock::now();
  idle_.push_back(std::move(connection));
  if (idle_.size() > options_.idle_max) idle_.pop_front();
}

asio::awaitable<absl::Status> OriginClient::SendBody(OriginConnection& connection, RequestBody& body) {
  if (body.reader == nullptr || body.framing.kind == BodyFraming::Kind::kNone) co_return absl::OkStatus();
  if (body.continue_to != nullptr) {
    DF_CO_RETURN_IF_ERROR(co_await body.continue_to->Write("HTTP/1.1 100 Continue\r\n\r\n"));
  }
  const bool chunked = body.framing.kind == BodyFraming::Kind::kChunked;
  std::vector<std::byte> buffer(kBodyStep);
  while (!body.reader->body_done()) {
    // An origin that answers before it has the whole body does not want it.
    if (connection.stream->Readable()) co_return absl::OkStatus();
    const absl::StatusOr<size_t> got = co_await body.reader->ReadBody(buffer);
    // The client's fault, not the origin's.
    if (!got.ok()) {
      const std::string why = StrCat("the request's body: ", MessageOf(got.status()));
      co_return HttpError(absl::IsDeadlineExceeded(got.status()) ? 408 : 400, why);
    }
    if (*got == 0) break;
    if (chunked) DF_CO_RETURN_IF_ERROR(co_await connection.stream->Write(absl::StrFormat("%x\r\n", *got), true));
    const std::span<const std::byte> bytes(buffer.data(), *got);
    DF_CO_RETURN_IF_ERROR(co_await connection.stream->Write(bytes, chunked));
    if (chunked) DF_CO_RETURN_IF_ERROR(co_await connection.stream->Write(std::string_view("\r\n")));
  }
  if (chunked) DF_CO_RETURN_IF_ERROR(co_await connection.stream->Write(std::string_view("0\r\n\r\n")));
  co_return absl::OkStatus();
}

asio::awaitable<absl::StatusOr<OriginAnswer>> OriginClient::Exchange(std::unique_ptr<OriginConnection> connection,
                                                                     const RequestHead& request, RequestBody body,
                                                                     bool& begun) {
  connection->stream->SetPatience(options_.stall_timeout);
  absl::Status sent = co_await connection->stream->Write(Serialise(request));
  if (sent.ok()) sent = co_await SendBody(*connection, body);
  if (!sent.ok() && HttpStatusOf(sent) < 500) co_return sent;
  // Whoever refuses a body may close before all of it was sent; its answer says why.
  connection->stream->SetPatience(options_.answer_timeout);
  absl::StatusOr<ResponseHead> head = co_await connection->reader.ReadResponse(request.method, begun);
  if (!head.ok()) co_return sent.ok() || begun ? head.status() : sent;
  connection->stream->SetPatience(options_.stall_timeout);
  OriginAnswer answer;
  answer.head = *std::move(head);
  if (body.reader != nullptr && !body.reader->body_done()) answer.head.keep_alive = false;
  answer.connection = std::move(connection);
  co_return answer;
}

asio::awaitable<absl::StatusOr<OriginAnswer>> OriginClient::Send(Url url, Trust trust, RequestHead request,
                                                                 RequestBody body) {
  request.target = OriginForm(url);
  request.fields.Remove("content-length");
  request.fields.Set("Host", HostField(url));
  if (body.framing.kind == BodyFraming::Kind::kLength) {
    request.fields.Add("Content-Length", std::to_string(body.framing.length));
  } else if (body.framing.kind == BodyFraming::Kind::kChunked) {
    request.fields.Add("Transfer-Encoding", "chunked");
  } else if (request.method == "POST" || request.method == "PUT" || request.method == "PATCH") {
    request.fields.Add("Content-Length", "0");
  }
  const std::string origin = NameOf(url);
  absl::StatusOr<std::optional<UpstreamProxy>> proxy = UpstreamProxyOf(url, options_.own);
  if (!proxy.ok()) co_return proxy.status();
  if (*proxy && url.scheme == "http") {
    request.target = StrCat(origin, OriginForm(url));
    if (!(*proxy)->authorization.empty()) request.fields.Set("Proxy-Authorization", (*proxy)->authorization);
  }
  const bool has_body = body.framing.kind != BodyFraming::Kind::kNone;
  const bool may_repeat = !has_body && MayRepeat(request.method);
  const Clock::duration idle_max = may_repeat ? options_.idle_timeout : options_.idle_timeout_once;
  if (std::unique_ptr<OriginConnection> kept = TakeKept(KeyOf(url, trust, *proxy), idle_max)) {
    bool begun = false;
    absl::StatusOr<OriginAnswer> answer = co_await Exchange(std::move(kept), request, body, begun);
    const bool repeat = !answer.ok() && !begun && may_repeat && absl::IsUnavailable(answer.status());
    if (answer.ok()) co_return answer;
    if (!repeat) co_return OriginFailure(answer.status(), origin);
  }
  absl::StatusOr<std::unique_ptr<OriginConnection>> connection = co_await Open(url, trust, *proxy);
  if (!connection.ok()) co_return OriginFailure(connection.status(), origin);
  bool begun = false;
  absl::StatusOr<OriginAnswer> answer = co_await Exchange(*std::move(connection), request, body, begun);
  if (!answer.ok()) co_return OriginFailure(answer.status(), origin);
  // It would ask the client for what is not the client's to know.
  if (*proxy && answer->head.status == 407) {
    co_return HttpError(502, StrCat("origin ", origin, ": the proxy ", NameOf((*proxy)->url), " refuses with 407"));
  }
  co_return answer;
}

}  // namespace dragonfly::daemon::proxy
