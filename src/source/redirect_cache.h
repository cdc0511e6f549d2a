// SPDX-License-Identifier: Apache-2.0
// Where requests were sent on to, so that each range does not ask the way again.
#pragma once

#include <cstddef>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>

#include "runtime/clock.h"
#include "source/origin_header.h"

namespace dragonfly::source {

class Signer;

// A URL and what to ask it with.
struct Target {
  std::string url;
  HeaderFields header;
  std::shared_ptr<Signer> signer = nullptr;  // null: the headers say all
  bool verify_tls = true;
  bool guarded = false;                                                   // as OriginRequest::guarded
  std::shared_ptr<const std::vector<std::string>> authorities = nullptr;  // as OriginRequest::authorities
  std::string method = "GET";
};

// The final target of a redirected request. Headers, signer and authorities are part of the key, since origins send
// callers with different credentials to different places. Entries live for `ttl`; the oldest leave when there are more
// than `capacity`. Not thread-safe.
class RedirectCache {
 public:
  RedirectCache(size_t capacity, Clock::duration ttl) : capacity_(capacity), ttl_(ttl) {}

  std::optional<Target> Find(const Target& asked, TimePoint now) const;
  void Put(const Target& asked, Target final_target, TimePoint now);
  // After the final target has refused: its signature may have run out.
  void Erase(const Target& asked);

 private:
  struct Entry {
    Target target;
    TimePoint expires_at;
  };
  const size_t capacity_;
  const Clock::duration ttl_;
  std::unordered_map<std::string, Entry> entries_;
  std::deque<std::pair<TimePoint, std::string>> by_age_;  // also of entries that have been replaced or erased
};

}  // namespace dragonfly::source
