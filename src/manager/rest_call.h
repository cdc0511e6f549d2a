// SPDX-License-Identifier: Apache-2.0
// One request to the REST API on its way from the router to its handler.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "db/database.h"
#include "http/server.h"
#include "manager/audit.h"
#include "manager/config.h"
#include "manager/identity_reader.h"
#include "manager/login_throttle.h"
#include "manager/probe.h"
#include "manager/rate_limiter.h"
#include "manager/row_counts.h"
#include "manager/web_client.h"
#include "runtime/blocking_pool.h"
#include "telemetry/trace.h"

namespace dragonfly::manager {

class JobService;

struct Caller {
  enum class Kind { kNobody, kUser, kToken };
  Kind kind = Kind::kNobody;
  int64_t user_id = 0;
  std::string name;
  UserRights rights;  // of a user
};

struct RestCall {
  std::string method;
  std::string path;
  std::map<std::string, std::string> params;  // ":id" of the pattern
  std::map<std::string, std::string> query;
  std::string body;
  std::string token;   // a JWT as it came, good or not
  std::string cookie;  // the header
  std::string client;
  bool secure = false;  // the client's connection is TLS: with us, or with a proxy that is trusted
  Caller caller;
  telemetry::SpanParent span;  // what is done for it hangs there

  // The parameter as a number. Errors: INVALID_ARGUMENT.
  absl::StatusOr<int64_t> Id(const std::string& name = "id") const;
};

// What handlers work with. All of it outlives the server.
struct RestContext {
  db::Database& database;
  runtime::BlockingPool& passwords;  // hashes, which are slow on purpose
  LoginThrottle& throttle;
  AuditLog& audit;
  Probe& probe;
  const ManagerConfig& config;
  std::string jwt_key;
  WebClient& web;
  RateLimiter& limiter;
  telemetry::Tracer* tracer;  // null: no traces are exported
  IdentityReader& identities;
  RowCounts& counts;
  JobService* jobs = nullptr;

  // Reads from the database, within the time of one call.
  template <typename T>
  boost::asio::awaitable<absl::StatusOr<T>> Read(db::Database::Work<T> work) {
    return database.Run<T>(std::move(work), Clock::now() + std::chrono::seconds(30));
  }
  // Work on the database that writes: in a transaction, within the time of one call.
  template <typename T>
  boost::asio::awaitable<absl::StatusOr<T>> Do(db::Database::Work<T> work) {
    auto result = co_await database.Transact<T>(std::move(work), Clock::now() + std::chrono::seconds(30));
    counts.Forget();
    co_return result;
  }
};

using RestAnswer = absl::StatusOr<http::Response>;
using RestHandler = std::function<boost::asio::awaitable<RestAnswer>(RestContext&, RestCall)>;

// 200 with a JSON text, or with an empty body.
http::Response JsonResponse(std::string body);
http::Response EmptyResponse();
// {"message": `message`}
http::Response MessageResponse(int status, std::string_view message);

// 302 to `location`.
http::Response RedirectResponse(std::string location);
// The value in a header Cookie; empty when there is none.
std::string CookieIn(std::string_view header, std::string_view name);

// An error as the API tells it. INVALID_ARGUMENT and OUT_OF_RANGE are 422 {"errors"}; the others are {"message"}:
// NOT_FOUND 404, ALREADY_EXISTS 409 "Conflict", FAILED_PRECONDITION 409, UNAUTHENTICATED and PERMISSION_DENIED 401,
// RESOURCE_EXHAUSTED 429, UNIMPLEMENTED 501, UNAVAILABLE and DEADLINE_EXCEEDED 503, the rest 500 without its text.
http::Response ErrorResponse(const absl::Status& status);

struct Page {
  int64_t page = 1;
  int64_t per_page = 10;
};
// Of the query. Errors: INVALID_ARGUMENT.
absl::StatusOr<Page> PageOf(const RestCall& call);
// Puts the header Link to `response`.
void AddLinks(const RestCall& call, const Page& page, int64_t total, http::Response& response);

}  // namespace dragonfly::manager
