// SPDX-License-Identifier: Apache-2.0
#include "scheduler/host_table.h"

#include <utility>

#include "absl/container/flat_hash_set.h"
#include "base/hash_ring.h"
#include "base/text.h"

namespace dragonfly::scheduler {
namespace {

// How the schedulers of v2.3.0 name a seed on their ring: "<address>:<server name>".
std::string RingMember(const HostFacts& seed) {
  const bool bracket = seed.ip.find(':') != std::string::npos;
  return StrCat(bracket ? "[" : "", seed.ip, bracket ? "]:" : ":", seed.port, ":", seed.ip);
}

}  // namespace

std::shared_ptr<Host> HostTable::Announce(std::shared_ptr<const HostFacts> facts, TimePoint now) {
  absl::MutexLock lock(&mutex_);
  if (facts->seed()) {
    seeds_.insert(facts->id);
  } else {
    seeds_.erase(facts->id);
  }
  Entry& entry = hosts_[facts->id];
  entry.skip_until = TimePoint{};
  entry.announced = true;
  if (entry.host == nullptr) {
    entry.host = std::make_shared<Host>(std::move(facts), now);
  } else {
    entry.host->Update(std::move(facts), now);
  }
  return entry.host;
}

std::vector<std::string> HostTable::SetListed(const std::vector<std::shared_ptr<const HostFacts>>& seeds,
                                              TimePoint now) {
  std::vector<std::string> gone;
  absl::MutexLock lock(&mutex_);
  absl::flat_hash_set<std::string_view> listed;
  for (const auto& facts : seeds) {
    listed.insert(facts->id);
    const auto [at, added] = hosts_.try_emplace(facts->id);
    if (added) {
      at->second.host = std::make_shared<Host>(facts, now);
      seeds_.insert(facts->id);
    } else if (!at->second.announced) {
      at->second.host->Update(facts, now);
    }
  }
  for (auto at = hosts_.begin(); at != hosts_.end();) {
    if (at->second.announced || listed.contains(at->first)) {
      ++at;
      continue;
    }
    gone.push_back(at->first);
    seeds_.erase(at->first);
    hosts_.erase(at++);
  }
  return gone;
}

std::shared_ptr<Host> HostTable::Find(std::string_view id) const {
  absl::MutexLock lock(&mutex_);
  const auto at = hosts_.find(ToAbsl(id));
  return at == hosts_.end() ? nullptr : at->second.host;
}

bool HostTable::Remove(std::string_view id) {
  absl::MutexLock lock(&mutex_);
  const auto at = hosts_.find(ToAbsl(id));
  if (at == hosts_.end()) return false;
  seeds_.erase(at->first);
  hosts_.erase(at);
  return true;
}

std::vector<std::shared_ptr<Host>> HostTable::List(std::optional<uint32_t> type) const {
  std::vector<std::shared_ptr<Host>> hosts;
  absl::MutexLock lock(&mutex_);
  for (const auto& [id, entry] : hosts_) {
    if (!type.has_value() || entry.host->facts()->type == *type) hosts.push_back(entry.host);
  }
  return hosts;
}

size_t HostTable::size() const {
  absl::MutexLock lock(&mutex_);
  return hosts_.size();
}

std::vector<std::string> HostTable::RemoveSilent(TimePoint now) {
  std::vector<std::string> silent;
  absl::MutexLock lock(&mutex_);
  for (auto at = hosts_.begin(); at != hosts_.end();) {
    const Host& host = *at->second.host;
    const Clock::duration interval = host.facts()->announce_interval;
    if (interval > Clock::duration::zero() && now - host.updated_at() > 2 * interval) {
      silent.push_back(at->first);
      seeds_.erase(at->first);
      hosts_.erase(at++);
    } else {
      ++at;
    }
  }
  return silent;
}

std::vector<std::shared_ptr<Host>> HostTable::SeedsFor(std::string_view task_id, TimePoint now) const {
  std::vector<std::shared_ptr<Host>> seeds;
  {
    absl::MutexLock lock(&mutex_);
    for (const std::string& id : seeds_) {
      const Entry& entry = hosts_.find(ToAbsl(id))->second;
      // One that does not share would read the origin for itself alone.
      if (entry.skip_until <= now && !entry.host->facts()->disable_shared) seeds.push_back(entry.host);
    }
  }
  SeedRing ring;
  for (const auto& seed : seeds) ring.Add(RingMember(*seed->facts()));
  std::vector<std::shared_ptr<Host>> ordered;
  for (const size_t index : ring.Order(task_id)) ordered.push_back(seeds[index]);
  return ordered;
}

void HostTable::SkipSeed(std::string_view id, TimePoint until) {
  absl::MutexLock lock(&mutex_);
  const auto at = hosts_.find(ToAbsl(id));
  if (at != hosts_.end()) at->second.skip_until = until;
}

}  // namespace dragonfly::scheduler
