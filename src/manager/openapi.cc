// SPDX-License-Identifier: Apache-2.0
#include "manager/openapi.h"

#include <nlohmann/json.hpp>
#include <string_view>

#include "base/text.h"
#include "base/version.h"
#include "manager/resource.h"

namespace dragonfly::manager {
namespace {

using json = nlohmann::ordered_json;

// What the table of resources does not say. Schemas are JSON Schema as text; empty: none, or any.
struct Described {
  const char* method;
  const char* path;  // below /api/v1/ (and /oapi/v1/), or with a leading '/' as it stands
  const char* summary;
  const char* body = "";
  const char* answer = "";
  const char* query = "";  // names of parameters, with commas; * behind one: required
};

constexpr char kEmptyAnswer[] = "empty";
constexpr char kTextList[] = R"({"type":"array","items":{"type":"string"}})";
constexpr char kSession[] =
    R"({"type":"object","properties":{"token":{"type":"string"},"expire":{"type":"string","format":"date-time"}}})";
constexpr char kPermission[] = R"({"type":"object","required":["object","action"],"properties":{)"
                               R"("object":{"type":"string"},"action":{"type":"string","enum":["read","*"]}}})";
constexpr char kClusterAnswer[] =
    R"({"type":"object","properties":{"id":{"type":"integer"},"name":{"type":"string"},"bio":{"type":"string"},)"
    R"("scopes":{"type":["object","null"]},"scheduler_cluster_id":{"type":"integer"},)"
    R"("seed_peer_cluster_id":{"type":"integer"},"scheduler_cluster_config":{"type":["object","null"]},)"
    R"("seed_peer_cluster_config":{"type":["object","null"]},"peer_cluster_config":{"type":["object","null"]},)"
    R"("created_at":{"type":"string","format":"date-time"},"updated_at":{"type":"string","format":"date-time"},)"
    R"("is_default":{"type":"boolean"}}})";
constexpr char kClusterProperties[] =
    R"("name":{"type":"string","minLength":1,"maxLength":256},"bio":{"type":"string","maxLength":1024},)"
    R"("is_default":{"type":"boolean"},"scopes":{"type":"object","properties":{"idc":{"type":"string"},)"
    R"("location":{"type":"string"},"cidrs":{"type":"array","items":{"type":"string"}},)"
    R"("hostnames":{"type":"array","items":{"type":"string"}}}},"scheduler_cluster_config":{"type":"object",)"
    R"("properties":{"candidate_parent_limit":{"type":"integer","minimum":1,"maximum":20},)"
    R"("filter_parent_limit":{"type":"integer","minimum":10,"maximum":1000},)"
    R"("job_rate_limit":{"type":"integer","minimum":1,"maximum":1000000}}},"seed_peer_cluster_config":{)"
    R"("type":"object","properties":{"load_limit":{"type":"integer","minimum":1,"maximum":50000}}},)"
    R"("peer_cluster_config":{"type":"object","properties":{"load_limit":{"type":"integer","minimum":1,)"
    R"("maximum":2000}}})";
constexpr char kJobBody[] =
    R"({"type":"object","required":["type"],"properties":{"type":{"type":"string","enum":["preheat","sync_peers",)"
    R"("get_task","delete_task","get_image_distribution","list_task_entries","gc"]},"bio":{"type":"string"},"args":{"type":"object"},)"
    R"("scheduler_cluster_ids":{"type":"array","items":{"type":"integer"}},)"
    R"("seed_peer_cluster_ids":{"type":"array","items":{"type":"integer"}}}})";
constexpr char kPreheatBody[] =
    R"({"type":"object","required":["type","url"],"properties":{"type":{"type":"string","enum":["image","file"]},)"
    R"("url":{"type":"string"},"filteredQueryParams":{"type":"string"},"headers":{"type":"object",)"
    R"("additionalProperties":{"type":"string"}}}})";

const std::string& ClusterCreate() {
  static const std::string schema =
      StrCat(R"({"type":"object","required":["name","scheduler_cluster_config","seed_peer_cluster_config",)"
             R"("peer_cluster_config"],"properties":{)",
             std::string(kClusterProperties), "}}");
  return schema;
}
const std::string& ClusterPatch() {
  static const std::string schema = StrCat(R"({"type":"object","properties":{)", std::string(kClusterProperties), "}}");
  return schema;
}

const std::vector<Described>& Descriptions() {
  static const std::vector<Described> all = {
      {"POST", "users/signin", "Sign in with a password",
       R"({"type":"object","required":["name","password"],"properties":{"name":{"type":"string"},)"
       R"("password":{"type":"string","format":"password"}}})",
       kSession},
      {"POST", "users/signout", "Make the browser forget its session", "", kEmptyAnswer},
      {"POST", "users/signup", "Become a user with the role guest",
       R"({"type":"object","required":["name","password","email"],"properties":{"name":{"type":"string",)"
       R"("minLength":3,"maxLength":256},"password":{"type":"string","format":"password","minLength":8,)"
       R"("maxLength":72},"email":{"type":"string","format":"email"},"phone":{"type":"string"},)"
       R"("avatar":{"type":"string"},"location":{"type":"string"},"bio":{"type":"string"}}})"},
      {"GET", "users/signin/:name", "Go to a provider to sign in", "", "redirect"},
      {"GET", "users/signin/:name/callback", "Come back from a provider", "", "redirect", "code*,state*"},
      {"POST", "users/refresh_token", "Exchange a token for a new one", "", kSession},
      {"POST", "users/:id/reset_password", "Change a password, with the old one",
       R"({"type":"object","required":["old_password","new_password"],"properties":{"old_password":{)"
       R"("type":"string","format":"password"},"new_password":{"type":"string","format":"password","minLength":8,)"
       R"("maxLength":72}}})",
       kEmptyAnswer},
      {"GET", "users/:id/roles", "Roles of a user", "", kTextList},
      {"PUT", "users/:id/roles/:role", "Give a user a role", "", kEmptyAnswer},
      {"DELETE", "users/:id/roles/:role", "Take a role from a user", "", kEmptyAnswer},
      {"POST", "roles", "Make a role",
       R"({"type":"object","required":["role","permissions"],"properties":{"role":{"type":"string"},)"
       R"("permissions":{"type":"array","items":{"type":"object","required":["object","action"],"properties":{)"
       R"("object":{"type":"string"},"action":{"type":"string","enum":["read","*"]}}}}}})",
       kEmptyAnswer},
      {"GET", "roles", "Names of the roles", "", kTextList},
      {"GET", "roles/:role", "Rights of a role", "",
       R"({"type":"array","items":{"type":"array","items":{"type":"string"}}})"},
      {"DELETE", "roles/:role", "Delete a role", "", kEmptyAnswer},
      {"POST", "roles/:role/permissions", "Give a role a right", kPermission, kEmptyAnswer},
      {"DELETE", "roles/:role/permissions", "Take a right from a role", kPermission, kEmptyAnswer},
      {"GET", "permissions", "Rights that there are", "",
       R"({"type":"array","items":{"type":"object","properties":{"object":{"type":"string"},)"
       R"("action":{"type":"string"}}}})"},
      {"POST", "personal-access-tokens", "Make a token; its value is in this answer only",
       R"({"type":"object","required":["name","expired_at"],"properties":{"name":{"type":"string","minLength":1,)"
       R"("maxLength":256},"bio":{"type":"string","maxLength":256},"expired_at":{"type":"string",)"
       R"("format":"date-time"},"scopes":{"type":"array","minItems":1,"items":{"type":"string","enum":["job",)"
       R"("cluster"]}}}})"},
      {"POST", "clusters", "Make a cluster", ClusterCreate().c_str(), kClusterAnswer},
      {"GET", "clusters", "Clusters", "", "list cluster", "name,page,per_page"},
      {"GET", "clusters/:id", "A cluster", "", kClusterAnswer},
      {"PATCH", "clusters/:id", "Change a cluster", ClusterPatch().c_str(), kClusterAnswer},
      {"DELETE", "clusters/:id", "Delete a cluster that is empty", "", kEmptyAnswer},
      {"PUT", "scheduler-clusters/:id/schedulers/:scheduler_id", "Move a scheduler into the cluster", "", kEmptyAnswer},
      {"PUT", "seed-peer-clusters/:id/seed-peers/:seed_peer_id", "Move a seed peer into the cluster", "", kEmptyAnswer},
      {"PUT", "seed-peer-clusters/:id/scheduler-clusters/:scheduler_cluster_id",
       "Make the seed peers serve the scheduler cluster", "", kEmptyAnswer},
      {"GET", "scheduler-features", "Features that schedulers may have", "", kTextList},
      {"POST", "jobs", "Begin a job", kJobBody},
      {"GET", "persistent-cache-tasks", "Persistent cache tasks of a cluster", "", "",
       "scheduler_cluster_id*,page,per_page"},
      {"GET", "persistent-cache-tasks/:id", "A persistent cache task", "", "", "scheduler_cluster_id*"},
      {"DELETE", "persistent-cache-tasks/:id", "Delete a persistent cache task", "", kEmptyAnswer,
       "scheduler_cluster_id*"},
      {"POST", "/preheats", "Preheat, as Harbor asks for it", kPreheatBody},
      {"GET", "/preheats/:id", "State of a preheat, as Harbor asks for it"},
      {"GET", "/", "A page for people, with the way to this document"},
      {"GET", "/healthy", "Whether the manager serves", "", R"({"type":"string"})"},
      {"GET", "/_ping", "The same, as Harbor asks for it", "", R"({"type":"string"})"},
      {"GET", "/openapi.json", "This document"},
      {"GET", "/swagger/*any", "This document, and a page that shows it"},
  };
  return all;
}

json Parsed(const std::string& text) { return text.empty() ? json::object() : json::parse(text); }

// "users/:id" of "/api/v1/users/:id"; other paths as they are.
std::string_view Below(std::string_view path) {
  for (const std::string_view prefix : {"/api/v1/", "/oapi/v1/"}) {
    if (path.starts_with(prefix)) return path.substr(prefix.size());
  }
  return path;
}

std::string_view FirstOf(std::string_view below) {
  if (below.starts_with('/')) return "service";
  return below.substr(0, below.find('/'));
}

const Described* Find(const Route& route) {
  for (const Described& described : Descriptions()) {
    if (route.method == described.method && Below(route.path) == described.path) return &described;
  }
  return nullptr;
}

json SchemaOf(const Field& field) {
  switch (field.kind) {
    case FieldKind::kText: {
      json schema = {{"type", "string"}};
      if (field.max != INT64_MAX) schema["maxLength"] = field.max;
      if (!field.one_of.empty()) schema["enum"] = field.one_of;
      return schema;
    }
    case FieldKind::kInt: {
      json schema = {{"type", "integer"}, {"format", "int64"}};
      if (field.min != INT64_MIN) schema["minimum"] = field.min;
      if (field.max != INT64_MAX) schema["maximum"] = field.max;
      return schema;
    }
    case FieldKind::kBool:
      return {{"type", "boolean"}};
    case FieldKind::kJson:
      return {{"type", json::array({"object", "array", "null"})}};
    case FieldKind::kTime:
      return {{"type", "string"}, {"format", "date-time"}};
  }
  return json::object();
}

json BodyOf(const Resource& resource, unsigned use, unsigned required) {
  json properties = json::object();
  json names = json::array();
  for (const Field& field : resource.fields) {
    if ((field.use & use) == 0) continue;
    properties[field.name] = SchemaOf(field);
    if ((field.use & required) != 0) names.push_back(field.name);
  }
  json schema = {{"type", "object"}, {"properties", std::move(properties)}};
  if (!names.empty()) schema["required"] = std::move(names);
  return schema;
}

// A row as it is shown.
json RowOf(const Resource& resource) {
  json properties = {{"id", {{"type", "integer"}}},
                     {"created_at", {{"type", "string"}, {"format", "date-time"}}},
                     {"updated_at", {{"type", "string"}, {"format", "date-time"}}},
                     {"is_del", {{"type", "integer"}}}};
  for (const Field& field : resource.fields) {
    if ((field.use & kHidden) == 0) properties[field.name] = SchemaOf(field);
    // What is stored may be older than the rules.
    if (properties.contains(field.name)) {
      for (const char* const rule : {"enum", "minimum", "maximum", "maxLength"}) properties[field.name].erase(rule);
    }
  }
  for (const Embedded& embedded : resource.embedded) {
    properties[embedded.name] = {{"type", json::array({"object", "null"})}};
  }
  for (const char* const name : resource.nulls) properties[name] = {{"type", json::array({"array", "object", "null"})}};
  return {{"type", "object"}, {"properties", std::move(properties)}};
}

json ListOf(json items) { return {{"type", "array"}, {"items", std::move(items)}}; }

json QueryParameter(const std::string& name, json schema, bool required) {
  return {{"name", name}, {"in", "query"}, {"required", required}, {"schema", std::move(schema)}};
}

json NumberFrom(int64_t least) { return {{"type", "integer"}, {"minimum", least}}; }

void AddPaging(json& parameters) {
  parameters.push_back(QueryParameter("page", NumberFrom(1), false));
  json size = NumberFrom(1);
  size["maximum"] = 10'000'000;
  parameters.push_back(QueryParameter("per_page", std::move(size), false));
}

// "/users/{id}".
std::string PathOf(const Route& route, json& parameters) {
  std::string path;
  std::string_view rest = route.path;
  while (!rest.empty()) {
    rest.remove_prefix(1);
    const size_t end = rest.find('/');
    const std::string_view part = rest.substr(0, end);
    path += '/';
    if (part.starts_with(':') || part.starts_with('*')) {
      const std::string name(part.substr(1));
      path += StrCat("{", name, "}");
      const bool number =
          name == "id" ? route.path.find("persistent-cache-tasks") == std::string::npos : name.ends_with("_id");
      parameters.push_back({{"name", name},
                            {"in", "path"},
                            {"required", true},
                            {"schema", number ? NumberFrom(1) : json{{"type", "string"}}}});
    } else {
      path += part;
    }
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end);
  }
  return path;
}

json SecurityOf(const Route& route) {
  switch (route.access) {
    case Access::kAnyone:
      return json::array();
    case Access::kToken:
      return json::array({{{"accessToken", json::array()}}});
    case Access::kUser:
    case Access::kJobs:
      return json::array({{{"session", json::array()}}, {{"sessionCookie", json::array()}}});
  }
  return json::array();
}

std::string WhoMayCall(const Route& route) {
  switch (route.access) {
    case Access::kAnyone:
      return "anyone";
    case Access::kToken:
      return StrCat("a personal access token with the scope ", route.scope);
    case Access::kUser:
    case Access::kJobs:
      return StrCat("a user with the right ", FirstOf(Below(route.path)), ":", route.method == "GET" ? "read" : "*");
  }
  return "";
}

std::string SummaryOf(const Route& route) {
  if (const Described* const described = Find(route)) return described->summary;
  const std::string name(FirstOf(Below(route.path)));
  if (route.method == "POST") return StrCat("Make one of ", name);
  if (route.method == "PATCH") return StrCat("Change one of ", name);
  if (route.method == "DELETE") return StrCat("Delete one of ", name);
  return Below(route.path).find(':') == std::string_view::npos ? StrCat("List ", name) : StrCat("Show one of ", name);
}

struct Parts {
  json parameters = json::array();
  json body;    // null: none
  json answer;  // null: empty
};

void AddDescribed(const Described& described, Parts& parts) {
  const std::string_view answer = described.answer;
  if (*described.body != '\0') parts.body = Parsed(described.body);
  if (answer == "list cluster") {
    parts.answer = ListOf(Parsed(kClusterAnswer));
  } else if (answer != kEmptyAnswer && answer != "redirect") {
    parts.answer = Parsed(described.answer);
  }
  std::string_view names = described.query;
  while (!names.empty()) {
    const size_t end = names.find(',');
    std::string name(names.substr(0, end));
    const bool required = name.ends_with('*');
    if (required) name.pop_back();
    const bool number = name.ends_with("_id") || name.ends_with("page");
    parts.parameters.push_back(QueryParameter(name, number ? NumberFrom(1) : json{{"type", "string"}}, required));
    names.remove_prefix(end == std::string_view::npos ? names.size() : end + 1);
  }
}

void AddResource(const Resource& resource, const Route& route, Parts& parts) {
  const bool list = route.method == "GET" && Below(route.path).find(':') == std::string_view::npos;
  if (list) {
    for (const Field& field : resource.fields) {
      if ((field.use & kAsFilter) != 0) parts.parameters.push_back(QueryParameter(field.name, SchemaOf(field), false));
    }
    AddPaging(parts.parameters);
  }
  if (route.method == "POST") parts.body = BodyOf(resource, kInCreate, kRequired);
  if (route.method == "PATCH") parts.body = BodyOf(resource, kInPatch, kRequiredInPatch);
  if (route.method != "DELETE") parts.answer = list ? ListOf(RowOf(resource)) : RowOf(resource);
}

json Answers(const Route& route, const json& schema, bool redirects) {
  const auto error = [](const char* text, const char* key) -> json {
    return {
        {"description", text},
        {"content",
         {{"application/json", {{"schema", {{"type", "object"}, {"properties", {{key, {{"type", "string"}}}}}}}}}}}};
  };
  json answers;
  if (redirects) {
    answers["302"] = {{"description", "Go there"}};
  } else {
    answers["200"] = {{"description", "Done"}};
    if (!schema.is_null()) answers["200"]["content"] = {{"application/json", {{"schema", schema}}}};
  }
  if (route.access != Access::kAnyone) answers["401"] = error("No or a wrong token, or a missing right", "message");
  if (route.access == Access::kToken) answers["403"] = error("The token may not", "message");
  answers["404"] = error("There is no such row", "message");
  answers["409"] = error("The value must be unique, or the row is in use", "message");
  answers["422"] = error("The request is wrong", "errors");
  answers["429"] = error("Too many requests", "message");
  return answers;
}

json OperationOf(const Route& route, json path_parameters) {
  Parts parts;
  parts.parameters = std::move(path_parameters);
  const Described* const described = Find(route);
  const std::string resource_name(FirstOf(Below(route.path)));
  const Resource* const resource = FindResource(resource_name);
  const bool of_resource =
      resource != nullptr && (Below(route.path) == resource_name || Below(route.path) == StrCat(resource_name, "/:id"));
  const std::string_view special = described == nullptr ? "" : described->answer;
  if (of_resource && resource_name != "clusters") AddResource(*resource, route, parts);
  if (described != nullptr && (!of_resource || *described->body != '\0' || *described->answer != '\0')) {
    const json row = parts.answer;
    AddDescribed(*described, parts);
    // Where the description says nothing, the row is what is answered.
    if (special.empty() && of_resource) parts.answer = row;
  }
  json operation = {{"operationId", StrCat(route.method, " ", route.path)},
                    {"summary", SummaryOf(route)},
                    {"description", StrCat("For ", WhoMayCall(route), ".")},
                    {"tags", json::array({resource_name})},
                    {"security", SecurityOf(route)}};
  if (!parts.parameters.empty()) operation["parameters"] = std::move(parts.parameters);
  if (!parts.body.is_null()) {
    operation["requestBody"] = {{"required", true}, {"content", {{"application/json", {{"schema", parts.body}}}}}};
  }
  operation["responses"] = Answers(route, parts.answer, special == "redirect");
  return operation;
}

std::string Escaped(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    if (c == '<') {
      escaped += "&lt;";
    } else if (c == '&') {
      escaped += "&amp;";
    } else {
      escaped += c;
    }
  }
  return escaped;
}

}  // namespace

std::string MakeOpenApiDocument(const std::vector<Route>& routes) {
  json paths = json::object();
  for (const Route& route : routes) {
    json parameters = json::array();
    const std::string path = PathOf(route, parameters);
    paths[path][ToLowerAscii(route.method)] = OperationOf(route, std::move(parameters));
  }
  const json document = {{"openapi", "3.1.0"},
                         {"info",
                          {{"title", "Dragonfly Manager"},
                           {"version", std::string(kVersion)},
                           {"license", {{"name", "Apache-2.0"}, {"identifier", "Apache-2.0"}}}}},
                         {"paths", std::move(paths)},
                         {"components",
                          {{"securitySchemes",
                            {{"session", {{"type", "http"}, {"scheme", "bearer"}, {"bearerFormat", "JWT"}}},
                             {"sessionCookie", {{"type", "apiKey"}, {"in", "cookie"}, {"name", "jwt"}}},
                             {"accessToken", {{"type", "http"}, {"scheme", "bearer"}}}}}}}};
  return document.dump();
}

std::string MakeOpenApiPage(const std::vector<Route>& routes) {
  std::string page =
      "<!DOCTYPE html><html lang=\"en\"><meta charset=\"utf-8\"><title>Dragonfly Manager API</title>"
      "<style>body{font-family:sans-serif;margin:2em}td{padding:.2em 1em .2em 0}code{white-space:nowrap}</style>"
      "<h1>Dragonfly Manager API</h1><p>For tools: <a href=\"doc.json\">OpenAPI document</a></p>"
      "<table><thead><tr><th>Method</th><th>Path</th><th></th><th>For</th></tr></thead><tbody>";
  for (const Route& route : routes) {
    page += StrCat("<tr><td>", route.method, "</td><td><code>", Escaped(route.path), "</code></td><td>",
                   Escaped(SummaryOf(route)), "</td><td>", Escaped(WhoMayCall(route)), "</td></tr>");
  }
  return page + "</tbody></table></html>";
}

}  // namespace dragonfly::manager
