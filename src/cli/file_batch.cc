// SPDX-License-Identifier: Apache-2.0
#include "cli/file_batch.h"

#include <algorithm>
#include <atomic>
#include <thread>
#include <utility>

namespace dragonfly::cli {
namespace {

class Batch {
 public:
  Batch(const DfgetOptions& options, const std::vector<FileJob>& jobs, DownloadReport& report)
      : options_(options), jobs_(jobs), report_(report) {}

  // Takes job after job until none is left.
  void Work(std::unique_ptr<rpc::UnixClient> client) {
    for (size_t i = next_++; i < jobs_.size() && !stopped_; i = next_++) {
      if (!client && !Connect(client)) return;
      const auto failure = DownloadFile(options_, jobs_[i], *client, report_);
      if (!failure) continue;
      const ReportedFile file = Reported(jobs_[i]);
      report_.Failed(&file, failure->status, failure->kind);
      // The connection may be what is broken.
      client.reset();
    }
  }

 private:
  // Whoever finds first that nobody is there tells it for all.
  bool Connect(std::unique_ptr<rpc::UnixClient>& client) {
    auto connected = rpc::UnixClient::Connect(options_.endpoint);
    if (connected.ok()) {
      client = *std::move(connected);
      return true;
    }
    if (!stopped_.exchange(true)) report_.Failed(nullptr, connected.status(), FailureKind::kConnect);
    return false;
  }

  const DfgetOptions& options_;
  const std::vector<FileJob>& jobs_;
  DownloadReport& report_;
  std::atomic<size_t> next_{0};
  std::atomic<bool> stopped_{false};
};

}  // namespace

void DownloadFiles(const DfgetOptions& options, const std::vector<FileJob>& jobs,
                   std::unique_ptr<rpc::UnixClient> client, DownloadReport& report) {
  Batch batch(options, jobs, report);
  std::vector<std::thread> others;
  const size_t workers = std::min(options.max_concurrent_requests, jobs.size());
  for (size_t i = 1; i < workers; ++i) {
    others.emplace_back([&batch] { batch.Work(nullptr); });
  }
  batch.Work(std::move(client));
  for (std::thread& other : others) other.join();
}

}  // namespace dragonfly::cli
