// SPDX-License-Identifier: Apache-2.0
#include "source/redirect_cache.h"

#include "base/digest.h"
#include "base/text.h"
#include "source/signer.h"

namespace dragonfly::source {
namespace {

// Neither URLs nor checked headers contain a line break.
std::string KeyOf(const Target& target) {
  std::string key = target.method;
  key.append(" ").append(target.url);
  for (const auto& [name, value] : target.header) key.append("\n").append(name).append(":").append(value);
  if (!target.verify_tls) key.append("\n?");
  if (target.guarded) key.append("\n.");
  if (target.authorities != nullptr) {
    std::string all;
    for (const std::string& one : *target.authorities) all += StrCat(one.size(), ":", one);
    key.append("\n!").append(Sha256Hex(all));
  }
  if (target.signer != nullptr) key.append("\n\n").append(target.signer->Identity());
  return key;
}

}  // namespace

std::optional<Target> RedirectCache::Find(const Target& asked, TimePoint now) const {
  const auto found = entries_.find(KeyOf(asked));
  if (found == entries_.end() || found->second.expires_at <= now) return std::nullopt;
  return found->second.target;
}

void RedirectCache::Put(const Target& asked, Target final_target, TimePoint now) {
  std::string key = KeyOf(asked);
  const TimePoint expires_at = now + ttl_;
  entries_.insert_or_assign(key, Entry{std::move(final_target), expires_at});
  by_age_.emplace_back(expires_at, std::move(key));
  while (!by_age_.empty() && (by_age_.size() > capacity_ || by_age_.front().first <= now)) {
    const auto found = entries_.find(by_age_.front().second);
    if (found != entries_.end() && found->second.expires_at == by_age_.front().first) entries_.erase(found);
    by_age_.pop_front();
  }
}

void RedirectCache::Erase(const Target& asked) { entries_.erase(KeyOf(asked)); }

}  // namespace dragonfly::source
