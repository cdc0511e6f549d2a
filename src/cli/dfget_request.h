// SPDX-License-Identifier: Apache-2.0
// What dfget asks of dfdaemon. Only .cc files include this.
#pragma once

#include <string>

#include "cli/dfget_options.h"
#include "dfdaemon/v2/dfdaemon.pb.h"

namespace dragonfly::cli {

// The download of `url` to the absolute path `output`. Tag and application are set even when empty: that is what
// schedulers see from other clients. In transfer mode the request names no output and asks for the content.
dfdaemon::v2::DownloadTaskRequest MakeDownloadRequest(const DfgetOptions& options, const std::string& url,
                                                      const std::string& output);

// The list of everything below the directory `url`.
dfdaemon::v2::ListTaskEntriesRequest MakeListRequest(const DfgetOptions& options, const std::string& url);

}  // namespace dragonfly::cli
