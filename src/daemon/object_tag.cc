// SPDX-License-Identifier: Apache-2.0
#include "daemon/object_tag.h"

#include <optional>
#include <utility>

#include "base/digest.h"
#include "base/text.h"
#include "source/source.h"

namespace dragonfly::daemon {

namespace {

constexpr size_t kPartLength = 16;

std::string Part(std::string_view text) { return text.empty() ? "" : Sha256Hex(text).substr(0, kPartLength); }

// nullopt for what is no tag.
std::optional<std::pair<std::string_view, std::string_view>> Split(std::string_view tag) {
  const size_t dash = tag.find('-');
  if (dash == tag.npos || tag.size() > 2 * kPartLength + 1) return std::nullopt;
  return std::pair(tag.substr(0, dash), tag.substr(dash + 1));
}

}  // namespace

std::string ObjectTag(const std::map<std::string, std::string>& response_header) {
  source::OriginStat stat;
  stat.header = response_header;
  const source::ObjectVersion version = source::VersionOf(stat);
  if (version.etag.empty() && version.last_modified.empty()) return "";
  return StrCat(Part(version.etag), "-", Part(version.last_modified));
}

bool TagsDiffer(std::string_view a, std::string_view b) {
  const auto one = Split(a);
  const auto other = Split(b);
  if (!one || !other) return false;
  if (!one->second.empty() && !other->second.empty()) return one->second != other->second;
  return !one->first.empty() && !other->first.empty() && one->first != other->first;
}

}  // namespace dragonfly::daemon
