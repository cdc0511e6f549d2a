// SPDX-License-Identifier: Apache-2.0
// A whole Dragonfly in one process: manager, scheduler, seed peer and peer.
#pragma once

#include <cstdint>
#include <string>

#include "absl/time/time.h"

namespace dragonfly {

struct StandaloneOptions {
  std::string data_dir;            // absolute; made when missing
  std::string ip;                  // what other hosts reach this one by; empty: found
  uint16_t manager_port = 65003;   // gRPC of the manager; 0: any free one
  uint16_t rest_port = 8080;       // REST API of the manager; 0: any free one
  uint16_t scheduler_port = 8002;  // 0: any free one
  uint16_t seed_port = 0;          // gRPC of the seed peer
  uint16_t peer_port = 0;          // gRPC of the peer
  uint16_t seed_metrics_port = 0;
  uint16_t peer_metrics_port = 0;
  uint16_t proxy_port = 4001;  // of the peer
  std::string log_level = "info";
  bool console = false;
  bool temporary = false;  // forget the content at the next start
  absl::Duration shutdown_timeout = absl::Seconds(25);
};

// Runs until a signal comes. Returns the exit code; errors are told on standard error.
int RunStandalone(const StandaloneOptions& options);

}  // namespace dragonfly
