// SPDX-License-Identifier: Apache-2.0
// A provider of sign-in on loopback: an issuer of OpenID Connect that checks what it is asked (client, PKCE, redirect,
// codes that are good once) and signs its ID tokens, and the few pages of GitHub.
#pragma once

#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>

#include <map>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/escaping.h"
#include "absl/time/clock.h"
#include "base/text.h"
#include "gtest/gtest.h"
#include "http/router.h"
#include "manager/secret.h"
#include "runtime/io_threads.h"
#include "tests/unit/runtime/run_coroutine.h"

namespace dragonfly::manager {

class OidcServer {
 public:
  static constexpr char kClient[] = "dragonfly";
  static constexpr char kSecret[] = "s3cret/of the client";

  OidcServer() : key_(EVP_RSA_gen(2048)), other_key_(EVP_RSA_gen(2048)) {
    http::Router router;
    const auto on = [&](const char* method, const char* path,
                        http::Response (OidcServer::*page)(const http::Request&)) {
      router.On(method, path, [this, page](http::Request request) -> boost::asio::awaitable<http::Response> {
        co_return (this->*page)(request);
      });
    };
    on("GET", "/.well-known/openid-configuration", &OidcServer::Discovery);
    on("GET", "/authorize", &OidcServer::Authorize);
    on("POST", "/token", &OidcServer::Token);
    on("GET", "/keys", &OidcServer::Keys);
    on("GET", "/login/oauth/authorize", &OidcServer::Authorize);
    on("POST", "/login/oauth/access_token", &OidcServer::GithubToken);
    on("GET", "/api/v3/user", &OidcServer::GithubUser);
    on("GET", "/api/v3/user/emails", &OidcServer::GithubEmails);
    http::ServerOptions options;
    options.ip = "127.0.0.1";
    auto started = http::Server::Start(options, io_, std::move(router));
    if (!started.ok()) throw std::runtime_error(started.status().ToString());
    server_ = *std::move(started);
  }
  ~OidcServer() {
    runtime::RunOn(io_.At(0), server_->Stop());
    EVP_PKEY_free(key_);
    EVP_PKEY_free(other_key_);
  }

  std::string issuer() const { return StrCat("http://127.0.0.1:", server_->port()); }

  // Of the next token. Claims that are null are left out.
  nlohmann::json claims = nlohmann::json::object();
  std::string algorithm = "RS256";
  bool sign_by_another = false;
  // Who is signed in at "GitHub".
  nlohmann::json github_user = {{"id", 77}, {"login", "octo"}, {"name", nullptr}, {"email", nullptr}};
  nlohmann::json github_emails = nlohmann::json::array();

 private:
  struct Grant {
    std::string challenge, nonce, redirect_uri;
  };

  static http::Response Json(const nlohmann::json& value, int status = 200) {
    http::Response response;
    response.status = status;
    response.content_type = "application/json";
    response.body = value.dump();
    return response;
  }

  http::Response Discovery(const http::Request&) {
    return Json({{"issuer", issuer()},
                 {"authorization_endpoint", issuer() + "/authorize"},
                 {"token_endpoint", issuer() + "/token"},
                 {"jwks_uri", issuer() + "/keys"}});
  }

  // The user consents at once.
  http::Response Authorize(const http::Request& request) {
    const std::map<std::string, std::string> query = http::ParseTarget(request.target).query;
    const auto at = [&](const char* name) {
      const auto found = query.find(name);
      return found == query.end() ? std::string() : found->second;
    };
    EXPECT_EQ(at("client_id"), kClient);
    EXPECT_EQ(at("response_type"), "code");
    EXPECT_EQ(at("code_challenge_method"), "S256");
    EXPECT_GE(at("state").size(), 43u);
    const std::string code = Base64Url(RandomBytes(16));
    grants_[code] = Grant{at("code_challenge"), at("nonce"), at("redirect_uri")};
    http::Response response;
    response.status = 302;
    response.header.emplace_back("Location", StrCat(at("redirect_uri"), "?code=", code, "&state=", at("state")));
    return response;
  }

  static std::map<std::string, std::string> FormOf(const http::Request& request) {
    return http::ParseTarget("/?" + request.body).query;
  }

  // What the code was for; null for one that is not, or used, or asked for by who cannot prove it.
  std::unique_ptr<Grant> Redeem(std::map<std::string, std::string> form) {
    const auto found = grants_.find(form["code"]);
    if (found == grants_.end()) return nullptr;
    auto grant = std::make_unique<Grant>(found->second);
    grants_.erase(found);
    if (Base64Url(Sha256(form["code_verifier"])) != grant->challenge) return nullptr;
    if (form["redirect_uri"] != grant->redirect_uri || form["client_id"] != kClient) return nullptr;
    return grant;
  }

  http::Response Token(const http::Request& request) {
    std::string basic;
    absl::Base64Unescape(std::string(request.Find("authorization").substr(6)), &basic);
    // As a form is encoded, says RFC 6749.
    if (basic != StrCat(kClient, ":s3cret%2Fof%20the%20client")) return Json({{"error", "invalid_client"}}, 401);
    const auto grant = Redeem(FormOf(request));
    if (grant == nullptr) return Json({{"error", "invalid_grant"}}, 400);
    return Json({{"access_token", "a"}, {"token_type", "Bearer"}, {"id_token", IdToken(*grant)}});
  }

  std::string IdToken(const Grant& grant) {
    const int64_t now = absl::ToUnixSeconds(absl::Now());
    nlohmann::json payload = {{"iss", issuer()}, {"aud", kClient},       {"exp", now + 300},
                              {"iat", now},      {"nonce", grant.nonce}, {"sub", "subject-1"}};
    payload.merge_patch(claims);
    const std::string text =
        StrCat(Base64Url(nlohmann::json({{"alg", algorithm}, {"kid", "k1"}}).dump()), ".", Base64Url(payload.dump()));
    EVP_MD_CTX* const context = EVP_MD_CTX_new();
    size_t size = 0;
    EVP_DigestSignInit(context, nullptr, EVP_sha256(), nullptr, sign_by_another ? other_key_ : key_);
    const auto* const bytes = reinterpret_cast<const unsigned char*>(text.data());
    EVP_DigestSign(context, nullptr, &size, bytes, text.size());
    std::string signature(size, '\0');
    EVP_DigestSign(context, reinterpret_cast<unsigned char*>(signature.data()), &size, bytes, text.size());
    EVP_MD_CTX_free(context);
    if (algorithm == "none") signature.clear();
    return StrCat(text, ".", Base64Url(signature));
  }

  std::string NumberOf(const char* name) const {
    BIGNUM* number = nullptr;
    EVP_PKEY_get_bn_param(key_, name, &number);
    std::string bytes(static_cast<size_t>(BN_num_bytes(number)), '\0');
    BN_bn2bin(number, reinterpret_cast<unsigned char*>(bytes.data()));
    BN_free(number);
    return Base64Url(bytes);
  }

  http::Response Keys(const http::Request&) {
    return Json({{"keys",
                  {{{"kty", "oct"}, {"kid", "k0"}},
                   {{"kty", "RSA"},
                    {"kid", "k1"},
                    {"use", "sig"},
                    {"n", NumberOf(OSSL_PKEY_PARAM_RSA_N)},
                    {"e", NumberOf(OSSL_PKEY_PARAM_RSA_E)}}}}});
  }

  http::Response GithubToken(const http::Request& request) {
    std::map<std::string, std::string> form = FormOf(request);
    // With status 200, as GitHub does.
    if (form["client_secret"] != kSecret || Redeem(form) == nullptr) return Json({{"error", "bad_verification_code"}});
    return Json({{"access_token", "gho_1"}, {"token_type", "bearer"}});
  }
  http::Response GithubUser(const http::Request& request) {
    return request.Find("authorization") == "Bearer gho_1" ? Json(github_user) : Json({}, 401);
  }
  http::Response GithubEmails(const http::Request&) { return Json(github_emails); }

  EVP_PKEY* const key_;
  EVP_PKEY* const other_key_;
  std::map<std::string, Grant> grants_;  // of the server's thread
  runtime::IoThreads io_{1};
  std::unique_ptr<http::Server> server_;
};

}  // namespace dragonfly::manager
