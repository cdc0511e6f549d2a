// SPDX-License-Identifier: Apache-2.0
// libcurl on an io_context: transfers as coroutines, with kept connections.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/clock.h"

namespace dragonfly::http {

struct CurlRequest {
  CurlRequest() = default;
  std::string method = "GET";
  std::string url;
  std::vector<std::pair<std::string, std::string>> header;
  TimePoint deadline = kNoDeadline;
  std::chrono::milliseconds connect_timeout{5'000};
  std::chrono::milliseconds stall_timeout{30'000};  // without a byte
  bool verify_tls = true;
  std::string ca_file;  // PEM, beside the system's
};

struct CurlResponse {
  int status = 0;
  std::string status_text;                                     // "404 Not Found"
  std::vector<std::pair<std::string, std::string>> header;     // names in lower case, in order
  std::string location;                                        // absolute target of a redirect, else empty
  std::optional<std::string> Find(std::string_view name) const;
};

// What a transfer hands over as it runs, on the thread of the io_context.
class CurlSink {
 public:
  virtual ~CurlSink() = default;
  // All headers of the final answer are there. An error ends the transfer.
  virtual absl::Status OnHeader(const CurlResponse& response) = 0;
  virtual absl::Status OnBody(std::span<const std::byte> bytes) = 0;
  // How long to pause before more is read (bandwidth limits); 0: not at all. Asked after each OnBody().
  virtual Clock::duration PauseFor(size_t bytes) = 0;
};

// One multi handle. Thread rule: all methods on the thread of the io_context. Redirects are not followed by itself.
class CurlClient {
 public:
  explicit CurlClient(boost::asio::io_context& io);
  ~CurlClient();
  // Runs one transfer to its end. Errors: UNAVAILABLE (no connection, broken transfer, with libcurl's text),
  // DEADLINE_EXCEEDED, INVALID_ARGUMENT (bad URL), what the sink returned. Cancellation ends the transfer.
  boost::asio::awaitable<absl::StatusOr<CurlResponse>> Run(CurlRequest request, CurlSink& sink);

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace dragonfly::http
