// SPDX-License-Identifier: Apache-2.0
// Every call of a whole dfdaemon, as from a stranger's host and as from a program of this host. Its origins and parents
// are closed ports.
#include <grpcpp/create_channel.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "call_fuzzer.h"
#include "daemon/daemon.h"
#include "runtime/blocking_pool.h"
#include "runtime/io_threads.h"
#include "telemetry/log.h"
#include "tests/support/temp_dir.h"

namespace {

using namespace dragonfly;

struct Program {
  testing::TempDir dir;
  runtime::IoThreads io{2};
  runtime::BlockingPool blocking{4, 4096};
  std::unique_ptr<daemon::Daemon> daemon;
  std::unique_ptr<fuzz::CallFuzzer> strangers, locals;

  Program() {
    log::Options quiet;
    quiet.level = log::Level::kOff;
    (void)log::Setup(quiet);
    daemon::DaemonConfig config;
    config.host.ip = "127.0.0.1";
    config.host.hostname = "fuzzed";
    config.download.socket_path = (dir.path() / "dfdaemon.sock").string();
    config.storage.dir = (dir.path() / "storage").string();
    config.upload.ip = config.storage.ip = config.health.ip = config.metrics.ip = config.stats.ip =
        config.proxy.server.ip = "127.0.0.1";
    config.upload.port = config.storage.tcp_port = config.storage.quic_port = 0;
    config.health.port = config.metrics.port = config.stats.port = config.proxy.server.port = 0;
    auto started = daemon::Daemon::Start(config, io, blocking);
    if (!started.ok()) {
      std::fprintf(stderr, "%s\n", started.status().ToString().c_str());
      std::abort();
    }
    daemon = *std::move(started);
    const std::vector<std::string> services = {"dfdaemon.v2.DfdaemonUpload", "dfdaemon.v2.DfdaemonDownload",
                                               "dragonfly.ext.v1.Diagnosis", "dragonfly.ext.v1.PersistentCache"};
    strangers = Fuzzer("127.0.0.1:" + std::to_string(daemon->upload_port()), services);
    locals = Fuzzer("unix:" + daemon->socket_path(), services);
  }
  std::unique_ptr<fuzz::CallFuzzer> Fuzzer(const std::string& address, const std::vector<std::string>& services) const {
    return std::make_unique<fuzz::CallFuzzer>(grpc::CreateChannel(address, grpc::InsecureChannelCredentials()),
                                              services, dir.path().string());
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // Lives as long as the process.
  static Program& program = *new Program;
  if (size == 0) return 0;
  fuzz::CallFuzzer& fuzzer = data[0] % 2 == 0 ? *program.strangers : *program.locals;
  fuzzer.Run({data + 1, size - 1});
  return 0;
}
