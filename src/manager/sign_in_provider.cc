// SPDX-License-Identifier: Apache-2.0
#include "manager/sign_in_provider.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "base/status.h"
#include "base/text.h"
#include "manager/secret.h"

namespace dragonfly::manager {
namespace {

namespace asio = boost::asio;
using nlohmann::json;
using Query = std::vector<std::pair<const char*, std::string>>;

constexpr char kGithub[] = "https://github.com";
constexpr char kGithubApi[] = "https://api.github.com";
constexpr char kGoogle[] = "https://accounts.google.com";
constexpr size_t kTicketMax = 128;
constexpr size_t kTextMax = 256;

bool IsGithub(const SignInProvider& provider) { return provider.name == "github"; }

std::string IssuerOf(const SignInProvider& provider) {
  return provider.issuer.empty() && provider.name == "google" ? kGoogle : provider.issuer;
}

std::string WithoutSlash(std::string text) {
  while (text.ends_with('/')) text.pop_back();
  return text;
}

std::string Encoded(std::string_view text) {
  static constexpr char kDigits[] = "0123456789ABCDEF";
  std::string encoded;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (absl::ascii_isalnum(byte) || c == '-' || c == '_' || c == '.' || c == '~') {
      encoded += c;
    } else {
      encoded += {'%', kDigits[byte >> 4], kDigits[byte & 15]};
    }
  }
  return encoded;
}

std::string Form(const Query& query) {
  std::string text;
  for (const auto& [name, value] : query) {
    if (!text.empty()) text += '&';
    text += StrCat(name, "=", Encoded(value));
  }
  return text;
}

std::string TextAt(const json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

absl::StatusOr<json> ParseObject(const std::string& what, const std::string& text) {
  json object = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) return absl::UnavailableError(StrCat(what, ": the answer is no JSON object"));
  return object;
}

struct Endpoints {
  std::string authorization, token, keys;
  bool basic = true;  // how the client says its secret: in a header, else in the form
};

asio::awaitable<absl::StatusOr<Endpoints>> Discover(WebClient& web, std::string issuer) {
  Endpoints endpoints;
  WebRequest request;
  request.url = StrCat(WithoutSlash(issuer), "/.well-known/openid-configuration");
  const std::string what = request.url;
  DF_CO_ASSIGN_OR_RETURN(const std::string text, co_await web.Fetch(std::move(request)));
  DF_CO_ASSIGN_OR_RETURN(const json found, ParseObject(what, text));
  // Else one issuer could speak for another.
  if (TextAt(found, "issuer") != issuer) {
    co_return absl::UnavailableError(StrCat(what, ": speaks for ", Quoted(TextAt(found, "issuer"))));
  }
  endpoints.authorization = TextAt(found, "authorization_endpoint");
  endpoints.token = TextAt(found, "token_endpoint");
  endpoints.keys = TextAt(found, "jwks_uri");
  for (const std::string* const url : {&endpoints.authorization, &endpoints.token, &endpoints.keys}) {
    const absl::Status usable = CheckProviderUrl(what, *url);
    if (!usable.ok()) co_return absl::UnavailableError(StrCat("names an address that cannot be used: ", *url));
  }
  const auto methods = found.find("token_endpoint_auth_methods_supported");
  if (methods != found.end() && methods->is_array()) {
    endpoints.basic = std::find(methods->begin(), methods->end(), "client_secret_basic") != methods->end();
  }
  co_return endpoints;
}

// The endpoints of GitHub, which is no issuer.
Endpoints OfGithub(const SignInProvider& provider) {
  const std::string base = provider.issuer.empty() ? kGithub : WithoutSlash(provider.issuer);
  Endpoints endpoints;
  endpoints.authorization = StrCat(base, "/login/oauth/authorize");
  endpoints.token = StrCat(base, "/login/oauth/access_token");
  endpoints.basic = false;
  return endpoints;
}

asio::awaitable<absl::StatusOr<json>> Exchange(WebClient& web, SignInProvider provider, Endpoints endpoints,
                                               SignInSecrets secrets, std::string code) {
  Query form = {{"grant_type", "authorization_code"},
                {"code", code},
                {"code_verifier", secrets.verifier},
                {"client_id", provider.client_id}};
  if (!provider.redirect_url.empty()) form.emplace_back("redirect_uri", provider.redirect_url);
  WebRequest request;
  request.method = "POST";
  request.url = endpoints.token;
  request.header = {{"Content-Type", "application/x-www-form-urlencoded"}, {"Accept", "application/json"}};
  if (endpoints.basic) {
    const std::string pair = StrCat(Encoded(provider.client_id), ":", Encoded(provider.client_secret));
    request.header.emplace_back("Authorization", StrCat("Basic ", absl::Base64Escape(pair)));
  } else {
    form.emplace_back("client_secret", provider.client_secret);
  }
  request.body = Form(form);
  const auto text = co_await web.Fetch(std::move(request));
  // A code that is wrong, was used, or is of another browser.
  if (absl::IsPermissionDenied(text.status())) co_return absl::UnauthenticatedError(ToAbsl(MessageOf(text.status())));
  if (!text.ok()) co_return text.status();
  DF_CO_ASSIGN_OR_RETURN(json answer, ParseObject(endpoints.token, *text));
  // GitHub says so with status 200.
  if (answer.contains("error")) {
    co_return absl::UnauthenticatedError(
        StrCat(endpoints.token, ": the code was refused: ", Quoted(TextAt(answer, "error"))));
  }
  co_return answer;
}

asio::awaitable<absl::StatusOr<json>> AskGithub(WebClient& web, std::string url, std::string token) {
  WebRequest request;
  request.url = url;
  request.header = {{"Authorization", StrCat("Bearer ", token)},
                    {"Accept", "application/vnd.github+json"},
                    {"User-Agent", "dragonfly-manager"}};
  DF_CO_ASSIGN_OR_RETURN(const std::string text, co_await web.Fetch(std::move(request)));
  co_return json::parse(text, nullptr, /*allow_exceptions=*/false);
}

asio::awaitable<absl::StatusOr<Identity>> IdentityOfGithub(WebClient& web, SignInProvider provider, std::string token) {
  if (token.empty()) co_return absl::UnauthenticatedError("GitHub has given no token");
  const std::string api =
      provider.issuer.empty() ? std::string(kGithubApi) : StrCat(WithoutSlash(provider.issuer), "/api/v3");
  DF_CO_ASSIGN_OR_RETURN(const json user, co_await AskGithub(web, StrCat(api, "/user"), token));
  if (!user.is_object() || !user.contains("id") || !user["id"].is_number_integer()) {
    co_return absl::UnavailableError(StrCat(api, "/user: the answer names nobody"));
  }
  Identity identity;
  identity.subject = user["id"].dump();
  // The public name may be missing, and may be that of many; the login is neither.
  identity.name = TextAt(user, "login");
  identity.avatar = TextAt(user, "avatar_url");
  // Without the right to see them, the account just has no address.
  const auto emails = co_await AskGithub(web, StrCat(api, "/user/emails"), token);
  if (emails.ok() && emails->is_array()) {
    for (const json& email : *emails) {
      if (!email.is_object() || email.value("verified", json()) != true || email.value("primary", json()) != true) {
        continue;
      }
      identity.email = TextAt(email, "email");
    }
  }
  for (std::string* const text : {&identity.name, &identity.email, &identity.avatar}) {
    if (text->size() > kTextMax) text->clear();
  }
  co_return identity;
}

}  // namespace

std::string SignInProvider::Realm() const { return StrCat(name, ":", Sha256Hex(IssuerOf(*this)).substr(0, 32)); }

std::string SignInSecrets::NewTicket(absl::Time now) {
  return StrCat(absl::ToUnixSeconds(now + kSignInTime), ".", Base64Url(RandomBytes(32)));
}

absl::StatusOr<SignInSecrets> SignInSecrets::Of(const std::string& ticket, std::string_view provider,
                                                std::string_view key, absl::Time now) {
  const size_t dot = ticket.find('.');
  if (dot == std::string::npos || ticket.size() > kTicketMax) {
    return absl::UnauthenticatedError("this browser has not begun a sign-in here");
  }
  const auto until = ParseDecimal<int64_t>(std::string_view(ticket).substr(0, dot));
  if (!until.has_value() || absl::FromUnixSeconds(*until) <= now || absl::FromUnixSeconds(*until) > now + kSignInTime) {
    return absl::UnauthenticatedError("the sign-in has taken too long, begin again");
  }
  const auto derive = [&](std::string_view purpose) {
    return Base64Url(HmacSha256(key, StrCat("dragonfly sign-in ", purpose, "\n", provider, "\n", ticket)));
  };
  SignInSecrets secrets;
  secrets.state = derive("state");
  secrets.nonce = derive("nonce");
  secrets.verifier = derive("verifier");
  return secrets;
}

absl::Status CheckProvider(const SignInProvider& provider) {
  const bool known = IsGithub(provider) || provider.name == "google";
  for (const char c : provider.name) {
    const auto byte = static_cast<unsigned char>(c);
    if (!absl::ascii_islower(byte) && !absl::ascii_isdigit(byte) && c != '-') {
      return absl::InvalidArgumentError(
          "name: may have small letters, digits and - only, since it is a part of a path");
    }
  }
  if (!known && provider.issuer.empty()) {
    return absl::InvalidArgumentError("issuer: is required for a name that is neither github nor google");
  }
  if (!provider.issuer.empty()) DF_RETURN_IF_ERROR(CheckProviderUrl("issuer", provider.issuer));
  return absl::OkStatus();
}

asio::awaitable<absl::StatusOr<std::string>> AuthorizationUrl(WebClient& web, SignInProvider provider,
                                                              SignInSecrets secrets) {
  Endpoints endpoints = OfGithub(provider);
  std::string scope = "read:user user:email";
  if (!IsGithub(provider)) {
    if (provider.redirect_url.empty()) {
      co_return absl::FailedPreconditionError(StrCat("the provider ", provider.name, " has no redirect_url"));
    }
    DF_CO_ASSIGN_OR_RETURN(endpoints, co_await Discover(web, IssuerOf(provider)));
    scope = "openid email profile";
  }
  Query query = {{"response_type", "code"},
                 {"client_id", provider.client_id},
                 {"scope", scope},
                 {"state", secrets.state},
                 {"code_challenge", Base64Url(Sha256(secrets.verifier))},
                 {"code_challenge_method", "S256"}};
  if (!provider.redirect_url.empty()) query.emplace_back("redirect_uri", provider.redirect_url);
  if (!IsGithub(provider)) query.emplace_back("nonce", secrets.nonce);
  const char* const joint = endpoints.authorization.find('?') == std::string::npos ? "?" : "&";
  co_return StrCat(endpoints.authorization, joint, Form(query));
}

asio::awaitable<absl::StatusOr<Identity>> FetchIdentity(WebClient& web, SignInProvider provider, SignInSecrets secrets,
                                                        std::string code) {
  if (IsGithub(provider)) {
    DF_CO_ASSIGN_OR_RETURN(const json answer,
                           co_await Exchange(web, provider, OfGithub(provider), secrets, std::move(code)));
    co_return co_await IdentityOfGithub(web, provider, TextAt(answer, "access_token"));
  }
  const std::string issuer = IssuerOf(provider);
  DF_CO_ASSIGN_OR_RETURN(const Endpoints endpoints, co_await Discover(web, issuer));
  DF_CO_ASSIGN_OR_RETURN(const json answer, co_await Exchange(web, provider, endpoints, secrets, std::move(code)));
  WebRequest request;
  request.url = endpoints.keys;
  DF_CO_ASSIGN_OR_RETURN(const std::string keys, co_await web.Fetch(std::move(request)));
  co_return ReadIdToken(TextAt(answer, "id_token"), keys,
                        IdTokenRules{issuer, provider.client_id, secrets.nonce, absl::Now()});
}

}  // namespace dragonfly::manager
