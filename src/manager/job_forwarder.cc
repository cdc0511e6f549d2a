// SPDX-License-Identifier: Apache-2.0
#include "manager/job_forwarder.h"

#include <grpcpp/channel.h>

#include <utility>

#include "base/status.h"
#include "base/text.h"
#include "dragonfly/ext/v1/jobs.grpc.pb.h"
#include "rpc/client_call.h"
#include "telemetry/log.h"

namespace dragonfly::manager {
namespace asio = boost::asio;
namespace ext = dragonfly::ext::v1;
namespace {

constexpr std::chrono::seconds kReadTimeout{30};
// Jobs bound themselves by the timeout that they name.
constexpr std::chrono::hours kCallMax{24 * 7};
constexpr char kWorker[] = "forwarder";

rpc::ChannelOptions ChannelsWith(const rpc::TlsFiles& tls) {
  rpc::ChannelOptions options;
  options.tls = tls;
  return options;
}

}  // namespace

JobForwarder::JobForwarder(asio::io_context& io, jobs::EmbeddedBroker& broker, DirectoryReader& directory,
                           rpc::TlsFiles tls, telemetry::Tracer* tracer)
    : io_(io),
      broker_(broker),
      directory_(directory),
      tls_(std::move(tls)),
      channels_(ChannelsWith(tls_)),
      group_(io.get_executor()) {
  channels_.UseTracer(tracer);
}

JobForwarder::~JobForwarder() = default;

void JobForwarder::Start() { group_.Spawn(Watch()); }

asio::awaitable<void> JobForwarder::Stop() {
  co_await group_.Stop();
  for (auto& [queue, worker] : workers_) co_await worker->Stop();
  workers_.clear();
}

asio::awaitable<void> JobForwarder::Watch() {
  for (;;) {
    const uint64_t seen = broker_.arrivals().version();
    for (const std::string& queue : broker_.WaitingQueues()) {
      if (workers_.contains(queue)) continue;
      jobs::WorkerOptions options;
      options.name = kWorker;
      options.queues = {queue};
      for (const char* const name :
           {jobs::kPreheat, jobs::kSyncPeers, jobs::kGetTask, jobs::kDeleteTask, jobs::kListTaskEntries,
            jobs::kGetPersistentCacheTask, jobs::kDeletePersistentCacheTask}) {
        options.handlers[name] = [this, queue, name](std::string argument) {
          return Call(queue, name, std::move(argument));
        };
      }
      auto worker = std::make_unique<jobs::Worker>(io_, broker_, std::move(options));
      worker->Start();
      workers_[queue] = std::move(worker);
    }
    co_await broker_.arrivals().Wait(seen);
  }
}

asio::awaitable<absl::StatusOr<std::string>> JobForwarder::Call(std::string queue, std::string name,
                                                                std::string argument) {
  auto directory = co_await directory_.Read(Clock::now() + kReadTimeout);
  if (!directory.ok()) co_return directory.status();
  const SchedulerRow* found = nullptr;
  for (const SchedulerRow& scheduler : (*directory)->schedulers) {
    if (jobs::SchedulerQueue(scheduler.cluster_id, scheduler.hostname, scheduler.ip) == queue) found = &scheduler;
  }
  if (found == nullptr) co_return absl::UnavailableError(StrCat("the scheduler of ", queue, " has gone"));
  const std::string address = rpc::HostPort(found->ip, static_cast<int>(found->port));
  ext::RunJobRequest request;
  request.set_name(name);
  request.set_argument(argument);
  const std::shared_ptr<ext::Jobs::Stub> stub = ext::Jobs::NewStub(channels_.Get(address));
  const auto start = [stub](grpc::ClientContext* context, const ext::RunJobRequest* asked, ext::RunJobResponse* answer,
                            std::function<void(grpc::Status)> done) {
    stub->async()->RunJob(context, asked, answer, std::move(done));
  };
  auto answer = co_await rpc::Unary<ext::RunJobResponse>(start, std::move(request), kCallMax);
  if (absl::IsUnimplemented(answer.status()) &&
      MessageOf(answer.status()).find("not known") == std::string_view::npos) {
    co_return absl::UnimplementedError(
        StrCat("scheduler ", address, " takes jobs from Redis alone: set database.redis for it and for the manager"));
  }
  if (!answer.ok()) co_return answer.status();
  co_return std::move(*answer->mutable_result());
}

}  // namespace dragonfly::manager
