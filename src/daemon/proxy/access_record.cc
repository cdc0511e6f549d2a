// SPDX-License-Identifier: Apache-2.0
#include "daemon/proxy/access_record.h"

#include <openssl/sha.h>

#include "base/text.h"

namespace dragonfly::daemon::proxy {

std::string AccessRecord::KeyOf(std::string_view url, const Fields& fields) {
  // Lengths in front, so that no two different inputs make one text.
  std::string text;
  const std::string authorization = fields.Joined("authorization").value_or("");
  const std::string cookie = fields.Joined("cookie").value_or("");
  for (const std::string_view part : {url, std::string_view(authorization), std::string_view(cookie)}) {
    text += StrCat(part.size(), ":", part);
  }
  std::string digest(SHA256_DIGEST_LENGTH, '\0');
  ::SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(),
           reinterpret_cast<unsigned char*>(digest.data()));
  return digest;
}

bool AccessRecord::HasCredentials(const Fields& fields) {
  return fields.Find("authorization").has_value() || fields.Find("cookie").has_value();
}

void AccessRecord::Accept(const std::string& key, TimePoint now) {
  absl::MutexLock lock(&mutex_);
  if (const auto it = by_key_.find(key); it != by_key_.end()) {
    it->second->accepted = now;
    entries_.splice(entries_.begin(), entries_, it->second);
    return;
  }
  entries_.push_front(Entry{key, now});
  by_key_[key] = entries_.begin();
  if (entries_.size() <= options_.entries_max) return;
  by_key_.erase(entries_.back().key);
  entries_.pop_back();
}

void AccessRecord::Forget(const std::string& key) {
  absl::MutexLock lock(&mutex_);
  const auto it = by_key_.find(key);
  if (it == by_key_.end()) return;
  entries_.erase(it->second);
  by_key_.erase(it);
}

bool AccessRecord::Within(const std::string& key, Clock::duration age, TimePoint now) const {
  absl::MutexLock lock(&mutex_);
  const auto it = by_key_.find(key);
  return it != by_key_.end() && now - it->second->accepted < age;
}

}  // namespace dragonfly::daemon::proxy
