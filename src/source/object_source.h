// SPDX-License-Identifier: Apache-2.0
// Objects of S3, Google Cloud Storage, Azure Blob Storage, Aliyun OSS, Huawei Cloud OBS and Tencent Cloud COS, over the
// HTTP APIs of those services. docs/origins.md tells URLs, endpoints and signatures.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "http/curl_client.h"
#include "source/object_location.h"
#include "source/object_signer.h"
#include "source/source.h"

namespace dragonfly::source {

struct ObjectSourceHooks {
  ObjectSourceHooks() = default;
  WallClock now;            // null: the system's
  Environment environment;  // null: the process's
};

// The source of the schemes s3, gs, abs, oss, obs and cos: finds the service of a URL, signs, and leaves the transfer
// to the HTTP source with all its rules. Signers with their derived keys and tokens are kept per bucket and
// credentials.
class ObjectSource : public Source {
 public:
  // `http` is the source behind http URLs; it and `io` must outlive this.
  ObjectSource(boost::asio::io_context& io, const SourceOptions& options, Source& http,
               ObjectSourceHooks hooks = ObjectSourceHooks());
  ~ObjectSource() override;

  boost::asio::awaitable<absl::StatusOr<OriginStat>> Stat(OriginRequest request) override;
  boost::asio::awaitable<absl::StatusOr<Opening>> Open(OriginRequest request, uint64_t first_bytes, Opened opened,
                                                       runtime::TokenBucket& limiter) override;
  boost::asio::awaitable<absl::Status> Read(OriginRequest request, ByteRange range, ObjectVersion version,
                                            ByteSink& sink, runtime::TokenBucket& limiter) override;
  boost::asio::awaitable<absl::StatusOr<uint64_t>> ReadAll(OriginRequest request, ObjectVersion version, ByteSink& sink,
                                                           runtime::TokenBucket& limiter) override;
  // Fails as a whole when a key cannot be named by a URL below the directory ("." or ".." between slashes).
  boost::asio::awaitable<absl::StatusOr<std::vector<OriginEntry>>> List(OriginRequest request,
                                                                        size_t entries_max) override;

 private:
  struct Asked;

  absl::StatusOr<Asked> Prepare(const OriginRequest& request) const;
  OriginRequest ToHttp(const Asked& asked, const std::string& url);
  std::shared_ptr<Signer> SignerOf(const ObjectPlace& place);
  // After a call has failed: true when the bucket was found to live elsewhere, and `asked` has changed to that.
  bool Moved(const absl::Status& status, Asked& asked);
  boost::asio::awaitable<absl::StatusOr<std::string>> ReadPage(Asked& asked, const std::string& prefix,
                                                               const std::string& continuation);

  boost::asio::io_context& io_;
  const SourceOptions options_;
  Source& http_;
  const ObjectSourceHooks hooks_;
  http::CurlClient token_client_;
  std::map<std::string, std::shared_ptr<Signer>> signers_;      // by IdentityOf()
  std::map<std::string, std::shared_ptr<GoogleToken>> tokens_;  // by file
  std::map<std::string, std::string> regions_;                  // of AWS buckets that are not where they were sought
};

}  // namespace dragonfly::source
