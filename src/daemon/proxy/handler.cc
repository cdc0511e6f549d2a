// SPDX-License-Identifier: Apache-2.0
#include "daemon/proxy/handler.h"

#include <boost/asio/experimental/awaitable_operators.hpp>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "base/status.h"
#include "base/text.h"
#include "daemon/proxy/http_error.h"
#include "daemon/traced.h"
#include "daemon/tracing.h"
#include "telemetry/log.h"

namespace dragonfly::daemon::proxy {

namespace asio = boost::asio;

namespace {

// A kept connection that says nothing, and the head of a request from its first byte on.
constexpr std::chrono::seconds kIdleTimeout{75};
constexpr std::chrono::seconds kHeadTime{10};
// Without a byte from a client that sends a body, or to one that takes an answer.
constexpr std::chrono::seconds kStallTimeout{60};
// The most that is read from an origin before it is written to the client.
constexpr uint64_t kRelayStepMax = 256 << 10;

std::string Shown(const std::string& url) { return UrlToShow(url); }

asio::awaitable<bool> HandleWhole(Handler& handler, ClientTurn& turn, RequestHead request) {
  co_await handler.Handle(turn, std::move(request));
  co_return true;
}

// Handles the request, unless the client leaves before: then everything that only it wanted is cancelled.
asio::awaitable<void> HandleWhileWanted(Handler& handler, ClientTurn& turn, RequestHead request) {
  using namespace asio::experimental::awaitable_operators;
  const auto first = co_await (HandleWhole(handler, turn, std::move(request)) || turn.stream.WhenPeerGone());
  if (first.index() == 1) turn.keep_alive = false;
}

}  // namespace

Handler::Handler(Parts& parts, OriginClient& origin, asio::io_context& io, Client client, std::string tunnel)
    : parts_(parts), origin_(origin), io_(io), client_(std::move(client)), tunnel_(std::move(tunnel)) {}

asio::awaitable<void> Handler::Handle(ClientTurn& turn, RequestHead request) {
  Probe& probe = parts_.tasks.probe();
  probe.ProxyRequestStarted();
  turn.version = request.version;
  turn.keep_alive = request.keep_alive;
  turn.head_only = request.method == "HEAD";
  // A client that traces, too, has its own span around this one.
  const std::optional<telemetry::SpanContext> caller = telemetry::ParseTraceparent(
      request.fields.Find("traceparent").value_or(""), request.fields.Find("tracestate").value_or(""));
  telemetry::Span span = probe.Under(caller.value_or(telemetry::SpanContext()))
                             .Start(tunnel_.empty() ? "handler" : "upgraded_handler", telemetry::SpanKind::kServer);
  if (span.recording()) {
    span.Set("method", request.method);
    span.Set("remote_ip", client_.ip);
  }
  const std::string method = request.method;
  absl::Status status = co_await Dispatch(turn, std::move(request), span);
  if (!status.ok() && turn.status == 0) {
    const int code = HttpStatusOf(status);
    Reply reply = ErrorReply(ErrorType::kProxy, code, MessageOf(status));
    if (const Fields::Entry challenge = BasicAuth::Challenge(code); !challenge.first.empty()) {
      reply.fields.Add(challenge.first, challenge.second);
    }
    if (code == 429) reply.fields.Add("Retry-After", "1");
    const absl::Status sent = co_await SendReply(turn, std::move(reply));
    if (!sent.ok()) turn.keep_alive = false;
  } else if (!status.ok()) {
    // The answer has begun: only its missing end can tell that it is not whole.
    turn.keep_alive = false;
    turn.broken = true;
  }
  if (turn.broken) turn.stream.Abort();
  if (turn.broken || turn.status >= 500) probe.ProxyRequestFailed();
  if (!status.ok()) DF_LOG(Debug, "proxy: {} from {}: {}", method, client_.ip, status.ToString());
  span.Set("status_code", turn.status);
  span.SetStatus(status);
}

asio::awaitable<absl::Status> Handler::Dispatch(ClientTurn& turn, RequestHead request, telemetry::Span& span) {
  if (!parts_.rate.ReserveWithin(1, Clock::now(), Clock::duration::zero())) {
    co_return HttpError(429,
                        StrCat("more than ", parts_.rate.rate(), " requests a second (proxy.server.requestRateLimit)"));
  }
  const bool comes_back = request.fields.Joined("via").value_or("").find(parts_.via) != std::string::npos;
  if (request.method == "CONNECT") {
    if (!tunnel_.empty()) co_return HttpError(400, "CONNECT within a tunnel");
    DF_CO_RETURN_IF_ERROR(parts_.auth.Check(request, /*mirror=*/false));
    span.Set("url", request.target);
    if (comes_back) co_return HttpError(508, "the request has come through this proxy before");
    co_return co_await Tunnel(turn, std::move(request), span.AsParent());
  }
  const bool mirror_form = request.target.starts_with('/') && tunnel_.empty();
  // Inside a tunnel it was checked at its beginning.
  if (tunnel_.empty()) DF_CO_RETURN_IF_ERROR(parts_.auth.Check(request, mirror_form));
  absl::StatusOr<Target> target = !tunnel_.empty() ? TunnelTarget(request.target, tunnel_)
                                  : mirror_form    ? MirrorTarget(request, parts_.config.proxy.registry_mirror)
                                                   : AbsoluteTarget(request.target);
  if (!target.ok()) co_return target.status();
  if (span.recording()) span.Set("url", Shown(target->url.ToString()));
  if (comes_back) co_return HttpError(508, "the request has come through this proxy before");
  // Names of the original: what the request came as, and how its URL is reached.
  telemetry::Span handling;
  if (tunnel_.empty()) {
    const char* const name = !target->mirror                 ? "http_handler"
                             : target->url.scheme == "https" ? "registry_mirror_https_handler"
                                                             : "registry_mirror_http_handler";
    handling = span.AsParent().Start(name);
  }
  const telemetry::SpanParent trace = tunnel_.empty() ? handling.AsParent() : span.AsParent();

  const Rules::Rule* const matching = parts_.rules->Match(target->url);
  // Whatever the request is: a registry's manifests stand behind the same certificate as its blobs.
  if (matching != nullptr && matching->insecure_skip_verify) target->trust = Trust::kAny;
  const RegistryPart part = RegistryPartOf(target->url);
  const bool may = (request.method == "GET" || turn.head_only) && request.body.kind == BodyFraming::Kind::kNone &&
                   part != RegistryPart::kOther && !IsTokenService(target->url);
  static const Rules::Rule kDefaultRule;
  const Rules::Rule* rule = may ? matching : nullptr;
  if (rule == nullptr && may && WantsP2p(request.fields)) rule = &kDefaultRule;
  absl::Status status;
  if (rule == nullptr) {
    status = co_await Forward(turn, *std::move(target), std::move(request), trace);
  } else {
    status = co_await Serve(turn, *rule, *std::move(target), std::move(request), trace);
  }
  handling.SetStatus(status);
  co_return status;
}

asio::awaitable<absl::Status> Handler::Forward(ClientTurn& turn, Target target, RequestHead request,
                                               const telemetry::SpanParent& trace) {
  telemetry::Span span =
      trace.Start(target.url.scheme == "https" ? "proxy_via_https" : "proxy_via_http", telemetry::SpanKind::kClient);
  RequestBody body;
  body.framing = request.body;
  if (request.body.kind != BodyFraming::Kind::kNone) {
    body.reader = &turn.reader;
    if (request.fields.HasToken("expect", "100-continue")) body.continue_to = &turn.stream;
  }
  RequestHead out;
  out.method = request.method;
  out.fields = ForOrigin(request.fields);
  out.fields.Add("Via", StrCat(request.version == 10 ? "1.0 " : "1.1 ", parts_.via));
  absl::StatusOr<OriginAnswer> answer = co_await origin_.Send(target.url, target.trust, std::move(out), body);
  if (!answer.ok()) {
    span.SetStatus(answer.status());
    const int code = HttpStatusOf(answer.status());
    if (code < 500) co_return answer.status();
    co_return co_await SendReply(turn, ErrorReply(ErrorType::kBackend, code, MessageOf(answer.status())));
  }
  const absl::Status relayed = co_await Relay(turn, *std::move(answer));
  span.SetStatus(relayed);
  co_return relayed;
}

asio::awaitable<absl::Status> Handler::Relay(ClientTurn& turn, OriginAnswer answer) {
  ResponseHead head;
  head.status = answer.head.status;
  head.reason = answer.head.reason;
  head.fields = answer.head.fields;
  head.fields.RemoveHopByHop();
  head.fields.Add("Via", StrCat("1.1 ", parts_.via));
  if (!turn.reader.body_done()) turn.keep_alive = false;
  const BodyFraming framing = answer.head.body;
  const bool open_end = framing.kind == BodyFraming::Kind::kChunked || framing.kind == BodyFraming::Kind::kUntilClose;
  const bool chunked = open_end && turn.version >= 11;
  if (chunked) head.fields.Add("Transfer-Encoding", "chunked");
  if (open_end && !chunked) turn.keep_alive = false;
  const bool has_body = framing.kind != BodyFraming::Kind::kNone;
  DF_CO_RETURN_IF_ERROR(co_await SendHead(turn, std::move(head), has_body && framing.length > 0));

  OriginConnection& connection = *answer.connection;
  if (has_body) {
    std::vector<std::byte> buffer;
    const size_t step = static_cast<size_t>(std::min<uint64_t>(parts_.config.proxy.read_buffer_size, kRelayStepMax));
    while (!connection.reader.body_done()) {
      if (buffer.empty()) {
        const uint64_t most = framing.kind == BodyFraming::Kind::kLength ? framing.length : step;
        buffer.resize(std::max<size_t>(1, static_cast<size_t>(std::min<uint64_t>(most, step))));
      }
      DF_CO_ASSIGN_OR_RETURN(const size_t got, co_await connection.reader.ReadBody(buffer));
      if (got == 0) break;
      if (chunked) DF_CO_RETURN_IF_ERROR(co_await turn.stream.Write(absl::StrFormat("%x\r\n", got), true));
      const std::span<const std::byte> bytes(buffer.data(), got);
      DF_CO_RETURN_IF_ERROR(co_await turn.stream.Write(bytes, chunked));
      if (chunked) DF_CO_RETURN_IF_ERROR(co_await turn.stream.Write(std::string_view("\r\n")));
    }
    if (chunked) DF_CO_RETURN_IF_ERROR(co_await turn.stream.Write(std::string_view("0\r\n\r\n")));
  }
  origin_.Keep(std::move(answer.connection), answer.head.keep_alive);
  co_return absl::OkStatus();
}

asio::awaitable<void> ServeRequests(Handler& handler, Stream& stream, bool& busy, const bool& stopping) {
  MessageReader reader(stream, kHeadTime);
  while (!stopping) {
    busy = false;
    stream.SetPatience(kIdleTimeout);
    absl::StatusOr<std::optional<RequestHead>> request = co_await reader.ReadRequest();
    busy = true;
    stream.SetPatience(kStallTimeout);
    ClientTurn turn(stream, reader);
    if (!request.ok()) {
      const int code = HttpStatusOf(request.status());
      if (code == 502 || code == 504) co_return;  // the connection broke, or said nothing for long
      turn.keep_alive = false;
      const absl::Status sent =
          co_await SendReply(turn, ErrorReply(ErrorType::kProxy, code, MessageOf(request.status())));
      if (sent.ok()) co_await stream.CloseGently();
      co_return;
    }
    if (!*request) co_return;
    if ((*request)->body.kind == BodyFraming::Kind::kNone && (*request)->method != "CONNECT") {
      co_await HandleWhileWanted(handler, turn, **std::move(request));
    } else {
      co_await handler.Handle(turn, **std::move(request));
    }
    if (turn.broken) co_return;
    if (!turn.keep_alive || !reader.body_done()) break;
  }
  co_await stream.CloseGently();
}

}  // namespace dragonfly::daemon::proxy
