// SPDX-License-Identifier: Apache-2.0
#include "rpc/channel.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "base/status.h"
#include "base/text.h"
#include "rpc/call_metrics.h"
#include "rpc/library.h"
#include "rpc/tls_credentials.h"
#include "rpc/tracing.h"
#include "runtime/clock.h"
#include "telemetry/log.h"

namespace dragonfly::rpc {
namespace {

constexpr int kLookaheadBytes = 4 << 20;
constexpr int kMetadataSizeMax = 64 << 10;

int Milliseconds(std::chrono::milliseconds value) {
  constexpr std::chrono::milliseconds kMax{1 << 30};
  return static_cast<int>(std::clamp(value, std::chrono::milliseconds(1), kMax).count());
}

grpc::ChannelArguments MakeArguments(const ChannelOptions& options) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  arguments.SetMaxSendMessageSize(-1);
  // A piece of up to 64 MiB comes in one message: the windows start large and grow with the measured bandwidth.
  arguments.SetInt(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, kLookaheadBytes);
  arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 1);
  arguments.SetInt(GRPC_ARG_MAX_METADATA_SIZE, kMetadataSizeMax);
  // Go servers send clients away that ping more often than every 300 s, or at all without calls.
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 300'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 20'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 0);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  // The least back-off is also how long an attempt to connect may take.
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, Milliseconds(options.connect_timeout));
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, Milliseconds(options.connect_timeout));
  arguments.SetInt(GRPC_ARG_CLIENT_IDLE_TIMEOUT_MS, Milliseconds(options.idle_timeout));
  // Peers are reached directly, whatever proxy the environment names for the rest of the world.
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetInt(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1);
  // Otherwise a channel made after Drop() would get the connection of the dropped one.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return arguments;
}

}  // namespace

struct ChannelPool::State {
  struct Entry {
    std::shared_ptr<grpc::Channel> channel;
    TimePoint used;
  };

  explicit State(ChannelOptions o) : options(std::move(o)), next_sweep(Clock::now() + options.idle_timeout) {}

  // A channel that only the pool holds has neither a stub nor a call.
  void Sweep(TimePoint now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    if (now < next_sweep) return;
    next_sweep = now + options.idle_timeout / 4;
    for (auto& [address, entry] : channels)
      if (entry.channel.use_count() > 1) entry.used = now;
    std::erase_if(channels, [&](const auto& item) { return now - item.second.used >= options.idle_timeout; });
  }

  // Made once, since TLS credentials watch their files.
  absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> Credentials(bool local)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    if (local) return grpc::InsecureChannelCredentials();
    if (credentials == nullptr) {
      DF_ASSIGN_OR_RETURN(credentials, ChannelCredentialsOf(options.tls));
    }
    return credentials;
  }

  std::shared_ptr<grpc::Channel> Make(const std::string& address,
                                      const std::shared_ptr<grpc::ChannelCredentials>& secured)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    std::vector<std::unique_ptr<grpc::experimental::ClientInterceptorFactoryInterface>> interceptors;
    if (tracer != nullptr) interceptors.push_back(MakeClientTracing(*tracer));
    if (metrics != nullptr) interceptors.push_back(MakeClientCallMetrics(*metrics));
    if (interceptors.empty()) return grpc::CreateCustomChannel(address, secured, MakeArguments(options));
    return grpc::experimental::CreateCustomChannelWithInterceptors(address, secured, MakeArguments(options),
                                                                   std::move(interceptors));
  }

  const ChannelOptions options;
  mutable absl::Mutex mutex;
  telemetry::Tracer* tracer ABSL_GUARDED_BY(mutex) = nullptr;
  telemetry::Metrics* metrics ABSL_GUARDED_BY(mutex) = nullptr;
  std::shared_ptr<grpc::ChannelCredentials> credentials ABSL_GUARDED_BY(mutex);
  std::unordered_map<std::string, Entry> channels ABSL_GUARDED_BY(mutex);
  TimePoint next_sweep ABSL_GUARDED_BY(mutex);
};

ChannelPool::ChannelPool(ChannelOptions options) : state_(std::make_unique<State>(std::move(options))) {
  KeepLibrary();
}

ChannelPool::~ChannelPool() = default;

std::shared_ptr<grpc::Channel> ChannelPool::Get(const std::string& address) {
  const TimePoint now = Clock::now();
  absl::MutexLock lock(&state_->mutex);
  state_->Sweep(now);
  if (const auto found = state_->channels.find(address); found != state_->channels.end()) {
    found->second.used = now;
    return found->second.channel;
  }
  const bool local = std::string_view(address).starts_with("unix:");
  const absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> credentials = state_->Credentials(local);
  if (!credentials.ok()) {
    // Not kept: the files are read again at the next try. Calls on this one fail at once.
    DF_LOG(Error, "connect to {}: {}", address, MessageOf(credentials.status()));
    return grpc::CreateCustomChannel(address, nullptr, MakeArguments(state_->options));
  }
  const std::shared_ptr<grpc::Channel> channel = state_->Make(address, *credentials);
  state_->channels.emplace(address, State::Entry{channel, now});
  return channel;
}

void ChannelPool::Drop(const std::string& address) {
  absl::MutexLock lock(&state_->mutex);
  state_->channels.erase(address);
}

void ChannelPool::UseTracer(telemetry::Tracer* tracer) {
  absl::MutexLock lock(&state_->mutex);
  state_->tracer = tracer;
}

void ChannelPool::UseMetrics(telemetry::Metrics* metrics) {
  absl::MutexLock lock(&state_->mutex);
  state_->metrics = metrics;
}

size_t ChannelPool::size() const {
  absl::MutexLock lock(&state_->mutex);
  return state_->channels.size();
}

std::string HostPort(const std::string& ip, int port) {
  if (ip.find(':') != std::string::npos && !ip.starts_with('[')) return StrCat("[", ip, "]:", port);
  return StrCat(ip, ":", port);
}

}  // namespace dragonfly::rpc
