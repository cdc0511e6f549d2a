// SPDX-License-Identifier: Apache-2.0
// One file by one call of dfdaemon.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "cli/dfget_options.h"
#include "cli/download_report.h"
#include "cli/output_tree.h"
#include "rpc/unix_client.h"

namespace dragonfly::cli {

struct FileJob {
  FileJob() = default;
  std::string url;
  std::string output;                      // absolute, or "-"
  std::shared_ptr<const OutputTree> tree;  // of a directory's file; else null
  std::string path;                        // below `tree`
  std::optional<uint64_t> content_length;  // listed, and announced to the report
};

struct FileFailure {
  FileFailure() = default;
  absl::Status status;
  FailureKind kind = FailureKind::kCall;
};

// Downloads the file and tells the report how it went on; failures are returned, not reported. A file of a directory
// that is here with the listed length is kept unless `options.overwrite`.
std::optional<FileFailure> DownloadFile(const DfgetOptions& options, const FileJob& job, rpc::UnixClient& client,
                                        DownloadReport& report);

// As the report names it.
ReportedFile Reported(const FileJob& job);

}  // namespace dragonfly::cli
