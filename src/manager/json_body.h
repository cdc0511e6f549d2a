// SPDX-License-Identifier: Apache-2.0
// Reads JSON bodies as Go's decoder does, within bounds. Only .cc files include this.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace dragonfly::manager {

// An object; an empty text is refused with "EOF". Bounds: 64 levels. Errors: INVALID_ARGUMENT.
absl::StatusOr<nlohmann::json> ParseBody(const std::string& text);
// The value of the key, whatever its case; null when it is missing or null.
const nlohmann::json* FindKey(const nlohmann::json& object, std::string_view key);

// What databases take as a text: UTF-8 without a zero. Errors: INVALID_ARGUMENT with the name.
absl::Status CheckText(std::string_view name, const std::string& text);
absl::StatusOr<std::string> TextOf(std::string_view name, const nlohmann::json& value);
absl::StatusOr<int64_t> NumberOf(std::string_view name, const nlohmann::json& value);
std::string DumpJson(const nlohmann::json& value);

// A time as of RFC 3339; false for anything else, "infinite-future" included, which absl::ParseTime() takes.
bool ParseTimeOf(const std::string& text, absl::Time* time);

}  // namespace dragonfly::manager
