// SPDX-License-Identifier: Apache-2.0
// The REST API as its own description says it is: every operation with right and wrong input, with right and missing
// rights, over each database; and a walk at random.
#include <chrono>
#include <functional>
#include <random>
#include <set>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "manager/rest_api.h"
#include "tests/unit/manager/rest_client.h"
#include "tests/unit/manager/running_manager.h"

namespace dragonfly::manager {
namespace {

using nlohmann::json;
using ::testing::AnyOf;
using ::testing::Eq;
using ::testing::HasSubstr;
using ::testing::Lt;
using ::testing::Not;

// A body that is right, for each operation that takes one. "<id>" of a path is that of the row made by the POST.
const std::map<std::string, std::string>& RightBodies() {
  static const std::map<std::string, std::string> bodies = {
      {"POST /api/v1/roles", R"({"role":"ops","permissions":[{"object":"peers","action":"*"}]})"},
      {"POST /api/v1/roles/{role}/permissions", R"({"object":"users","action":"read"})"},
      {"DELETE /api/v1/roles/{role}/permissions", R"({"object":"users","action":"read"})"},
      {"POST /api/v1/oauth", R"({"name":"github","client_id":"c","client_secret":"topsecret"})"},
      {"POST /api/v1/personal-access-tokens", R"({"name":"ci","expired_at":"2030-01-01T00:00:00Z"})"},
      {"POST /api/v1/clusters",
       R"({"name":"gpu","scheduler_cluster_config":{"candidate_parent_limit":5,"filter_parent_limit":40},)"
       R"("seed_peer_cluster_config":{"load_limit":300},"peer_cluster_config":{"load_limit":50}})"},
      {"POST /oapi/v1/clusters",
       R"({"name":"tpu","scheduler_cluster_config":{"candidate_parent_limit":5,"filter_parent_limit":40},)"
       R"("seed_peer_cluster_config":{"load_limit":300},"peer_cluster_config":{"load_limit":50}})"},
      {"POST /api/v1/scheduler-clusters", R"({"name":"s","config":{},"client_config":{}})"},
      {"POST /api/v1/seed-peer-clusters", R"({"name":"p","config":{"load_limit":5}})"},
      {"POST /api/v1/schedulers", R"({"host_name":"h","ip":"10.0.0.1","port":8002,"scheduler_cluster_id":1})"},
      {"POST /api/v1/seed-peers",
       R"({"host_name":"h","type":"super","ip":"10.0.0.1","port":4000,"download_port":4001,"seed_peer_cluster_id":1})"},
      {"POST /api/v1/peers",
       R"({"host_name":"h","type":"normal","ip":"::1","port":4000,"download_port":4001,"scheduler_cluster_id":1})"},
      {"POST /api/v1/configs", R"({"name":"c","value":"v","user_id":1})"},
      {"POST /api/v1/applications", R"({"name":"a","url":"https://a","priority":{"value":3,"urls":[]},"user_id":1})"},
      {"PATCH /api/v1/applications/{id}", R"({"user_id":1,"bio":"x"})"},
  };
  return bodies;
}

struct Operation {
  std::string method, path;
  json description;

  std::string name() const { return method + " " + path; }
  bool of_jobs() const {
    return path.find("/jobs") != std::string::npos || path.starts_with("/preheats") ||
           path.find("persistent-cache") != std::string::npos;
  }
  bool by_token() const { return path.starts_with("/oapi"); }
  bool open() const { return description["security"].empty(); }
  bool changes() const { return method != "GET"; }
};

class Contract : public ::testing::TestWithParam<db::Engine> {
 protected:
  void SetUp() override {
    running_.Start();
    ASSERT_FALSE(HasFatalFailure());
    client_.emplace(running_.manager().rest_port());
    root_ = SignIn("root", running_.manager().first_password());
    const json guest = {{"name", "guest"}, {"password", "correct horse"}, {"email", "guest@example.com"}};
    ASSERT_EQ(client_->Call("POST", "/api/v1/users/signup", guest.dump()).status, 200);
    guest_ = SignIn("guest", "correct horse");
    jobs_token_ = MakeToken("jobs", "job");
    clusters_token_ = MakeToken("clusters", "cluster");
    document_ = client_->Call("GET", "/openapi.json").json;
    for (const auto& [path, methods] : document_["paths"].items()) {
      for (const auto& [method, description] : methods.items()) {
        std::string upper = method;
        for (char& c : upper) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
        operations_.push_back({upper, path, description});
      }
    }
  }

  std::string SignIn(const std::string& name, const std::string& password) {
    const RestReply reply =
        client_->Call("POST", "/api/v1/users/signin", json{{"name", name}, {"password", password}}.dump());
    EXPECT_EQ(reply.status, 200) << reply.body;
    return reply.json.is_object() ? reply.json.value("token", "") : "";
  }

  std::string MakeToken(const std::string& name, const std::string& scope) {
    const json body = {{"name", name}, {"expired_at", "2030-01-01T00:00:00Z"}, {"scopes", {scope}}};
    const RestReply made = client_->Call("POST", "/api/v1/personal-access-tokens", body.dump(), root_);
    EXPECT_EQ(made.status, 200) << made.body;
    return made.json.value("token", "");
  }

  std::string TokenFor(const Operation& operation) const {
    if (!operation.by_token()) return root_;
    return operation.path.starts_with("/oapi/v1/jobs") ? jobs_token_ : clusters_token_;
  }

  // With `id` in place of each parameter that is a number.
  static std::string Fill(std::string path, const std::string& id) {
    for (size_t at = path.find('{'); at != std::string::npos; at = path.find('{')) {
      const std::string name = path.substr(at + 1, path.find('}') - at - 1);
      std::string value = id;
      if (name == "role") value = path.find("/users/") != std::string::npos ? "guest" : "ops";
      if (name == "name") value = "github";
      if (name == "any") value = "doc.json";
      path.replace(at, name.size() + 2, value);
    }
    return path;
  }

  const Operation* Find(const std::string& name) const {
    for (const Operation& operation : operations_) {
      if (operation.name() == name) return &operation;
    }
    return nullptr;
  }

  void ExpectNoSecret(const RestReply& reply, const std::string& what) const {
    for (const char* const secret : {"$2a$", "sha256:", "topsecret", "encrypted_password", "private_token"}) {
      EXPECT_THAT(reply.body, Not(HasSubstr(secret))) << what;
    }
    // A token is shown by what makes it alone.
    for (const std::string& token : {jobs_token_, clusters_token_, running_.first_password()}) {
      EXPECT_THAT(reply.body, Not(HasSubstr(token))) << what;
    }
  }

  // Every key of an answer stands in the document, with its type.
  static void ExpectDescribed(const json& value, const json& schema, const std::string& what) {
    if (!schema.is_object() || !schema.contains("type")) return;
    const auto is = [&](const std::string& type) {
      return (type == "object" && value.is_object()) || (type == "array" && value.is_array()) ||
             (type == "string" && value.is_string()) || (type == "integer" && value.is_number_integer()) ||
             (type == "boolean" && value.is_boolean()) || (type == "null" && value.is_null());
    };
    bool fits = schema["type"].is_string() && is(schema["type"]);
    if (schema["type"].is_array()) {
      for (const json& type : schema["type"]) fits |= is(type);
    }
    EXPECT_TRUE(fits) << what << ": " << value.dump().substr(0, 200) << " is no " << schema["type"];
    if (value.is_object() && schema.contains("properties")) {
      for (const auto& [key, member] : value.items()) {
        EXPECT_TRUE(schema["properties"].contains(key)) << what << ": " << key << " is not described";
        if (schema["properties"].contains(key)) ExpectDescribed(member, schema["properties"][key], what + "." + key);
      }
      for (const auto& [key, member] : schema["properties"].items()) {
        EXPECT_TRUE(value.contains(key)) << what << ": " << key << " is missing";
      }
    }
    if (value.is_array() && schema.contains("items")) {
      for (const json& element : value) ExpectDescribed(element, schema["items"], what + "[]");
    }
  }

  struct Running : RunningManager {
    explicit Running(db::Engine engine) : RunningManager(engine) {}
    std::string first_password() const { return password; }
    void Start() {
      RunningManager::Start();
      if (password.empty()) password = manager().first_password();
    }
    std::string password;
  };

  Running running_{GetParam()};
  std::optional<RestClient> client_;
  std::string root_, guest_, jobs_token_, clusters_token_;
  json document_;
  std::vector<Operation> operations_;
};

TEST_P(Contract, DescribesEveryRoute) {
  std::set<std::string> described;
  for (const Operation& operation : operations_) described.insert(operation.description["operationId"]);
  for (const Route& route : RestRoutes()) {
    EXPECT_TRUE(described.contains(route.method + " " + route.path)) << route.method << " " << route.path;
  }
  EXPECT_EQ(described.size(), RestRoutes().size());
  EXPECT_EQ(document_["openapi"], "3.1.0");
  EXPECT_EQ(client_->Call("GET", "/swagger/doc.json").json, document_);
  const RestReply page = client_->Call("GET", "/swagger/index.html");
  EXPECT_EQ(page.header.at("content-type"), "text/html; charset=utf-8");
  EXPECT_THAT(page.body, HasSubstr("/api/v1/personal-access-tokens/:id"));
  EXPECT_EQ(client_->Call("GET", "/swagger/../etc/passwd").status, 404);
}

TEST_P(Contract, AsksForTheRightsThatItDescribes) {
  for (const Operation& operation : operations_) {
    if (operation.open()) continue;
    const std::string target = Fill(operation.path, "999");
    const RestReply stranger = client_->Call(operation.method, target, "{}");
    EXPECT_EQ(stranger.status, 401) << operation.name();
    EXPECT_EQ(stranger.json["message"], "Unauthorized") << operation.name();
    if (operation.by_token()) {
      const std::string& other = TokenFor(operation) == jobs_token_ ? clusters_token_ : jobs_token_;
      EXPECT_EQ(client_->Call(operation.method, target, "{}", other).status, 403) << operation.name();
      // A session is no access token.
      EXPECT_EQ(client_->Call(operation.method, target, "{}", root_).status, 401) << operation.name();
      continue;
    }
    // An access token is no session.
    EXPECT_EQ(client_->Call(operation.method, target, "{}", jobs_token_).status, 401) << operation.name();
    const RestReply guest = client_->Call(operation.method, target, "{}", guest_);
    if (operation.changes()) {
      EXPECT_EQ(guest.status, 401) << operation.name();
      EXPECT_EQ(guest.json["message"], "permission deny") << operation.name();
    } else {
      EXPECT_THAT(guest.status, AnyOf(Eq(200), Eq(404), Eq(422), Eq(501), Eq(503))) << operation.name() << guest.body;
      ExpectNoSecret(guest, operation.name());
    }
  }
}

TEST_P(Contract, TakesRightInputAndRefusesWrong) {
  std::map<std::string, std::string> ids;  // by the path of the collection
  const auto call = [&](const Operation& operation, const std::string& body) {
    const std::string collection = operation.path.substr(0, operation.path.find("/{"));
    const auto found = ids.find(collection);
    const std::string id = found == ids.end() ? "1" : found->second;
    RestReply reply = client_->Call(operation.method, Fill(operation.path, id), body, TokenFor(operation));
    return reply;
  };
  const auto walk = [&](const std::string& method, const std::function<void(const Operation&)>& visit) {
    for (const Operation& operation : operations_) {
      if (operation.method == method && !operation.of_jobs() && !operation.open()) visit(operation);
    }
  };
  walk("POST", [&](const Operation& operation) {
    const auto body = RightBodies().find(operation.name());
    ASSERT_NE(body, RightBodies().end()) << operation.name() << " has no example";
    const bool sub = operation.path.find('{') != std::string::npos;
    const RestReply wrong = call(operation, "{}");
    EXPECT_EQ(wrong.status, 422) << operation.name() << wrong.body;
    EXPECT_TRUE(wrong.json.contains("errors")) << operation.name();
    EXPECT_EQ(call(operation, "[]").status, 422) << operation.name();
    EXPECT_EQ(call(operation, "").status, 422) << operation.name();
    EXPECT_EQ(call(operation, R"({"name":)").status, 422) << operation.name();
    const RestReply made = call(operation, body->second);
    ASSERT_EQ(made.status, 200) << operation.name() << made.body;
    // Once more is a conflict, except where it adds to what is there.
    if (operation.path != "/api/v1/roles") EXPECT_EQ(call(operation, body->second).status, 409) << operation.name();
    if (sub || !made.json.is_object()) return;
    ids[operation.path] = made.json["id"].dump();
    const json schema = operation.description["responses"]["200"].value("content", json());
    if (!schema.is_null()) ExpectDescribed(made.json, schema["application/json"]["schema"], operation.name());
  });
  ids["/api/v1/users"] = "1";
  walk("PATCH", [&](const Operation& operation) {
    const auto body = RightBodies().find(operation.name());
    const RestReply changed = call(operation, body == RightBodies().end() ? R"({"bio":"changed"})" : body->second);
    EXPECT_EQ(changed.status, 200) << operation.name() << changed.body;
    ExpectNoSecret(changed, operation.name());
    EXPECT_EQ(call(operation, R"({"bio":7,"idc":7})").status, 422) << operation.name();
    const std::string id = operation.path.substr(0, operation.path.find('{'));
    EXPECT_EQ(client_->Call("PATCH", id + "999999", R"({"bio":"x","user_id":1})", TokenFor(operation)).status, 404);
    EXPECT_EQ(client_->Call("PATCH", id + "abc", R"({"bio":"x","user_id":1})", TokenFor(operation)).status, 422);
  });
  walk("PUT", [&](const Operation& operation) {
    // Nothing of that number there; the right case is that of the rows that were made.
    const RestReply missing = client_->Call("PUT", Fill(operation.path, "999999"), "", root_);
    EXPECT_EQ(missing.status, 404) << operation.name() << missing.body;
    std::string target = operation.path;
    for (const auto& [name, collection] : std::map<std::string, std::string>{
             {"{scheduler_id}", "/api/v1/schedulers"}, {"{seed_peer_id}", "/api/v1/seed-peers"}}) {
      const size_t at = target.find(name);
      if (at != std::string::npos) target.replace(at, name.size(), ids[collection]);
    }
    if (target.find("{role}") != std::string::npos) target = "/api/v1/users/1/roles/guest";
    const RestReply done = client_->Call("PUT", Fill(target, "1"), "", root_);
    EXPECT_EQ(done.status, 200) << operation.name() << done.body;
  });
  walk("GET", [&](const Operation& operation) {
    const RestReply shown = call(operation, "");
    EXPECT_EQ(shown.status, 200) << operation.name() << shown.body;
    ExpectNoSecret(shown, operation.name());
    const json schema = operation.description["responses"]["200"].value("content", json());
    if (!schema.is_null()) ExpectDescribed(shown.json, schema["application/json"]["schema"], operation.name());
    if (operation.path.ends_with("{id}")) {
      const std::string collection = operation.path.substr(0, operation.path.find('{'));
      EXPECT_EQ(client_->Call("GET", collection + "999999", "", TokenFor(operation)).status, 404) << operation.name();
      EXPECT_EQ(client_->Call("GET", collection + "0", "", TokenFor(operation)).status, 422) << operation.name();
    }
    for (const json& parameter : operation.description.value("parameters", json::array())) {
      if (parameter["in"] != "query") continue;
      const bool number = parameter["schema"]["type"] == "integer";
      const bool listed = parameter["schema"].contains("enum");
      if (!number && !listed) continue;
      const std::string target = Fill(operation.path, "1") + "?" + parameter["name"].get<std::string>() + "=x;";
      EXPECT_EQ(client_->Call("GET", target, "", TokenFor(operation)).status, 422) << target;
    }
  });
  // What lives in another goes first.
  std::multimap<int, Operation> deletions;
  walk("DELETE", [&](const Operation& operation) {
    const bool permission = operation.path.find("permissions") != std::string::npos;
    const bool cluster = operation.path.find("clusters") != std::string::npos;
    deletions.emplace(permission ? 0 : cluster ? 2 : 1, operation);
  });
  for (const auto& [rank, operation] : deletions) {
    const auto body = RightBodies().find(operation.name());
    const std::string text = body == RightBodies().end() ? "" : body->second;
    const RestReply done = call(operation, text);
    EXPECT_EQ(done.status, 200) << operation.name() << done.body;
    EXPECT_EQ(call(operation, text).status, 404) << operation.name();
  }
}

// Values for a schema: mostly right, sometimes almost, sometimes nonsense.
class Generator {
 public:
  explicit Generator(unsigned seed) : random_(seed) {}

  unsigned Pick(size_t count) { return static_cast<unsigned>(random_() % count); }
  bool OneIn(unsigned n) { return Pick(n) == 0; }

  json Value(const json& schema, int depth = 0) {
    if (OneIn(9) || depth > 4) return Nonsense();
    if (schema.contains("enum")) return schema["enum"][Pick(schema["enum"].size())];
    std::string type = "object";
    if (schema.contains("type")) type = schema["type"].is_array() ? schema["type"][0] : schema["type"];
    if (type == "integer") {
      const int64_t low = schema.value("minimum", int64_t{0});
      const int64_t high = schema.value("maximum", low + 10);
      switch (Pick(5)) {
        case 0:
          return low;
        case 1:
          return high;
        case 2:
          return low - 1;
        default:
          return low + static_cast<int64_t>(Pick(10));
      }
    }
    if (type == "boolean") return OneIn(2);
    if (type == "string") {
      if (schema.value("format", "") == "date-time") return "2031-02-03T04:05:06Z";
      static const char* const kTexts[] = {"x",
                                           "10.0.0.7",
                                           "https://example.com/x",
                                           "a|b",
                                           "super",
                                           "normal",
                                           "active",
                                           "\u00fc\u4e2d\U0001f600",
                                           "'; DROP TABLE peer; --",
                                           "%_\\",
                                           "job"};
      if (OneIn(6)) return std::string(Pick(2000), 'y');
      return kTexts[Pick(std::size(kTexts))];
    }
    if (type == "array") {
      json list = json::array();
      for (unsigned n = Pick(4); n > 0; --n) list.push_back(Value(schema.value("items", json::object()), depth + 1));
      return list;
    }
    json object = json::object();
    const json properties = schema.value("properties", json::object());
    for (const auto& [name, member] : properties.items()) {
      if (!OneIn(4)) object[name] = Value(member, depth + 1);
    }
    return object;
  }

  json Nonsense() {
    static const char* const kValues[] = {"null",
                                          "0",
                                          "-1",
                                          "1e999",
                                          "99999999999999999999",
                                          "\"\"",
                                          "true",
                                          "[]",
                                          "{}",
                                          "[[[[[]]]]]",
                                          "{\"a\":{\"a\":[null]}}",
                                          "\"\\u0000\"",
                                          "-9223372036854775808",
                                          "0.5",
                                          "{\"value\":{},\"urls\":[7]}",
                                          "{\"cidrs\":[{}],\"hostnames\":\"(\"}"};
    json value = json::parse(kValues[Pick(std::size(kValues))], nullptr, false);
    return value.is_discarded() ? json(7) : value;
  }

  std::string PathValue() {
    static const char* const kValues[] = {
        "1",   "2",         "3",     "4",   "5",          "0", "-1", "abc", "9223372036854775808",
        "%00", "%2e%2e%2f", "guest", "ops", "1%20OR%201", "99"};
    return kValues[Pick(std::size(kValues))];
  }

 private:
  std::minstd_rand random_;
};

std::string Escaped(const std::string& text) {
  static constexpr char kDigits[] = "0123456789ABCDEF";
  std::string escaped;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte) != 0) {
      escaped += c;
    } else {
      escaped += {'%', kDigits[byte >> 4], kDigits[byte & 15]};
    }
  }
  return escaped;
}

TEST_P(Contract, SurvivesARandomWalkOverItsDescription) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  Generator generator(20261125);
  std::map<int, int> answers;
  int calls = 0;
  for (; calls < 2500 && std::chrono::steady_clock::now() < end; ++calls) {
    const Operation& operation = operations_[generator.Pick(operations_.size())];
    // Root must stay root for the others to mean something.
    if (operation.method == "DELETE" && operation.path.find("/users/{id}/roles") != std::string::npos) continue;
    std::string target = operation.path;
    for (size_t at = target.find('{'); at != std::string::npos; at = target.find('{')) {
      target.replace(at, target.find('}') - at + 1, generator.PathValue());
    }
    char separator = '?';
    for (const json& parameter : operation.description.value("parameters", json::array())) {
      if (parameter["in"] != "query" || generator.OneIn(2)) continue;
      const json value = generator.Value(parameter["schema"]);
      const std::string text = value.is_string() ? value.get<std::string>() : value.dump();
      target += std::string(1, separator) + parameter["name"].get<std::string>() + "=" + Escaped(text);
      separator = '&';
    }
    std::string body;
    if (operation.description.contains("requestBody")) {
      body = generator.Value(operation.description["requestBody"]["content"]["application/json"]["schema"]).dump();
      if (generator.OneIn(12)) body.resize(generator.Pick(body.size() + 1));
      if (generator.OneIn(20)) body = "\xff\xfe" + body;
    }
    const std::string tokens[] = {TokenFor(operation), TokenFor(operation), TokenFor(operation), guest_, "", "x.y.z"};
    const std::string& token = tokens[generator.Pick(std::size(tokens))];
    const RestReply reply = client_->Call(operation.method, target, body, token);
    const std::string what = operation.method + " " + target + " " + body.substr(0, 300);
    EXPECT_THAT(reply.status, AnyOf(Lt(500), Eq(501))) << what << "\n" << reply.body;
    if (!operation.open() && token.empty()) EXPECT_EQ(reply.status, 401) << what;
    if (!operation.open() && token == guest_ && operation.changes()) EXPECT_EQ(reply.status, 401) << what;
    ExpectNoSecret(reply, what);
    ++answers[reply.status / 100];
  }
  EXPECT_GT(calls, 300);
  // The walk has come to what is behind the checks.
  EXPECT_GT(answers[2], calls / 12);
  EXPECT_GT(answers[4], calls / 12);
  EXPECT_EQ(client_->Call("GET", "/api/v1/users", "", root_).status, 200);
}

INSTANTIATE_TEST_SUITE_P(Engines, Contract,
                         ::testing::Values(db::Engine::kSqlite, db::Engine::kPostgres, db::Engine::kMysql),
                         [](const auto& info) { return std::string(db::NameOf(info.param)); });

}  // namespace
}  // namespace dragonfly::manager
