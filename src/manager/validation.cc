// SPDX-License-Identifier: Apache-2.0
#include "manager/validation.h"

#include <cctype>
#include <string>
#include <string_view>

#include "absl/strings/ascii.h"
#include "base/host_port.h"
#include "base/status.h"
#include "base/text.h"
#include "manager/v2/manager.pb.h"

namespace dragonfly::manager {
namespace {

constexpr size_t kLineMax = 1024;
constexpr size_t kNameMax = 253;
constexpr size_t kLabelMax = 63;
constexpr size_t kConfigMax = 4096;

absl::Status Invalid(std::string_view field, std::string_view reason) {
  return absl::InvalidArgumentError(StrCat("invalid ", field, ": ", reason));
}

// Letters, digits and hyphens between dots, RFC 1034; a label may begin with a digit.
bool IsHostname(std::string_view name) {
  if (name.ends_with('.')) name.remove_suffix(1);
  if (name.empty() || name.size() > kNameMax) return false;
  size_t label = 0;
  char before = '.';
  for (const char c : name) {
    if (c == '.') {
      if (label == 0 || before == '-') return false;
      label = 0;
    } else {
      if (!absl::ascii_isalnum(static_cast<unsigned char>(c)) && c != '-') return false;
      if (label == 0 && c == '-') return false;
      if (++label > kLabelMax) return false;
    }
    before = c;
  }
  return label > 0 && before != '-';
}

template <typename Request>
absl::Status CheckSource(std::string_view message, const Request& request) {
  if (!v2::SourceType_IsValid(request.source_type())) {
    return Invalid(StrCat(message, ".SourceType"), "value must be one of the defined enum values");
  }
  if (!IsHostname(request.hostname())) return Invalid(StrCat(message, ".Hostname"), "value must be a valid hostname");
  return absl::OkStatus();
}

absl::Status CheckIp(std::string_view message, const std::string& ip, bool may_be_empty) {
  if (ip.empty() ? may_be_empty : IsIpLiteral(ip)) return absl::OkStatus();
  return Invalid(StrCat(message, ".Ip"), "value must be a valid IP address");
}

absl::Status CheckCluster(std::string_view message, std::string_view field, uint64_t id) {
  // What a bigint holds.
  if (id >= 1 && id <= static_cast<uint64_t>(INT64_MAX)) return absl::OkStatus();
  return Invalid(StrCat(message, ".", field), "value must be greater than or equal to 1");
}

absl::Status CheckLine(std::string_view message, std::string_view field, const std::string& text) {
  if (text.size() > kLineMax) return Invalid(StrCat(message, ".", field), "value length must be at most 1024 runes");
  if (text.find('\0') != std::string::npos) return Invalid(StrCat(message, ".", field), "value has a zero byte");
  return absl::OkStatus();
}

absl::Status CheckPort(std::string_view message, std::string_view field, int port) {
  if (port >= 1024 && port < 65535) return absl::OkStatus();
  return Invalid(StrCat(message, ".", field), "value must be inside range [1024, 65535)");
}

template <typename Request>
absl::Status CheckPlace(std::string_view message, const Request& request) {
  DF_RETURN_IF_ERROR(CheckLine(message, "Idc", request.idc()));
  return CheckLine(message, "Location", request.location());
}

}  // namespace

absl::Status Validate(const v2::GetSeedPeerRequest& request) {
  DF_RETURN_IF_ERROR(CheckSource("GetSeedPeerRequest", request));
  DF_RETURN_IF_ERROR(CheckCluster("GetSeedPeerRequest", "SeedPeerClusterId", request.seed_peer_cluster_id()));
  return CheckIp("GetSeedPeerRequest", request.ip(), true);
}

absl::Status Validate(const v2::ListSeedPeersRequest& request) {
  DF_RETURN_IF_ERROR(CheckSource("ListSeedPeersRequest", request));
  DF_RETURN_IF_ERROR(CheckIp("ListSeedPeersRequest", request.ip(), false));
  DF_RETURN_IF_ERROR(CheckLine("ListSeedPeersRequest", "Version", request.version()));
  return CheckLine("ListSeedPeersRequest", "Commit", request.commit());
}

absl::Status Validate(const v2::UpdateSeedPeerRequest& request) {
  constexpr char kMessage[] = "UpdateSeedPeerRequest";
  DF_RETURN_IF_ERROR(CheckSource(kMessage, request));
  if (request.type() != "super" && request.type() != "strong" && request.type() != "weak") {
    return Invalid("UpdateSeedPeerRequest.Type", "value must be in list [super strong weak]");
  }
  DF_RETURN_IF_ERROR(CheckPlace(kMessage, request));
  DF_RETURN_IF_ERROR(CheckIp(kMessage, request.ip(), false));
  DF_RETURN_IF_ERROR(CheckPort(kMessage, "Port", request.port()));
  DF_RETURN_IF_ERROR(CheckPort(kMessage, "DownloadPort", request.download_port()));
  return CheckCluster(kMessage, "SeedPeerClusterId", request.seed_peer_cluster_id());
}

absl::Status Validate(const v2::DeleteSeedPeerRequest& request) {
  DF_RETURN_IF_ERROR(CheckSource("DeleteSeedPeerRequest", request));
  DF_RETURN_IF_ERROR(CheckCluster("DeleteSeedPeerRequest", "SeedPeerClusterId", request.seed_peer_cluster_id()));
  return CheckIp("DeleteSeedPeerRequest", request.ip(), true);
}

absl::Status Validate(const v2::GetSchedulerRequest& request) {
  DF_RETURN_IF_ERROR(CheckSource("GetSchedulerRequest", request));
  DF_RETURN_IF_ERROR(CheckCluster("GetSchedulerRequest", "SchedulerClusterId", request.scheduler_cluster_id()));
  return CheckIp("GetSchedulerRequest", request.ip(), true);
}

absl::Status Validate(const v2::UpdateSchedulerRequest& request) {
  constexpr char kMessage[] = "UpdateSchedulerRequest";
  DF_RETURN_IF_ERROR(CheckSource(kMessage, request));
  DF_RETURN_IF_ERROR(CheckCluster(kMessage, "SchedulerClusterId", request.scheduler_cluster_id()));
  DF_RETURN_IF_ERROR(CheckPlace(kMessage, request));
  DF_RETURN_IF_ERROR(CheckIp(kMessage, request.ip(), false));
  if (request.features_size() > 64)
    return Invalid("UpdateSchedulerRequest.Features", "value must have at most 64 items");
  for (const std::string& feature : request.features()) DF_RETURN_IF_ERROR(CheckLine(kMessage, "Features", feature));
  if (request.config().size() > kConfigMax) return Invalid("UpdateSchedulerRequest.Config", "value is too long");
  return CheckPort(kMessage, "Port", request.port());
}

absl::Status Validate(const v2::ListSchedulersRequest& request) {
  constexpr char kMessage[] = "ListSchedulersRequest";
  DF_RETURN_IF_ERROR(CheckSource(kMessage, request));
  DF_RETURN_IF_ERROR(CheckIp(kMessage, request.ip(), false));
  DF_RETURN_IF_ERROR(CheckPlace(kMessage, request));
  DF_RETURN_IF_ERROR(CheckLine(kMessage, "Version", request.version()));
  return CheckLine(kMessage, "Commit", request.commit());
}

absl::Status Validate(const v2::ListApplicationsRequest& request) {
  DF_RETURN_IF_ERROR(CheckSource("ListApplicationsRequest", request));
  return CheckIp("ListApplicationsRequest", request.ip(), false);
}

absl::Status Validate(const v2::KeepAliveRequest& request) {
  DF_RETURN_IF_ERROR(CheckSource("KeepAliveRequest", request));
  DF_RETURN_IF_ERROR(CheckCluster("KeepAliveRequest", "ClusterId", request.cluster_id()));
  return CheckIp("KeepAliveRequest", request.ip(), true);
}

}  // namespace dragonfly::manager
