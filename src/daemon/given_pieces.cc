// SPDX-License-Identifier: Apache-2.0
#include "daemon/given_pieces.h"

#include <algorithm>
#include <utility>

namespace dragonfly::daemon {

std::vector<PieceNumber> GivenPieces::Log::Since(size_t from) const {
  const std::lock_guard lock(mutex_);
  return {numbers_.begin() + static_cast<ptrdiff_t>(std::min(from, numbers_.size())), numbers_.end()};
}

bool GivenPieces::Log::Add(PieceNumber number) {
  const std::lock_guard lock(mutex_);
  if (added_.size() <= number.value()) added_.resize(number.value() + 1);
  if (added_[number.value()]) return false;
  added_[number.value()] = true;
  numbers_.push_back(number);
  return true;
}

std::shared_ptr<const GivenPieces::Log> GivenPieces::Follow(storage::TaskContent& content) {
  const std::lock_guard lock(mutex_);
  if (const auto found = logs_.find(&content); found != logs_.end()) {
    if (std::shared_ptr<Log> log = found->second.lock()) return log;
  }
  std::erase_if(logs_, [](const auto& entry) { return entry.second.expired(); });
  auto log = std::make_shared<Log>(content.changes());
  logs_[&content] = log;
  return log;
}

void GivenPieces::Begun(storage::TaskContent& content, const storage::PieceRecord& record) {
  std::shared_ptr<Log> log;
  {
    const std::lock_guard lock(mutex_);
    const auto found = logs_.find(&content);
    if (found == logs_.end()) return;
    log = found->second.lock();
  }
  if (!log || (record.traffic_type != storage::TrafficType::kBackToSource && !content.complete())) return;
  // Held here and by the followers.
  const bool several = log.use_count() > 2;
  if (log->Add(record.number) && several) log->changes_.Notify();
}

}  // namespace dragonfly::daemon
