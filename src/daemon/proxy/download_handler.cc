// SPDX-License-Identifier: Apache-2.0
// Requests that become downloads of this daemon.
#include <utility>

#include "base/backend_error.h"
#include "base/status.h"
#include "base/text.h"
#include "common/v2/common.pb.h"
#include "daemon/proxy/content_sender.h"
#include "daemon/proxy/handler.h"
#include "daemon/proxy/http_error.h"
#include "daemon/revalidation.h"
#include "daemon/tracing.h"
#include "runtime/timeout.h"
#include "telemetry/log.h"

namespace dragonfly::daemon::proxy {

namespace asio = boost::asio;

namespace {

// A download is begun again so often when a stored piece turns out damaged.
constexpr int kAttemptsMax = 3;
// How long an origin has to say whether a client may have what is here.
constexpr std::chrono::seconds kAccessTimeout{10};

// The origin is there and has an opinion.
bool IsVerdict(int status) { return status < 500 && status != 408 && status != 429; }

// 2xx, a redirect to where the bytes are, or the answer to a range of an empty file.
bool IsAcceptance(int status) { return status / 100 == 2 || status / 100 == 3 || status == 416; }

// An origin's refusal with what a client needs to do better (WWW-Authenticate, Retry-After, Location).
Reply RefusalReply(int status, const Fields& origin_fields, std::string_view message) {
  Reply reply = ErrorReply(ErrorType::kBackend, status, message);
  Fields fields = origin_fields;
  fields.RemoveHopByHop();
  for (const char* name : {"content-length", "content-type", "content-encoding", "content-range", "set-cookie", "date",
                           "etag", "last-modified", "accept-ranges"}) {
    fields.Remove(name);
  }
  for (const auto& [name, value] : fields.entries()) reply.fields.Add(name, value);
  return reply;
}

}  // namespace

// A content of this host, or of the cluster, is somebody else's copy: the origin must let this client have it, too.
asio::awaitable<std::optional<Reply>> Handler::CheckAccess(const Target& target, const Fields& fields,
                                                           bool origin_accepted) {
  const Url& url = target.url;
  const std::string key = AccessRecord::KeyOf(url.ToString(), fields);
  if (origin_accepted) {
    parts_.access.Accept(key);
    co_return std::nullopt;
  }
  if (parts_.access.Fresh(key)) co_return std::nullopt;
  const bool blob = RegistryPartOf(url) == RegistryPart::kBlob;
  const bool open = !blob && !AccessRecord::HasCredentials(fields);
  // A host that never asks origins may be unable to.
  if (open && parts_.config.proxy.disable_back_to_source) co_return std::nullopt;
  RequestHead ask;
  // Signed URLs are signed for GET.
  ask.method = blob ? "HEAD" : "GET";
  ask.fields = ForOrigin(fields);
  for (const char* name :
       {"range", "if-range", "if-match", "if-none-match", "if-modified-since", "if-unmodified-since"}) {
    ask.fields.Remove(name);
  }
  if (!blob) ask.fields.Add("Range", "bytes=0-0");
  ask.fields.Add("Via", StrCat("1.1 ", parts_.via));
  absl::StatusOr<OriginAnswer> answer = co_await runtime::WithDeadline(
      origin_.Send(url, target.trust, std::move(ask), RequestBody()), Clock::now() + kAccessTimeout);
  if (!answer.ok() || !IsVerdict(answer->head.status)) {
    // Out of reach: who was accepted before, and what nobody needs to be accepted for, goes on.
    if (open || parts_.access.Stale(key)) co_return std::nullopt;
    const std::string why =
        answer.ok() ? StrCat("it answers ", answer->head.status) : std::string(MessageOf(answer.status()));
    co_return ErrorReply(ErrorType::kBackend, 502,
                         StrCat("the origin cannot be asked whether this client may have the content: ", why));
  }
  const int status = answer->head.status;
  if (!IsAcceptance(status)) {
    parts_.access.Forget(key);
    co_return RefusalReply(status, answer->head.fields,
                           StrCat("the origin refuses: ", status, " ", answer->head.reason));
  }
  parts_.access.Accept(key);
  origin_.Keep(std::move(answer->connection), answer->head.keep_alive);
  co_return std::nullopt;
}

// What the origin says to If-None-Match and its kind, without the content. nullopt: the client is to get it.
asio::awaitable<std::optional<Reply>> Handler::AskCondition(const Target& target, const RequestHead& request) {
  const Url& url = target.url;
  RequestHead ask;
  ask.method = "HEAD";
  ask.fields = ForOrigin(request.fields);
  ask.fields.Remove("range");
  ask.fields.Remove("if-range");
  ask.fields.Add("Via", StrCat("1.1 ", parts_.via));
  absl::StatusOr<OriginAnswer> answer = co_await origin_.Send(url, target.trust, std::move(ask), RequestBody());
  if (!answer.ok()) co_return std::nullopt;
  const int status = answer->head.status;
  if (IsAcceptance(status) || status == 412) parts_.access.Accept(AccessRecord::KeyOf(url.ToString(), request.fields));
  std::optional<Reply> reply;
  if (status == 304 || status == 412) {
    reply.emplace();
    reply->status = status;
    reply->fields = answer->head.fields;
    reply->fields.RemoveHopByHop();
    reply->fields.Remove("content-length");
    if (status == 412) reply->body = "the origin's version does not meet the condition\n";
  }
  origin_.Keep(std::move(answer->connection), answer->head.keep_alive);
  co_return reply;
}

Reply Handler::FailureReply(const absl::Status& error, const common::v2::Download& wire) const {
  if (const std::optional<BackendError> backend = GetBackendError(error)) {
    const int status = backend->status_code.value_or(absl::IsDeadlineExceeded(error) ? 504 : 502);
    Fields fields;
    for (const auto& [name, value] : backend->header) fields.Add(name, value);
    return RefusalReply(status >= 400 && status <= 599 ? status : 502, fields, MessageOf(error));
  }
  const bool ranged = wire.request_header().contains("range");
  if (ranged && absl::IsFailedPrecondition(error)) {
    Reply reply = ErrorReply(ErrorType::kDfdaemon, 416, MessageOf(error));
    const absl::StatusOr<TaskId> id = TaskManager::IdOf(wire);
    const std::shared_ptr<storage::TaskContent> content = id.ok() ? parts_.tasks.store().Find(*id) : nullptr;
    const std::optional<PieceLayout> layout = content != nullptr ? content->layout() : std::nullopt;
    if (layout) reply.fields.Add("Content-Range", StrCat("bytes */", layout->content_length()));
    return reply;
  }
  int status = HttpStatusOf(error);
  if (absl::IsCancelled(error)) status = 503;
  const ErrorType type = status == 502 || status == 504 ? ErrorType::kBackend : ErrorType::kDfdaemon;
  return ErrorReply(type, status, MessageOf(error));
}

asio::awaitable<absl::Status> Handler::Download(ClientTurn& turn, const Target& target, const RequestHead& request,
                                                std::shared_ptr<common::v2::Download> wire,
                                                const telemetry::Span& span) {
  const std::string if_range(request.fields.Find("if-range").value_or(""));
  const auto check = [this, &target, &request](const DownloadStarted& started) {
    return CheckAccess(target, request.fields, started.origin_accepted);
  };
  ContentSender sender(turn, if_range,
                       parts_.config.host.ip.empty() ? parts_.tasks.identity().ip : parts_.config.host.ip, check);
  const std::string shown = UrlToShow(wire->url());
  OriginTerms terms;
  terms.guarded = true;
  terms.access_checked = true;  // by `check`
  terms.insecure_skip_verify = target.trust == Trust::kAny;
  absl::Status status;
  for (int attempt = 1; attempt <= kAttemptsMax; ++attempt) {
    DownloadRequest download;
    download.wire = wire;
    download.local = !wire->output_path().empty();
    download.origin = terms;
    download.trace = span.context();
    status = co_await parts_.tasks.Download(std::move(download), sender);
    if (status.ok()) status = co_await sender.Finish();
    if (sender.wants_whole() && !sender.head_sent()) {
      wire = std::make_shared<common::v2::Download>(*wire);
      wire->mutable_request_header()->erase("range");
      wire->set_prefetch(false);
      continue;
    }
    // A stored piece was damaged and is forgotten by now: it is read anew.
    if (!absl::IsDataLoss(status) || sender.refusal()) break;
  }
  if (sender.refusal()) co_return co_await SendReply(turn, *sender.refusal());
  const std::string fields = StrCat("host_id=\"", parts_.tasks.identity().host_id, "\" task_id=\"", sender.task_id(),
                                    "\" peer_id=\"", sender.peer_id(), "\"");
  if (status.ok()) {
    DF_LOG(Info, "download task succeeded {}", fields);
    co_return status;
  }
  DF_LOG(Warn, "download task failed: {} url=\"{}\" {}", MessageOf(status), shown, fields);
  if (sender.head_sent()) co_return status;
  co_return co_await SendReply(turn, FailureReply(status, *wire));
}

asio::awaitable<absl::Status> Handler::ServeHead(ClientTurn& turn, Target target, RequestHead request,
                                                 const common::v2::Download& wire, const telemetry::SpanParent& trace) {
  const absl::StatusOr<TaskId> id = TaskManager::IdOf(wire);
  const std::shared_ptr<storage::TaskContent> content = id.ok() ? parts_.tasks.store().Find(*id) : nullptr;
  const std::optional<PieceLayout> layout = content != nullptr ? content->layout() : std::nullopt;
  const std::string key = AccessRecord::KeyOf(target.url.ToString(), request.fields);
  const auto from_store = [&]() {
    Reply reply;
    reply.fields = StoredFields(content->response_header());
    reply.fields.Add("Accept-Ranges", "bytes");
    reply.fields.Add("X-Dragonfly-Task-ID", id->str());
    return reply;
  };
  const auto send = [&](Reply reply) {
    ResponseHead head;
    head.fields = std::move(reply.fields);
    head.status = 200;
    head.fields.Add("Content-Length", std::to_string(layout->content_length()));
    head.fields.Add("Date", HttpDate());
    return SendHead(turn, std::move(head), false);
  };
  if (IsConditional(request.fields)) co_return co_await Forward(turn, std::move(target), std::move(request), trace);
  // Other origins may say more about a file than what was kept of them when it was read.
  const bool blob = RegistryPartOf(target.url) == RegistryPart::kBlob;
  if (layout && blob && parts_.access.Fresh(key) &&
      MayUseUnasked(parts_.config.storage, *content, wire, Clock::now())) {
    co_return co_await send(from_store());
  }
  // The origin is asked; what is here answers when it is out of reach.
  Fields fields = ForOrigin(request.fields);
  fields.Add("Via", StrCat("1.1 ", parts_.via));
  absl::StatusOr<OriginAnswer> answer = co_await AskHead(target, std::move(fields));
  if (answer.ok() && IsVerdict(answer->head.status)) {
    if (IsAcceptance(answer->head.status)) parts_.access.Accept(key);
    co_return co_await Relay(turn, *std::move(answer));
  }
  const bool open = !blob && !AccessRecord::HasCredentials(request.fields);
  if (layout && (open || parts_.access.Stale(key))) co_return co_await send(from_store());
  if (answer.ok()) co_return co_await Relay(turn, *std::move(answer));
  const int code = HttpStatusOf(answer.status());
  if (code < 500) co_return answer.status();
  co_return co_await SendReply(turn, ErrorReply(ErrorType::kBackend, code, MessageOf(answer.status())));
}

asio::awaitable<absl::Status> Handler::Serve(ClientTurn& turn, const Rules::Rule& rule, Target target,
                                             RequestHead request, const telemetry::SpanParent& trace) {
  absl::StatusOr<Url> url = Rules::Apply(rule, target.url);
  if (!url.ok()) co_return url.status();
  target.url = *std::move(url);
  DF_CO_ASSIGN_OR_RETURN(const std::shared_ptr<common::v2::Download> wire,
                         MakeDownload(parts_.config.proxy, rule, target.url, request, client_));
  // A daemon whose environment names itself as the proxy of its origins would wait for itself.
  (*wire->mutable_request_header())["via"] = StrCat("1.1 ", parts_.via);
  DF_CO_RETURN_IF_ERROR(parts_.gate.CheckDownload(*wire));
  DF_CO_RETURN_IF_ERROR(co_await origin_.CheckAllowed(target.url.host));
  if (turn.head_only) co_return co_await ServeHead(turn, std::move(target), std::move(request), *wire, trace);
  if (IsConditional(request.fields)) {
    std::optional<Reply> reply = co_await AskCondition(target, request);
    if (reply) co_return co_await SendReply(turn, *std::move(reply));
  }
  parts_.tasks.probe().ProxyRequestViaDfdaemon();
  telemetry::Span span = trace.Start("proxy_via_dfdaemon");
  if (span.recording()) {
    span.Set("host_id", parts_.tasks.identity().host_id);
    if (const absl::StatusOr<TaskId> id = TaskManager::IdOf(*wire); id.ok()) span.Set("task_id", id->str());
  }
  const absl::Status status = co_await Download(turn, target, request, wire, span);
  span.SetStatus(status);
  co_return status;
}

}  // namespace dragonfly::daemon::proxy
