// SPDX-License-Identifier: Apache-2.0
// libcurl on an io_context: transfers as coroutines, with kept connections.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "http/networks.h"
#include "runtime/clock.h"

namespace dragonfly::http {

struct CurlRequest {
  CurlRequest() = default;
  std::string method = "GET";
  std::string url;  // http or https; a user and password in it become a Basic Authorization
  // Sent as they stand. "Accept-Encoding: identity" is added when the caller names none, so that the bytes are the
  // object's own; nothing is ever decompressed.
  std::vector<std::pair<std::string, std::string>> header;
  std::string body;  // sent when not empty, with its Content-Length; for methods that take one
  TimePoint deadline = kNoDeadline;
  std::chrono::milliseconds connect_timeout{5'000};  // name look-up, TCP and TLS together
  std::chrono::milliseconds stall_timeout{30'000};   // without a byte
  bool verify_tls = true;
  std::string ca_file;  // PEM, beside the system's; read again when it has changed
  // X.509 certificates in DER, at most kAuthoritiesMax, beside those of `ca_file`. Null: none.
  std::shared_ptr<const std::vector<std::string>> authorities;
};

struct CurlResponse {
  int status = 0;
  std::string status_text;                                  // "404 Not Found"
  std::vector<std::pair<std::string, std::string>> header;  // names in lower case, in order
  std::string location;                                     // absolute target of a redirect, else empty

  // The first header of that name (lower case).
  std::optional<std::string> Find(std::string_view name) const;
};

// What a transfer hands over as it runs, on the thread of the io_context. The calls must not run the io_context.
class CurlSink {
 public:
  virtual ~CurlSink() = default;
  // All headers of the final answer are there. An error ends the transfer.
  virtual absl::Status OnHeader(const CurlResponse& response) = 0;
  // The next bytes of the body, as many as one read of the socket gave (up to runtime::kBlockSize). An error ends the
  // transfer.
  virtual absl::Status OnBody(std::span<const std::byte> bytes) = 0;
  // How long to pause before more is read (bandwidth limits); 0: not at all. Asked after each OnBody(). The socket is
  // left unread meanwhile, so that TCP holds the sender back; the time does not count as stalled.
  virtual Clock::duration PauseFor(size_t bytes) = 0;
};

inline constexpr size_t kAuthoritiesMax = 64;

// At most this many bytes of status line and headers are taken from one answer.
inline constexpr size_t kAnswerHeaderMax = 256 << 10;

// One multi handle. Thread rule: all methods on the thread of the io_context. Redirects are not followed by itself.
// Proxies come from the environment: http_proxy, https_proxy, all_proxy, no_proxy, in lower or upper case.
class CurlClient {
 public:
  // No connection is made to an address in `forbidden`, whatever name or redirect leads there: for URLs that come from
  // outside of this host. A proxy of the environment may be anywhere; it finds out itself where names lead, so only
  // addresses that stand in a URL are checked then.
  explicit CurlClient(boost::asio::io_context& io, Networks forbidden = Networks());
  ~CurlClient();
  CurlClient(const CurlClient&) = delete;
  CurlClient& operator=(const CurlClient&) = delete;

  // Runs one transfer to its end. `sink` must outlive the call. Errors: UNAVAILABLE (no connection, broken or stalled
  // transfer, with libcurl's text), DEADLINE_EXCEEDED, INVALID_ARGUMENT (bad URL, other scheme, a header with a line
  // break, unreadable ca_file, an authority that is no certificate), UNAUTHENTICATED (the server's certificate is not
  // accepted), PERMISSION_DENIED (it would lead into a forbidden network), RESOURCE_EXHAUSTED (headers above
  // kAnswerHeaderMax), what the sink returned. Messages name the URL without credentials and query. Cancellation
  // ends the transfer and throws boost::system::system_error(operation_aborted).
  boost::asio::awaitable<absl::StatusOr<CurlResponse>> Run(CurlRequest request, CurlSink& sink);

  // Closes the kept connections and frees buffers, unless a transfer runs or began since the last call.
  void CloseIdle();

 private:
  struct Socket;
  struct Transfer;
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace dragonfly::http
