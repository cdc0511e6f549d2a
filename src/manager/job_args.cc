// SPDX-License-Identifier: Apache-2.0
#include "manager/job_args.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "absl/strings/str_join.h"
#include "base/host_port.h"
#include "base/status.h"
#include "base/task_id.h"
#include "base/text.h"
#include "base/url.h"
#include "jobs/message.h"
#include "manager/json_body.h"
#include "oci/image_url.h"
#include "oci/manifest.h"

namespace dragonfly::manager {
namespace {

using nlohmann::json;

constexpr std::array<std::string_view, 7> kKinds = {
    "preheat", "get_task", "delete_task", "sync_peers", "get_image_distribution", "gc", jobs::kListTaskEntries};
constexpr int64_t kPieceMin = 4 << 20, kPieceMax = 64 << 20;
constexpr size_t kLine = 1024;
constexpr size_t kUrlMax = 64 << 10;
constexpr int64_t kTimeoutMax = int64_t{7} * 24 * 3600 * 1'000'000'000;
constexpr char kMasked[] = "***";

absl::Status Failed(std::string_view key, std::string_view tag) {
  return absl::InvalidArgumentError(
      StrCat("Key: '", key, "' Error:Field validation for '", key, "' failed on the '", tag, "' tag"));
}

// A key that is missing leaves the value alone.
absl::Status ReadText(const json& object, const char* name, std::string& text, size_t max = kLine) {
  const json* const value = FindKey(object, name);
  if (value == nullptr) return absl::OkStatus();
  DF_ASSIGN_OR_RETURN(text, TextOf(name, *value));
  return text.size() > max ? Failed(name, "max") : absl::OkStatus();
}

absl::Status ReadNumber(const json& object, const char* name, int64_t min, int64_t max,
                        std::optional<int64_t>& number) {
  const json* const value = FindKey(object, name);
  if (value == nullptr) return absl::OkStatus();
  DF_ASSIGN_OR_RETURN(const int64_t given, NumberOf(name, *value));
  if (given == 0) return absl::OkStatus();
  if (given < min) return Failed(name, "gte");
  if (given > max) return Failed(name, "lte");
  number = given;
  return absl::OkStatus();
}

absl::Status ReadUnsigned(const json& object, const char* name, int64_t min, int64_t max,
                          std::optional<uint64_t>& number) {
  std::optional<int64_t> given;
  DF_RETURN_IF_ERROR(ReadNumber(object, name, min, max, given));
  if (given.has_value()) number = static_cast<uint64_t>(*given);
  return absl::OkStatus();
}

absl::Status ReadFlag(const json& object, const char* name, bool& flag) {
  const json* const value = FindKey(object, name);
  if (value == nullptr) return absl::OkStatus();
  if (!value->is_boolean()) return absl::InvalidArgumentError(StrCat(name, ": is neither true nor false"));
  flag = value->get<bool>();
  return absl::OkStatus();
}

absl::Status ReadTexts(const json& object, const char* name, size_t most, std::vector<std::string>& texts) {
  const json* const value = FindKey(object, name);
  if (value == nullptr) return absl::OkStatus();
  if (!value->is_array()) return absl::InvalidArgumentError(StrCat(name, ": is no list"));
  if (value->size() > most) return Failed(name, "max");
  for (const json& entry : *value) {
    DF_ASSIGN_OR_RETURN(std::string text, TextOf(name, entry));
    if (text.size() > kUrlMax) return Failed(name, "max");
    texts.push_back(std::move(text));
  }
  return absl::OkStatus();
}

absl::Status ReadIds(const json& object, const char* name, std::vector<uint64_t>& ids) {
  constexpr size_t kIdsMax = 1000;
  const json* const value = FindKey(object, name);
  if (value == nullptr) return absl::OkStatus();
  if (!value->is_array()) return absl::InvalidArgumentError(StrCat(name, ": is no list"));
  if (value->size() > kIdsMax) return Failed(name, "max");
  for (const json& entry : *value) {
    DF_ASSIGN_OR_RETURN(const int64_t id, NumberOf(name, entry));
    if (id < 1) return Failed(name, "gte");
    if (std::ranges::find(ids, static_cast<uint64_t>(id)) == ids.end()) ids.push_back(static_cast<uint64_t>(id));
  }
  return absl::OkStatus();
}

absl::Status ReadHeaders(const json& object, JobArgs& args) {
  constexpr size_t kHeadersMax = 100;
  const json* const value = FindKey(object, "headers");
  if (value == nullptr) return absl::OkStatus();
  if (!value->is_object()) return absl::InvalidArgumentError("headers: is no object");
  if (value->size() > kHeadersMax) return Failed("headers", "max");
  for (const auto& [name, entry] : value->items()) {
    DF_ASSIGN_OR_RETURN(std::string text, TextOf("headers", entry));
    if (name.empty() || text.size() > kUrlMax || (name + text).find_first_of("\r\n") != std::string::npos) {
      return absl::InvalidArgumentError(StrCat("headers: ", Quoted(name), " is none"));
    }
    args.secret = true;
    args.download.headers[name] = std::move(text);
  }
  return absl::OkStatus();
}

// Access to a store: shown without what it consists of.
absl::Status ReadStore(const json& object, const char* name, JobArgs& args, std::optional<std::string>& store) {
  const json* const value = FindKey(object, name);
  if (value == nullptr) return absl::OkStatus();
  if (!value->is_object()) return absl::InvalidArgumentError(StrCat(name, ": is no object"));
  store = DumpJson(*value);
  args.secret = true;
  return absl::OkStatus();
}

absl::Status CheckUrl(const char* name, const std::string& text) {
  const auto url = Url::Parse(text);
  if (!url.ok()) return Annotate(url.status(), name);
  if (url->scheme == "file" || !url->has_host)
    return absl::InvalidArgumentError(StrCat(name, ": is no URL of an origin"));
  return absl::OkStatus();
}

// What names a task or files.
absl::Status ReadCommon(const json& object, JobArgs& args) {
  jobs::PreheatRequest& download = args.download;
  DF_RETURN_IF_ERROR(ReadUnsigned(object, "piece_length", kPieceMin, kPieceMax, download.piece_length));
  DF_RETURN_IF_ERROR(ReadText(object, "tag", download.tag));
  DF_RETURN_IF_ERROR(ReadText(object, "application", download.application));
  DF_RETURN_IF_ERROR(ReadText(object, "filtered_query_params", download.filtered_query_params, kUrlMax));
  if (download.filtered_query_params.empty()) {
    download.filtered_query_params = absl::StrJoin(DefaultFilteredQueryParams(), "&");
  }
  if (const json* const content = FindKey(object, "content_for_calculating_task_id")) {
    DF_ASSIGN_OR_RETURN(download.content, TextOf("content_for_calculating_task_id", *content));
    if (download.content->size() > kUrlMax) return Failed("content_for_calculating_task_id", "max");
  }
  std::optional<int64_t> timeout;
  DF_RETURN_IF_ERROR(ReadNumber(object, "timeout", 1, kTimeoutMax, timeout));
  if (timeout.has_value()) args.timeout = std::max(absl::Nanoseconds(*timeout), absl::Seconds(1));
  download.timeout = args.timeout;
  return absl::OkStatus();
}

absl::Status ReadRegistry(const json& object, JobArgs& args) {
  DF_RETURN_IF_ERROR(ReadText(object, "username", args.username));
  DF_RETURN_IF_ERROR(ReadText(object, "password", args.password, kUrlMax));
  DF_RETURN_IF_ERROR(ReadText(object, "platform", args.platform));
  args.secret = args.secret || !args.username.empty() || !args.password.empty();
  if (args.platform.empty()) return absl::OkStatus();
  const auto platform = oci::Platform::Parse(args.platform);
  return platform.ok() ? absl::OkStatus() : Annotate(platform.status(), "platform");
}

absl::Status ReadScope(const json& object, jobs::PreheatRequest& download) {
  std::string scope;
  DF_RETURN_IF_ERROR(ReadText(object, "scope", scope));
  download.scope = jobs::ParseScope(scope);
  // Whoever asks for more than one host must not get one by a typing error.
  if (!scope.empty() && jobs::NameOf(download.scope) != scope) return Failed("scope", "oneof");
  DF_RETURN_IF_ERROR(ReadUnsigned(object, "percentage", 1, 100, download.percentage));
  DF_RETURN_IF_ERROR(ReadUnsigned(object, "count", 1, 200, download.count));
  DF_RETURN_IF_ERROR(ReadTexts(object, "ips", jobs::PreheatRequest::kIpsMax, download.ips));
  for (const std::string& ip : download.ips) {
    if (!IsIpLiteral(ip)) return Failed("ips", "ip");
  }
  std::optional<int64_t> peers, tasks;
  DF_RETURN_IF_ERROR(ReadNumber(object, "concurrent_count", 1, 500, peers));
  DF_RETURN_IF_ERROR(ReadNumber(object, "concurrent_peer_count", 1, 1000, peers));
  DF_RETURN_IF_ERROR(ReadNumber(object, "concurrent_task_count", 1, 100, tasks));
  download.peers_at_once = peers.value_or(download.peers_at_once);
  download.tasks_at_once = tasks.value_or(download.tasks_at_once);
  return absl::OkStatus();
}

absl::Status ReadPreheat(const json& object, JobArgs& args) {
  std::string type, url;
  DF_RETURN_IF_ERROR(ReadText(object, "type", type));
  if (type.empty()) return Failed("type", "required");
  if (type != "image" && type != "file") return Failed("type", "oneof");
  args.image = type == "image";
  DF_RETURN_IF_ERROR(ReadText(object, "url", url, kUrlMax));
  jobs::PreheatRequest& download = args.download;
  if (!args.image) DF_RETURN_IF_ERROR(ReadTexts(object, "urls", jobs::PreheatRequest::kUrlsMax - 1, download.urls));
  if (!url.empty()) download.urls.push_back(url);
  if (download.urls.empty()) {
    return absl::InvalidArgumentError(args.image ? "invalid params: url is required"
                                                 : "invalid params: url or urls is required");
  }
  DF_RETURN_IF_ERROR(ReadHeaders(object, args));
  DF_RETURN_IF_ERROR(ReadCommon(object, args));
  DF_RETURN_IF_ERROR(ReadRegistry(object, args));
  DF_RETURN_IF_ERROR(ReadScope(object, download));
  if (args.image) {
    const auto image = oci::ImageUrl::Parse(url);
    if (!image.ok()) return Annotate(image.status(), "url");
    download.content.reset();
    return absl::OkStatus();
  }
  for (const std::string& one : download.urls) DF_RETURN_IF_ERROR(CheckUrl("url", one));
  DF_RETURN_IF_ERROR(ReadFlag(object, "load_to_cache", download.load_to_cache));
  DF_RETURN_IF_ERROR(ReadStore(object, "object_storage", args, download.object_storage));
  return ReadStore(object, "hdfs", args, download.hdfs);
}

absl::Status ReadTask(const json& object, JobArgs& args) {
  std::string url, task_id;
  DF_RETURN_IF_ERROR(ReadText(object, "task_id", task_id));
  DF_RETURN_IF_ERROR(ReadText(object, "url", url, kUrlMax));
  DF_RETURN_IF_ERROR(ReadCommon(object, args));
  if (task_id.empty() && url.empty() && !args.download.content.has_value()) {
    return absl::InvalidArgumentError("invalid params: task_id, content_for_calculating_task_id or url is required");
  }
  if (!url.empty()) args.download.urls = {url};
  if (url.empty() && !args.download.content.has_value()) {
    const auto id = TaskId::Parse(task_id);
    if (!id.ok()) return Annotate(id.status(), "task_id");
    args.task_id = task_id;
    return absl::OkStatus();
  }
  UrlTaskKey key;
  key.url = url;
  key.filtered_query_params = args.download.FilteredQueryParams();
  key.tag = args.download.tag;
  key.application = args.download.application;
  key.piece_length = args.download.piece_length;
  // The URL wins.
  if (url.empty()) key.content = args.download.content;
  const auto id = UrlTaskId(key);
  if (!id.ok()) return Annotate(id.status(), "url");
  args.task_id = id->str();
  return absl::OkStatus();
}

absl::Status ReadImageDistribution(const json& object, JobArgs& args) {
  std::string url;
  DF_RETURN_IF_ERROR(ReadText(object, "url", url, kUrlMax));
  if (url.empty()) return Failed("url", "required");
  const auto image = oci::ImageUrl::Parse(url);
  if (!image.ok()) return Annotate(image.status(), "url");
  args.image = true;
  args.download.urls = {url};
  DF_RETURN_IF_ERROR(ReadHeaders(object, args));
  DF_RETURN_IF_ERROR(ReadCommon(object, args));
  return ReadRegistry(object, args);
}

absl::Status ReadDirectory(const json& object, JobArgs& args) {
  std::string url;
  DF_RETURN_IF_ERROR(ReadText(object, "url", url, kUrlMax));
  if (url.empty()) return Failed("url", "required");
  DF_RETURN_IF_ERROR(CheckUrl("url", url));
  args.download.urls = {url};
  DF_RETURN_IF_ERROR(ReadHeaders(object, args));
  DF_RETURN_IF_ERROR(ReadCommon(object, args));
  DF_RETURN_IF_ERROR(ReadStore(object, "object_storage", args, args.download.object_storage));
  return ReadStore(object, "hdfs", args, args.download.hdfs);
}

absl::Status ReadGc(const json& object, JobArgs& args) {
  DF_RETURN_IF_ERROR(ReadText(object, "type", args.gc));
  if (args.gc.empty()) return Failed("type", "required");
  return args.gc == "audit" || args.gc == "job" ? absl::OkStatus() : Failed("type", "oneof");
}

template <typename T>
json OrNull(const std::optional<T>& value) {
  return value.has_value() ? json(*value) : json(nullptr);
}

// With all keys, as the original keeps them.
json Show(JobKind kind, const JobArgs& args) {
  const jobs::PreheatRequest& download = args.download;
  if (kind == JobKind::kGc) return {{"type", args.gc}};
  if (kind == JobKind::kSyncPeers) return json::object();
  json shown = {{"url", download.urls.empty() ? "" : ShownUrl(download.urls.back())},
                {"piece_length", OrNull(download.piece_length)},
                {"tag", download.tag},
                {"application", download.application},
                {"filtered_query_params", download.filtered_query_params},
                {"timeout", absl::ToInt64Nanoseconds(args.timeout)},
                {"content_for_calculating_task_id", OrNull(download.content)}};
  if (kind == JobKind::kGetTask || kind == JobKind::kDeleteTask) {
    shown["task_id"] = args.task_id;
    if (args.secret) shown["redacted"] = true;
    return shown;
  }
  json headers = nullptr;
  for (const auto& [name, value] : download.headers) headers[name] = kMasked;
  shown["headers"] = std::move(headers);
  if (kind == JobKind::kListTaskEntries) return shown;
  shown["platform"] = args.platform;
  if (kind == JobKind::kGetImageDistribution) return shown;
  shown["type"] = args.image ? "image" : "file";
  if (!args.image) {
    // The URL is the last of them.
    shown["urls"] = json::array();
    for (auto url = download.urls.begin(); url + 1 != download.urls.end(); ++url)
      shown["urls"].push_back(ShownUrl(*url));
    shown["load_to_cache"] = download.load_to_cache;
  }
  shown["scope"] = std::string(jobs::NameOf(download.scope));
  shown["ips"] = download.ips;
  shown["percentage"] = OrNull(download.percentage);
  shown["count"] = OrNull(download.count);
  shown["concurrent_count"] = std::min<int64_t>(download.peers_at_once, 500);
  shown["concurrent_task_count"] = download.tasks_at_once;
  shown["concurrent_peer_count"] = download.peers_at_once;
  if (args.secret) shown["redacted"] = true;
  return shown;
}

absl::StatusOr<JobArgs> ReadArgs(JobKind kind, const json& object) {
  JobArgs args;
  switch (kind) {
    case JobKind::kPreheat:
      DF_RETURN_IF_ERROR(ReadPreheat(object, args));
      break;
    case JobKind::kGetTask:
    case JobKind::kDeleteTask:
      DF_RETURN_IF_ERROR(ReadTask(object, args));
      break;
    case JobKind::kGetImageDistribution:
      DF_RETURN_IF_ERROR(ReadImageDistribution(object, args));
      break;
    case JobKind::kGc:
      DF_RETURN_IF_ERROR(ReadGc(object, args));
      break;
    case JobKind::kListTaskEntries:
      DF_RETURN_IF_ERROR(ReadDirectory(object, args));
      break;
    case JobKind::kSyncPeers:
      break;
  }
  for (const std::string& url : args.download.urls) args.secret = args.secret || ShownUrl(url) != url;
  args.shown = DumpJson(Show(kind, args));
  // What its column holds in MySQL.
  constexpr size_t kShownMax = 65'535;
  if (args.shown.size() > kShownMax) return absl::InvalidArgumentError("args: are too large");
  return args;
}

}  // namespace

std::string ShownUrl(const std::string& text) {
  // Most have none.
  if (text.find('@') == std::string::npos) return text;
  auto url = Url::Parse(text);
  if (!url.ok() || url->password.empty()) return text;
  url->password = kMasked;
  return url->ToString();
}

std::string_view NameOf(JobKind kind) { return kKinds[static_cast<size_t>(kind)]; }

absl::StatusOr<JobRequest> ParseJobRequest(const std::string& body) {
  DF_ASSIGN_OR_RETURN(const json object, ParseBody(body));
  JobRequest request;
  std::string type;
  DF_RETURN_IF_ERROR(ReadText(object, "type", type));
  if (type.empty()) return Failed("type", "required");
  const auto kind = std::ranges::find(kKinds, type);
  if (kind == kKinds.end()) return absl::InvalidArgumentError("Unknow type");
  request.kind = static_cast<JobKind>(kind - kKinds.begin());
  DF_RETURN_IF_ERROR(ReadText(object, "bio", request.bio));
  DF_RETURN_IF_ERROR(ReadIds(object, "scheduler_cluster_ids", request.scheduler_clusters));
  DF_RETURN_IF_ERROR(ReadIds(object, "seed_peer_cluster_ids", request.seed_peer_clusters));
  json args = json::object();
  if (const json* const given = FindKey(object, "args")) args = *given;
  if (!args.is_object()) return absl::InvalidArgumentError("args: is no object");
  DF_ASSIGN_OR_RETURN(request.args, ReadArgs(request.kind, args));
  return request;
}

absl::StatusOr<JobRequest> ParseHarborRequest(const std::string& body) {
  DF_ASSIGN_OR_RETURN(const json object, ParseBody(body));
  json args = json::object();
  for (const auto& [from, to] : {std::pair{"type", "type"},
                                 {"url", "url"},
                                 {"filteredQueryParams", "filtered_query_params"},
                                 {"headers", "headers"}}) {
    if (const json* const value = FindKey(object, from)) args[to] = *value;
  }
  if (!args.contains("url") || args["url"] == "") return Failed("url", "required");
  JobRequest request;
  DF_ASSIGN_OR_RETURN(request.args, ReadArgs(JobKind::kPreheat, args));
  return request;
}

absl::StatusOr<JobArgs> ParseShownArgs(std::string_view name, const std::string& shown) {
  const auto kind = std::ranges::find(kKinds, name);
  if (kind == kKinds.end()) return absl::InvalidArgumentError(StrCat("job type ", Quoted(name), " is not known"));
  DF_ASSIGN_OR_RETURN(const json object, ParseBody(shown));
  DF_ASSIGN_OR_RETURN(JobArgs args, ReadArgs(static_cast<JobKind>(kind - kKinds.begin()), object));
  const json* const redacted = FindKey(object, "redacted");
  args.secret = args.secret || (redacted != nullptr && *redacted == true);
  return args;
}

}  // namespace dragonfly::manager
