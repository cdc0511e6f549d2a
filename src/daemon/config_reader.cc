// SPDX-License-Identifier: Apache-2.0
#include "daemon/config_reader.h"

#include <re2/re2.h>

#include <array>
#include <charconv>
#include <string>
#include <utility>

#include "base/host_port.h"
#include "base/status.h"
#include "base/text.h"
#include "config/options.h"
#include "http/networks.h"

namespace dragonfly::daemon {
namespace {

using config::Between;
using config::Ip;
using config::kDurationMaxSeconds;
using config::OneOf;
using config::Path;
using config::Section;
using config::Text;
using Opts = Section::Opts;
using config::Wrong;

constexpr double kBufferMin = 4 << 10;
constexpr double kBufferMax = 256 << 20;
constexpr double kRequestBufferMax = 1'000'000;
constexpr uint64_t kPieceLengthMax = 64 << 20;

Opts AtLeast(double min) {
  Opts opts;
  opts.min = min;
  return opts;
}

Opts Interval() { return Between(1, kDurationMaxSeconds); }
Opts Timeout() { return Between(0.001, kDurationMaxSeconds); }

Opts Renamed(std::string older, Opts opts = Opts()) {
  opts.older.push_back(std::move(older));
  return opts;
}

Opts NoEffect(std::string why, Opts opts = Opts()) {
  opts.no_effect = std::move(why);
  return opts;
}

Opts AbsolutePath() {
  return Text("absolute path", [](const std::string& text) -> Wrong {
    if (text.starts_with('/')) return std::nullopt;
    return StrCat(Quoted(text), " must be an absolute path");
  });
}

Opts Url(std::string example) {
  return Text("URL", [example = std::move(example)](const std::string& text) -> Wrong {
    const size_t scheme = text.starts_with("http://") ? 7 : text.starts_with("https://") ? 8 : 0;
    if (text.empty() || (scheme != 0 && text.size() > scheme)) return std::nullopt;
    return StrCat(Quoted(text), " is not a URL such as ", example);
  });
}

// What the proxy can match with: no look-around and no back-references, as in the original.
Opts Regex() {
  return Text("regular expression", [](const std::string& text) -> Wrong {
    RE2::Options options;
    options.set_log_errors(false);
    const RE2 regex(text, options);
    if (regex.ok()) return std::nullopt;
    return StrCat(Quoted(text), " is no regular expression: ", regex.error());
  });
}

// Where spans go, without scheme and path.
Opts Endpoint() {
  return Text("host:port", [](const std::string& text) -> Wrong {
    if (text.empty()) return std::nullopt;
    const auto parts = SplitHostPort(text);
    if (parts.ok()) return std::nullopt;
    return std::string(MessageOf(parts.status()));
  });
}

Opts Short(bool secret) {
  Opts opts = Text("text of 1 to 20 bytes", nullptr);
  opts.secret = secret;
  return opts;
}

// Permission bits as chmod takes them, in octal digits. A file may quote them.
std::optional<uint32_t> ParseMode(std::string_view digits) {
  if (digits.starts_with("0o")) digits.remove_prefix(2);
  uint32_t mode = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), mode, 8);
  if (error != std::errc() || end != digits.data() + digits.size() || mode > 0777) return std::nullopt;
  return mode;
}

void SocketMode(Section& section, uint32_t* out) {
  std::array<char, 16> digits{};
  const auto written = std::to_chars(digits.begin(), digits.end(), *out, 8);
  std::string text = StrCat("0", std::string_view(digits.data(), static_cast<size_t>(written.ptr - digits.data())));
  section.String("socketMode", &text, Text("octal mode", [](const std::string& mode) -> Wrong {
                   const auto bits = ParseMode(mode);
                   if (!bits) return StrCat(Quoted(mode), " is no mode of a file such as 0660");
                   if ((*bits & 0600) != 0600) return "must let the owner read and write";
                   return std::nullopt;
                 }));
  *out = ParseMode(text).value_or(*out);
}

// A partly given triple would silently mean plaintext.
void Tls(Section& section, std::string* ca_cert, std::string* cert, std::string* key) {
  section.String("caCert", ca_cert, Path());
  section.String("cert", cert, Path());
  section.String("key", key, Path());
  const int given = !ca_cert->empty() + !cert->empty() + !key->empty();
  if (given == 0 || given == 3) return;
  for (const auto& [name, value] : {std::pair{"caCert", ca_cert}, std::pair{"cert", cert}, std::pair{"key", key}}) {
    if (value->empty()) section.Fail(name, "caCert, cert and key must be given together");
  }
}

// A rate at which the largest piece cannot end in time would fail every download of a large file.
void CheckRate(Section& section, std::string_view key, uint64_t rate, absl::Duration timeout) {
  if (rate == 0 || static_cast<double>(rate) * absl::ToDoubleSeconds(timeout) >= kPieceLengthMax) return;
  section.Warn(key, StrCat("at this rate a piece of 64 MiB does not end within download.pieceTimeout (",
                           absl::FormatDuration(timeout), ")"));
}

// Any key that names the rate.
std::string_view Given(const Section& section, std::string_view key, std::string_view older) {
  return section.Has(key) || !section.Has(older) ? key : older;
}

void ReadHost(Section& section, DaemonConfig::Host& host) {
  section.String("idc", &host.idc);
  section.String("location", &host.location);
  section.String("hostname", &host.hostname);
  section.String("ip", &host.ip, Ip());
  section.Uint("schedulerClusterID", &host.scheduler_cluster_id);
}

void ReadServer(Section& section, DaemonConfig::Server& server) {
  section.String("pluginDir", &server.plugin_dir, Path());
  section.String("cacheDir", &server.cache_dir, NoEffect("nothing is cached there", Path()));
  section.Sub("adaptiveRateLimit", &server.adaptive_rate_limit,
              [](Section& limit, DaemonConfig::AdaptiveRateLimit& adaptive) {
                limit.Uint("bucketCount", &adaptive.bucket_count, Between(1, 10'000));
                limit.Duration("bucketInterval", &adaptive.bucket_interval, Between(0.001, 3600));
                limit.Uint("cpuThreshold", &adaptive.cpu_threshold, Between(1, 100));
                limit.Uint("memoryThreshold", &adaptive.memory_threshold, Between(1, 100));
                limit.Duration("shedCooldown", &adaptive.shed_cooldown, Between(0, kDurationMaxSeconds));
                limit.Duration("collectInterval", &adaptive.collect_interval, Between(0.1, 3600));
              });
}

void ReadDownload(Section& section, DaemonConfig::Download& download) {
  section.Sub("server", [&](Section& server) {
    server.String("socketPath", &download.socket_path, AbsolutePath());
    SocketMode(server, &download.socket_mode);
    server.Uint("requestRateLimit", &download.request_rate_limit, AtLeast(1));
    server.Uint("requestBufferSize", &download.request_buffer_size, Between(0, kRequestBufferMax));
  });
  section.Sub("parentSelector", [](Section& selector) {
    const Opts no_effect = NoEffect("parents are always chosen by their load");
    bool enable = false;
    absl::Duration sync_interval = absl::Seconds(3);
    uint64_t capacity = 20;
    selector.Bool("enable", &enable, no_effect);
    selector.Duration("syncInterval", &sync_interval, no_effect);
    selector.Uint("capacity", &capacity, no_effect);
  });
  section.String("protocol", &download.protocol, OneOf({"tcp", "quic", "grpc"}));
  section.Bytes("bandwidthLimit", &download.rate_limit, Renamed("rateLimit"));
  section.Bytes("backToSourceBandwidthLimit", &download.back_to_source_rate_limit);
  section.Duration("pieceTimeout", &download.piece_timeout, Timeout());
  section.Duration("collectedPieceTimeout", &download.collected_piece_timeout, Timeout());
  section.Uint("concurrentPieceCount", &download.concurrent_piece_count, Between(1, 1024));
  CheckRate(section, Given(section, "bandwidthLimit", "rateLimit"), download.rate_limit, download.piece_timeout);
  CheckRate(section, "backToSourceBandwidthLimit", download.back_to_source_rate_limit, download.piece_timeout);
}

void ReadUpload(Section& section, DaemonConfig::Upload& upload) {
  section.Sub("server", [&](Section& server) {
    server.String("ip", &upload.ip, Ip());
    server.Port("port", &upload.port);
    Tls(server, &upload.ca_cert, &upload.cert, &upload.key);
    server.Uint("requestRateLimit", &upload.request_rate_limit, AtLeast(1));
    server.Uint("requestBufferSize", &upload.request_buffer_size, Between(0, kRequestBufferMax));
  });
  section.Sub("client", [&](Section& client) {
    Tls(client, &upload.client_tls.ca_cert, &upload.client_tls.cert, &upload.client_tls.key);
  });
  section.Bool("disableShared", &upload.disable_shared);
  section.Bytes("bandwidthLimit", &upload.rate_limit, Renamed("rateLimit"));
}

void ReadManager(Section& section, DaemonConfig::Manager& manager) {
  section.String("addr", &manager.addr, Url("http://manager.example:65003"));
  Tls(section, &manager.tls.ca_cert, &manager.tls.cert, &manager.tls.key);
  if (!manager.tls.cert.empty() && manager.addr.starts_with("http://")) {
    section.Warn("addr", "http:// with certificates: the manager is dialled in plaintext; write https://");
  }
}

void ReadScheduler(Section& section, DaemonConfig::Scheduler& scheduler) {
  section.Strings("addrs", &scheduler.addrs);
  CheckAddrs(section, "addrs", scheduler.addrs);
  section.Duration("announceInterval", &scheduler.announce_interval, Interval());
  section.Duration("scheduleTimeout", &scheduler.schedule_timeout, Timeout());
  section.Uint("maxScheduleCount", &scheduler.max_schedule_count, Between(1, 1'000'000));
  Tls(section, &scheduler.tls.ca_cert, &scheduler.tls.cert, &scheduler.tls.key);
}

void ReadSeedPeer(Section& section, DaemonConfig::SeedPeer& seed_peer) {
  section.Bool("enable", &seed_peer.enable);
  section.String("type", &seed_peer.type, OneOf({"normal", "super", "strong", "weak"}));
  section.Uint("clusterID", &seed_peer.cluster_id, AtLeast(1));
  section.Duration("keepaliveInterval", &seed_peer.keepalive_interval, Interval());
}

void ReadStorage(Section& section, DaemonConfig::Storage& storage) {
  section.Sub("server", [&](Section& server) {
    std::string protocol = "grpc";
    server.String("protocol", &protocol, NoEffect("a peer serves every protocol", OneOf({"grpc"})));
    server.String("ip", &storage.ip, Ip());
    server.Port("tcpPort", &storage.tcp_port);
    server.Bool("tcpFastopen", &storage.tcp_fastopen);
    server.Port("quicPort", &storage.quic_port);
  });
  section.String("dir", &storage.dir, AbsolutePath());
  section.Bool("keep", &storage.keep);
  section.Duration("writePieceTimeout", &storage.write_piece_timeout,
                   NoEffect("a piece has one deadline, download.pieceTimeout", Timeout()));
  section.Bytes("writeBufferSize", &storage.write_buffer_size,
                NoEffect("pieces are streamed through reused blocks", Between(kBufferMin, kBufferMax)));
  section.Bytes("readBufferSize", &storage.read_buffer_size,
                NoEffect("pieces are sent from the page cache", Between(kBufferMin, kBufferMax)));
  section.Bytes("cacheCapacity", &storage.cache_capacity);
  using Revalidate = DaemonConfig::Revalidate;
  section.Enum<Revalidate>(
      "revalidate", &storage.revalidate,
      {{"always", Revalidate::kAlways}, {"interval", Revalidate::kInterval}, {"never", Revalidate::kNever}});
  section.Duration("revalidateInterval", &storage.revalidate_interval, Between(0, kDurationMaxSeconds));
}

void ReadGcPolicy(Section& policy, DaemonConfig::Gc& gc) {
  policy.Duration("taskTTL", &gc.task_ttl, Interval());
  policy.Duration("persistentTaskTTL", &gc.persistent_task_ttl, Interval());
  policy.Duration("persistentCacheTaskTTL", &gc.persistent_cache_task_ttl, Interval());
  policy.Duration("pageCacheIdleTimeout", &gc.page_cache_idle_timeout, Interval());
  policy.Bytes("diskThreshold", &gc.dist_threshold, Renamed("distThreshold"));
  policy.Uint("diskHighThresholdPercent", &gc.high_percent, Renamed("distHighThresholdPercent", Between(1, 99)));
  policy.Uint("diskLowThresholdPercent", &gc.low_percent, Renamed("distLowThresholdPercent", Between(1, 99)));
  if (gc.low_percent < gc.high_percent) return;
  const std::string_view low = Given(policy, "diskLowThresholdPercent", "distLowThresholdPercent");
  const std::string_view high = Given(policy, "diskHighThresholdPercent", "distHighThresholdPercent");
  policy.Fail(policy.Has(low) ? low : high,
              StrCat("the low threshold (", gc.low_percent, ") must be below the high one (", gc.high_percent, ")"));
}

void ReadGc(Section& section, DaemonConfig::Gc& gc) {
  section.Duration("interval", &gc.interval, Interval());
  section.Sub("policy", [&](Section& policy) { ReadGcPolicy(policy, gc); });
}

void ReadProxyServer(Section& section, DaemonConfig::Proxy& proxy) {
  section.String("ip", &proxy.server.ip, Ip());
  section.Port("port", &proxy.server.port);
  section.Uint("requestRateLimit", &proxy.request_rate_limit, AtLeast(1));
  section.String("caCert", &proxy.ca_cert, Path());
  section.String("caKey", &proxy.ca_key, Path());
  if (proxy.ca_cert.empty() != proxy.ca_key.empty()) {
    section.Fail(proxy.ca_cert.empty() ? "caKey" : "caCert", "caCert and caKey must be given together");
  }
  section.Sub("basicAuth", &proxy.basic_auth, [](Section& auth, DaemonConfig::BasicAuth& pair) {
    auth.String("username", &pair.username, Short(/*secret=*/false));
    auth.String("password", &pair.password, Short(/*secret=*/true));
    for (const auto& [key, text] : {std::pair{"username", &pair.username}, std::pair{"password", &pair.password}}) {
      if (text->empty() || text->size() > 20) auth.Fail(key, "must have 1 to 20 bytes");
    }
  });
}

void ReadProxy(Section& section, DaemonConfig::Proxy& proxy) {
  section.Sub("server", [&](Section& server) { ReadProxyServer(server, proxy); });
  section.List("rules", &proxy.rules, [](Section& element, DaemonConfig::Proxy::Rule& rule) {
    element.String("regex", &rule.regex, Regex());
    element.Bool("useTLS", &rule.use_tls);
    element.Bool("insecureSkipVerify", &rule.insecure_skip_verify);
    element.String("redirect", &rule.redirect);
    element.Strings("filteredQueryParams", &rule.filtered_query_params);
  });
  section.Strings("forbiddenNetworks", &proxy.forbidden_networks);
  if (const auto networks = http::Networks::Parse(proxy.forbidden_networks); !networks.ok()) {
    section.Fail("forbiddenNetworks", MessageOf(networks.status()));
  }
  section.Strings("outputDirs", &proxy.output_dirs);
  section.Sub("registryMirror", [&](Section& mirror) {
    mirror.String("addr", &proxy.registry_mirror, Url("https://registry.example"));
    mirror.String("cert", &proxy.registry_cert, Path());
    mirror.Bool("enableTaskIDBasedBlobDigest", &proxy.task_id_from_blob_digest);
  });
  section.Bool("disableBackToSource", &proxy.disable_back_to_source);
  section.Bool("prefetch", &proxy.prefetch);
  section.Bytes("prefetchBandwidthLimit", &proxy.prefetch_rate_limit, Renamed("prefetchRateLimit"));
  section.Bytes("readBufferSize", &proxy.read_buffer_size, Between(kBufferMin, kBufferMax));
}

void ReadHttpServer(Section& section, DaemonConfig::HttpServer& out) {
  section.Sub("server", [&](Section& server) {
    server.String("ip", &out.ip, Ip());
    server.Port("port", &out.port);
  });
}

void ReadTracing(Section& section, DaemonConfig::Tracing& tracing) {
  Opts secret;
  secret.secret = true;
  section.String("protocol", &tracing.protocol, OneOf({"", "grpc", "http", "https"}));
  section.String("endpoint", &tracing.endpoint, Endpoint());
  section.String("path", &tracing.path);
  section.StringMap("headers", &tracing.headers, secret);
  if (tracing.protocol.empty() != tracing.endpoint.empty()) {
    section.Warn(tracing.protocol.empty() ? "endpoint" : "protocol",
                 "has no effect: traces are exported when protocol and endpoint are set");
  }
}

void ReadBackend(Section& section, DaemonConfig::Backend& backend) {
  Opts secret;
  secret.secret = true;
  section.StringMap("requestHeader", &backend.request_header, secret);
  section.Uint("maxRetries", &backend.retries, Between(0, 100));
  bool insecure = !backend.verify_tls;
  section.Bool("insecureSkipVerify", &insecure);
  backend.verify_tls = !insecure;
  section.String("caCert", &backend.ca_file, Path());
  section.Bool("enableCacheTemporaryRedirect", &backend.cache_temporary_redirect);
  section.Duration("cacheTemporaryRedirectTTL", &backend.cache_temporary_redirect_ttl, Interval());
  section.Uint("putConcurrentChunkCount", &backend.put_concurrent_chunk_count, Between(1, 1024));
  section.Bytes("putChunkSize", &backend.put_chunk_size, Between(100 << 10, 5'000'000'000));
  section.Duration("putTimeout", &backend.put_timeout, Timeout());
  section.Bool("enableHickoryDNS", &backend.hickory_dns, NoEffect("names are resolved by the system's resolver"));
}

// Two servers on one port would fail one after the other with a less helpful message.
void CheckPorts(Section& root, const DaemonConfig& config) {
  struct Listener {
    std::string_view section;
    std::string_view key;
    const std::string& ip;
    uint16_t port;
  };
  const std::array listeners = {
      Listener{"upload", "server.port", config.upload.ip, config.upload.port},
      Listener{"storage", "server.tcpPort", config.storage.ip, config.storage.tcp_port},
      Listener{"proxy", "server.port", config.proxy.server.ip, config.proxy.server.port},
      Listener{"metrics", "server.port", config.metrics.ip, config.metrics.port},
      Listener{"health", "server.port", config.health.ip, config.health.port},
      Listener{"stats", "server.port", config.stats.ip, config.stats.port},
  };
  const auto wildcard = [](const std::string& ip) { return ip == "0.0.0.0" || ip == "::"; };
  for (size_t i = 0; i < listeners.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      const Listener& a = listeners[j];
      const Listener& b = listeners[i];
      if (a.port == 0 || a.port != b.port) continue;
      if (a.ip != b.ip && !wildcard(a.ip) && !wildcard(b.ip)) continue;
      root.Fail(b.section, StrCat(b.key, " ", b.port, " is also ", a.section, ".", a.key));
    }
  }
}

void ReadNetwork(Section& root, DaemonConfig& config) {
  root.Sub("network",
           [&](Section& network) { network.Bool("enableIPv6", &config.network.enable_ipv6, Renamed("enableIpv6")); });
}

void ReadRest(Section& root, DaemonConfig& config) {
  root.Sub("host", [&](Section& section) { ReadHost(section, config.host); });
  root.Sub("server", [&](Section& section) { ReadServer(section, config.server); });
  root.Sub("download", [&](Section& section) { ReadDownload(section, config.download); });
  root.Sub("upload", [&](Section& section) { ReadUpload(section, config.upload); });
  root.Sub("manager", [&](Section& section) { ReadManager(section, config.manager); });
  root.Sub("scheduler", [&](Section& section) { ReadScheduler(section, config.scheduler); });
  root.Sub("seedPeer", [&](Section& section) { ReadSeedPeer(section, config.seed_peer); });
  root.Sub("dynconfig", [&](Section& section) {
    section.Duration("refreshInterval", &config.dynconfig.refresh_interval, Interval());
  });
  root.Sub("security", [&](Section& section) {
    bool enable = false;
    section.Bool("enable", &enable, NoEffect("security is what the TLS keys of each section say"));
  });
  root.Sub("storage", [&](Section& section) { ReadStorage(section, config.storage); });
  root.Sub("gc", [&](Section& section) { ReadGc(section, config.gc); });
  root.Sub("proxy", [&](Section& section) { ReadProxy(section, config.proxy); });
  root.Sub("health", [&](Section& section) { ReadHttpServer(section, config.health); });
  root.Sub("metrics", [&](Section& section) { ReadHttpServer(section, config.metrics); });
  root.Sub("stats", [&](Section& section) { ReadHttpServer(section, config.stats); });
  root.Sub("tracing", [&](Section& section) { ReadTracing(section, config.tracing); });
  root.Sub("backend", [&](Section& section) { ReadBackend(section, config.backend); });
}

}  // namespace

void ReadConfig(Section& root, DaemonConfig& config) {
  ReadNetwork(root, config);
  if (config.network.enable_ipv6) {
    for (std::string* ip : {&config.upload.ip, &config.storage.ip, &config.proxy.server.ip, &config.health.ip,
                            &config.metrics.ip, &config.stats.ip}) {
      *ip = "::";
    }
  }
  ReadRest(root, config);
  CheckPorts(root, config);
}

void DescribeConfig(Section& root, DaemonConfig& config) {
  ReadNetwork(root, config);
  ReadRest(root, config);
}

void CheckAddrs(Section& section, std::string_view key, const std::vector<std::string>& addrs) {
  for (const std::string& addr : addrs) {
    const auto parts = SplitHostPort(addr);
    if (!parts.ok()) section.Fail(key, MessageOf(parts.status()));
  }
}

}  // namespace dragonfly::daemon
