// SPDX-License-Identifier: Apache-2.0
#include "scheduler/host_table.h"

#include <utility>

#include "absl/container/flat_hash_set.h"
#include "base/hash_ring.h"
#include "base/text.h"

namespace dragonfly::scheduler {
namespace {

constexpr size_t kHostsAtOnce = 1000;

// How the schedulers of v2.3.0 name a seed on their ring: "<address>:<server name>".
std::string RingMember(const HostFacts& seed) {
  const bool bracket = seed.ip.find(':') != std::string::npos;
  return StrCat(bracket ? "[" : "", seed.ip, bracket ? "]:" : ":", seed.port, ":", seed.ip);
}

}  // namespace

struct HostTable::Ring {
  uint64_t version = 0;
  std::vector<std::shared_ptr<Host>> seeds;  // in the order of their ids
  SeedRing points;
};

void HostTable::NoteSeed(const HostFacts& facts, const HostFacts* before) {
  if (!facts.seed()) {
    ForgetSeed(facts.id);
    return;
  }
  const bool added = seeds_.insert(facts.id).second;
  if (added || before == nullptr || before->ip != facts.ip || before->port != facts.port ||
      before->disable_shared != facts.disable_shared) {
    ++ring_version_;
  }
}

void HostTable::ForgetSeed(const std::string& id) {
  if (seeds_.erase(id) > 0) ++ring_version_;
}

std::shared_ptr<Host> HostTable::Announce(std::shared_ptr<const HostFacts> facts, TimePoint now) {
  absl::MutexLock lock(&mutex_);
  Entry& entry = hosts_[facts->id];
  entry.skip_until = TimePoint{};
  if (!std::exchange(entry.announced, true)) unannounced_.erase(facts->id);
  if (entry.host == nullptr) {
    NoteSeed(*facts, nullptr);
    entry.host = std::make_shared<Host>(std::move(facts), now);
  } else {
    NoteSeed(*facts, entry.host->facts().get());
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
    Entry& entry = at->second;
    if (added) {
      NoteSeed(*facts, nullptr);
      entry.host = std::make_shared<Host>(facts, now);
      unannounced_.insert(facts->id);
    } else if (!entry.announced) {
      NoteSeed(*facts, entry.host->facts().get());
      entry.host->Update(facts, now);
    }
  }
  for (const std::string& id : unannounced_) {
    if (!listed.contains(id)) gone.push_back(id);
  }
  for (const std::string& id : gone) {
    unannounced_.erase(id);
    ForgetSeed(id);
    hosts_.erase(id);
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
  ForgetSeed(at->first);
  unannounced_.erase(at->first);
  hosts_.erase(at);
  return true;
}

std::vector<std::shared_ptr<Host>> HostTable::List(std::optional<uint32_t> type) const {
  std::vector<std::shared_ptr<Host>> hosts;
  std::string last;
  for (bool more = true; more;) {
    absl::MutexLock lock(&mutex_);
    auto at = hosts_.upper_bound(last);
    for (size_t i = 0; i < kHostsAtOnce && at != hosts_.end(); ++i, ++at) {
      if (!type.has_value() || at->second.host->facts()->type == *type) hosts.push_back(at->second.host);
      if (i + 1 == kHostsAtOnce) last = at->first;
    }
    more = at != hosts_.end();
  }
  return hosts;
}

size_t HostTable::size() const {
  absl::MutexLock lock(&mutex_);
  return hosts_.size();
}

std::vector<std::string> HostTable::RemoveSilent(TimePoint now) {
  std::vector<std::string> silent;
  std::string last;
  for (bool more = true; more;) {
    absl::MutexLock lock(&mutex_);
    auto at = hosts_.upper_bound(last);
    for (size_t i = 0; i < kHostsAtOnce && at != hosts_.end(); ++i) {
      if (i + 1 == kHostsAtOnce) last = at->first;
      const Host& host = *at->second.host;
      const Clock::duration interval = host.facts()->announce_interval;
      if (interval > Clock::duration::zero() && now - host.updated_at() > 2 * interval) {
        silent.push_back(at->first);
        ForgetSeed(at->first);
        unannounced_.erase(at->first);
        at = hosts_.erase(at);
      } else {
        ++at;
      }
    }
    more = at != hosts_.end();
  }
  return silent;
}

// Points are many and change rarely, so they are kept; and made without the lock.
std::shared_ptr<const HostTable::Ring> HostTable::CurrentRing() const {
  auto ring = std::make_shared<Ring>();
  {
    absl::MutexLock lock(&mutex_);
    if (ring_ != nullptr && ring_->version == ring_version_) return ring_;
    ring->version = ring_version_;
    for (const std::string& id : seeds_) {
      const std::shared_ptr<Host>& host = hosts_.find(id)->second.host;
      // One that does not share would read the origin for itself alone.
      if (!host->facts()->disable_shared) ring->seeds.push_back(host);
    }
  }
  std::vector<std::string> members;
  members.reserve(ring->seeds.size());
  for (const auto& seed : ring->seeds) members.push_back(RingMember(*seed->facts()));
  ring->points = SeedRing(members);
  absl::MutexLock lock(&mutex_);
  ring_ = ring;
  return ring;
}

std::vector<std::shared_ptr<Host>> HostTable::SeedsFor(std::string_view task_id, TimePoint now) const {
  const std::shared_ptr<const Ring> ring = CurrentRing();
  std::vector<size_t> order = ring->points.Order(task_id);
  // Two on one address share their points, of which the later has all; the other comes last.
  std::vector<bool> listed(ring->seeds.size());
  for (const size_t index : order) listed[index] = true;
  for (size_t index = 0; index < listed.size(); ++index) {
    if (!listed[index]) order.push_back(index);
  }
  std::vector<std::shared_ptr<Host>> ordered;
  ordered.reserve(order.size());
  absl::MutexLock lock(&mutex_);
  for (const size_t index : order) {
    const std::shared_ptr<Host>& seed = ring->seeds[index];
    const auto at = hosts_.find(seed->id());
    if (at != hosts_.end() && at->second.host == seed && at->second.skip_until <= now) ordered.push_back(seed);
  }
  return ordered;
}

void HostTable::SkipSeed(std::string_view id, TimePoint until) {
  absl::MutexLock lock(&mutex_);
  const auto at = hosts_.find(ToAbsl(id));
  if (at != hosts_.end()) at->second.skip_until = until;
}

}  // namespace dragonfly::scheduler
