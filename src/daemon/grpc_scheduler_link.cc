// SPDX-License-Identifier: Apache-2.0
#include "daemon/grpc_scheduler_link.h"

#include <google/protobuf/empty.pb.h>
#include <grpcpp/channel.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "base/text.h"
#include "daemon/peer_session.h"
#include "rpc/client_call.h"
#include "runtime/for_each.h"
#include "scheduler/v2/scheduler.grpc.pb.h"
#include "telemetry/log.h"

namespace dragonfly::daemon {
namespace asio = boost::asio;
namespace {

using google::protobuf::Empty;
using Stub = scheduler::v2::Scheduler::Stub;

absl::Status NoScheduler() { return absl::UnavailableError("no scheduler serves"); }

// One unary call of `Method` on the scheduler at `address`.
template <typename Response, typename Request, typename Method>
asio::awaitable<absl::StatusOr<Response>> Call(SchedulerSet& schedulers, std::string address, Request request,
                                               Method method, Clock::duration timeout) {
  const std::shared_ptr<Stub> stub = scheduler::v2::Scheduler::NewStub(schedulers.ChannelTo(address));
  const auto start = [stub, method](grpc::ClientContext* context, const Request* asked, Response* answer,
                                    std::function<void(grpc::Status)> done) {
    method(*stub, context, asked, answer, std::move(done));
  };
  auto response = co_await rpc::Unary<Response>(start, std::move(request), timeout);
  if (absl::IsUnavailable(response.status())) schedulers.Suspect(address);
  if (!response.ok()) co_return Annotate(response.status(), StrCat("scheduler ", address));
  co_return std::move(response);
}

asio::awaitable<void> Leave(SchedulerSet& schedulers, std::string address, std::string host_id,
                            Clock::duration timeout) {
  scheduler::v2::DeleteHostRequest request;
  request.set_host_id(host_id);
  const auto leave = [](Stub& stub, grpc::ClientContext* context, const scheduler::v2::DeleteHostRequest* asked,
                        Empty* answer, std::function<void(grpc::Status)> done) {
    stub.async()->DeleteHost(context, asked, answer, std::move(done));
  };
  const auto answer = co_await Call<Empty>(schedulers, std::move(address), std::move(request), leave, timeout);
  if (!answer.ok()) DF_LOG(Warn, "delete host {}: {}", host_id, MessageOf(answer.status()));
}

}  // namespace

GrpcSchedulerLink::GrpcSchedulerLink(GrpcSchedulerLinkOptions options, SchedulerSet& schedulers)
    : options_(std::make_shared<const GrpcSchedulerLinkOptions>(std::move(options))), schedulers_(schedulers) {}

GrpcSchedulerLink::~GrpcSchedulerLink() = default;

asio::awaitable<absl::StatusOr<std::unique_ptr<PeerSession>>> GrpcSchedulerLink::OpenSession(TaskId task,
                                                                                             std::string peer_id) {
  std::vector<std::string> candidates = schedulers_.OrderFor(task);
  if (candidates.empty()) co_return NoScheduler();
  co_return MakeGrpcPeerSession(options_, schedulers_, std::move(candidates), std::move(task), std::move(peer_id));
}

bool GrpcSchedulerLink::TakesUnknownLength() const { return schedulers_.TakeUnknownLength(); }

asio::awaitable<absl::StatusOr<std::string>> GrpcSchedulerLink::StatTask(TaskId task) {
  scheduler::v2::StatTaskRequest request;
  request.set_host_id(options_->host_id);
  request.set_task_id(task.str());
  const auto stat = [](Stub& stub, grpc::ClientContext* context, const scheduler::v2::StatTaskRequest* asked,
                       common::v2::Task* answer, std::function<void(grpc::Status)> done) {
    stub.async()->StatTask(context, asked, answer, std::move(done));
  };
  absl::Status last = NoScheduler();
  for (const std::string& address : schedulers_.OrderFor(task)) {
    auto answer = co_await Call<common::v2::Task>(schedulers_, address, request, stat, options_->call_timeout);
    if (answer.ok()) co_return answer->SerializeAsString();
    last = answer.status();
    if (!absl::IsUnavailable(last)) break;
  }
  co_return last;
}

asio::awaitable<absl::Status> GrpcSchedulerLink::DeleteTask(TaskId task) {
  scheduler::v2::DeleteTaskRequest request;
  request.set_host_id(options_->host_id);
  request.set_task_id(task.str());
  const auto forget = [](Stub& stub, grpc::ClientContext* context, const scheduler::v2::DeleteTaskRequest* asked,
                         Empty* answer, std::function<void(grpc::Status)> done) {
    stub.async()->DeleteTask(context, asked, answer, std::move(done));
  };
  absl::Status last = NoScheduler();
  for (const std::string& address : schedulers_.OrderFor(task)) {
    auto answer = co_await Call<Empty>(schedulers_, address, request, forget, options_->call_timeout);
    last = answer.status();
    if (!absl::IsUnavailable(last)) break;
  }
  co_return last;
}

asio::awaitable<void> GrpcSchedulerLink::DeleteHost() {
  // All at the same time: one that does not answer keeps no other from being told.
  std::vector<std::string> addresses;
  for (const SchedulerSet::Member& member : schedulers_.members()) addresses.push_back(member.address);
  const std::function<asio::awaitable<void>(size_t)> leave = [this, &addresses](size_t index) {
    return Leave(schedulers_, addresses[index], options_->host_id, options_->leave_timeout);
  };
  co_await runtime::ForEach(addresses.size(), addresses.size(), leave);
}

}  // namespace dragonfly::daemon
