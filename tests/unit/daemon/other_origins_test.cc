// SPDX-License-Identifier: Apache-2.0
// Origins that are no plain HTTP, from the request on the wire to the bytes on disk, and the listing of directories.
#include <gmock/gmock.h>
#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <map>

#include "base/backend_error.h"
#include "base/text.h"
#include "dfdaemon/v2/dfdaemon.grpc.pb.h"
#include "tests/support/object_storage.h"
#include "tests/support/python_server.h"
#include "tests/unit/daemon/test_peer.h"

namespace dragonfly::daemon {
namespace {

namespace wire = dfdaemon::v2;
using grpc::StatusCode;
using ::testing::ContainsRegex;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::PythonServer;

class OtherOrigins : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { ::setenv("no_proxy", "*", 1); }
  OtherOrigins() { Connect(); }

  void Connect() {
    local_ = wire::DfdaemonDownload::NewStub(
        grpc::CreateChannel("unix:" + peer_.socket_path(), grpc::InsecureChannelCredentials()));
    remote_ =
        wire::DfdaemonUpload::NewStub(grpc::CreateChannel(peer_.upload_address(), grpc::InsecureChannelCredentials()));
  }

  std::string Downloaded(const common::v2::Download& download) {
    const absl::Status status = peer_.Download(download);
    EXPECT_TRUE(status.ok()) << status;
    return peer_.BytesOf(*TaskManager::IdOf(download));
  }

  struct Listed {
    grpc::Status status;
    wire::ListTaskEntriesResponse response;
    // "<url> <length>" of files, the URL of directories; sorted.
    std::vector<std::string> lines() const {
      std::vector<std::string> text;
      for (const wire::Entry& entry : response.entries()) {
        text.push_back(entry.is_dir() ? entry.url() : StrCat(entry.url(), " ", entry.content_length()));
      }
      std::ranges::sort(text);
      return text;
    }
  };
  template <typename Stub>
  static Listed ListBy(Stub& stub, const wire::ListTaskEntriesRequest& request) {
    grpc::ClientContext context;
    Listed listed;
    listed.status = stub.ListTaskEntries(&context, request, &listed.response);
    return listed;
  }

  template <typename Stub>
  static grpc::Status DownloadBy(Stub& stub, const wire::DownloadTaskRequest& request) {
    grpc::ClientContext context;
    const auto reader = stub.DownloadTask(&context, request);
    wire::DownloadTaskResponse response;
    while (reader->Read(&response)) {
    }
    return reader->Finish();
  }

  runtime::IoThreads io_{2};
  TestPeer peer_{io_, "peer"};
  testing::TempDir files_;
  std::unique_ptr<wire::DfdaemonDownload::Stub> local_;
  std::unique_ptr<wire::DfdaemonUpload::Stub> remote_;
};

TEST_F(OtherOrigins, DownloadsFromHdfs) {
  const std::string content = TestContent(5 * kTestPieceLength + 3);
  files_.Write("dir/file", content);
  PythonServer server("webhdfs_server.py", {files_.path().string(), "--token", "secret"});
  common::v2::Download download;
  download.set_url(StrCat("hdfs://127.0.0.1:", server.port(), "/dir/file"));
  download.set_piece_length(kTestPieceLength);
  EXPECT_THAT(peer_.Download(download).ToString(), HasSubstr("InvalidToken"));
  download.mutable_hdfs()->set_delegation_token("secret");
  EXPECT_EQ(Downloaded(download), content);
}

TEST_F(OtherOrigins, DownloadsFromHubs) {
  const std::string content = TestContent(5 * kTestPieceLength + 3);
  files_.Write("models/owner/name/model.bin", content);
  PythonServer server("hub_server.py", {files_.path().string(), "--token", "secret", "--revision", "v1"});
  common::v2::Download hf;
  hf.set_url("hf://owner/name/model.bin");
  hf.set_piece_length(kTestPieceLength);
  hf.mutable_hugging_face()->set_token("secret");
  hf.mutable_hugging_face()->set_revision("v1");
  hf.mutable_hugging_face()->set_base_url(StrCat("http://127.0.0.1:", server.port()));
  EXPECT_EQ(Downloaded(hf), content);
  common::v2::Download ms;
  ms.set_url("modelscope://owner/name/model.bin");
  ms.set_piece_length(kTestPieceLength);
  ms.mutable_model_scope()->set_token("secret");
  ms.mutable_model_scope()->set_revision("v1");
  ms.mutable_model_scope()->set_base_url(StrCat("http://127.0.0.1:", server.port()));
  EXPECT_EQ(Downloaded(ms), content);
}

TEST_F(OtherOrigins, DownloadsThroughAPlugin) {
  const std::string content = TestContent(40 * kTestPieceLength + 3);
  files_.Write("root/dir/file", content);
  std::filesystem::create_directories(files_.path() / "plugins/backend");
  std::filesystem::copy_file(DF_FILE_ORIGIN, files_.path() / "plugins/backend/libfile.so");
  ::setenv("DF_FILE_ORIGIN_ROOT", (files_.path() / "root").c_str(), 1);
  common::v2::Download download;
  download.set_url("file:///dir/file");
  download.set_piece_length(kTestPieceLength);
  EXPECT_THAT(peer_.Download(download).ToString(), HasSubstr("unsupported scheme"));
  peer_.Stop();
  peer_.config.server.plugin_dir = (files_.path() / "plugins").string();
  peer_.Start();
  Connect();
  EXPECT_EQ(Downloaded(download), content);

  wire::ListTaskEntriesRequest request;
  request.set_url("file:///");
  EXPECT_THAT(ListBy(*local_, request).lines(),
              ElementsAre("file:///dir/", StrCat("file:///dir/file ", content.size())));
}

TEST_F(OtherOrigins, BothServersListADirectory) {
  files_.Write("models/owner/name/a/b.bin", "12345");
  files_.Write("models/owner/name/c.txt", "123");
  PythonServer server("hub_server.py", {files_.path().string(), "--token", "secret"});
  wire::ListTaskEntriesRequest request;
  request.set_url("hf://owner/name/");
  request.mutable_hugging_face()->set_token("secret");
  request.mutable_hugging_face()->set_base_url(StrCat("http://127.0.0.1:", server.port()));
  for (const Listed& listed : {ListBy(*local_, request), ListBy(*remote_, request)}) {
    ASSERT_TRUE(listed.status.ok()) << listed.status.error_message();
    EXPECT_THAT(listed.lines(),
                ElementsAre("hf://owner/name/a/", "hf://owner/name/a/b.bin 5", "hf://owner/name/c.txt 3"));
  }

  // Without the slash, as users write it; a file is no directory.
  request.set_url("hf://owner/name");
  EXPECT_EQ(ListBy(*local_, request).response.entries_size(), 3);
  request.set_url("hf://owner/name/c.txt");
  const Listed file = ListBy(*local_, request);
  ASSERT_TRUE(file.status.ok()) << file.status.error_message();
  EXPECT_EQ(file.response.content_length(), 3u);
  EXPECT_EQ(file.response.entries_size(), 0);

  request.set_url("hf://owner/name/");
  request.mutable_hugging_face()->set_token("wrong");
  const Listed refused = ListBy(*local_, request);
  EXPECT_EQ(refused.status.error_code(), StatusCode::INTERNAL);
  EXPECT_THAT(refused.status.error_message(), HasSubstr("hf://owner"));
  const auto error = BackendError::FromJson(refused.status.error_details());
  ASSERT_TRUE(error) << refused.status.error_details();
  EXPECT_EQ(error->status_code, 401);
  const std::string metrics = peer_.metrics.Render();
  EXPECT_THAT(metrics, ContainsRegex("dragonfly_client_list_task_entries_total[{][^}]*[}] 5\n"));
  EXPECT_THAT(metrics, ContainsRegex("dragonfly_client_list_task_entries_failure_total[{][^}]*[}] 1\n"));
}

TEST_F(OtherOrigins, OnlyCallersOnThisHostUseTheDaemonsOwnKeys) {
  const testing::ObjectStorage storage(
      R"({"vendor": "s3", "bucket": "bkt", "objects": {"key": "content"}, "access_key_id": "AKID", )"
      R"("access_key_secret": "secret", "region": "eu-west-1", "page_size": 2})");
  const std::map<std::string, std::string> own = {{"AWS_ACCESS_KEY_ID", "AKID"},
                                                  {"AWS_SECRET_ACCESS_KEY", "secret"},
                                                  {"AWS_REGION", "eu-west-1"},
                                                  {"AWS_ENDPOINT_URL_S3", storage.Endpoint()}};
  for (const auto& [name, value] : own) ::setenv(name.c_str(), value.c_str(), 1);
  wire::DownloadTaskRequest wanted;
  wanted.mutable_download()->set_url("s3://bkt/key");
  wire::ListTaskEntriesRequest directory;
  directory.set_url("s3://bkt/");

  const grpc::Status refused = DownloadBy(*remote_, wanted);
  EXPECT_THAT(refused.error_message(), HasSubstr("for callers on its own host"));
  EXPECT_FALSE(ListBy(*remote_, directory).status.ok());
  const grpc::Status taken = DownloadBy(*local_, wanted);
  EXPECT_TRUE(taken.ok()) << taken.error_message();
  EXPECT_THAT(ListBy(*local_, directory).lines(), ElementsAre("s3://bkt/key 7"));
  // Who brings a key needs none of the daemon's.
  directory.mutable_object_storage()->set_access_key_id("AKID");
  directory.mutable_object_storage()->set_access_key_secret("secret");
  EXPECT_THAT(ListBy(*remote_, directory).lines(), ElementsAre("s3://bkt/key 7"));
  for (const auto& [name, value] : own) ::unsetenv(name.c_str());
}

TEST_F(OtherOrigins, ListingAFileTellsOfTheFile) {
  ScriptedOrigin origin(TestContent(1234));
  wire::ListTaskEntriesRequest request;
  request.set_url(origin.Url() + "/");
  const Listed listed = ListBy(*local_, request);
  ASSERT_TRUE(listed.status.ok()) << listed.status.error_message();
  EXPECT_THAT(listed.lines(), IsEmpty());
  EXPECT_EQ(listed.response.content_length(), 1234u);
  EXPECT_EQ(listed.response.response_header().at("etag"), "\"v1\"");
}

TEST_F(OtherOrigins, ListingKeepsTheTimeoutAndRefusesWhatNobodyReads) {
  wire::ListTaskEntriesRequest request;
  request.set_url("gopher://host/");
  EXPECT_EQ(ListBy(*local_, request).status.error_code(), StatusCode::INVALID_ARGUMENT);
  request.set_url("");
  EXPECT_EQ(ListBy(*remote_, request).status.error_code(), StatusCode::INVALID_ARGUMENT);
  testing::ScriptedServer silent(
      [](testing::ScriptedServer::Connection& connection, const std::string&, int) { connection.AwaitClientGone(); });
  request.set_url(StrCat("hdfs://127.0.0.1:", silent.port(), "/dir/"));
  request.mutable_timeout()->set_nanos(100'000'000);
  EXPECT_EQ(ListBy(*local_, request).status.error_code(), StatusCode::DEADLINE_EXCEEDED);
  request.mutable_timeout()->set_seconds(-5);
  EXPECT_EQ(ListBy(*local_, request).status.error_code(), StatusCode::DEADLINE_EXCEEDED);
}

}  // namespace
}  // namespace dragonfly::daemon
