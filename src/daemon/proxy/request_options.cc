// SPDX-License-Identifier: Apache-2.0
#include "daemon/proxy/request_options.h"

#include <filesystem>
#include <string_view>

#include "base/piece.h"
#include "base/text.h"
#include "base/units.h"
#include "common/v2/common.pb.h"
#include "daemon/proxy/http_error.h"

namespace dragonfly::daemon::proxy {
namespace {

// LEVEL6, what a request without the field has.
constexpr int kPriorityDefault = 6;

// The value of field `name` when it is visible ASCII, as the original demands.
std::optional<std::string> Text(const Fields& fields, std::string_view name) {
  const std::optional<std::string_view> value = fields.Find(name);
  if (!value) return std::nullopt;
  for (const char c : *value) {
    if (c < 0x20 || c > 0x7e) return std::nullopt;
  }
  return std::string(TrimSpace(*value));
}

std::optional<bool> Flag(const Fields& fields, std::string_view name) {
  const std::optional<std::string> text = Text(fields, name);
  if (!text) return std::nullopt;
  return EqualsIgnoreCase(*text, "true");
}

// True when `path` lies below one of `directories`, dots and all.
bool IsBelow(const std::string& path, const std::vector<std::string>& directories) {
  const std::filesystem::path normal = std::filesystem::path(path).lexically_normal();
  if (!normal.is_absolute() || normal.native() != path) return false;
  for (const std::string& directory : directories) {
    const std::string prefix = (std::filesystem::path(directory) / "").lexically_normal().native();
    if (path.starts_with(prefix) && path.size() > prefix.size()) return true;
  }
  return false;
}

absl::Status SetOutput(const DaemonConfig::Proxy& config, const Fields& fields, const Client& client,
                       common::v2::Download& out) {
  const std::optional<std::string> path = Text(fields, "x-dragonfly-output-path");
  if (!path || path->empty()) return absl::OkStatus();
  if (!client.loopback) return HttpError(403, "X-Dragonfly-Output-Path is only taken from this host");
  if (!IsBelow(*path, config.output_dirs)) {
    return HttpError(403, "X-Dragonfly-Output-Path names no file below a directory of proxy.outputDirs");
  }
  out.set_output_path(*path);
  out.set_force_hard_link(Flag(fields, "x-dragonfly-force-hard-link").value_or(false));
  return absl::OkStatus();
}

absl::Status SetPieceLength(const Fields& fields, common::v2::Download& out) {
  const std::optional<std::string> text = Text(fields, "x-dragonfly-piece-length");
  if (!text) return absl::OkStatus();
  const absl::StatusOr<uint64_t> length = ParseByteSize(*text);
  if (!length.ok()) return absl::OkStatus();
  if (*length < kPieceLengthMin) {
    return HttpError(400, StrCat("X-Dragonfly-Piece-Length ", *length, " is less than ", kPieceLengthMin));
  }
  out.set_piece_length(*length);
  return absl::OkStatus();
}

void SetFilteredParams(const DaemonConfig::Proxy::Rule& rule, const Fields& fields, common::v2::Download& out) {
  const std::optional<std::string> text = Text(fields, "x-dragonfly-filtered-query-params");
  if (text) {
    for (const std::string_view name : ListMembers(*text)) out.add_filtered_query_params(std::string(name));
  } else if (rule.filtered_query_params) {
    for (const std::string& name : *rule.filtered_query_params) out.add_filtered_query_params(name);
  } else {
    for (const std::string& name : DefaultFilteredQueryParams()) out.add_filtered_query_params(name);
  }
}

}  // namespace

bool WantsP2p(const Fields& fields) { return Flag(fields, "x-dragonfly-use-p2p").value_or(false); }

std::optional<std::string> SingleRange(const Fields& fields) {
  if (fields.Count("range") != 1) return std::nullopt;
  std::string_view value = TrimSpace(*fields.Find("range"));
  if (value.size() < 6 || !EqualsIgnoreCase(value.substr(0, 6), "bytes=")) return std::nullopt;
  value = TrimSpace(value.substr(6));
  const size_t dash = value.find('-');
  if (dash == std::string_view::npos) return std::nullopt;
  const std::string_view first = value.substr(0, dash), last = value.substr(dash + 1);
  const std::optional<uint64_t> from = ParseDecimal<uint64_t>(first), to = ParseDecimal<uint64_t>(last);
  if ((!first.empty() && !from) || (!last.empty() && !to) || (!from && !to)) return std::nullopt;
  if (from && to && *to < *from) return std::nullopt;
  return StrCat("bytes=", first, "-", last);
}

bool IsConditional(const Fields& fields) {
  for (const char* name : {"if-none-match", "if-modified-since", "if-match", "if-unmodified-since"}) {
    if (fields.Find(name)) return true;
  }
  return false;
}

Fields ForOrigin(const Fields& fields) {
  Fields out = fields;
  out.RemoveHopByHop();
  out.RemovePrefix("x-dragonfly-");
  for (const char* name : {"host", "content-length", "expect"}) out.Remove(name);
  return out;
}

absl::StatusOr<std::shared_ptr<common::v2::Download>> MakeDownload(const DaemonConfig::Proxy& config,
                                                                   const DaemonConfig::Proxy::Rule& rule,
                                                                   const Url& url, const RequestHead& request,
                                                                   const Client& client) {
  auto out = std::make_shared<common::v2::Download>();
  const Fields& fields = request.fields;
  out->set_url(url.ToString());
  out->set_type(common::v2::STANDARD);
  if (auto tag = Text(fields, "x-dragonfly-tag")) out->set_tag(*std::move(tag));
  if (auto application = Text(fields, "x-dragonfly-application")) out->set_application(*std::move(application));
  const std::optional<std::string> priority = Text(fields, "x-dragonfly-priority");
  out->set_priority(static_cast<common::v2::Priority>(
      priority ? ParseDecimal<int32_t>(*priority).value_or(kPriorityDefault) : kPriorityDefault));
  SetFilteredParams(rule, fields, *out);

  Fields passed = ForOrigin(fields);
  for (const char* name : {"range", "if-range", "if-match", "if-none-match", "if-modified-since", "if-unmodified-since",
                           "accept-encoding", "via", "forwarded"}) {
    passed.Remove(name);
  }
  for (const auto& [name, value] : passed.entries()) {
    std::string& have = (*out->mutable_request_header())[ToLowerAscii(name)];
    have = have.empty() ? value : StrCat(have, ", ", value);
  }
  if (const std::optional<std::string> range = SingleRange(fields)) {
    (*out->mutable_request_header())["range"] = *range;
    out->set_prefetch(Flag(fields, "x-dragonfly-prefetch").value_or(config.prefetch));
  }
  if (const absl::Status set = SetPieceLength(fields, *out); !set.ok()) return set;
  if (const absl::Status set = SetOutput(config, fields, client, *out); !set.ok()) return set;
  out->set_disable_back_to_source(config.disable_back_to_source);
  if (auto content = Text(fields, "x-dragonfly-content-for-calculating-task-id"); content && !content->empty()) {
    out->set_content_for_calculating_task_id(*std::move(content));
  }
  out->set_enable_task_id_based_blob_digest(
      Flag(fields, "x-dragonfly-enable-task-id-based-blob-digest").value_or(config.task_id_from_blob_digest));
  out->set_remote_ip(client.ip);
  return out;
}

}  // namespace dragonfly::daemon::proxy
