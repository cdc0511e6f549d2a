// SPDX-License-Identifier: Apache-2.0
// dfget's command line. Source: client v1.0.0 and v1.5.1, dragonfly-client/src/bin/dfget/main.rs.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace dragonfly::cli {

struct DfgetOptions {
  DfgetOptions() = default;
  std::string url;
  std::string output;
  bool transfer_from_dfdaemon = false;
  bool overwrite = false;
  bool force_hard_link = false;
  std::optional<std::string> content_for_calculating_task_id;
  std::string endpoint = "/var/run/dragonfly/dfdaemon.sock";
  absl::Duration timeout = absl::Hours(2);
  std::string digest;
  int priority = 6;
  std::optional<uint64_t> piece_length;  // bytes
  std::string application;
  std::string tag;
  std::vector<std::pair<std::string, std::string>> header;
  std::vector<std::string> filtered_query_params;
  bool disable_back_to_source = false;
  std::optional<std::string> range;  // value of an HTTP Range header
  bool no_progress = false;
};

struct ParsedDfgetOptions {
  DfgetOptions options;
  std::optional<int> exit_code;  // set when the program ends here (help, version, usage error)
};
ParsedDfgetOptions ParseDfgetOptions(std::vector<std::string> arguments);

// Checks that need the file system, in the order in which users see them; makes `output` absolute without resolving
// links. Errors: INVALID_ARGUMENT with the text of the report.
absl::Status ValidateDfgetOptions(DfgetOptions& options);

}  // namespace dragonfly::cli
