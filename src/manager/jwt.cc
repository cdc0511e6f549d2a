// SPDX-License-Identifier: Apache-2.0
#include "manager/jwt.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/text.h"
#include "manager/secret.h"

namespace dragonfly::manager {
namespace {

using nlohmann::json;

constexpr size_t kTokenMax = 4096;
constexpr char kHeader[] = R"({"alg":"HS256","typ":"JWT"})";

absl::Status Refused() { return absl::UnauthenticatedError("the token is not valid"); }

std::optional<int64_t> NumberAt(const json& claims, const char* name) {
  const auto found = claims.find(name);
  if (found == claims.end() || !found->is_number()) return std::nullopt;
  const double value = found->get<double>();
  if (!(std::abs(value) < 1e15)) return std::nullopt;
  return static_cast<int64_t>(value);
}

}  // namespace

std::string SignToken(const Claims& claims, std::string_view key) {
  const json payload = {{"id", claims.user_id},
                        {"exp", absl::ToUnixSeconds(claims.expires)},
                        {"orig_iat", absl::ToUnixSeconds(claims.signed_at)}};
  const std::string signed_part = StrCat(Base64Url(kHeader), ".", Base64Url(payload.dump()));
  return StrCat(signed_part, ".", Base64Url(HmacSha256(key, signed_part)));
}

absl::StatusOr<Claims> ParseToken(std::string_view token, std::string_view key) {
  const size_t first = token.find('.');
  const size_t last = token.rfind('.');
  if (token.size() > kTokenMax || first == std::string_view::npos || first == last) return Refused();
  const std::string_view signed_part = token.substr(0, last);
  // The signature before anything that it vouches for.
  if (!EqualInConstantTime(Base64Url(HmacSha256(key, signed_part)), token.substr(last + 1))) return Refused();
  const json header = json::parse(Base64UrlDecode(token.substr(0, first)), nullptr, /*allow_exceptions=*/false);
  if (!header.is_object() || header.value("alg", json()) != json("HS256")) return Refused();
  const json payload =
      json::parse(Base64UrlDecode(token.substr(first + 1, last - first - 1)), nullptr, /*allow_exceptions=*/false);
  if (!payload.is_object()) return Refused();
  const auto id = NumberAt(payload, "id");
  const auto expires = NumberAt(payload, "exp");
  const auto signed_at = NumberAt(payload, "orig_iat");
  if (!id.has_value() || !expires.has_value() || !signed_at.has_value()) return Refused();
  return Claims{*id, absl::FromUnixSeconds(*expires), absl::FromUnixSeconds(*signed_at)};
}

}  // namespace dragonfly::manager
