// SPDX-License-Identifier: Apache-2.0
#include "daemon/status_page.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_future.hpp>
#include <nlohmann/json.hpp>

namespace dragonfly::daemon {
namespace {

using testing::HasSubstr;
using testing::Not;

DaemonStatus Status() {
  DaemonStatus status;
  status.host_id = "10.0.0.1-<b>host</b>";
  status.uptime = absl::Minutes(61);
  status.schedulers = {"10.0.0.9:8002"};
  status.tasks = 3;
  status.complete_tasks = 2;
  status.total_bytes = 1 << 30;
  status.download_limit = 1 << 20;
  status.peer_bytes = 7;
  DownloadStory story;
  story.url = "http://o/<script>alert('x')</script>";
  story.running = false;
  story.total = absl::Milliseconds(1500);
  story.sources.resize(2);
  story.sources[0].bytes = 2048;
  story.sources[1].peer_id = "p";
  story.sources[1].bytes = 4096;
  status.downloads.emplace_back("task-1", story);
  story.outcome = absl::InternalError("gone");
  status.downloads.emplace_back("task-2", story);
  return status;
}

http::Response Get(const std::string& target) {
  http::Router router;
  AddStatusPages(router, Status);
  http::Request request;
  request.method = "GET";
  request.target = target;
  boost::asio::io_context io;
  std::future<http::Response> response = boost::asio::co_spawn(io, router(std::move(request)), boost::asio::use_future);
  io.run();
  return response.get();
}

TEST(StatusPage, ShowsTheDaemonAndItsLastDownloads) {
  const http::Response page = Get("/status");
  EXPECT_EQ(page.status, 200);
  EXPECT_EQ(page.content_type, "text/html; charset=utf-8");
  EXPECT_THAT(page.body, HasSubstr("<td>1h 1m</td>"));
  EXPECT_THAT(page.body, HasSubstr("<td>3, complete 2</td>"));
  EXPECT_THAT(page.body, HasSubstr("download 1.00 MiB/s, upload none"));
  EXPECT_THAT(page.body, HasSubstr("<td>finished</td><td>1500 ms</td><td>4.00 KiB</td><td>2.00 KiB</td>"));
  EXPECT_THAT(page.body, HasSubstr("<td>failed</td>"));
}

TEST(StatusPage, EscapesWhatComesFromOutside) {
  const http::Response page = Get("/status");
  EXPECT_THAT(page.body, Not(HasSubstr("<script>")));
  EXPECT_THAT(page.body, HasSubstr("&lt;script&gt;alert(&#39;x&#39;)"));
  EXPECT_THAT(page.body, Not(HasSubstr("<b>host")));
  EXPECT_THAT(page.header,
              testing::Contains(testing::Pair("Content-Security-Policy", HasSubstr("default-src 'none'"))));
}

TEST(StatusPage, IsJsonForPrograms) {
  const http::Response page = Get("/status.json");
  EXPECT_EQ(page.content_type, "application/json");
  const auto json = nlohmann::json::parse(page.body);
  EXPECT_EQ(json["uptime_seconds"], 3660);
  EXPECT_EQ(json["schedulers"][0], "10.0.0.9:8002");
  EXPECT_EQ(json["tasks"]["complete"], 2);
  EXPECT_EQ(json["downloads"][0]["state"], "finished");
  EXPECT_EQ(json["downloads"][0]["from_origins_bytes"], 2048);
  EXPECT_EQ(json["downloads"][1]["state"], "failed");
}

}  // namespace
}  // namespace dragonfly::daemon
