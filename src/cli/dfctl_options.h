// SPDX-License-Identifier: Apache-2.0
// dfctl's command line. Source: client v1.5.1, dragonfly-client/src/bin/dfctl; `task stat`, `why` and --json are our
// own.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "cli/origin_options.h"
#include "rpc/tls_client.h"

namespace dragonfly::cli {

enum class DfctlCommand {
  kTaskLs,
  kTaskStat,
  kTaskRm,
  kTaskPreheat,
  kPersistentTaskLs,
  kPersistentCacheTaskLs,
  kWhy,
};

struct PreheatOptions {
  PreheatOptions() = default;
  std::string url;
  std::string scheduler_endpoint;
  rpc::TlsClientFiles scheduler_tls;  // only with an https endpoint
  bool request_sdk = false;           // has no effect
  std::string scope = "all_seed_peers";
  std::vector<std::string> ips;
  std::optional<uint32_t> percentage;
  std::optional<uint32_t> count;
  int64_t concurrent_task_count = 4;
  std::optional<int64_t> concurrent_peer_count;
  std::optional<std::string> platform;
  std::optional<std::string> username;
  std::optional<std::string> password;
  std::optional<uint64_t> piece_length;  // bytes
  std::string tag;
  std::string application;
  std::vector<std::string> filtered_query_params;
  std::vector<std::pair<std::string, std::string>> header;
  int priority = 6;
  bool insecure_skip_verify = false;
  OriginOptions origin;
  absl::Duration timeout = absl::Hours(2);
};

// What `why` asks about: a task id, or a URL with what else makes its task id.
struct WhyOptions {
  WhyOptions() = default;
  std::string what;
  std::string tag;
  std::string application;
  std::vector<std::string> filtered_query_params;
  std::optional<uint64_t> piece_length;  // bytes
  std::optional<std::string> content_for_calculating_task_id;
  bool pieces = false;
};

struct DfctlOptions {
  DfctlOptions() = default;
  DfctlCommand command = DfctlCommand::kTaskLs;
  std::string endpoint = "/var/run/dragonfly/dfdaemon.sock";
  bool json = false;
  std::vector<std::string> task_ids;
  bool local = false;  // task rm: leave the scheduler alone
  PreheatOptions preheat;
  WhyOptions why;
};

struct ParsedDfctlOptions {
  DfctlOptions options;
  std::optional<int> exit_code;  // set when the program ends here (help, version, usage error)
};
ParsedDfctlOptions ParseDfctlOptions(std::vector<std::string> arguments);

// Where a scheduler listens, from "http://host:port", "https://host:port" or "host:port" (then without TLS). Errors:
// INVALID_ARGUMENT naming the text.
struct HostAndPort {
  std::string host;  // IPv6 without brackets
  int port = 0;
  bool tls = false;
};
absl::StatusOr<HostAndPort> ParseSchedulerEndpoint(const std::string& text);

// The URL of an image's manifest from "oci://registry/repository[:tag|@digest]": tag "latest" when there is none, and
// Docker's registry (with "library/" before a name of one part) when there is no registry. Errors: INVALID_ARGUMENT
// naming the reference.
absl::StatusOr<std::string> ManifestUrl(const std::string& reference);

}  // namespace dragonfly::cli
