// SPDX-License-Identifier: Apache-2.0
// The REST API: one table of routes, each with who may call it. What the table does not name is refused. Routes:
// dragonfly v2.3.0, manager/router/router.go; see docs/manager-api.md.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <optional>
#include <string>
#include <vector>

#include "http/server.h"
#include "manager/client_address.h"
#include "manager/rest_call.h"

namespace dragonfly::manager {

// Who may call.
enum class Access {
  kAnyone,
  kUser,   // a signed-in user whose role has the right
  kToken,  // who has a personal access token of the scope
  kJobs,   // as kUser, or anyone where the configuration says so
};

struct Route {
  std::string method;
  std::string path;  // "/api/v1/users/:id"; a last part "*name" takes the rest
  Access access = Access::kUser;
  std::string scope;  // of a token
  RestHandler handler;
};

// The table.
std::vector<Route> RestRoutes();

class RestApi {
 public:
  // `context` must outlive it.
  explicit RestApi(RestContext& context);

  boost::asio::awaitable<http::Response> operator()(http::Request request) const;

 private:
  struct Match {
    const Route* route = nullptr;
    std::map<std::string, std::string> params;
    std::vector<std::string> methods;  // of the path, when the method is another
  };

  Match Find(const std::string& method, const std::string& path) const;
  boost::asio::awaitable<http::Response> Answer(const Route& route, RestCall call) const;
  void AddCorsHeaders(const http::Request& request, http::Response& response) const;

  // 429, when the caller has had enough.
  boost::asio::awaitable<std::optional<http::Response>> RefusedForRate(std::string name, double rate) const;

  RestContext& context_;
  const std::vector<Route> routes_ = RestRoutes();
  const TrustedProxies proxies_;
};

}  // namespace dragonfly::manager
