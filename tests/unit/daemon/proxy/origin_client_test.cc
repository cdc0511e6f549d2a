// SPDX-License-Identifier: Apache-2.0
#include "daemon/proxy/origin_client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/use_future.hpp>
#include <future>
#include <string>
#include <utility>

#include "absl/synchronization/notification.h"
#include "base/status.h"
#include "daemon/proxy/http_error.h"
#include "runtime/io_threads.h"

namespace dragonfly::daemon::proxy {
namespace {

using ::testing::HasSubstr;

constexpr std::chrono::seconds kWait{30};

// As when no name server answers, and others have asked before.
TEST(OriginClient, WaitsForALookUpNoLongerThanItsTime) {
  runtime::IoThreads io(1);
  absl::Notification answered;
  runtime::BlockingPool resolvers(1, 1);
  ASSERT_TRUE(resolvers.Post([&] { answered.WaitForNotification(); }));
  const auto tls = OriginTls::Make(OriginTls::Options());
  ASSERT_TRUE(tls.ok()) << tls.status();
  const http::Networks forbidden;
  OriginClient::Options options;
  options.resolve_timeout = std::chrono::milliseconds(100);
  OriginClient client(io.At(0), resolvers, **tls, forbidden, options);
  const auto connect = [&] {
    return boost::asio::co_spawn(io.At(0), client.Connect("localhost", 1), boost::asio::use_future);
  };
  auto late = connect();
  const bool ended = late.wait_for(kWait) == std::future_status::ready;
  auto crowded_out = connect();
  const bool refused = crowded_out.wait_for(kWait) == std::future_status::ready;
  answered.Notify();
  ASSERT_TRUE(ended);
  ASSERT_TRUE(refused);
  const absl::Status status = late.get().status();
  EXPECT_EQ(HttpStatusOf(status), 504);
  EXPECT_EQ(MessageOf(status), "resolve localhost: no answer");
  EXPECT_THAT(std::string(MessageOf(crowded_out.get().status())), HasSubstr("too many names are looked up"));
}

}  // namespace
}  // namespace dragonfly::daemon::proxy
