// SPDX-License-Identifier: Apache-2.0
// Fetches what is wanted of a task from its origin: runs of neighbouring pieces by ranged requests in parallel, or,
// when the origin takes no ranges or tells no length, its whole body.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "daemon/piece_set.h"
#include "daemon/probe.h"
#include "daemon/wishes.h"
#include "runtime/signal.h"
#include "runtime/task_group.h"
#include "runtime/token_bucket.h"
#include "source/source.h"
#include "storage/task_content.h"

namespace dragonfly::daemon {

// Thread rule: everything on the executor of the task, which is that of `source`.
class OriginFetch {
 public:
  struct Options {
    Options() = default;
    size_t concurrency = 4;             // ranged requests at once
    uint64_t run_bytes_max = 64 << 20;  // of one request, beyond a single piece
    Clock::duration piece_timeout{};    // a request may take this long for each of its pieces; at most 30 days
    std::string scheme;                 // label of the metrics
    uint32_t skip_pieces = 0;           // the first ones, which another request brings
    telemetry::SpanParent trace;        // of the spans of its requests
  };
  struct Origin {
    Origin() = default;
    source::Source* source = nullptr;
    source::OriginRequest request;
    source::OriginStat stat;
  };
  // `finished` is called with each piece. `layout`: nullopt when the origin told no length. References must outlive it.
  OriginFetch(boost::asio::any_io_executor executor, std::shared_ptr<storage::TaskContent> content,
              std::optional<PieceLayout> layout, uint64_t piece_length, Origin origin, Wishes& wishes,
              runtime::TokenBucket& limiter, Probe& probe, Options options,
              std::function<void(const storage::PieceRecord&)> finished);

  // Returns OK when what was wanted when it looked last is there. Errors: of the source and of the own disk. Call once.
  boost::asio::awaitable<absl::Status> Run();

 private:
  struct PieceRun {
    PieceNumber first;
    uint32_t pieces = 0;
    ByteRange range;
  };
  boost::asio::awaitable<absl::Status> ReadRuns();
  boost::asio::awaitable<void> Worker();
  boost::asio::awaitable<void> WaitForWorkers();
  boost::asio::awaitable<absl::Status> ReadRun(PieceRun run);
  boost::asio::awaitable<absl::Status> ReadWhole();
  std::optional<PieceRun> NextRun();
  TimePoint DeadlineOf(uint32_t pieces) const;
  template <typename T>
  boost::asio::awaitable<T> Measured(boost::asio::awaitable<T> call, telemetry::Span span);

  const boost::asio::any_io_executor executor_;
  const std::shared_ptr<storage::TaskContent> content_;
  const std::optional<PieceLayout> layout_;
  const uint64_t piece_length_;
  const Origin origin_;
  Wishes& wishes_;
  runtime::TokenBucket& limiter_;
  Probe& probe_;
  const Options options_;
  const std::function<void(const storage::PieceRecord&)> finished_;
  PieceSet missing_;  // wanted, and in no run yet
  size_t workers_ = 0;
  runtime::Signal worker_ended_;
  absl::Status failure_;
  runtime::TaskGroup group_;
};

}  // namespace dragonfly::daemon
