// SPDX-License-Identifier: Apache-2.0
#include "http/pages.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <prometheus/counter.h>
#include <prometheus/registry.h>

#include <future>

#include "runtime/io_threads.h"
#include "tests/unit/runtime/run_coroutine.h"

namespace dragonfly::http {
namespace {

using State = ReadinessCheck::State;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class HttpPagesTest : public ::testing::Test {
 protected:
  Response Ask(const Router& router, std::string target, std::string method = "GET") {
    Request request;
    request.method = std::move(method);
    request.target = std::move(target);
    return runtime::RunOn(io_.At(0), router(std::move(request)));
  }

  runtime::IoThreads io_{2};
  runtime::BlockingPool blocking_{1, 16};
};

TEST_F(HttpPagesTest, HealthFollowsTheServers) {
  bool serves = false;
  const Router pages = MakeHealthPages([&] { return serves; }, [] { return std::vector<ReadinessCheck>(); });
  EXPECT_EQ(Ask(pages, "/healthy").status, 503);
  serves = true;
  EXPECT_EQ(Ask(pages, "/healthy").status, 200);
  EXPECT_EQ(Ask(pages, "/healthy").body, "");
  EXPECT_EQ(Ask(pages, "/healthy", "POST").status, 405);
}

TEST_F(HttpPagesTest, ReadinessSaysWhatIsWrong) {
  std::vector<ReadinessCheck> checks = {{"servers", State::kOk, "all up"},
                                        {"schedulers", State::kWarning, "none of 2 serves"}};
  const Router pages = MakeHealthPages([] { return true; }, [&] { return checks; });
  EXPECT_EQ(Ask(pages, "/readyz").status, 200);
  EXPECT_EQ(Ask(pages, "/readyz").body, "ready\nok servers: all up\nwarning schedulers: none of 2 serves\n");
  checks.push_back({"disk", State::kFailed, "full"});
  EXPECT_EQ(Ask(pages, "/readyz").status, 503);
  EXPECT_THAT(Ask(pages, "/readyz").body, StartsWith("not ready\n"));
  EXPECT_THAT(Ask(pages, "/readyz").body, HasSubstr("failed disk: full\n"));
}

TEST_F(HttpPagesTest, MetricsAreReadFreshAndReset) {
  telemetry::Metrics metrics;
  prometheus::Counter& counter =
      prometheus::BuildCounter().Name("things_total").Help("Things.").Register(metrics.registry()).Add({});
  const Router pages = MakeMetricsPages(metrics, [&] { counter.Increment(); });
  const Response first = Ask(pages, "/metrics");
  EXPECT_THAT(first.content_type, StartsWith("text/plain; version=0.0.4"));
  EXPECT_THAT(first.body, HasSubstr("things_total 1\n"));
  EXPECT_THAT(first.body, HasSubstr("process_open_fds "));
  EXPECT_EQ(Ask(pages, "/metrics", "DELETE").status, 200);
  EXPECT_THAT(Ask(pages, "/metrics").body, HasSubstr("things_total 1\n"));
}

TEST_F(HttpPagesTest, ProfilesNameTheBadParameter) {
  const Router pages = MakeStatsPages(blocking_);
  for (const char* query : {"seconds=0", "seconds=301", "seconds=1.5", "seconds=", "seconds=99999999999999999999"}) {
    const Response response = Ask(pages, std::string("/debug/pprof/profile?") + query);
    EXPECT_EQ(response.status, 400) << query;
    EXPECT_THAT(response.body, HasSubstr("must be a number from 1 to 300"));
  }
  EXPECT_THAT(Ask(pages, "/debug/pprof/profile?frequency=-5").body, HasSubstr("frequency=\"-5\""));
}

TEST_F(HttpPagesTest, OneCpuProfileAtATime) {
  const Router pages = MakeStatsPages(blocking_);
  Request request;
  request.method = "GET";
  request.target = "/debug/pprof/profile?seconds=1";
  std::future<Response> first = boost::asio::co_spawn(io_.At(1), pages(std::move(request)), boost::asio::use_future);
  // The first may not have begun yet; then this one is the first. Together exactly one is refused.
  const Response second = Ask(pages, "/debug/pprof/profile?seconds=1&frequency=100");
  const Response other = first.get();
  EXPECT_EQ(other.status + second.status, 200 + 409);
  const Response& good = other.status == 200 ? other : second;
  EXPECT_THAT(good.body, StartsWith("\x1f\x8b"));  // gzip
}

TEST_F(HttpPagesTest, HeapSaysThatItNeedsJemalloc) {
  const Response response = Ask(MakeStatsPages(blocking_), "/debug/pprof/heap");
  EXPECT_EQ(response.status, 501);
  EXPECT_THAT(response.body, HasSubstr("jemalloc"));
}

}  // namespace
}  // namespace dragonfly::http
