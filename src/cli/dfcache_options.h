// SPDX-License-Identifier: Apache-2.0
// The command line of dfcache. Source: client v1.0.0 and v1.5.1, dragonfly-client/src/bin/dfcache.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace dragonfly::cli {

enum class DfcacheCommand { kImport, kExport, kStat, kRemove, kList };

struct DfcacheOptions {
  DfcacheOptions() = default;
  DfcacheCommand command = DfcacheCommand::kList;
  std::string endpoint = "/var/run/dragonfly/dfdaemon.sock";
  bool json = false;
  bool no_progress = false;
  std::string path;     // import: of the file, as given
  std::string task_id;  // of all others
  std::string application, tag;
  bool application_given = false, tag_given = false;  // import sends them only then
  absl::Duration timeout;
  // Import.
  std::optional<std::string> content_for_calculating_task_id;
  uint64_t persistent_replica_count = 2;
  std::optional<uint64_t> piece_length;  // bytes
  absl::Duration ttl = absl::Hours(1);
  bool hard_link = false;
  // Export.
  std::string output;
  bool transfer_from_dfdaemon = false;
  bool force_hard_link = false;
  bool overwrite = false;
  std::string digest;
};

struct ParsedDfcacheOptions {
  DfcacheOptions options;
  std::optional<int> exit_code;  // set when the program ends here (help, version, usage error)
};
ParsedDfcacheOptions ParseDfcacheOptions(std::vector<std::string> arguments);

// Checks what needs the file system, and makes paths absolute. Errors: INVALID_ARGUMENT with the text of the report.
absl::Status ValidateDfcacheOptions(DfcacheOptions& options);

}  // namespace dragonfly::cli
