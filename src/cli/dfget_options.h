// SPDX-License-Identifier: Apache-2.0
// dfget's command line. Source: client v1.0.0 and v1.5.1, dragonfly-client/src/bin/dfget/main.rs.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "cli/include_globs.h"
#include "cli/origin_options.h"

namespace dragonfly::cli {

struct DfgetOptions {
  DfgetOptions() = default;
  std::vector<std::string> urls;
  std::string output;  // "-": standard output
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
  bool json = false;
  bool recursive = false;
  std::vector<std::string> include_files;
  size_t max_files = 100;
  size_t max_concurrent_requests = 5;
  OriginOptions origin;
};

struct ParsedDfgetOptions {
  DfgetOptions options;
  std::optional<int> exit_code;  // set when the program ends here (help, version, usage error)
};
ParsedDfgetOptions ParseDfgetOptions(std::vector<std::string> arguments);

// One thing to download, as the command line and the file system say.
struct DownloadTarget {
  DownloadTarget() = default;
  std::string url;     // of a directory: canonical, without query, with a '/' at its end
  std::string output;  // absolute; of a directory: an existing directory; "-": standard output
  bool is_directory = false;
};

// Checks what needs the file system, in the order in which users see it, and says what goes where. Several URLs go
// below an existing directory, each under its last name, for which directories are made. Errors: INVALID_ARGUMENT with
// the text of the report.
absl::StatusOr<std::vector<DownloadTarget>> ValidateDfgetOptions(const DfgetOptions& options);

// The absolute path of the output of one file; "-" stays. Errors: INVALID_ARGUMENT when its directory is not there, or
// something has the name and `overwrite` is not set.
absl::StatusOr<std::string> FileOutput(const std::string& as_given, bool overwrite);

}  // namespace dragonfly::cli
