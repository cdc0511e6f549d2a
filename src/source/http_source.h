// SPDX-License-Identifier: Apache-2.0
// The origin behind http and https URLs. The rules it follows are told in docs/origins.md.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <string>

#include "absl/random/random.h"
#include "source/http_exchange.h"
#include "source/redirect_cache.h"
#include "source/source.h"

namespace dragonfly::source {

// A small answer as a whole.
struct HttpDocument {
  HttpDocument() = default;
  std::map<std::string, std::string> header;  // as OriginStat::header
  std::string body;
};

class HttpSource : public Source {
 public:
  HttpSource(boost::asio::io_context& io, const SourceOptions& options);

  boost::asio::awaitable<absl::StatusOr<OriginStat>> Stat(OriginRequest request) override;
  boost::asio::awaitable<absl::StatusOr<Opening>> Open(OriginRequest request, uint64_t first_bytes, Opened opened,
                                                       runtime::TokenBucket& limiter) override;
  boost::asio::awaitable<absl::Status> Read(OriginRequest request, ByteRange range, ObjectVersion version,
                                            ByteSink& sink, runtime::TokenBucket& limiter) override;
  boost::asio::awaitable<absl::StatusOr<uint64_t>> ReadAll(OriginRequest request, ObjectVersion version, ByteSink& sink,
                                                           runtime::TokenBucket& limiter) override;

  // The whole answer to a GET without Range, for protocols that speak in documents. Asked again like a stat. Errors: as
  // Stat(); RESOURCE_EXHAUSTED when the body is longer than `body_max` bytes.
  boost::asio::awaitable<absl::StatusOr<HttpDocument>> Fetch(OriginRequest request, size_t body_max);

  // As SourceSet::CloseIdle().
  void CloseIdle() { exchange_.CloseIdle(); }

 private:
  absl::StatusOr<Target> TargetOf(const OriginRequest& request) const;
  boost::asio::awaitable<void> AskLengthByHead(Target target, TimePoint deadline, OriginStat& stat);

  const SourceOptions options_;
  HttpExchange exchange_;
  absl::BitGen random_;
};

}  // namespace dragonfly::source
