// SPDX-License-Identifier: Apache-2.0
// Whom the manager trusts when it asks registries: job.preheat.tls.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "manager/config.h"

namespace dragonfly::manager {

struct PreheatTls {
  PreheatTls() = default;
  std::string ca_file;                    // PEM, beside the system's; empty: none
  std::vector<std::string> certificates;  // the same, DER, for the peers that download
};

// Reads job.preheat.tls.caCert, which is a file or the text of one; a text is written to a file of server.dataDir.
// Blocks. Errors: INVALID_ARGUMENT naming the key.
absl::StatusOr<PreheatTls> LoadPreheatTls(const ManagerConfig& config);

}  // namespace dragonfly::manager
