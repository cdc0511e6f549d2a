// SPDX-License-Identifier: Apache-2.0
#include "jobs/origin_members.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/escaping.h"
#include "base/status.h"
#include "base/text.h"

namespace dragonfly::jobs {

absl::Status ReadHeaders(const Json& json, const char* name, std::map<std::string, std::string>& headers) {
  const Json* const object = Find(json, name);
  if (object == nullptr) return absl::OkStatus();
  if (!object->is_object()) return absl::InvalidArgumentError(StrCat(name, ": is no object"));
  for (const auto& [header, value] : object->items()) {
    if (!value.is_string()) return absl::InvalidArgumentError(StrCat(name, ": ", Quoted(header), " is no text"));
    headers[header] = value.get<std::string>();
  }
  return absl::OkStatus();
}

absl::Status ReadCertificates(const Json& json, const char* name, std::vector<std::string>& chain) {
  std::vector<std::string> encoded;
  DF_RETURN_IF_ERROR(Read(json, name, encoded));
  for (const std::string& text : encoded) {
    std::string bytes;
    if (!absl::Base64Unescape(text, &bytes)) return absl::InvalidArgumentError(StrCat(name, ": is no base64"));
    chain.push_back(std::move(bytes));
  }
  return absl::OkStatus();
}

absl::Status ReadObject(const Json& json, const char* name, std::optional<std::string>& text) {
  const Json* const object = Find(json, name);
  if (object == nullptr) return absl::OkStatus();
  if (!object->is_object()) return absl::InvalidArgumentError(StrCat(name, ": is no object"));
  text = Dump(*object);
  return absl::OkStatus();
}

Json ShowCertificates(const std::vector<std::string>& chain) {
  Json shown = nullptr;
  for (const std::string& certificate : chain) shown.push_back(std::string(absl::Base64Escape(certificate)));
  return shown;
}

void SetObject(Json& json, const char* name, const std::optional<std::string>& text) {
  if (text.has_value()) json[name] = Json::parse(*text, nullptr, /*allow_exceptions=*/false);
}

}  // namespace dragonfly::jobs
