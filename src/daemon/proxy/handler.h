// SPDX-License-Identifier: Apache-2.0
// Decides what becomes of each request of one connection, and sees to it.
//
//   head ─▶ rate ─▶ CONNECT? tunnel: blind, or opened where a rule may want what is in it
//           target (URL, or path: mirror) ─▶ basic auth ─▶ loop? ─▶ GET, and a rule wants it?
//                 yes: access, task manager, content from the store as it comes
//                 no:  to its origin as it is
#pragma once

#include <boost/asio/awaitable.hpp>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "daemon/proxy/origin_client.h"
#include "daemon/proxy/parts.h"
#include "daemon/proxy/reply.h"
#include "daemon/proxy/request_options.h"
#include "telemetry/trace.h"

namespace dragonfly::daemon::proxy {

// Belongs to one connection, or to one opened tunnel. Thread rule: the thread of the connection.
class Handler {
 public:
  // `parts` and `origin` must outlive it. `tunnel`: where the tunnel leads that the requests come through
  // ("host:port"); empty: none.
  Handler(Parts& parts, OriginClient& origin, boost::asio::io_context& io, Client client, std::string tunnel);

  // Answers one request. Afterwards turn.keep_alive says whether another one may follow.
  boost::asio::awaitable<void> Handle(ClientTurn& turn, RequestHead request);

 private:
  boost::asio::awaitable<absl::Status> Dispatch(ClientTurn& turn, RequestHead request, telemetry::Span& span);
  boost::asio::awaitable<absl::Status> Forward(ClientTurn& turn, Target target, RequestHead request,
                                               const telemetry::SpanParent& trace);
  boost::asio::awaitable<absl::Status> Relay(ClientTurn& turn, OriginAnswer answer);

  // The way of a request that becomes a download; defined in download_handler.cc.
  boost::asio::awaitable<absl::Status> Serve(ClientTurn& turn, const Rules::Rule& rule, Target target,
                                             RequestHead request, const telemetry::SpanParent& trace);
  boost::asio::awaitable<absl::Status> Download(ClientTurn& turn, const Target& target, const RequestHead& request,
                                                std::shared_ptr<common::v2::Download> wire,
                                                const telemetry::Span& span);
  boost::asio::awaitable<std::optional<Reply>> CheckAccess(const Target& target, const Fields& fields,
                                                           bool origin_accepted);
  boost::asio::awaitable<std::optional<Reply>> AskCondition(const Target& target, const RequestHead& request);
  boost::asio::awaitable<absl::Status> ServeHead(ClientTurn& turn, Target target, RequestHead request,
                                                 const common::v2::Download& wire, const telemetry::SpanParent& trace);
  // The answer to a HEAD of `target` with the client's `fields`: what its GET, which becomes a download, would begin
  // with. So redirects are followed, without credentials to others; what the first answer says about the file beside
  // its content (X-Repo-Commit of a hub) stays. Defined in head_request.cc, as is the other.
  boost::asio::awaitable<absl::StatusOr<OriginAnswer>> AskHead(Target target, Fields fields);
  boost::asio::awaitable<absl::StatusOr<OriginAnswer>> AskHeadByGet(Target target, Fields fields);
  Reply FailureReply(const absl::Status& error, const common::v2::Download& wire) const;

  // Defined in tunnel.cc.
  boost::asio::awaitable<absl::Status> Tunnel(ClientTurn& turn, RequestHead request,
                                              const telemetry::SpanParent& trace);
  boost::asio::awaitable<absl::Status> OpenTunnel(ClientTurn& turn, const Authority& authority,
                                                  const telemetry::SpanParent& trace);
  boost::asio::awaitable<absl::Status> BlindTunnel(ClientTurn& turn, const Authority& authority);

  Parts& parts_;
  OriginClient& origin_;
  boost::asio::io_context& io_;
  const Client client_;
  const std::string tunnel_;
};

// Serves the requests of `stream` one after another until its end. `busy` tells whether one is being answered.
boost::asio::awaitable<void> ServeRequests(Handler& handler, Stream& stream, bool& busy, const bool& stopping);

}  // namespace dragonfly::daemon::proxy
