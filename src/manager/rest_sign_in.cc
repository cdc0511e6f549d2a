// SPDX-License-Identifier: Apache-2.0
// Sign-in by a provider. Routes and answers: dragonfly v2.3.0, manager/handlers/user.go; what a browser brings back is
// taken only when the same browser was sent out from here, which the original does not look at.
#include <optional>
#include <utility>

#include "base/status.h"
#include "base/text.h"
#include "manager/rest_handlers.h"
#include "manager/secret.h"
#include "manager/sign_in_provider.h"
#include "telemetry/log.h"

namespace dragonfly::manager {
namespace {

namespace asio = boost::asio;

constexpr char kTicketCookie[] = "dragonfly_sign_in";
constexpr char kTicketPath[] = "/api/v1/users/signin";
constexpr size_t kCodeMax = 4096;

std::string TicketCookie(const RestCall& call, const std::string& ticket) {
  const int64_t seconds = ticket.empty() ? 0 : absl::ToInt64Seconds(kSignInTime);
  // Lax: it must come along when the provider sends the browser back.
  return StrCat(kTicketCookie, "=", ticket, "; Path=", kTicketPath, "; Max-Age=", seconds, "; HttpOnly; SameSite=Lax",
                call.secure ? "; Secure" : "");
}

asio::awaitable<absl::StatusOr<SignInProvider>> FindProvider(RestContext& context, std::string name) {
  const db::Database::Work<SignInProvider> find = [name](db::Connection& connection) -> absl::StatusOr<SignInProvider> {
    DF_ASSIGN_OR_RETURN(const db::Rows rows,
                        connection.Select({"name", "client_id", "client_secret", "redirect_url", "issuer"},
                                          "FROM oauth WHERE name = ? AND is_del = 0", {name}));
    if (rows.empty()) return absl::NotFoundError("record not found");
    const db::Row& row = rows.front();
    return SignInProvider{row.Text(0), row.Text(1), row.Text(2), row.Text(3), row.Text(4)};
  };
  co_return co_await context.database.Run<SignInProvider>(find, Clock::now() + std::chrono::seconds(30));
}

// What the provider did wrong is for the log, and none of the browser's business.
absl::Status Told(const std::string& name, const absl::Status& error) {
  if (absl::IsUnauthenticated(error) || absl::IsFailedPrecondition(error) || absl::IsResourceExhausted(error)) {
    DF_LOG(Info, "sign-in by {}: {}", name, MessageOf(error));
    return error;
  }
  return absl::UnavailableError(StrCat("sign-in by ", name, ": ", MessageOf(error)));
}

// A name that nobody has: their own, with the provider's, or with a number that is theirs alone.
absl::StatusOr<std::string> FreeName(db::Connection& connection, const std::string& provider,
                                     const Identity& identity) {
  const std::string number = Sha256Hex(StrCat(provider, "\n", identity.subject)).substr(0, 16);
  std::vector<std::string> names;
  if (!identity.name.empty()) names = {identity.name, StrCat(identity.name.substr(0, 160), "-", provider)};
  names.push_back(StrCat(provider, "-", number));
  for (const std::string& name : names) {
    DF_ASSIGN_OR_RETURN(const db::Rows rows, connection.Select({"id"}, "FROM \"user\" WHERE name = ?", {name}));
    if (rows.empty()) return name;
  }
  return absl::AlreadyExistsError("the names of this account are taken");
}

absl::StatusOr<int64_t> MakeUser(db::Connection& connection, const std::string& provider, const Identity& identity) {
  const std::string now = db::TimeText(absl::Now());
  std::string email = identity.email;
  // The column is unique.
  if (email.empty()) {
    email = StrCat(Sha256Hex(StrCat(provider, "\n", identity.subject)).substr(0, 32), "@", provider, ".invalid");
  }
  DF_ASSIGN_OR_RETURN(const std::string name, FreeName(connection, provider, identity));
  DF_ASSIGN_OR_RETURN(
      const int64_t id,
      connection.Insert("INSERT INTO \"user\" (created_at, updated_at, is_del, email, name, encrypted_password, phone, "
                        "avatar, location, bio, private_token, state) VALUES (?, ?, 0, ?, ?, '', '', ?, '', '', '', "
                        "'enable')",
                        {now, now, email, name, identity.avatar}));
  DF_RETURN_IF_ERROR(AddRoleRow(connection, std::to_string(id), "guest").status());
  return id;
}

struct Account {
  int64_t id = 0;
  std::string name;
};

// Their user: the one they had the last time, one that the original has made for their address, or a new one. An
// address alone opens no account that has a password.
absl::StatusOr<Account> FindOrMakeUser(db::Connection& connection, const SignInProvider& provider,
                                       const Identity& identity) {
  const std::string realm = provider.Realm();
  DF_ASSIGN_OR_RETURN(const db::Rows known,
                      connection.Select({"user_id"}, "FROM dragonfly_identity WHERE provider = ? AND subject = ?",
                                        {realm, identity.subject}));
  int64_t id = known.empty() ? 0 : known.front().Int(0);
  if (known.empty()) {
    if (!identity.email.empty()) {
      DF_ASSIGN_OR_RETURN(const db::Rows same,
                          connection.Select({"id", "encrypted_password"},
                                            "FROM \"user\" WHERE email = ? AND is_del = 0", {identity.email}));
      if (!same.empty()) {
        DF_ASSIGN_OR_RETURN(
            const db::Rows taken,
            connection.Select({"subject"}, "FROM dragonfly_identity WHERE user_id = ?", {same.front().Int(0)}));
        if (!same.front().Text(1).empty() || !taken.empty()) {
          return absl::FailedPreconditionError("the address of this account belongs to another user");
        }
        id = same.front().Int(0);
      }
    }
    if (id == 0) {
      DF_ASSIGN_OR_RETURN(id, MakeUser(connection, provider.name, identity));
    }
    DF_RETURN_IF_ERROR(connection
                           .Execute("INSERT INTO dragonfly_identity (provider, subject, user_id) VALUES (?, ?, ?)",
                                    {realm, identity.subject, id})
                           .status());
  }
  DF_ASSIGN_OR_RETURN(const db::Rows rows,
                      connection.Select({"name", "state"}, "FROM \"user\" WHERE id = ? AND is_del = 0", {id}));
  if (rows.empty() || rows.front().Text(1) == "disable") return absl::UnauthenticatedError("Unauthorized");
  return Account{id, rows.front().Text(0)};
}

asio::awaitable<absl::StatusOr<Account>> SignInBy(RestContext& context, SignInProvider provider, RestCall call) {
  const auto given = call.query.find("code");
  const std::string code = given->second;
  DF_CO_ASSIGN_OR_RETURN(const SignInSecrets secrets, SignInSecrets::Of(CookieIn(call.cookie, kTicketCookie),
                                                                        provider.name, context.jwt_key, absl::Now()));
  const auto state = call.query.find("state");
  if (state == call.query.end() || !EqualInConstantTime(state->second, secrets.state)) {
    co_return absl::UnauthenticatedError("this browser has not begun a sign-in here");
  }
  const auto identity = co_await FetchIdentity(context.web, provider, secrets, code);
  if (!identity.ok()) co_return Told(provider.name, identity.status());
  const db::Database::Work<Account> find = [provider, who = *identity](db::Connection& connection) {
    return FindOrMakeUser(connection, provider, who);
  };
  auto account = co_await context.Do<Account>(find);
  // Another manager has made the same user just now.
  if (absl::IsAlreadyExists(account.status())) account = co_await context.Do<Account>(find);
  co_return account;
}

}  // namespace

asio::awaitable<RestAnswer> BeginProviderSignIn(RestContext& context, RestCall call) {
  DF_CO_ASSIGN_OR_RETURN(const SignInProvider provider, co_await FindProvider(context, call.params.at("name")));
  const absl::Time now = absl::Now();
  const std::string ticket = SignInSecrets::NewTicket(now);
  DF_CO_ASSIGN_OR_RETURN(const SignInSecrets secrets, SignInSecrets::Of(ticket, provider.name, context.jwt_key, now));
  auto url = co_await AuthorizationUrl(context.web, provider, secrets);
  if (!url.ok()) co_return Told(provider.name, url.status());
  http::Response response = RedirectResponse(*std::move(url));
  response.header.emplace_back("Set-Cookie", TicketCookie(call, ticket));
  co_return response;
}

asio::awaitable<RestAnswer> EndProviderSignIn(RestContext& context, RestCall call) {
  const std::string key = "provider sign-in";
  if (!context.throttle.Admits(call.client, key, Clock::now())) {
    co_return absl::ResourceExhaustedError("too many attempts, try again in a minute");
  }
  const auto refusal = call.query.find("error");
  if (refusal != call.query.end()) {
    co_return absl::UnauthenticatedError(StrCat("the provider has refused: ", Quoted(refusal->second)));
  }
  const auto code = call.query.find("code");
  if (code == call.query.end() || code->second.empty() || code->second.size() > kCodeMax) {
    co_return absl::InvalidArgumentError(
        "Key: 'UserOauthSigninCallbackQuery.Code' Error:Field validation for 'Code' failed on the 'required' tag");
  }
  DF_CO_ASSIGN_OR_RETURN(const SignInProvider provider, co_await FindProvider(context, call.params.at("name")));
  const auto account = co_await SignInBy(context, provider, call);
  AuditEntry entry{"USER",     account.ok() ? account->name : provider.name, call.method, call.path, 302, call.client,
                   absl::Now()};
  if (!account.ok()) {
    entry.actor_type = "UNKNOWN";
    entry.status = ErrorResponse(account.status()).status;
    context.throttle.CountFailure(call.client, key, Clock::now());
  }
  context.audit.Add(std::move(entry));
  if (!account.ok()) co_return account.status();
  http::Response response = RedirectResponse("/");
  response.header.emplace_back("Set-Cookie", SessionCookie(context, call, account->id));
  response.header.emplace_back("Set-Cookie", TicketCookie(call, ""));
  co_return response;
}

}  // namespace dragonfly::manager
