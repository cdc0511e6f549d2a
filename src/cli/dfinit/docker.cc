// SPDX-License-Identifier: Apache-2.0
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "base/status.h"
#include "base/text.h"
#include "cli/dfinit/plan.h"

namespace dragonfly::cli {
namespace {

using Json = nlohmann::ordered_json;

const char* const kKeys[] = {"http-proxy", "https-proxy"};

// A missing or blank file is an empty object.
absl::StatusOr<Json> ParseObject(const std::optional<std::string>& text, const std::string& path) {
  if (!text || TrimSpace(*text).empty()) return Json::object();
  Json json = Json::parse(*text, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) {
    // Only the exception knows the place.
    try {
      json = Json::parse(*text);
    } catch (const Json::exception& error) {
      return absl::InvalidArgumentError(StrCat(path, ": ", error.what()));
    }
  }
  if (!json.is_object()) return absl::InvalidArgumentError(StrCat(path, ": holds no JSON object"));
  if (json.contains("proxies") && !json["proxies"].is_object()) {
    return absl::InvalidArgumentError(StrCat(path, ": proxies is no JSON object"));
  }
  return json;
}

// As the file is written: with the indentation of its first indented line.
std::string Format(const Json& json, const std::optional<std::string>& like) {
  int width = 2;
  char fill = ' ';
  bool line_end = true;
  if (like && !TrimSpace(*like).empty()) {
    const size_t line = like->find('\n');
    const size_t text = line == std::string::npos ? line : like->find_first_not_of(" \t", line + 1);
    if (text == std::string::npos) {
      width = -1;
    } else if (text > line + 1) {
      width = static_cast<int>(text - line - 1);
      fill = (*like)[line + 1];
    }
    line_end = like->ends_with('\n');
  }
  return json.dump(width, fill, false, Json::error_handler_t::replace) + (line_end ? "\n" : "");
}

Json WithProxies(Json json, const std::string& url) {
  for (const char* key : kKeys) json["proxies"][key] = url;
  return json;
}

// Takes our values out of `json`, and brings back those of `original`.
Json WithoutProxies(Json json, const Json& original, const std::string& url) {
  if (!json.contains("proxies")) return json;
  Json& proxies = json["proxies"];
  for (const char* key : kKeys) {
    if (!proxies.contains(key) || proxies[key] != url) continue;
    if (original.contains("proxies") && original["proxies"].contains(key)) {
      proxies[key] = original["proxies"][key];
    } else {
      proxies.erase(key);
    }
  }
  if (proxies.empty() && !original.contains("proxies")) json.erase("proxies");
  return json;
}

}  // namespace

absl::Status PlanDocker(const DockerConfig& docker, const std::string& proxy_host_port, Plan& plan) {
  DF_ASSIGN_OR_RETURN(const std::optional<std::string> current, plan.files.Read(docker.config_path));
  DF_ASSIGN_OR_RETURN(const Json before, ParseObject(current, docker.config_path));
  Json after = WithProxies(before, StrCat("http://", proxy_host_port));
  plan.read_at_start.emplace_back(docker.config_path, "docker");
  if (after == before) return absl::OkStatus();
  if (current) plan.files.KeepOriginal(docker.config_path);
  if (!before.contains("proxies")) {
    plan.warnings.push_back(
        StrCat(docker.config_path, ": a Docker older than version 23 does not start with `proxies` in this file"));
  }
  return plan.files.Write(docker.config_path, Format(after, current));
}

absl::Status PlanDockerUninstall(const DockerConfig& docker, const std::string& proxy_host_port, Plan& plan) {
  const std::string& path = docker.config_path;
  const std::string url = StrCat("http://", proxy_host_port);
  DF_ASSIGN_OR_RETURN(const std::optional<std::string> current, plan.files.Read(path));
  if (!current) return absl::OkStatus();
  DF_ASSIGN_OR_RETURN(const Json json, ParseObject(current, path));
  DF_ASSIGN_OR_RETURN(const std::optional<std::string> kept, plan.files.Read(HostFiles::OriginalOf(path)));
  DF_ASSIGN_OR_RETURN(const Json original, ParseObject(kept, HostFiles::OriginalOf(path)));
  plan.read_at_start.emplace_back(path, "docker");

  Json after = WithoutProxies(json, original, url);
  std::optional<std::string> text = Format(after, current);
  if (kept && after == original) {
    text = kept;
  } else if (!kept && after.empty() && after != json) {
    text = std::nullopt;
  } else if (after == json) {
    text = current;
  }
  DF_RETURN_IF_ERROR(plan.files.Write(path, std::move(text)));
  if (kept) return plan.files.Write(HostFiles::OriginalOf(path), std::nullopt);
  return absl::OkStatus();
}

}  // namespace dragonfly::cli
