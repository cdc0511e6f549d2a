// SPDX-License-Identifier: Apache-2.0
#include "scheduler/manager_session.h"

#include <grpcpp/channel.h>

#include <utility>

#include "base/status.h"
#include "base/text.h"
#include "manager/v2/manager.grpc.pb.h"
#include "rpc/client_call.h"
#include "rpc/manager_presence.h"

namespace dragonfly::scheduler {
namespace asio = boost::asio;
namespace {

using manager::v2::UpdateSchedulerRequest;

constexpr auto kCallTimeout = std::chrono::seconds(10);

}  // namespace

struct ManagerSession::State {
  State(ManagerIdentity who, Clock::duration interval, rpc::ChannelPool& pool, asio::io_context& io,
        std::function<void()> notify)
      : identity(std::move(who)),
        keep_alive_interval(interval),
        channels(pool),
        registered(std::move(notify)),
        presence(
            PresenceOptions(), io.get_executor(), [this] { return channels.Get(identity.address); },
            [this] { return Register(); }) {}

  rpc::ManagerPresenceOptions PresenceOptions() const {
    rpc::ManagerPresenceOptions options;
    options.manager = identity.address;
    options.who = "this scheduler";
    options.beat.set_source_type(manager::v2::SCHEDULER_SOURCE);
    options.beat.set_hostname(identity.hostname);
    options.beat.set_ip(identity.ip);
    options.beat.set_cluster_id(identity.cluster_id);
    options.interval = keep_alive_interval;
    return options;
  }

  asio::awaitable<absl::Status> Register() {
    UpdateSchedulerRequest request;
    request.set_source_type(manager::v2::SCHEDULER_SOURCE);
    request.set_hostname(identity.hostname);
    request.set_ip(identity.ip);
    request.set_port(identity.port);
    if (!identity.idc.empty()) request.set_idc(identity.idc);
    if (!identity.location.empty()) request.set_location(identity.location);
    request.set_scheduler_cluster_id(identity.cluster_id);
    request.add_features("schedule");
    if (identity.takes_jobs) request.add_features("preheat");
    request.set_config(
        StrCat("{\"manager_keep_alive_interval\":", std::chrono::nanoseconds(keep_alive_interval).count(), "}"));
    const std::shared_ptr<manager::v2::Manager::Stub> stub =
        manager::v2::Manager::NewStub(channels.Get(identity.address));
    const auto start = [stub](grpc::ClientContext* context, const UpdateSchedulerRequest* asked,
                              manager::v2::Scheduler* answer, std::function<void(grpc::Status)> done) {
      stub->async()->UpdateScheduler(context, asked, answer, std::move(done));
    };
    auto answer = co_await rpc::Unary<manager::v2::Scheduler>(start, std::move(request), kCallTimeout);
    if (!answer.ok()) co_return Annotate(answer.status(), "register this scheduler");
    registered();
    co_return absl::OkStatus();
  }

  const ManagerIdentity identity;
  const Clock::duration keep_alive_interval;
  rpc::ChannelPool& channels;
  const std::function<void()> registered;
  rpc::ManagerPresence presence;
};

ManagerSession::ManagerSession(ManagerIdentity identity, Clock::duration keep_alive_interval,
                               rpc::ChannelPool& channels, asio::io_context& io, std::function<void()> registered)
    : state_(std::make_unique<State>(std::move(identity), keep_alive_interval, channels, io, std::move(registered))) {}

ManagerSession::~ManagerSession() = default;

void ManagerSession::Start() { state_->presence.Start(); }

void ManagerSession::Renew() { state_->presence.Renew(); }

asio::awaitable<void> ManagerSession::Stop() { co_await state_->presence.Stop(); }

absl::Status ManagerSession::state() const { return state_->presence.state(); }

}  // namespace dragonfly::scheduler
