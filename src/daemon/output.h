// SPDX-License-Identifier: Apache-2.0
// What a caller gets beside the pieces: the verified digest and the output file.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "base/byte_range.h"
#include "base/digest.h"
#include "runtime/blocking_pool.h"
#include "storage/task_content.h"

namespace dragonfly::daemon {

struct OutputRequest {
  OutputRequest() = default;
  std::optional<Digest> digest;    // of the whole file
  std::string path;                // absolute; empty: none
  std::optional<ByteRange> range;  // only these bytes
  storage::ExportOptions options;
};

// Verifies the digest (of a whole file) and makes the output of `content`, in which every wanted piece is there. The
// output is made after the digest was found right, so that a wrong file never has that name.
// Errors: INTERNAL "digest mismatch expected: A, actual: B" (IsDigestMismatch()); those of ExportTo().
boost::asio::awaitable<absl::Status> MakeOutput(runtime::BlockingPool& blocking,
                                                std::shared_ptr<storage::TaskContent> content, OutputRequest request);

// True when `status` says that a content has not the digest that was asked for.
bool IsDigestMismatch(const absl::Status& status);

}  // namespace dragonfly::daemon
