// SPDX-License-Identifier: Apache-2.0
#include "scheduler/validation.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <string_view>

#include "base/ids.h"
#include "base/text.h"
#include "scheduler/v2/scheduler.pb.h"

namespace dragonfly::scheduler {
namespace {

using Violation = std::optional<std::string>;

constexpr std::string_view kRequired = "value is required";
constexpr std::string_view kDigestPattern =
    "value does not match regex pattern "
    "\"^(md5:[a-fA-F0-9]{32}|sha1:[a-fA-F0-9]{40}|sha256:[a-fA-F0-9]{64}|sha512:[a-fA-F0-9]{128}|blake3:[a-fA-F0-9]{64}"
    "|"
    "crc32:[a-fA-F0-9]+)$\"";

// Each message, with what is in it.
Violation Check(const common::v2::CPUTimes& message);
Violation Check(const common::v2::CPU& message);
Violation Check(const common::v2::Memory& message);
Violation Check(const common::v2::Disk& message);
Violation Check(const common::v2::Host& message);
Violation Check(const common::v2::Task& message);
Violation Check(const common::v2::Peer& message);
Violation Check(const common::v2::Piece& message);
Violation Check(const common::v2::ObjectStorage& message);
Violation Check(const common::v2::Download& message);
Violation Check(const v2::RegisterPeerRequest& message);
Violation Check(const v2::ReschedulePeerRequest& message);
Violation Check(const v2::DownloadPieceFinishedRequest& message);
Violation Check(const v2::DownloadPieceBackToSourceFinishedRequest& message);
Violation Check(const v2::DownloadPieceFailedRequest& message);
Violation Check(const errordetails::v2::Backend& message);
Violation Check(const v2::DownloadPieceBackToSourceFailedRequest& message);

// Checks the fields of one message in order and remembers the first violation.
class Fields {
 public:
  explicit Fields(std::string_view message) : message_(message) {}

  void Require(bool holds, std::string_view field, std::string_view reason) {
    if (!holds && !violation_) violation_ = StrCat("invalid ", message_, ".", field, ": ", reason);
  }
  void NonEmpty(std::string_view field, const std::string& value) {
    Require(!value.empty(), field, "value length must be at least 1 runes");
  }
  void Id(std::string_view field, const std::string& value) {
    NonEmpty(field, value);
    // The text is made only when it is needed: each message has three ids.
    if (value.size() <= kNameIdLengthMax) return;
    Require(false, field, StrCat("value length must be at most ", kNameIdLengthMax, " bytes"));
  }
  void AtLeastZero(std::string_view field, double value) {
    Require(value >= 0, field, "value must be greater than or equal to 0");
  }
  void Percent(std::string_view field, double value) {
    Require(value >= 0 && value <= 100, field, "value must be inside range [0, 100]");
  }
  void Port(std::string_view field, int value) {
    Require(value >= 1024 && value < 65535, field, "value must be inside range [1024, 65535)");
  }
  void Uri(std::string_view field, const std::string& value);
  void Digest(std::string_view field, const std::string& value);
  // `nested` is evaluated only when nothing was wrong before.
  template <typename Nested>
  void Message(std::string_view field, const Nested& nested) {
    if (violation_) return;
    const Violation cause = Check(nested);
    if (cause) {
      violation_ =
          StrCat("invalid ", message_, ".", field, ": embedded message failed validation | caused by: ", *cause);
    }
  }
  const Violation& violation() const { return violation_; }

 private:
  const std::string_view message_;
  Violation violation_;
};

// A scheme, and nothing that no URL may contain.
void Fields::Uri(std::string_view field, const std::string& value) {
  const bool clean = std::none_of(value.begin(), value.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte < 0x20 || byte == 0x7f;
  });
  const size_t colon = value.find(':');
  Require(clean && colon != 0, field, "value must be a valid URI");
  bool scheme = colon != std::string::npos && colon != 0;
  for (size_t i = 0; scheme && i < colon; ++i) {
    const char c = value[i];
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    const bool other = (c >= '0' && c <= '9') || c == '+' || c == '-' || c == '.';
    scheme = letter || (i > 0 && other);
  }
  Require(scheme, field, "value must be absolute");
}

void Fields::Digest(std::string_view field, const std::string& value) {
  if (value.empty()) return;
  struct Form {
    std::string_view prefix;
    size_t digits;  // 0: any number but none
  };
  constexpr std::array<Form, 6> kForms = {
      {{"md5:", 32}, {"sha1:", 40}, {"sha256:", 64}, {"sha512:", 128}, {"blake3:", 64}, {"crc32:", 0}}};
  const bool holds = std::any_of(kForms.begin(), kForms.end(), [&](const Form& form) {
    if (!std::string_view(value).starts_with(form.prefix)) return false;
    const std::string_view digits = std::string_view(value).substr(form.prefix.size());
    return (form.digits == 0 ? !digits.empty() : digits.size() == form.digits) &&
           digits.find_first_not_of("0123456789abcdefABCDEF") == std::string_view::npos;
  });
  Require(holds, field, kDigestPattern);
}

bool IsIp(const std::string& text) {
  std::array<unsigned char, sizeof(in6_addr)> bytes;
  return inet_pton(AF_INET, text.c_str(), bytes.data()) == 1 || inet_pton(AF_INET6, text.c_str(), bytes.data()) == 1;
}

Violation Check(const common::v2::CPUTimes& times) {
  Fields fields("CPUTimes");
  fields.AtLeastZero("User", times.user());
  fields.AtLeastZero("System", times.system());
  fields.AtLeastZero("Idle", times.idle());
  fields.AtLeastZero("Nice", times.nice());
  fields.AtLeastZero("Iowait", times.iowait());
  fields.AtLeastZero("Irq", times.irq());
  fields.AtLeastZero("Softirq", times.softirq());
  fields.AtLeastZero("Steal", times.steal());
  fields.AtLeastZero("Guest", times.guest());
  fields.AtLeastZero("GuestNice", times.guest_nice());
  return fields.violation();
}

Violation Check(const common::v2::CPU& cpu) {
  Fields fields("CPU");
  fields.AtLeastZero("Percent", cpu.percent());
  fields.AtLeastZero("ProcessPercent", cpu.process_percent());
  if (cpu.has_times()) fields.Message("Times", cpu.times());
  return fields.violation();
}

Violation Check(const common::v2::Memory& memory) {
  Fields fields("Memory");
  fields.Percent("UsedPercent", memory.used_percent());
  fields.Percent("ProcessUsedPercent", memory.process_used_percent());
  return fields.violation();
}

Violation Check(const common::v2::Disk& disk) {
  Fields fields("Disk");
  fields.Percent("UsedPercent", disk.used_percent());
  fields.Percent("InodesUsedPercent", disk.inodes_used_percent());
  return fields.violation();
}

Violation Check(const common::v2::Host& host) {
  Fields fields("Host");
  fields.Id("Id", host.id());
  fields.Require(host.type() <= 3, "Type", "value must be less than or equal to 3");
  fields.Id("Hostname", host.hostname());
  fields.Require(IsIp(host.ip()), "Ip", "value must be a valid IP address");
  fields.Port("Port", host.port());
  fields.Port("DownloadPort", host.download_port());
  if (host.has_cpu()) fields.Message("Cpu", host.cpu());
  if (host.has_memory()) fields.Message("Memory", host.memory());
  if (host.has_disk()) fields.Message("Disk", host.disk());
  return fields.violation();
}

constexpr std::string_view kDefined = "value must be one of the defined enum values";

Violation Check(const common::v2::Task& task) {
  Fields fields("Task");
  fields.NonEmpty("Id", task.id());
  fields.Require(common::v2::TaskType_IsValid(task.type()), "Type", kDefined);
  fields.Uri("Url", task.url());
  fields.NonEmpty("State", task.state());
  fields.Require(task.has_created_at(), "CreatedAt", kRequired);
  fields.Require(task.has_updated_at(), "UpdatedAt", kRequired);
  if (task.has_digest()) fields.Digest("Digest", task.digest());
  return fields.violation();
}

Violation Check(const common::v2::Peer& peer) {
  Fields fields("Peer");
  fields.Id("Id", peer.id());
  fields.Require(common::v2::Priority_IsValid(peer.priority()), "Priority", kDefined);
  fields.Require(peer.has_cost(), "Cost", kRequired);
  fields.NonEmpty("State", peer.state());
  fields.Require(peer.has_task(), "Task", kRequired);
  fields.Message("Task", peer.task());
  fields.Require(peer.has_host(), "Host", kRequired);
  fields.Message("Host", peer.host());
  fields.Require(peer.has_created_at(), "CreatedAt", kRequired);
  fields.Require(peer.has_updated_at(), "UpdatedAt", kRequired);
  return fields.violation();
}

Violation Check(const common::v2::Piece& piece) {
  Fields fields("Piece");
  fields.Digest("Digest", piece.digest());
  fields.Require(piece.has_cost(), "Cost", kRequired);
  fields.Require(piece.has_created_at(), "CreatedAt", kRequired);
  return fields.violation();
}

Violation Check(const common::v2::ObjectStorage& storage) {
  Fields fields("ObjectStorage");
  if (storage.has_access_key_id()) fields.NonEmpty("AccessKeyId", storage.access_key_id());
  if (storage.has_access_key_secret()) fields.NonEmpty("AccessKeySecret", storage.access_key_secret());
  return fields.violation();
}

Violation Check(const common::v2::Download& download) {
  Fields fields("Download");
  fields.Uri("Url", download.url());
  fields.Require(common::v2::TaskType_IsValid(download.type()), "Type", kDefined);
  fields.Require(common::v2::Priority_IsValid(download.priority()), "Priority", kDefined);
  if (download.has_digest()) fields.Digest("Digest", download.digest());
  // The upper bound of newer releases is not applied: clients of API 2.1.40 may choose larger pieces.
  if (download.has_piece_length() && download.piece_length() != 0) {
    fields.Require(download.piece_length() >= 4194304, "PieceLength", "value must be greater than or equal to 4194304");
  }
  if (download.has_object_storage()) fields.Message("ObjectStorage", download.object_storage());
  if (download.has_remote_ip() && !download.remote_ip().empty()) {
    fields.Require(IsIp(download.remote_ip()), "RemoteIp", "value must be a valid IP address");
  }
  return fields.violation();
}

Violation Check(const v2::RegisterPeerRequest& request) {
  Fields fields("RegisterPeerRequest");
  fields.Require(request.has_download(), "Download", kRequired);
  fields.Message("Download", request.download());
  return fields.violation();
}

Violation Check(const v2::ReschedulePeerRequest& request) {
  Fields fields("ReschedulePeerRequest");
  for (int i = 0; i < request.candidate_parents_size(); ++i) {
    fields.Message(StrCat("CandidateParents[", i, "]"), request.candidate_parents(i));
  }
  return fields.violation();
}

Violation Check(const v2::DownloadPieceFinishedRequest& request) {
  Fields fields("DownloadPieceFinishedRequest");
  fields.Require(request.has_piece(), "Piece", kRequired);
  fields.Message("Piece", request.piece());
  return fields.violation();
}

Violation Check(const v2::DownloadPieceBackToSourceFinishedRequest& request) {
  Fields fields("DownloadPieceBackToSourceFinishedRequest");
  fields.Require(request.has_piece(), "Piece", kRequired);
  fields.Message("Piece", request.piece());
  return fields.violation();
}

Violation Check(const v2::DownloadPieceFailedRequest& request) {
  Fields fields("DownloadPieceFailedRequest");
  fields.Id("ParentId", request.parent_id());
  return fields.violation();
}

Violation Check(const errordetails::v2::Backend& backend) {
  Fields fields("Backend");
  if (backend.has_status_code()) {
    fields.Require(backend.status_code() >= 100 && backend.status_code() < 599, "StatusCode",
                   "value must be inside range [100, 599)");
  }
  return fields.violation();
}

Violation Check(const v2::DownloadPieceBackToSourceFailedRequest& request) {
  Fields fields("DownloadPieceBackToSourceFailedRequest");
  fields.Require(request.response_case() != v2::DownloadPieceBackToSourceFailedRequest::RESPONSE_NOT_SET, "Response",
                 kRequired);
  if (request.has_backend()) fields.Message("Backend", request.backend());
  return fields.violation();
}

absl::Status ToStatus(const Fields& fields) {
  if (!fields.violation()) return absl::OkStatus();
  return absl::InvalidArgumentError(*fields.violation());
}

}  // namespace

absl::Status Validate(const v2::AnnouncePeerRequest& request) {
  Fields fields("AnnouncePeerRequest");
  fields.Id("HostId", request.host_id());
  fields.Id("TaskId", request.task_id());
  fields.Id("PeerId", request.peer_id());
  switch (request.request_case()) {
    case v2::AnnouncePeerRequest::kRegisterPeerRequest:
      fields.Message("RegisterPeerRequest", request.register_peer_request());
      break;
    case v2::AnnouncePeerRequest::kReschedulePeerRequest:
      fields.Message("ReschedulePeerRequest", request.reschedule_peer_request());
      break;
    case v2::AnnouncePeerRequest::kDownloadPieceFinishedRequest:
      fields.Message("DownloadPieceFinishedRequest", request.download_piece_finished_request());
      break;
    case v2::AnnouncePeerRequest::kDownloadPieceBackToSourceFinishedRequest:
      fields.Message("DownloadPieceBackToSourceFinishedRequest",
                     request.download_piece_back_to_source_finished_request());
      break;
    case v2::AnnouncePeerRequest::kDownloadPieceFailedRequest:
      fields.Message("DownloadPieceFailedRequest", request.download_piece_failed_request());
      break;
    case v2::AnnouncePeerRequest::kDownloadPieceBackToSourceFailedRequest:
      fields.Message("DownloadPieceBackToSourceFailedRequest", request.download_piece_back_to_source_failed_request());
      break;
    case v2::AnnouncePeerRequest::REQUEST_NOT_SET:
      fields.Require(false, "Request", kRequired);
      break;
    default:
      break;
  }
  return ToStatus(fields);
}

absl::Status Validate(const v2::AnnounceHostRequest& request) {
  Fields fields("AnnounceHostRequest");
  fields.Require(request.has_host(), "Host", kRequired);
  fields.Message("Host", request.host());
  return ToStatus(fields);
}

absl::Status Validate(const v2::StatPeerRequest& request) {
  Fields fields("StatPeerRequest");
  fields.Id("HostId", request.host_id());
  fields.Id("TaskId", request.task_id());
  fields.Id("PeerId", request.peer_id());
  return ToStatus(fields);
}

absl::Status Validate(const v2::DeletePeerRequest& request) {
  Fields fields("DeletePeerRequest");
  fields.Id("HostId", request.host_id());
  fields.Id("TaskId", request.task_id());
  fields.Id("PeerId", request.peer_id());
  return ToStatus(fields);
}

absl::Status Validate(const v2::StatTaskRequest& request) {
  Fields fields("StatTaskRequest");
  fields.Id("HostId", request.host_id());
  fields.Id("TaskId", request.task_id());
  return ToStatus(fields);
}

absl::Status Validate(const v2::DeleteTaskRequest& request) {
  Fields fields("DeleteTaskRequest");
  fields.Id("HostId", request.host_id());
  fields.Id("TaskId", request.task_id());
  return ToStatus(fields);
}

absl::Status Validate(const v2::DeleteHostRequest& request) {
  Fields fields("DeleteHostRequest");
  fields.Id("HostId", request.host_id());
  return ToStatus(fields);
}

namespace {

// A number that may be absent.
void InRange(Fields& fields, std::string_view field, bool given, uint64_t value, uint64_t min, uint64_t max) {
  fields.Require(!given || (value >= min && value <= max), field,
                 StrCat("value must be inside range [", min, ", ", max, "]"));
}
void InRange(Fields& fields, std::string_view field, bool given, int64_t value, uint64_t min, uint64_t max) {
  // A negative number is a very large one.
  InRange(fields, field, given, static_cast<uint64_t>(value), min, max);
}

template <typename Request>
void UrlAndPieceLength(Fields& fields, const Request& request) {
  fields.Uri("Url", request.url());
  InRange(fields, "PieceLength", request.has_piece_length(), uint64_t{request.piece_length()}, 4 << 20, 64 << 20);
}

template <typename Request>
absl::Status ValidatePreheat(std::string_view name, const Request& request) {
  Fields fields(name);
  UrlAndPieceLength(fields, request);
  const std::string& scope = request.scope();
  fields.Require(scope == "single_seed_peer" || scope == "all_seed_peers" || scope == "all_peers", "Scope",
                 "value does not match regex pattern \"^(single_seed_peer|all_seed_peers|all_peers)$\"");
  InRange(fields, "Percentage", request.has_percentage(), uint64_t{request.percentage()}, 1, 100);
  InRange(fields, "Count", request.has_count(), uint64_t{request.count()}, 1, 200);
  InRange(fields, "ConcurrentTaskCount", request.has_concurrent_task_count(), int64_t{request.concurrent_task_count()},
          1, 100);
  InRange(fields, "ConcurrentPeerCount", request.has_concurrent_peer_count(), int64_t{request.concurrent_peer_count()},
          1, 1000);
  fields.Require(common::v2::Priority_IsValid(request.priority()), "Priority",
                 "value must be one of the defined enum values");
  return ToStatus(fields);
}

}  // namespace

absl::Status Validate(const v2::PreheatImageRequest& request) {
  return ValidatePreheat("PreheatImageRequest", request);
}

absl::Status Validate(const v2::PreheatFileRequest& request) { return ValidatePreheat("PreheatFileRequest", request); }

absl::Status Validate(const v2::StatImageRequest& request) {
  Fields fields("StatImageRequest");
  UrlAndPieceLength(fields, request);
  InRange(fields, "ConcurrentLayerCount", request.has_concurrent_layer_count(),
          int64_t{request.concurrent_layer_count()}, 1, 100);
  InRange(fields, "ConcurrentPeerCount", request.has_concurrent_peer_count(), int64_t{request.concurrent_peer_count()},
          1, 1000);
  return ToStatus(fields);
}

absl::Status Validate(const v2::StatFileRequest& request) {
  Fields fields("StatFileRequest");
  UrlAndPieceLength(fields, request);
  InRange(fields, "ConcurrentPeerCount", request.has_concurrent_peer_count(), int64_t{request.concurrent_peer_count()},
          1, 1000);
  return ToStatus(fields);
}

}  // namespace dragonfly::scheduler
