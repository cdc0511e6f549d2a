// SPDX-License-Identifier: Apache-2.0
#include "daemon/dynconfig.h"

#include <utility>

#include "absl/strings/str_join.h"
#include "base/status.h"
#include "telemetry/log.h"

namespace dragonfly::daemon {
namespace asio = boost::asio;

asio::awaitable<void> Dynconfig::Stop() { co_return; }

std::shared_ptr<const DynconfigData> Dynconfig::data() const {
  const absl::MutexLock lock(&mutex_);
  return data_;
}

BlockListSource Dynconfig::block_lists() const {
  return [this] { return data()->block_list; };
}

absl::Status Dynconfig::health() const {
  const absl::MutexLock lock(&mutex_);
  return health_;
}

asio::awaitable<void> Dynconfig::WaitForFirstTry(TimePoint deadline) const {
  const runtime::Signal tried = tried_;
  if (tried.version() == 0) co_await tried.Wait(0, deadline);
}

void Dynconfig::Publish(DynconfigData data) {
  const auto next = std::make_shared<const DynconfigData>(std::move(data));
  bool schedulers_changed, changed, was_ill;
  {
    const absl::MutexLock lock(&mutex_);
    schedulers_changed =
        data_->scheduler_addrs != next->scheduler_addrs || data_->scheduler_cluster_id != next->scheduler_cluster_id;
    changed = schedulers_changed || data_->block_list != next->block_list;
    data_ = next;
    was_ill = !health_.ok() && tried_.version() > 0;
    health_ = absl::OkStatus();
  }
  if (schedulers_changed) {
    DF_LOG(Info, "{}: cluster {}, schedulers {}", name(), next->scheduler_cluster_id,
           absl::StrJoin(next->scheduler_addrs, ", "));
  } else if (was_ill) {
    DF_LOG(Info, "{}: answers again", name());
  }
  tried_.Notify();
  if (changed) changed_.Notify();
}

void Dynconfig::Fail(const absl::Status& status) {
  bool news;
  {
    const absl::MutexLock lock(&mutex_);
    news = health_ != status;
    health_ = status;
  }
  if (news) DF_LOG(Warn, "{}: {}", name(), MessageOf(status));
  tried_.Notify();
}

StaticDynconfig::StaticDynconfig(std::vector<std::string> scheduler_addrs) {
  DynconfigData data;
  data.scheduler_addrs = std::move(scheduler_addrs);
  Publish(std::move(data));
}

}  // namespace dragonfly::daemon
