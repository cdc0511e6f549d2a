// SPDX-License-Identifier: Apache-2.0
#include "source/object_source.h"

#include <cstdlib>
#include <optional>
#include <utility>

#include "absl/time/clock.h"
#include "base/backend_error.h"
#include "base/status.h"
#include "base/text.h"
#include "source/object_answer.h"
#include "source/object_crypto.h"

namespace dragonfly::source {

namespace asio = boost::asio;

namespace {

// What is remembered of buckets and credentials; when it is full, all of it is forgotten, which costs a derivation or a
// request each.
constexpr size_t kRemembered = 256;

// A page has at most kListPageSize entries with keys of 1 KiB (3 KiB encoded) and some attributes.
constexpr size_t kPageMax = 16 << 20;
constexpr int kPageAttempts = 2;
// Services may send pages without an entry when they have skipped much; not for ever.
constexpr int kEmptyPagesMax = 1000;

ObjectSourceHooks WithDefaults(ObjectSourceHooks hooks) {
  if (!hooks.now) hooks.now = [] { return absl::Now(); };
  if (!hooks.environment) {
    hooks.environment = [](const char* name) {
      const char* value = std::getenv(name);
      return std::string(value == nullptr ? "" : value);
    };
  }
  return hooks;
}

template <typename T>
void Remember(std::map<std::string, T>& map, const std::string& key, T value) {
  if (map.size() >= kRemembered) map.clear();
  map.insert_or_assign(key, std::move(value));
}

class TextSink : public ByteSink {
 public:
  absl::Status Append(std::span<const std::byte> bytes) override {
    if (text.size() + bytes.size() > kPageMax) {
      return absl::ResourceExhaustedError(StrCat("list of the bucket: a page is larger than ", kPageMax, " bytes"));
    }
    text.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return absl::OkStatus();
  }
  std::string text;
};

bool HasDotSegment(std::string_view path) {
  for (;;) {
    const std::string_view segment = path.substr(0, path.find('/'));
    if (segment == "." || segment == "..") return true;
    if (segment.size() == path.size()) return false;
    path.remove_prefix(segment.size() + 1);
  }
}

// Without query and fragment.
std::string DirectoryUrl(const std::string& url) { return url.substr(0, url.find_first_of("?#")); }

absl::StatusOr<OriginEntry> EntryOf(const ListedObject& object, const std::string& directory,
                                    const std::string& prefix) {
  if (!object.key.starts_with(prefix)) {
    return absl::DataLossError(StrCat("list of the bucket: ", Quoted(object.key), " is not below the directory"));
  }
  const std::string_view below = std::string_view(object.key).substr(prefix.size());
  if (HasDotSegment(below)) {
    return absl::FailedPreconditionError(
        StrCat("object ", Quoted(object.key), " has no URL below the directory: \".\" or \"..\" in its key"));
  }
  OriginEntry entry;
  entry.url = StrCat(directory, UriEncode(below, Slash::kKeep));
  entry.content_length = object.size;
  entry.is_directory = object.is_directory;
  return entry;
}

}  // namespace

// A request, and where it goes.
struct ObjectSource::Asked {
  OriginRequest request;
  ObjectUrl url;
  ObjectPlace place;
};

ObjectSource::ObjectSource(asio::io_context& io, const SourceOptions& options, Source& http, ObjectSourceHooks hooks)
    : io_(io), options_(options), http_(http), hooks_(WithDefaults(std::move(hooks))), token_client_(io) {}

ObjectSource::~ObjectSource() = default;

absl::StatusOr<ObjectSource::Asked> ObjectSource::Prepare(const OriginRequest& request) const {
  Asked asked;
  asked.request = request;
  DF_ASSIGN_OR_RETURN(asked.url, ObjectUrl::Parse(request.url));
  DF_ASSIGN_OR_RETURN(asked.place, LocateBucket(asked.url, request.access.object_storage, hooks_.environment));
  const auto region = regions_.find(asked.url.bucket);
  if (region != regions_.end()) MoveToRegion(region->second, asked.place);
  return asked;
}

OriginRequest ObjectSource::ToHttp(const Asked& asked, const std::string& url) {
  OriginRequest request;
  request.url = url;
  request.deadline = asked.request.deadline;
  request.guarded = asked.request.guarded;
  request.insecure_skip_verify = asked.place.insecure_skip_verify;
  request.authorities = asked.request.authorities;
  request.signer = SignerOf(asked.place);
  // Another Host than the URL's would not be what is signed.
  for (const auto& field : asked.request.header) {
    if (!EqualsIgnoreCase(field.first, "host")) request.header.push_back(field);
  }
  return request;
}

std::shared_ptr<Signer> ObjectSource::SignerOf(const ObjectPlace& place) {
  const std::string identity = IdentityOf(place);
  const auto found = signers_.find(identity);
  if (found != signers_.end()) return found->second;
  std::shared_ptr<Signer> signer;
  if (place.vendor == ObjectVendor::kGs) {
    std::shared_ptr<GoogleToken> token;
    if (!place.credential_path.empty()) {
      token = tokens_[place.credential_path];
      if (token == nullptr) {
        token = std::make_shared<GoogleToken>(io_, token_client_, options_, place.credential_path, hooks_.now);
        Remember(tokens_, place.credential_path, token);
      }
    }
    signer = std::make_shared<GoogleSigner>(place, std::move(token));
  } else {
    signer = std::make_shared<KeySigner>(place, hooks_.now);
  }
  Remember(signers_, identity, signer);
  return signer;
}

bool ObjectSource::Moved(const absl::Status& status, Asked& asked) {
  const std::optional<BackendError> refusal = GetBackendError(status);
  if (!refusal.has_value() || refusal->status_code != 301) return false;
  const auto region = refusal->header.find("x-amz-bucket-region");
  if (region == refusal->header.end() || !MoveToRegion(region->second, asked.place)) return false;
  Remember(regions_, asked.url.bucket, region->second);
  return true;
}

asio::awaitable<absl::StatusOr<OriginStat>> ObjectSource::Stat(OriginRequest request) {
  DF_CO_ASSIGN_OR_RETURN(Asked asked, Prepare(request));
  if (asked.url.key.empty()) co_return absl::InvalidArgumentError(StrCat(Quoted(request.url), " names no object"));
  absl::StatusOr<OriginStat> stat = co_await http_.Stat(ToHttp(asked, asked.place.UrlOf(asked.url)));
  const bool moved = Moved(stat.status(), asked);
  if (moved) stat = co_await http_.Stat(ToHttp(asked, asked.place.UrlOf(asked.url)));
  co_return stat;
}

asio::awaitable<absl::StatusOr<Opening>> ObjectSource::Open(OriginRequest request, uint64_t first_bytes, Opened opened,
                                                            runtime::TokenBucket& limiter) {
  DF_CO_ASSIGN_OR_RETURN(Asked asked, Prepare(request));
  if (asked.url.key.empty()) co_return absl::InvalidArgumentError(StrCat(Quoted(request.url), " names no object"));
  absl::StatusOr<Opening> opening =
      co_await http_.Open(ToHttp(asked, asked.place.UrlOf(asked.url)), first_bytes, opened, limiter);
  // A refusal comes before `opened` is called.
  const bool moved = Moved(opening.status(), asked);
  if (moved) {
    opening = co_await http_.Open(ToHttp(asked, asked.place.UrlOf(asked.url)), first_bytes, std::move(opened), limiter);
  }
  co_return opening;
}

asio::awaitable<absl::Status> ObjectSource::Read(OriginRequest request, ByteRange range, ObjectVersion version,
                                                 ByteSink& sink, runtime::TokenBucket& limiter) {
  DF_CO_ASSIGN_OR_RETURN(Asked asked, Prepare(request));
  if (asked.url.key.empty()) co_return absl::InvalidArgumentError(StrCat(Quoted(request.url), " names no object"));
  absl::Status read = co_await http_.Read(ToHttp(asked, asked.place.UrlOf(asked.url)), range, version, sink, limiter);
  // A refusal comes before any byte.
  const bool moved = Moved(read, asked);
  if (moved) read = co_await http_.Read(ToHttp(asked, asked.place.UrlOf(asked.url)), range, version, sink, limiter);
  co_return read;
}

asio::awaitable<absl::StatusOr<uint64_t>> ObjectSource::ReadAll(OriginRequest request, ObjectVersion version,
                                                                ByteSink& sink, runtime::TokenBucket& limiter) {
  DF_CO_ASSIGN_OR_RETURN(Asked asked, Prepare(request));
  if (asked.url.key.empty()) co_return absl::InvalidArgumentError(StrCat(Quoted(request.url), " names no object"));
  absl::StatusOr<uint64_t> read =
      co_await http_.ReadAll(ToHttp(asked, asked.place.UrlOf(asked.url)), version, sink, limiter);
  const bool moved = Moved(read.status(), asked);
  if (moved) read = co_await http_.ReadAll(ToHttp(asked, asked.place.UrlOf(asked.url)), version, sink, limiter);
  co_return read;
}

asio::awaitable<absl::StatusOr<std::string>> ObjectSource::ReadPage(Asked& asked, const std::string& prefix,
                                                                    const std::string& continuation) {
  runtime::TokenBucket unlimited(0);
  const ObjectVersion any;
  absl::Status status;
  for (int attempt = 0; attempt < kPageAttempts; ++attempt) {
    TextSink sink;
    const absl::StatusOr<uint64_t> read =
        co_await http_.ReadAll(ToHttp(asked, asked.place.ListUrl(prefix, continuation)), any, sink, unlimited);
    if (read.ok()) co_return std::move(sink.text);
    status = read.status();
    // A page that broke off is asked for again, as a moved bucket is.
    if (!absl::IsDataLoss(status) && !Moved(status, asked)) break;
  }
  co_return status;
}

asio::awaitable<absl::StatusOr<std::vector<OriginEntry>>> ObjectSource::List(OriginRequest request,
                                                                             size_t entries_max) {
  DF_CO_ASSIGN_OR_RETURN(Asked asked, Prepare(request));
  const std::string directory = DirectoryUrl(request.url);
  if (!directory.ends_with('/')) {
    co_return absl::InvalidArgumentError(StrCat(Quoted(request.url), " names no directory: it does not end in /"));
  }
  const std::string prefix = asked.url.key;
  std::vector<OriginEntry> entries;
  std::string continuation;
  for (int empty_pages = 0; empty_pages < kEmptyPagesMax;) {
    DF_CO_ASSIGN_OR_RETURN(const std::string body, co_await ReadPage(asked, prefix, continuation));
    DF_CO_ASSIGN_OR_RETURN(ListPage page, ParseListPage(asked.place.vendor, body));
    for (const ListedObject& object : page.objects) {
      if (object.key == prefix) continue;  // the directory's own marker
      if (entries.size() >= entries_max) {
        co_return absl::ResourceExhaustedError(
            StrCat("directory ", Quoted(directory), " has more than ", entries_max, " entries"));
      }
      DF_CO_ASSIGN_OR_RETURN(OriginEntry entry, EntryOf(object, directory, prefix));
      entries.push_back(std::move(entry));
    }
    if (page.continuation.empty()) co_return entries;
    if (page.continuation == continuation) {
      co_return absl::DataLossError("list of the bucket: it goes on where it has begun");
    }
    continuation = std::move(page.continuation);
    empty_pages = page.objects.empty() ? empty_pages + 1 : 0;
  }
  co_return absl::DataLossError(StrCat("list of the bucket: ", kEmptyPagesMax, " pages without an entry"));
}

}  // namespace dragonfly::source
