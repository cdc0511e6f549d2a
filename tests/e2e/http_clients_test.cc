// SPDX-License-Identifier: Apache-2.0
// Programs that know nothing of Dragonfly get files through the proxy of their host, as docs/guides/ tell: git-lfs, pip
// and curl on hosts with networks of their own, nginx as their server.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

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
#include "tests/support/certificates.h"

namespace dragonfly::e2e {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kProxy[] = "http://127.0.0.1:4001";
constexpr int kTlsPort = 8443;

// The batch API of Git LFS is a POST that is answered by a file. A hub tells about a file beside the redirect to it.
constexpr char kLocations[] = R"(
  location /lfs/objects/batch { default_type application/vnd.git-lfs+json; root %WWW%; error_page 405 =200 $uri; }
  location ^~ /org/model/resolve/ {
    add_header X-Repo-Commit 0123456789 always;
    return 302 http://$host:$server_port/cdn/blob?signature=$msec;
  }
)";

class HttpClients : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { has_network_ = EnterOwnNetwork(); }
  void SetUp() override {
    if (!has_network_) GTEST_SKIP() << "needs the rights to make network namespaces";
    std::string locations = kLocations;
    locations.replace(locations.find("%WWW%"), 5, dir_.path() + "/www");
    locations += StrCat("listen ", kCenter, ":", kTlsPort, " ssl; ", certificates_.NginxLines());
    origin_ = std::make_unique<Origin>(dir_.path(), 0, kCenter, locations);
    cluster_ = std::make_unique<HostCluster>(
        dir_.path(), 2,
        StrCat(
            "proxy:\n  rules: [{regex: 'https://10.77.0.1:8443/files/'}, {regex: '[0-9a-f]{64}'}, {regex: '[.]whl$'}, "
            "{regex: 'resolve/'}]\n  registryMirror:\n    addr: ",
            origin_->Url(""), "\nbackend:\n  caCert: ", certificates_.ca_file(), "\n"));
  }

  std::string Path(const std::string& name) const { return dir_.path() + "/www/" + name; }
  std::string File(const std::string& name, uint64_t bytes, uint64_t seed) const {
    std::filesystem::create_directories(std::filesystem::path(Path(name)).parent_path());
    WriteRandomFile(Path(name), bytes, seed);
    return Path(name);
  }
  std::string OnHost(const std::string& name, size_t host = 0) {
    return cluster_->peer(host).host().dir() + "/" + name;
  }

  static inline bool has_network_ = false;
  const dragonfly::testing::Certificates certificates_{std::string("IP:") + kCenter};
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

// What huggingface_hub asks for a file of a repository: a HEAD at the hub, then a GET of the URL that the answer names.
TEST_F(HttpClients, AHubThatRedirectsIsReadThroughTheProxy) {
  constexpr uint64_t kBytes = 20'000'000;
  File("cdn/blob", kBytes, 2);
  const std::string url = StrCat(kProxy, "/org/model/resolve/main/model.bin");
  std::vector<Process> downloads;
  for (size_t i = 0; i < cluster_->size(); ++i) {
    const std::string head = cluster_->peer(i).host().Run({"curl", "-sS", "-I", url});
    EXPECT_THAT(head, AllOf(HasSubstr("200 OK"), HasSubstr(StrCat("Content-Length: ", kBytes)),
                            HasSubstr("X-Repo-Commit: 0123"), Not(HasSubstr("Location"))));
    downloads.push_back(cluster_->peer(i).host().Start({"curl", "-sSf", "-o", "model", url}, "hub.out"));
  }
  for (Process& download : downloads) Output(download);
  for (size_t i = 0; i < cluster_->size(); ++i) EXPECT_TRUE(SameContent(OnHost("model", i), Path("cdn/blob")));
  EXPECT_EQ(origin_->BytesSent("cdn/blob"), kBytes);
}

TEST_F(HttpClients, PipOnTwoHostsReadsAWheelOnceAndTheIndexEachTime) {
  std::filesystem::create_directories(Path("simple/demo"));
  const std::string script = R"(
import os, sys, zipfile
with zipfile.ZipFile(sys.argv[1], "w") as wheel:
    wheel.writestr("demo/data.bin", os.urandom(12_000_000))
    info = "demo-1.0.dist-info/"
    wheel.writestr(info + "METADATA", "Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n")
    wheel.writestr(info + "WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    wheel.writestr(info + "RECORD", "")
)";
  const std::string name = "demo-1.0-py3-none-any.whl";
  Process make({"/usr/bin/python3", "-c", script, Path("simple/demo/" + name)}, dir_.path() + "/wheel.out");
  Output(make);
  std::ofstream(Path("simple/demo/index.html")) << "<a href=\"" << name << "\">" << name << "</a>";

  std::vector<Process> downloads;
  for (size_t i = 0; i < cluster_->size(); ++i) {
    downloads.push_back(cluster_->peer(i).host().Start(
        {"/usr/bin/python3", "-m", "pip", "download", "--quiet", "--no-deps", "--no-cache-dir", "--proxy", kProxy,
         "--trusted-host", kCenter, "--index-url", origin_->Url("simple/"), "--dest", "wheels", "demo"},
        "pip.out"));
  }
  for (Process& download : downloads) Output(download);
  for (size_t i = 0; i < cluster_->size(); ++i) {
    EXPECT_TRUE(SameContent(OnHost("wheels/" + name, i), Path("simple/demo/" + name)));
  }
  EXPECT_EQ(origin_->BytesSent("simple/demo/" + name), std::filesystem::file_size(Path("simple/demo/" + name)));
  EXPECT_EQ(origin_->Requests("simple/demo/index.html"), cluster_->size());
}

// The daemon opens the tunnel, as its rule may match, by a certificate of its own authority.
TEST_F(HttpClients, CurlReadsOverHttpsWhatItsProxySharesWithTheOther) {
  const std::string file = File("files/data", 15'000'000, 3);
  const std::string url = StrCat("https://", kCenter, ":", kTlsPort, "/files/data");
  std::vector<Process> downloads;
  for (size_t i = 0; i < cluster_->size(); ++i) {
    downloads.push_back(cluster_->peer(i).host().Start(
        {"curl", "-sSf", "-x", kProxy, "--cacert", "storage/proxy/ca.pem", "-o", "data", url}, "tls.out"));
  }
  for (Process& download : downloads) Output(download);
  for (size_t i = 0; i < cluster_->size(); ++i) EXPECT_TRUE(SameContent(OnHost("data", i), file));
  EXPECT_EQ(origin_->BytesSent("files/data"), 15'000'000u);
  // Without that authority it is told so.
  EXPECT_THAT(cluster_->peer(0).host().Run({"curl", "-sS", "-x", kProxy, url}, 60), HasSubstr("certificate"));
}

}  // namespace
}  // namespace dragonfly::e2e
