// SPDX-License-Identifier: Apache-2.0
// The origin behind hdfs URLs: WebHDFS over HTTP. Source of the protocol: Apache Hadoop 3.3, "WebHDFS REST API".
// hdfs://[<user.name>@]<namenode>[:9870]/<path>; webhdfs is the same, swebhdfs the same over HTTPS, port 9871.
#pragma once

#include <string>
#include <string_view>

#include "absl/random/random.h"
#include "source/http_source.h"
#include "source/source.h"

namespace dragonfly::source {

class Listing;

enum class WebHdfsTransport { kHttp, kHttps };

class HdfsSource : public Source {
 public:
  // `http` and `options` must outlive it.
  HdfsSource(HttpSource& http, const SourceOptions& options, WebHdfsTransport transport)
      : http_(http), options_(options), transport_(transport) {}

  boost::asio::awaitable<absl::StatusOr<OriginStat>> Stat(OriginRequest request) override;
  boost::asio::awaitable<absl::Status> Read(OriginRequest request, ByteRange range, ObjectVersion version,
                                            ByteSink& sink, runtime::TokenBucket& limiter) override;
  boost::asio::awaitable<absl::StatusOr<uint64_t>> ReadAll(OriginRequest request, ObjectVersion version, ByteSink& sink,
                                                           runtime::TokenBucket& limiter) override;
  boost::asio::awaitable<absl::StatusOr<std::vector<OriginEntry>>> List(OriginRequest request,
                                                                        size_t entries_max) override;

 private:
  // The HTTP request for `operation` ("OPEN&offset=1") on the file or directory that `request` names, or on `below` it
  // (percent-encoded, relative). Errors: INVALID_ARGUMENT for a URL that names no namenode.
  absl::StatusOr<OriginRequest> Ask(const OriginRequest& request, std::string_view operation,
                                    std::string_view below = "") const;

  // The file is the one of `version`, as far as that tells. Errors: DATA_LOSS; as Stat().
  boost::asio::awaitable<absl::Status> CheckUnchanged(OriginRequest request, ObjectVersion version);

  // One directory, without what is below its directories; their names, relative to the listing, go to `deeper`.
  boost::asio::awaitable<absl::Status> ListOne(OriginRequest request, std::string below, Listing& listing,
                                               std::vector<std::string>& deeper);

  HttpSource& http_;
  const SourceOptions& options_;
  const WebHdfsTransport transport_;
  absl::BitGen random_;
};

}  // namespace dragonfly::source
