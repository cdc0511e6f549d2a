// SPDX-License-Identifier: Apache-2.0
// CONNECT: tunnels that are passed through, and those that are opened since a rule may want what goes through them.
#include <sys/socket.h>

#include <cerrno>
#include <utility>

#include "base/status.h"
#include "base/text.h"
#include "daemon/proxy/handler.h"
#include "daemon/proxy/http2_session.h"
#include "daemon/proxy/http_error.h"
#include "daemon/proxy/pump.h"
#include "runtime/timeout.h"
#include "telemetry/log.h"

namespace dragonfly::daemon::proxy {

namespace asio = boost::asio;

namespace {

// A tunnel in which nothing moves.
constexpr std::chrono::minutes kTunnelIdle{60};
// How long a client has for its first byte before a tunnel to another port than 443 counts as something else than TLS.
constexpr std::chrono::milliseconds kFirstByteTime{500};
constexpr std::chrono::seconds kHandshakeTime{10};
// The first byte of a TLS connection: a handshake record (RFC 8446 §5.1).
constexpr unsigned char kTlsHandshake = 22;

asio::awaitable<absl::Status> Established(ClientTurn& turn) {
  turn.status = 200;
  co_return co_await turn.stream.Write(std::string_view("HTTP/1.1 200 Connection Established\r\n\r\n"));
}

// Whether the client begins with TLS. Looks at its first byte and leaves it where it is.
asio::awaitable<bool> SpeaksTls(Stream& stream, uint16_t port) {
  stream.SetPatience(port == 443 ? Clock::duration(kHandshakeTime) : Clock::duration(kFirstByteTime));
  const absl::Status waited = co_await stream.WaitReadable();
  if (!waited.ok()) co_return false;
  unsigned char first = 0;
  co_return ::recv(stream.fd(), &first, 1, MSG_PEEK | MSG_DONTWAIT) == 1 && first == kTlsHandshake;
}

// The requests of a stream of HTTP/2, which has but one.
asio::awaitable<void> ServeStream(Handler& handler, Stream& stream) {
  bool busy = false;
  const bool stopping = false;
  co_await ServeRequests(handler, stream, busy, stopping);
}

}  // namespace

asio::awaitable<absl::Status> Handler::BlindTunnel(ClientTurn& turn, const Authority& authority) {
  const std::string where = StrCat(authority.host, ":", authority.port);
  absl::StatusOr<OriginTunnel> tunnel = co_await origin_.Connect(authority.host, authority.port);
  if (!tunnel.ok()) {
    const int status = HttpStatusOf(tunnel.status());
    co_return HttpError(status < 500 || status == 504 ? status : 502,
                        StrCat("tunnel to ", where, ": ", MessageOf(tunnel.status())));
  }
  if (turn.status == 0) DF_CO_RETURN_IF_ERROR(co_await Established(turn));
  Stream& origin = *tunnel->stream;
  origin.SetPatience(kTunnelIdle);
  turn.stream.SetPatience(kTunnelIdle);
  const std::string ahead = turn.reader.TakeBytes();
  if (!ahead.empty()) DF_CO_RETURN_IF_ERROR(co_await origin.Write(ahead));
  if (!tunnel->ahead.empty()) DF_CO_RETURN_IF_ERROR(co_await turn.stream.Write(tunnel->ahead));
  co_return co_await PumpBothWays(turn.stream, origin);
}

asio::awaitable<absl::Status> Handler::OpenTunnel(ClientTurn& turn, const Authority& authority,
                                                  const telemetry::SpanParent& trace) {
  telemetry::Span span = trace.Start("upgraded_tunnel");
  UniqueFd fd = turn.stream.Release();
  if (!fd.valid()) co_return ErrnoStatus(errno, StrCat("open the tunnel to ", authority.host));
  SSL* const ssl = parts_.certificates->NewConnection(authority.host);
  if (ssl == nullptr) co_return absl::InternalError(StrCat("no certificate can be made for ", authority.host));
  TlsStream inside(io_, std::move(fd), ssl);
  inside.SetDeadline(Clock::now() + kHandshakeTime);
  if (const absl::Status shaken = co_await inside.Handshake(); !shaken.ok()) {
    DF_LOG(Info,
           "proxy: a client at {} does not go on with a tunnel to {}: {}; does it trust the authority of the proxy?",
           client_.ip, authority.host, MessageOf(shaken));
    co_return absl::OkStatus();
  }
  inside.SetDeadline(kNoDeadline);
  Handler handler(parts_, origin_, io_, client_, StrCat(authority.host, ":", authority.port));
  if (inside.protocol() == "h2") {
    const Http2Requests requests = [&handler](Stream& stream) { return ServeStream(handler, stream); };
    co_await ServeHttp2(io_, requests, inside);
    co_return absl::OkStatus();
  }
  bool busy = false;
  const bool stopping = false;
  co_await ServeRequests(handler, inside, busy, stopping);
  co_return absl::OkStatus();
}

asio::awaitable<absl::Status> Handler::Tunnel(ClientTurn& turn, RequestHead request,
                                              const telemetry::SpanParent& trace) {
  turn.keep_alive = false;
  if (request.body.kind != BodyFraming::Kind::kNone) co_return HttpError(400, "CONNECT with a body");
  const absl::StatusOr<Authority> authority = ParseAuthority(request.target);
  if (!authority.ok()) co_return authority.status();
  telemetry::Span span = trace.Start("https_handler");
  const bool open = parts_.certificates != nullptr && !turn.reader.HasBytes() &&
                    (parts_.rules->MayMatch(*authority) || WantsP2p(request.fields));
  if (!open) co_return co_await BlindTunnel(turn, *authority);
  DF_CO_RETURN_IF_ERROR(co_await origin_.CheckAllowed(authority->host));
  DF_CO_RETURN_IF_ERROR(co_await Established(turn));
  if (co_await SpeaksTls(turn.stream, authority->port)) {
    co_return co_await OpenTunnel(turn, *authority, span.AsParent());
  }
  co_return co_await BlindTunnel(turn, *authority);
}

}  // namespace dragonfly::daemon::proxy
