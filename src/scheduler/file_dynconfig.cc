// SPDX-License-Identifier: Apache-2.0
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "base/status.h"
#include "runtime/signal.h"
#include "runtime/task_group.h"
#include "scheduler/dynconfig.h"
#include "telemetry/log.h"

namespace dragonfly::scheduler {
namespace asio = boost::asio;
namespace {

class FileDynconfig final : public Dynconfig {
 public:
  FileDynconfig(std::string path, ClusterConfig defaults, DynconfigOptions options, asio::io_context& io,
                runtime::BlockingPool& blocking, OnClusterConfig publish)
      : path_(std::move(path)),
        defaults_(std::move(defaults)),
        options_(options),
        blocking_(blocking),
        publish_(std::move(publish)),
        tasks_(io.get_executor()) {}

  // Blocks.
  absl::Status Read() {
    auto loaded = LoadClusterConfigFile(path_, defaults_);
    if (absl::IsNotFound(loaded.status())) {
      // Without a file the defaults hold; one that was there is on its way back.
      if (published_) return absl::OkStatus();
      loaded = LoadedClusterConfig{.config = defaults_, .warnings = {}};
    }
    if (!loaded.ok()) return loaded.status();
    // The same warnings at each look would fill the log.
    if (loaded->warnings != warnings_) {
      for (const std::string& warning : loaded->warnings) DF_LOG(Warn, "{}", warning);
      warnings_ = loaded->warnings;
    }
    latest_ = std::make_shared<const ClusterConfig>(std::move(loaded->config));
    return absl::OkStatus();
  }
  void Publish() {
    if (latest_ != nullptr) publish_(std::exchange(latest_, nullptr));
    published_ = true;
  }

  void Start() override { tasks_.Spawn(Run()); }
  asio::awaitable<void> Stop() override { co_await tasks_.Stop(); }
  void Refresh() override { wake_.Notify(); }
  absl::Status state() const override {
    absl::MutexLock lock(&mutex_);
    return state_;
  }

 private:
  asio::awaitable<void> Run() {
    for (;;) {
      const uint64_t seen = wake_.version();
      co_await wake_.Wait(seen, Clock::now() + options_.refresh_interval);
      const std::function<absl::Status()> read = [this] { return Read(); };
      const absl::Status status = co_await blocking_.Run(read);
      if (status.ok()) Publish();
      absl::MutexLock lock(&mutex_);
      if (status != state_ && !status.ok()) DF_LOG(Error, "{}; what was read before stays in force", MessageOf(status));
      state_ = status;
    }
  }

  const std::string path_;
  const ClusterConfig defaults_;
  const DynconfigOptions options_;
  runtime::BlockingPool& blocking_;
  const OnClusterConfig publish_;
  runtime::TaskGroup tasks_;
  runtime::Signal wake_;
  // Of the one reader.
  std::shared_ptr<const ClusterConfig> latest_;
  std::vector<std::string> warnings_;
  bool published_ = false;
  mutable absl::Mutex mutex_;
  absl::Status state_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

absl::StatusOr<std::unique_ptr<Dynconfig>> MakeFileDynconfig(std::string path, ClusterConfig defaults,
                                                             DynconfigOptions options, asio::io_context& io,
                                                             runtime::BlockingPool& blocking, OnClusterConfig publish) {
  auto dynconfig =
      std::make_unique<FileDynconfig>(std::move(path), std::move(defaults), options, io, blocking, std::move(publish));
  DF_RETURN_IF_ERROR(dynconfig->Read());
  dynconfig->Publish();
  return dynconfig;
}

}  // namespace dragonfly::scheduler
