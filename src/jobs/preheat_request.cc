// SPDX-License-Identifier: Apache-2.0
#include "jobs/preheat_request.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "absl/strings/str_split.h"
#include "base/status.h"
#include "base/text.h"
#include "jobs/json.h"
#include "jobs/origin_members.h"

namespace dragonfly::jobs {
namespace {

constexpr std::array<std::string_view, 3> kScopes = {"single_seed_peer", "all_seed_peers", "all_peers"};
constexpr int64_t kAtOnceMax = 1000;

template <typename T>
Json OrNull(const std::optional<T>& value) {
  return value.has_value() ? Json(*value) : Json(nullptr);
}

absl::Status ReadBounded(const Json& json, const char* name, uint64_t max, std::optional<uint64_t>& value) {
  DF_RETURN_IF_ERROR(Read(json, name, value));
  if (value.has_value() && (*value == 0 || *value > max)) {
    return absl::InvalidArgumentError(StrCat(name, ": ", *value, " is not between 1 and ", max));
  }
  return absl::OkStatus();
}

// One that is missing, or 0 as Go sends it for that, leaves the default.
absl::Status ReadAtOnce(const Json& json, const char* name, int64_t& value) {
  int64_t given = 0;
  DF_RETURN_IF_ERROR(Read(json, name, given));
  if (given != 0) value = std::clamp<int64_t>(given, 1, kAtOnceMax);
  return absl::OkStatus();
}

}  // namespace

std::string_view NameOf(Scope scope) { return kScopes[static_cast<size_t>(scope)]; }

Scope ParseScope(std::string_view name) {
  for (size_t i = 0; i < kScopes.size(); ++i) {
    if (kScopes[i] == name) return static_cast<Scope>(i);
  }
  return Scope::kSingleSeedPeer;
}

std::vector<std::string> PreheatRequest::FilteredQueryParams() const {
  if (filtered_query_params.empty()) return {};
  return absl::StrSplit(filtered_query_params, '&');
}

std::string ToJson(const PreheatRequest& request, Form form) {
  const bool one = form == Form::kOneUrl;
  Json json = {{"url", one && !request.urls.empty() ? request.urls.front() : ""}};
  if (!one) json["urls"] = request.urls;
  json["pieceLength"] = OrNull(request.piece_length);
  json["tag"] = request.tag;
  json["filtered_query_params"] = request.filtered_query_params;
  json["headers"] = request.headers;
  json["application"] = request.application;
  json["priority"] = request.priority;
  json["scope"] = std::string(NameOf(request.scope));
  json["ips"] = request.ips;
  json["percentage"] = OrNull(request.percentage);
  json["count"] = OrNull(request.count);
  if (one) json["concurrent_count"] = std::min<int64_t>(request.peers_at_once, 500);
  json["concurrent_task_count"] = request.tasks_at_once;
  json["concurrent_peer_count"] = request.peers_at_once;
  json["certificate_chain"] = ShowCertificates(request.certificate_chain);
  json["insecure_skip_verify"] = request.insecure_skip_verify;
  json["timeout"] = absl::ToInt64Nanoseconds(request.timeout);
  json["load_to_cache"] = request.load_to_cache;
  json["content_for_calculating_task_id"] = OrNull(request.content);
  if (request.output_path.has_value()) json["output_path"] = *request.output_path;
  SetObject(json, "object_storage", request.object_storage);
  SetObject(json, "hdfs", request.hdfs);
  return Dump(json);
}

absl::StatusOr<PreheatRequest> ParsePreheatRequest(std::string_view text) {
  DF_ASSIGN_OR_RETURN(const Json json, ParseObject(text, "preheat"));
  PreheatRequest request;
  std::string url, scope;
  DF_RETURN_IF_ERROR(Read(json, "urls", request.urls));
  DF_RETURN_IF_ERROR(Read(json, "url", url));
  if (!url.empty()) request.urls.push_back(url);
  if (request.urls.empty()) return absl::InvalidArgumentError("preheat: url or urls is required");
  if (request.urls.size() > PreheatRequest::kUrlsMax) {
    return absl::InvalidArgumentError(StrCat("urls: more than ", PreheatRequest::kUrlsMax));
  }
  for (const char* const name : {"piece_length", "pieceLength"}) {
    DF_RETURN_IF_ERROR(Read(json, name, request.piece_length));
  }
  DF_RETURN_IF_ERROR(Read(json, "tag", request.tag));
  DF_RETURN_IF_ERROR(Read(json, "application", request.application));
  DF_RETURN_IF_ERROR(Read(json, "filtered_query_params", request.filtered_query_params));
  DF_RETURN_IF_ERROR(ReadHeaders(json, "headers", request.headers));
  DF_RETURN_IF_ERROR(Read(json, "priority", request.priority));
  DF_RETURN_IF_ERROR(Read(json, "scope", scope));
  request.scope = ParseScope(scope);
  DF_RETURN_IF_ERROR(Read(json, "ips", request.ips));
  if (request.ips.size() > PreheatRequest::kIpsMax) {
    return absl::InvalidArgumentError(StrCat("ips: more than ", PreheatRequest::kIpsMax));
  }
  DF_RETURN_IF_ERROR(ReadBounded(json, "percentage", PreheatRequest::kPercentageMax, request.percentage));
  DF_RETURN_IF_ERROR(ReadBounded(json, "count", PreheatRequest::kCountMax, request.count));
  DF_RETURN_IF_ERROR(ReadAtOnce(json, "concurrent_count", request.peers_at_once));
  DF_RETURN_IF_ERROR(ReadAtOnce(json, "concurrent_task_count", request.tasks_at_once));
  DF_RETURN_IF_ERROR(ReadAtOnce(json, "concurrent_peer_count", request.peers_at_once));
  DF_RETURN_IF_ERROR(ReadCertificates(json, "certificate_chain", request.certificate_chain));
  DF_RETURN_IF_ERROR(Read(json, "insecure_skip_verify", request.insecure_skip_verify));
  int64_t timeout = 0;
  DF_RETURN_IF_ERROR(Read(json, "timeout", timeout));
  request.timeout = absl::Nanoseconds(std::max<int64_t>(0, timeout));
  DF_RETURN_IF_ERROR(Read(json, "load_to_cache", request.load_to_cache));
  DF_RETURN_IF_ERROR(Read(json, "content_for_calculating_task_id", request.content));
  DF_RETURN_IF_ERROR(Read(json, "output_path", request.output_path));
  DF_RETURN_IF_ERROR(ReadObject(json, "object_storage", request.object_storage));
  DF_RETURN_IF_ERROR(ReadObject(json, "hdfs", request.hdfs));
  return request;
}

}  // namespace dragonfly::jobs
