// SPDX-License-Identifier: Apache-2.0
// Programs that know nothing of Dragonfly get files through the proxy of their host, as docs/guides/ tell: git-lfs and
// curl on hosts with networks of their own, nginx as their server.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "base/digest.h"
#include "base/text.h"
#include "tests/e2e/harness/cluster.h"
#include "tests/e2e/harness/network.h"
#include "tests/e2e/harness/origin.h"
#include "tests/e2e/harness/peer_host.h"

namespace dragonfly::e2e {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr char kProxy[] = "http://127.0.0.1:4001";
// The batch API of Git LFS is a POST that is answered by a file.
constexpr char kLocations[] =
    "location /lfs/objects/batch { root %ROOT%; default_type application/vnd.git-lfs+json; error_page 405 =200 $uri; "
    "}\n"
    "location /broken { return 500; }\n"
    "location /unreachable { proxy_pass http://127.0.0.1:1; }\n";

class HttpClients : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { has_network_ = EnterOwnNetwork(); }
  void SetUp() override {
    if (!has_network_) GTEST_SKIP() << "needs the rights to make network namespaces";
    std::string locations = kLocations;
    locations.replace(locations.find("%ROOT%"), 6, dir_.path() + "/www");
    origin_ = std::make_unique<Origin>(dir_.path(), 0, kCenter, locations);
    cluster_ = std::make_unique<HostCluster>(dir_.path(), 2,
                                             "proxy:\n  rules:\n    - regex: '/files/'\n    - regex: '[0-9a-f]{64}'\n");
  }

  std::string Path(const std::string& name) const { return dir_.path() + "/www/" + name; }
  std::string File(const std::string& name, uint64_t bytes, uint64_t seed) const {
    std::filesystem::create_directories(std::filesystem::path(Path(name)).parent_path());
    WriteRandomFile(Path(name), bytes, seed);
    return Path(name);
  }
  // curl on the first host, through its proxy; what -w asks for comes back.
  std::string Curl(std::vector<std::string> options) {
    options.insert(options.begin(), {"curl", "-s", "-S", "-x", kProxy});
    return cluster_->peer(0).host().Run(options);
  }
  std::string OnHost(const std::string& name, size_t host = 0) {
    return cluster_->peer(host).host().dir() + "/" + name;
  }

  static inline bool has_network_ = false;
  TempDir dir_;
  std::unique_ptr<Origin> origin_;
  std::unique_ptr<HostCluster> cluster_;
};

TEST_F(HttpClients, GitLfsOnTwoHostsReadsAnObjectOnce) {
  constexpr uint64_t kBytes = 60'000'000;
  File("object", kBytes, 1);
  const std::string oid = DigestOfFile(Path("object"), DigestAlgorithm::kSha256)->encoded();
  std::filesystem::create_directories(Path("lfs/objects"));
  std::filesystem::rename(Path("object"), Path("lfs/objects/" + oid));
  std::ofstream(Path("lfs/objects/batch"))
      << "{\"transfer\":\"basic\",\"objects\":[{\"oid\":\"" << oid << "\",\"size\":" << kBytes
      << ",\"actions\":{\"download\":{\"href\":\"" << origin_->Url("lfs/objects/" + oid) << "\"}}}]}";

  const std::string script = StrCat("set -e\nexport HOME=$PWD GIT_TERMINAL_PROMPT=0\n",
                                    "git init -q work && cd work\n"
                                    "git config user.email nobody@example.com && git config user.name nobody\n"
                                    "git lfs install --local >/dev/null\n"
                                    "git config lfs.url ",
                                    origin_->Url("lfs"), "\n", "git config http.proxy ", kProxy, "\n",
                                    "echo '*.bin filter=lfs diff=lfs merge=lfs -text' > .gitattributes\n"
                                    "printf 'version https://git-lfs.github.com/spec/v1\\noid sha256:",
                                    oid, "\\nsize ", kBytes, "\\n' > model.bin\n",
                                    "git add . && git commit -q -m model\n"
                                    "git lfs pull\n");
  std::vector<Process> pulls;
  for (size_t i = 0; i < cluster_->size(); ++i) {
    pulls.push_back(cluster_->peer(i).host().Start({"sh", "-c", script}, "git.out"));
  }
  for (Process& pull : pulls) Output(pull);
  for (size_t i = 0; i < cluster_->size(); ++i) {
    EXPECT_TRUE(SameContent(OnHost("work/model.bin", i), Path("lfs/objects/" + oid)));
  }
  EXPECT_EQ(origin_->BytesSent("lfs/objects/" + oid), kBytes);
}

TEST_F(HttpClients, CurlResumesAndTakesRanges) {
  const std::string file = File("files/data", 20'000'000, 2);
  const std::string url = origin_->Url("files/data");
  const std::string output = OnHost("data");
  std::filesystem::copy_file(file, output);
  std::filesystem::resize_file(output, 7'654'321);
  EXPECT_EQ(Curl({"-C", "-", "-o", output, "-w", "%{http_code} %{size_download}", url}),
            StrCat("206 ", 20'000'000 - 7'654'321));
  EXPECT_TRUE(SameContent(output, file));

  EXPECT_EQ(
      Curl({"-r", "-1000", "-o", OnHost("tail"), "-w", "%{http_code} %{size_download} %header{content-range}", url}),
      "206 1000 bytes 19999000-19999999/20000000");
  EXPECT_EQ(Curl({"-r", "30000000-", "-o", OnHost("beyond"), "-w", "%{http_code} %header{content-range}", url}),
            "416 bytes */20000000");
  // Several ranges are a plain answer.
  EXPECT_EQ(Curl({"-r", "0-1,4-5", "-o", OnHost("whole"), "-w", "%{http_code} %{size_download}", url}), "200 20000000");
  EXPECT_TRUE(SameContent(OnHost("whole"), file));
  EXPECT_LE(origin_->BytesSent("files/data"), 2u * 20'000'000) << "a range may be read before the whole";
}

TEST_F(HttpClients, CurlAsksForHeadsAndConditions) {
  File("files/data", 5'000'000, 3);
  const std::string url = origin_->Url("files/data");
  const std::string head = Curl({"-I", url});
  EXPECT_THAT(head, AllOf(HasSubstr("200 OK"), HasSubstr("5000000")));
  const size_t at = head.find("ETag: ");
  ASSERT_NE(at, std::string::npos) << head;
  const std::string etag = head.substr(at + 6, head.find('\r', at) - at - 6);
  EXPECT_EQ(Curl({"-H", "If-None-Match: " + etag, "-o", OnHost("none"), "-w", "%{http_code} %{size_download}", url}),
            "304 0");
  EXPECT_EQ(Curl({"-H", "If-None-Match: \"other\"", "-o", OnHost("data"), "-w", "%{http_code} %{size_download}", url}),
            "200 5000000");
  // A file that changes at its server changes here, too.
  File("files/data", 4'000'000, 4);
  EXPECT_EQ(Curl({"-o", OnHost("data"), "-w", "%{http_code} %{size_download}", url}), "200 4000000");
  EXPECT_TRUE(SameContent(OnHost("data"), Path("files/data")));
}

TEST_F(HttpClients, CurlIsToldWhatIsWrongWithTheServer) {
  EXPECT_EQ(Curl({"-o", OnHost("a"), "-w", "%{http_code} %header{x-dragonfly-error-type}", origin_->Url("files/none")}),
            "404 backend");
  EXPECT_EQ(Curl({"-o", OnHost("b"), "-w", "%{http_code}", origin_->Url("broken")}), "500");
  EXPECT_EQ(Curl({"-o", OnHost("c"), "-w", "%{http_code}", "-H", "X-Dragonfly-Use-P2P: true", origin_->Url("broken")}),
            "500");
  EXPECT_EQ(Curl({"-o", OnHost("d"), "-w", "%{http_code}", origin_->Url("unreachable")}), "502");
  EXPECT_EQ(Curl({"-w", "%{http_code}", "-o", OnHost("e"), "http://10.77.0.1:1/files/x"}), "502");
  EXPECT_THAT(Curl({"http://10.77.0.1:1/files/x"}), HasSubstr("connect to 10.77.0.1 port 1"));
}

TEST_F(HttpClients, WhatIsStoredIsServedWhileItsServerIsDown) {
  const std::string file = File("files/data", 9'000'000, 5);
  const std::string url = origin_->Url("files/data");
  EXPECT_EQ(Curl({"-o", OnHost("first"), "-w", "%{http_code}", url}), "200");
  origin_->process().Kill();
  EXPECT_EQ(Curl({"-o", OnHost("second"), "-w", "%{http_code} %{size_download}", url}), "200 9000000");
  EXPECT_TRUE(SameContent(OnHost("second"), file));
}

}  // namespace
}  // namespace dragonfly::e2e
