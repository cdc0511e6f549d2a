// SPDX-License-Identifier: Apache-2.0
// What an operator sees of one daemon: GET /status for people and GET /status.json for programs, on the health server.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "daemon/task_history.h"
#include "http/router.h"

namespace dragonfly::daemon {

struct DaemonStatus {
  DaemonStatus() = default;
  std::string host_id;
  bool seed = false;
  absl::Duration uptime;
  std::vector<std::string> schedulers;  // addresses that serve
  uint64_t tasks = 0;                   // with content on this host
  uint64_t complete_tasks = 0;
  uint64_t content_bytes = 0;
  uint64_t available_bytes = 0;
  uint64_t total_bytes = 0;
  // Bytes a second; 0: no limit.
  uint64_t download_limit = 0;
  uint64_t upload_limit = 0;
  uint64_t back_to_source_limit = 0;
  // Since the start.
  uint64_t peer_bytes = 0;
  uint64_t origin_bytes = 0;
  std::vector<std::pair<std::string, DownloadStory>> downloads;  // task ids; the last first
};

// So many downloads are shown.
inline constexpr size_t kStatusDownloads = 20;

// Adds both pages. `status` is called on the server's thread and must not block. What comes from outside is escaped;
// the page needs no scripts and loads nothing.
void AddStatusPages(http::Router& router, std::function<DaemonStatus()> status);

}  // namespace dragonfly::daemon
