// SPDX-License-Identifier: Apache-2.0
// Many files, several at once.
#pragma once

#include <memory>
#include <vector>

#include "cli/dfget_options.h"
#include "cli/download_report.h"
#include "cli/file_download.h"
#include "rpc/unix_client.h"

namespace dragonfly::cli {

// Downloads all of `jobs`, at most `options.max_concurrent_requests` at once, each on a connection and a thread of its
// own; a single one on the caller's thread. A failure is reported and does not stop the others, except that nobody
// serves the socket any more. Takes over the caller's connection.
void DownloadFiles(const DfgetOptions& options, const std::vector<FileJob>& jobs,
                   std::unique_ptr<rpc::UnixClient> client, DownloadReport& report);

}  // namespace dragonfly::cli
