// SPDX-License-Identifier: Apache-2.0
// Every call of a whole scheduler: scheduler.v2.Scheduler with its streams, and the service of our own.
#include <grpcpp/create_channel.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "call_fuzzer.h"
#include "runtime/io_threads.h"
#include "scheduler/scheduler.h"
#include "telemetry/log.h"
#include "tests/support/temp_dir.h"

namespace {

using namespace dragonfly;

struct Program {
  testing::TempDir dir;
  runtime::IoThreads io{2};
  std::unique_ptr<scheduler::Scheduler> scheduler;
  std::unique_ptr<fuzz::CallFuzzer> fuzzer;

  Program() {
    log::Options quiet;
    quiet.level = log::Level::kOff;
    (void)log::Setup(quiet);
    scheduler::SchedulerConfig config;
    config.server.listen_ip = config.server.advertise_ip = "127.0.0.1";
    config.server.port = 0;
    config.server.cache_dir = (dir.path() / "cache").string();
    // Short, so that what a run leaves behind is collected while later ones are under way.
    config.scheduling.retry_interval = absl::Milliseconds(5);
    config.scheduling.stream_grace = absl::Milliseconds(5);
    config.scheduling.peer_gc_interval = absl::Milliseconds(50);
    config.scheduling.task_gc_interval = absl::Milliseconds(100);
    config.scheduling.peer_ttl = config.scheduling.host_ttl = absl::Seconds(5);
    config.scheduling.host_gc_interval = absl::Seconds(1);
    auto started = scheduler::Scheduler::Start(config, io);
    if (!started.ok()) {
      std::fprintf(stderr, "%s\n", started.status().ToString().c_str());
      std::abort();
    }
    scheduler = *std::move(started);
    fuzzer = std::make_unique<fuzz::CallFuzzer>(
        grpc::CreateChannel("127.0.0.1:" + std::to_string(scheduler->port()), grpc::InsecureChannelCredentials()),
        std::vector<std::string>{"scheduler.v2.Scheduler"}, dir.path().string());
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // Lives as long as the process.
  static Program& program = *new Program;
  program.fuzzer->Run({data, size});
  return 0;
}
