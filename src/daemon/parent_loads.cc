// SPDX-License-Identifier: Apache-2.0
#include "daemon/parent_loads.h"

#include <grpcpp/channel.h>

#include <algorithm>
#include <atomic>
#include <utility>

#include "base/status.h"
#include "dfdaemon/v2/dfdaemon.grpc.pb.h"
#include "rpc/client_call.h"
#include "telemetry/log.h"

namespace dragonfly::daemon {

namespace asio = boost::asio;
namespace wire = dfdaemon::v2;

namespace {

// A host that is silent for so long is no longer listened to; ours speak every second, the original every half.
constexpr Clock::duration kSilenceMax = std::chrono::seconds(10);

}  // namespace

double FreeRate(double max_tx_bits, double tx_bits) { return std::max(max_tx_bits - tx_bits, max_tx_bits / 10) / 8; }

struct ParentLoads::Host {
  std::atomic<double> free_rate = 0;  // 0: not told
  std::atomic<int> watches = 0;
  std::atomic<Clock::rep> last_watched = 0;  // ticks, of the end of the last watch
};

ParentLoads::Watch::Watch(std::shared_ptr<Host> host) : host_(std::move(host)) { ++host_->watches; }
ParentLoads::Watch::~Watch() {
  host_->last_watched = Clock::now().time_since_epoch().count();
  --host_->watches;
}

std::optional<double> ParentLoads::Watch::free_rate() const {
  const double rate = host_->free_rate.load(std::memory_order_relaxed);
  if (rate == 0) return std::nullopt;
  return rate;
}

ParentLoads::ParentLoads(asio::any_io_executor executor, rpc::ChannelPool& channels, std::string host_id,
                         Clock::duration linger)
    : channels_(channels), host_id_(std::move(host_id)), linger_(linger), group_(std::move(executor)) {}

ParentLoads::~ParentLoads() = default;

std::unique_ptr<ParentLoads::Watch> ParentLoads::Begin(const std::string& address, const std::string& peer_id) {
  absl::MutexLock lock(&mutex_);
  const auto known = hosts_.find(address);
  if (known != hosts_.end()) return std::make_unique<Watch>(known->second);
  if (hosts_.size() >= kHostsMax) return nullptr;
  const auto host = std::make_shared<Host>();
  hosts_.emplace(address, host);
  auto watch = std::make_unique<Watch>(host);
  group_.Spawn(Read(address, peer_id, host));
  return watch;
}

size_t ParentLoads::size() const {
  absl::MutexLock lock(&mutex_);
  return hosts_.size();
}

asio::awaitable<void> ParentLoads::Stop() { return group_.Stop(); }

// Ends when nobody has watched the host for a while, or it does not speak; the next task may try again.
asio::awaitable<void> ParentLoads::Read(std::string address, std::string peer_id, std::shared_ptr<Host> host) {
  wire::SyncHostRequest request;
  request.set_host_id(host_id_);
  request.set_peer_id(peer_id);
  const std::shared_ptr<wire::DfdaemonUpload::Stub> stub = wire::DfdaemonUpload::NewStub(channels_.Get(address));
  auto start = [stub](grpc::ClientContext* context, const wire::SyncHostRequest* message,
                      grpc::ClientReadReactor<common::v2::Host>* reactor) {
    stub->async()->SyncHost(context, message, reactor);
  };
  const auto stream = rpc::StartServerStream<common::v2::Host>(std::move(start), std::move(request));
  for (;;) {
    const absl::StatusOr<std::optional<common::v2::Host>> message = co_await stream->Read(Clock::now() + kSilenceMax);
    if (!message.ok() || !message->has_value()) {
      DF_LOG(Debug, "host at {} tells no more of its load: {}", address, message.status().ToString());
      break;
    }
    const common::v2::Network& network = (*message)->network();
    if (network.max_tx_bandwidth() > 0 && network.has_tx_bandwidth()) {
      host->free_rate =
          FreeRate(static_cast<double>(network.max_tx_bandwidth()), static_cast<double>(network.tx_bandwidth()));
    }
    absl::MutexLock lock(&mutex_);
    const TimePoint last{Clock::duration(host->last_watched.load())};
    // Begin() makes watches under the same lock.
    if (host->watches == 0 && Clock::now() - last >= linger_) break;
  }
  absl::MutexLock lock(&mutex_);
  const auto known = hosts_.find(address);
  if (known != hosts_.end() && known->second == host) hosts_.erase(known);
}

}  // namespace dragonfly::daemon
