// SPDX-License-Identifier: Apache-2.0
// What this host tells the schedulers and its children about itself: who it is, its load, its network.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "daemon/host_identity.h"

namespace common::v2 {
class Host;
}

namespace dragonfly::daemon {

struct HostInfoOptions {
  HostInfoOptions() = default;
  HostIdentity identity;
  std::string idc;
  std::string location;
  std::string seed_type = "super";  // of a seed peer: normal, super, strong, weak
  bool disable_shared = false;
  uint64_t scheduler_cluster_id = 0;
  uint16_t proxy_port = 0;           // 0: none
  std::string storage_dir;           // whose file system is reported
  uint64_t download_rate_limit = 0;  // bytes a second; 0: none
  uint64_t upload_rate_limit = 0;
  std::string cgroup_root;  // where /proc and /sys of the control group are found; "" outside of tests
};

// Reads /proc, /sys and statvfs(2) when asked, and only what is sent; a value that cannot be read stays 0. Rates are
// those between two calls. Thread-safe.
class HostInfo {
 public:
  explicit HostInfo(HostInfoOptions options);
  ~HostInfo();

  // The whole message, as AnnounceHost carries it (client v1.0.0, dragonfly-client/src/announcer/mod.rs; percentages
  // are 0 to 100 here, the logical count is one). Limits and usage of the control group stand beside the machine's when
  // there is a limit, or a container around us (client v1.2.2).
  void Fill(common::v2::Host& host);
  // Identity and network alone, as SyncHost carries it. Rates are at most half a second old.
  void FillNetwork(common::v2::Host& host);

  const HostIdentity& identity() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace dragonfly::daemon
