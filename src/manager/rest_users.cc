// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/status.h"
#include "base/text.h"
#include "manager/cluster_config.h"
#include "manager/json_body.h"
#include "manager/jwt.h"
#include "manager/password.h"
#include "manager/resource.h"
#include "manager/rest_handlers.h"
#include "manager/secret.h"

namespace dragonfly::manager {
namespace {

namespace asio = boost::asio;
using nlohmann::json;

constexpr size_t kNameMin = 3;
constexpr size_t kNameMax = 256;
constexpr size_t kPasswordMin = 8;
constexpr size_t kPasswordMax = 72;
// Of no password: what is compared when there is no such user, so that both take as long.
constexpr char kNobodysHash[] = "$2a$10$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";
constexpr char kTooOften[] = "too many attempts, try again in a minute";

absl::Status Unauthorized() { return absl::UnauthenticatedError("Unauthorized"); }

absl::StatusOr<std::string> RequiredText(const json& body, const char* key, size_t min, size_t max) {
  const json* const value = FindKey(body, key);
  if (value == nullptr) return absl::InvalidArgumentError(StrCat(key, ": is required"));
  DF_ASSIGN_OR_RETURN(std::string text, TextOf(key, *value));
  if (text.size() < min || text.size() > max) {
    return absl::InvalidArgumentError(StrCat(key, ": must have ", min, " to ", max, " bytes"));
  }
  return text;
}

absl::StatusOr<std::string> OptionalText(const json& body, const char* key) {
  const json* const value = FindKey(body, key);
  if (value == nullptr) return std::string();
  DF_ASSIGN_OR_RETURN(std::string text, TextOf(key, *value));
  if (text.size() > kNameMax) return absl::InvalidArgumentError(StrCat(key, ": is longer than ", kNameMax, " bytes"));
  return text;
}

std::string CookieOf(const RestCall& call, const std::string& token, int64_t seconds) {
  // Readable by the console, which finds the user's id in it.
  return StrCat("jwt=", token, "; Path=/; Max-Age=", seconds, "; SameSite=Lax", call.secure ? "; Secure" : "");
}

asio::awaitable<absl::StatusOr<bool>> Matches(RestContext& context, std::string password, std::string hash) {
  const std::function<absl::StatusOr<bool>()> match = [password, hash]() -> absl::StatusOr<bool> {
    return PasswordMatches(password, hash);
  };
  co_return co_await context.passwords.Run<bool>(match);
}

asio::awaitable<absl::StatusOr<std::string>> Hashed(RestContext& context, std::string password) {
  const std::function<absl::StatusOr<std::string>()> hash = [password] { return HashPassword(password); };
  co_return co_await context.passwords.Run<std::string>(hash);
}

struct Account {
  int64_t id = 0;
  std::string name, hash, state;
};

// By name, or by id when the name is empty; id 0 when there is none.
asio::awaitable<absl::StatusOr<Account>> FindAccount(RestContext& context, std::string name, int64_t id) {
  const db::Database::Work<Account> find = [name, id](db::Connection& connection) -> absl::StatusOr<Account> {
    const std::string where = name.empty() ? "id = ?" : "name = ?";
    const db::Value value = name.empty() ? db::Value(id) : db::Value(name);
    DF_ASSIGN_OR_RETURN(const db::Rows rows,
                        connection.Select({"id", "name", "encrypted_password", "state"},
                                          StrCat("FROM \"user\" WHERE ", where, " AND is_del = 0"), {value}));
    if (rows.empty()) return Account();
    return Account{rows.front().Int(0), rows.front().Text(1), rows.front().Text(2), rows.front().Text(3)};
  };
  co_return co_await context.database.Run<Account>(find, Clock::now() + std::chrono::seconds(30));
}

// The account, when the password is its own.
asio::awaitable<absl::StatusOr<Account>> CheckPassword(RestContext& context, const RestCall& call, std::string name,
                                                       int64_t id, std::string password) {
  const std::string key = name.empty() ? std::to_string(id) : name;
  if (!context.throttle.Admits(call.client, key, Clock::now())) co_return absl::ResourceExhaustedError(kTooOften);
  DF_CO_ASSIGN_OR_RETURN(Account account, co_await FindAccount(context, name, id));
  const std::string hash = account.id == 0 || account.hash.empty() ? kNobodysHash : account.hash;
  DF_CO_ASSIGN_OR_RETURN(const bool matches, co_await Matches(context, password, hash));
  if (!matches || account.id == 0 || account.state == "disable") {
    context.throttle.CountFailure(call.client, key, Clock::now());
    co_return Unauthorized();
  }
  co_return account;
}

struct Session {
  std::string token;
  absl::Time expires;
};

Session NewSession(const RestContext& context, int64_t user_id) {
  const absl::Time now = absl::Now();
  const absl::Time expires = now + context.config.auth.jwt_timeout;
  return {SignToken(Claims{user_id, expires, now}, context.jwt_key), expires};
}

}  // namespace

std::string SessionCookie(const RestContext& context, const RestCall& call, int64_t user_id) {
  return CookieOf(call, NewSession(context, user_id).token, absl::ToInt64Seconds(context.config.auth.jwt_timeout));
}

http::Response TokenResponse(const RestContext& context, const RestCall& call, int64_t user_id) {
  const Session session = NewSession(context, user_id);
  http::Response response = JsonResponse(
      DumpJson(json{{"token", session.token},
                    {"expire", absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", session.expires, absl::UTCTimeZone())}}));
  response.header.emplace_back("Set-Cookie",
                               CookieOf(call, session.token, absl::ToInt64Seconds(context.config.auth.jwt_timeout)));
  return response;
}

absl::StatusOr<bool> AddRoleRow(db::Connection& connection, const std::string& user, const std::string& role) {
  DF_ASSIGN_OR_RETURN(
      const db::Rows rows,
      connection.Select({"v1"}, "FROM casbin_rule WHERE ptype = 'g' AND v0 = ? AND v1 = ?", {user, role}));
  // MySQL finds "root" by "ROOT", too.
  for (const db::Row& row : rows) {
    if (row.Text(0) == role) return false;
  }
  DF_RETURN_IF_ERROR(
      connection
          .Execute("INSERT INTO casbin_rule (ptype, v0, v1, v2, v3, v4, v5) VALUES ('g', ?, ?, '', '', '', '')",
                   {user, role})
          .status());
  return true;
}

asio::awaitable<RestAnswer> SignIn(RestContext& context, RestCall call) {
  const auto body = ParseBody(call.body);
  if (!body.ok()) co_return Unauthorized();
  const auto name = RequiredText(*body, "name", 1, kNameMax);
  const auto password = RequiredText(*body, "password", 1, kPasswordMax);
  if (!name.ok() || !password.ok()) co_return Unauthorized();
  const auto account = co_await CheckPassword(context, call, *name, 0, *password);
  AuditEntry entry{"USER", *name, call.method, call.path, 200, call.client, absl::Now()};
  if (!account.ok()) {
    entry.actor_type = "UNKNOWN";
    entry.status = absl::IsResourceExhausted(account.status()) ? 429 : 401;
  }
  // What is refused for its number would fill the log.
  if (entry.status != 429) context.audit.Add(std::move(entry));
  if (!account.ok()) co_return account.status();
  co_return TokenResponse(context, call, account->id);
}

asio::awaitable<RestAnswer> SignOut(RestContext&, RestCall call) {
  http::Response response = EmptyResponse();
  response.header.emplace_back("Set-Cookie", CookieOf(call, "", 0));
  co_return response;
}

asio::awaitable<RestAnswer> SignUp(RestContext& context, RestCall call) {
  if (!context.config.auth.allow_sign_up) co_return absl::PermissionDeniedError("sign-up is switched off");
  // An account costs a hash.
  const std::string key = "sign-up";
  if (!context.throttle.Admits(call.client, key, Clock::now())) co_return absl::ResourceExhaustedError(kTooOften);
  context.throttle.CountFailure(call.client, key, Clock::now());
  DF_CO_ASSIGN_OR_RETURN(const json body, ParseBody(call.body));
  DF_CO_ASSIGN_OR_RETURN(const std::string name, RequiredText(body, "name", kNameMin, kNameMax));
  DF_CO_ASSIGN_OR_RETURN(const std::string password, RequiredText(body, "password", kPasswordMin, kPasswordMax));
  DF_CO_ASSIGN_OR_RETURN(const std::string email, RequiredText(body, "email", 3, kNameMax));
  const size_t at = email.find('@');
  if (at == 0 || at == std::string::npos || at + 1 == email.size()) {
    co_return absl::InvalidArgumentError("email: is no address");
  }
  std::map<std::string, std::string> others;
  for (const char* const other : {"phone", "avatar", "location", "bio"}) {
    DF_CO_ASSIGN_OR_RETURN(others[other], OptionalText(body, other));
  }
  DF_CO_ASSIGN_OR_RETURN(const std::string hash, co_await Hashed(context, password));
  const db::Database::Work<std::string> create = [=](db::Connection& connection) -> absl::StatusOr<std::string> {
    const std::string now = db::TimeText(absl::Now());
    DF_ASSIGN_OR_RETURN(
        const int64_t id,
        connection.Insert(
            "INSERT INTO \"user\" (created_at, updated_at, is_del, email, name, encrypted_password, phone, "
            "avatar, location, bio, private_token, state) VALUES (?, ?, 0, ?, ?, ?, ?, ?, ?, ?, '', "
            "'enable')",
            {now, now, email, name, hash, others.at("phone"), others.at("avatar"), others.at("location"),
             others.at("bio")}));
    DF_RETURN_IF_ERROR(AddRoleRow(connection, std::to_string(id), "guest").status());
    return ShowRow(connection, *FindResource("users"), id);
  };
  auto shown = co_await context.Do<std::string>(create);
  context.audit.Add({"UNKNOWN", name, call.method, call.path, shown.ok() ? 200 : ErrorResponse(shown.status()).status,
                     call.client, absl::Now()});
  if (!shown.ok()) co_return shown.status();
  co_return JsonResponse(*std::move(shown));
}

asio::awaitable<RestAnswer> RefreshToken(RestContext& context, RestCall call) {
  const auto claims = ParseToken(call.token, context.jwt_key);
  if (!claims.ok() || absl::Now() > claims->signed_at + context.config.auth.jwt_max_refresh) co_return Unauthorized();
  DF_CO_ASSIGN_OR_RETURN(const Account account, co_await FindAccount(context, "", claims->user_id));
  if (account.id == 0 || account.state == "disable") co_return Unauthorized();
  co_return TokenResponse(context, call, account.id);
}

asio::awaitable<RestAnswer> ResetPassword(RestContext& context, RestCall call) {
  DF_CO_ASSIGN_OR_RETURN(const int64_t id, call.Id());
  DF_CO_ASSIGN_OR_RETURN(const json body, ParseBody(call.body));
  DF_CO_ASSIGN_OR_RETURN(const std::string old_password, RequiredText(body, "old_password", 1, kPasswordMax));
  DF_CO_ASSIGN_OR_RETURN(const std::string new_password,
                         RequiredText(body, "new_password", kPasswordMin, kPasswordMax));
  const auto account = co_await CheckPassword(context, call, "", id, old_password);
  AuditEntry entry{"UNKNOWN",
                   account.ok() ? account->name : std::to_string(id),
                   call.method,
                   call.path,
                   account.ok() ? 200 : 401,
                   call.client,
                   absl::Now()};
  if (!absl::IsResourceExhausted(account.status())) context.audit.Add(std::move(entry));
  if (!account.ok()) co_return account.status();
  DF_CO_ASSIGN_OR_RETURN(const std::string hash, co_await Hashed(context, new_password));
  const db::Database::Work<int64_t> update = [id, hash](db::Connection& connection) {
    return connection.Execute("UPDATE \"user\" SET encrypted_password = ?, updated_at = ? WHERE id = ?",
                              {hash, db::TimeText(absl::Now()), id});
  };
  DF_CO_RETURN_IF_ERROR((co_await context.Do<int64_t>(update)).status());
  co_return EmptyResponse();
}

asio::awaitable<RestAnswer> ListUserRoles(RestContext& context, RestCall call) {
  DF_CO_ASSIGN_OR_RETURN(const int64_t id, call.Id());
  const db::Database::Work<db::Rows> list = [id](db::Connection& connection) {
    return connection.Select({"v1"}, "FROM casbin_rule WHERE ptype = 'g' AND v0 = ? ORDER BY id", {std::to_string(id)});
  };
  DF_CO_ASSIGN_OR_RETURN(const db::Rows rows, co_await context.Read<db::Rows>(list));
  json roles = json::array();
  for (const db::Row& row : rows) roles.push_back(row.Text(0));
  co_return JsonResponse(DumpJson(roles));
}

asio::awaitable<RestAnswer> AddUserRole(RestContext& context, RestCall call) {
  DF_CO_ASSIGN_OR_RETURN(const int64_t id, call.Id());
  const std::string role = call.params.at("role");
  const db::Database::Work<bool> add = [id, role](db::Connection& connection) -> absl::StatusOr<bool> {
    DF_RETURN_IF_ERROR(ShowRow(connection, *FindResource("users"), id).status());
    DF_ASSIGN_OR_RETURN(const db::Rows known,
                        connection.Select({"v0"}, "FROM casbin_rule WHERE ptype = 'p' AND v0 = ?", {role}));
    const bool exists =
        std::any_of(known.begin(), known.end(), [&](const db::Row& row) { return row.Text(0) == role; });
    if (!exists) return absl::NotFoundError("record not found");
    return AddRoleRow(connection, std::to_string(id), role);
  };
  DF_CO_ASSIGN_OR_RETURN(const bool added, co_await context.Do<bool>(add));
  if (!added) co_return absl::AlreadyExistsError("");
  co_return EmptyResponse();
}

asio::awaitable<RestAnswer> DeleteUserRole(RestContext& context, RestCall call) {
  DF_CO_ASSIGN_OR_RETURN(const int64_t id, call.Id());
  const std::string role = call.params.at("role");
  const db::Database::Work<int64_t> remove = [id, role](db::Connection& connection) -> absl::StatusOr<int64_t> {
    DF_ASSIGN_OR_RETURN(const db::Rows rows,
                        connection.Select({"id", "v1"}, "FROM casbin_rule WHERE ptype = 'g' AND v0 = ? AND v1 = ?",
                                          {std::to_string(id), role}));
    int64_t deleted = 0;
    for (const db::Row& row : rows) {
      if (row.Text(1) != role) continue;
      DF_ASSIGN_OR_RETURN(const int64_t count,
                          connection.Execute("DELETE FROM casbin_rule WHERE id = ?", {row.Int(0)}));
      deleted += count;
    }
    return deleted;
  };
  DF_CO_ASSIGN_OR_RETURN(const int64_t removed, co_await context.Do<int64_t>(remove));
  if (removed == 0) co_return absl::NotFoundError("record not found");
  co_return EmptyResponse();
}

asio::awaitable<RestAnswer> CreateAccessToken(RestContext& context, RestCall call) {
  DF_CO_ASSIGN_OR_RETURN(const json body, ParseBody(call.body));
  DF_CO_ASSIGN_OR_RETURN(const std::string name, RequiredText(body, "name", 1, kNameMax));
  DF_CO_ASSIGN_OR_RETURN(const std::string bio, OptionalText(body, "bio"));
  DF_CO_ASSIGN_OR_RETURN(const std::string expired_at, RequiredText(body, "expired_at", 1, kNameMax));
  absl::Time expires;
  if (!ParseTimeOf(expired_at, &expires)) {
    co_return absl::InvalidArgumentError("expired_at: is no time as of RFC 3339");
  }
  std::string scopes = R"(["job","cluster"])";
  if (const json* const given = FindKey(body, "scopes")) {
    scopes = DumpJson(*given);
    if (const auto wrong = CheckTokenScopes(scopes)) {
      co_return absl::InvalidArgumentError(StrCat("scopes: ", *wrong));
    }
  }
  const std::string token = Base64Url(RandomBytes(36));
  const int64_t user_id = call.caller.user_id;
  const db::Database::Work<std::string> create = [=](db::Connection& connection) -> absl::StatusOr<std::string> {
    const std::string now = db::TimeText(absl::Now());
    DF_ASSIGN_OR_RETURN(
        const int64_t id,
        connection.Insert(
            "INSERT INTO personal_access_token (created_at, updated_at, is_del, name, bio, token, scopes, "
            "state, expired_at, user_id) VALUES (?, ?, 0, ?, ?, ?, ?, 'active', ?, ?)",
            {now, now, name, bio, StrCat("sha256:", Sha256Hex(token)), scopes, db::TimeText(expires), user_id}));
    return ShowRow(connection, *FindResource("personal-access-tokens"), id);
  };
  DF_CO_ASSIGN_OR_RETURN(const std::string shown, co_await context.Do<std::string>(create));
  nlohmann::ordered_json object = nlohmann::ordered_json::parse(shown);
  object["token"] = token;
  co_return JsonResponse(object.dump());
}

}  // namespace dragonfly::manager
