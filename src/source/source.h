// SPDX-License-Identifier: Apache-2.0
// Origins: where a task's bytes come from when no peer has them.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/byte_range.h"
#include "base/byte_sink.h"
#include "http/networks.h"
#include "runtime/clock.h"
#include "runtime/token_bucket.h"

namespace dragonfly::source {

class PluginSet;
class Signer;

// How a caller may enter an origin that is not plain HTTP. Empty: not told. What is secret here is never logged and
// stands in no error.
struct OriginAccess {
  OriginAccess() = default;
  struct ObjectStorage {
    ObjectStorage() = default;
    std::string region;
    std::string endpoint;  // URL or host[:port] of the service
    std::string access_key_id;
    std::string access_key_secret;
    std::string session_token;    // S3
    std::string security_token;   // OSS, OBS, COS
    std::string credential_path;  // GCS: file with the key of a service account, on this host
    bool insecure_skip_verify = false;
    // Without a key, that of this process's environment may be used: the caller is on this host.
    bool own_key_allowed = false;
  } object_storage;
  struct Hub {
    Hub() = default;
    std::string token;
    std::string revision;  // branch, tag or commit
    std::string base_url;
  } hugging_face, model_scope;
  std::string hdfs_delegation_token;
};

struct OriginRequest {
  OriginRequest() = default;
  std::string url;
  std::vector<std::pair<std::string, std::string>> header;  // sent to the origin, but for Range
  OriginAccess access;
  // Of HTTP sources, for the other sources that speak HTTP: signs the requests. Null: the headers say all.
  std::shared_ptr<Signer> signer;
  bool insecure_skip_verify = false;  // any certificate will do, for this request
  bool guarded = false;               // must not lead into SourceOptions::forbidden
  // Authorities (X.509 in DER) that the origin's certificate may come from, beside the system's. Null: none.
  std::shared_ptr<const std::vector<std::string>> authorities;
  TimePoint deadline = kNoDeadline;
};

// One thing below a directory of an origin.
struct OriginEntry {
  OriginEntry() = default;
  std::string url;
  uint64_t content_length = 0;  // bytes; 0 for a directory
  bool is_directory = false;
};

// What an origin says about an object.
struct OriginStat {
  std::optional<uint64_t> content_length;     // nullopt: not told (chunked)
  bool accepts_ranges = false;                // a ranged request was answered with 206
  std::map<std::string, std::string> header;  // lower-case names; describes the whole object; no secrets (Set-Cookie)
};

// Checks that a later answer still belongs to the object of the stat; empty values are not checked.
struct ObjectVersion {
  std::string etag;
  std::string last_modified;
  std::optional<uint64_t> content_length;
};
// A weak ETag (W/"...") is left out: it does not promise the same bytes.
ObjectVersion VersionOf(const OriginStat& stat);

// What the first request to an object has brought.
struct Opening {
  Opening() = default;
  OriginStat stat;
  uint64_t bytes = 0;  // of the object, from its begin on, that were appended
  // OK when all came that was asked for and wanted; else why the transfer ended. It is not tried again.
  absl::Status body;
};

// One kind of origin (scheme). Thread rule: all methods on the thread of the source's io_context; several calls may run
// at once. Cancelling a call closes its transfer.
class Source {
 public:
  virtual ~Source() = default;

  // Asks what the origin has, as the source's options say more than once. Errors: INTERNAL with a BackendError attached
  // (base/backend_error.h) when the origin refused (with its status code) or could not be reached (without one);
  // INVALID_ARGUMENT for a bad URL or header; PERMISSION_DENIED when it would lead into a forbidden network;
  // DEADLINE_EXCEEDED.
  virtual boost::asio::awaitable<absl::StatusOr<OriginStat>> Stat(OriginRequest request) = 0;

  // Stat() and the first read by one request where the origin lets: asks for the first `first_bytes` bytes (at least
  // 1). `opened` is called once, before any byte, with what the answer tells, and returns where the bytes go: they are
  // the first min(first_bytes, length), or all of the object when the origin ignores the range. Null: they are not
  // wanted, and the transfer is cut. Errors: as Stat, then `opened` was not called; what `opened` returned.
  using Opened = std::function<absl::StatusOr<ByteSink*>(const OriginStat& stat)>;
  virtual boost::asio::awaitable<absl::StatusOr<Opening>> Open(OriginRequest request, uint64_t first_bytes,
                                                               Opened opened, runtime::TokenBucket& limiter);

  // Streams `range` of the object into `sink`, taking from `limiter` while it streams. Retries a broken transfer from
  // where it stopped, as the source's options say. Returns when exactly range.length bytes were appended.
  // Errors: as Stat; FAILED_PRECONDITION when the origin answers another range than asked, or 200 to a range that does
  // not begin at 0 ("origin ignores ranges"); DATA_LOSS when it ends early for good or the object has changed; what the
  // sink returned.
  virtual boost::asio::awaitable<absl::Status> Read(OriginRequest request, ByteRange range, ObjectVersion version,
                                                    ByteSink& sink, runtime::TokenBucket& limiter) = 0;

  // Streams the whole object without a Range header, of whatever length; returns its length in bytes. No retry once a
  // byte was appended.
  virtual boost::asio::awaitable<absl::StatusOr<uint64_t>> ReadAll(OriginRequest request, ObjectVersion version,
                                                                   ByteSink& sink, runtime::TokenBucket& limiter) = 0;

  // All that is below the directory that the request's URL names (it ends in '/'), at every depth, in no set order.
  // Every entry's URL begins with the directory's. Errors: as Stat; UNIMPLEMENTED when origins of this kind have no
  // directories; RESOURCE_EXHAUSTED when there are more than `entries_max`.
  virtual boost::asio::awaitable<absl::StatusOr<std::vector<OriginEntry>>> List(OriginRequest request,
                                                                                size_t entries_max);
};

struct SourceOptions {
  SourceOptions() = default;
  std::string user_agent = "dragonfly/2.3.0";
  std::map<std::string, std::string> request_header;  // added where the request lacks the name
  int retries = 1;                                    // attempts after the first
  bool verify_tls = true;
  std::string ca_file;  // PEM, beside the system's CAs; empty: only those
  // Where no guarded request may lead, whatever names and redirects it meets. Not asked of plugins.
  http::Networks forbidden;
  std::chrono::milliseconds connect_timeout{5'000};
  std::chrono::milliseconds stall_timeout{30'000};  // without a byte
  std::shared_ptr<PluginSet> plugins;               // of further schemes, see source/plugin_set.h; null: none
  int redirects_max = 10;
  std::chrono::seconds redirect_cache_ttl{600};  // how long a redirect's target is asked at once; 0: never
  // Waits between attempts: from `backoff_min`, doubled each time up to `backoff_max`, less up to half of it by chance.
  // An origin's Retry-After comes first; when it asks for more than `retry_after_max` its refusal is final.
  std::chrono::milliseconds backoff_min{200};
  std::chrono::milliseconds backoff_max{5'000};
  std::chrono::milliseconds retry_after_max{30'000};
};

// Picks the source by the scheme of a URL. One per io thread.
class SourceSet {
 public:
  virtual ~SourceSet() = default;
  // A source is made when it is asked for first, and lives as long as the set. Errors: INVALID_ARGUMENT "unsupported
  // scheme ...", with the reason when a plugin for it could not be loaded.
  virtual absl::StatusOr<Source*> For(std::string_view url) = 0;
  // Closes connections that were not used since the last call. To be called now and then.
  virtual void CloseIdle() = 0;
};

// Whether this program knows `scheme` (lower case) without a plugin.
bool IsBuiltInScheme(std::string_view scheme);

// Sources of every scheme that this program or a plugin knows (docs/origins.md), on `io`.
std::unique_ptr<SourceSet> MakeSources(boost::asio::io_context& io, const SourceOptions& options);

}  // namespace dragonfly::source
