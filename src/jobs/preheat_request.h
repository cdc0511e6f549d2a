// SPDX-License-Identifier: Apache-2.0
// What a preheat job asks of a scheduler. Source: dragonfly v2.3.0 and v2.5.1, internal/job/types.go; what either
// release sends is read, and each is sent what it reads.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace dragonfly::jobs {

// Who gets the files.
enum class Scope { kSingleSeedPeer, kAllSeedPeers, kAllPeers };
std::string_view NameOf(Scope scope);
// An unknown one is kSingleSeedPeer, as in the original.
Scope ParseScope(std::string_view name);

// The two forms of the message.
enum class Form {
  kOneUrl,   // up to v2.3.0: one URL a message
  kAllUrls,  // from v2.3.1 on
};

struct PreheatRequest {
  static constexpr uint64_t kCountMax = 200;
  static constexpr uint64_t kPercentageMax = 100;
  static constexpr size_t kUrlsMax = 10'000;
  static constexpr size_t kIpsMax = 100;
  // Used for what a message leaves out.
  static constexpr int64_t kTasksAtOnce = 8;
  static constexpr int64_t kPeersAtOnce = 500;

  PreheatRequest() = default;
  std::vector<std::string> urls;  // at least one
  std::optional<uint64_t> piece_length;
  std::string tag, application;
  std::string filtered_query_params;  // joined by '&'
  std::map<std::string, std::string> headers;
  int64_t priority = 0;
  Scope scope = Scope::kSingleSeedPeer;
  std::vector<std::string> ips;        // only these hosts; wins over count and percentage
  std::optional<uint64_t> percentage;  // of the hosts, 1 to 100
  std::optional<uint64_t> count;       // of hosts, 1 to 200; wins over percentage
  int64_t tasks_at_once = kTasksAtOnce;
  int64_t peers_at_once = kPeersAtOnce;
  std::vector<std::string> certificate_chain;  // DER
  bool insecure_skip_verify = false;
  absl::Duration timeout = absl::ZeroDuration();  // zero: the receiver's default
  bool load_to_cache = false;
  std::optional<std::string> content;  // of which the task id is made
  std::optional<std::string> output_path;
  // Access to an object store or to HDFS, as JSON objects by the names of common.v2.ObjectStorage and HDFS.
  std::optional<std::string> object_storage, hdfs;

  std::vector<std::string> FilteredQueryParams() const;
};

// Of kOneUrl the first URL alone is sent.
std::string ToJson(const PreheatRequest& request, Form form);
// Errors: INVALID_ARGUMENT naming the member: no URL, more than kUrlsMax, or a bound above that is not kept.
absl::StatusOr<PreheatRequest> ParsePreheatRequest(std::string_view json);

}  // namespace dragonfly::jobs
