// SPDX-License-Identifier: Apache-2.0
// Sign-in by providers, as a browser goes through it.
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/manager/oidc_server.h"
#include "tests/unit/manager/rest_client.h"
#include "tests/unit/manager/running_manager.h"

namespace dragonfly::manager {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

class ProviderSignIn : public ::testing::TestWithParam<db::Engine> {
 protected:
  void SetUp() override {
    running_.Start();
    ASSERT_FALSE(HasFatalFailure());
    client_.emplace(running_.manager().rest_port());
    root_ = client_
                ->Call("POST", "/api/v1/users/signin",
                       json{{"name", "root"}, {"password", running_.manager().first_password()}}.dump())
                .json["token"];
    for (const char* const name : {"corp", "github"}) {
      const json row = {{"name", name},
                        {"client_id", StrCat(OidcServer::kClient, std::string(name) == "github" ? "-github" : "")},
                        {"client_secret", OidcServer::kSecret},
                        {"redirect_url", StrCat("http://manager.example/api/v1/users/signin/", name, "/callback")},
                        {"issuer", provider_.issuer()}};
      const RestReply made = client_->Call("POST", "/api/v1/oauth", row.dump(), root_);
      ASSERT_EQ(made.status, 200) << made.body;
    }
  }

  // Out to the provider; where it sends the browser back to.
  std::string GoOut(const std::string& name, std::string& cookie) {
    const RestReply out = client_->Call("GET", "/api/v1/users/signin/" + name);
    EXPECT_EQ(out.status, 302) << out.body;
    EXPECT_THAT(out.header.at("set-cookie"),
                AllOf(HasSubstr("HttpOnly"), HasSubstr("SameSite=Lax"), HasSubstr("Path=/api/v1/users/signin")));
    cookie = "dragonfly_sign_in=" + out.cookies.at("dragonfly_sign_in");
    std::string location = out.header.at("location");
    EXPECT_THAT(location, StartsWith(provider_.issuer()));
    EXPECT_THAT(location, Not(HasSubstr("s3cret")));
    location.erase(0, provider_.issuer().size());
    const std::string back = RestClient(PortOf(provider_.issuer())).Call("GET", location).header.at("location");
    const std::string host = "http://manager.example";
    EXPECT_THAT(back, StartsWith(host));
    return back.substr(host.size());
  }

  RestReply ComeBack(const std::string& target, const std::string& cookie) {
    return client_->Call("GET", target, "", "", {{"Cookie", cookie}});
  }

  RestReply SignIn(const std::string& name) {
    std::string cookie;
    const std::string target = GoOut(name, cookie);
    return ComeBack(target, cookie);
  }

  static uint16_t PortOf(const std::string& url) {
    return static_cast<uint16_t>(std::stoi(url.substr(url.rfind(':') + 1)));
  }

  // Of the session.
  json UserOf(const RestReply& reply) {
    const auto cookie = reply.cookies.find("jwt");
    if (cookie == reply.cookies.end()) return nullptr;
    const std::string& token = cookie->second;
    const size_t dot = token.find('.');
    const json claims = json::parse(Base64UrlDecode(token.substr(dot + 1, token.rfind('.') - dot - 1)));
    return client_->Call("GET", "/api/v1/users/" + claims["id"].dump(), "", token).json;
  }

  OidcServer provider_;
  RunningManager running_{GetParam()};
  std::optional<RestClient> client_;
  std::string root_;
};

TEST_P(ProviderSignIn, MakesAGuestAndKnowsThemAgain) {
  provider_.claims = {{"preferred_username", "ada"}, {"email", "ada@example.com"}, {"email_verified", true}};
  const RestReply first = SignIn("corp");
  ASSERT_EQ(first.status, 302) << first.body;
  EXPECT_EQ(first.header.at("location"), "/");
  const json user = UserOf(first);
  EXPECT_EQ(user["name"], "ada");
  EXPECT_EQ(user["email"], "ada@example.com");
  EXPECT_EQ(client_->Call("GET", "/api/v1/users/" + user["id"].dump() + "/roles", "", root_).json, json({"guest"}));
  // By the subject, whatever else has changed.
  provider_.claims = {{"preferred_username", "countess"}};
  EXPECT_EQ(UserOf(SignIn("corp"))["id"], user["id"]);
  // A name that is taken, and no address that is theirs.
  provider_.claims = {{"sub", "subject-2"}, {"preferred_username", "root"}, {"email", "root@x"}};
  const json other = UserOf(SignIn("corp"));
  EXPECT_EQ(other["name"], "root-corp");
  EXPECT_THAT(other["email"].get<std::string>(), HasSubstr("@corp.invalid"));
}

TEST_P(ProviderSignIn, LeavesAccountsWithAPasswordAlone) {
  const json account = {{"name", "alice"}, {"password", "correct horse"}, {"email", "alice@example.com"}};
  ASSERT_EQ(client_->Call("POST", "/api/v1/users/signup", account.dump()).status, 200);
  provider_.claims = {{"preferred_username", "alice"}, {"email", "alice@example.com"}, {"email_verified", true}};
  const RestReply refused = SignIn("corp");
  EXPECT_EQ(refused.status, 409) << refused.body;
  EXPECT_TRUE(refused.cookies.empty());
}

TEST_P(ProviderSignIn, KnowsAccountsOfGithub) {
  const RestReply row = client_->Call("GET", "/api/v1/oauth?name=github", "", root_);
  // The provider knows one client only.
  const json change = {{"client_id", OidcServer::kClient}, {"client_secret", OidcServer::kSecret}};
  const RestReply corp = client_->Call("GET", "/api/v1/oauth?name=corp", "", root_);
  ASSERT_EQ(client_->Call("DELETE", "/api/v1/oauth/" + corp.json[0]["id"].dump(), "", root_).status, 200);
  ASSERT_EQ(client_->Call("PATCH", "/api/v1/oauth/" + row.json[0]["id"].dump(), change.dump(), root_).status, 200);
  // Neither a public name nor an address: what the original falls over.
  const json user = UserOf(SignIn("github"));
  EXPECT_EQ(user["name"], "octo");
  provider_.github_user["login"] = "renamed";
  provider_.github_emails = {{{"email", "octo@example.com"}, {"primary", true}, {"verified", true}}};
  EXPECT_EQ(UserOf(SignIn("github"))["id"], user["id"]);
  provider_.github_user["id"] = 78;
  EXPECT_EQ(UserOf(SignIn("github"))["email"], "octo@example.com");
}

INSTANTIATE_TEST_SUITE_P(Engines, ProviderSignIn,
                         ::testing::Values(db::Engine::kSqlite, db::Engine::kPostgres, db::Engine::kMysql),
                         [](const auto& info) { return std::string(db::NameOf(info.param)); });

class ProviderSignInRules : public ProviderSignIn {};

TEST_P(ProviderSignInRules, TakesAnswersOnlyFromTheBrowserThatWasSent) {
  std::string cookie;
  const std::string target = GoOut("corp", cookie);
  // Another browser, which was handed the address: this is how a victim is signed in as somebody else.
  EXPECT_EQ(ComeBack(target, "").status, 401);
  std::string own;
  GoOut("corp", own);
  EXPECT_EQ(ComeBack(target, own).status, 401);
  // Another state, another provider.
  EXPECT_EQ(ComeBack(target + "x", cookie).status, 401);
  std::string elsewhere = target;
  elsewhere.replace(elsewhere.find("corp"), 4, "github");
  EXPECT_EQ(ComeBack(elsewhere, cookie).status, 401);
}

TEST_P(ProviderSignInRules, TakesACodeOnce) {
  std::string cookie;
  const std::string target = GoOut("corp", cookie);
  EXPECT_EQ(ComeBack(target, cookie).status, 302);
  EXPECT_EQ(ComeBack(target, cookie).status, 401);
}

TEST_P(ProviderSignInRules, ChecksTheTokenOfTheIssuer) {
  const auto refused = [&](const char* what) {
    const RestReply reply = SignIn("corp");
    EXPECT_EQ(reply.status, 401) << what << reply.body;
    EXPECT_FALSE(reply.cookies.contains("jwt")) << what;
    provider_.claims = json::object();
    provider_.algorithm = "RS256";
    provider_.sign_by_another = false;
    // Else the throttle would answer for the check.
    running_.Stop();
    running_.Start();
    client_.emplace(running_.manager().rest_port());
  };
  provider_.sign_by_another = true;
  refused("key");
  provider_.algorithm = "none";
  refused("none");
  provider_.algorithm = "HS256";
  refused("HS256");
  provider_.claims = {{"nonce", "another"}};
  refused("nonce");
  provider_.claims = {{"aud", "another"}};
  refused("audience");
  provider_.claims = {{"aud", json::array({OidcServer::kClient, "another"})}};
  refused("authorized party");
  provider_.claims = {{"iss", "https://another.example"}};
  refused("issuer");
  provider_.claims = {{"exp", 1}};
  refused("expiry");
  provider_.claims = {{"sub", ""}};
  refused("subject");
  EXPECT_EQ(SignIn("corp").status, 302);
}

TEST_P(ProviderSignInRules, RefusesWhoIsDisabledAndTellsTheAudit) {
  const json user = UserOf(SignIn("corp"));
  ASSERT_TRUE(user.is_object());
  const auto audited = [&](const std::string& query) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(15);
    for (;;) {
      const json audits = client_->Call("GET", "/api/v1/audits?" + query, "", root_).json;
      if (!audits.empty() || std::chrono::steady_clock::now() > deadline) return audits;
      std::this_thread::yield();
    }
  };
  EXPECT_EQ(audited("state=SUCCESS&actor_name=" + user["name"].get<std::string>()).size(), 1);
}

TEST_P(ProviderSignInRules, AnswersWhatIsNotThere) {
  EXPECT_EQ(client_->Call("GET", "/api/v1/users/signin/google").status, 404);
  EXPECT_EQ(client_->Call("GET", "/api/v1/users/signin/corp/callback").status, 422);
  EXPECT_EQ(client_->Call("GET", "/api/v1/users/signin/corp/callback?error=access_denied").status, 401);
}

TEST_P(ProviderSignInRules, RefusesProvidersThatCannotBeTrusted) {
  const auto refused = [&](const json& change) {
    json row = {{"name", "x"}, {"client_id", "c"}, {"client_secret", "s"}};
    row.merge_patch(change);
    const RestReply reply = client_->Call("POST", "/api/v1/oauth", row.dump(), root_);
    EXPECT_EQ(reply.status, 422) << row << reply.body;
    return reply.body;
  };
  EXPECT_THAT(refused(json::object()), HasSubstr("issuer: is required"));
  EXPECT_THAT(refused({{"issuer", "http://accounts.example.com"}}), HasSubstr("https"));
  EXPECT_THAT(refused({{"issuer", "https://user:pw@accounts.example.com"}}), HasSubstr("user and password"));
  EXPECT_THAT(refused({{"name", "../x"}, {"issuer", "https://a.example"}}), HasSubstr("name"));
}

INSTANTIATE_TEST_SUITE_P(Engines, ProviderSignInRules, ::testing::Values(db::Engine::kSqlite),
                         [](const auto& info) { return std::string(db::NameOf(info.param)); });

}  // namespace
}  // namespace dragonfly::manager
