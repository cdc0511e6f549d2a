// SPDX-License-Identifier: Apache-2.0
#include "daemon/prefetcher.h"

#include <iterator>
#include <memory>
#include <utility>

#include "base/text.h"
#include "common/v2/common.pb.h"
#include "telemetry/log.h"

namespace dragonfly::daemon {

namespace asio = boost::asio;

namespace {

// The caller of a prefetch: nobody looks at the pieces.
class NobodyLooks final : public DownloadObserver {
 public:
  asio::awaitable<absl::Status> Started(const DownloadStarted&) override { co_return absl::OkStatus(); }
  asio::awaitable<absl::Status> PieceReady(const storage::PieceRecord&) override { co_return absl::OkStatus(); }
};

TaskLabels LabelsOf(const common::v2::Download& wire) {
  TaskLabels labels;
  labels.tag = wire.tag();
  labels.application = wire.application();
  labels.priority = wire.priority();
  return labels;
}

}  // namespace

asio::awaitable<void> Prefetcher::Run(TaskId id, DownloadRequest request) {
  // However it ends, the next range may start another.
  struct Turn {
    Prefetcher& prefetcher;
    const TaskId& id;
    ~Turn() {
      absl::MutexLock lock(&prefetcher.mutex_);
      prefetcher.running_.erase(id);
    }
  };
  const Turn turn{*this, id};
  const TaskLabels labels = LabelsOf(*request.wire);
  telemetry::Span span = probe_.Under(request.trace).Start("prefetch_task");
  span.Set("task_id", id.str());
  request.trace = span.context();
  span.AsParent().Start("prefetch_task_started").End();
  probe_.PrefetchStarted(labels);
  NobodyLooks observer;
  const absl::Status status = co_await manager_.Download(std::move(request), observer);
  span.SetStatus(status);
  if (status.ok()) co_return;
  telemetry::Span failed = span.AsParent().Start("prefetch_task_failed");
  failed.SetStatus(status);
  probe_.PrefetchFailed(labels);
  DF_LOG(Warn, "task {}: prefetch: {}", id.str(), status.ToString());
}

void Prefetcher::Start(const TaskId& id, const Caller& caller) {
  {
    absl::MutexLock lock(&mutex_);
    if (stopped_ || !running_.insert(id).second) return;
  }
  auto whole = std::make_shared<common::v2::Download>(*caller.wire());
  whole->clear_range();
  whole->clear_output_path();
  whole->set_force_hard_link(false);
  whole->clear_timeout();
  whole->set_prefetch(false);
  whole->set_is_prefetch(true);
  whole->set_need_piece_content(false);
  auto& header = *whole->mutable_request_header();
  for (auto it = header.begin(); it != header.end();) {
    it = EqualsIgnoreCase(it->first, "range") ? header.erase(it) : std::next(it);
  }
  DownloadRequest request;
  request.wire = std::move(whole);
  request.local = true;
  request.origin = caller.origin();
  request.trace = caller.trace();
  lanes_.For(id.str()).group.Spawn(Run(id, std::move(request)));
}

void Prefetcher::Stop() {
  absl::MutexLock lock(&mutex_);
  stopped_ = true;
}

}  // namespace dragonfly::daemon
