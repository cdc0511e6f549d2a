// SPDX-License-Identifier: Apache-2.0
// Which handler answers which request of a http::Server.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <map>
#include <string>
#include <string_view>

#include "http/server.h"

namespace dragonfly::http {

// The parts of a request's target. Parameters are decoded (percent-encoding, '+' as a blank); of one that comes twice
// the first counts.
struct Target {
  std::string path;  // as it stands, without the query
  std::map<std::string, std::string> query;
};
Target ParseTarget(std::string_view target);

// Filled before the server starts, then only read. An unknown path is answered with 404, a known one with another
// method with 405 and the methods it takes. Example:
//   http::Router router;
//   router.On("GET", "/healthy", [](http::Request) -> asio::awaitable<http::Response> { ... });
//   http::Server::Start(options, io, std::move(router));
class Router {
 public:
  // `path` is compared as a whole; one that ends with "/*" takes everything below it. The longest match wins; a path
  // that is named twice for one method keeps its last handler. HEAD is served by GET.
  Router& On(std::string method, std::string path, Server::Handler handler);

  boost::asio::awaitable<Response> operator()(Request request) const;

 private:
  using Methods = std::map<std::string, Server::Handler>;
  const Methods* Find(std::string_view path) const;

  std::map<std::string, Methods, std::less<>> exact_;
  std::map<std::string, Methods, std::less<>> below_;  // by the path with its last '/'
};

}  // namespace dragonfly::http
