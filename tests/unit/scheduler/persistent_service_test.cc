// SPDX-License-Identifier: Apache-2.0
// Persistent cache tasks of a real scheduler over real gRPC, with its own store and with a real redis-server.
#include <array>
#include <filesystem>
#include <set>

#include "dragonfly/ext/v1/persistent_cache.grpc.pb.h"
#include "telemetry/metrics.h"
#include "tests/support/otlp_collector.h"
#include "tests/support/redis_server.h"
#include "tests/support/temp_dir.h"
#include "tests/unit/scheduler/cluster.h"

namespace dragonfly::scheduler {
namespace {

using namespace std::chrono_literals;
using testing::Cluster;
using ::testing::HasSubstr;
using testing::MakeHost;
namespace api = testing::api;
using Stub = api::Scheduler::Stub;
using google::protobuf::Empty;

constexpr uint64_t kMiB = 1 << 20;

// The dialogue of one peer.
class Talk {
 public:
  Talk(Stub& stub, std::string host, std::string peer) : host_(std::move(host)), peer_(std::move(peer)) {
    context_.set_deadline(std::chrono::system_clock::now() + testing::kPatience);
    stream_ = stub.AnnouncePersistentCachePeer(&context_);
  }
  ~Talk() {
    if (ended_) return;
    context_.TryCancel();
    stream_->Finish();
  }
  api::AnnouncePersistentCachePeerRequest Request() const {
    api::AnnouncePersistentCachePeerRequest request;
    request.set_host_id(host_);
    request.set_task_id("task");
    request.set_peer_id(peer_);
    return request;
  }
  void Register(bool persistent) {
    auto request = Request();
    request.mutable_register_persistent_cache_peer_request()->set_persistent(persistent);
    request.mutable_register_persistent_cache_peer_request()->set_piece_length(4 * kMiB);
    stream_->Write(request);
  }
  void Started() {
    auto request = Request();
    request.mutable_download_persistent_cache_peer_started_request();
    stream_->Write(request);
  }
  void Piece(uint32_t number) {
    auto request = Request();
    request.mutable_download_piece_finished_request()->mutable_piece()->set_number(number);
    stream_->Write(request);
  }
  void Reschedule(const api::NormalPersistentCacheTaskResponse& tried) {
    auto request = Request();
    *request.mutable_reschedule_persistent_cache_peer_request()->mutable_candidate_parents() =
        tried.candidate_parents();
    stream_->Write(request);
  }
  void Finished() {
    auto request = Request();
    request.mutable_download_persistent_cache_peer_finished_request();
    stream_->Write(request);
  }
  void Failed() {
    auto request = Request();
    request.mutable_download_persistent_cache_peer_failed_request()->set_description("disk full");
    stream_->Write(request);
  }
  api::NormalPersistentCacheTaskResponse Parents() {
    api::AnnouncePersistentCachePeerResponse response;
    EXPECT_TRUE(stream_->Read(&response));
    EXPECT_TRUE(response.has_normal_persistent_cache_task_response()) << response.ShortDebugString();
    return response.normal_persistent_cache_task_response();
  }
  grpc::Status End() {
    api::AnnouncePersistentCachePeerResponse response;
    EXPECT_FALSE(stream_->Read(&response)) << response.ShortDebugString();
    ended_ = true;
    return stream_->Finish();
  }

 private:
  const std::string host_, peer_;
  grpc::ClientContext context_;
  std::unique_ptr<
      grpc::ClientReaderWriter<api::AnnouncePersistentCachePeerRequest, api::AnnouncePersistentCachePeerResponse>>
      stream_;
  bool ended_ = false;
};

class PersistentService : public ::testing::TestWithParam<bool> {
 protected:
  // `interval`: of the regular looks.
  explicit PersistentService(absl::Duration interval = SchedulerConfig().scheduling.host_gc_interval)
      : interval_(interval) {
    if (GetParam()) redis_ = std::make_unique<dragonfly::testing::RedisServer>();
    Start();
  }

  SchedulerConfig Config() const {
    SchedulerConfig config = Cluster::Config();
    config.server.cache_dir = dir_.path().string();
    config.scheduling.host_gc_interval = interval_;
    if (redis_ != nullptr) config.redis.addrs = {redis_->address()};
    return config;
  }
  void Start() {
    cluster_.reset();
    cluster_ = std::make_unique<Cluster>(Config());
    for (const char* host : {"a", "b", "c"}) {
      common::v2::Host wire = MakeHost(host);
      // Nobody is asked to make replicas: these hosts say that they are full.
      wire.mutable_disk()->set_free(1);
      EXPECT_TRUE(cluster_->Announce(wire).ok());
    }
  }

  api::UploadPersistentCacheTaskStartedRequest Upload(const std::string& host, const std::string& peer) const {
    api::UploadPersistentCacheTaskStartedRequest request;
    request.set_host_id(host);
    request.set_task_id("task");
    request.set_peer_id(peer);
    request.set_persistent_replica_count(2);
    request.set_tag("tag");
    request.set_piece_length(4 * kMiB);
    request.set_content_length(10 * kMiB);
    request.set_piece_count(3);
    request.mutable_ttl()->set_seconds(3600);
    return request;
  }
  grpc::Status UploadStarted(const api::UploadPersistentCacheTaskStartedRequest& request) {
    Empty empty;
    return cluster_->Call(&Stub::UploadPersistentCacheTaskStarted, request, &empty);
  }
  std::pair<grpc::Status, common::v2::PersistentCacheTask> UploadFinished(const std::string& host,
                                                                          const std::string& peer) {
    api::UploadPersistentCacheTaskFinishedRequest request;
    request.set_host_id(host);
    request.set_task_id("task");
    request.set_peer_id(peer);
    common::v2::PersistentCacheTask task;
    const grpc::Status status = cluster_->Call(&Stub::UploadPersistentCacheTaskFinished, request, &task);
    return {status, task};
  }
  void Import(const std::string& host, const std::string& peer) {
    ASSERT_TRUE(UploadStarted(Upload(host, peer)).ok());
    ASSERT_TRUE(UploadFinished(host, peer).first.ok());
  }
  std::pair<grpc::Status, common::v2::PersistentCacheTask> Stat() {
    api::StatPersistentCacheTaskRequest request;
    request.set_host_id("a");
    request.set_task_id("task");
    common::v2::PersistentCacheTask task;
    const grpc::Status status = cluster_->Call(&Stub::StatPersistentCacheTask, request, &task);
    return {status, task};
  }
  std::pair<grpc::Status, common::v2::PersistentCachePeer> StatPeer(const std::string& peer) {
    api::StatPersistentCachePeerRequest request;
    request.set_host_id("a");
    request.set_task_id("task");
    request.set_peer_id(peer);
    common::v2::PersistentCachePeer answer;
    const grpc::Status status = cluster_->Call(&Stub::StatPersistentCachePeer, request, &answer);
    return {status, answer};
  }

  const dragonfly::testing::TempDir dir_;
  const absl::Duration interval_;
  std::unique_ptr<dragonfly::testing::RedisServer> redis_;
  std::unique_ptr<Cluster> cluster_;
};

TEST_P(PersistentService, KnowsAnImportFromItsEndOn) {
  EXPECT_EQ(Stat().first.error_code(), grpc::NOT_FOUND);
  EXPECT_EQ(Stat().first.error_message(), "persistent cache task task not found");
  ASSERT_TRUE(UploadStarted(Upload("a", "importer")).ok());
  EXPECT_EQ(Stat().second.state(), "Uploading");
  EXPECT_EQ(Stat().second.current_replica_count(), 0u) << "it counts when it is there";
  const auto [status, task] = UploadFinished("a", "importer");
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(task.id(), "task");
  EXPECT_EQ(task.state(), "Succeeded");
  EXPECT_EQ(task.persistent_replica_count(), 2u);
  EXPECT_EQ(task.current_persistent_replica_count(), 1u);
  EXPECT_EQ(task.current_replica_count(), 1u);
  EXPECT_EQ(task.tag(), "tag");
  EXPECT_EQ(task.content_length(), 10 * kMiB);
  EXPECT_EQ(task.piece_count(), 3u);
  EXPECT_EQ(task.ttl().seconds(), 3600);
  EXPECT_TRUE(task.has_created_at());
}

TEST_P(PersistentService, TakesAContentOnce) {
  Import("a", "importer");
  const grpc::Status again = UploadStarted(Upload("b", "second"));
  EXPECT_EQ(again.error_code(), grpc::ALREADY_EXISTS);
  EXPECT_EQ(again.error_message(), "persistent cache task task is Succeeded cannot upload");
  EXPECT_EQ(UploadStarted(Upload("a", "importer")).error_code(), grpc::ALREADY_EXISTS);
}

// A host that has lost its disk, and with it what it had imported.
TEST_P(PersistentService, BelievesAnImporterThatItHasNoCopy) {
  Import("a", "importer");
  Import("a", "again");
  EXPECT_EQ(StatPeer("importer").first.error_code(), grpc::NOT_FOUND);
  EXPECT_EQ(Stat().second.current_replica_count(), 1u);
}

TEST_P(PersistentService, KeepsNothingOfAFailedImport) {
  ASSERT_TRUE(UploadStarted(Upload("a", "importer")).ok());
  api::UploadPersistentCacheTaskFailedRequest failed;
  failed.set_host_id("a");
  failed.set_task_id("task");
  failed.set_peer_id("importer");
  Empty empty;
  ASSERT_TRUE(cluster_->Call(&Stub::UploadPersistentCacheTaskFailed, failed, &empty).ok());
  EXPECT_EQ(Stat().first.error_code(), grpc::NOT_FOUND);
  EXPECT_EQ(StatPeer("importer").first.error_code(), grpc::NOT_FOUND);
  Import("b", "second");
}

// The answer to the end of an import was lost, and the importer takes it back.
TEST_P(PersistentService, KeepsNothingOfAnImportThatIsTakenBackUnlessThereIsAReplica) {
  api::UploadPersistentCacheTaskFailedRequest failed;
  failed.set_host_id("a");
  failed.set_task_id("task");
  failed.set_peer_id("importer");
  Empty empty;
  {
    Import("a", "importer");
    Talk running(cluster_->stub(), "b", "running");
    running.Register(true);
    running.Parents();
    ASSERT_TRUE(cluster_->Call(&Stub::UploadPersistentCacheTaskFailed, failed, &empty).ok());
    EXPECT_EQ(Stat().first.error_code(), grpc::NOT_FOUND);
  }
  Import("a", "importer");
  Talk replica(cluster_->stub(), "b", "replica");
  replica.Register(true);
  replica.Parents();
  replica.Started();
  replica.Finished();
  EXPECT_TRUE(replica.End().ok());
  ASSERT_TRUE(cluster_->Call(&Stub::UploadPersistentCacheTaskFailed, failed, &empty).ok());
  EXPECT_EQ(Stat().second.state(), "Succeeded");
  EXPECT_EQ(Stat().second.current_replica_count(), 1u);
}

TEST_P(PersistentService, RefusesWhatMakesNoSense) {
  auto request = Upload("a", "p");
  request.set_persistent_replica_count(0);
  EXPECT_THAT(UploadStarted(request).error_message(), HasSubstr("PersistentReplicaCount"));
  request = Upload("a", "p");
  request.set_piece_count(UINT32_MAX);
  EXPECT_THAT(UploadStarted(request).error_message(), HasSubstr("PieceCount"));
  request = Upload("a", "p");
  request.mutable_ttl()->set_seconds(1);
  EXPECT_THAT(UploadStarted(request).error_message(), HasSubstr("Ttl"));
  EXPECT_EQ(UploadStarted(Upload("nobody", "p")).error_code(), grpc::NOT_FOUND);
  EXPECT_EQ(UploadStarted(Upload("nobody", "p")).error_message(), "host nobody not found");
  EXPECT_EQ(UploadFinished("a", "p").first.error_message(), "persistent cache peer p not found");
}

TEST_P(PersistentService, OffersTheCopyAndCountsTheNewOne) {
  Import("a", "importer");
  Talk talk(cluster_->stub(), "b", "child");
  talk.Register(/*persistent=*/true);
  const auto parents = talk.Parents();
  ASSERT_EQ(parents.candidate_parents_size(), 1);
  const common::v2::PersistentCachePeer& parent = parents.candidate_parents(0);
  EXPECT_EQ(parent.id(), "importer");
  EXPECT_EQ(parent.state(), "Succeeded");
  EXPECT_TRUE(parent.persistent());
  EXPECT_EQ(parent.host().ip(), "127.0.0.1");
  EXPECT_EQ(parent.task().content_length(), 10 * kMiB);
  EXPECT_TRUE(parent.has_cost() && parent.has_created_at() && parent.has_updated_at());
  talk.Started();
  talk.Started();
  // A number that no task has must not end anything.
  talk.Piece(UINT32_MAX);
  for (uint32_t number = 0; number < 3; ++number) talk.Piece(number);
  EXPECT_EQ(Stat().second.current_replica_count(), 1u);
  talk.Finished();
  EXPECT_TRUE(talk.End().ok());
  EXPECT_EQ(Stat().second.current_replica_count(), 2u);
  EXPECT_EQ(Stat().second.current_persistent_replica_count(), 2u);
  EXPECT_EQ(StatPeer("child").second.state(), "Succeeded");
  EXPECT_EQ(StatPeer("child").second.host().id(), "b");
}

TEST_P(PersistentService, OffersTwoThatAreDownloadingNeverToEachOther) {
  Import("a", "importer");
  // Of one second or not: the names decide as the times do.
  Talk older(cluster_->stub(), "b", "child-1");
  older.Register(true);
  older.Parents();
  older.Started();
  const auto deadline = Clock::now() + testing::kPatience;
  while (StatPeer("child-1").second.state() != "Running") ASSERT_LT(Clock::now(), deadline);
  Talk younger(cluster_->stub(), "c", "child-2");
  younger.Register(true);
  const auto parents = younger.Parents();
  ASSERT_EQ(parents.candidate_parents_size(), 2);
  younger.Started();
  api::NormalPersistentCacheTaskResponse importer;
  importer.add_candidate_parents()->set_id("importer");
  older.Reschedule(importer);
  EXPECT_EQ(older.End().error_message(), "no candidate parents found");
}

TEST_P(PersistentService, BlocksTriedParents) {
  Import("a", "importer");
  Talk talk(cluster_->stub(), "b", "child");
  talk.Register(false);
  const auto tried = talk.Parents();
  talk.Started();
  talk.Reschedule(tried);
  const grpc::Status end = talk.End();
  EXPECT_EQ(end.error_code(), grpc::FAILED_PRECONDITION);
  EXPECT_EQ(end.error_message(), "no candidate parents found");
  EXPECT_EQ(StatPeer("child").first.error_code(), grpc::NOT_FOUND) << "nothing stays of a failed download";
}

TEST_P(PersistentService, ForgetsADownloadThatFailsOrBreaksOff) {
  Import("a", "importer");
  {
    Talk talk(cluster_->stub(), "b", "failing");
    talk.Register(false);
    talk.Parents();
    talk.Started();
    talk.Failed();
    EXPECT_TRUE(talk.End().ok());
  }
  EXPECT_EQ(StatPeer("failing").first.error_code(), grpc::NOT_FOUND);
  {
    Talk talk(cluster_->stub(), "b", "breaking");
    talk.Register(false);
    talk.Parents();
    EXPECT_TRUE(StatPeer("breaking").first.ok());
  }
  const auto deadline = Clock::now() + testing::kPatience;
  while (StatPeer("breaking").first.ok()) ASSERT_LT(Clock::now(), deadline);
  EXPECT_EQ(Stat().second.current_replica_count(), 1u);
}

// Only a store elsewhere can be too slow.
class RemotePersistentService : public PersistentService {};

TEST_P(RemotePersistentService, EndsAStreamThatTellsMoreBytesThanMayWait) {
  Import("a", "importer");
  Talk talk(cluster_->stub(), "b", "child");
  redis_->Pause();
  talk.Register(false);
  api::NormalPersistentCacheTaskResponse parents;
  for (int i = 0; i < 500; ++i) parents.add_candidate_parents()->set_id(std::string(500, 'p'));
  for (int i = 0; i < 100; ++i) talk.Reschedule(parents);
  const grpc::Status end = talk.End();
  redis_->Resume();
  EXPECT_EQ(end.error_code(), grpc::RESOURCE_EXHAUSTED);
  EXPECT_THAT(end.error_message(), HasSubstr("more messages than can be handled"));
}

TEST_P(RemotePersistentService, EndsAStreamThatTellsMoreThanTheStoreCanTake) {
  Import("a", "importer");
  Talk talk(cluster_->stub(), "b", "child");
  redis_->Pause();
  talk.Register(false);
  for (uint32_t number = 0; number < 20'000; ++number) talk.Piece(number);
  const grpc::Status end = talk.End();
  redis_->Resume();
  EXPECT_EQ(end.error_code(), grpc::RESOURCE_EXHAUSTED);
  EXPECT_THAT(end.error_message(), HasSubstr("more messages than can be handled"));
  // Others are served as soon as the store is there again.
  const auto deadline = Clock::now() + testing::kPatience;
  while (!Stat().first.ok()) ASSERT_LT(Clock::now(), deadline);
}

TEST_P(PersistentService, RegistersNobodyForAnUnknownTaskOrHost) {
  Talk first(cluster_->stub(), "a", "child");
  first.Register(false);
  EXPECT_EQ(first.End().error_message(), "task task not found");
  Talk second(cluster_->stub(), "nobody", "child");
  second.Register(false);
  EXPECT_EQ(second.End().error_message(), "host nobody not found");
  ASSERT_TRUE(UploadStarted(Upload("a", "importer")).ok());
  Talk third(cluster_->stub(), "b", "child");
  third.Register(false);
  EXPECT_EQ(third.End().error_message(), "persistent cache task is not succeeded");
}

// The dfdaemon of a host, as far as the scheduler calls it by itself.
class FakeDaemon final : public dfdaemon::v2::DfdaemonUpload::Service {
 public:
  // `also` is served beside it, if not null, and must outlive it.
  explicit FakeDaemon(grpc::Service* also = nullptr) {
    grpc::ServerBuilder builder;
    if (also != nullptr) builder.RegisterService(also);
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
  }
  ~FakeDaemon() override {
    {
      absl::MutexLock lock(&mutex_);
      stopping_ = true;
    }
    server_->Shutdown(std::chrono::system_clock::now());
  }
  int port() const { return port_; }
  std::vector<std::string> deleted() {
    absl::MutexLock lock(&mutex_);
    return deleted_;
  }
  // Waits for the first call that asks for a replica.
  bool AwaitReplica() {
    absl::MutexLock lock(&mutex_);
    return mutex_.AwaitWithTimeout(absl::Condition(&asked_), absl::FromChrono(testing::kPatience));
  }
  // Waits for the first call that turns a copy into a replica.
  bool AwaitUpdate() {
    absl::MutexLock lock(&mutex_);
    return mutex_.AwaitWithTimeout(absl::Condition(&updated_), absl::FromChrono(testing::kPatience));
  }
  grpc::Status UpdatePersistentCacheTask(grpc::ServerContext*,
                                         const dfdaemon::v2::UpdatePersistentCacheTaskRequest* request,
                                         Empty*) override {
    absl::MutexLock lock(&mutex_);
    EXPECT_TRUE(request->persistent());
    updated_ = true;
    return grpc::Status::OK;
  }
  // Leaves the caller waiting until it goes.
  grpc::Status DownloadPersistentCacheTask(
      grpc::ServerContext* context, const dfdaemon::v2::DownloadPersistentCacheTaskRequest* request,
      grpc::ServerWriter<dfdaemon::v2::DownloadPersistentCacheTaskResponse>*) override {
    absl::MutexLock lock(&mutex_);
    EXPECT_TRUE(request->persistent());
    asked_ = true;
    while (!context->IsCancelled() && !stopping_) {
      mutex_.AwaitWithTimeout(absl::Condition(&stopping_), absl::Milliseconds(20));
    }
    return grpc::Status::OK;
  }
  grpc::Status DeletePersistentCacheTask(grpc::ServerContext*,
                                         const dfdaemon::v2::DeletePersistentCacheTaskRequest* request,
                                         Empty*) override {
    absl::MutexLock lock(&mutex_);
    deleted_.push_back(request->task_id());
    return grpc::Status::OK;
  }

 private:
  int port_ = 0;
  absl::Mutex mutex_;
  std::vector<std::string> deleted_ ABSL_GUARDED_BY(mutex_);
  bool asked_ ABSL_GUARDED_BY(mutex_) = false;
  bool updated_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::unique_ptr<grpc::Server> server_;
};

api::UploadPersistentCacheTaskStartedRequest ImportOf(const std::string& task) {
  api::UploadPersistentCacheTaskStartedRequest request;
  request.set_host_id("a");
  request.set_task_id(task);
  request.set_peer_id("importer-of-" + task);
  request.set_persistent_replica_count(2);
  request.set_piece_length(4 * kMiB);
  request.set_content_length(10 * kMiB);
  request.set_piece_count(3);
  request.mutable_ttl()->set_seconds(3600);
  return request;
}

TEST(PersistentTraces, CallsToTheHostsOfCopiesHaveSpans) {
  dragonfly::testing::OtlpCollector collector;
  const dragonfly::testing::TempDir dir;
  SchedulerConfig config = Cluster::Config();
  config.server.cache_dir = dir.path().string();
  config.scheduling.host_gc_interval = absl::Milliseconds(50);
  config.tracing.protocol = "grpc";
  config.tracing.endpoint = collector.endpoint();
  {
    FakeDaemon full, roomy;
    Cluster cluster(config);
    common::v2::Host host = MakeHost("a");
    host.mutable_disk()->set_free(1);
    ASSERT_TRUE(cluster.Announce(host).ok());
    host = MakeHost("full", full.port());
    host.mutable_disk()->set_free(1);
    ASSERT_TRUE(cluster.Announce(host).ok());
    // A reader's copy becomes the replica that is lacking.
    Empty empty;
    ASSERT_TRUE(cluster.Call(&Stub::UploadPersistentCacheTaskStarted, ImportOf("task"), &empty).ok());
    api::UploadPersistentCacheTaskFinishedRequest finished;
    finished.set_host_id("a");
    finished.set_task_id("task");
    finished.set_peer_id("importer-of-task");
    common::v2::PersistentCacheTask task;
    ASSERT_TRUE(cluster.Call(&Stub::UploadPersistentCacheTaskFinished, finished, &task).ok());
    Talk reader(cluster.stub(), "full", "reader");
    reader.Register(/*persistent=*/false);
    EXPECT_EQ(reader.Parents().candidate_parents_size(), 1);
    reader.Started();
    reader.Finished();
    EXPECT_TRUE(reader.End().ok());
    ASSERT_TRUE(full.AwaitUpdate());
    // A host with room is asked to make one.
    host = MakeHost("roomy", roomy.port());
    host.mutable_disk()->set_free(100 * kMiB);
    ASSERT_TRUE(cluster.Announce(host).ok());
    ASSERT_TRUE(cluster.Call(&Stub::UploadPersistentCacheTaskStarted, ImportOf("other"), &empty).ok());
    ASSERT_TRUE(roomy.AwaitReplica());
  }
  const std::set<std::string> names = {"download_persistent_cache_task", "update_persistent_cache_task"};
  std::set<std::string> seen;
  for (const auto& one : collector.WaitForNames({names.begin(), names.end()})) {
    if (one.span.kind() == dragonfly::testing::OtlpCollector::Span::SPAN_KIND_CLIENT &&
        names.contains(one.span.name())) {
      seen.insert(one.span.name());
    }
  }
  EXPECT_EQ(seen, names);
}

TEST_P(PersistentService, HasReplicasMadeWhileTheImportGoesOn) {
  FakeDaemon daemon;
  common::v2::Host host = MakeHost("d", daemon.port());
  host.mutable_disk()->set_free(100 * kMiB);
  ASSERT_TRUE(cluster_->Announce(host).ok());
  ASSERT_TRUE(UploadStarted(Upload("a", "importer")).ok());
  ASSERT_TRUE(daemon.AwaitReplica());
  Talk reader(cluster_->stub(), "b", "reader");
  reader.Register(/*persistent=*/false);
  EXPECT_EQ(reader.End().error_message(), "persistent cache task is not succeeded") << "it is nobody's yet";
  Talk replica(cluster_->stub(), "d", "replica");
  replica.Register(/*persistent=*/true);
  const auto parents = replica.Parents();
  ASSERT_EQ(parents.candidate_parents_size(), 1);
  EXPECT_EQ(parents.candidate_parents(0).id(), "importer");
  replica.Started();
  replica.Finished();
  EXPECT_TRUE(replica.End().ok());
  EXPECT_EQ(Stat().second.state(), "Uploading");
  const auto [status, task] = UploadFinished("a", "importer");
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(task.current_persistent_replica_count(), 2u);
}

TEST_P(PersistentService, TakesReplicasOfAFailedImportBack) {
  FakeDaemon daemon;
  common::v2::Host host = MakeHost("d", daemon.port());
  host.mutable_disk()->set_free(1);
  ASSERT_TRUE(cluster_->Announce(host).ok());
  const auto make_replica = [&](const std::string& id) {
    Talk replica(cluster_->stub(), "d", id);
    replica.Register(/*persistent=*/true);
    replica.Parents();
    replica.Started();
    replica.Finished();
    EXPECT_TRUE(replica.End().ok());
  };
  ASSERT_TRUE(UploadStarted(Upload("a", "importer")).ok());
  make_replica("replica");
  api::UploadPersistentCacheTaskFailedRequest failed;
  failed.set_host_id("a");
  failed.set_task_id("task");
  failed.set_peer_id("importer");
  Empty empty;
  ASSERT_TRUE(cluster_->Call(&Stub::UploadPersistentCacheTaskFailed, failed, &empty).ok());
  EXPECT_EQ(Stat().first.error_code(), grpc::NOT_FOUND);
  EXPECT_EQ(StatPeer("replica").first.error_code(), grpc::NOT_FOUND);
  EXPECT_EQ(daemon.deleted().size(), 1u);
  // An importer that begins anew leaves nothing of what it had begun either, and nobody else may meanwhile.
  ASSERT_TRUE(UploadStarted(Upload("a", "second")).ok());
  make_replica("second-replica");
  EXPECT_EQ(UploadStarted(Upload("b", "other")).error_code(), grpc::ALREADY_EXISTS);
  ASSERT_TRUE(UploadStarted(Upload("a", "third")).ok());
  EXPECT_EQ(StatPeer("second").first.error_code(), grpc::NOT_FOUND);
  EXPECT_EQ(StatPeer("second-replica").first.error_code(), grpc::NOT_FOUND);
  EXPECT_EQ(daemon.deleted().size(), 2u);
  EXPECT_TRUE(UploadFinished("a", "third").first.ok());
  EXPECT_EQ(Stat().second.current_replica_count(), 1u);
}

TEST_P(PersistentService, DeletesThePeerAndItsCopy) {
  FakeDaemon daemon;
  common::v2::Host host = MakeHost("d", daemon.port());
  host.mutable_disk()->set_free(1);
  ASSERT_TRUE(cluster_->Announce(host).ok());
  Import("d", "importer");
  api::DeletePersistentCachePeerRequest request;
  request.set_host_id("d");
  request.set_task_id("task");
  request.set_peer_id("importer");
  Empty empty;
  ASSERT_TRUE(cluster_->Call(&Stub::DeletePersistentCachePeer, request, &empty).ok());
  EXPECT_EQ(daemon.deleted(), std::vector<std::string>{"task"});
  EXPECT_EQ(StatPeer("importer").first.error_code(), grpc::NOT_FOUND);
  const grpc::Status again = cluster_->Call(&Stub::DeletePersistentCachePeer, request, &empty);
  EXPECT_EQ(again.error_message(), "persistent cache peer importer not found");
  // The last copy is gone: the content may be imported again.
  Import("a", "second");
}

// Says of every task that it is not here, and counts what it was asked.
class ForgetfulCopies final : public dragonfly::ext::v1::PersistentCopies::Service {
 public:
  grpc::Status FindMissing(grpc::ServerContext*, const dragonfly::ext::v1::FindMissingRequest* request,
                           dragonfly::ext::v1::FindMissingResponse* response) override {
    absl::MutexLock lock(&mutex_);
    for (const std::string& id : request->task_ids()) {
      asked_.push_back(id);
      response->add_task_ids(id);
    }
    // What it was not asked for is no concern of the scheduler.
    response->add_task_ids("another");
    return grpc::Status::OK;
  }
  std::vector<std::string> asked() {
    absl::MutexLock lock(&mutex_);
    return asked_;
  }

 private:
  absl::Mutex mutex_;
  std::vector<std::string> asked_ ABSL_GUARDED_BY(mutex_);
};

class HealingPersistentService : public PersistentService {
 protected:
  HealingPersistentService() : PersistentService(absl::Seconds(1)) {}
};

TEST_P(HealingPersistentService, BelievesAHostThatItsCopyIsLost) {
  ForgetfulCopies copies;
  FakeDaemon daemon(&copies);
  common::v2::Host host = MakeHost("d", daemon.port());
  host.mutable_disk()->set_free(1);
  ASSERT_TRUE(cluster_->Announce(host).ok());
  // One that has the copy and answers no such question, as the original.
  FakeDaemon holder;
  common::v2::Host other = MakeHost("e", holder.port());
  other.mutable_disk()->set_free(1);
  ASSERT_TRUE(cluster_->Announce(other).ok());
  Import("e", "importer");
  Talk copy(cluster_->stub(), "d", "copy");
  copy.Register(/*persistent=*/true);
  copy.Parents();
  copy.Started();
  copy.Finished();
  ASSERT_TRUE(copy.End().ok());
  const auto deadline = Clock::now() + testing::kPatience;
  while (StatPeer("copy").first.ok() && Clock::now() < deadline) std::this_thread::yield();
  EXPECT_EQ(StatPeer("copy").first.error_code(), grpc::NOT_FOUND);
  EXPECT_THAT(copies.asked(), ::testing::Each("task"));
  EXPECT_EQ(StatPeer("importer").first.error_code(), grpc::OK) << "who cannot be asked is believed";
  EXPECT_EQ(Stat().second.current_persistent_replica_count(), 1u);
}

TEST_P(PersistentService, CountsItsCallsUnderTheNamesOfTheOriginal) {
  Import("a", "importer");
  Talk talk(cluster_->stub(), "b", "child");
  talk.Register(true);
  talk.Parents();
  talk.Started();
  for (uint32_t number = 0; number < 3; ++number) talk.Piece(number);
  talk.Piece(1000);
  talk.Finished();
  EXPECT_TRUE(talk.End().ok());
  EXPECT_TRUE(Stat().first.ok());
  EXPECT_FALSE(StatPeer("nobody").first.ok());
  const std::string page = cluster_->scheduler().metrics().Render();
  for (const char* line :
       {"upload_persistent_cache_task_started_total 1\n", "upload_persistent_cache_task_finished_total 1\n",
        "upload_persistent_cache_task_failed_total 0\n", "upload_cache_peer_failed_failure_total 0\n",
        "announce_persistent_cache_peer_total 1\n", "announce_persistent_cache_peer_failure_total 0\n",
        "stat_persistent_cache_task_total 1\n", "stat_persistent_cache_peer_total 1\n",
        "stat_persistent_cache_peer_failure_total 1\n", "delete_persistent_cache_task_total 0\n",
        "delete_persistent_cache_peer_total 0\n", "register_persistent_cache_peer_total{host_type=\"normal\"} 1\n",
        "download_persistent_cache_peer_started_total{host_type=\"normal\"} 1\n",
        "download_persistent_cache_peer_finished_total{host_type=\"normal\"} 1\n",
        "download_persistent_cache_piece_finished_total{host_type=\"normal\"} 4\n",
        "download_persistent_cache_piece_finished_failure_total{host_type=\"normal\"} 1\n"}) {
    EXPECT_THAT(page, HasSubstr(std::string("dragonfly_scheduler_") + line));
  }
}

TEST_P(PersistentService, ForgetsADeletedTask) {
  Import("a", "importer");
  api::DeletePersistentCacheTaskRequest request;
  request.set_host_id("a");
  request.set_task_id("task");
  Empty empty;
  ASSERT_TRUE(cluster_->Call(&Stub::DeletePersistentCacheTask, request, &empty).ok());
  EXPECT_EQ(Stat().first.error_code(), grpc::NOT_FOUND);
  EXPECT_EQ(StatPeer("importer").first.error_code(), grpc::NOT_FOUND);
}

TEST_P(PersistentService, KeepsTasksOverRestarts) {
  Import("a", "importer");
  if (redis_ != nullptr) redis_->Restart();
  Start();
  EXPECT_EQ(Stat().second.state(), "Succeeded");
  EXPECT_EQ(StatPeer("importer").second.state(), "Succeeded");
  Talk talk(cluster_->stub(), "b", "child");
  talk.Register(false);
  EXPECT_EQ(talk.Parents().candidate_parents_size(), 1);
}

INSTANTIATE_TEST_SUITE_P(Stores, PersistentService, ::testing::Bool(),
                         [](const auto& info) { return info.param ? "Redis" : "Embedded"; });
INSTANTIATE_TEST_SUITE_P(Redis, RemotePersistentService, ::testing::Values(true));
INSTANTIATE_TEST_SUITE_P(Stores, HealingPersistentService, ::testing::Bool(),
                         [](const auto& info) { return info.param ? "Redis" : "Embedded"; });

}  // namespace
}  // namespace dragonfly::scheduler
