// SPDX-License-Identifier: Apache-2.0
// Who calls, and what they may do. Read anew with every request: what is taken away is gone at once, on all managers.
#include <nlohmann/json.hpp>

#include "base/status.h"
#include "base/text.h"
#include "manager/jwt.h"
#include "manager/rest_handlers.h"
#include "manager/secret.h"

namespace dragonfly::manager {
namespace {

namespace asio = boost::asio;
using nlohmann::json;

absl::Status Unauthorized() { return absl::UnauthenticatedError("Unauthorized"); }

}  // namespace

asio::awaitable<absl::StatusOr<Caller>> Authenticate(RestContext& context, const RestCall& call) {
  if (call.token.empty()) co_return Unauthorized();
  const auto claims = ParseToken(call.token, context.jwt_key);
  if (!claims.ok() || claims->expires <= absl::Now()) co_return Unauthorized();
  DF_CO_ASSIGN_OR_RETURN(UserRights user,
                         co_await context.identities.Read(claims->user_id, Clock::now() + std::chrono::seconds(30)));
  if (!user.enabled) co_return Unauthorized();
  const std::string name = user.name;
  co_return Caller{Caller::Kind::kUser, claims->user_id, name, std::move(user)};
}

absl::Status Authorize(const Caller& caller, const std::string& object, const std::string& action) {
  return caller.rights.May(object, action) ? absl::OkStatus() : absl::PermissionDeniedError("permission deny");
}

asio::awaitable<absl::StatusOr<Caller>> AuthenticateAccessToken(RestContext& context, const RestCall& call,
                                                                const std::string& scope) {
  const std::string token = call.token;
  // The stored form of a token is none itself: who reads the database cannot call with what it finds there.
  if (token.empty() || token.size() > 256 || token.find(':') != std::string::npos) co_return Unauthorized();
  const db::Database::Work<db::Rows> find = [token](db::Connection& connection) {
    return connection.Select(
        {"t.name", "t.state", "t.expired_at", "t.scopes", "t.user_id", "t.token", "u.id", "u.state"},
        "FROM personal_access_token t LEFT JOIN \"user\" u ON u.id = t.user_id AND u.is_del = 0 "
        "WHERE (t.token = ? OR t.token = ?) AND t.is_del = 0",
        {StrCat("sha256:", Sha256Hex(token)), token});
  };
  DF_CO_ASSIGN_OR_RETURN(const db::Rows rows,
                         co_await context.database.Run<db::Rows>(find, Clock::now() + std::chrono::seconds(30)));
  if (rows.empty()) co_return Unauthorized();
  const db::Row& row = rows.front();
  // MySQL compares without case.
  if (!EqualInConstantTime(row.Text(5), StrCat("sha256:", Sha256Hex(token))) &&
      !EqualInConstantTime(row.Text(5), token)) {
    co_return Unauthorized();
  }
  if (row.Text(1) != "active") co_return absl::PermissionDeniedError("Token is inactive");
  // It does not outlive its user.
  if (row.IsNull(6) || row.Text(7) == "disable") {
    co_return absl::PermissionDeniedError("The user of the token is disabled");
  }
  const auto expires = row.Time(2);
  if (!expires.has_value() || *expires <= absl::Now()) co_return absl::PermissionDeniedError("Token has expired");
  const json scopes = json::parse(row.Text(3), nullptr, /*allow_exceptions=*/false);
  // Rows of early releases have none, and may do everything.
  bool allowed = scopes.is_null() || (scopes.is_array() && scopes.empty());
  if (scopes.is_array()) {
    for (const json& have : scopes) allowed |= have == scope;
  }
  if (!allowed) {
    co_return absl::PermissionDeniedError(
        StrCat("Token doesn't have permission to access this resource. Required permission: ", scope));
  }
  co_return Caller{Caller::Kind::kToken, row.Int(4), row.Text(0), {}};
}

}  // namespace dragonfly::manager
