// SPDX-License-Identifier: Apache-2.0
// A scheduler that knows as many peers as a large cluster has, with this process as load generator beside it:
//
//   scheduler_load [--peers N] [--tasks N] [--streams N] [--in-flight N] [--pieces N]
//
// `peers` register one after another (`in-flight` at a time, each timed until it has its parents) and finish; all but
// `streams` of them, which go on. Then every open stream reports `pieces` pieces, as fast as they are taken. Printed as
// one JSON object.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>

#include "runtime/clock.h"
#include "runtime/process.h"
#include "scheduler_client.h"
#include "scheduler_process.h"

namespace dragonfly::scheduler {
namespace {

constexpr size_t kHosts = 5000;

nlohmann::json Measure(const SchedulerProcess& server, size_t peers, size_t tasks, size_t streams, size_t in_flight,
                       uint32_t pieces) {
  SchedulerClient::Options options;
  options.address = server.address();
  options.hosts = kHosts;
  options.tasks = tasks;
  auto& client = *new SchedulerClient(options);
  client.AnnounceHosts();
  client.Register(tasks, in_flight, PeerRole::kSource);
  client.Register(streams - tasks, in_flight, PeerRole::kStays);
  nlohmann::json result;
  const size_t finishing = peers - streams;
  const size_t measured = std::min<size_t>(finishing / 2, 40'000);
  client.Register(finishing - measured, in_flight, PeerRole::kFinishes);
  double cpu = server.CpuSeconds();
  const Latencies registrations = client.Register(measured, in_flight, PeerRole::kFinishes);
  result["registrations_per_second"] = registrations.per_second();
  result["registration_p50_ms"] = registrations.At(0.5);
  result["registration_p99_ms"] = registrations.At(0.99);
  result["registration_cpu_us"] = (server.CpuSeconds() - cpu) * 1e6 / static_cast<double>(measured);
  result["resident_mib"] = server.ResidentMiB();

  const std::string reports = "dragonfly_scheduler_download_piece_finished_total";
  const double before = server.Metric(reports);
  cpu = server.CpuSeconds();
  const TimePoint begin = Clock::now();
  const auto all = static_cast<double>(client.ReportPieces(pieces));
  const TimePoint deadline = Clock::now() + std::chrono::minutes(2);
  // A page of metrics takes a millisecond or two.
  while (server.Metric(reports) - before < all && Clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
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
  result["unexpected_answers"] = client.unexpected_answers();
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
