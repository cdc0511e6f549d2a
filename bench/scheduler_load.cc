// SPDX-License-Identifier: Apache-2.0
// A scheduler that knows as many peers as a large cluster has, with this process as load generator beside it:
//
//   scheduler_load [--peers N] [--tasks N] [--streams N] [--in-flight N] [--pieces N]
//
// `peers` register one after another (`in-flight` at a time, each timed until it has its parents) and finish; all but
// `streams` of them, which go on. Then every open stream reports `pieces` pieces, as fast as they are taken. Printed as
// one JSON object.
#include <grpcpp/grpcpp.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "base/text.h"
#include "rpc/more_parents.h"
#include "runtime/clock.h"
#include "runtime/process.h"
#include "scheduler/v2/scheduler.grpc.pb.h"
#include "scheduler_process.h"

namespace dragonfly::scheduler {
namespace {

namespace api = ::scheduler::v2;

constexpr size_t kHosts = 5000;
constexpr int kChannels = 8;
constexpr uint32_t kPiecesOfTask = 256;
constexpr uint64_t kPieceLength = 4 << 20;

double SecondsSince(TimePoint begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

enum class Role { kSource, kFinishes, kStays };

class Generator;

// One AnnouncePeer conversation. Its events come one at a time for each direction.
class Conversation final : public grpc::ClientBidiReactor<api::AnnouncePeerRequest, api::AnnouncePeerResponse> {
 public:
  Conversation(Generator& generator, api::Scheduler::Stub& stub, size_t number, size_t task, Role role);
  // Reports pieces [0, count). Once, after the conversation has its answer.
  void Report(uint32_t count);

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnDone(const grpc::Status&) override { delete this; }

 private:
  void Next();
  void SendPiece();

  Generator& generator_;
  const Role role_;
  const TimePoint begin_ = Clock::now();
  grpc::ClientContext context_;
  api::AnnouncePeerRequest request_;
  api::AnnouncePeerResponse response_;
  std::atomic<int> first_steps_{0};  // the registration was sent, and answered
  bool talking_ = false;
  uint32_t piece_ = 0;
  uint32_t pieces_ = 0;
};

class Generator {
 public:
  explicit Generator(const std::string& address) {
    for (int i = 0; i < kChannels; ++i) {
      grpc::ChannelArguments arguments;
      arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
      stubs_.push_back(
          api::Scheduler::NewStub(grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments)));
    }
  }

  void AnnounceHosts();

  // Registers `count` peers of `role`, `in_flight` at a time, over `tasks` tasks. Milliseconds of each, sorted.
  std::vector<double> Run(size_t count, size_t in_flight, size_t tasks, Role role) {
    {
      absl::MutexLock lock(&mutex_);
      milliseconds_.clear();
      to_start_ = count;
      answered_ = 0;
      tasks_ = tasks;
      role_ = role;
    }
    for (size_t i = 0; i < std::min(count, in_flight); ++i) StartNext();
    absl::MutexLock lock(&mutex_);
    const auto all = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return answered_ == count; };
    mutex_.Await(absl::Condition(&all));
    std::sort(milliseconds_.begin(), milliseconds_.end());
    return milliseconds_;
  }

  // Every conversation that stays reports `pieces` pieces; returns how many reports that are.
  size_t ReportPieces(uint32_t pieces) {
    absl::MutexLock lock(&mutex_);
    for (Conversation* conversation : open_) conversation->Report(pieces);
    return open_.size() * pieces;
  }

  void Answered(Conversation* conversation, Role role, TimePoint begin, bool as_expected) {
    {
      absl::MutexLock lock(&mutex_);
      milliseconds_.push_back(1000 * SecondsSince(begin));
      ++answered_;
      if (!as_expected) ++unexpected_;
      if (role == Role::kStays) open_.push_back(conversation);
    }
    StartNext();
  }
  size_t unexpected() const {
    absl::MutexLock lock(&mutex_);
    return unexpected_;
  }
  static std::string HostId(size_t number) { return StrCat("host-", number % kHosts); }

 private:
  void StartNext() {
    size_t number = 0;
    {
      absl::MutexLock lock(&mutex_);
      if (to_start_ == 0) return;
      --to_start_;
      number = next_++;
    }
    new Conversation(*this, *stubs_[number % stubs_.size()], number, number % tasks_, role_);
  }

  std::vector<std::unique_ptr<api::Scheduler::Stub>> stubs_;
  size_t tasks_ = 1;
  Role role_ = Role::kSource;
  mutable absl::Mutex mutex_;
  std::vector<double> milliseconds_ ABSL_GUARDED_BY(mutex_);
  std::vector<Conversation*> open_ ABSL_GUARDED_BY(mutex_);
  size_t to_start_ ABSL_GUARDED_BY(mutex_) = 0;
  size_t answered_ ABSL_GUARDED_BY(mutex_) = 0;
  size_t next_ ABSL_GUARDED_BY(mutex_) = 0;
  size_t unexpected_ ABSL_GUARDED_BY(mutex_) = 0;
};

void Generator::AnnounceHosts() {
  for (size_t i = 0; i < kHosts; ++i) {
    api::AnnounceHostRequest request;
    common::v2::Host& host = *request.mutable_host();
    host.set_id(HostId(i));
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
    host.mutable_network()->set_max_tx_bandwidth(10'000'000'000);
    host.mutable_disk()->set_total(uint64_t{1} << 40);
    host.mutable_build()->set_git_version("2.3.0");
    request.mutable_interval()->set_seconds(300);
    google::protobuf::Empty empty;
    grpc::ClientContext context;
    stubs_[i % stubs_.size()]->AnnounceHost(&context, request, &empty);
  }
}

Conversation::Conversation(Generator& generator, api::Scheduler::Stub& stub, size_t number, size_t task, Role role)
    : generator_(generator), role_(role) {
  request_.set_host_id(Generator::HostId(number));
  request_.set_task_id(StrCat("task-", task));
  request_.set_peer_id(StrCat("10.0.0.1-worker-", number, "-8a5cbd0e-0f3c-4a56-9a6e-123456789012"));
  rpc::SetTakesMoreParents(*request_.mutable_register_peer_request());
  common::v2::Download& download = *request_.mutable_register_peer_request()->mutable_download();
  download.set_url("http://origin/file");
  download.set_need_back_to_source(role == Role::kSource);
  download.set_actual_content_length(kPiecesOfTask * kPieceLength);
  download.set_actual_piece_length(kPieceLength);
  download.set_actual_piece_count(kPiecesOfTask);
  stub.async()->AnnouncePeer(&context_, this);
  StartWrite(&request_);
  StartRead(&response_);
  // Reports begin outside of reactions.
  AddHold();
  StartCall();
}

void Conversation::OnReadDone(bool ok) {
  if (!ok) {
    RemoveHold();
    return;
  }
  if (response_.has_normal_task_response() && rpc::IsMore(response_.normal_task_response())) {
    StartRead(&response_);
    return;
  }
  const bool as_expected =
      role_ == Role::kSource ? response_.has_need_back_to_source_response() : response_.has_normal_task_response();
  StartRead(&response_);
  Next();
  generator_.Answered(this, role_, begin_, as_expected);
}

// The answer may be here before the word that the registration was sent.
void Conversation::Next() {
  if (first_steps_.fetch_add(1) != 1) return;
  if (role_ == Role::kSource) {
    request_.mutable_download_peer_back_to_source_started_request();
  } else if (role_ == Role::kFinishes) {
    request_.mutable_download_peer_finished_request();
  } else {
    request_.mutable_download_peer_started_request();
  }
  talking_ = true;
  StartWrite(&request_);
}

void Conversation::OnWriteDone(bool ok) {
  if (!ok) return;
  if (!talking_) {
    Next();
  } else if (piece_ < pieces_) {
    SendPiece();
  }
}

void Conversation::Report(uint32_t count) {
  pieces_ = count;
  SendPiece();
}

void Conversation::SendPiece() {
  common::v2::Piece& piece = *request_.mutable_download_piece_finished_request()->mutable_piece();
  piece.set_number(piece_);
  piece.set_offset(piece_ * kPieceLength);
  piece.set_length(kPieceLength);
  piece.set_digest("crc32:1475635037");
  piece.set_traffic_type(common::v2::REMOTE_PEER);
  piece.mutable_cost()->set_nanos(10'000'000);
  piece.mutable_created_at()->set_seconds(1'700'000'000);
  ++piece_;
  StartWrite(&request_);
}

nlohmann::json Measure(const SchedulerProcess& server, size_t peers, size_t tasks, size_t streams, size_t in_flight,
                       uint32_t pieces) {
  // Never freed: conversations are still open when the process ends.
  auto& load = *new Generator(server.address());
  load.AnnounceHosts();
  load.Run(tasks, in_flight, tasks, Role::kSource);
  load.Run(streams - tasks, in_flight, tasks, Role::kStays);
  nlohmann::json result;
  const size_t finishing = peers - streams;
  const size_t measured = std::min<size_t>(finishing / 2, 40'000);
  load.Run(finishing - measured, in_flight, tasks, Role::kFinishes);
  double cpu = server.CpuSeconds();
  TimePoint begin = Clock::now();
  const std::vector<double> milliseconds = load.Run(measured, in_flight, tasks, Role::kFinishes);
  result["registrations_per_second"] = static_cast<double>(measured) / SecondsSince(begin);
  result["registration_p50_ms"] = milliseconds[milliseconds.size() / 2];
  result["registration_p99_ms"] = milliseconds[milliseconds.size() * 99 / 100];
  result["registration_cpu_us"] = (server.CpuSeconds() - cpu) * 1e6 / static_cast<double>(measured);
  result["resident_mib"] = server.ResidentMiB();

  const std::string reports = "dragonfly_scheduler_download_piece_finished_total";
  const double before = server.Metric(reports);
  cpu = server.CpuSeconds();
  begin = Clock::now();
  const auto all = static_cast<double>(load.ReportPieces(pieces));
  const TimePoint deadline = Clock::now() + std::chrono::minutes(2);
  // A page of metrics takes a millisecond or two.
  while (server.Metric(reports) - before < all && Clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  const double seconds = SecondsSince(begin);
  const double taken = server.Metric(reports) - before;
  result["piece_reports_per_second"] = taken / seconds;
  result["piece_report_cpu_us"] = (server.CpuSeconds() - cpu) * 1e6 / taken;
  result["lost_piece_reports"] = all - taken;
  result["resident_after_pieces_mib"] = server.ResidentMiB();
  result["longest_hold_ms"] = 1000 * server.Metric("dragonfly_scheduler_shard_longest_hold_seconds");
  result["longest_run_ms"] = 1000 * server.Metric("dragonfly_scheduler_shard_longest_run_seconds");
  result["open_streams"] = server.Metric("dragonfly_scheduler_concurrent_schedule_total");
  result["peers"] = peers;
  result["tasks"] = tasks;
  result["in_flight"] = in_flight;
  result["unexpected_answers"] = load.unexpected();
  return result;
}

}  // namespace
}  // namespace dragonfly::scheduler

int main(int argc, char** argv) {
  using namespace dragonfly::scheduler;
  CLI::App app("Measures a scheduler that knows many peers", "scheduler_load");
  size_t peers = 100'000;
  size_t tasks = 1000;
  size_t streams = 5000;
  size_t in_flight = 4;
  uint32_t pieces = 160;
  app.add_option("--peers", peers, "Peers that the scheduler knows in the end")->capture_default_str();
  app.add_option("--tasks", tasks, "Tasks that they download")->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("--streams", streams, "Peers whose streams stay open")->capture_default_str();
  app.add_option("--in-flight", in_flight, "Registrations at once")->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("--pieces", pieces, "Reports of each open stream")->check(CLI::Range(1, 256))->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  if (streams <= tasks || peers < streams + 2) {
    std::cerr << "scheduler_load: --streams must be more than --tasks, and --peers more than --streams\n";
    return 2;
  }
  // Forked before anything else has made a thread.
  const SchedulerProcess server;
  dragonfly::runtime::RaiseFileLimit();
  std::cout << Measure(server, peers, tasks, streams, in_flight, pieces).dump(2) << std::endl;
  std::_Exit(0);
}
