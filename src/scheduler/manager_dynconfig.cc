// SPDX-License-Identifier: Apache-2.0
#include <grpcpp/channel.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <random>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "base/status.h"
#include "base/text.h"
#include "manager/v2/manager.grpc.pb.h"
#include "rpc/client_call.h"
#include "rpc/tls_diagnosis.h"
#include "runtime/signal.h"
#include "runtime/task_group.h"
#include "runtime/timeout.h"
#include "scheduler/dynconfig.h"
#include "scheduler/manager_answer.h"
#include "telemetry/log.h"

namespace dragonfly::scheduler {
namespace asio = boost::asio;
namespace {

using manager::v2::GetSchedulerRequest;
using manager::v2::ListApplicationsRequest;
using manager::v2::ListApplicationsResponse;

constexpr auto kDiagnosisTimeout = std::chrono::milliseconds(500);
constexpr size_t kCacheFileMax = 16 << 20;  // bytes

// Managers of the original (seen with v2.3.0) let the text of their database library through.
bool IsForgotten(const absl::Status& status) {
  return absl::IsNotFound(status) || (absl::IsInternal(status) && MessageOf(status) == "record not found");
}

// All schedulers of a site that start at one moment shall not come back at one moment.
Clock::duration WithJitter(Clock::duration duration) {
  thread_local std::minstd_rand random{std::random_device{}()};
  return std::chrono::duration_cast<Clock::duration>(duration * std::uniform_real_distribution<>(0.9, 1.1)(random));
}

class ManagerDynconfig final : public Dynconfig {
 public:
  ManagerDynconfig(ManagerIdentity identity, rpc::TlsFiles tls, rpc::ChannelPool& channels, std::string cache_file,
                   ClusterConfig defaults, DynconfigOptions options, asio::io_context& io,
                   runtime::BlockingPool& blocking, OnClusterConfig publish, std::function<void()> forgotten)
      : identity_(std::move(identity)),
        tls_(std::move(tls)),
        channels_(channels),
        cache_file_(std::move(cache_file)),
        defaults_(std::move(defaults)),
        options_(options),
        blocking_(blocking),
        publish_(std::move(publish)),
        forgotten_(std::move(forgotten)),
        tasks_(io.get_executor()) {
    LoadCache();
  }

  void Start() override { tasks_.Spawn(Run()); }
  asio::awaitable<void> Stop() override { co_await tasks_.Stop(); }
  void Refresh() override { wake_.Notify(); }
  absl::Status state() const override {
    absl::MutexLock lock(&mutex_);
    return state_;
  }

 private:
  void LoadCache() {
    std::ifstream file(cache_file_, std::ios::binary);
    if (!file) return;
    std::string text(kCacheFileMax, '\0');
    file.read(text.data(), static_cast<std::streamsize>(text.size()));
    text.resize(static_cast<size_t>(file.gcount()));
    const auto answer = FromFileText(text, identity_.address, identity_.cluster_id);
    if (!answer.ok()) {
      DF_LOG(Warn, "{}: {}: it is left aside", cache_file_, MessageOf(answer.status()));
      return;
    }
    cached_ = std::move(text);
    DF_LOG(Info, "{}: what manager {} said last holds until it is heard", cache_file_, identity_.address);
    Publish(*answer);
  }

  void Publish(const ManagerAnswer& answer) {
    LoadedClusterConfig loaded = ToClusterConfig(answer, defaults_);
    if (loaded.warnings != warnings_) {
      for (const std::string& warning : loaded.warnings) DF_LOG(Warn, "manager {}: {}", identity_.address, warning);
      warnings_ = std::move(loaded.warnings);
    }
    publish_(std::make_shared<const ClusterConfig>(std::move(loaded.config)));
  }

  asio::awaitable<absl::StatusOr<ManagerAnswer>> Ask() {
    const std::shared_ptr<manager::v2::Manager::Stub> stub =
        manager::v2::Manager::NewStub(channels_.Get(identity_.address));
    GetSchedulerRequest request;
    request.set_source_type(manager::v2::SCHEDULER_SOURCE);
    request.set_hostname(identity_.hostname);
    request.set_ip(identity_.ip);
    request.set_scheduler_cluster_id(identity_.cluster_id);
    const auto get = [stub](grpc::ClientContext* context, const GetSchedulerRequest* asked,
                            manager::v2::Scheduler* answer, std::function<void(grpc::Status)> done) {
      stub->async()->GetScheduler(context, asked, answer, std::move(done));
    };
    auto scheduler = co_await rpc::Unary<manager::v2::Scheduler>(get, std::move(request), options_.call_timeout);
    if (IsForgotten(scheduler.status())) forgotten_();
    if (!scheduler.ok()) co_return Annotate(scheduler.status(), "tell this scheduler's cluster");

    ListApplicationsRequest all;
    all.set_source_type(manager::v2::SCHEDULER_SOURCE);
    all.set_hostname(identity_.hostname);
    all.set_ip(identity_.ip);
    const auto list = [stub](grpc::ClientContext* context, const ListApplicationsRequest* asked,
                             ListApplicationsResponse* answer, std::function<void(grpc::Status)> done) {
      stub->async()->ListApplications(context, asked, answer, std::move(done));
    };
    auto applications = co_await rpc::Unary<ListApplicationsResponse>(list, std::move(all), options_.call_timeout);
    ManagerAnswer answer;
    answer.scheduler = *std::move(scheduler);
    if (applications.ok()) {
      answer.applications = *std::move(applications);
    } else if (!absl::IsNotFound(applications.status()) && !absl::IsUnimplemented(applications.status())) {
      co_return Annotate(applications.status(), "list applications");
    }
    co_return answer;
  }

  // Puts what a look at the connection itself shows in the place of gRPC's own words.
  asio::awaitable<absl::Status> Explain(absl::Status failure) {
    if (!absl::IsUnavailable(failure) && !absl::IsDeadlineExceeded(failure)) co_return failure;
    const std::function<absl::Status()> look = [this] {
      return rpc::DiagnoseTls(identity_.address, tls_, kDiagnosisTimeout);
    };
    const absl::Status found = co_await blocking_.Run(look);
    if (found.ok() || absl::IsResourceExhausted(found)) co_return failure;
    co_return found;
  }

  asio::awaitable<absl::Status> Update() {
    auto answer = co_await Ask();
    if (!answer.ok()) co_return co_await Explain(answer.status());
    Publish(*answer);
    std::string text = ToFileText(*answer, identity_.address, identity_.cluster_id);
    if (text == cached_) co_return absl::OkStatus();
    const std::function<absl::Status()> write = [this, &text] { return WriteFileWhole(cache_file_, text); };
    const absl::Status written = co_await blocking_.Run(write);
    // The service does not depend on it.
    if (!written.ok()) DF_LOG(Warn, "keep what the manager says: {}", MessageOf(written));
    if (written.ok()) cached_ = std::move(text);
    co_return absl::OkStatus();
  }

  void Note(const absl::Status& status) {
    absl::MutexLock lock(&mutex_);
    if (status.ok() && !state_.ok() && noted_) DF_LOG(Info, "manager {}: answers again", identity_.address);
    if (!status.ok() && (status != state_ || !noted_)) {
      DF_LOG(Warn, "manager {}: {}", identity_.address, MessageOf(status));
    }
    noted_ = true;
    state_ = status;
  }

  asio::awaitable<void> Run() {
    const Clock::duration retry_max = std::min(options_.retry_max, options_.refresh_interval);
    Clock::duration retry = std::min(options_.retry_min, retry_max);
    for (;;) {
      const uint64_t seen = wake_.version();
      const absl::Status status = co_await Update();
      Note(status);
      Clock::duration wait = options_.refresh_interval;
      if (status.ok()) {
        retry = std::min(options_.retry_min, retry_max);
      } else {
        wait = std::exchange(retry, std::min(2 * retry, retry_max));
      }
      co_await wake_.Wait(seen, Clock::now() + WithJitter(wait));
    }
  }

  const ManagerIdentity identity_;
  const rpc::TlsFiles tls_;
  rpc::ChannelPool& channels_;
  const std::string cache_file_;
  const ClusterConfig defaults_;
  const DynconfigOptions options_;
  runtime::BlockingPool& blocking_;
  const OnClusterConfig publish_;
  const std::function<void()> forgotten_;
  runtime::TaskGroup tasks_;
  runtime::Signal wake_;
  // Of the loop alone.
  std::string cached_;  // content of the file
  std::vector<std::string> warnings_;
  mutable absl::Mutex mutex_;
  absl::Status state_ ABSL_GUARDED_BY(mutex_) = absl::UnavailableError("not asked yet");
  bool noted_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace

std::unique_ptr<Dynconfig> MakeManagerDynconfig(ManagerIdentity identity, rpc::TlsFiles tls, rpc::ChannelPool& channels,
                                                std::string cache_file, ClusterConfig defaults,
                                                DynconfigOptions options, asio::io_context& io,
                                                runtime::BlockingPool& blocking, OnClusterConfig publish,
                                                std::function<void()> forgotten) {
  return std::make_unique<ManagerDynconfig>(std::move(identity), std::move(tls), channels, std::move(cache_file),
                                            std::move(defaults), options, io, blocking, std::move(publish),
                                            std::move(forgotten));
}

}  // namespace dragonfly::scheduler
