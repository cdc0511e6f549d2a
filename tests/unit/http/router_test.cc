// SPDX-License-Identifier: Apache-2.0
#include "http/router.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "runtime/io_threads.h"
#include "tests/unit/runtime/run_coroutine.h"

namespace dragonfly::http {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;

Server::Handler Named(std::string name) {
  return [name = std::move(name)](Request request) -> boost::asio::awaitable<Response> {
    return [](std::string text) -> boost::asio::awaitable<Response> {
      Response response;
      response.body = std::move(text);
      co_return response;
    }(name + " " + request.target);
  };
}

Response Ask(const Router& router, std::string method, std::string target) {
  runtime::IoThreads io(1);
  Request request;
  request.method = std::move(method);
  request.target = std::move(target);
  return runtime::RunOn(io.At(0), router(std::move(request)));
}

TEST(ParseTarget, TakesTheQueryApart) {
  const Target target = ParseTarget("/debug/profile?seconds=10&name=a%20b+c&seconds=20&flag&=x&&");
  EXPECT_EQ(target.path, "/debug/profile");
  EXPECT_THAT(target.query, ElementsAre(Pair("", "x"), Pair("flag", ""), Pair("name", "a b c"), Pair("seconds", "10")));
  EXPECT_EQ(ParseTarget("/metrics").path, "/metrics");
  EXPECT_THAT(ParseTarget("/metrics?").query, IsEmpty());
}

TEST(Router, ChoosesByMethodAndWholePath) {
  Router router;
  router.On("GET", "/metrics", Named("get")).On("DELETE", "/metrics", Named("delete"));
  EXPECT_EQ(Ask(router, "GET", "/metrics?x=1").body, "get /metrics?x=1");
  EXPECT_EQ(Ask(router, "DELETE", "/metrics").body, "delete /metrics");
  for (const char* path : {"/", "/metric", "/metrics/", "/metrics/x", "metrics", "", "?/metrics"}) {
    EXPECT_EQ(Ask(router, "GET", path).status, 404) << path;
  }
}

TEST(Router, NamesTheMethodsThatAPathTakes) {
  Router router;
  router.On("GET", "/metrics", Named("get")).On("DELETE", "/metrics", Named("delete"));
  const Response response = Ask(router, "POST", "/metrics");
  EXPECT_EQ(response.status, 405);
  EXPECT_THAT(response.header, ElementsAre(Pair("Allow", "DELETE, GET")));
}

TEST(Router, PrefersTheLongestPrefix) {
  Router router;
  router.On("GET", "/*", Named("root")).On("GET", "/a/*", Named("a")).On("GET", "/a/b", Named("exact"));
  EXPECT_EQ(Ask(router, "GET", "/a/b").body, "exact /a/b");
  EXPECT_EQ(Ask(router, "GET", "/a/b/c").body, "a /a/b/c");
  EXPECT_EQ(Ask(router, "GET", "/a/").body, "a /a/");
  EXPECT_EQ(Ask(router, "GET", "/a").body, "root /a");
  EXPECT_EQ(Ask(router, "GET", "/").body, "root /");
}

}  // namespace
}  // namespace dragonfly::http
