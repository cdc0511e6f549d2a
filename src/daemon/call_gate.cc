// SPDX-License-Identifier: Apache-2.0
#include "daemon/call_gate.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>

#include "common/v2/common.pb.h"
#include "runtime/timeout.h"

namespace dragonfly::daemon {

namespace asio = boost::asio;

namespace {

constexpr char kTooMany[] = "server is overloaded: too many requests, please retry later";
constexpr char kOverloaded[] = "server is overloaded: CPU/memory thresholds are exceeded, please retry later";

// How long the last call in the buffer waits.
Clock::duration LongestWait(const CallGate::Options& options) {
  if (options.requests_per_second == 0) return Clock::duration::zero();
  const double seconds = static_cast<double>(options.buffer_size) / static_cast<double>(options.requests_per_second);
  return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(std::min(seconds, 3600.0)));
}

const BlockList::Purposes& PurposesOf(const BlockList& list, TaskType type) {
  switch (type) {
    case TaskType::kPersistent:
      return list.persistent_task;
    case TaskType::kPersistentCache:
      return list.persistent_cache_task;
    case TaskType::kStandard:
    case TaskType::kCache:
      break;
  }
  return list.task;
}

}  // namespace

CallGate::CallGate(Options options, const OverloadMonitor* overload, BlockListSource block_list, Probe& probe)
    : options_(std::move(options)),
      overload_(overload),
      block_list_(std::move(block_list)),
      probe_(probe),
      rate_(options_.requests_per_second, options_.requests_per_second),
      unary_(options_.adaptive),
      streams_(options_.adaptive) {}

asio::awaitable<absl::StatusOr<CallGate::Pass>> CallGate::Enter(CallKind kind) {
  const TimePoint now = Clock::now();
  Pass pass;
  if (overload_ != nullptr) {
    runtime::AdaptiveLimiter& limiter = kind == CallKind::kUnary ? unary_ : streams_;
    std::optional<Pass> admitted = limiter.Enter(overload_->overloaded(), now);
    if (!admitted) {
      probe_.CallRefused(options_.server, "overload");
      co_return absl::ResourceExhaustedError(kOverloaded);
    }
    pass = *std::move(admitted);
  }
  const std::optional<Clock::duration> wait = rate_.ReserveWithin(1, now, LongestWait(options_));
  if (!wait) {
    probe_.CallRefused(options_.server, "rate");
    co_return absl::ResourceExhaustedError(kTooMany);
  }
  if (*wait > Clock::duration::zero()) co_await runtime::SleepUntil(now + *wait);
  co_return pass;
}

absl::Status CallGate::CheckDownload(TaskType type, const BlockQuery& query) const {
  if (!block_list_ || !PurposesOf(*block_list_(), type).download.Matches(query)) return absl::OkStatus();
  probe_.DownloadBlocked(type);
  return absl::PermissionDeniedError("download rejected by blocklist policy");
}

absl::Status CallGate::CheckDownload(const common::v2::Download& download) const {
  BlockQuery query;
  query.url = download.url();
  query.application = download.application();
  query.tag = download.tag();
  query.priority = static_cast<int64_t>(download.priority());
  return CheckDownload(TaskType::kStandard, query);
}

absl::Status CallGate::CheckUpload(TaskType type, const BlockQuery& query) const {
  if (!block_list_ || !PurposesOf(*block_list_(), type).upload.Matches(query)) return absl::OkStatus();
  probe_.UploadBlocked(type);
  return absl::PermissionDeniedError("upload rejected by blocklist policy");
}

}  // namespace dragonfly::daemon
