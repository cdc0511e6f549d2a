// SPDX-License-Identifier: Apache-2.0
#include "cli/dfinit/dfinit.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "base/text.h"
#include "tests/support/temp_dir.h"

namespace dragonfly::cli {
namespace {

namespace fs = std::filesystem;
using dragonfly::testing::TempDir;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kContainerdYaml[] = R"(containerRuntime:
  containerd:
    registries: [{hostNamespace: docker.io, serverAddr: https://index.docker.io}]
)";
constexpr char kDockerYaml[] = "containerRuntime: {docker: {}}\n";
constexpr char kConfigToml[] = "/etc/containerd/config.toml";
constexpr char kHostsToml[] = "/etc/containerd/certs.d/docker.io/hosts.toml";
constexpr char kDaemonJson[] = "/etc/docker/daemon.json";
constexpr char kRegistriesConf[] = "/etc/containers/registries.conf";

class DfinitTest : public ::testing::Test {
 protected:
  // Runs the program on the tree of the test; what it printed is in out_ and err_.
  int Run(const std::string& yaml, std::vector<std::string> options = {}) {
    std::vector<std::string> arguments = {"--config", yaml_dir_.Write("dfinit.yaml", yaml), "--root", root_.path()};
    arguments.insert(arguments.end(), options.begin(), options.end());
    ::testing::internal::CaptureStdout();
    ::testing::internal::CaptureStderr();
    const int code = RunDfinit(arguments);
    out_ = ::testing::internal::GetCapturedStdout();
    err_ = ::testing::internal::GetCapturedStderr();
    return code;
  }
  std::string Path(const std::string& path) const { return root_.path().string() + path; }
  void Write(const std::string& path, std::string_view content) const { root_.Write(path.substr(1), content); }
  std::string Read(const std::string& path) const {
    std::ifstream file(Path(path), std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(file), {});
  }
  bool Exists(const std::string& path) const { return fs::exists(Path(path)); }
  // A program that notes its arguments, and fails as long as `failing` exists. With "--if-without WORD FILE" it fails
  // when the word is in the file.
  std::string RestartProgram() const {
    const std::string script = StrCat(
        "#!/bin/sh\necho \"$@\" >> ", Path("/restarts"),
        "\nif [ \"$1\" = --if-without ]; then ! grep -q \"$2\" \"$3\"; exit; fi\ntest ! -e ", Path("/failing"), "\n");
    const std::string path = root_.Write("restart.sh", script);
    fs::permissions(path, fs::perms::owner_all);
    return path;
  }

  TempDir root_;
  TempDir yaml_dir_;
  std::string out_;
  std::string err_;
};

TEST_F(DfinitTest, LaterChangesOfOthersSurviveTheUninstall) {
  Write(kConfigToml, "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = \"\"\n");
  ASSERT_EQ(Run(kContainerdYaml), 0) << err_;
  const std::string installed = Read(kConfigToml);
  Write(kConfigToml, "# later\n" + installed + "[debug]\nlevel = \"debug\"\n");
  ASSERT_EQ(Run(kContainerdYaml, {"--uninstall"}), 0) << err_;
  EXPECT_EQ(Read(kConfigToml),
            "# later\nversion = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = \"\"\n[debug]\n"
            "level = \"debug\"\n");
}

TEST_F(DfinitTest, AnotherProxyAddressTakesThePlaceOfTheFirst) {
  Write(kConfigToml, "version = 2\n");
  ASSERT_EQ(Run(kContainerdYaml), 0) << err_;
  ASSERT_EQ(Run(StrCat("proxy: {addr: 'http://10.0.0.1:5001'}\n", kContainerdYaml)), 0) << err_;
  EXPECT_THAT(Read(kHostsToml), AllOf(HasSubstr("[host.\"http://10.0.0.1:5001\"]"), Not(HasSubstr("127.0.0.1:4001"))));
  ASSERT_EQ(Run(kContainerdYaml, {"--uninstall"}), 0) << err_;
  EXPECT_EQ(Read(kConfigToml), "version = 2\n");
  EXPECT_FALSE(Exists("/etc/containerd/certs.d"));
}

TEST_F(DfinitTest, ARegistryThatIsNoLongerConfiguredLosesItsLines) {
  Write(kConfigToml, "version = 2\n");
  Write("/etc/containerd/certs.d/quay.io/hosts.toml", "server = \"https://quay.io\"\n");
  ASSERT_EQ(Run(R"(containerRuntime:
  containerd:
    registries:
      - {hostNamespace: docker.io, serverAddr: https://index.docker.io}
      - {hostNamespace: quay.io, serverAddr: https://quay.io}
)"),
            0)
      << err_;
  ASSERT_TRUE(Exists(kHostsToml));
  ASSERT_EQ(Run("containerRuntime: {containerd: {}}\n"), 0) << err_;
  EXPECT_FALSE(Exists("/etc/containerd/certs.d/docker.io"));
  EXPECT_EQ(Read("/etc/containerd/certs.d/quay.io/hosts.toml"), "server = \"https://quay.io\"\n");
  EXPECT_TRUE(Exists("/etc/containerd/certs.d/_default/hosts.toml"));
}

TEST_F(DfinitTest, KeepsModeAndOwnerAndTheSymbolicLink) {
  Write("/etc/real.toml", "version = 2\n");
  fs::create_directories(Path("/etc/containerd"));
  fs::create_symlink("../real.toml", Path(kConfigToml));
  ASSERT_EQ(::chmod(Path("/etc/real.toml").c_str(), 0640), 0);
  ASSERT_EQ(::chown(Path("/etc/real.toml").c_str(), ::geteuid() == 0 ? 12 : ::geteuid(), ::getegid()), 0);
  ASSERT_EQ(Run(kContainerdYaml), 0) << err_;
  struct stat status{};
  ASSERT_EQ(::lstat(Path(kConfigToml).c_str(), &status), 0);
  EXPECT_TRUE(S_ISLNK(status.st_mode));
  ASSERT_EQ(::stat(Path(kConfigToml).c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0640u);
  EXPECT_EQ(status.st_uid, ::geteuid() == 0 ? 12u : ::geteuid());
  EXPECT_THAT(Read(kConfigToml), HasSubstr("config_path"));
  ASSERT_EQ(::stat(Path(StrCat(kConfigToml, ".before-dfinit")).c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0640u);
}

TEST_F(DfinitTest, RefusesWhatContainerdRefusesBesideConfigPath) {
  const std::string mirrors =
      "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry.mirrors.\"docker.io\"]\n"
      "endpoint = [\"https://mirror.example.com\"]\n";
  Write(kConfigToml, mirrors);
  EXPECT_EQ(Run(kContainerdYaml), 1);
  EXPECT_THAT(err_,
              AllOf(HasSubstr(StrCat(kConfigToml, ":2: mirrors of the registry is set")), HasSubstr("hosts.toml")));
  EXPECT_EQ(Read(kConfigToml), mirrors);
  EXPECT_FALSE(Exists(kHostsToml));

  Write(kConfigToml,
        "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry.configs.\"a.example.com\".tls]\n"
        "insecure_skip_verify = true\n");
  EXPECT_EQ(Run(kContainerdYaml), 1);
  EXPECT_THAT(err_, HasSubstr("configs.*.tls of the registry is set"));
}

TEST_F(DfinitTest, RefusesALayoutThatItCannotEditAndChangesNothing) {
  const std::string in_braces = "version = 2\nplugins = {\"io.containerd.grpc.v1.cri\" = {registry = {}}}\n";
  Write(kConfigToml, in_braces);
  EXPECT_EQ(Run(kContainerdYaml), 1);
  EXPECT_THAT(err_, AllOf(HasSubstr("does not edit"), HasSubstr("config_path = \"/etc/containerd/certs.d\"")));
  EXPECT_EQ(Read(kConfigToml), in_braces);
  EXPECT_FALSE(Exists(kHostsToml));
}

TEST_F(DfinitTest, NamesWhatIsWrongWithAFile) {
  EXPECT_EQ(Run(kContainerdYaml), 1);
  EXPECT_THAT(err_, HasSubstr(StrCat(kConfigToml, ": there is no such file")));
  Write(kConfigToml, "version = 2\n[plugins\n");
  EXPECT_EQ(Run(kContainerdYaml), 1);
  EXPECT_THAT(err_, HasSubstr(StrCat(kConfigToml, ":2: ")));
  Write(kConfigToml, "version = 2\n# dfinit-begin\n");
  EXPECT_EQ(Run(kContainerdYaml), 1);
  EXPECT_THAT(err_, HasSubstr(StrCat(kConfigToml, ":2: the comments")));

  Write(kDaemonJson, "{\"a\": }");
  EXPECT_EQ(Run(kDockerYaml), 1);
  EXPECT_THAT(err_, HasSubstr(kDaemonJson));
  Write(kDaemonJson, "[]");
  EXPECT_EQ(Run(kDockerYaml), 1);
  EXPECT_THAT(err_, HasSubstr("holds no JSON object"));
  EXPECT_EQ(Read(kDaemonJson), "[]");

  Write(kRegistriesConf, "registry = 'no'\n[[registry]]\n");
  EXPECT_EQ(Run("containerRuntime: {podman: {}}\n"), 1);
  EXPECT_THAT(err_, HasSubstr(StrCat(kRegistriesConf, ":2: ")));
}

TEST_F(DfinitTest, NamesWhatIsWrongWithItsConfiguration) {
  const std::vector<std::pair<std::string, std::string>> wrong = {
      {"proxy: {addr: '127.0.0.1:4001'}\n", "proxy.addr"},
      {"proxy: {addr: 'http://127.0.0.1:4001/mirror'}\n", "without a path"},
      {"proxy: {addr: 'http://user:secret@127.0.0.1:4001'}\n", "must not hold credentials"},
      {"containerRuntime: {containerd: {registries: [{hostNamespace: ../../x, serverAddr: 'https://a'}]}}\n",
       "is no host[:port]"},
      {"containerRuntime: {containerd: {registries: [{hostNamespace: docker.io}]}}\n", "serverAddr: is missing"},
      {"containerRuntime: {containerd: {registries: [{hostNamespace: a, serverAddr: 'https://a', capabilities: "
       "[x]}]}}\n",
       "capabilities"},
      {"containerRuntime: {containerd: {configPath: etc/x}}\n", "is no absolute path"},
      {"containerRuntime: {crio: {registries: [{}]}}\n", "prefix: is missing"},
  };
  for (const auto& [yaml, reason] : wrong) {
    EXPECT_EQ(Run(yaml), 1) << yaml;
    EXPECT_THAT(err_, AllOf(HasSubstr("Error: "), HasSubstr("dfinit.yaml:1: "), HasSubstr(reason))) << yaml;
    EXPECT_THAT(err_, Not(HasSubstr("secret")));
  }
  EXPECT_EQ(RunDfinit({"--config", Path("/none.yaml")}), 1);
}

TEST_F(DfinitTest, DoesNothingWithoutARuntime) {
  EXPECT_EQ(Run(""), 0);
  EXPECT_EQ(Run("containerRuntime: {containerd: null}\n"), 0);
  EXPECT_THAT(err_, HasSubstr("there is nothing to do"));
  EXPECT_TRUE(fs::is_empty(root_.path()));
}

TEST_F(DfinitTest, WarnsOfWhatItDoesNotKnow) {
  EXPECT_EQ(Run("proxy: {port: 4001}\n"), 0);
  EXPECT_THAT(err_, HasSubstr("unknown key proxy.port"));
  EXPECT_EQ(Run("proxy: {port: 4001}\n", {"--log-level", "error"}), 0);
  EXPECT_EQ(err_, "");
}

TEST_F(DfinitTest, WarnsOfMirrorsThatWouldMixRegistries) {
  const std::string yaml = R"(containerRuntime:
  podman:
    registries: [{prefix: docker.io, location: docker.io}, {prefix: quay.io, location: quay.io}]
)";
  EXPECT_EQ(Run(yaml), 0);
  EXPECT_THAT(err_, HasSubstr("proxy.registryMirror.addr"));
}

TEST_F(DfinitTest, RestartsOnlyWhatChanged) {
  const std::string program = RestartProgram();
  const std::vector<std::string> restart = {"--restart", "--restart-command", program + " --now"};
  Write(kConfigToml, "version = 2\n");
  ASSERT_EQ(Run(kContainerdYaml, restart), 0) << err_;
  EXPECT_EQ(Read("/restarts"), "--now containerd\n");
  EXPECT_THAT(err_, HasSubstr("restarted containerd"));

  // hosts.toml is read at each pull.
  ASSERT_EQ(Run("containerRuntime: {containerd: {}}\n", restart), 0) << err_;
  EXPECT_THAT(err_, HasSubstr("removed"));
  EXPECT_EQ(Read("/restarts"), "--now containerd\n");

  ASSERT_EQ(Run(StrCat(kContainerdYaml, "  docker: {}\n"), restart), 0) << err_;
  EXPECT_EQ(Read("/restarts"), "--now containerd\n--now docker\n");
}

TEST_F(DfinitTest, AServiceThatDoesNotStartGetsItsFilesBack) {
  Write(kDaemonJson, "{}\n");
  const std::vector<std::string> restart = {"--restart", "--restart-command",
                                            StrCat(RestartProgram(), " --if-without proxies ", Path(kDaemonJson))};
  EXPECT_EQ(Run(kDockerYaml, restart), 1);
  EXPECT_THAT(err_, AllOf(HasSubstr("the files are as before: restart docker by"), HasSubstr("exit status 1"),
                          Not(HasSubstr("is not restarted"))));
  EXPECT_EQ(Read(kDaemonJson), "{}\n");
  EXPECT_FALSE(Exists(StrCat(kDaemonJson, ".dfinit-restart")));
}

TEST_F(DfinitTest, ARestartThatFailedIsMadeUpFor) {
  const std::vector<std::string> restart = {"--restart", "--restart-command", RestartProgram()};
  Write("/failing", "");
  EXPECT_EQ(Run(kDockerYaml, restart), 1);
  EXPECT_THAT(err_, AllOf(HasSubstr("docker is not restarted"), HasSubstr("exit status 1")));
  EXPECT_FALSE(Exists(kDaemonJson));
  EXPECT_EQ(Read("/restarts"), "docker\ndocker\n");
  fs::remove(Path("/failing"));
  EXPECT_EQ(Run("containerRuntime: {docker: {}}\n", restart), 0) << err_;
  EXPECT_TRUE(Exists(kDaemonJson));
  EXPECT_EQ(Read("/restarts"), "docker\ndocker\ndocker\n");
  EXPECT_EQ(Run(kDockerYaml, restart), 0) << err_;
  EXPECT_EQ(Read("/restarts"), "docker\ndocker\ndocker\n");
  EXPECT_FALSE(Exists(StrCat(kDaemonJson, ".dfinit-restart")));

  // A run that was killed in between has left its note.
  Write(StrCat(kDaemonJson, ".dfinit-restart"), "");
  EXPECT_EQ(Run(kDockerYaml, restart), 0) << err_;
  EXPECT_EQ(Read("/restarts"), "docker\ndocker\ndocker\ndocker\n");

  EXPECT_EQ(Run(kDockerYaml, {"--uninstall", "--restart", "--restart-command", "/no/such/program"}), 1);
  EXPECT_THAT(err_, HasSubstr("/no/such/program"));
  EXPECT_TRUE(Exists(kDaemonJson));
}

TEST_F(DfinitTest, TellsOfARestartThatIsDueWhenItMayNot) {
  ASSERT_EQ(Run(kDockerYaml), 0);
  EXPECT_THAT(err_, AllOf(HasSubstr(StrCat("made ", kDaemonJson)), HasSubstr("docker takes the change when it is")));
  ASSERT_EQ(Run(kDockerYaml), 0);
  EXPECT_EQ(err_, "");
}

TEST_F(DfinitTest, DockerGetsBackItsOldProxyBesideWhatCameLater) {
  Write(kDaemonJson, "{\"proxies\": {\"http-proxy\": \"http://old:1\"}}\n");
  ASSERT_EQ(Run(kDockerYaml), 0);
  Write(kDaemonJson,
        "{\"proxies\": {\"http-proxy\": \"http://127.0.0.1:4001\", \"https-proxy\": \"http://127.0.0.1:4001\"}, "
        "\"debug\": true}\n");
  ASSERT_EQ(Run(kDockerYaml, {"--uninstall"}), 0) << err_;
  EXPECT_EQ(Read(kDaemonJson), "{\"proxies\":{\"http-proxy\":\"http://old:1\"},\"debug\":true}\n");
}

TEST_F(DfinitTest, TakesTheOptionsOfTheOriginal) {
  EXPECT_EQ(Run("", {"-l", "info", "--log-dir", "/none", "--log-max-files", "24", "--console"}), 0);
  EXPECT_THAT(out_, HasSubstr("there is nothing to do"));
  EXPECT_EQ(Run("", {"-l", "loud"}), 2);
  EXPECT_THAT(err_, HasSubstr("invalid value 'loud'"));
  EXPECT_EQ(Run("", {"--restart-now"}), 2);
  EXPECT_EQ(Run("", {"--version"}), 0);
  EXPECT_THAT(out_, ::testing::MatchesRegex("dfinit .* \\(.*, .*\\)\n"));
  EXPECT_EQ(Run("", {"--help"}), 0);
  EXPECT_THAT(out_, AllOf(HasSubstr("--dry-run"), HasSubstr("Exit status:")));
}

}  // namespace
}  // namespace dragonfly::cli
