// SPDX-License-Identifier: Apache-2.0
// JSON as Go writes and reads it. Internal to src/jobs; only .cc files include this.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "jobs/message.h"

namespace dragonfly::jobs {

using Json = nlohmann::ordered_json;

// An object within the bounds of base/json_bounds.h and of `max` bytes. Errors: INVALID_ARGUMENT beginning with `what`.
absl::StatusOr<Json> ParseObject(std::string_view text, std::string_view what, size_t max = kMessageMax);
// Bytes that are no UTF-8 are replaced.
std::string Dump(const Json& value);

// The member, or null when it is missing or null.
const Json* Find(const Json& object, const char* name);

// A member that is missing or null leaves the value alone. Errors: INVALID_ARGUMENT naming the member.
absl::Status Read(const Json& object, const char* name, std::string& value);
absl::Status Read(const Json& object, const char* name, bool& value);
absl::Status Read(const Json& object, const char* name, int64_t& value);
absl::Status Read(const Json& object, const char* name, std::optional<std::string>& value);
absl::Status Read(const Json& object, const char* name, std::optional<uint64_t>& value);
absl::Status Read(const Json& object, const char* name, std::vector<std::string>& value);

// RFC 3339 in UTC with as many digits as are needed, and back; what cannot be read is the epoch.
std::string GoTime(absl::Time time);
absl::Time ParseGoTime(std::string_view text);

}  // namespace dragonfly::jobs
