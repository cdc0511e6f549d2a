// SPDX-License-Identifier: Apache-2.0
// What the trailers of a gRPC call say, as absl::Status; without the gRPC library.
#pragma once

#include <string_view>

#include "absl/status/status.h"

namespace dragonfly::rpc {

// A status from grpc-status, grpc-message and grpc-status-details-bin (both decoded). A code that gRPC does not define
// is UNKNOWN; 0 is OK. Details that are the JSON of a BackendError are attached, others are ignored.
absl::Status StatusFromWire(int code, std::string_view message, std::string_view details);

}  // namespace dragonfly::rpc
