// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

namespace dragonfly::daemon {

// Who this daemon is for its cluster. Complete once its servers are bound.
struct HostIdentity {
  HostIdentity() = default;
  std::string host_id;
  std::string hostname;
  std::string ip;  // advertised
  bool seed = false;
  uint16_t upload_port = 0;  // DfdaemonUpload
  uint16_t vortex_port = 0;  // piece server, 0: none
  uint16_t quic_port = 0;    // piece server over QUIC, 0: none
};

}  // namespace dragonfly::daemon
