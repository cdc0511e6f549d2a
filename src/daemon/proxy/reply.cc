// SPDX-License-Identifier: Apache-2.0
#include "daemon/proxy/reply.h"

#include <ctime>
#include <utility>

#include "base/status.h"
#include "base/text.h"

namespace dragonfly::daemon::proxy {

namespace asio = boost::asio;

std::string HttpDate() {
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  ::gmtime_r(&now, &utc);
  char text[64];
  const size_t length = std::strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S GMT", &utc);
  return std::string(text, length);
}

Reply ErrorReply(ErrorType type, int status, std::string_view message) {
  Reply reply;
  reply.status = status;
  reply.body = StrCat(message, "\n");
  const char* const name = type == ErrorType::kBackend ? "backend" : type == ErrorType::kProxy ? "proxy" : "dfdaemon";
  reply.fields.Add("X-Dragonfly-Error-Type", name);
  return reply;
}

asio::awaitable<absl::Status> SendHead(ClientTurn& turn, ResponseHead head, bool more) {
  turn.status = head.status;
  if (!turn.keep_alive) {
    head.fields.Set("Connection", "close");
  } else if (turn.version < 11) {
    head.fields.Set("Connection", "keep-alive");
  }
  const std::string text = Serialise(head);
  co_return co_await turn.stream.Write(text, more);
}

asio::awaitable<absl::Status> SendReply(ClientTurn& turn, Reply reply) {
  // What the client still sends is nobody's any more.
  if (!turn.reader.body_done()) turn.keep_alive = false;
  ResponseHead head;
  head.status = reply.status;
  head.fields = std::move(reply.fields);
  const bool no_body = reply.status == 304 || reply.status == 204 || reply.status / 100 == 1;
  if (!no_body) {
    if (!reply.body.empty()) head.fields.Set("Content-Type", "text/plain; charset=utf-8");
    head.fields.Set("Content-Length", std::to_string(reply.body.size()));
  }
  if (!head.fields.Find("date")) head.fields.Add("Date", HttpDate());
  const bool with_body = !no_body && !turn.head_only && !reply.body.empty();
  DF_CO_RETURN_IF_ERROR(co_await SendHead(turn, std::move(head), with_body));
  if (!with_body) co_return absl::OkStatus();
  co_return co_await turn.stream.Write(reply.body);
}

}  // namespace dragonfly::daemon::proxy
