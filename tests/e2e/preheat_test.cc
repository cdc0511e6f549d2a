// SPDX-License-Identifier: Apache-2.0
// PreheatImage, StatImage, PreheatFile and StatFile of a real scheduler, with real peers and a real docker-registry.
#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "scheduler/v2/scheduler.grpc.pb.h"
#include "tests/e2e/harness/cluster.h"
#include "tests/e2e/harness/origin.h"
#include "tests/e2e/harness/registry.h"

namespace dragonfly::e2e {
namespace {

namespace api = scheduler::v2;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr auto kTimeout = std::chrono::seconds(60);
constexpr uint64_t kMiB = 1 << 20;

class Preheat : public ::testing::Test {
 protected:
  Preheat() : cluster_(2) {
    stub_ = api::Scheduler::NewStub(grpc::CreateChannel("127.0.0.1:" + std::to_string(cluster_.scheduler().port()),
                                                        grpc::InsecureChannelCredentials()));
  }

  void StartRegistry(RegistrySettings settings = {}) {
    settings.address = "127.0.0.1:" + std::to_string(FreePort());
    if (!settings.user.empty()) {
      settings.user = "user";
      settings.password = "hunter2";
    }
    registry_ = std::make_unique<Registry>(dir_.path() + "/registry", settings);
    image_ = MakeImage(dir_.path() + "/layout", {{5 * kMiB, 1}, {3 * kMiB, 2}, {1000, 3}});
    std::vector<std::string> push = {"/usr/bin/skopeo", "copy", "--quiet", "--preserve-digests",
                                     "--dest-tls-verify=false"};
    if (!settings.user.empty()) push.insert(push.end(), {"--dest-creds", "user:hunter2"});
    push.insert(push.end(), {"oci:" + image_.layout, "docker://" + settings.address + "/team/app:1"});
    Process skopeo(push, dir_.path() + "/push.out");
    ASSERT_EQ(skopeo.Wait(kTimeout), 0) << skopeo.Log();
    registry_->Forget();
  }
  std::string ManifestUrl(const std::string& tag = "1") const {
    return registry_->url() + "/v2/team/app/manifests/" + tag;
  }

  template <typename Request, typename Response>
  grpc::Status Call(grpc::Status (api::Scheduler::Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                    const Request& request, Response* response) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + kTimeout);
    return (stub_.get()->*method)(&context, request, response);
  }
  grpc::Status PreheatImage(const std::string& scope, const std::string& password = "") {
    api::PreheatImageRequest request;
    request.set_url(ManifestUrl());
    request.set_scope(scope);
    if (!password.empty()) {
      request.set_username("user");
      request.set_password(password);
    }
    google::protobuf::Empty empty;
    return Call(&api::Scheduler::Stub::PreheatImage, request, &empty);
  }
  // Asks until `hosts` have all of the image.
  bool AwaitImage(std::set<std::string> hosts, const std::string& password = "") {
    return Await(
        [&] {
          api::StatImageRequest request;
          request.set_url(ManifestUrl());
          if (!password.empty()) {
            request.set_username("user");
            request.set_password(password);
          }
          api::StatImageResponse answer;
          const grpc::Status status = Call(&api::Scheduler::Stub::StatImage, request, &answer);
          EXPECT_TRUE(status.ok()) << status.error_message();
          if (!status.ok()) return true;
          EXPECT_EQ(static_cast<size_t>(answer.image().layers_size()), image_.blobs.size());
          std::set<std::string> complete;
          for (const api::PeerImage& peer : answer.peers()) {
            const auto done =
                std::ranges::count_if(peer.cached_layers(), [](const auto& l) { return l.is_finished(); });
            if (static_cast<size_t>(done) == image_.blobs.size()) complete.insert(peer.hostname());
          }
          return complete == hosts;
        },
        kTimeout);
  }

  TempDir dir_;
  Cluster cluster_;
  std::unique_ptr<api::Scheduler::Stub> stub_;
  std::unique_ptr<Registry> registry_;
  Image image_;
};

TEST_F(Preheat, BringsAnImageToAllHostsAndTheRegistryServesEachByteOnce) {
  StartRegistry();
  const grpc::Status status = PreheatImage("all_peers");
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_TRUE(AwaitImage({"seed", "peer-0", "peer-1"}));
  for (const Blob& blob : image_.blobs) EXPECT_EQ(registry_->BytesSent(blob.digest), blob.size) << blob.digest;
}

TEST_F(Preheat, BringsAPrivateImageToTheSeedsByToken) {
  RegistrySettings settings;
  settings.user = "user";
  settings.token_port = FreePort();
  StartRegistry(settings);
  const grpc::Status wrong = PreheatImage("all_seed_peers", "wrong");
  EXPECT_EQ(wrong.error_code(), grpc::INVALID_ARGUMENT);
  EXPECT_THAT(wrong.error_message(), HasSubstr("the registry answers 401"));
  const grpc::Status status = PreheatImage("all_seed_peers", "hunter2");
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_TRUE(AwaitImage({"seed"}, "hunter2"));
}

TEST_F(Preheat, BringsAPrivateImageToOneSeedByBasicAuthentication) {
  RegistrySettings settings;
  settings.user = "user";
  StartRegistry(settings);
  EXPECT_EQ(PreheatImage("single_seed_peer").error_code(), grpc::INVALID_ARGUMENT);
  const grpc::Status status = PreheatImage("single_seed_peer", "hunter2");
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_TRUE(AwaitImage({"seed"}, "hunter2"));
}

TEST_F(Preheat, TellsWhatIsWrongWithAnImage) {
  StartRegistry();
  api::PreheatImageRequest request;
  google::protobuf::Empty empty;
  request.set_url(ManifestUrl("none"));
  request.set_scope("all_peers");
  grpc::Status status = Call(&api::Scheduler::Stub::PreheatImage, request, &empty);
  EXPECT_EQ(status.error_code(), grpc::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("manifest none: the registry answers 404"));
  request.set_url("http://127.0.0.1:1/nothing");
  status = Call(&api::Scheduler::Stub::PreheatImage, request, &empty);
  EXPECT_EQ(status.error_code(), grpc::INVALID_ARGUMENT);
  request.set_url(ManifestUrl());
  request.set_scope("everybody");
  status = Call(&api::Scheduler::Stub::PreheatImage, request, &empty);
  EXPECT_EQ(status.error_code(), grpc::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("invalid PreheatImageRequest.Scope: "));
  request.set_scope("all_peers");
  request.add_ips("10.9.8.7");
  status = Call(&api::Scheduler::Stub::PreheatImage, request, &empty);
  EXPECT_EQ(status.error_code(), grpc::FAILED_PRECONDITION);
  EXPECT_THAT(status.error_message(), HasSubstr("has no available peer"));
}

TEST_F(Preheat, BringsAFileToTheSeedAndTellsWhoHasIt) {
  std::filesystem::create_directories(dir_.path() + "/origin");
  Origin origin(dir_.path() + "/origin");
  WriteRandomFile(origin.root() + "/file", 6 * kMiB);
  api::PreheatFileRequest request;
  request.set_url(origin.Url("file"));
  request.set_scope("single_seed_peer");
  request.set_tag("t");
  google::protobuf::Empty empty;
  const grpc::Status status = Call(&api::Scheduler::Stub::PreheatFile, request, &empty);
  ASSERT_TRUE(status.ok()) << status.error_message();
  const auto holders = [&](const std::string& tag) {
    api::StatFileRequest asked;
    asked.set_url(request.url());
    asked.set_tag(tag);
    api::StatFileResponse answer;
    EXPECT_TRUE(Call(&api::Scheduler::Stub::StatFile, asked, &answer).ok());
    std::vector<std::string> names;
    for (const api::PeerFile& peer : answer.peers()) {
      if (peer.cached_files(0).is_finished()) names.push_back(peer.hostname());
    }
    return names;
  };
  EXPECT_TRUE(Await([&] { return holders("t") == std::vector<std::string>{"seed"}; }, kTimeout));
  // Another tag is another task.
  EXPECT_TRUE(holders("").empty());
  EXPECT_EQ(origin.BytesSent("file"), 6 * kMiB);

  request.set_url(origin.Url("") + "/");
  EXPECT_EQ(Call(&api::Scheduler::Stub::PreheatFile, request, &empty).error_code(), grpc::INVALID_ARGUMENT);
}

}  // namespace
}  // namespace dragonfly::e2e
