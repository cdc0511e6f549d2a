// SPDX-License-Identifier: Apache-2.0
// Requests that go on to their origin as they are: kept connections, verified TLS, bodies that stream both ways.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/address.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/unique_fd.h"
#include "base/url.h"
#include "daemon/proxy/message_reader.h"
#include "daemon/proxy/stream.h"
#include "daemon/proxy/target.h"
#include "daemon/proxy/tls_context.h"
#include "daemon/proxy/upstream_proxy.h"
#include "http/networks.h"
#include "runtime/blocking_pool.h"

namespace dragonfly::daemon::proxy {

// A way to an origin that says nothing itself.
struct OriginTunnel {
  std::unique_ptr<Stream> stream;
  std::string ahead;  // what the other end has said already
};

// A connection to an origin, and where it goes to.
struct OriginConnection {
  OriginConnection(std::string k, std::unique_ptr<Stream> s)
      : key(std::move(k)), stream(std::move(s)), reader(*stream) {}
  const std::string key;  // scheme, host and port, and what certificate it has shown
  const std::unique_ptr<Stream> stream;
  MessageReader reader;
  bool reused = false;
  TimePoint idle_since;
};

// The answer of an origin; its body is still to be read from the connection.
struct OriginAnswer {
  ResponseHead head;
  std::unique_ptr<OriginConnection> connection;
};

// The body of a request on its way through. Null reader: none.
struct RequestBody {
  MessageReader* reader = nullptr;
  BodyFraming framing;
  // The client that waits for "100 Continue" before it sends the body; null: none does.
  Stream* continue_to = nullptr;
};

// Goes through the proxy of the environment, where there is one. Belongs to one io_context. Thread rule: its thread.
class OriginClient {
 public:
  struct Options {
    Options() = default;
    Clock::duration resolve_timeout = std::chrono::seconds(10);  // of one name
    Clock::duration connect_timeout = std::chrono::seconds(5);   // of one address, TLS included
    Clock::duration answer_timeout = std::chrono::minutes(5);    // until the head of the answer
    Clock::duration stall_timeout = std::chrono::seconds(60);    // without a byte
    Clock::duration idle_timeout = std::chrono::seconds(60);     // of a kept connection
    // The same for a request that cannot be sent again should the origin have closed it in this moment.
    Clock::duration idle_timeout_once = std::chrono::seconds(3);
    size_t idle_max = 64;  // kept connections, all origins together
    OwnAddress own;
    std::string via;  // by which this proxy knows itself
  };
  // All must outlive it. Names are looked up on the threads of `resolvers`, which nothing else should wait for: a
  // look-up takes minutes when no name server answers.
  OriginClient(boost::asio::io_context& io, runtime::BlockingPool& resolvers, const OriginTls& tls,
               const http::Networks& forbidden, Options options);

  // Sends `request` to the URL (its target and Host are made from it) and returns the head of the answer. A kept
  // connection that turns out dead is replaced if the request may be sent again. Errors: HttpError 403 when the host is
  // in a forbidden network; 502 naming the origin, and what failed; 504.
  boost::asio::awaitable<absl::StatusOr<OriginAnswer>> Send(Url url, Trust trust, RequestHead request,
                                                            RequestBody body);

  // Keeps the connection for the next request, when it can carry one.
  void Keep(std::unique_ptr<OriginConnection> connection, bool keep_alive);

  // A connection to a host for whatever one has to say to it. `host`: a name or an IP literal, IPv6 in brackets.
  // Errors: as Send().
  boost::asio::awaitable<absl::StatusOr<OriginTunnel>> Connect(std::string host, uint16_t port);
  // Errors: HttpError 403 when an address of `host` lies in a forbidden network. A name that cannot be resolved is let
  // through: whoever connects will find out.
  boost::asio::awaitable<absl::Status> CheckAllowed(std::string host);

  // Closes the kept connections.
  void Clear() { idle_.clear(); }

 private:
  boost::asio::awaitable<absl::StatusOr<std::vector<boost::asio::ip::address>>> Resolve(std::string host);
  boost::asio::awaitable<absl::StatusOr<std::unique_ptr<OriginConnection>>> Open(Url url, Trust trust,
                                                                                 std::optional<UpstreamProxy> proxy);
  // A TCP connection; `guarded`: not into a forbidden network.
  boost::asio::awaitable<absl::StatusOr<UniqueFd>> Dial(std::string host, uint16_t port, bool guarded);
  boost::asio::awaitable<absl::StatusOr<std::unique_ptr<Stream>>> DialProxy(UpstreamProxy proxy);
  boost::asio::awaitable<absl::StatusOr<OriginTunnel>> TunnelBy(UpstreamProxy proxy, std::string host, uint16_t port);
  std::unique_ptr<OriginConnection> TakeKept(const std::string& key, Clock::duration idle_max);
  boost::asio::awaitable<absl::Status> SendBody(OriginConnection& connection, RequestBody& body);
  boost::asio::awaitable<absl::StatusOr<OriginAnswer>> Exchange(std::unique_ptr<OriginConnection> connection,
                                                                const RequestHead& request, RequestBody body,
                                                                bool& begun);

  boost::asio::io_context& io_;
  runtime::BlockingPool& resolvers_;
  const OriginTls& tls_;
  const http::Networks& forbidden_;
  const Options options_;
  std::deque<std::unique_ptr<OriginConnection>> idle_;  // the one kept last stands last
};

}  // namespace dragonfly::daemon::proxy
