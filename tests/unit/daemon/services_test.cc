// SPDX-License-Identifier: Apache-2.0
// The two gRPC services as their clients see them.
#include <gmock/gmock.h>
#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <gtest/gtest.h>

#include "base/backend_error.h"
#include "base/digest.h"
#include "base/text.h"
#include "dfdaemon/v2/dfdaemon.grpc.pb.h"
#include "tests/support/object_storage.h"
#include "tests/unit/daemon/test_peer.h"

namespace dragonfly::daemon {
namespace {

namespace wire = dfdaemon::v2;
using grpc::StatusCode;

constexpr uint64_t kSize = 3 * kTestPieceLength + 11;

class Services : public ::testing::Test {
 protected:
  Services() {
    want_.set_url(origin_.Url());
    want_.set_piece_length(kTestPieceLength);
    local_ = wire::DfdaemonDownload::NewStub(
        grpc::CreateChannel("unix:" + peer_.socket_path(), grpc::InsecureChannelCredentials()));
    remote_ =
        wire::DfdaemonUpload::NewStub(grpc::CreateChannel(peer_.upload_address(), grpc::InsecureChannelCredentials()));
  }

  struct Progress {
    std::vector<wire::DownloadTaskResponse> messages;
    grpc::Status status;
  };
  template <typename Stub>
  static Progress DownloadBy(Stub& stub, const common::v2::Download& download) {
    grpc::ClientContext context;
    wire::DownloadTaskRequest request;
    *request.mutable_download() = download;
    const auto stream = stub.DownloadTask(&context, request);
    Progress progress;
    wire::DownloadTaskResponse message;
    while (stream->Read(&message)) progress.messages.push_back(message);
    progress.status = stream->Finish();
    return progress;
  }

  struct News {
    std::vector<wire::SyncPiecesResponse> messages;
    grpc::Status status;
  };
  News SyncPieces(const std::string& task_id, const std::vector<uint32_t>& numbers) {
    grpc::ClientContext context;
    wire::SyncPiecesRequest request;
    request.set_host_id("child");
    request.set_task_id(task_id);
    for (const uint32_t number : numbers) request.add_interested_piece_numbers(number);
    const auto stream = remote_->SyncPieces(&context, request);
    News news;
    wire::SyncPiecesResponse message;
    while (stream->Read(&message)) news.messages.push_back(message);
    news.status = stream->Finish();
    return news;
  }

  grpc::Status DownloadPiece(const std::string& task_id, uint32_t number, wire::DownloadPieceResponse& response) {
    grpc::ClientContext context;
    wire::DownloadPieceRequest request;
    request.set_host_id("child");
    request.set_task_id(task_id);
    request.set_piece_number(number);
    return remote_->DownloadPiece(&context, request, &response);
  }

  std::string id() const { return TaskManager::IdOf(want_)->str(); }

  runtime::IoThreads io_{2};
  ScriptedOrigin origin_{TestContent(kSize)};
  TestPeer peer_{io_, "peer"};
  common::v2::Download want_;
  std::unique_ptr<wire::DfdaemonDownload::Stub> local_;
  std::unique_ptr<wire::DfdaemonUpload::Stub> remote_;
};

TEST_F(Services, TheProgressStreamBeginsWithTheShapeAndTellsEachPiece) {
  const Progress progress = DownloadBy(*local_, want_);
  ASSERT_TRUE(progress.status.ok()) << progress.status.error_message();
  ASSERT_EQ(progress.messages.size(), 5u);
  const wire::DownloadTaskResponse& first = progress.messages[0];
  EXPECT_EQ(first.task_id(), id());
  EXPECT_EQ(first.host_id(), "127.0.0.1-peer");
  EXPECT_FALSE(first.peer_id().empty());
  const auto& started = first.download_task_started_response();
  EXPECT_EQ(started.content_length(), kSize);
  EXPECT_FALSE(started.is_finished());
  EXPECT_EQ(started.response_header().at("etag"), "\"v1\"");
  ASSERT_EQ(started.pieces_size(), 4);
  EXPECT_EQ(started.pieces(3).offset(), 3 * kTestPieceLength);
  EXPECT_EQ(started.pieces(3).length(), 11u);
  for (size_t i = 1; i < 5; ++i) {
    const auto& piece = progress.messages[i].download_piece_finished_response().piece();
    EXPECT_EQ(piece.traffic_type(), common::v2::BACK_TO_SOURCE);
    EXPECT_TRUE(piece.has_traffic_type());
    EXPECT_TRUE(piece.has_cost());
    EXPECT_FALSE(piece.has_parent_id());
    EXPECT_FALSE(piece.has_content());
    EXPECT_EQ(progress.messages[i].peer_id(), first.peer_id());
  }
}

TEST_F(Services, CarriesTheContentWhereItIsAskedFor) {
  want_.set_need_piece_content(true);
  for (int round = 0; round < 2; ++round) {  // from the origin, then from the store
    const Progress progress = DownloadBy(*local_, want_);
    ASSERT_TRUE(progress.status.ok()) << progress.status.error_message();
    std::string content(kSize, '\0');
    for (size_t i = 1; i < progress.messages.size(); ++i) {
      const auto& piece = progress.messages[i].download_piece_finished_response().piece();
      ASSERT_EQ(piece.content().size(), piece.length());
      content.replace(piece.offset(), piece.length(), piece.content());
    }
    EXPECT_EQ(content, origin_.content());
  }
}

TEST_F(Services, TheOriginsRefusalTravelsAsJsonDetails) {
  ScriptedOrigin::Behaviour behaviour;
  behaviour.status = 403;
  origin_.Set(behaviour);
  const Progress progress = DownloadBy(*remote_, want_);
  EXPECT_EQ(progress.status.error_code(), StatusCode::INTERNAL);
  const auto error = BackendError::FromJson(progress.status.error_details());
  ASSERT_TRUE(error) << progress.status.error_details();
  EXPECT_EQ(error->status_code, 403);
}

TEST_F(Services, ReadsFromAnObjectStorageWithTheKeyOfTheRequest) {
  std::string content(kTestPieceLength + 11, 'x');
  for (size_t i = 0; i < content.size(); ++i) content[i] = static_cast<char>('a' + (i * 7919 >> 4) % 26);
  testing::ObjectStorage storage(
      StrCat(R"({"vendor": "s3", "bucket": "models", "region": "eu-west-1", )",
             R"("access_key_id": "AKID", "access_key_secret": "s3cret", "objects": {"a b": ")", content, R"("}})"));
  want_.set_url("s3://models/a%20b");
  want_.set_need_piece_content(true);
  common::v2::ObjectStorage& access = *want_.mutable_object_storage();
  access.set_endpoint(storage.Endpoint());
  access.set_region("eu-west-1");
  access.set_access_key_id("AKID");
  access.set_access_key_secret("wrong");
  Progress progress = DownloadBy(*local_, want_);
  EXPECT_EQ(progress.status.error_code(), StatusCode::INTERNAL);
  const auto error = BackendError::FromJson(progress.status.error_details());
  ASSERT_TRUE(error) << progress.status.error_message();
  EXPECT_EQ(error->status_code, 403);
  EXPECT_THAT(error->message, ::testing::HasSubstr("SignatureDoesNotMatch"));

  access.set_access_key_secret("s3cret");
  progress = DownloadBy(*local_, want_);
  ASSERT_TRUE(progress.status.ok()) << progress.status.error_message();
  std::string got(content.size(), '\0');
  for (size_t i = 1; i < progress.messages.size(); ++i) {
    const auto& piece = progress.messages[i].download_piece_finished_response().piece();
    got.replace(piece.offset(), piece.length(), piece.content());
  }
  EXPECT_TRUE(got == content);
}

TEST_F(Services, WritesOutputsForThisHostOnly) {
  const testing::TempDir out;
  want_.set_output_path((out.path() / "file").string());
  const Progress refused = DownloadBy(*remote_, want_);
  EXPECT_EQ(refused.status.error_code(), StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(refused.status.error_message(), ::testing::HasSubstr("output_path"));
  EXPECT_FALSE(std::filesystem::exists((out.path() / "file").string()));
  EXPECT_TRUE(DownloadBy(*local_, want_).status.ok());
  EXPECT_EQ(ReadFile((out.path() / "file").string()), origin_.content());
}

TEST_F(Services, ReadsKeyFilesForThisHostOnly) {
  const testing::TempDir files;
  files.Write("key.json", "no key, but somebody's file");
  const std::string path = (files.path() / "key.json").string();
  want_.set_url("gs://bucket/object");
  want_.mutable_object_storage()->set_endpoint("http://127.0.0.1:1");
  want_.mutable_object_storage()->set_credential_path(path);
  const Progress refused = DownloadBy(*remote_, want_);
  EXPECT_EQ(refused.status.error_code(), StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(refused.status.error_message(),
            "object_storage.credential_path names a file of this host and is only taken on the Unix socket");
  const Progress read = DownloadBy(*local_, want_);
  EXPECT_THAT(read.status.error_message(), ::testing::HasSubstr(path)) << "it is read for a caller of this host";

  wire::ListTaskEntriesRequest list;
  list.set_url("gs://bucket/");
  *list.mutable_object_storage() = want_.object_storage();
  wire::ListTaskEntriesResponse entries;
  grpc::ClientContext remote_context;
  const grpc::Status listed = remote_->ListTaskEntries(&remote_context, list, &entries);
  EXPECT_EQ(listed.error_code(), StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(listed.error_message(), ::testing::HasSubstr("only taken on the Unix socket"));
  grpc::ClientContext local_context;
  EXPECT_THAT(local_->ListTaskEntries(&local_context, list, &entries).error_message(), ::testing::HasSubstr(path));
}

TEST_F(Services, RefusesADownloadThatIsMissing) {
  grpc::ClientContext context;
  const auto stream = local_->DownloadTask(&context, wire::DownloadTaskRequest());
  wire::DownloadTaskResponse message;
  EXPECT_FALSE(stream->Read(&message));
  const grpc::Status status = stream->Finish();
  EXPECT_EQ(status.error_code(), StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(status.error_message(), "missing download");
}

TEST_F(Services, NoIdFromTheNetworkReachesTheFileSystem) {
  const std::string upper(64, 'A');
  for (const std::string& bad :
       {std::string(), std::string("../../etc/passwd"), std::string("/etc/passwd"), std::string("ab"),
        std::string("ab\0cd", 5), upper, std::string(65, 'a'), std::string(100'000, 'a'), std::string("\xc3\xa9")}) {
    wire::DownloadPieceResponse piece;
    EXPECT_EQ(DownloadPiece(bad, 0, piece).error_code(), StatusCode::INVALID_ARGUMENT) << bad.substr(0, 80);
    EXPECT_EQ(SyncPieces(bad, {0}).status.error_code(), StatusCode::INVALID_ARGUMENT) << bad.substr(0, 80);
    wire::DeleteTaskRequest request;
    request.set_task_id(bad);
    google::protobuf::Empty nothing;
    grpc::ClientContext context;
    EXPECT_EQ(remote_->DeleteTask(&context, request, &nothing).error_code(), StatusCode::INVALID_ARGUMENT);
    grpc::ClientContext stat_context;
    wire::StatLocalTaskRequest stat;
    stat.set_task_id(bad);
    wire::StatLocalTaskResponse local;
    EXPECT_EQ(local_->StatLocalTask(&stat_context, stat, &local).error_code(), StatusCode::INVALID_ARGUMENT);
  }
}

TEST_F(Services, SyncPiecesTellsWhatIsThereAndEnds) {
  ASSERT_TRUE(peer_.Download(want_).ok());
  const News news = SyncPieces(id(), {1, 3, 3, 77, UINT32_MAX});
  ASSERT_TRUE(news.status.ok()) << news.status.error_message();
  ASSERT_EQ(news.messages.size(), 2u);
  for (const auto& message : news.messages) {
    EXPECT_EQ(message.offset(), message.number() * kTestPieceLength);
    EXPECT_EQ(message.ip(), "127.0.0.1");
    EXPECT_EQ(message.tcp_port(), peer_.identity.vortex_port);
    EXPECT_EQ(message.quic_port(), peer_.identity.quic_port);
  }
}

TEST_F(Services, SyncPiecesEndsWhenNoMoreWillCome) {
  want_.mutable_range()->set_length(1);
  ASSERT_TRUE(peer_.Download(want_).ok());
  const News news = SyncPieces(id(), {0, 1});
  EXPECT_TRUE(news.status.ok()) << news.status.error_message();
  EXPECT_EQ(news.messages.size(), 1u);
}

TEST_F(Services, SyncPiecesOfAnUnknownOrFailedTaskSaysSo) {
  EXPECT_EQ(SyncPieces(id(), {0}).status.error_code(), StatusCode::INTERNAL);
  EXPECT_EQ(SyncPieces(id(), {0}).status.error_message(), "task " + id() + " not found");

  origin_.HoldFrom(kTestPieceLength);
  RecordingObserver observer;
  auto running = peer_.Begin(want_, observer);
  ASSERT_TRUE(origin_.AwaitHeld());
  auto news = std::async(std::launch::async, [this] { return SyncPieces(id(), {0, 1, 2, 3}); });
  ASSERT_TRUE(peer_.link.Await("back to source started"));
  ASSERT_TRUE(RunOn(io_, peer_.tasks().Delete(*TaskId::Parse(id()))).ok());
  EXPECT_FALSE(running.get().ok());
  EXPECT_EQ(news.get().status.error_code(), StatusCode::INTERNAL);
  origin_.Release();
}

TEST_F(Services, DownloadPieceGivesThePieceWithBothDigests) {
  ASSERT_TRUE(peer_.Download(want_).ok());
  wire::DownloadPieceResponse response;
  const grpc::Status status = DownloadPiece(id(), 3, response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(response.piece().content(), origin_.content().substr(3 * kTestPieceLength));
  EXPECT_EQ(response.piece().digest(), FormatCrc32Digest(Crc32(std::string_view(response.piece().content()))));
  EXPECT_EQ(response.digest(),
            PieceMetadataDigest(PieceNumber(3), ByteRange{3 * kTestPieceLength, 11}, response.piece().digest()));
  for (const uint32_t number : {4u, UINT32_MAX}) {
    EXPECT_EQ(DownloadPiece(id(), number, response).error_code(), StatusCode::NOT_FOUND);
  }
  EXPECT_EQ(DownloadPiece(std::string(64, 'a'), 0, response).error_message(), "piece metadata not found");
}

TEST_F(Services, TellsAboutTheTasksOfThisHost) {
  ASSERT_TRUE(peer_.Download(want_).ok());
  grpc::ClientContext context;
  wire::StatLocalTaskRequest request;
  request.set_task_id(id());
  wire::StatLocalTaskResponse local;
  ASSERT_TRUE(local_->StatLocalTask(&context, request, &local).ok());
  EXPECT_EQ(local.content_length(), kSize);
  EXPECT_EQ(local.piece_length(), kTestPieceLength);
  EXPECT_TRUE(local.has_finished_at());

  grpc::ClientContext list_context;
  wire::ListLocalTasksResponse list;
  ASSERT_TRUE(local_->ListLocalTasks(&list_context, wire::ListLocalTasksRequest(), &list).ok());
  ASSERT_EQ(list.tasks_size(), 1);
  EXPECT_EQ(list.tasks(0).task_id(), id());

  grpc::ClientContext stat_context;
  wire::StatTaskRequest stat;
  stat.set_task_id(id());
  common::v2::Task task;
  ASSERT_TRUE(remote_->StatTask(&stat_context, stat, &task).ok());
  EXPECT_EQ(task.state(), "Succeeded");

  grpc::ClientContext missing_context;
  request.set_task_id(std::string(64, 'a'));
  EXPECT_EQ(local_->StatLocalTask(&missing_context, request, &local).error_code(), StatusCode::NOT_FOUND);
}

TEST_F(Services, DeletesHereAndAtTheScheduler) {
  ASSERT_TRUE(peer_.Download(want_).ok());
  wire::DeleteTaskRequest request;
  request.set_task_id(id());
  google::protobuf::Empty nothing;
  grpc::ClientContext context;
  ASSERT_TRUE(remote_->DeleteTask(&context, request, &nothing).ok());
  EXPECT_EQ(peer_.link.CountOf("delete task " + id()), 1);
  EXPECT_EQ(peer_.store().Find(*TaskId::Parse(id())), nullptr);
  grpc::ClientContext again;
  const grpc::Status status = local_->DeleteTask(&again, request, &nothing);
  EXPECT_EQ(status.error_code(), StatusCode::INTERNAL);
  EXPECT_EQ(status.error_message(), "task " + id() + " not found");
  grpc::ClientContext host_context;
  EXPECT_TRUE(local_->DeleteHost(&host_context, nothing, &nothing).ok());
  EXPECT_EQ(peer_.link.CountOf("delete host"), 1);
}

TEST_F(Services, SaysWhatItDoesNotServe) {
  grpc::ClientContext unary_context;
  wire::ExchangeIBVerbsQueuePairEndpointResponse response;
  const grpc::Status unary = remote_->ExchangeIBVerbsQueuePairEndpoint(
      &unary_context, wire::ExchangeIBVerbsQueuePairEndpointRequest(), &response);
  EXPECT_EQ(unary.error_code(), StatusCode::UNIMPLEMENTED);
  EXPECT_EQ(unary.error_message(),
            "dfdaemon.v2.DfdaemonUpload/ExchangeIBVerbsQueuePairEndpoint is not served by this dfdaemon");

  grpc::ClientContext stream_context;
  const auto stream = remote_->DownloadPersistentCacheTask(&stream_context, wire::DownloadPersistentCacheTaskRequest());
  wire::DownloadPersistentCacheTaskResponse message;
  EXPECT_FALSE(stream->Read(&message));
  const grpc::Status ended = stream->Finish();
  EXPECT_EQ(ended.error_code(), StatusCode::UNIMPLEMENTED);
  EXPECT_EQ(ended.error_message(),
            "dfdaemon.v2.DfdaemonUpload/DownloadPersistentCacheTask is not served by this dfdaemon");
}

TEST_F(Services, SyncHostTellsWhoThisIs) {
  grpc::ClientContext context;
  wire::SyncHostRequest request;
  const auto stream = remote_->SyncHost(&context, request);
  common::v2::Host host;
  ASSERT_TRUE(stream->Read(&host));
  EXPECT_EQ(host.id(), "127.0.0.1-peer");
  context.TryCancel();
  stream->Finish();
}

TEST_F(Services, CountsTrafficByWhereItCameFrom) {
  ASSERT_TRUE(peer_.Download(want_).ok());
  ASSERT_TRUE(peer_.Download(want_).ok());
  const std::string metrics = peer_.metrics.Render();
  EXPECT_THAT(metrics,
              ::testing::HasSubstr("dragonfly_client_download_traffic{task_type=\"0\",type=\"BACK_TO_SOURCE\"} " +
                                   std::to_string(kSize)));
  EXPECT_THAT(metrics, ::testing::HasSubstr("dragonfly_client_download_traffic{task_type=\"0\",type=\"LOCAL_PEER\"} " +
                                            std::to_string(kSize)));
  EXPECT_THAT(metrics, ::testing::HasSubstr("dragonfly_client_download_task_total{"));
}

TEST_F(Services, LeadNobodyElseToTheMetadataOfThisMachine) {
  want_.set_url("http://169.254.169.254/latest/meta-data");
  want_.set_disable_back_to_source(false);
  const grpc::Status refused = DownloadBy(*remote_, want_).status;
  EXPECT_EQ(refused.error_code(), StatusCode::PERMISSION_DENIED) << refused.error_message();
  EXPECT_THAT(refused.error_message(), ::testing::HasSubstr("169.254.169.254, which is in a forbidden network"));
  grpc::ClientContext context;
  wire::ListTaskEntriesRequest request;
  request.set_url("http://169.254.169.254/latest/");
  wire::ListTaskEntriesResponse response;
  EXPECT_EQ(remote_->ListTaskEntries(&context, request, &response).error_code(), StatusCode::PERMISSION_DENIED);
}

TEST_F(Services, RefuseDownloadsThatTheOperatorsBlock) {
  const auto parsed = ParseClientConfig(R"({"blockList": {"task": {"download": {"tags": ["secret"]}}}})", "list");
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  peer_.block_list = std::make_shared<const BlockList>(parsed->block_list);
  want_.set_tag("secret");
  for (const grpc::Status& status : {DownloadBy(*local_, want_).status, DownloadBy(*remote_, want_).status}) {
    EXPECT_EQ(status.error_code(), StatusCode::PERMISSION_DENIED);
    EXPECT_EQ(status.error_message(), "download rejected by blocklist policy");
  }
  want_.set_tag("open");
  EXPECT_TRUE(DownloadBy(*local_, want_).status.ok());
}

}  // namespace
}  // namespace dragonfly::daemon
