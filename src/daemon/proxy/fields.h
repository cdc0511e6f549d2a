// SPDX-License-Identifier: Apache-2.0
// The header fields of one HTTP message, in their order.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace dragonfly::daemon::proxy {

// Names are kept as they came and compared without regard to case.
class Fields {
 public:
  using Entry = std::pair<std::string, std::string>;

  void Add(std::string_view name, std::string_view value) { entries_.emplace_back(name, value); }
  // In place of all fields of that name.
  void Set(std::string_view name, std::string_view value);
  void Remove(std::string_view name);
  // The first value of that name; nullopt without one.
  std::optional<std::string_view> Find(std::string_view name) const;
  // The values of all fields of that name as one list (RFC 9110 §5.3); nullopt without one.
  std::optional<std::string> Joined(std::string_view name) const;
  size_t Count(std::string_view name) const;
  // True when the comma-separated list of field `name` has `token` as a member.
  bool HasToken(std::string_view name, std::string_view token) const;

  // Removes what belongs to one connection only (RFC 9110 §7.6.1): Connection and the names it lists, Keep-Alive, TE,
  // Trailer, Transfer-Encoding, Upgrade, Proxy-*.
  void RemoveHopByHop();
  // Removes every field whose name begins with `prefix`.
  void RemovePrefix(std::string_view prefix);

  const std::vector<Entry>& entries() const { return entries_; }

 private:
  std::vector<Entry> entries_;
};

// The members of a comma-separated list, trimmed, empty ones left out.
std::vector<std::string_view> ListMembers(std::string_view list);

}  // namespace dragonfly::daemon::proxy
