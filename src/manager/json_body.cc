// SPDX-License-Identifier: Apache-2.0
#include "manager/json_body.h"

#include <nlohmann/json.hpp>

#include "base/status.h"
#include "base/text.h"

namespace dragonfly::manager {
namespace {

using nlohmann::json;

constexpr int kDepthMax = 64;

}  // namespace

absl::StatusOr<json> ParseBody(const std::string& text) {
  if (TrimSpace(text).empty()) return absl::InvalidArgumentError("EOF");
  bool too_deep = false;
  const json body = json::parse(
      text,
      [&too_deep](int depth, json::parse_event_t, json&) {
        too_deep |= depth > kDepthMax;
        return !too_deep;
      },
      /*allow_exceptions=*/false);
  if (too_deep) return absl::InvalidArgumentError("the body is nested too deeply");
  if (body.is_discarded()) return absl::InvalidArgumentError("the body is no JSON");
  if (!body.is_object()) return absl::InvalidArgumentError("the body is no JSON object");
  return body;
}

const json* FindKey(const json& object, std::string_view key) {
  const auto exact = object.find(std::string(key));
  if (exact != object.end()) return exact->is_null() ? nullptr : &*exact;
  for (auto it = object.begin(); it != object.end(); ++it) {
    if (EqualsIgnoreCase(it.key(), key)) return it->is_null() ? nullptr : &*it;
  }
  return nullptr;
}

absl::Status CheckText(std::string_view name, const std::string& text) {
  if (text.find('\0') != std::string::npos) return absl::InvalidArgumentError(StrCat(name, ": has a zero byte"));
  // By the library, which throws for anything else.
  try {
    (void)json(text).dump();
  } catch (const json::exception&) {
    return absl::InvalidArgumentError(StrCat(name, ": is not UTF-8"));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> TextOf(std::string_view name, const json& value) {
  if (!value.is_string()) return absl::InvalidArgumentError(StrCat(name, ": is no text"));
  std::string text = value.get<std::string>();
  DF_RETURN_IF_ERROR(CheckText(name, text));
  return text;
}

absl::StatusOr<int64_t> NumberOf(std::string_view name, const json& value) {
  if (value.is_number_unsigned() && value.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)) {
    return absl::InvalidArgumentError(StrCat(name, ": is too large"));
  }
  if (value.is_number_integer()) return value.get<int64_t>();
  return absl::InvalidArgumentError(StrCat(name, ": is no whole number"));
}

bool ParseTimeOf(const std::string& text, absl::Time* time) {
  return absl::ParseTime(absl::RFC3339_full, text, time, nullptr) && *time != absl::InfiniteFuture() &&
         *time != absl::InfinitePast();
}

std::string DumpJson(const json& value) { return value.dump(-1, ' ', false, json::error_handler_t::replace); }

}  // namespace dragonfly::manager
