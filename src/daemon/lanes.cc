// SPDX-License-Identifier: Apache-2.0
#include "daemon/lanes.h"

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <utility>

#include "base/text.h"
#include "runtime/timeout.h"
#include "source/plugin_set.h"

namespace dragonfly::daemon {

namespace asio = boost::asio;

namespace {

// A download under way takes some 150 KiB beside its blocks, mostly of the gRPC library. So many begin at once; a burst
// of more is worked off a part at a time, and what is slow holds up others for moments only.
constexpr size_t kDownloadsAtOnce = 64;
constexpr auto kDownloadPace = std::chrono::milliseconds(100);
// Connections to origins are kept this long without use, at most twice as long.
constexpr auto kOriginIdle = std::chrono::seconds(30);

source::SourceOptions MakeSourceOptions(const DaemonConfig& config) {
  source::SourceOptions options;
  options.request_header.insert(config.backend.request_header.begin(), config.backend.request_header.end());
  options.retries = static_cast<int>(std::min<uint64_t>(config.backend.retries, 100));
  options.verify_tls = config.backend.verify_tls;
  options.ca_file = config.backend.ca_file;
  // The authority of the registry holds for what the proxy passes on and for what becomes a download alike.
  if (options.ca_file.empty()) options.ca_file = config.proxy.registry_cert;
  // The reader of the configuration and the proxy refuse what is no network.
  const absl::StatusOr<http::Networks> forbidden = http::Networks::Parse(config.proxy.forbidden_networks);
  options.forbidden = forbidden.ok() ? *forbidden : *http::Networks::Parse({"0.0.0.0/0", "::/0"});
  options.redirect_cache_ttl = std::chrono::seconds(0);
  if (config.backend.cache_temporary_redirect) {
    const absl::Duration ttl = std::min(config.backend.cache_temporary_redirect_ttl, absl::Hours(24));
    options.redirect_cache_ttl = absl::ToChronoSeconds(ttl);
  }
  if (!config.server.plugin_dir.empty()) {
    options.plugins = source::PluginSet::Load(StrCat(config.server.plugin_dir, "/backend"));
  }
  return options;
}

PieceFetcher::Options MakeFetcherOptions(const TaskManagerParts& parts) {
  PieceFetcher::Options options;
  options.host_id = parts.identity.host_id;
  const std::string& protocol = parts.config.download.protocol;
  options.prefer = protocol == "grpc" ? PieceWay::kGrpc : protocol == "quic" ? PieceWay::kQuic : PieceWay::kTcp;
  options.piece_timeout =
      absl::ToChronoNanoseconds(std::min(parts.config.download.piece_timeout, absl::Hours(24 * 30)));
  options.stall_timeout = std::chrono::duration_cast<std::chrono::milliseconds>(
      absl::ToChronoMilliseconds(std::min(parts.config.download.collected_piece_timeout, absl::Seconds(10))));
  return options;
}

// Connections to origins that nobody needs any more.
asio::awaitable<void> CloseIdleOrigins(Lane& lane) {
  for (;;) {
    co_await runtime::SleepUntil(Clock::now() + kOriginIdle);
    lane.sources->CloseIdle();
  }
}

// The clients belong to the thread of their lane, their end included.
asio::awaitable<void> CloseLane(Lane& lane) {
  lane.fetcher.reset();
  lane.vortex.reset();
  lane.quic.reset();
  lane.sources.reset();
  co_return;
}

}  // namespace

Lanes::Lanes(const TaskManagerParts& parts)
    : io_(parts.io),
      loads_(parts.io.Next().get_executor(), parts.channels, parts.identity.host_id),
      downloads_(kDownloadsAtOnce, kDownloadPace) {
  const source::SourceOptions source_options = MakeSourceOptions(parts.config);
  for (size_t index = 0; index < parts.io.size(); ++index) {
    auto lane = std::make_unique<Lane>(parts.io.At(index));
    lane->vortex = std::make_unique<vortex::Client>(lane->io, parts.limiters.download, vortex::Client::Options());
    lane->quic = std::make_unique<vortex::QuicClient>(lane->io, parts.limiters.download, vortex::QuicClient::Options());
    lane->fetcher = std::make_unique<PieceFetcher>(*lane->vortex, *lane->quic, parts.channels, parts.limiters.download,
                                                   MakeFetcherOptions(parts));
    lane->sources = source::MakeSources(lane->io, source_options);
    lane->loads = &loads_;
    lane->downloads = &downloads_;
    lanes_.push_back(std::move(lane));
  }
  for (const auto& lane : lanes_) {
    lane->group.Spawn(CloseIdleOrigins(*lane));
    for (const auto& other : lanes_) {
      if (other != lane) lane->others.push_back(other.get());
    }
  }
}

Lane& Lanes::For(std::string_view key) {
  asio::io_context& io = io_.For(key);
  return **std::find_if(lanes_.begin(), lanes_.end(), [&io](const auto& lane) { return &lane->io == &io; });
}

asio::awaitable<void> Lanes::Stop() {
  for (const auto& lane : lanes_) co_await lane->group.Stop();
  co_await loads_.Stop();
}

asio::awaitable<void> Lanes::Close() {
  for (const auto& lane : lanes_) {
    co_await asio::co_spawn(lane->executor, CloseLane(*lane), asio::use_awaitable);
  }
}

}  // namespace dragonfly::daemon
