// SPDX-License-Identifier: Apache-2.0
// Where a stream of bytes goes: the seam between transports (vortex, source) and whoever stores the bytes.
#pragma once

#include <cstddef>
#include <span>

#include "absl/status/status.h"

namespace dragonfly {

// Takes the bytes of one piece (or of one whole body) in order.
class ByteSink {
 public:
  virtual ~ByteSink() = default;

  // Consumes `bytes` before it returns; the caller may reuse the memory at once. Does not suspend. An error ends the
  // transfer. OUT_OF_RANGE when more bytes come than the sink has room for.
  virtual absl::Status Append(std::span<const std::byte> bytes) = 0;
};

}  // namespace dragonfly
