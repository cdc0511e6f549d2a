// SPDX-License-Identifier: Apache-2.0
// Everything at once, for ThreadSanitizer to look at.
#include <atomic>
#include <cstdlib>
#include <random>
#include <thread>
#include <vector>

#include "tests/unit/scheduler/cluster.h"

namespace dragonfly::scheduler {
namespace {

using namespace std::chrono_literals;
using testing::Cluster;
using testing::Conversation;
using testing::MakeHost;
namespace api = testing::api;

constexpr int kClients = 4;
constexpr int kHosts = 12;
constexpr int kTasks = 5;

Clock::duration LoadDuration() {
  const char* seconds = std::getenv("DF_MIXED_LOAD_SECONDS");
  return std::chrono::seconds(seconds == nullptr ? 2 : std::max(std::atoi(seconds), 1));
}

// What one of many daemons may do next, good or bad.
class Client {
 public:
  Client(Cluster& cluster, unsigned number) : cluster_(cluster), number_(number), random_(number) {}

  void Step() {
    const std::string host = "host-" + std::to_string(random_() % kHosts);
    const std::string task = "task-" + std::to_string(random_() % kTasks);
    switch (random_() % 12) {
      case 0:
        cluster_.Announce(MakeHost(host, 4000, random_() % 8 == 0 ? 1 : 0));
        return;
      case 1: {
        api::DeleteHostRequest request;
        request.set_host_id(host);
        google::protobuf::Empty empty;
        cluster_.Call(&api::Scheduler::Stub::DeleteHost, request, &empty);
        return;
      }
      case 2: {
        api::DeleteTaskRequest request;
        request.set_host_id(host);
        request.set_task_id(task);
        google::protobuf::Empty empty;
        cluster_.Call(&api::Scheduler::Stub::DeleteTask, request, &empty);
        return;
      }
      case 3: {
        cluster_.StatTask(task);
        api::ListHostsRequest request;
        api::ListHostsResponse hosts;
        cluster_.Call(&api::Scheduler::Stub::ListHosts, request, &hosts);
        return;
      }
      default:
        Download(host, task);
    }
  }
  uint64_t answers() const { return answers_; }

 private:
  void Download(const std::string& host, const std::string& task) {
    // Some ids come again.
    const std::string peer = "peer-" + std::to_string(number_) + "-" + std::to_string(random_() % 40);
    cluster_.Announce(MakeHost(host));
    auto talk = cluster_.Talk(host, peer, task);
    common::v2::Download download = Conversation::Download();
    download.set_need_back_to_source(random_() % 3 == 0);
    talk->Register(download);
    const auto answer = talk->Answer();
    if (!answer.has_value()) return;
    ++answers_;
    if (answer->has_need_back_to_source_response()) {
      talk->BackToSourceStarted();
      for (uint32_t i = 0; i < 10; ++i) talk->PieceFromSource(i);
      if (random_() % 4 == 0) return;  // the stream breaks
      random_() % 5 == 0 ? talk->BackToSourceFailed() : talk->BackToSourceFinished();
    } else if (answer->has_normal_task_response()) {
      const api::NormalTaskResponse& parents = answer->normal_task_response();
      talk->Started();
      for (uint32_t i = 0; i < 10; ++i)
        talk->PieceFromParent(i, random_() % 8 == 0 ? "nobody" : parents.candidate_parents(0).id());
      if (random_() % 4 == 0) return;
      if (random_() % 4 == 0) {
        talk->Reschedule(parents);
        talk->Answer();
      }
      random_() % 5 == 0 ? talk->Failed() : talk->Finished();
    }
    while (talk->Answer().has_value()) {
    }
  }

  Cluster& cluster_;
  const unsigned number_;
  std::minstd_rand random_;
  uint64_t answers_ = 0;
};

TEST(MixedLoad, LeavesNothingBehind) {
  Cluster cluster(Cluster::QuickConfig());
  const TimePoint end = Clock::now() + LoadDuration();
  std::atomic<uint64_t> answers = 0;
  {
    std::vector<std::jthread> threads;
    for (unsigned i = 0; i < kClients; ++i) {
      threads.emplace_back([&, i] {
        Client client(cluster, i + 1);
        while (Clock::now() < end) client.Step();
        answers += client.answers();
      });
    }
  }
  EXPECT_GT(answers.load(), 10u);
  // Hosts take their peers with them, and with the peers every edge and upload slot.
  for (int i = 0; i < kHosts; ++i) {
    api::DeleteHostRequest request;
    request.set_host_id("host-" + std::to_string(i));
    google::protobuf::Empty empty;
    cluster.Call(&api::Scheduler::Stub::DeleteHost, request, &empty);
  }
  for (int i = 0; i < kTasks; ++i) {
    const auto [status, task] = cluster.StatTask("task-" + std::to_string(i));
    EXPECT_TRUE(status.error_code() == grpc::NOT_FOUND || task.peer_count() == 0) << task.ShortDebugString();
  }
}

}  // namespace
}  // namespace dragonfly::scheduler
