// SPDX-License-Identifier: Apache-2.0
#include "daemon/proxy/access_record.h"

#include <openssl/sha.h>

#include <map>

#include "base/text.h"
#include "daemon/credential_header.h"

namespace dragonfly::daemon::proxy {

namespace {

// What may be credentials: names in lower case, with all their values.
std::map<std::string, std::string> CredentialsOf(const Fields& fields) {
  std::map<std::string, std::string> credentials;
  for (const auto& [name, value] : fields.entries()) {
    std::string lower = ToLowerAscii(name);
    if (!MayBeCredential(lower)) continue;
    std::string& all = credentials[std::move(lower)];
    all += StrCat(value.size(), ":", value);
  }
  return credentials;
}

}  // namespace

std::string AccessRecord::KeyOf(std::string_view url, const Fields& fields) {
  // Lengths in front, so that no two different inputs make one text.
  std::string text = StrCat(url.size(), ":", url);
  for (const auto& [name, values] : CredentialsOf(fields)) {
    text += StrCat(name.size(), ":", name, values.size(), ":", values);
  }
  std::string digest(SHA256_DIGEST_LENGTH, '\0');
  ::SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(),
           reinterpret_cast<unsigned char*>(digest.data()));
  return digest;
}

bool AccessRecord::HasCredentials(const Fields& fields) { return !CredentialsOf(fields).empty(); }

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
