// SPDX-License-Identifier: Apache-2.0
#include "daemon/config_host.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>

#include "base/text.h"
#include "tests/support/certificates.h"

namespace dragonfly::daemon {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::TempDir;

class CheckHostTest : public ::testing::Test {
 protected:
  CheckHostTest() {
    config_.storage.dir = Path("lib/dragonfly");
    config_.download.socket_path = Path("run/dfdaemon.sock");
  }
  std::string Path(const std::string& name) const { return StrCat(dir_.path().string(), "/", name); }

  TempDir dir_;
  DaemonConfig config_;
};

TEST_F(CheckHostTest, TakesDirectoriesThatAreThereOrCanBeMade) {
  EXPECT_THAT(CheckHost(config_), IsEmpty());
  EXPECT_FALSE(std::filesystem::exists(Path("lib"))) << "it shall only look";
  std::filesystem::create_directories(config_.storage.dir);
  EXPECT_THAT(CheckHost(config_), IsEmpty());
}

TEST_F(CheckHostTest, NamesWhatIsNoDirectory) {
  dir_.Write("lib", "a file");
  dir_.Write("run", "another");
  EXPECT_THAT(CheckHost(config_), ElementsAre(StrCat("storage.dir: ", Path("lib"), " is no directory"),
                                              StrCat("download.server.socketPath: ", Path("run"), " is no directory")));
}

TEST_F(CheckHostTest, NamesDirectoriesThatItMayNotWrite) {
  std::filesystem::create_directories(Path("run"));
  ASSERT_EQ(::chmod(dir_.path().c_str(), 0555), 0);
  // Root may write everywhere.
  EXPECT_EXIT(
      {
        if (::getuid() == 0 && ::setuid(65534) != 0) std::_Exit(2);
        const auto problems = CheckHost(config_);
        const std::string all = problems.size() == 2 ? problems[0] + problems[1] : "";
        const bool named = all.find(StrCat("storage.dir: cannot make ", Path("lib/dragonfly"))) != std::string::npos &&
                           all.find(StrCat("cannot write in ", Path("run"), ": ")) != std::string::npos;
        std::_Exit(named ? 0 : 1);
      },
      ::testing::ExitedWithCode(0), "");
  ASSERT_EQ(::chmod(dir_.path().c_str(), 0755), 0);
}

TEST_F(CheckHostTest, NamesASocketWhosePathIsTooLong) {
  config_.download.socket_path = Path(std::string(120, 'x'));
  EXPECT_THAT(CheckHost(config_), ElementsAre(HasSubstr("longer than the 107 bytes")));
}

TEST_F(CheckHostTest, TakesGoodCertificates) {
  const testing::Certificates certificates("IP:127.0.0.1");
  const DaemonConfig::TlsFiles tls = [&] {
    DaemonConfig::TlsFiles files;
    files.ca_cert = certificates.ca_file();
    files.cert = certificates.server_pem();
    files.key = certificates.server_key();
    return files;
  }();
  config_.upload.ca_cert = tls.ca_cert;
  config_.upload.cert = tls.cert;
  config_.upload.key = tls.key;
  config_.upload.client_tls = config_.manager.tls = config_.scheduler.tls = tls;
  config_.proxy.ca_cert = certificates.ca_file();
  config_.proxy.ca_key = certificates.ca_key();
  config_.proxy.registry_cert = config_.backend.ca_file = certificates.ca_file();
  EXPECT_THAT(CheckHost(config_), IsEmpty());
}

TEST_F(CheckHostTest, NamesEveryFileThatIsWrong) {
  const testing::Certificates certificates("IP:127.0.0.1");
  config_.upload.ca_cert = certificates.ca_file();
  config_.upload.cert = certificates.server_pem();
  config_.upload.key = certificates.ca_key();
  config_.manager.tls.ca_cert = config_.manager.tls.cert = config_.manager.tls.key = Path("none.pem");
  config_.scheduler.tls.ca_cert = config_.scheduler.tls.cert = config_.scheduler.tls.key = dir_.Write("text", "text");
  config_.proxy.registry_cert = Path("none.pem");
  config_.backend.ca_file = dir_.Write("text", "text");
  EXPECT_THAT(
      CheckHost(config_),
      ElementsAre(HasSubstr("upload.server: TLS key"), HasSubstr(StrCat("manager: TLS caCert ", Path("none.pem"))),
                  HasSubstr(StrCat("scheduler: TLS caCert ", Path("text"))),
                  StrCat("proxy.registryMirror.cert: ", Path("none.pem"), ": No such file or directory"),
                  StrCat("backend.caCert: ", Path("text"), ": no PEM certificate")));
}

}  // namespace
}  // namespace dragonfly::daemon
