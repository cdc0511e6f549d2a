// SPDX-License-Identifier: Apache-2.0
// absl::Status to grpc::Status and back; the codes map one to one.
#pragma once

#include <grpcpp/support/status.h>

#include "absl/status/status.h"

namespace dragonfly::rpc {

// An attached BackendError (base/backend_error.h) becomes the JSON error details that dfdaemon's clients read; what is
// too long for trailers is left out of it, long header values first.
grpc::Status ToGrpc(const absl::Status& status);

// JSON error details that are a BackendError are attached to the status.
absl::Status FromGrpc(const grpc::Status& status);

}  // namespace dragonfly::rpc
