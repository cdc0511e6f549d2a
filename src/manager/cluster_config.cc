// SPDX-License-Identifier: Apache-2.0
#include "manager/cluster_config.h"

#include <re2/re2.h>

#include <boost/asio/ip/network_v4.hpp>
#include <boost/asio/ip/network_v6.hpp>
#include <nlohmann/json.hpp>

#include "base/text.h"

namespace dragonfly::manager {
namespace {

using nlohmann::json;
using Wrong = std::optional<std::string>;

constexpr size_t kListMax = 1000;
constexpr size_t kRegexMax = 1024;

json Parsed(const std::string& text) { return json::parse(text, nullptr, /*allow_exceptions=*/false); }

// Absent, null and 0 stand for the default.
Wrong CheckNumber(const json& object, const char* key, int64_t min, int64_t max) {
  const auto found = object.find(key);
  if (found == object.end() || found->is_null() || *found == 0) return std::nullopt;
  if (found->is_number_integer() && *found >= min && *found <= max) return std::nullopt;
  return StrCat(key, " is no number from ", min, " to ", max);
}

Wrong CheckTexts(const json& object, const char* key, Wrong (*check)(const std::string&)) {
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return std::nullopt;
  if (!found->is_array() || found->size() > kListMax) return StrCat(key, " is no list of at most ", kListMax);
  for (const json& element : *found) {
    if (!element.is_string()) return StrCat(key, " has an element that is no text");
    if (Wrong wrong = check(element.get_ref<const std::string&>())) return StrCat(key, ": ", *wrong);
  }
  return std::nullopt;
}

Wrong CheckNetwork(const std::string& text) {
  boost::system::error_code error;
  boost::asio::ip::make_network_v4(text, error);
  if (!error) return std::nullopt;
  boost::asio::ip::make_network_v6(text, error);
  if (!error) return std::nullopt;
  return StrCat(Quoted(text), " is no network, like 10.0.0.0/8");
}

Wrong CheckRegex(const std::string& text) {
  if (text.size() > kRegexMax) return StrCat("a regular expression is longer than ", kRegexMax, " bytes");
  const RE2 regex(text, RE2::Quiet);
  if (regex.ok()) return std::nullopt;
  return StrCat(Quoted(text), ": ", regex.error());
}

Wrong CheckTtl(const json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_object()) return StrCat(key, " is missing");
  const auto ttl = found->find("ttl");
  if (ttl == found->end() || !ttl->is_number_integer() || *ttl <= 0 || *ttl > INT64_MAX) {
    return StrCat(key, ".ttl is no number of nanoseconds above 0");
  }
  return std::nullopt;
}

}  // namespace

Wrong CheckSchedulerClusterConfig(const std::string& text) {
  const json object = Parsed(text);
  if (!object.is_object()) return "is no object";
  if (Wrong wrong = CheckNumber(object, "candidate_parent_limit", 1, 20)) return wrong;
  if (Wrong wrong = CheckNumber(object, "filter_parent_limit", 10, 1000)) return wrong;
  return CheckNumber(object, "job_rate_limit", 1, 1'000'000);
}

Wrong CheckPeerClusterConfig(const std::string& text) {
  const json object = Parsed(text);
  if (!object.is_object()) return "is no object";
  return CheckNumber(object, "load_limit", 1, 2000);
}

Wrong CheckSeedPeerClusterConfig(const std::string& text) {
  const json object = Parsed(text);
  if (!object.is_object()) return "is no object";
  return CheckNumber(object, "load_limit", 1, 50'000);
}

Wrong CheckScopes(const std::string& text) {
  const json object = Parsed(text);
  if (!object.is_object()) return "is no object";
  for (const char* const key : {"idc", "location"}) {
    const auto found = object.find(key);
    if (found != object.end() && !found->is_null() && !found->is_string()) return StrCat(key, " is no text");
  }
  if (Wrong wrong = CheckTexts(object, "cidrs", CheckNetwork)) return wrong;
  return CheckTexts(object, "hostnames", CheckRegex);
}

Wrong CheckPriority(const std::string& text) {
  const json object = Parsed(text);
  if (!object.is_object()) return "is no object";
  const auto value = object.find("value");
  if (value == object.end() || !value->is_number_integer() || *value < 0 || *value > 20) {
    return "value is no number from 0 to 20";
  }
  const auto urls = object.find("urls");
  if (urls == object.end() || urls->is_null()) return std::nullopt;
  if (!urls->is_array() || urls->size() > kListMax) return StrCat("urls is no list of at most ", kListMax);
  for (const json& url : *urls) {
    if (!url.is_object()) return "urls has an element that is no object";
    const auto regex = url.find("regex");
    if (regex == url.end() || !regex->is_string()) return "urls has an element without a regex";
    if (Wrong wrong = CheckRegex(regex->get_ref<const std::string&>())) return StrCat("urls: ", *wrong);
    if (Wrong wrong = CheckNumber(url, "value", 0, 20)) return StrCat("urls: ", *wrong);
  }
  return std::nullopt;
}

Wrong CheckTokenScopes(const std::string& text) {
  const json list = Parsed(text);
  if (!list.is_array() || list.empty()) return "is no list with an element";
  for (const json& scope : list) {
    if (scope != "job" && scope != "cluster") return "knows only job and cluster";
  }
  return std::nullopt;
}

Wrong CheckGcConfig(const std::string& text) {
  const json object = Parsed(text);
  if (!object.is_object()) return "is no JSON object";
  if (Wrong wrong = CheckTtl(object, "audit")) return wrong;
  return CheckTtl(object, "job");
}

}  // namespace dragonfly::manager
