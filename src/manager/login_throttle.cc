// SPDX-License-Identifier: Apache-2.0
#include "manager/login_throttle.h"

#include <algorithm>

#include "base/text.h"

namespace dragonfly::manager {
namespace {

constexpr std::chrono::minutes kWindow{1};
constexpr int kOfClientForName = 5;
constexpr int kOfClient = 30;
constexpr int kForName = 100;
constexpr size_t kNameMax = 256;

std::string ClientKey(const std::string& client) { return StrCat("c", client); }
std::string NameKey(const std::string& name) { return StrCat("n", name.substr(0, kNameMax)); }
std::string PairKey(const std::string& client, const std::string& name) {
  return StrCat("p", client, " ", name.substr(0, kNameMax));
}

}  // namespace

bool LoginThrottle::Below(const std::string& key, int most, TimePoint now) {
  const auto found = entries_.find(key);
  if (found == entries_.end()) return true;
  if (now - found->second.since >= kWindow) {
    entries_.erase(found);
    return true;
  }
  return found->second.failures < most;
}

void LoginThrottle::Count(const std::string& key, TimePoint now) {
  if (entries_.size() >= kEntriesMax && !entries_.contains(key)) {
    std::erase_if(entries_, [&](const auto& entry) { return now - entry.second.since >= kWindow; });
    if (entries_.size() >= kEntriesMax) entries_.clear();
  }
  Entry& entry = entries_[key];
  if (entry.failures == 0 || now - entry.since >= kWindow) entry = Entry{0, now};
  ++entry.failures;
}

bool LoginThrottle::Admits(const std::string& client, const std::string& name, TimePoint now) {
  absl::MutexLock lock(&mutex_);
  return Below(PairKey(client, name), kOfClientForName, now) && Below(ClientKey(client), kOfClient, now) &&
         Below(NameKey(name), kForName, now);
}

void LoginThrottle::CountFailure(const std::string& client, const std::string& name, TimePoint now) {
  absl::MutexLock lock(&mutex_);
  for (const std::string& key : {PairKey(client, name), ClientKey(client), NameKey(name)}) Count(key, now);
}

}  // namespace dragonfly::manager
