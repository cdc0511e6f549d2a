// SPDX-License-Identifier: Apache-2.0
#include "http/environment_proxy.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <optional>
#include <string>

namespace dragonfly::http {
namespace {

constexpr const char* kNames[] = {"http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY",   "all_proxy",
                                  "ALL_PROXY",  "no_proxy",   "NO_PROXY",    "REQUEST_METHOD"};

class EnvironmentProxy : public ::testing::Test {
 protected:
  EnvironmentProxy() {
    for (const char* const name : kNames) {
      if (const char* const value = std::getenv(name)) before_[name] = value;
      ::unsetenv(name);
    }
  }
  ~EnvironmentProxy() override {
    for (const char* const name : kNames) ::unsetenv(name);
    for (const auto& [name, value] : before_) ::setenv(name.c_str(), value.c_str(), 1);
  }
  static void Set(const char* name, const char* value) { ::setenv(name, value, 1); }

 private:
  std::map<std::string, std::string> before_;
};

TEST_F(EnvironmentProxy, IsOfTheSchemeOrOfAll) {
  EXPECT_EQ(ProxyOfEnvironment("http", "a.example"), "");
  Set("ALL_PROXY", "http://all:1");
  EXPECT_EQ(ProxyOfEnvironment("http", "a.example"), "http://all:1");
  Set("HTTPS_PROXY", "http://tls:2");
  EXPECT_EQ(ProxyOfEnvironment("https", "a.example"), "http://tls:2");
  EXPECT_EQ(ProxyOfEnvironment("http", "a.example"), "http://all:1");
  Set("https_proxy", "http://lower:3");
  EXPECT_EQ(ProxyOfEnvironment("https", "a.example"), "http://lower:3");
  Set("HTTP_PROXY", "plain:4");
  EXPECT_EQ(ProxyOfEnvironment("http", "a.example"), "plain:4");
  Set("REQUEST_METHOD", "GET");
  EXPECT_EQ(ProxyOfEnvironment("http", "a.example"), "http://all:1") << "that may be the Proxy field of a client";
}

TEST_F(EnvironmentProxy, IsNotForWhatIsExcepted) {
  Set("http_proxy", "http://proxy:1");
  Set("no_proxy", "one.example, .two.example,three.example. 10.0.0.0/8 192.168.1.1,[fd00::1],fd01::/16,localhost");
  for (const char* const host : {"one.example", "a.one.example", "ONE.example.", "two.example", "b.two.example",
                                 "three.example", "10.255.0.1", "192.168.1.1", "[fd00::1]", "fd01::2", "localhost"}) {
    EXPECT_EQ(ProxyOfEnvironment("http", host), "") << host;
  }
  for (const char* const host :
       {"one.example.org", "xone.example", "example", "11.0.0.1", "192.168.1.11", "fd00::2", "10.0.0.0.example"}) {
    EXPECT_EQ(ProxyOfEnvironment("http", host), "http://proxy:1") << host;
  }
  Set("no_proxy", "*");
  EXPECT_EQ(ProxyOfEnvironment("http", "anything"), "");
}

}  // namespace
}  // namespace dragonfly::http
