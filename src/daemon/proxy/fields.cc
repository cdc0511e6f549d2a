// SPDX-License-Identifier: Apache-2.0
#include "daemon/proxy/fields.h"

#include <algorithm>

#include "base/text.h"

namespace dragonfly::daemon::proxy {
namespace {

bool StartsWithIgnoreCase(std::string_view text, std::string_view prefix) {
  return text.size() >= prefix.size() && EqualsIgnoreCase(text.substr(0, prefix.size()), prefix);
}

}  // namespace

std::vector<std::string_view> ListMembers(std::string_view list) {
  std::vector<std::string_view> members;
  while (!list.empty()) {
    const size_t comma = std::min(list.find(','), list.size());
    if (const std::string_view member = TrimSpace(list.substr(0, comma)); !member.empty()) members.push_back(member);
    list.remove_prefix(std::min(comma + 1, list.size()));
  }
  return members;
}

void Fields::Set(std::string_view name, std::string_view value) {
  const std::string copy(value);  // may be a view of what is removed
  Remove(name);
  Add(name, copy);
}

void Fields::Remove(std::string_view name) {
  std::erase_if(entries_, [name](const Entry& entry) { return EqualsIgnoreCase(entry.first, name); });
}

std::optional<std::string_view> Fields::Find(std::string_view name) const {
  for (const auto& [have, value] : entries_) {
    if (EqualsIgnoreCase(have, name)) return value;
  }
  return std::nullopt;
}

std::optional<std::string> Fields::Joined(std::string_view name) const {
  std::optional<std::string> joined;
  for (const auto& [have, value] : entries_) {
    if (!EqualsIgnoreCase(have, name)) continue;
    joined = joined ? *joined + ", " + value : value;
  }
  return joined;
}

size_t Fields::Count(std::string_view name) const {
  return static_cast<size_t>(std::count_if(entries_.begin(), entries_.end(),
                                           [name](const Entry& entry) { return EqualsIgnoreCase(entry.first, name); }));
}

bool Fields::HasToken(std::string_view name, std::string_view token) const {
  for (const auto& [have, value] : entries_) {
    if (!EqualsIgnoreCase(have, name)) continue;
    for (const std::string_view member : ListMembers(value)) {
      if (EqualsIgnoreCase(member, token)) return true;
    }
  }
  return false;
}

void Fields::RemoveHopByHop() {
  std::vector<std::string> named;
  for (const auto& [have, value] : entries_) {
    if (!EqualsIgnoreCase(have, "connection") && !EqualsIgnoreCase(have, "proxy-connection")) continue;
    for (const std::string_view member : ListMembers(value)) named.emplace_back(member);
  }
  for (const std::string& name : named) Remove(name);
  for (const char* name : {"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}) Remove(name);
  RemovePrefix("proxy-");
}

void Fields::RemovePrefix(std::string_view prefix) {
  std::erase_if(entries_, [prefix](const Entry& entry) { return StartsWithIgnoreCase(entry.first, prefix); });
}

}  // namespace dragonfly::daemon::proxy
