// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>

#include "base/status.h"
#include "rpc/tls_diagnosis.h"
#include "rpc/tls_files.h"
#include "tests/unit/rpc/rpc_fixture.h"
#include "tests/unit/rpc/tls_fixture.h"

namespace dragonfly::rpc {
namespace {

class TlsTest : public RpcTest {
 protected:
  void ServeTls(const TlsFiles& files) {
    upload_.download_piece = [](const DownloadPieceRequest&, DownloadPieceResponse*) -> asio::awaitable<absl::Status> {
      co_return absl::OkStatus();
    };
    ServerOptions options;
    options.tls = files;
    Serve(options);
  }

  absl::Status CallWith(const TlsFiles& files) {
    ChannelOptions options;
    options.tls = files;
    ChannelPool pool(options);
    const auto stub = dfdaemon::v2::DfdaemonUpload::NewStub(pool.Get(address_));
    return runtime::RunOn(client_io(), CallDownloadPiece(stub.get(), DownloadPieceRequest(), kPatience)).status();
  }

  TempDir dir_;
  TestAuthority authority_{dir_.File(""), "cluster"};
  TestAuthority stranger_{dir_.File(""), "stranger"};
};

TEST_F(TlsTest, AcceptsAClientOfTheSameAuthority) {
  ServeTls(authority_.Issue("server"));
  EXPECT_EQ(CallWith(authority_.Issue("client")), absl::OkStatus());
}

TEST_F(TlsTest, RefusesClientsWithoutACertificateThatItTrusts) {
  ServeTls(authority_.Issue("server"));
  TlsFiles mixed = stranger_.Issue("client");
  mixed.ca_cert = authority_.Issue("unused").ca_cert;  // trusts the server, is not trusted by it
  EXPECT_EQ(CallWith(mixed).code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(CallWith(TlsFiles()).code(), absl::StatusCode::kUnavailable) << "without TLS";
}

TEST_F(TlsTest, ClientRefusesAServerOfAnotherAuthority) {
  ServeTls(stranger_.Issue("server"));
  EXPECT_EQ(CallWith(authority_.Issue("client")).code(), absl::StatusCode::kUnavailable);
}

TEST_F(TlsTest, StartNamesTheFileThatIsWrong) {
  const TlsFiles good = authority_.Issue("server");
  const auto start = [](const TlsFiles& files) {
    ServerOptions options;
    options.addresses = {"127.0.0.1:0"};
    options.tls = files;
    return Server::Start(options).status();
  };
  const std::string no_pem = dir_.File("no.pem");
  std::ofstream(no_pem) << "not a certificate";

  TlsFiles files = good;
  files.cert = dir_.File("none.crt");
  EXPECT_EQ(start(files).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(start(files).message()), testing::HasSubstr(files.cert));
  files = good;
  files.ca_cert = no_pem;
  EXPECT_THAT(std::string(start(files).message()), testing::HasSubstr(no_pem));
  files = good;
  files.key = no_pem;
  EXPECT_THAT(std::string(start(files).message()), testing::HasSubstr(no_pem));
  files = good;
  files.key = authority_.Issue("other").key;
  EXPECT_THAT(std::string(start(files).message()), testing::HasSubstr("does not belong"));
}

TEST_F(TlsTest, ATripleThatIsGivenInPartIsAnErrorNotPlaintext) {
  const TlsFiles good = authority_.Issue("server");
  for (std::string TlsFiles::* const missing : {&TlsFiles::ca_cert, &TlsFiles::cert, &TlsFiles::key}) {
    TlsFiles files = good;
    (files.*missing).clear();
    ServerOptions options;
    options.addresses = {"127.0.0.1:0"};
    options.tls = files;
    EXPECT_EQ(Server::Start(options).status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(MessageOf(CheckTlsFiles(files)), testing::HasSubstr("needs all of caCert, cert and key"));
  }
  EXPECT_EQ(CheckTlsFiles(TlsFiles()), absl::OkStatus());
}

TEST_F(TlsTest, NamesTheKeyAndTheFileThatHasExpired) {
  TlsFiles files = authority_.Issue("server", "IP:127.0.0.1", /*valid_for=*/-60);
  files.section = "upload.server";
  const absl::Status status = CheckTlsFiles(files);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(MessageOf(status),
              testing::HasSubstr("upload.server.cert " + files.cert + ": the certificate has expired"));
}

TEST_F(TlsTest, TakesUpFilesThatWereRenewed) {
  TlsFiles served = authority_.Issue("server");
  served.reload_interval = std::chrono::seconds(1);
  ServeTls(served);
  ASSERT_EQ(CallWith(authority_.Issue("client")), absl::OkStatus());

  // Another authority takes over, as when a cluster's is renewed.
  const TlsFiles renewed = stranger_.Issue("server");
  const auto replace = [](const std::string& from, const std::string& to) {
    std::filesystem::copy_file(from, to + ".new", std::filesystem::copy_options::overwrite_existing);
    std::filesystem::rename(to + ".new", to);
  };
  replace(renewed.ca_cert, served.ca_cert);
  replace(renewed.key, served.key);
  replace(renewed.cert, served.cert);
  const TlsFiles client = stranger_.Issue("client");
  absl::Status status;
  for (const TimePoint deadline = Soon(); Clock::now() < deadline;) {
    status = CallWith(client);
    if (status.ok()) break;
  }
  EXPECT_EQ(status, absl::OkStatus());
}

TEST_F(TlsTest, SaysWhyAConnectionCannotBeMade) {
  TlsFiles client = authority_.Issue("client");
  client.section = "scheduler";
  const auto diagnose = [&](const TlsFiles& files) {
    return std::string(MessageOf(DiagnoseTls(address_, files, kPatience)));
  };
  ServeTls(authority_.Issue("server"));
  EXPECT_EQ(DiagnoseTls(address_, client, kPatience), absl::OkStatus());
  EXPECT_THAT(diagnose(TlsFiles()), testing::HasSubstr("wants TLS"));

  TlsFiles untrusted = stranger_.Issue("client");
  untrusted.section = "scheduler";
  EXPECT_THAT(diagnose(untrusted), testing::HasSubstr("check against scheduler.caCert " + untrusted.ca_cert));
  untrusted.ca_cert = client.ca_cert;
  EXPECT_THAT(diagnose(untrusted), testing::HasSubstr("refuses scheduler.cert " + untrusted.cert));
  untrusted.key.clear();
  EXPECT_EQ(DiagnoseTls(address_, untrusted, kPatience).code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(TlsTest, SaysThatTheServersCertificateNamesAnotherHost) {
  ServeTls(authority_.Issue("server", "IP:127.0.0.9"));
  const TlsFiles client = authority_.Issue("client");
  EXPECT_EQ(CallWith(client).code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(MessageOf(DiagnoseTls(address_, client, kPatience)), testing::HasSubstr("address mismatch"));
}

TEST_F(TlsTest, SaysThatTheServerDoesNotSpeakTls) {
  ServeTls(TlsFiles());
  const TlsFiles client = authority_.Issue("client");
  EXPECT_EQ(CallWith(client).code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(MessageOf(DiagnoseTls(address_, client, kPatience)), testing::HasSubstr("does not speak TLS"));
  EXPECT_EQ(DiagnoseTls(address_, TlsFiles(), kPatience), absl::OkStatus());
}

// The pool has no way to return an error: the call has.
TEST_F(TlsTest, ClientWithUnreadableFilesFailsItsCalls) {
  ServeTls(authority_.Issue("server"));
  TlsFiles files = authority_.Issue("client");
  files.key = dir_.File("none.key");
  EXPECT_EQ(CallWith(files).code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace dragonfly::rpc
