// SPDX-License-Identifier: Apache-2.0
#include "jobs/json.h"

#include <nlohmann/json.hpp>

#include "base/json_bounds.h"
#include "base/status.h"
#include "base/text.h"

namespace dragonfly::jobs {
namespace {

absl::Status Wrong(const char* name, std::string_view kind) {
  return absl::InvalidArgumentError(StrCat(name, ": is no ", kind));
}

}  // namespace

absl::StatusOr<Json> ParseObject(std::string_view text, std::string_view what, size_t max) {
  if (text.size() > max) return absl::InvalidArgumentError(StrCat(what, ": is too large"));
  if (!IsBoundedJson(text)) {
    return absl::InvalidArgumentError(StrCat(what, ": is nested too deeply or has too many values"));
  }
  Json value = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!value.is_object()) return absl::InvalidArgumentError(StrCat(what, ": is no JSON object"));
  return value;
}

std::string Dump(const Json& value) { return value.dump(-1, ' ', false, Json::error_handler_t::replace); }

const Json* Find(const Json& object, const char* name) {
  const auto found = object.find(name);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

absl::Status Read(const Json& object, const char* name, std::string& value) {
  const Json* const member = Find(object, name);
  if (member == nullptr) return absl::OkStatus();
  if (!member->is_string()) return Wrong(name, "text");
  value = member->get<std::string>();
  return absl::OkStatus();
}

absl::Status Read(const Json& object, const char* name, bool& value) {
  const Json* const member = Find(object, name);
  if (member == nullptr) return absl::OkStatus();
  if (!member->is_boolean()) return Wrong(name, "true or false");
  value = member->get<bool>();
  return absl::OkStatus();
}

absl::Status Read(const Json& object, const char* name, int64_t& value) {
  const Json* const member = Find(object, name);
  if (member == nullptr) return absl::OkStatus();
  if (member->is_number_unsigned() && member->get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)) {
    return Wrong(name, "whole number of 64 bits");
  }
  if (!member->is_number_integer()) return Wrong(name, "whole number");
  value = member->get<int64_t>();
  return absl::OkStatus();
}

absl::Status Read(const Json& object, const char* name, std::optional<std::string>& value) {
  if (Find(object, name) == nullptr) return absl::OkStatus();
  value.emplace();
  return Read(object, name, *value);
}

absl::Status Read(const Json& object, const char* name, std::optional<uint64_t>& value) {
  const Json* const member = Find(object, name);
  if (member == nullptr) return absl::OkStatus();
  if (!member->is_number_unsigned()) return Wrong(name, "whole number of 0 or more");
  value = member->get<uint64_t>();
  return absl::OkStatus();
}

absl::Status Read(const Json& object, const char* name, std::vector<std::string>& value) {
  const Json* const member = Find(object, name);
  if (member == nullptr) return absl::OkStatus();
  if (!member->is_array()) return Wrong(name, "list");
  value.clear();
  for (const Json& entry : *member) {
    if (!entry.is_string()) return Wrong(name, "list of texts");
    value.push_back(entry.get<std::string>());
  }
  return absl::OkStatus();
}

std::string GoTime(absl::Time time) { return absl::FormatTime("%Y-%m-%dT%H:%M:%E*SZ", time, absl::UTCTimeZone()); }

absl::Time ParseGoTime(std::string_view text) {
  absl::Time time = absl::UnixEpoch();
  std::string error;
  return absl::ParseTime(absl::RFC3339_full, ToAbsl(text), &time, &error) ? time : absl::UnixEpoch();
}

}  // namespace dragonfly::jobs
