// SPDX-License-Identifier: Apache-2.0
#include "daemon/file_dynconfig.h"

#include <sys/stat.h>

#include <cerrno>
#include <functional>
#include <optional>
#include <utility>

#include "base/host_port.h"
#include "base/status.h"
#include "base/text.h"
#include "config/section.h"
#include "runtime/task_group.h"
#include "runtime/timeout.h"
#include "telemetry/log.h"

namespace dragonfly::daemon {
namespace asio = boost::asio;
namespace {

using config::Section;

constexpr char kDefaultAddr[] = "dragonfly-scheduler:8002";

void CheckAddrs(Section& section, std::string_view key, const std::vector<std::string>& addrs) {
  for (const std::string& addr : addrs) {
    const auto parts = SplitHostPort(addr);
    if (!parts.ok()) section.Fail(key, MessageOf(parts.status()));
  }
}

// Differs when the file was written, or replaced by another.
struct Stamp {
  int64_t seconds = 0, nanoseconds = 0;
  uint64_t inode = 0, size = 0, device = 0;
  bool operator==(const Stamp&) const = default;
};

absl::StatusOr<Stamp> StampOf(const std::string& path) {
  struct stat info{};
  if (::stat(path.c_str(), &info) != 0) return ErrnoStatus(errno, path);
  Stamp stamp;
  stamp.seconds = info.st_mtim.tv_sec;
  stamp.nanoseconds = info.st_mtim.tv_nsec;
  stamp.inode = info.st_ino;
  stamp.size = static_cast<uint64_t>(info.st_size);
  stamp.device = info.st_dev;
  return stamp;
}

}  // namespace

absl::StatusOr<LoadedDynconfig> LoadDynconfigFile(const std::string& path, bool seed) {
  LoadedDynconfig loaded;
  std::string addr = kDefaultAddr;
  std::vector<std::string> addrs;
  // Both roles are read, so that a mistake in either is told; one is taken.
  BlockList client, seed_client;
  auto read = config::LoadFile(path, config::Dialect::kRust, [&](Section& root) {
    root.Sub("scheduler", [&](Section& scheduler) {
      scheduler.String("addr", &addr);
      scheduler.Strings("addrs", &addrs);
      CheckAddrs(scheduler, "addr", {addr});
      CheckAddrs(scheduler, "addrs", addrs);
    });
    root.Sub("clientConfig", [&](Section& section) { ReadClientConfig(section, &client); });
    root.Sub("seedClientConfig", [&](Section& section) { ReadClientConfig(section, &seed_client); });
  });
  if (!read.ok()) return std::move(read).status();
  loaded.warnings = std::move(read->warnings);
  loaded.data.scheduler_addrs = addrs.empty() ? std::vector<std::string>{addr} : std::move(addrs);
  loaded.data.block_list = std::make_shared<const BlockList>(std::move(seed ? seed_client : client));
  return loaded;
}

struct FileDynconfig::State {
  State(FileDynconfigOptions opts, asio::io_context& io, runtime::BlockingPool& workers)
      : options(std::move(opts)), blocking(workers), tasks(io.get_executor()) {}

  const FileDynconfigOptions options;
  runtime::BlockingPool& blocking;
  runtime::TaskGroup tasks;
  std::optional<Stamp> read;  // of the file that was read last, well or not
};

absl::StatusOr<std::unique_ptr<FileDynconfig>> FileDynconfig::Make(FileDynconfigOptions options, asio::io_context& io,
                                                                   runtime::BlockingPool& blocking) {
  std::unique_ptr<FileDynconfig> dynconfig(
      new FileDynconfig(std::make_unique<State>(std::move(options), io, blocking)));
  DF_RETURN_IF_ERROR(dynconfig->Look());
  return dynconfig;
}

FileDynconfig::FileDynconfig(std::unique_ptr<State> state) : state_(std::move(state)) {}

FileDynconfig::~FileDynconfig() = default;

std::string FileDynconfig::name() const { return "dynconfig file"; }

absl::Status FileDynconfig::Look() {
  // Taken before the file is read: what is written meanwhile is seen at the next look.
  const absl::StatusOr<Stamp> stamp = StampOf(state_->options.path);
  if (stamp.ok() && state_->read == *stamp) return absl::OkStatus();
  absl::Status status = stamp.status();
  if (stamp.ok()) {
    state_->read = *stamp;
    auto loaded = LoadDynconfigFile(state_->options.path, state_->options.seed);
    if (loaded.ok()) {
      for (const std::string& warning : loaded->warnings) DF_LOG(Warn, "{}", warning);
      Publish(std::move(loaded->data));
      return absl::OkStatus();
    }
    status = std::move(loaded).status();
  } else {
    state_->read.reset();
  }
  Fail(status);
  return status;
}

asio::awaitable<void> FileDynconfig::Watch() {
  for (;;) {
    co_await runtime::SleepUntil(Clock::now() + state_->options.look_interval);
    const std::function<absl::Status()> look = [this] { return Look(); };
    // What is wrong with the file is told by Fail(); a pool that is full is no matter.
    (co_await state_->blocking.Run(look)).IgnoreError();
  }
}

void FileDynconfig::Start() { state_->tasks.Spawn(Watch()); }

asio::awaitable<void> FileDynconfig::Stop() { co_await state_->tasks.Stop(); }

}  // namespace dragonfly::daemon
