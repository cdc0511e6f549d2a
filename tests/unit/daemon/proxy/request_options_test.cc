// SPDX-License-Identifier: Apache-2.0
#include "daemon/proxy/request_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/text.h"
#include "common/v2/common.pb.h"
#include "daemon/proxy/basic_auth.h"
#include "daemon/proxy/http_error.h"

namespace dragonfly::daemon::proxy {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;
using Config = DaemonConfig::Proxy;

RequestHead Request(const std::vector<Fields::Entry>& fields) {
  RequestHead request;
  request.method = "GET";
  for (const auto& [name, value] : fields) request.fields.Add(name, value);
  return request;
}

common::v2::Download Make(const Config& config, const Config::Rule& rule, const std::vector<Fields::Entry>& fields) {
  Client client;
  client.ip = "10.1.2.3";
  client.loopback = true;
  const auto made = MakeDownload(config, rule, *Url::Parse("https://o/x?a=b"), Request(fields), client);
  EXPECT_TRUE(made.ok()) << made.status();
  return made.ok() ? **made : common::v2::Download();
}

TEST(ProxyRequest, TheDownloadIsWhatTheFieldsSay) {
  Config config;
  Config::Rule rule;
  const common::v2::Download plain =
      Make(config, rule, {{"Accept", "a"}, {"accept", "b"}, {"Host", "h"}, {"Cookie", "c"}});
  EXPECT_EQ(plain.url(), "https://o/x?a=b");
  EXPECT_EQ(plain.priority(), common::v2::LEVEL6);
  EXPECT_EQ(plain.remote_ip(), "10.1.2.3");
  EXPECT_EQ(plain.filtered_query_params_size(), static_cast<int>(DefaultFilteredQueryParams().size()));
  EXPECT_THAT(plain.request_header(), UnorderedElementsAre(Pair("accept", "a, b"), Pair("cookie", "c")));
  EXPECT_FALSE(plain.prefetch());
  EXPECT_FALSE(plain.disable_back_to_source());
  EXPECT_FALSE(plain.has_piece_length());
  EXPECT_FALSE(plain.has_output_path());

  config.prefetch = config.disable_back_to_source = config.task_id_from_blob_digest = true;
  config.output_dirs = {"/data/models"};
  rule.filtered_query_params = {"p"};
  const common::v2::Download full = Make(config, rule,
                                         {{"x-dragonfly-tag", "t"},
                                          {"X-Dragonfly-Application", "app"},
                                          {"X-DRAGONFLY-PRIORITY", "3"},
                                          {"X-Dragonfly-Piece-Length", "8MiB"},
                                          {"X-Dragonfly-Content-For-Calculating-Task-ID", "c"},
                                          {"X-Dragonfly-Output-Path", "/data/models/x"},
                                          {"X-Dragonfly-Force-Hard-Link", "TRUE"},
                                          {"Range", "bytes=1-2"},
                                          {"Connection", "X-Hop"},
                                          {"X-Hop", "1"},
                                          {"If-None-Match", "\"e\""},
                                          {"Accept-Encoding", "gzip"}});
  EXPECT_EQ(full.tag(), "t");
  EXPECT_EQ(full.application(), "app");
  EXPECT_EQ(full.priority(), common::v2::LEVEL3);
  EXPECT_EQ(full.piece_length(), 8u << 20);
  EXPECT_EQ(full.content_for_calculating_task_id(), "c");
  EXPECT_EQ(full.output_path(), "/data/models/x");
  EXPECT_TRUE(full.force_hard_link());
  EXPECT_TRUE(full.prefetch());
  EXPECT_TRUE(full.disable_back_to_source());
  EXPECT_TRUE(full.enable_task_id_based_blob_digest());
  EXPECT_THAT(full.filtered_query_params(), ElementsAre("p"));
  EXPECT_THAT(full.request_header(), UnorderedElementsAre(Pair("range", "bytes=1-2")));

  const common::v2::Download overridden = Make(config, rule,
                                               {{"X-Dragonfly-Filtered-Query-Params", "a , b"},
                                                {"X-Dragonfly-Prefetch", "no"},
                                                {"Range", "bytes=1-"},
                                                {"X-Dragonfly-Enable-Task-ID-Based-Blob-Digest", "false"},
                                                {"X-Dragonfly-Priority", "high"},
                                                {"X-Dragonfly-Piece-Length", "many"},
                                                {"X-Dragonfly-Tag", "\xc3\xa4"}});
  EXPECT_THAT(overridden.filtered_query_params(), ElementsAre("a", "b"));
  EXPECT_FALSE(overridden.prefetch());
  EXPECT_FALSE(overridden.enable_task_id_based_blob_digest());
  EXPECT_EQ(overridden.priority(), common::v2::LEVEL6);
  EXPECT_FALSE(overridden.has_piece_length());
  EXPECT_FALSE(overridden.has_tag());
  EXPECT_FALSE(Make(config, rule, {{"X-Dragonfly-Prefetch", "true"}}).prefetch()) << "only with a range";
}

TEST(ProxyRequest, AnOutputPathMustBeAllowed) {
  Config config;
  Client here, elsewhere;
  here.loopback = true;
  const auto status = [&](const std::string& path, const Client& client) {
    const auto made = MakeDownload(config, Config::Rule(), *Url::Parse("http://o/x"),
                                   Request({{"X-Dragonfly-Output-Path", path}}), client);
    return made.ok() ? 200 : HttpStatusOf(made.status());
  };
  EXPECT_EQ(status("/data/x", here), 403) << "no directory is allowed by default";
  config.output_dirs = {"/data/"};
  EXPECT_EQ(status("/data/x", here), 200);
  EXPECT_EQ(status("/data/x", elsewhere), 403);
  for (const char* const bad :
       {"/data/../etc/passwd", "/data", "/data/", "/database/x", "data/x", "/etc/passwd", "/data//x"}) {
    EXPECT_EQ(status(bad, here), 403) << bad;
  }
}

TEST(ProxyRequest, ATooSmallPieceLengthIsRefused) {
  const auto made = MakeDownload(Config(), Config::Rule(), *Url::Parse("http://o/x"),
                                 Request({{"X-Dragonfly-Piece-Length", "1MiB"}}), Client());
  EXPECT_EQ(HttpStatusOf(made.status()), 400);
}

TEST(ProxyBasicAuth, TakesItsOwnCredentialsOnly) {
  DaemonConfig::BasicAuth pair;
  pair.username = "u";
  pair.password = "p:q";
  const BasicAuth auth(pair);
  const std::string good = "dTpwOnE=", bad = "dTp4";
  const auto check = [&](const std::vector<Fields::Entry>& fields, bool mirror, size_t left) {
    RequestHead request = Request(fields);
    const absl::Status status = auth.Check(request, mirror);
    EXPECT_EQ(request.fields.entries().size(), left);
    return status.ok() ? 200 : HttpStatusOf(status);
  };
  EXPECT_EQ(check({{"Proxy-Authorization", "Basic " + good}}, false, 0), 200);
  EXPECT_EQ(check({{"Authorization", "basic " + good}}, false, 0), 200) << "as the original wants it";
  EXPECT_EQ(check({{"Authorization", "Bearer token"}, {"Proxy-Authorization", "Basic " + good}}, false, 1), 200)
      << "the origin's stays";
  EXPECT_EQ(check({{"Authorization", "Basic " + good}}, true, 0), 200);
  EXPECT_EQ(check({}, false, 0), 407);
  EXPECT_EQ(check({}, true, 0), 401);
  EXPECT_EQ(check({{"Proxy-Authorization", "Basic " + bad}}, false, 1), 407);
  EXPECT_EQ(check({{"Authorization", "Bearer token"}}, false, 1), 407);
  EXPECT_EQ(check({{"Authorization", "Basic"}}, false, 1), 400) << "without a value, which the original lets pass";
  EXPECT_EQ(check({{"Authorization", "Basic !!"}}, false, 1), 400);
  EXPECT_EQ(check({{"Authorization", "Basic dQ=="}}, false, 1), 400) << "no colon";
  RequestHead anybody;
  EXPECT_TRUE(BasicAuth(std::nullopt).Check(anybody, false).ok());
  EXPECT_EQ(BasicAuth::Challenge(407).first, "Proxy-Authenticate");
  EXPECT_EQ(BasicAuth::Challenge(401).first, "WWW-Authenticate");
}

}  // namespace
}  // namespace dragonfly::daemon::proxy
