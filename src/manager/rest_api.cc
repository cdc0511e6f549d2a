// SPDX-License-Identifier: Apache-2.0
#include "manager/rest_api.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_join.h"
#include "base/status.h"
#include "base/text.h"
#include "base/version.h"
#include "http/router.h"
#include "manager/json_body.h"
#include "manager/openapi.h"
#include "manager/resource.h"
#include "manager/rest_handlers.h"
#include "manager/rest_jobs.h"
#include "telemetry/log.h"
#include "telemetry/span_context.h"
#include "telemetry/trace.h"

namespace dragonfly::manager {
namespace {

namespace asio = boost::asio;

std::vector<std::string_view> Segments(std::string_view path) {
  std::vector<std::string_view> segments;
  while (!path.empty()) {
    if (path.front() == '/') path.remove_prefix(1);
    const size_t end = path.find('/');
    segments.push_back(path.substr(0, end));
    path.remove_prefix(end == std::string_view::npos ? path.size() : end);
  }
  return segments;
}

// The parameters, when the path is one of the pattern.
bool Matches(std::string_view pattern, std::string_view path, std::map<std::string, std::string>& params) {
  const std::vector<std::string_view> wanted = Segments(pattern);
  const std::vector<std::string_view> given = Segments(path);
  const bool open_ended = !wanted.empty() && wanted.back().starts_with('*');
  if (open_ended ? given.size() < wanted.size() : wanted.size() != given.size()) return false;
  params.clear();
  for (size_t i = 0; i < wanted.size(); ++i) {
    if (wanted[i].starts_with('*')) {
      params.emplace(wanted[i].substr(1), std::string(given[i]));
      for (size_t rest = i + 1; rest < given.size(); ++rest) {
        params[std::string(wanted[i].substr(1))] += StrCat("/", given[rest]);
      }
      return true;
    }
    if (wanted[i].starts_with(':')) {
      if (given[i].empty()) return false;
      params.emplace(wanted[i].substr(1), given[i]);
    } else if (wanted[i] != given[i]) {
      return false;
    }
  }
  return true;
}

// What rights are about: "users" of "/api/v1/users/:id".
std::string ObjectOf(std::string_view path) {
  const std::vector<std::string_view> segments = Segments(path);
  return segments.size() > 2 ? std::string(segments[2]) : "";
}

bool Changes(std::string_view method) { return method != "GET"; }

std::string BearerIn(std::string_view header) {
  constexpr std::string_view kBearer = "bearer ";
  if (header.size() <= kBearer.size() || !EqualsIgnoreCase(header.substr(0, kBearer.size()), kBearer)) return "";
  return std::string(TrimSpace(header.substr(kBearer.size())));
}

std::string QueryValue(const std::map<std::string, std::string>& query, const std::string& name) {
  const auto found = query.find(name);
  return found == query.end() ? "" : found->second;
}

// A token in a query ends here: it must not stand in links and logs.
std::string TakeToken(const http::Request& request, bool of_access, std::map<std::string, std::string>& query) {
  const char* const name = of_access ? "access_token" : "token";
  std::string in_query = QueryValue(query, name);
  query.erase(name);
  const std::string bearer = BearerIn(request.Find("authorization"));
  if (of_access) return in_query.empty() ? bearer : in_query;
  std::string cookie = CookieIn(request.Find("cookie"), "jwt");
  if (!cookie.empty()) return cookie;
  return bearer.empty() ? in_query : bearer;
}

std::string Percent(std::string_view text) {
  std::string decoded;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto hex = [](char c) {
      return c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
    };
    if (text[i] == '%' && i + 2 < text.size() && hex(text[i + 1]) >= 0 && hex(text[i + 2]) >= 0) {
      decoded += static_cast<char>(hex(text[i + 1]) * 16 + hex(text[i + 2]));
      i += 2;
    } else {
      decoded += text[i];
    }
  }
  return decoded;
}

asio::awaitable<RestAnswer> Healthy(RestContext&, RestCall) { co_return JsonResponse("\"OK\""); }

const std::string& OpenApiDocument() {
  static const std::string document = MakeOpenApiDocument(RestRoutes());
  return document;
}

// Where the original serves its console. The API is told by the same document to everyone.
asio::awaitable<RestAnswer> Home(RestContext&, RestCall) {
  http::Response response;
  response.header.emplace_back("Content-Type", "text/html; charset=utf-8");
  response.header.emplace_back("Content-Security-Policy", "default-src 'none'");
  response.body = StrCat("<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Dragonfly manager</title>",
                         "<h1>Dragonfly manager</h1><p>Version ", kVersion,
                         ". It is used by its REST API: <a href=\"/swagger/index.html\">routes</a>, ",
                         "<a href=\"/openapi.json\">OpenAPI document</a>.</p></html>\n");
  co_return response;
}

asio::awaitable<RestAnswer> OpenApi(RestContext&, RestCall) { co_return JsonResponse(OpenApiDocument()); }

asio::awaitable<RestAnswer> Swagger(RestContext&, RestCall call) {
  const std::string& file = call.params.at("any");
  if (file == "doc.json") co_return JsonResponse(OpenApiDocument());
  if (file != "index.html") co_return absl::NotFoundError("Not Found");
  http::Response response;
  response.content_type = "text/html; charset=utf-8";
  response.header.emplace_back("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'");
  response.body = MakeOpenApiPage(RestRoutes());
  co_return response;
}

// {prefix}/{path} with the usual five, as far as `methods` has them: C(reate) L(ist) G(et) P(atch) D(elete).
void AddRows(std::vector<Route>& routes, const std::string& path, std::string_view methods) {
  const Resource& resource = *FindResource(path);
  const std::string all = StrCat("/api/v1/", path);
  const std::string one = StrCat(all, "/:id");
  const auto add = [&](char letter, const char* method, const std::string& where, RestHandler handler) {
    if (methods.find(letter) != std::string_view::npos) {
      routes.push_back({method, where, Access::kUser, "", std::move(handler)});
    }
  };
  add('C', "POST", all, CreateHandler(resource));
  add('L', "GET", all, ListHandler(resource));
  add('G', "GET", one, GetHandler(resource));
  add('P', "PATCH", one, PatchHandler(resource));
  add('D', "DELETE", one, DeleteHandler(resource));
}

// The same handlers below /api, for users, and below /oapi, for tokens.
void AddForBoth(std::vector<Route>& routes, const char* method, const std::string& path, Access access,
                const std::string& scope, RestHandler handler) {
  routes.push_back({method, StrCat("/api/v1/", path), access, "", handler});
  routes.push_back({method, StrCat("/oapi/v1/", path), Access::kToken, scope, std::move(handler)});
}

void AddUserRoutes(std::vector<Route>& routes) {
  AddRows(routes, "users", "LGP");
  routes.push_back({"POST", "/api/v1/users/signin", Access::kAnyone, "", SignIn});
  routes.push_back({"POST", "/api/v1/users/signout", Access::kAnyone, "", SignOut});
  routes.push_back({"POST", "/api/v1/users/signup", Access::kAnyone, "", SignUp});
  routes.push_back({"GET", "/api/v1/users/signin/:name", Access::kAnyone, "", BeginProviderSignIn});
  routes.push_back({"GET", "/api/v1/users/signin/:name/callback", Access::kAnyone, "", EndProviderSignIn});
  routes.push_back({"POST", "/api/v1/users/refresh_token", Access::kAnyone, "", RefreshToken});
  routes.push_back({"POST", "/api/v1/users/:id/reset_password", Access::kAnyone, "", ResetPassword});
  routes.push_back({"GET", "/api/v1/users/:id/roles", Access::kUser, "", ListUserRoles});
  routes.push_back({"PUT", "/api/v1/users/:id/roles/:role", Access::kUser, "", AddUserRole});
  routes.push_back({"DELETE", "/api/v1/users/:id/roles/:role", Access::kUser, "", DeleteUserRole});
  routes.push_back({"POST", "/api/v1/roles", Access::kUser, "", CreateRole});
  routes.push_back({"GET", "/api/v1/roles", Access::kUser, "", ListRoles});
  routes.push_back({"GET", "/api/v1/roles/:role", Access::kUser, "", GetRole});
  routes.push_back({"DELETE", "/api/v1/roles/:role", Access::kUser, "", DeleteRole});
  routes.push_back({"POST", "/api/v1/roles/:role/permissions", Access::kUser, "", AddPermission});
  routes.push_back({"DELETE", "/api/v1/roles/:role/permissions", Access::kUser, "", DeletePermission});
  routes.push_back({"GET", "/api/v1/permissions", Access::kUser, "", ListPermissions});
  AddRows(routes, "oauth", "CLGPD");
  AddRows(routes, "personal-access-tokens", "LGPD");
  routes.push_back({"POST", "/api/v1/personal-access-tokens", Access::kUser, "", CreateAccessToken});
}

void AddClusterRoutes(std::vector<Route>& routes) {
  AddForBoth(routes, "POST", "clusters", Access::kUser, "cluster", CreateCluster);
  AddForBoth(routes, "GET", "clusters", Access::kUser, "cluster", ListClusters);
  AddForBoth(routes, "GET", "clusters/:id", Access::kUser, "cluster", GetCluster);
  AddForBoth(routes, "PATCH", "clusters/:id", Access::kUser, "cluster", PatchCluster);
  AddForBoth(routes, "DELETE", "clusters/:id", Access::kUser, "cluster", DeleteCluster);
  AddRows(routes, "scheduler-clusters", "CLGPD");
  routes.push_back(
      {"PUT", "/api/v1/scheduler-clusters/:id/schedulers/:scheduler_id", Access::kUser, "", MoveScheduler});
  AddRows(routes, "schedulers", "CLGPD");
  routes.push_back({"GET", "/api/v1/scheduler-features", Access::kUser, "", ListSchedulerFeatures});
  AddRows(routes, "seed-peer-clusters", "CLGPD");
  routes.push_back({"PUT", "/api/v1/seed-peer-clusters/:id/seed-peers/:seed_peer_id", Access::kUser, "", MoveSeedPeer});
  routes.push_back({"PUT", "/api/v1/seed-peer-clusters/:id/scheduler-clusters/:scheduler_cluster_id", Access::kUser, "",
                    LinkSchedulerCluster});
  AddRows(routes, "seed-peers", "CLGPD");
  AddRows(routes, "peers", "CLGD");
  AddRows(routes, "configs", "CLGPD");
  AddRows(routes, "applications", "CLGPD");
  AddRows(routes, "audits", "L");
}

void AddJobRoutes(std::vector<Route>& routes) {
  const Resource& jobs = *FindResource("jobs");
  AddForBoth(routes, "POST", "jobs", Access::kJobs, "job", CreateJob);
  AddForBoth(routes, "GET", "jobs", Access::kJobs, "job", ListHandler(jobs));
  AddForBoth(routes, "GET", "jobs/:id", Access::kJobs, "job", GetJob);
  AddForBoth(routes, "PATCH", "jobs/:id", Access::kJobs, "job", PatchHandler(jobs));
  AddForBoth(routes, "DELETE", "jobs/:id", Access::kJobs, "job", DeleteJob);
  routes.push_back({"GET", "/api/v1/persistent-cache-tasks", Access::kUser, "", ListPersistentCacheTasks});
  routes.push_back({"GET", "/api/v1/persistent-cache-tasks/:id", Access::kUser, "", GetPersistentCacheTask});
  routes.push_back({"DELETE", "/api/v1/persistent-cache-tasks/:id", Access::kUser, "", DeletePersistentCacheTask});
  routes.push_back({"POST", "/preheats", Access::kJobs, "", CreateHarborPreheat});
  routes.push_back({"GET", "/preheats/:id", Access::kJobs, "", GetHarborPreheat});
}

}  // namespace

std::vector<Route> RestRoutes() {
  std::vector<Route> routes;
  AddUserRoutes(routes);
  AddClusterRoutes(routes);
  AddJobRoutes(routes);
  routes.push_back({"GET", "/", Access::kAnyone, "", Home});
  routes.push_back({"GET", "/healthy", Access::kAnyone, "", Healthy});
  routes.push_back({"GET", "/_ping", Access::kAnyone, "", Healthy});
  routes.push_back({"GET", "/openapi.json", Access::kAnyone, "", OpenApi});
  routes.push_back({"GET", "/swagger/*any", Access::kAnyone, "", Swagger});
  return routes;
}

RestApi::RestApi(RestContext& context) : context_(context), proxies_(context.config.server.rest.trusted_proxies) {}

RestApi::Match RestApi::Find(const std::string& method, const std::string& path) const {
  Match match;
  for (const Route& route : routes_) {
    std::map<std::string, std::string> params;
    if (!Matches(route.path, path, params)) continue;
    match.methods.push_back(route.method);
    if (route.method != method) continue;
    // A pattern without parameters is named more exactly than one with.
    if (match.route == nullptr || params.size() < match.params.size()) {
      match.route = &route;
      match.params = std::move(params);
    }
  }
  return match;
}

void RestApi::AddCorsHeaders(const http::Request& request, http::Response& response) const {
  const std::string origin(request.Find("origin"));
  const std::vector<std::string>& allowed = context_.config.server.rest.cors_origins;
  if (origin.empty() || std::find(allowed.begin(), allowed.end(), origin) == allowed.end()) return;
  response.header.emplace_back("Access-Control-Allow-Origin", origin);
  response.header.emplace_back("Access-Control-Allow-Credentials", "true");
  response.header.emplace_back("Access-Control-Expose-Headers", "Link,Location,Authorization,X-Total-Count");
  response.header.emplace_back("Vary", "Origin");
}

asio::awaitable<http::Response> RestApi::Answer(const Route& route, RestCall call) const {
  const std::string object = ObjectOf(route.path);
  const bool open =
      route.access == Access::kAnyone || (route.access == Access::kJobs && context_.config.auth.anonymous_jobs);
  if (!open) {
    const bool by_token = route.access == Access::kToken;
    const auto caller = by_token ? co_await AuthenticateAccessToken(context_, call, route.scope)
                                 : co_await Authenticate(context_, call);
    if (!caller.ok()) {
      http::Response refused = ErrorResponse(caller.status());
      if (by_token && absl::IsPermissionDenied(caller.status())) refused.status = 403;
      if (absl::IsUnauthenticated(caller.status())) {
        refused.header.emplace_back("WWW-Authenticate", StrCat("JWT realm=", context_.config.auth.realm));
      }
      co_return refused;
    }
    call.caller = *caller;
    const std::string name =
        StrCat(by_token ? "token:" : "user:", by_token ? caller->name : std::to_string(caller->user_id));
    if (auto refused = co_await RefusedForRate(name, context_.config.server.rest.user_rate))
      co_return *std::move(refused);
    if (!by_token) {
      // The routes of Harbor's adapter stand outside of the API, but make jobs.
      const std::string right = object.empty() ? "jobs" : object;
      const absl::Status allowed = Authorize(*caller, right, Changes(call.method) ? "*" : "read");
      if (!allowed.ok()) co_return ErrorResponse(allowed);
    }
  }
  // PostgreSQL would cut them at a zero byte, and find what the caller has not named.
  for (const auto& [name, value] : call.params) {
    const absl::Status readable = CheckText(name, value);
    if (!readable.ok()) co_return ErrorResponse(readable);
  }
  const bool audited = !open && Changes(call.method);
  AuditEntry entry{call.caller.kind == Caller::Kind::kToken ? "PAT" : "USER",
                   call.caller.name,
                   call.method,
                   call.path,
                   0,
                   call.client,
                   absl::Now()};
  const std::string what = StrCat(call.method, " ", route.path);
  RestAnswer answer = co_await route.handler(context_, std::move(call));
  http::Response response = answer.ok() ? *std::move(answer) : ErrorResponse(answer.status());
  if (response.status >= 500 && response.status != 501) DF_LOG(Error, "{}: {}", what, MessageOf(answer.status()));
  if (audited) {
    entry.status = response.status;
    context_.audit.Add(std::move(entry));
  }
  co_return response;
}

asio::awaitable<std::optional<http::Response>> RestApi::RefusedForRate(std::string name, double rate) const {
  if (rate <= 0) co_return std::nullopt;
  const RateDecision decision = co_await context_.limiter.Take(std::move(name), rate);
  if (decision.allowed) co_return std::nullopt;
  http::Response refused = MessageResponse(429, "rate limit exceeded");
  refused.header.emplace_back("Retry-After", std::to_string(absl::ToInt64Seconds(decision.retry_after) + 1));
  co_return refused;
}

asio::awaitable<http::Response> RestApi::operator()(http::Request request) const {
  const TimePoint begun = Clock::now();
  const ClientAddress client = proxies_.Of(request);
  const uint64_t request_bytes = request.target.size() + request.body.size();
  telemetry::Span span;
  if (context_.tracer != nullptr) {
    const auto caller = telemetry::ParseTraceparent(request.Find("traceparent"), request.Find("tracestate"));
    span =
        context_.tracer->Start("http_request", telemetry::SpanKind::kServer, caller.value_or(telemetry::SpanContext()));
    span.Set("http.request.method", request.method);
    span.Set("client.address", client.address);
  }
  http::Target target = http::ParseTarget(request.target);
  std::string route_name = "unknown";
  http::Response response;
  const Match match = Find(request.method, target.path);
  // Probes are let through: a limit must not make a manager look dead.
  const bool limited = match.route == nullptr || match.route->path != "/healthy";
  std::optional<http::Response> refused;
  if (limited) {
    refused = co_await RefusedForRate(StrCat("address:", client.address), context_.config.server.rest.address_rate);
  }
  if (refused.has_value()) {
    response = *std::move(refused);
  } else if (match.route != nullptr) {
    route_name = match.route->path;
    RestCall call;
    call.method = request.method;
    call.path = target.path;
    call.params = match.params;
    for (auto& [name, value] : call.params) value = Percent(value);
    call.query = std::move(target.query);
    call.token = TakeToken(request, match.route->access == Access::kToken, call.query);
    call.cookie = std::string(request.Find("cookie"));
    call.client = client.address;
    call.span = span.AsParent();
    call.secure = client.secure;
    call.body = std::move(request.body);
    response = co_await Answer(*match.route, std::move(call));
  } else if (request.method == "OPTIONS" && !request.Find("origin").empty()) {
    response.status = 204;
    response.header.emplace_back("Access-Control-Allow-Methods", "GET,HEAD,PUT,POST,DELETE,PATCH");
    response.header.emplace_back("Access-Control-Allow-Headers", "Content-Type,Authorization");
    response.header.emplace_back("Access-Control-Max-Age", "600000");
  } else if (!match.methods.empty()) {
    response = MessageResponse(405, "Method Not Allowed");
    response.header.emplace_back("Allow", absl::StrJoin(match.methods, ", "));
  } else if (target.path.size() > 1 && target.path.ends_with('/') &&
             !Find(request.method, target.path.substr(0, target.path.size() - 1)).methods.empty() &&
             !target.path.starts_with("//")) {
    response.status = request.method == "GET" ? 301 : 307;
    response.header.emplace_back("Location", target.path.substr(0, target.path.size() - 1));
  } else {
    response = MessageResponse(404, "Not Found");
  }
  response.header.emplace_back("X-Content-Type-Options", "nosniff");
  response.header.emplace_back("Cache-Control", "no-store");
  AddCorsHeaders(request, response);
  const std::chrono::duration<double> seconds = Clock::now() - begun;
  span.Set("http.route", route_name);
  span.Set("http.response.status_code", response.status);
  if (response.status >= 500) span.SetStatus(absl::InternalError(StrCat("status ", response.status)));
  context_.probe.CountSizes(request_bytes, response.body.size());
  context_.probe.CountRequest(response.status, match.route == nullptr ? "other" : request.method, route_name,
                              seconds.count());
  co_return response;
}

}  // namespace dragonfly::manager
