// SPDX-License-Identifier: Apache-2.0
// What the calls of one gRPC server are asked before they run: is there room, and is it allowed?
//
//   call ──▶ overload (AdaptiveLimiter) ──▶ requests a second, and a buffer before it ──▶ block list ──▶ handler
//
// Texts and codes are those of client v1.5.1, dragonfly-client/src/grpc/dfdaemon_{upload,download}.rs. Health and
// reflection do not come by here.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "daemon/block_list.h"
#include "daemon/overload_monitor.h"
#include "daemon/probe.h"
#include "runtime/adaptive_limiter.h"
#include "runtime/token_bucket.h"

namespace common::v2 {
class Download;
}

namespace dragonfly::daemon {

enum class CallKind { kUnary, kStream };

// Thread-safe.
class CallGate {
 public:
  struct Options {
    Options() = default;
    std::string server;                // label of the metrics: "download", "upload"
    uint64_t requests_per_second = 0;  // and one second's worth at once; 0: no limit
    uint64_t buffer_size = 0;          // calls that may wait for the rate
    runtime::AdaptiveLimiter::Options adaptive;
  };
  // `overload`: null for no adaptive limit. `block_list` may be empty: nothing is blocked. All must outlive the gate,
  // and the gate its passes.
  CallGate(Options options, const OverloadMonitor* overload, BlockListSource block_list, Probe& probe);

  // Held by a call as long as it runs.
  using Pass = runtime::AdaptiveLimiter::Permit;

  // Lets a call in, after its time in the buffer. Errors: RESOURCE_EXHAUSTED "server is overloaded: ...".
  boost::asio::awaitable<absl::StatusOr<Pass>> Enter(CallKind kind);

  // Whether the operators allow a download. Errors: PERMISSION_DENIED "download rejected by blocklist policy".
  absl::Status CheckDownload(const common::v2::Download& download) const;
  // Whether they allow an upload of a task of `type` (persistent or persistent cache tasks; standard ones are not
  // uploaded by anybody). Errors: PERMISSION_DENIED "upload rejected by blocklist policy".
  absl::Status CheckUpload(TaskType type, const BlockQuery& query) const;

 private:
  absl::Status CheckDownload(TaskType type, const BlockQuery& query) const;

  const Options options_;
  const OverloadMonitor* const overload_;
  const BlockListSource block_list_;
  Probe& probe_;
  runtime::TokenBucket rate_;
  // Apart, since a stream may last for hours.
  runtime::AdaptiveLimiter unary_;
  runtime::AdaptiveLimiter streams_;
};

}  // namespace dragonfly::daemon
