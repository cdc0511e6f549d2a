// SPDX-License-Identifier: Apache-2.0
// How many registrations a scheduler answers with candidate parents, and what a peer costs in memory.
//
//   scheduler_bench [--only core|grpc|memory] [--peers N] [--measured N] [--in-flight N]
//
// Three measurements, printed as one JSON object:
//   core:   the shard alone, without gRPC or threads: what scheduling itself costs.
//   grpc:   a scheduler in a process of its own, this process as load generator over loopback. `peers` streams are open
//           and their peers live before the measurement; then peers register in a closed loop, each is timed from its
//           registration to its parents and finishes then.
//   memory: bytes on the heap per peer without a stream.
#include <malloc.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/text.h"
#include "scheduler/shard.h"
#include "scheduler_client.h"
#include "scheduler_process.h"

namespace dragonfly::scheduler {
namespace {

using Seconds = std::chrono::duration<double>;

constexpr uint64_t kMi = 1 << 20;

nlohmann::json ToJson(const Latencies& latencies) {
  return {{"registrations_per_second", latencies.per_second()},
          {"p50_ms", latencies.At(0.5)},
          {"p99_ms", latencies.At(0.99)},
          {"max_ms", latencies.At(1)}};
}

// -- The shard alone.

class CountingStream final : public PeerStream {
 public:
  void SendEmpty() override {}
  void SendParents(const Peer&, std::span<Peer* const>) override { ++parents; }
  void SendMoreParents(const Peer&, std::span<Peer* const>) override {}
  void SendBackToSource(std::string_view) override {}
  void SendMetadataOnly() override {}
  void Finish(absl::Status) override {}
  size_t parents = 0;
};

class NoSeeds final : public SeedLauncher {
 public:
  void Launch(SeedRequest) override {}
};

class Core {
 public:
  explicit Core(size_t tasks) : tasks_(tasks), evaluator_(*MakeEvaluator("default")) {
    for (size_t i = 0; i < kHosts; ++i) {
      auto facts = std::make_shared<HostFacts>();
      facts->id = StrCat("10.0.", i / 250, ".", i % 250, "-worker-", i);
      facts->ip = "10.0.0.1";
      facts->port = 4000;
      facts->idc = StrCat("idc-", i % 4);
      facts->location = StrCat("eu|de|rack-", i % 100);
      facts->upload_limit = 200;
      hosts_.Announce(facts, Clock::now());
      host_ids_.push_back(facts->id);
    }
    for (size_t task = 0; task < tasks; ++task) Register(task, task, true);
  }

  size_t answered() const { return stream_->parents; }

  // Registers peer `number` and lets it run.
  void Register(size_t number, size_t task, bool source) {
    const std::string task_id = StrCat("task-", task);
    const std::string peer_id = PeerId(number);
    const PeerAddress who{host_ids_[number % kHosts], task_id, peer_id};
    Registration registration;
    registration.about.url = "http://origin/file";
    registration.content_length = 1024 * kMi;
    registration.piece_length = 4 * kMi;
    registration.need_back_to_source = source;
    registration.stream = stream_;
    const TimePoint now = Clock::now();
    shard_.Register(who, std::move(registration), now).IgnoreError();
    (source ? shard_.BackToSourceStarted(who, now) : shard_.Started(who, now)).IgnoreError();
  }
  void Finish(size_t number, size_t task) {
    const std::string task_id = StrCat("task-", task);
    const std::string peer_id = PeerId(number);
    const PeerAddress who{host_ids_[number % kHosts], task_id, peer_id};
    const TimePoint now = Clock::now();
    for (uint32_t piece = 0; piece < 256; ++piece) {
      PieceReport report;
      report.number = PieceNumber(piece);
      report.length = 4 * kMi;
      report.cost = std::chrono::milliseconds(10);
      shard_.PieceFinished(who, Origin::kSource, report, now).IgnoreError();
    }
    shard_.Finished(who, Origin::kPeers, 0, 0, now).IgnoreError();
  }
  size_t peers() const { return shard_.peer_count(); }

  Latencies Measure(size_t live, size_t measured) {
    for (size_t i = 0; i < live; ++i) Register(tasks_ + i, i % tasks_, false);
    Latencies latencies;
    latencies.milliseconds.reserve(measured);
    const TimePoint start = Clock::now();
    for (size_t i = 0; i < measured; ++i) {
      const TimePoint begin = Clock::now();
      Register(tasks_ + live + i, i % tasks_, false);
      latencies.milliseconds.push_back(std::chrono::duration<double, std::milli>(Clock::now() - begin).count());
    }
    latencies.seconds = Seconds(Clock::now() - start).count();
    std::sort(latencies.milliseconds.begin(), latencies.milliseconds.end());
    return latencies;
  }

 private:
  static constexpr size_t kHosts = 5000;
  static std::string PeerId(size_t number) {
    return StrCat("10.0.0.1-worker-", number, "-8a5cbd0e-0f3c-4a56-9a6e-", 100000000000 + number);
  }

  const size_t tasks_;
  HostTable hosts_;
  std::vector<std::string> host_ids_;
  std::unique_ptr<Evaluator> evaluator_;
  NoSeeds seeds_;
  std::shared_ptr<CountingStream> stream_ = std::make_shared<CountingStream>();
  Shard shard_{ShardOptions(), hosts_, *evaluator_, seeds_};
};

nlohmann::json MeasureMemory(size_t peers) {
  Core core(1000);
  const size_t before = mallinfo2().uordblks;
  const size_t peers_before = core.peers();
  for (size_t i = 0; i < peers; ++i) core.Register(1000 + i, i % 1000, false);
  const size_t running = mallinfo2().uordblks;
  for (size_t i = 0; i < peers; ++i) core.Finish(1000 + i, i % 1000);
  const size_t finished = mallinfo2().uordblks;
  const auto count = double(core.peers() - peers_before);
  return {{"peers", count},
          {"bytes_per_running_peer", double(running - before) / count},
          {"bytes_per_finished_peer", double(finished - before) / count}};
}

// -- Over gRPC.

nlohmann::json MeasureGrpc(const SchedulerProcess& server, size_t tasks, size_t live, size_t measured,
                           size_t in_flight) {
  SchedulerClient::Options options;
  options.address = server.address();
  options.hosts = 2000;
  options.tasks = tasks;
  options.announces_bandwidth = false;
  options.takes_more_parents = false;
  auto& client = *new SchedulerClient(options);
  client.AnnounceHosts();
  client.Register(tasks, 1, PeerRole::kSource);
  const double idle_mib = server.ResidentMiB();
  client.Register(live, in_flight, PeerRole::kStays);
  const double live_mib = server.ResidentMiB();
  client.Register(measured / 4, in_flight, PeerRole::kFinishes);  // warm
  const double cpu_before = server.CpuSeconds();
  nlohmann::json result = ToJson(client.Register(measured, in_flight, PeerRole::kFinishes));
  result["server_cpu_us_per_registration"] = (server.CpuSeconds() - cpu_before) * 1e6 / double(measured);
  result["server_kib_per_open_stream"] = (live_mib - idle_mib) * 1024 / double(live);
  result["tasks"] = tasks;
  result["live_peers"] = live;
  result["in_flight"] = in_flight;
  result["unexpected_answers"] = client.unexpected_answers();
  return result;
}

}  // namespace
}  // namespace dragonfly::scheduler

int main(int argc, char** argv) {
  using namespace dragonfly::scheduler;
  CLI::App app("Measures the scheduler", "scheduler_bench");
  size_t peers = 10'000;
  size_t measured = 20'000;
  size_t in_flight = 4;
  size_t memory_peers = 100'000;
  std::string only;
  app.add_option("--peers", peers, "Live peers before the measurement")->capture_default_str();
  app.add_option("--measured", measured, "Registrations measured")->capture_default_str();
  app.add_option("--in-flight", in_flight, "Registrations at once over gRPC")->capture_default_str();
  app.add_option("--memory-peers", memory_peers, "Peers for the memory measurement")->capture_default_str();
  app.add_option("--only", only, "core, grpc or memory");
  CLI11_PARSE(app, argc, argv);

  nlohmann::json result;
  // Forked before anything else has made a thread.
  std::vector<std::unique_ptr<SchedulerProcess>> servers;
  if (only.empty() || only == "grpc") {
    for (int i = 0; i < 3; ++i) servers.push_back(std::make_unique<SchedulerProcess>());
  }
  // Before streams come and go beside it.
  if (only.empty() || only == "memory") result["memory"] = MeasureMemory(memory_peers);
  if (only.empty() || only == "core") {
    result["core_one_task"] = ToJson(Core(1).Measure(peers, measured));
    result["core_1000_tasks"] = ToJson(Core(1000).Measure(peers, measured));
  }
  if (!servers.empty()) {
    result["grpc_one_task"] = MeasureGrpc(*servers[0], 1, peers, measured, in_flight);
    result["grpc_1000_tasks"] = MeasureGrpc(*servers[1], 1000, peers, measured, in_flight);
    // Without a queue: what one peer waits.
    result["grpc_one_at_a_time"] = MeasureGrpc(*servers[2], 1, 100, measured / 10, 1);
  }
  servers.clear();
  std::cout << result.dump(2) << std::endl;
  std::_Exit(0);
}
