// SPDX-License-Identifier: Apache-2.0
// Container runtimes of several hosts pull images through the dfdaemon of each, which dfinit has told them about: real
// podman, skopeo, buildah and containerd, a real docker-registry, hosts with networks of their own.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "base/digest.h"
#include "base/text.h"
#include "tests/e2e/harness/cluster.h"
#include "tests/e2e/harness/network.h"
#include "tests/e2e/harness/peer_host.h"
#include "tests/e2e/harness/registry.h"
#include "tests/support/certificates.h"

namespace dragonfly::e2e {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::UnorderedElementsAreArray;

constexpr std::chrono::seconds kStartTimeout{30};
constexpr char kProxy[] = "http://127.0.0.1:4001";
constexpr size_t kHosts = 3;

// The runtimes of a host.
class Machine {
 public:
  Machine(Host& host, const std::string& registry_url)
      : host_(host), registry_(registry_url.substr(registry_url.find("//") + 2)) {
    Configure(registry_url);
  }

  Host& host() { return host_; }

  // Takes dfinit's work back and checks that the runtimes see nothing of it.
  void Unconfigure() {
    host_.Run({Program("dfinit"), "--config", host_.dir() + "/dfinit.yaml", "--uninstall"});
    EXPECT_EQ(host_.Run({"cat", "/etc/containerd/config.toml"}), config_toml_);
    EXPECT_EQ(host_.Run({"ls", "/etc/containerd"}), "config.toml\n");
    EXPECT_THAT(host_.Run({"podman", "info", "--format", "{{json .Registries}}"}), Not(HasSubstr("4001")));
  }

  std::string ImageName(const std::string& name) const { return registry_ + "/" + name; }

  Process Podman(const std::string& image, std::vector<std::string> options = {}) {
    options.insert(options.begin(), {"podman", "pull", "--quiet"});
    options.push_back(ImageName(image));
    return host_.Start(options, NextLog("podman"));
  }
  Process Buildah(const std::string& image) {
    return host_.Start({"buildah", "pull", "--quiet", ImageName(image)}, NextLog("buildah"));
  }
  // Into the directory <dir>/<output>, one file a blob, as they came.
  Process Skopeo(const std::string& image, const std::string& output, std::vector<std::string> options = {}) {
    options.insert(options.begin(), {"skopeo", "copy", "--quiet"});
    options.insert(options.end(), {"docker://" + ImageName(image), "dir:" + host_.dir() + "/" + output});
    return host_.Start(options, NextLog("skopeo"));
  }
  Process Ctr(const std::string& image, std::vector<std::string> options = {}) {
    options.insert(options.begin(),
                   {"ctr", "--address", Socket(), "images", "pull", "--hosts-dir", "/etc/containerd/certs.d"});
    options.push_back(ImageName(image));
    return host_.Start(options, NextLog("ctr"));
  }
  void StartContainerd() {
    containerd_ = host_.Start({"containerd", "--config", "/etc/containerd/config.toml"}, "containerd.out");
    const bool ready = Await(
        [&] {
          Process version = host_.Start({"ctr", "--address", Socket(), "version"}, "ctr-version.out");
          return version.Wait(kStartTimeout) == 0;
        },
        kStartTimeout);
    EXPECT_TRUE(ready) << containerd_.Log();
  }
  std::string CtrDigest(const std::string& image) {
    return host_.Run({"ctr", "--address", Socket(), "images", "ls", "name==" + ImageName(image)});
  }
  std::string PodmanDigest(const std::string& image, const std::string& program = "podman") {
    return host_.Run({program, "images", "--digests", "--noheading", "--format", "{{.Digest}}", ImageName(image)});
  }

 private:
  std::string Socket() const { return host_.dir() + "/containerd.sock"; }
  std::string NextLog(const std::string& program) { return StrCat(program, "-", runs_++, ".out"); }

  // As an operator does it: a configuration of dfinit, and dfinit.
  void Configure(const std::string& registry_url) {
    std::ofstream(host_.dir() + "/etc-containerd/config.toml")
        << "version = 2\nroot = \"" << host_.dir() << "/containerd\"\nstate = \"" << host_.dir()
        << "/containerd-state\"\n\n[grpc]\n  address = \"" << Socket() << "\"\n";
    // Of a registry that speaks TLS, nothing has to be said: containerd names it to the proxy.
    const bool plain = registry_url.starts_with("http://");
    const std::string entry =
        StrCat("    registries:\n      - hostNamespace: '", registry_, "'\n        serverAddr: ", registry_url, "\n");
    std::ofstream(host_.dir() + "/dfinit.yaml")
        << "proxy:\n  addr: " << kProxy << "\ncontainerRuntime:\n  containerd:\n"
        << (plain ? entry : "    registries: []\n") << "  podman:\n    registries:\n      - prefix: '" << registry_
        << "'\n        location: '" << registry_ << "'\n";
    const std::vector<std::string> dfinit = {Program("dfinit"), "--config", host_.dir() + "/dfinit.yaml"};
    config_toml_ = host_.Run({"cat", "/etc/containerd/config.toml"});
    EXPECT_THAT(host_.Run(dfinit), HasSubstr("made /etc/containers/registries.conf.d/50-dragonfly.conf"));
    EXPECT_EQ(host_.Run(dfinit), "") << "a second run changes nothing";
    EXPECT_THAT(host_.Run({"containerd", "--config", "/etc/containerd/config.toml", "config", "dump"}),
                HasSubstr("config_path = \"/etc/containerd/certs.d\""));
    EXPECT_THAT(host_.Run({"podman", "info", "--format", "{{json .Registries}}"}),
                ::testing::AllOf(HasSubstr(registry_), HasSubstr("\"Location\":\"127.0.0.1:4001\"")));
  }

  Host& host_;
  std::string config_toml_;  // before dfinit
  std::string registry_;     // as image names have it
  Process containerd_;
  int runs_ = 0;
};

class Images : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { has_network_ = EnterOwnNetwork(); }
  void SetUp() override {
    if (!has_network_) GTEST_SKIP() << "needs the rights to make network namespaces";
  }

  // `mirror_lines`: of proxy.registryMirror, with their indentation.
  void StartCluster(const std::string& registry_ca = "", const std::string& mirror_lines = "") {
    std::string lines = StrCat(
        "proxy:\n  rules:\n    - regex: 'blobs/sha256.*'\n  registryMirror:\n    addr: ", registry_->url(), "\n");
    lines += mirror_lines;
    if (!registry_ca.empty()) lines += StrCat("    cert: ", registry_ca, "\nbackend:\n  caCert: ", registry_ca, "\n");
    cluster_ = std::make_unique<HostCluster>(dir_.path(), kHosts, lines);
    for (size_t i = 0; i < kHosts; ++i) {
      machines_.push_back(std::make_unique<Machine>(cluster_->peer(i).host(), registry_->url()));
    }
  }
  void Push(const Image& image, const std::string& name, std::vector<std::string> options) {
    // Without compressing the layers, which would make others of them.
    options.insert(options.begin(), {"/usr/bin/skopeo", "copy", "--quiet", "--preserve-digests"});
    options.insert(options.end(), {"oci:" + image.layout, "docker://" + registry_->address() + "/" + name});
    Process skopeo(options, dir_.path() + "/push.out");
    Output(skopeo);
    registry_->Forget();
  }
  void ExpectEachByteOnce(const std::vector<Blob>& blobs) {
    for (const Blob& blob : blobs) EXPECT_EQ(registry_->BytesSent(blob.digest), blob.size) << blob.digest;
  }

  static inline bool has_network_ = false;
  TempDir dir_;
  std::unique_ptr<Registry> registry_;
  std::unique_ptr<HostCluster> cluster_;
  std::vector<std::unique_ptr<Machine>> machines_;
};

uint64_t TotalSize(const std::vector<Blob>& blobs) {
  uint64_t size = 0;
  for (const Blob& blob : blobs) size += blob.size;
  return size;
}

TEST_F(Images, FourRuntimesOnThreeHostsPullAtOnceAndTheRegistryServesEachByteOnce) {
  registry_ = std::make_unique<Registry>(dir_.path() + "/registry",
                                         RegistrySettings{.address = std::string(kCenter) + ":5000"});
  const Image image =
      MakeImage(dir_.path() + "/image", {{200 << 20, 1}, {150 << 20, 2}, {100 << 20, 3}, {64 << 20, 4}, {1000, 5}});
  ASSERT_GE(TotalSize(image.blobs), 500u << 20);
  Push(image, "team/app:1", {"--dest-tls-verify=false"});
  StartCluster();
  machines_[2]->StartContainerd();

  std::vector<Process> pulls;
  pulls.push_back(machines_[0]->Podman("team/app:1"));
  pulls.push_back(machines_[1]->Buildah("team/app:1"));
  pulls.push_back(machines_[1]->Skopeo("team/app:1", "skopeo-1"));
  pulls.push_back(machines_[2]->Ctr("team/app:1"));
  for (Process& pull : pulls) Output(pull);
  if (HasFailure()) return;

  ExpectEachByteOnce(image.blobs);
  EXPECT_THAT(machines_[0]->PodmanDigest("team/app:1"), HasSubstr(image.manifest));
  EXPECT_THAT(machines_[1]->PodmanDigest("team/app:1", "buildah"), HasSubstr(image.manifest));
  EXPECT_THAT(machines_[2]->CtrDigest("team/app:1"), HasSubstr(image.manifest));
  // Skopeo keeps what it got; its other end checks nothing of it.
  for (const Blob& blob : image.blobs) {
    const std::string file = machines_[1]->host().dir() + "/skopeo-1/" + blob.digest.substr(7);
    const auto digest = DigestOfFile(file, DigestAlgorithm::kSha256);
    ASSERT_TRUE(digest.ok()) << digest.status();
    EXPECT_EQ(digest->ToString(), blob.digest);
  }

  // Another image with two of the layers.
  const Image second = MakeImage(dir_.path() + "/second", {{150 << 20, 2}, {64 << 20, 4}, {30 << 20, 6}});
  Push(second, "team/app:2", {"--dest-tls-verify=false"});
  pulls.clear();
  for (auto& machine : machines_) pulls.push_back(machine->Skopeo("team/app:2", "skopeo-2"));
  for (Process& pull : pulls) Output(pull);
  const std::vector<Blob> fresh = {second.blobs[2], second.blobs[3]};
  ExpectEachByteOnce(fresh);
  EXPECT_THAT(registry_->BlobsSent(), UnorderedElementsAreArray({fresh[0].digest, fresh[1].digest}));

  for (auto& machine : machines_) machine->Unconfigure();
}

// As Docker does it, whose daemon.json names dfdaemon as the proxy.
TEST_F(Images, AProxyTakesTheLayersOfAnHttpsRegistryFromTheCluster) {
  const dragonfly::testing::Certificates certificates(std::string("IP:") + kCenter);
  registry_ =
      std::make_unique<Registry>(dir_.path() + "/registry", RegistrySettings{.address = std::string(kCenter) + ":5443",
                                                                             .certificate = certificates.server_pem(),
                                                                             .key = certificates.server_key()});
  const Image image = MakeImage(dir_.path() + "/image", {{30 << 20, 1}, {5 << 20, 2}});
  Push(image, "team/app:1", {"--dest-tls-verify=false"});
  StartCluster(certificates.ca_file());
  std::vector<Process> pulls;
  for (auto& machine : machines_) {
    const std::string& dir = machine->host().dir();
    std::filesystem::create_directories(dir + "/trusted");
    std::filesystem::copy_file(dir + "/storage/proxy/ca.pem", dir + "/trusted/ca.crt");
    std::ofstream(dir + "/no-mirrors.conf") << "";
    pulls.push_back(machine->host().Start(
        {"skopeo", "--registries-conf", dir + "/no-mirrors.conf", "copy", "--quiet", "--src-cert-dir", dir + "/trusted",
         "docker://" + machine->ImageName("team/app:1"), "dir:" + dir + "/skopeo-1"},
        "skopeo.out", {{"HTTPS_PROXY", kProxy}}));
  }
  for (Process& pull : pulls) Output(pull);
  ExpectEachByteOnce(image.blobs);
}

// Bytes that a daemon has stored so far, sparse files counted as what is in them.
uint64_t StoredBytes(Host& host) {
  uint64_t bytes = 0;
  std::error_code error;
  for (std::filesystem::recursive_directory_iterator it(host.dir() + "/storage", error), end; !error && it != end;
       it.increment(error)) {
    struct stat status{};
    if (::stat(it->path().c_str(), &status) == 0 && S_ISREG(status.st_mode)) {
      bytes += static_cast<uint64_t>(status.st_blocks) * 512;
    }
  }
  return bytes;
}

TEST_F(Images, PullsGoOnWhenTheSeedAndAnotherHostDie) {
  registry_ = std::make_unique<Registry>(dir_.path() + "/registry",
                                         RegistrySettings{.address = std::string(kCenter) + ":5000"});
  const Image image = MakeImage(dir_.path() + "/image", {{150 << 20, 1}, {100 << 20, 2}, {50 << 20, 3}});
  Push(image, "team/app:1", {"--dest-tls-verify=false"});
  StartCluster();
  machines_[1]->StartContainerd();

  Process dying = machines_[0]->Skopeo("team/app:1", "skopeo-1");
  std::vector<Process> pulls;
  pulls.push_back(machines_[1]->Ctr("team/app:1"));
  pulls.push_back(machines_[2]->Podman("team/app:1"));
  ASSERT_TRUE(Await([&] { return StoredBytes(machines_[1]->host()) > (60u << 20); }, std::chrono::minutes(1)));
  cluster_->seed().daemon().Kill();
  cluster_->peer(0).daemon().Kill();
  for (Process& pull : pulls) Output(pull);
  EXPECT_THAT(machines_[1]->CtrDigest("team/app:1"), HasSubstr(image.manifest));
  EXPECT_THAT(machines_[2]->PodmanDigest("team/app:1"), HasSubstr(image.manifest));
  EXPECT_TRUE(dying.Wait(std::chrono::minutes(1)).has_value()) << "it neither failed nor ended";
  for (const Blob& blob : image.blobs) {
    std::printf("%s: %.2f of its bytes from the registry\n", blob.digest.substr(7, 12).c_str(),
                static_cast<double>(registry_->BytesSent(blob.digest)) / static_cast<double>(blob.size));
  }
}

// One content under two names, of which each asks for its own rights.
TEST_F(Images, ABlobOfTwoRegistriesIsReadOnce) {
  registry_ = std::make_unique<Registry>(dir_.path() + "/registry",
                                         RegistrySettings{.address = std::string(kCenter) + ":5000"});
  Registry guarded(dir_.path() + "/guarded",
                   {.address = std::string(kCenter) + ":5002", .user = "robot", .password = "secret"});
  const Image image = MakeImage(dir_.path() + "/image", {{40 << 20, 1}});
  Push(image, "team/app:1", {"--dest-tls-verify=false"});
  Process push({"/usr/bin/skopeo", "copy", "--quiet", "--preserve-digests", "--dest-tls-verify=false",
                "--dest-creds=robot:secret", "oci:" + image.layout, "docker://" + guarded.address() + "/private/app:1"},
               dir_.path() + "/push-2.out");
  Output(push);
  guarded.Forget();
  StartCluster("", "    enableTaskIDBasedBlobDigest: true\n");

  const Blob& layer = image.blobs[0];
  const auto get = [&](size_t host, const Registry& registry, const std::string& repository,
                       const std::vector<std::string>& options) {
    std::vector<std::string> argv = {"curl", "-s",           "-o", "blob",
                                     "-w",   "%{http_code}", "-H", "X-Dragonfly-Registry: " + registry.url()};
    argv.insert(argv.end(), options.begin(), options.end());
    argv.push_back(StrCat(kProxy, "/v2/", repository, "/blobs/", layer.digest));
    return machines_[host]->host().Run(argv);
  };
  EXPECT_EQ(get(0, guarded, "private/app", {"-u", "robot:secret"}), "200");
  EXPECT_EQ(get(1, *registry_, "team/app", {}), "200");
  EXPECT_EQ(DigestOfFile(machines_[1]->host().dir() + "/blob", DigestAlgorithm::kSha256)->ToString(), layer.digest);
  EXPECT_EQ(guarded.BytesSent(layer.digest), layer.size);
  EXPECT_EQ(registry_->BytesSent(layer.digest), 0u);
  for (size_t host = 0; host < kHosts; ++host) {
    EXPECT_EQ(get(host, guarded, "private/app", {}), "401");
    EXPECT_EQ(get(host, guarded, "private/app", {"-u", "robot:wrong"}), "401");
  }
}

class PrivateImages : public Images, public ::testing::WithParamInterface<int> {};

TEST_P(PrivateImages, NeedTheirRightsAlsoWhenTheirBlobsAreStored) {
  const dragonfly::testing::Certificates certificates(std::string("IP:") + kCenter);
  registry_ =
      std::make_unique<Registry>(dir_.path() + "/registry", RegistrySettings{.address = std::string(kCenter) + ":5443",
                                                                             .certificate = certificates.server_pem(),
                                                                             .key = certificates.server_key(),
                                                                             .user = "robot",
                                                                             .password = "secret",
                                                                             .token_port = GetParam()});
  const Image image = MakeImage(dir_.path() + "/image", {{40 << 20, 1}, {10 << 20, 2}});
  Push(image, "private/app:1", {"--dest-tls-verify=false", "--dest-creds=robot:secret"});
  StartCluster(certificates.ca_file());
  machines_[2]->StartContainerd();

  std::vector<Process> pulls;
  // Podman and Skopeo give credentials of the command line to no mirror, but those of a file.
  const std::string logins = dir_.path() + "/auth.json";
  const std::string login = "{\"auth\": \"cm9ib3Q6c2VjcmV0\"}";
  std::ofstream(logins) << "{\"auths\": {\"" << registry_->address() << "\": " << login
                        << ", \"127.0.0.1:4001\": " << login << "}}";
  pulls.push_back(machines_[0]->Podman("private/app:1", {"--authfile", logins}));
  pulls.push_back(machines_[1]->Skopeo("private/app:1", "skopeo-1", {"--authfile", logins}));
  pulls.push_back(machines_[2]->Ctr("private/app:1", {"--user=robot:secret"}));
  for (Process& pull : pulls) Output(pull);
  if (HasFailure()) return;
  ExpectEachByteOnce(image.blobs);
  EXPECT_THAT(machines_[0]->PodmanDigest("private/app:1"), HasSubstr(image.manifest));

  // Every blob is on every host now.
  registry_->Forget();
  Process nobody = machines_[1]->Skopeo("private/app:1", "skopeo-2");
  EXPECT_NE(nobody.Wait(std::chrono::minutes(1)), 0);
  EXPECT_THAT(nobody.Log(), HasSubstr("authentication required"));
  Process stranger = machines_[2]->Ctr("private/app:1", {"--user=robot:wrong"});
  EXPECT_NE(stranger.Wait(std::chrono::minutes(1)), 0);
  const std::string blob = StrCat(kProxy, "/v2/private/app/blobs/", image.blobs[0].digest);
  const auto status = [&](std::vector<std::string> options) {
    options.insert(options.begin(), {"curl", "-s", "-o", "blob", "-w", "%{http_code} %{size_download}"});
    options.push_back(blob);
    return machines_[0]->host().Run(options);
  };
  // The options of curl for a user: credentials, or the token that the service gives for them.
  const auto as = [&](const std::string& login) -> std::vector<std::string> {
    if (GetParam() == 0) return {"-u", login};
    const std::string url = StrCat("http://", kCenter, ":", GetParam(), "/token?scope=repository:private/app:pull");
    const std::string answer = machines_[0]->host().Run({"curl", "-s", "-u", login, url});
    const size_t begin = answer.find(": \"") + 3;
    return {"-H", StrCat("Authorization: Bearer ", answer.substr(begin, answer.find('"', begin) - begin))};
  };
  EXPECT_THAT(status({}), HasSubstr("401 "));
  EXPECT_THAT(status(as("robot:wrong")), HasSubstr("401 "));
  EXPECT_THAT(status({"-H", "Range: bytes=0-99"}), HasSubstr("401 "));
  EXPECT_EQ(registry_->BytesSent(image.blobs[0].digest), 0u);
  EXPECT_EQ(status(as("robot:secret")), StrCat("200 ", image.blobs[0].size));
  EXPECT_EQ(DigestOfFile(machines_[0]->host().dir() + "/blob", DigestAlgorithm::kSha256)->ToString(),
            image.blobs[0].digest);
  EXPECT_EQ(registry_->BytesSent(image.blobs[0].digest), 0u) << "it is in the store";
}

INSTANTIATE_TEST_SUITE_P(Authentication, PrivateImages, ::testing::Values(0, 5001),
                         [](const auto& info) { return info.param == 0 ? "basic" : "token"; });

}  // namespace
}  // namespace dragonfly::e2e
