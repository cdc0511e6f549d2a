// SPDX-License-Identifier: Apache-2.0
// dfdaemon.v2.DfdaemonUpload: what other peers and the schedulers ask for.
#pragma once

#include <functional>
#include <memory>

#include "daemon/call_gate.h"
#include "daemon/given_pieces.h"
#include "daemon/service.h"
#include "daemon/task_manager.h"

namespace common::v2 {
class Host;
}

namespace dragonfly::daemon {

class PersistentTasks;

struct UploadServiceOptions {
  UploadServiceOptions() = default;
  // Complete but for upload_port; ip and vortex_port are told to children.
  HostIdentity identity;
  // Fills the host's present state (network part at least) for SyncHost; called about once a second and stream, on an
  // io thread. Empty: only the identity is sent.
  std::function<void(common::v2::Host&)> fill_host;
  // Peers get nothing from here (upload.disableShared).
  bool disable_shared = false;
  PersistentTasks* persistent = nullptr;  // null: persistent cache tasks are not served
};

// `tasks`, `io`, `gate`, `upload_limiter` and `given` must outlive the service. Children follow `given`, which is told
// what DownloadPiece gives.
std::unique_ptr<Service> MakeUploadService(TaskManager& tasks, runtime::IoThreads& io, CallGate& gate,
                                           runtime::TokenBucket& upload_limiter, GivenPieces& given,
                                           UploadServiceOptions options);

}  // namespace dragonfly::daemon
