// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>

#include <fstream>

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
  files = good;
  files.key.clear();
  EXPECT_EQ(start(files).code(), absl::StatusCode::kInvalidArgument);
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
