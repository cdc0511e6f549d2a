// SPDX-License-Identifier: Apache-2.0
#include "daemon/config.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "absl/status/status.h"
#include "base/status.h"
#include "base/text.h"
#include "config/section.h"
#include "daemon/host_port.h"

namespace dragonfly::daemon {
namespace {

using config::Section;

Section::Opts Between(double min, double max) {
  Section::Opts opts;
  opts.min = min;
  opts.max = max;
  return opts;
}

Section::Opts AtLeast(double min) {
  Section::Opts opts;
  opts.min = min;
  return opts;
}

Section::Opts OneOf(std::vector<std::string> allowed) {
  Section::Opts opts;
  opts.one_of = std::move(allowed);
  return opts;
}

// Longest interval or timeout that still fits every clock; also keeps a typing error from switching something off.
constexpr double kDurationMaxSeconds = 10.0 * 366 * 24 * 3600;
constexpr double kBufferMin = 4 << 10;
constexpr double kBufferMax = 256 << 20;
constexpr double kRequestBufferMax = 1'000'000;

Section::Opts Interval() { return Between(1, kDurationMaxSeconds); }
Section::Opts Timeout() { return Between(0.001, kDurationMaxSeconds); }

void Ip(Section& section, std::string_view key, std::string* out) {
  const std::string before = *out;
  section.String(key, out);
  if (*out != before && !IsIpLiteral(*out)) section.Fail(key, StrCat("\"", *out, "\" is not an IP address"));
}

// A partly given triple would silently mean plaintext.
void Tls(Section& section, std::string* ca_cert, std::string* cert, std::string* key) {
  section.String("caCert", ca_cert);
  section.String("cert", cert);
  section.String("key", key);
  const int given = !ca_cert->empty() + !cert->empty() + !key->empty();
  if (given == 0 || given == 3) return;
  for (const auto& [name, value] : {std::pair{"caCert", ca_cert}, std::pair{"cert", cert}, std::pair{"key", key}}) {
    if (value->empty()) section.Fail(name, "caCert, cert and key must be given together");
  }
}

// Permission bits as chmod takes them, in octal digits: 0660. A file may quote them.
void SocketMode(Section& section, uint32_t* out) {
  std::string text;
  section.String("socketMode", &text);
  if (text.empty()) return;
  std::string_view digits = text;
  if (digits.starts_with("0o")) digits.remove_prefix(2);
  uint32_t mode = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), mode, 8);
  if (error != std::errc() || end != digits.data() + digits.size() || mode > 0777) {
    section.Fail("socketMode", StrCat(Quoted(text), " is no mode of a file such as 0660"));
    return;
  }
  if ((mode & 0600) != 0600) {
    section.Fail("socketMode", "must let the owner read and write");
    return;
  }
  *out = mode;
}

bool Between1And20(const std::string& text) { return !text.empty() && text.size() <= 20; }

Section::Opts Renamed(std::string older, Section::Opts opts = Section::Opts()) {
  opts.older.push_back(std::move(older));
  return opts;
}

class Reader {
 public:
  void Read(Section& root);
  LoadedConfig Take() { return std::move(loaded_); }

 private:
  void ReadHost(Section& section);
  void ReadServer(Section& section);
  void ReadDownload(Section& section);
  void ReadUpload(Section& section);
  void ReadManager(Section& section);
  void ReadScheduler(Section& section);
  void ReadSeedPeer(Section& section);
  void ReadStorage(Section& section);
  void ReadGc(Section& section);
  void ReadProxy(Section& section);
  void ReadProxyRule(Section& section);
  void ReadHttpServer(Section& section, DaemonConfig::HttpServer* out);
  void ReadTracing(Section& section);
  void ReadBackend(Section& section);
  void CheckPorts(Section& root);

  LoadedConfig loaded_;
  DaemonConfig& config_ = loaded_.config;
};

void Reader::ReadHost(Section& section) {
  section.String("idc", &config_.host.idc);
  section.String("location", &config_.host.location);
  section.String("hostname", &config_.host.hostname);
  Ip(section, "ip", &config_.host.ip);
  section.Uint("schedulerClusterID", &config_.host.scheduler_cluster_id);
}

void Reader::ReadServer(Section& section) {
  section.String("pluginDir", &config_.server.plugin_dir);
  section.String("cacheDir", &config_.server.cache_dir);
  auto& adaptive = config_.server.adaptive_rate_limit;
  if (section.IsNull("adaptiveRateLimit")) adaptive.reset();
  section.Sub("adaptiveRateLimit", [&](Section& limit) {
    limit.Uint("bucketCount", &adaptive->bucket_count, Between(1, 10'000));
    limit.Duration("bucketInterval", &adaptive->bucket_interval, Between(0.001, 3600));
    limit.Uint("cpuThreshold", &adaptive->cpu_threshold, Between(1, 100));
    limit.Uint("memoryThreshold", &adaptive->memory_threshold, Between(1, 100));
    limit.Duration("shedCooldown", &adaptive->shed_cooldown, Between(0, kDurationMaxSeconds));
    limit.Duration("collectInterval", &adaptive->collect_interval, Between(0.1, 3600));
  });
}

void Reader::ReadDownload(Section& section) {
  auto& download = config_.download;
  section.Sub("server", [&](Section& server) {
    server.String("socketPath", &download.socket_path);
    SocketMode(server, &download.socket_mode);
    server.Uint("requestRateLimit", &download.request_rate_limit, AtLeast(1));
    server.Uint("requestBufferSize", &download.request_buffer_size, Between(0, kRequestBufferMax));
    if (!download.socket_path.starts_with('/')) server.Fail("socketPath", "must be an absolute path");
  });
  section.Ignore("parentSelector");
  section.String("protocol", &download.protocol, OneOf({"tcp", "quic", "grpc"}));
  section.Bytes("bandwidthLimit", &download.rate_limit, Renamed("rateLimit"));
  section.Bytes("backToSourceBandwidthLimit", &download.back_to_source_rate_limit);
  section.Duration("pieceTimeout", &download.piece_timeout, Timeout());
  section.Duration("collectedPieceTimeout", &download.collected_piece_timeout, Timeout());
  section.Uint("concurrentPieceCount", &download.concurrent_piece_count, Between(1, 1024));
}

void Reader::ReadUpload(Section& section) {
  auto& upload = config_.upload;
  section.Sub("server", [&](Section& server) {
    Ip(server, "ip", &upload.ip);
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

void Reader::ReadManager(Section& section) {
  auto& manager = config_.manager;
  section.String("addr", &manager.addr);
  if (!manager.addr.empty() && !manager.addr.starts_with("http://") && !manager.addr.starts_with("https://")) {
    section.Fail("addr", StrCat("\"", manager.addr, "\" is not a URL such as http://manager.example:65003"));
  }
  Tls(section, &manager.tls.ca_cert, &manager.tls.cert, &manager.tls.key);
}

void CheckAddrs(Section& section, std::string_view key, const std::vector<std::string>& addrs) {
  for (const std::string& addr : addrs) {
    const auto parts = SplitHostPort(addr);
    if (!parts.ok()) section.Fail(key, MessageOf(parts.status()));
  }
}

void Reader::ReadScheduler(Section& section) {
  auto& scheduler = config_.scheduler;
  section.Strings("addrs", &scheduler.addrs);
  CheckAddrs(section, "addrs", scheduler.addrs);
  section.Duration("announceInterval", &scheduler.announce_interval, Interval());
  section.Duration("scheduleTimeout", &scheduler.schedule_timeout, Timeout());
  section.Uint("maxScheduleCount", &scheduler.max_schedule_count, Between(1, 1'000'000));
  Tls(section, &scheduler.tls.ca_cert, &scheduler.tls.cert, &scheduler.tls.key);
}

void Reader::ReadSeedPeer(Section& section) {
  auto& seed_peer = config_.seed_peer;
  section.Bool("enable", &seed_peer.enable);
  section.String("type", &seed_peer.type, OneOf({"normal", "super", "strong", "weak"}));
  section.Uint("clusterID", &seed_peer.cluster_id, AtLeast(1));
  section.Ignore("keepaliveInterval");
}

void Reader::ReadStorage(Section& section) {
  auto& storage = config_.storage;
  section.Sub("server", [&](Section& server) {
    std::string protocol;
    server.String("protocol", &protocol, OneOf({"grpc"}));
    Ip(server, "ip", &storage.ip);
    server.Port("tcpPort", &storage.tcp_port);
    server.Bool("tcpFastopen", &storage.tcp_fastopen);
    server.Port("quicPort", &storage.quic_port);
  });
  section.String("dir", &storage.dir);
  if (!storage.dir.starts_with('/')) section.Fail("dir", "must be an absolute path");
  section.Bool("keep", &storage.keep);
  section.Duration("writePieceTimeout", &storage.write_piece_timeout, Timeout());
  section.Bytes("writeBufferSize", &storage.write_buffer_size, Between(kBufferMin, kBufferMax));
  section.Bytes("readBufferSize", &storage.read_buffer_size, Between(kBufferMin, kBufferMax));
  section.Bytes("cacheCapacity", &storage.cache_capacity);
  std::string revalidate = "always";
  section.String("revalidate", &revalidate, OneOf({"always", "interval", "never"}));
  storage.revalidate = revalidate == "never"      ? DaemonConfig::Revalidate::kNever
                       : revalidate == "interval" ? DaemonConfig::Revalidate::kInterval
                                                  : DaemonConfig::Revalidate::kAlways;
  section.Duration("revalidateInterval", &storage.revalidate_interval, Between(0, kDurationMaxSeconds));
}

void Reader::ReadGc(Section& section) {
  auto& gc = config_.gc;
  section.Duration("interval", &gc.interval, Interval());
  section.Sub("policy", [&](Section& policy) {
    policy.Duration("taskTTL", &gc.task_ttl, Interval());
    policy.Duration("persistentTaskTTL", &gc.persistent_task_ttl, Interval());
    policy.Duration("persistentCacheTaskTTL", &gc.persistent_cache_task_ttl, Interval());
    policy.Duration("pageCacheIdleTimeout", &gc.page_cache_idle_timeout, Interval());
    policy.Bytes("diskThreshold", &gc.dist_threshold, Renamed("distThreshold"));
    policy.Uint("diskHighThresholdPercent", &gc.high_percent, Renamed("distHighThresholdPercent", Between(1, 99)));
    policy.Uint("diskLowThresholdPercent", &gc.low_percent, Renamed("distLowThresholdPercent", Between(1, 99)));
    if (gc.low_percent >= gc.high_percent) {
      const bool renamed = policy.Has("diskLowThresholdPercent") || policy.Has("diskHighThresholdPercent");
      const std::string prefix = renamed ? "disk" : "dist";
      const bool low_given = policy.Has(prefix + "LowThresholdPercent");
      policy.Fail(
          prefix + (low_given ? "LowThresholdPercent" : "HighThresholdPercent"),
          StrCat("the low threshold (", gc.low_percent, ") must be below the high one (", gc.high_percent, ")"));
    }
  });
}

void Reader::ReadProxyRule(Section& section) {
  DaemonConfig::Proxy::Rule rule;
  section.String("regex", &rule.regex);
  section.Bool("useTLS", &rule.use_tls);
  section.String("redirect", &rule.redirect);
  if (section.Has("filteredQueryParams")) {
    std::vector<std::string> names;
    section.Strings("filteredQueryParams", &names);
    rule.filtered_query_params = std::move(names);
  }
  config_.proxy.rules.push_back(std::move(rule));
}

void Reader::ReadProxy(Section& section) {
  auto& proxy = config_.proxy;
  section.Sub("server", [&](Section& server) {
    Ip(server, "ip", &proxy.server.ip);
    server.Port("port", &proxy.server.port);
    server.String("caCert", &proxy.ca_cert);
    server.String("caKey", &proxy.ca_key);
    if (proxy.ca_cert.empty() != proxy.ca_key.empty()) {
      server.Fail(proxy.ca_cert.empty() ? "caKey" : "caCert", "caCert and caKey must be given together");
    }
    server.Sub("basicAuth", [&](Section& auth) {
      auth.String("username", &proxy.username);
      auth.String("password", &proxy.password);
      if (!Between1And20(proxy.username)) auth.Fail("username", "must have 1 to 20 bytes");
      if (!Between1And20(proxy.password)) auth.Fail("password", "must have 1 to 20 bytes");
    });
    server.Uint("requestRateLimit", &proxy.request_rate_limit, AtLeast(1));
  });
  section.List("rules", [&](Section& rule) { ReadProxyRule(rule); });
  section.Sub("registryMirror", [&](Section& mirror) {
    mirror.String("addr", &proxy.registry_mirror);
    mirror.String("cert", &proxy.registry_cert);
    mirror.Bool("enableTaskIDBasedBlobDigest", &proxy.task_id_from_blob_digest);
  });
  section.Bool("disableBackToSource", &proxy.disable_back_to_source);
  section.Bool("prefetch", &proxy.prefetch);
  section.Bytes("prefetchBandwidthLimit", &proxy.prefetch_rate_limit, Renamed("prefetchRateLimit"));
  section.Bytes("readBufferSize", &proxy.read_buffer_size, Between(kBufferMin, kBufferMax));
}

void Reader::ReadHttpServer(Section& section, DaemonConfig::HttpServer* out) {
  section.Sub("server", [&](Section& server) {
    Ip(server, "ip", &out->ip);
    server.Port("port", &out->port);
  });
}

void Reader::ReadTracing(Section& section) {
  auto& tracing = config_.tracing;
  section.String("protocol", &tracing.protocol, OneOf({"grpc", "http", "https"}));
  section.String("endpoint", &tracing.endpoint);
  section.String("path", &tracing.path);
  section.StringMap("headers", &tracing.headers);
  if (tracing.protocol.empty() != tracing.endpoint.empty()) {
    section.Warn(tracing.protocol.empty() ? "endpoint" : "protocol",
                 "has no effect: traces are exported when protocol and endpoint are set");
  }
}

void Reader::ReadBackend(Section& section) {
  auto& backend = config_.backend;
  section.StringMap("requestHeader", &backend.request_header);
  section.Uint("maxRetries", &backend.retries, Between(0, 100));
  bool insecure = !backend.verify_tls;
  section.Bool("insecureSkipVerify", &insecure);
  backend.verify_tls = !insecure;
  section.String("caCert", &backend.ca_file);
  section.Bool("enableCacheTemporaryRedirect", &backend.cache_temporary_redirect);
  section.Duration("cacheTemporaryRedirectTTL", &backend.cache_temporary_redirect_ttl, Interval());
  section.Uint("putConcurrentChunkCount", &backend.put_concurrent_chunk_count, Between(1, 1024));
  section.Bytes("putChunkSize", &backend.put_chunk_size, Between(100 << 10, 5e9));
  section.Duration("putTimeout", &backend.put_timeout, Timeout());
  section.Bool("enableHickoryDNS", &backend.hickory_dns);
}

// Two servers on one port would fail one after the other with a less helpful message.
void Reader::CheckPorts(Section& root) {
  struct Listener {
    std::string_view section;
    std::string_view key;
    const std::string& ip;
    uint16_t port;
  };
  const std::array listeners = {
      Listener{"upload", "server.port", config_.upload.ip, config_.upload.port},
      Listener{"storage", "server.tcpPort", config_.storage.ip, config_.storage.tcp_port},
      Listener{"proxy", "server.port", config_.proxy.server.ip, config_.proxy.server.port},
      Listener{"metrics", "server.port", config_.metrics.ip, config_.metrics.port},
      Listener{"health", "server.port", config_.health.ip, config_.health.port},
      Listener{"stats", "server.port", config_.stats.ip, config_.stats.port},
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

void Reader::Read(Section& root) {
  root.Sub("network",
           [&](Section& network) { network.Bool("enableIPv6", &config_.network.enable_ipv6, Renamed("enableIpv6")); });
  if (config_.network.enable_ipv6) {
    for (std::string* ip : {&config_.upload.ip, &config_.storage.ip, &config_.proxy.server.ip, &config_.health.ip,
                            &config_.metrics.ip, &config_.stats.ip}) {
      *ip = "::";
    }
  }
  root.Sub("host", [&](Section& section) { ReadHost(section); });
  root.Sub("server", [&](Section& section) { ReadServer(section); });
  root.Sub("download", [&](Section& section) { ReadDownload(section); });
  root.Sub("upload", [&](Section& section) { ReadUpload(section); });
  root.Sub("manager", [&](Section& section) { ReadManager(section); });
  root.Sub("scheduler", [&](Section& section) { ReadScheduler(section); });
  root.Sub("seedPeer", [&](Section& section) { ReadSeedPeer(section); });
  root.Sub("dynconfig", [&](Section& section) {
    section.Duration("refreshInterval", &config_.dynconfig.refresh_interval, Interval());
  });
  root.Ignore("security");
  root.Sub("storage", [&](Section& section) { ReadStorage(section); });
  root.Sub("gc", [&](Section& section) { ReadGc(section); });
  root.Sub("proxy", [&](Section& section) { ReadProxy(section); });
  root.Sub("health", [&](Section& section) { ReadHttpServer(section, &config_.health); });
  root.Sub("metrics", [&](Section& section) { ReadHttpServer(section, &config_.metrics); });
  root.Sub("stats", [&](Section& section) { ReadHttpServer(section, &config_.stats); });
  root.Sub("tracing", [&](Section& section) { ReadTracing(section); });
  root.Sub("backend", [&](Section& section) { ReadBackend(section); });
  CheckPorts(root);
}

absl::StatusOr<LoadedConfig> Finish(absl::StatusOr<config::LoadResult> result, Reader& reader) {
  if (!result.ok()) return std::move(result).status();
  LoadedConfig loaded = reader.Take();
  loaded.warnings.insert(loaded.warnings.begin(), result->warnings.begin(), result->warnings.end());
  return loaded;
}

}  // namespace

absl::StatusOr<LoadedConfig> LoadDaemonConfig(const std::string& path) {
  Reader reader;
  return Finish(config::LoadFile(path, config::Dialect::kRust, [&](Section& root) { reader.Read(root); }), reader);
}

absl::StatusOr<LoadedConfig> ParseDaemonConfig(std::string_view text, std::string_view file_name) {
  Reader reader;
  return Finish(config::LoadText(text, file_name, config::Dialect::kRust, [&](Section& root) { reader.Read(root); }),
                reader);
}

absl::Status ResolveSchedulerAddrs(const std::string& dynconfig_path, LoadedConfig& loaded) {
  DaemonConfig& config = loaded.config;
  if (!config.scheduler.addrs.empty()) {
    if (!config.manager.addr.empty()) {
      loaded.warnings.push_back(
          StrCat("manager.addr ", config.manager.addr, " has no effect: scheduler.addrs names the schedulers"));
    }
    return absl::OkStatus();
  }
  if (!config.manager.addr.empty()) {
    return absl::UnimplementedError(
        StrCat("manager.addr ", config.manager.addr,
               ": this dfdaemon cannot ask a manager for its schedulers; list them in scheduler.addrs"));
  }

  std::string addr = "dragonfly-scheduler:8002";
  std::vector<std::string> addrs;
  auto read = config::LoadFile(dynconfig_path, config::Dialect::kRust, [&](Section& root) {
    root.Sub("scheduler", [&](Section& scheduler) {
      scheduler.String("addr", &addr);
      scheduler.Strings("addrs", &addrs);
      CheckAddrs(scheduler, "addr", {addr});
      CheckAddrs(scheduler, "addrs", addrs);
    });
    for (const char* key : {"clientConfig", "seedClientConfig"}) {
      if (root.Has(key)) {
        loaded.warnings.push_back(StrCat(dynconfig_path, ": ", key, ": has no effect: block lists are not applied"));
      }
      root.Ignore(key);
    }
  });
  if (absl::IsNotFound(read.status())) {
    return absl::FailedPreconditionError(StrCat(
        "no scheduler is configured: set scheduler.addrs in dfdaemon.yaml, or scheduler.addr in ", dynconfig_path));
  }
  if (!read.ok()) return std::move(read).status();
  loaded.warnings.insert(loaded.warnings.end(), read->warnings.begin(), read->warnings.end());
  config.scheduler.addrs = addrs.empty() ? std::vector<std::string>{addr} : std::move(addrs);
  return absl::OkStatus();
}

}  // namespace dragonfly::daemon
