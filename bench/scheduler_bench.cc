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
#include <grpcpp/grpcpp.h>
#include <malloc.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "base/text.h"
#include "scheduler/shard.h"
#include "scheduler/v2/scheduler.grpc.pb.h"
#include "scheduler_process.h"

namespace dragonfly::scheduler {
namespace {

namespace api = ::scheduler::v2;
using Seconds = std::chrono::duration<double>;

constexpr uint64_t kMi = 1 << 20;

struct Latencies {
  std::vector<double> milliseconds;
  double seconds = 0;  // wall time of the whole

  nlohmann::json ToJson() {
    std::sort(milliseconds.begin(), milliseconds.end());
    const auto at = [this](double share) {
      return milliseconds.empty() ? 0 : milliseconds[static_cast<size_t>(share * double(milliseconds.size() - 1))];
    };
    return {{"registrations_per_second", double(milliseconds.size()) / seconds},
            {"p50_ms", at(0.5)},
            {"p99_ms", at(0.99)},
            {"max_ms", at(1)}};
  }
};

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

struct Load;

// One AnnouncePeer stream: registers, and is either left open or finishes when it has its parents.
class LoadStream final : public grpc::ClientBidiReactor<api::AnnouncePeerRequest, api::AnnouncePeerResponse> {
 public:
  LoadStream(Load& load, api::Scheduler::Stub& stub, size_t number, std::string task, bool source, bool finishes);

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnDone(const grpc::Status& status) override;

 private:
  enum class Step { kRegister, kStarted, kFinished };
  void Send(Step step);
  void Continue();

  Load& load_;
  const bool source_;
  const bool finishes_;
  grpc::ClientContext context_;
  api::AnnouncePeerRequest request_;
  api::AnnouncePeerResponse response_;
  TimePoint begin_;
  std::atomic<int> events_{0};
};

// A closed loop of registrations.
struct Load {
  explicit Load(const std::string& address) {
    for (int i = 0; i < 8; ++i) {
      grpc::ChannelArguments arguments;
      arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
      stubs.push_back(
          api::Scheduler::NewStub(grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments)));
    }
  }

  void AnnounceHosts(size_t count) {
    for (size_t i = 0; i < count; ++i) {
      api::AnnounceHostRequest request;
      common::v2::Host& host = *request.mutable_host();
      host.set_id(StrCat("host-", i));
      host.set_hostname(StrCat("worker-", i));
      host.set_ip("10.0.0.1");
      host.set_port(4000);
      host.set_download_port(4000);
      host.set_os("linux");
      host.set_platform("linux");
      host.set_platform_family("unix");
      host.mutable_cpu()->set_logical_count(16);
      host.mutable_memory()->set_total(uint64_t{64} << 30);
      host.mutable_network()->set_idc(StrCat("idc-", i % 4));
      host.mutable_network()->set_location(StrCat("eu|de|rack-", i % 100));
      host.mutable_disk()->set_total(uint64_t{1} << 40);
      host.mutable_build()->set_git_version("2.3.0");
      request.mutable_interval()->set_seconds(300);
      google::protobuf::Empty empty;
      grpc::ClientContext context;
      stubs[0]->AnnounceHost(&context, request, &empty);
    }
    hosts = count;
  }

  // Opens one stream a task that reads the origin and stays.
  void StartSources(size_t count) {
    tasks = count;
    for (size_t task = 0; task < count; ++task) Run(1, 1, true, false);
  }

  // Registers `count` peers, `in_flight` at a time, and waits until all have their answers.
  Latencies Run(size_t count, size_t in_flight, bool source, bool finishes) {
    const TimePoint start = Clock::now();
    {
      absl::MutexLock lock(&mutex);
      latencies.clear();
      latencies.reserve(count);
      to_start = count;
      done = 0;
      as_source = source;
      finish = finishes;
    }
    for (size_t i = 0; i < std::min(count, in_flight); ++i) StartNext();
    absl::MutexLock lock(&mutex);
    const auto all = [this, count] {
      mutex.AssertHeld();
      return done == count;
    };
    mutex.Await(absl::Condition(&all));
    return {latencies, Seconds(Clock::now() - start).count()};
  }

  void StartNext() {
    size_t number = 0;
    {
      absl::MutexLock lock(&mutex);
      if (to_start == 0) return;
      --to_start;
      number = next_peer++;
    }
    new LoadStream(*this, *stubs[number % stubs.size()], number, StrCat("task-", number % tasks), as_source, finish);
  }

  void Answered(TimePoint begin) {
    {
      absl::MutexLock lock(&mutex);
      latencies.push_back(std::chrono::duration<double, std::milli>(Clock::now() - begin).count());
      ++done;
    }
    StartNext();
  }

  std::vector<std::unique_ptr<api::Scheduler::Stub>> stubs;
  size_t hosts = 0;
  size_t tasks = 1;
  bool as_source = false;
  bool finish = false;
  absl::Mutex mutex;
  std::vector<double> latencies ABSL_GUARDED_BY(mutex);
  size_t to_start ABSL_GUARDED_BY(mutex) = 0;
  size_t done ABSL_GUARDED_BY(mutex) = 0;
  size_t next_peer ABSL_GUARDED_BY(mutex) = 0;
  std::atomic<size_t> unexpected{0};
};

LoadStream::LoadStream(Load& load, api::Scheduler::Stub& stub, size_t number, std::string task, bool source,
                       bool finishes)
    : load_(load), source_(source), finishes_(finishes), begin_(Clock::now()) {
  request_.set_host_id(StrCat("host-", number % load.hosts));
  request_.set_task_id(std::move(task));
  request_.set_peer_id(StrCat("10.0.0.1-worker-", number, "-8a5cbd0e-0f3c-4a56-9a6e-123456789012"));
  stub.async()->AnnouncePeer(&context_, this);
  Send(Step::kRegister);
  StartRead(&response_);
  StartCall();
}

void LoadStream::Send(Step step) {
  request_.clear_request();
  switch (step) {
    case Step::kRegister: {
      common::v2::Download& download = *request_.mutable_register_peer_request()->mutable_download();
      download.set_url("http://origin/file");
      download.set_need_back_to_source(source_);
      download.set_actual_content_length(1024 * kMi);
      download.set_actual_piece_length(4 * kMi);
      download.set_actual_piece_count(256);
      break;
    }
    case Step::kStarted:
      if (source_) {
        request_.mutable_download_peer_back_to_source_started_request();
      } else {
        request_.mutable_download_peer_started_request();
      }
      break;
    case Step::kFinished:
      request_.mutable_download_peer_finished_request();
      break;
  }
  StartWrite(&request_);
}

void LoadStream::OnReadDone(bool ok) {
  if (!ok) return;
  if (response_.has_normal_task_response() == source_) load_.unexpected.fetch_add(1);
  StartRead(&response_);
  const TimePoint begin = begin_;
  Load& load = load_;
  Continue();
  load.Answered(begin);
}

void LoadStream::OnWriteDone(bool) { Continue(); }

// The answer may be here before the word that the registration was sent.
void LoadStream::Continue() {
  if (events_.fetch_add(1) == 1) Send(finishes_ ? Step::kFinished : Step::kStarted);
}

void LoadStream::OnDone(const grpc::Status&) { delete this; }

nlohmann::json MeasureGrpc(const SchedulerProcess& server, size_t tasks, size_t live, size_t measured,
                           size_t in_flight) {
  // Never freed: streams are still open when the process ends.
  auto& load = *new Load(server.address());
  load.AnnounceHosts(2000);
  load.StartSources(tasks);
  const double idle_mib = server.ResidentMiB();
  load.Run(live, in_flight, false, false);
  const double live_mib = server.ResidentMiB();
  load.Run(measured / 4, in_flight, false, true);  // warm
  const double cpu_before = server.CpuSeconds();
  nlohmann::json result = load.Run(measured, in_flight, false, true).ToJson();
  result["server_cpu_us_per_registration"] = (server.CpuSeconds() - cpu_before) * 1e6 / double(measured);
  result["server_kib_per_open_stream"] = (live_mib - idle_mib) * 1024 / double(live);
  result["tasks"] = tasks;
  result["live_peers"] = live;
  result["in_flight"] = in_flight;
  result["unexpected_answers"] = load.unexpected.load();
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
    result["core_one_task"] = Core(1).Measure(peers, measured).ToJson();
    result["core_1000_tasks"] = Core(1000).Measure(peers, measured).ToJson();
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
