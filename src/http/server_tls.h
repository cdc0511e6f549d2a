// SPDX-License-Identifier: Apache-2.0
// The certificate of a server, read again when its files change. Only .cc files include this (it brings Asio's TLS).
#pragma once

#include <boost/asio/ssl/context.hpp>
#include <filesystem>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "http/server.h"
#include "runtime/clock.h"

namespace dragonfly::http {

// TLS 1.2 and 1.3, HTTP/1.1. One thread.
class TlsContexts {
 public:
  // Errors: INVALID_ARGUMENT naming the file that cannot be used.
  static absl::StatusOr<std::unique_ptr<TlsContexts>> Make(const ServerTls& files);

  // Looks at the files at most once a second. What cannot be used is logged, once for each change.
  std::shared_ptr<boost::asio::ssl::context> Current();

 private:
  explicit TlsContexts(ServerTls files) : files_(std::move(files)) {}
  std::vector<std::filesystem::file_time_type> Stamps() const;

  const ServerTls files_;
  std::vector<std::filesystem::file_time_type> stamps_;
  TimePoint looked_;
  std::shared_ptr<boost::asio::ssl::context> context_;
};

}  // namespace dragonfly::http
