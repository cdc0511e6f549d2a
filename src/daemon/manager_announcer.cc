// SPDX-License-Identifier: Apache-2.0
#include "daemon/manager_announcer.h"

#include <google/protobuf/empty.pb.h>
#include <grpcpp/channel.h>

#include <algorithm>
#include <functional>
#include <utility>

#include "base/status.h"
#include "base/text.h"
#include "manager/v2/manager.grpc.pb.h"
#include "rpc/client_call.h"
#include "rpc/manager_presence.h"
#include "telemetry/log.h"

namespace dragonfly::daemon {
namespace asio = boost::asio;
namespace {

using google::protobuf::Empty;
using manager::v2::DeleteSeedPeerRequest;
using manager::v2::UpdateSeedPeerRequest;

// Newer managers know no other type, older ones no "normal".
constexpr char kTypeOfAllManagers[] = "super";

}  // namespace

struct ManagerAnnouncer::State {
  State(ManagerAnnouncerOptions opts, asio::io_context& io, ManagerLink& link)
      : options(std::move(opts)),
        manager(link),
        type(options.type),
        presence(
            PresenceOptions(), io.get_executor(), [this] { return manager.Channel(); }, [this] { return Register(); }) {
  }

  rpc::ManagerPresenceOptions PresenceOptions() const;
  asio::awaitable<absl::Status> Update();
  asio::awaitable<absl::Status> Register();
  asio::awaitable<absl::Status> Delete(Clock::duration timeout);
  std::shared_ptr<manager::v2::Manager::Stub> Stub() { return manager::v2::Manager::NewStub(manager.Channel()); }

  const ManagerAnnouncerOptions options;
  ManagerLink& manager;
  std::string type;  // of Register() alone
  rpc::ManagerPresence presence;
};

rpc::ManagerPresenceOptions ManagerAnnouncer::State::PresenceOptions() const {
  rpc::ManagerPresenceOptions presence_options;
  presence_options.manager = manager.addr();
  presence_options.who = "this seed peer";
  presence_options.beat.set_source_type(manager::v2::SEED_PEER_SOURCE);
  presence_options.beat.set_hostname(options.identity.hostname);
  presence_options.beat.set_ip(options.identity.ip);
  presence_options.beat.set_cluster_id(options.cluster_id);
  presence_options.interval = options.keepalive_interval;
  presence_options.retry_min = options.retry_min;
  presence_options.retry_max = options.retry_max;
  return presence_options;
}

asio::awaitable<absl::Status> ManagerAnnouncer::State::Update() {
  UpdateSeedPeerRequest request;
  request.set_source_type(manager::v2::SEED_PEER_SOURCE);
  request.set_hostname(options.identity.hostname);
  request.set_type(type);
  if (!options.idc.empty()) request.set_idc(options.idc);
  if (!options.location.empty()) request.set_location(options.location);
  request.set_ip(options.identity.ip);
  request.set_port(options.identity.upload_port);
  request.set_download_port(options.identity.upload_port);
  request.set_seed_peer_cluster_id(options.cluster_id);
  const auto start = [stub = Stub()](grpc::ClientContext* context, const UpdateSeedPeerRequest* asked,
                                     manager::v2::SeedPeer* answer, std::function<void(grpc::Status)> done) {
    stub->async()->UpdateSeedPeer(context, asked, answer, std::move(done));
  };
  auto answer = co_await rpc::Unary<manager::v2::SeedPeer>(start, std::move(request), options.call_timeout);
  co_return answer.status();
}

asio::awaitable<absl::Status> ManagerAnnouncer::State::Register() {
  absl::Status status = co_await Update();
  if (absl::IsInvalidArgument(status) && type != kTypeOfAllManagers) {
    DF_LOG(Warn, "manager {}: refuses a seed peer of type {} ({}): registering as {}", manager.addr(), type,
           MessageOf(status), kTypeOfAllManagers);
    type = kTypeOfAllManagers;
    status = co_await Update();
  }
  if (!status.ok()) co_return Annotate(status, "register this seed peer");
  co_return absl::OkStatus();
}

asio::awaitable<absl::Status> ManagerAnnouncer::State::Delete(Clock::duration timeout) {
  DeleteSeedPeerRequest request;
  request.set_source_type(manager::v2::SEED_PEER_SOURCE);
  request.set_hostname(options.identity.hostname);
  request.set_ip(options.identity.ip);
  request.set_seed_peer_cluster_id(options.cluster_id);
  const auto start = [stub = Stub()](grpc::ClientContext* context, const DeleteSeedPeerRequest* asked, Empty* answer,
                                     std::function<void(grpc::Status)> done) {
    stub->async()->DeleteSeedPeer(context, asked, answer, std::move(done));
  };
  auto answer = co_await rpc::Unary<Empty>(start, std::move(request), timeout);
  co_return answer.status();
}

ManagerAnnouncer::ManagerAnnouncer(ManagerAnnouncerOptions options, asio::io_context& io, ManagerLink& manager)
    : state_(std::make_shared<State>(std::move(options), io, manager)) {}

ManagerAnnouncer::~ManagerAnnouncer() = default;

void ManagerAnnouncer::Start() { state_->presence.Start(); }

asio::awaitable<void> ManagerAnnouncer::Leave(TimePoint deadline) {
  const std::shared_ptr<State> state = state_;
  // Cancels the stream. The manager then makes the record inactive, and finds none when it is late: no harm.
  co_await state->presence.Stop();
  const Clock::duration left = deadline - Clock::now();
  if (left <= Clock::duration(0)) co_return;
  const absl::Status status = co_await state->Delete(std::min(left, state->options.call_timeout));
  if (!status.ok()) {
    DF_LOG(Warn, "manager {}: delete this seed peer: {}", state->manager.addr(), MessageOf(status));
  }
}

}  // namespace dragonfly::daemon
