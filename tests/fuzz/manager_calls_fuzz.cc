// SPDX-License-Identifier: Apache-2.0
// Every gRPC call of a whole manager over its embedded database.
#include <grpcpp/create_channel.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "call_fuzzer.h"
#include "manager/manager.h"
#include "runtime/io_threads.h"
#include "telemetry/log.h"
#include "tests/support/temp_dir.h"

namespace {

using namespace dragonfly;

struct Program {
  testing::TempDir dir;
  runtime::IoThreads io{2};
  std::unique_ptr<manager::Manager> manager;
  std::unique_ptr<fuzz::CallFuzzer> fuzzer;

  Program() {
    log::Options quiet;
    quiet.level = log::Level::kOff;
    (void)log::Setup(quiet);
    manager::ManagerConfig config;
    config.server.data_dir = (dir.path() / "data").string();
    config.server.grpc.listen_ip = "127.0.0.1";
    config.server.grpc.port = 0;
    config.server.rest.addr = "127.0.0.1:0";
    auto started = manager::Manager::Start(config, io);
    if (!started.ok()) {
      std::fprintf(stderr, "%s\n", started.status().ToString().c_str());
      std::abort();
    }
    manager = *std::move(started);
    fuzzer = std::make_unique<fuzz::CallFuzzer>(
        grpc::CreateChannel("127.0.0.1:" + std::to_string(manager->grpc_port()), grpc::InsecureChannelCredentials()),
        std::vector<std::string>{"manager.v2.Manager"}, dir.path().string());
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // Lives as long as the process.
  static Program& program = *new Program;
  program.fuzzer->Run({data, size});
  return 0;
}
