// SPDX-License-Identifier: Apache-2.0
#include "source/hdfs_source.h"

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <utility>

#include "absl/time/time.h"
#include "base/backend_error.h"
#include "base/json_bounds.h"
#include "base/status.h"
#include "base/text.h"
#include "base/url.h"
#include "source/attempts.h"
#include "source/listing.h"
#include "source/signer.h"

namespace dragonfly::source {

namespace asio = boost::asio;
using nlohmann::json;

namespace {

constexpr int kNamenodePort = 9870;
constexpr int kSecureNamenodePort = 9871;
constexpr size_t kStatusBodyMax = 1 << 20;

// Discarded when it is no JSON, or more than a listing is.
json ParseJson(std::string_view text) {
  if (!IsBoundedJson(text)) return json::value_t::discarded;
  return json::parse(text, nullptr, /*allow_exceptions=*/false);
}

// Reads what Hadoop says when it refuses: {"RemoteException": {"exception": ..., "message": ...}}. It signs nothing:
// the delegation token is a part of the URL.
class RemoteExceptionReader : public Signer {
 public:
  asio::awaitable<absl::Status> Sign(http::CurlRequest&) override { co_return absl::OkStatus(); }
  std::string Identity() const override { return ""; }
  std::string Explain(std::string_view body) const override {
    const json document = ParseJson(body);
    if (!document.is_object()) return "";
    const auto remote = document.find("RemoteException");
    if (remote == document.end() || !remote->is_object()) return "";
    std::string text;
    for (const char* part : {"exception", "message"}) {
      const auto found = remote->find(part);
      if (found == remote->end() || !found->is_string()) continue;
      if (!text.empty()) text += ": ";
      text += found->get_ref<const std::string&>();
    }
    return OneLine(text);
  }
};

std::shared_ptr<Signer> ExceptionReader() {
  static const std::shared_ptr<Signer>* const reader =
      new std::shared_ptr<Signer>(std::make_shared<RemoteExceptionReader>());
  return *reader;
}

absl::Status BadAnswer(std::string_view what) {
  BackendError error;
  error.message = StrCat("WebHDFS: ", what);
  return MakeBackendErrorStatus(error);
}

// A FileStatus object (WebHDFS REST API, "FileStatus JSON Schema").
struct FileStatus {
  std::string path_suffix;
  bool is_file = false;
  bool is_directory = false;
  uint64_t length = 0;
  int64_t modified_ms = 0;
};

std::optional<FileStatus> ReadFileStatus(const json& object) {
  if (!object.is_object()) return std::nullopt;
  const auto type = object.find("type");
  const auto length = object.find("length");
  if (type == object.end() || !type->is_string() || length == object.end() || !length->is_number_unsigned()) {
    return std::nullopt;
  }
  FileStatus status;
  status.is_file = *type == "FILE";
  status.is_directory = *type == "DIRECTORY";
  status.length = length->get<uint64_t>();
  if (const auto name = object.find("pathSuffix"); name != object.end() && name->is_string()) {
    status.path_suffix = name->get<std::string>();
  }
  if (const auto time = object.find("modificationTime"); time != object.end() && time->is_number_integer()) {
    status.modified_ms = time->get<int64_t>();
  }
  return status;
}

const json* Member(const json* object, const char* name) {
  if (object == nullptr || !object->is_object()) return nullptr;
  const auto found = object->find(name);
  return found == object->end() ? nullptr : &*found;
}

// Passes on at most `wanted` bytes, counting them; then ends the transfer.
class SliceSink : public ByteSink {
 public:
  SliceSink(uint64_t wanted, ByteSink& sink) : wanted_(wanted), sink_(sink) {}
  uint64_t taken() const { return taken_; }
  bool full() const { return taken_ == wanted_; }

  absl::Status Append(std::span<const std::byte> bytes) override {
    const auto mine = bytes.first(static_cast<size_t>(std::min<uint64_t>(wanted_ - taken_, bytes.size())));
    if (!mine.empty()) {
      DF_RETURN_IF_ERROR(sink_.Append(mine));
      taken_ += mine.size();
    }
    return mine.size() == bytes.size() ? absl::OkStatus() : absl::CancelledError("the slice is there");
  }

 private:
  const uint64_t wanted_;
  ByteSink& sink_;
  uint64_t taken_ = 0;
};

// A namenode that is too old for an operation calls its name a wrong parameter.
bool IsUnknownOperation(const absl::Status& status) {
  const std::optional<BackendError> error = GetBackendError(status);
  return error.has_value() && error->status_code == 400;
}

}  // namespace

absl::StatusOr<OriginRequest> HdfsSource::Ask(const OriginRequest& request, std::string_view operation,
                                              std::string_view below) const {
  DF_ASSIGN_OR_RETURN(const Url url, Url::Parse(request.url));
  if (url.host.empty()) return absl::InvalidArgumentError(StrCat("URL of scheme ", url.scheme, " names no namenode"));
  if (!url.password.empty()) {
    return absl::InvalidArgumentError("a password in a URL of HDFS is of no use: WebHDFS takes a user name only");
  }
  const bool secure = transport_ == WebHdfsTransport::kHttps;
  std::string path = StrCat(url.path, below);
  // A file has no slash at its end, and a directory needs none.
  while (path.ends_with('/')) path.pop_back();
  OriginRequest asked;
  asked.url = StrCat(secure ? "https" : "http", "://", url.host, ":",
                     url.port != -1 ? url.port : (secure ? kSecureNamenodePort : kNamenodePort), "/webhdfs/v1",
                     path.empty() ? "/" : path, "?op=", operation);
  if (!url.username.empty()) asked.url += StrCat("&user.name=", PercentEncode(PercentDecode(url.username)));
  if (!request.access.hdfs_delegation_token.empty()) {
    asked.url += StrCat("&delegation=", PercentEncode(request.access.hdfs_delegation_token));
  }
  asked.header = request.header;
  asked.guarded = request.guarded;
  asked.deadline = request.deadline;
  asked.authorities = request.authorities;
  asked.signer = ExceptionReader();
  return asked;
}

asio::awaitable<absl::StatusOr<OriginStat>> HdfsSource::Stat(OriginRequest request) {
  DF_CO_ASSIGN_OR_RETURN(OriginRequest asked, Ask(request, "GETFILESTATUS"));
  DF_CO_ASSIGN_OR_RETURN(const HttpDocument answer, co_await http_.Fetch(std::move(asked), kStatusBodyMax));
  const json document = ParseJson(answer.body);
  const json* const object = Member(&document, "FileStatus");
  const std::optional<FileStatus> status = object == nullptr ? std::nullopt : ReadFileStatus(*object);
  if (!status.has_value()) co_return BadAnswer("the answer to GETFILESTATUS is no FileStatus");
  if (status->is_directory) co_return absl::InvalidArgumentError("the HDFS path is a directory");
  OriginStat stat;
  stat.content_length = status->length;
  stat.accepts_ranges = true;
  stat.header["content-length"] = StrCat(status->length);
  // HDFS has no entity tags. Files change by being appended to or replaced, and both set the time.
  stat.header["etag"] = StrCat("\"", status->modified_ms, "-", status->length, "\"");
  stat.header["last-modified"] =
      absl::FormatTime("%a, %d %b %Y %H:%M:%S GMT", absl::FromUnixMillis(status->modified_ms), absl::UTCTimeZone());
  co_return stat;
}

asio::awaitable<absl::Status> HdfsSource::CheckUnchanged(OriginRequest request, ObjectVersion version) {
  if (version.etag.empty() && !version.content_length.has_value()) co_return absl::OkStatus();
  DF_CO_ASSIGN_OR_RETURN(const OriginStat now, co_await Stat(std::move(request)));
  const ObjectVersion found = VersionOf(now);
  if (version.content_length.has_value() && version.content_length != found.content_length) {
    co_return absl::DataLossError(StrCat("object has changed: its length was ", *version.content_length, " and is ",
                                         found.content_length.value_or(0)));
  }
  if (!version.etag.empty() && version.etag != found.etag) {
    co_return absl::DataLossError(
        StrCat("object has changed: its ETag was ", Quoted(version.etag), " and is ", Quoted(found.etag)));
  }
  co_return absl::OkStatus();
}

asio::awaitable<absl::Status> HdfsSource::Read(OriginRequest request, ByteRange range, ObjectVersion version,
                                               ByteSink& sink, runtime::TokenBucket& limiter) {
  Attempts attempts(options_, random_, request.deadline);
  for (ByteRange rest = range; rest.length > 0;) {
    DF_CO_ASSIGN_OR_RETURN(OriginRequest asked,
                           Ask(request, StrCat("OPEN&offset=", rest.offset, "&length=", rest.length)));
    SliceSink slice(rest.length, sink);
    ObjectVersion of_the_slice;
    const absl::StatusOr<uint64_t> read =
        co_await http_.ReadAll(std::move(asked), std::move(of_the_slice), slice, limiter);
    rest.offset += slice.taken();
    rest.length -= slice.taken();
    if (rest.length == 0) break;
    // What HttpSource has asked again in vain is final, and so is what the sink says; a body that broke off is ours to
    // go on with.
    if (!read.ok() && !absl::IsDataLoss(read.status())) co_return read.status();
    const bool again = co_await attempts.Next();
    if (!again) {
      DF_CO_RETURN_IF_ERROR(co_await CheckUnchanged(std::move(request), std::move(version)));
      co_return absl::DataLossError(StrCat("origin broke off after ", rest.offset - range.offset, " of ", range.length,
                                           " bytes",
                                           read.ok() ? "" : StrCat(": ", std::string(MessageOf(read.status())))));
    }
  }
  // A datanode does not tell which version of the file it sends.
  co_return co_await CheckUnchanged(std::move(request), std::move(version));
}

asio::awaitable<absl::StatusOr<uint64_t>> HdfsSource::ReadAll(OriginRequest request, ObjectVersion version,
                                                              ByteSink& sink, runtime::TokenBucket& limiter) {
  DF_CO_ASSIGN_OR_RETURN(OriginRequest asked, Ask(request, "OPEN"));
  ObjectVersion length_only;
  length_only.content_length = version.content_length;
  DF_CO_ASSIGN_OR_RETURN(const uint64_t length,
                         co_await http_.ReadAll(std::move(asked), std::move(length_only), sink, limiter));
  DF_CO_RETURN_IF_ERROR(co_await CheckUnchanged(std::move(request), std::move(version)));
  co_return length;
}

asio::awaitable<absl::Status> HdfsSource::ListOne(OriginRequest request, std::string below, Listing& listing,
                                                  std::vector<std::string>& deeper) {
  std::string start_after;
  bool in_batches = true;  // LISTSTATUS_BATCH came with Hadoop 2.9
  for (;;) {
    std::string operation = in_batches ? "LISTSTATUS_BATCH" : "LISTSTATUS";
    if (!start_after.empty()) operation += StrCat("&startAfter=", PercentEncode(start_after));
    std::string encoded;
    if (!below.empty()) encoded = EncodeListedPath(below).value_or("");
    DF_CO_ASSIGN_OR_RETURN(OriginRequest asked, Ask(request, operation, encoded));
    const absl::StatusOr<HttpDocument> answer = co_await http_.Fetch(std::move(asked), kListingBodyMax);
    if (!answer.ok() && in_batches && start_after.empty() && IsUnknownOperation(answer.status())) {
      in_batches = false;
      continue;
    }
    if (!answer.ok()) co_return answer.status();

    const json document = ParseJson(answer->body);
    const json* const batch = in_batches ? Member(&document, "DirectoryListing") : nullptr;
    const json* const whole = in_batches ? Member(batch, "partialListing") : &document;
    const json* const statuses = Member(Member(whole, "FileStatuses"), "FileStatus");
    if (statuses == nullptr || !statuses->is_array()) co_return BadAnswer("the answer is no directory listing");
    for (const json& object : *statuses) {
      const std::optional<FileStatus> status = ReadFileStatus(object);
      if (!status.has_value()) co_return BadAnswer("the directory listing holds what is no FileStatus");
      start_after = status->path_suffix;
      if (status->path_suffix.empty() && status->is_file) {
        co_return absl::InvalidArgumentError("the HDFS path is a file, not a directory");
      }
      if (status->path_suffix.find('/') != std::string::npos) {
        co_return BadAnswer(StrCat("the directory listing holds a path: ", Quoted(status->path_suffix)));
      }
      const std::string path = StrCat(below, below.empty() ? "" : "/", status->path_suffix);
      if (status->is_file) DF_CO_RETURN_IF_ERROR(listing.AddFile(path, status->length));
      // Symbolic links (not switched on in any release of HDFS) could lead anywhere, also in circles.
      if (!status->is_directory) continue;
      DF_CO_RETURN_IF_ERROR(listing.AddDirectory(path));
      deeper.push_back(path);
    }
    const json* const left = Member(batch, "remainingEntries");
    const bool more = left != nullptr && left->is_number_unsigned() && *left > 0;
    if (!more || statuses->empty()) co_return absl::OkStatus();
  }
}

asio::awaitable<absl::StatusOr<std::vector<OriginEntry>>> HdfsSource::List(OriginRequest request, size_t entries_max) {
  DF_CO_ASSIGN_OR_RETURN(std::string directory, DirectoryUrl(request.url));
  Listing listing(std::move(directory), entries_max);
  // Each directory in it was counted by the listing, which bounds it.
  std::vector<std::string> waiting = {""};
  while (!waiting.empty()) {
    std::string below = std::move(waiting.back());
    waiting.pop_back();
    DF_CO_RETURN_IF_ERROR(co_await ListOne(request, std::move(below), listing, waiting));
  }
  co_return listing.Take();
}

}  // namespace dragonfly::source
