// SPDX-License-Identifier: Apache-2.0
#include "base/backend_error.h"

#include <limits>
#include <nlohmann/json.hpp>

#include "absl/strings/cord.h"
#include "base/text.h"

namespace dragonfly {
namespace {

constexpr absl::string_view kPayloadType = "type.dragonfly/errordetails.v2.Backend";
constexpr size_t kJsonLengthMax = 1 << 20;

// The member `name` of `object`, or null when it is absent or null.
const nlohmann::json* Find(const nlohmann::json& object, const char* name) {
  const auto found = object.find(name);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

}  // namespace

std::string BackendError::ToJson() const {
  nlohmann::ordered_json object;
  object["message"] = message;
  object["header"] = nlohmann::ordered_json::object();
  for (const auto& [name, value] : header) object["header"][name] = value;
  object["status_code"] = nullptr;
  if (status_code) object["status_code"] = *status_code;
  // Origins send header values in any encoding; what is no UTF-8 becomes U+FFFD instead of an exception.
  return object.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

std::optional<BackendError> BackendError::FromJson(std::string_view json) {
  if (json.size() > kJsonLengthMax) return std::nullopt;
  const nlohmann::json object = nlohmann::json::parse(json, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) return std::nullopt;

  BackendError error;
  if (const nlohmann::json* message = Find(object, "message")) {
    if (!message->is_string()) return std::nullopt;
    error.message = message->get<std::string>();
  }
  if (const nlohmann::json* header = Find(object, "header")) {
    if (!header->is_object()) return std::nullopt;
    for (const auto& [name, value] : header->items()) {
      if (!value.is_string()) return std::nullopt;
      error.header[name] = value.get<std::string>();
    }
  }
  if (const nlohmann::json* code = Find(object, "status_code")) {
    if (!code->is_number_integer()) return std::nullopt;
    const auto value = code->get<double>();  // exact for every int; get<int64_t>() would wrap a larger number around
    if (value < std::numeric_limits<int>::min() || value > std::numeric_limits<int>::max()) return std::nullopt;
    error.status_code = static_cast<int>(value);
  }
  return error;
}

absl::Status MakeBackendErrorStatus(const BackendError& error) {
  absl::Status status = absl::InternalError(StrCat("backend error ", error.message));
  // As a view: Cord's constructor from std::string&& has another name in the library, which GCC built, than clang asks
  // for.
  status.SetPayload(kPayloadType, absl::Cord(ToAbsl(error.ToJson())));
  return status;
}

std::optional<BackendError> GetBackendError(const absl::Status& status) {
  const absl::optional<absl::Cord> payload = status.GetPayload(kPayloadType);
  if (!payload) return std::nullopt;
  return BackendError::FromJson(std::string(*payload));
}

}  // namespace dragonfly
