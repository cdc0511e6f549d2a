// SPDX-License-Identifier: Apache-2.0
#include "scheduler/config.h"

#include <arpa/inet.h>

#include <array>
#include <initializer_list>
#include <limits>

#include "base/status.h"
#include "base/text.h"
#include "config/section.h"
#include "scheduler/evaluator.h"

namespace dragonfly::scheduler {
namespace {

using config::Section;

constexpr double kDurationMaxSeconds = 10.0 * 366 * 24 * 3600;
constexpr double kShortest = 1e-9;  // "greater than 0", as the original writes it

Section::Opts Between(double min, double max) {
  Section::Opts opts;
  opts.min = min;
  opts.max = max;
  return opts;
}
Section::Opts Positive() { return Between(kShortest, kDurationMaxSeconds); }

void IgnoreAll(Section& section, std::initializer_list<std::string_view> keys) {
  for (const std::string_view key : keys) section.Ignore(key);
}

void NotZero(Section& section, std::string_view key, int64_t* out) {
  section.Int(key, out, Between(std::numeric_limits<int32_t>::min(), std::numeric_limits<int32_t>::max()));
  if (*out == 0) section.Fail(key, "must not be 0");
}

void Ip(Section& section, std::string_view key, std::string* out) {
  section.String(key, out);
  std::array<unsigned char, sizeof(in6_addr)> bytes;
  if (!out->empty() && inet_pton(AF_INET, out->c_str(), bytes.data()) != 1 &&
      inet_pton(AF_INET6, out->c_str(), bytes.data()) != 1) {
    section.Fail(key, StrCat("\"", *out, "\" is not an IP address"));
  }
}

void Tls(Section& parent, std::string* ca_cert, std::string* cert, std::string* key) {
  parent.Sub("tls", [&](Section& tls) {
    tls.String("caCert", ca_cert);
    tls.String("cert", cert);
    tls.String("key", key);
    for (const auto& [name, value] : {std::pair{"caCert", ca_cert}, std::pair{"cert", cert}, std::pair{"key", key}}) {
      if (value->empty()) tls.Fail(name, "caCert, cert and key must be given together");
    }
  });
}

void ReadServer(Section& root, SchedulerConfig::Server* server) {
  root.Sub("server", [&](Section& section) {
    Ip(section, "listenIP", &server->listen_ip);
    section.Port("port", &server->port, Between(1, 65535));
    section.String("logDir", &server->log_dir);
    Section::Opts levels;
    levels.one_of = {"debug", "info", "warn", "error", "panic", "fatal", "dpanic"};
    section.String("logLevel", &server->log_level, levels);
    section.Uint("logMaxBackups", &server->log_files_max, Between(1, 10'000));
    section.Double("requestRateLimit", &server->request_rate_limit, Between(kShortest, 1e9));
    Tls(section, &server->tls_ca_cert, &server->tls_cert, &server->tls_key);
    IgnoreAll(section, {"advertiseIP", "advertisePort", "host", "cacheDir", "logMaxSize", "logMaxAge", "pluginDir",
                        "dataDir", "workHome"});
  });
}

void ReadScheduling(Section& root, SchedulerConfig::Scheduling* scheduling) {
  root.Sub("scheduler", [&](Section& section) {
    section.String("algorithm", &scheduling->algorithm);
    const auto evaluator = MakeEvaluator(scheduling->algorithm);
    if (!evaluator.ok()) section.Fail("algorithm", ToStd(evaluator.status().message()));
    NotZero(section, "backToSourceCount", &scheduling->back_to_source_count);
    NotZero(section, "retryBackToSourceLimit", &scheduling->retry_back_to_source_limit);
    section.Int("retryLimit", &scheduling->retry_limit, Between(1, 1e6));
    section.Duration("retryInterval", &scheduling->retry_interval, Between(kShortest, 3600));
    section.Sub("gc", [&](Section& gc) {
      gc.Duration("pieceDownloadTimeout", &scheduling->piece_download_timeout, Positive());
      gc.Duration("peerGCInterval", &scheduling->peer_gc_interval, Positive());
      gc.Duration("peerTTL", &scheduling->peer_ttl, Positive());
      gc.Duration("taskGCInterval", &scheduling->task_gc_interval, Positive());
      gc.Duration("hostGCInterval", &scheduling->host_gc_interval, Positive());
      gc.Duration("hostTTL", &scheduling->host_ttl, Positive());
    });
    IgnoreAll(section, {"training", "networkTopology"});
  });
}

void Read(Section& root, SchedulerConfig* config) {
  root.Bool("console", &config->console);
  ReadServer(root, &config->server);
  ReadScheduling(root, &config->scheduling);
  root.Sub("seedPeer", [&](Section& section) {
    section.Bool("enable", &config->seed_peer.enable);
    Tls(section, &config->seed_peer.tls_ca_cert, &config->seed_peer.tls_cert, &config->seed_peer.tls_key);
    IgnoreAll(section, {"taskDownloadTimeout"});
  });
  root.Sub("metrics", [&](Section& section) {
    section.Bool("enable", &config->metrics.enable);
    section.String("addr", &config->metrics.addr);
    section.Bool("enableHost", &config->metrics.enable_host);
    if (config->metrics.enable && config->metrics.addr.empty()) section.Fail("addr", "is required when metrics are on");
  });
  root.Sub("network", [&](Section& section) { section.Bool("enableIPv6", &config->enable_ipv6); });
  root.Sub("manager", [&](Section& section) {
    section.String("addr", &config->manager_addr);
    IgnoreAll(section, {"tls", "schedulerClusterID", "keepAlive"});
  });
  IgnoreAll(root, {"pprofPort", "tracing", "database", "resource", "dynConfig", "peer", "host", "job", "storage",
                   "security", "trainer", "verbose"});
}

LoadedSchedulerConfig WithWarnings(SchedulerConfig config, config::LoadResult result) {
  LoadedSchedulerConfig loaded;
  loaded.warnings = std::move(result.warnings);
  const SchedulerConfig::Scheduling& scheduling = config.scheduling;
  if (scheduling.retry_back_to_source_limit > scheduling.retry_limit) {
    loaded.warnings.push_back(
        "scheduler.retryBackToSourceLimit is above retryLimit: waiting peers fail before they may use the origin");
  }
  if (!config.manager_addr.empty()) {
    loaded.warnings.push_back("manager.addr has no effect: this scheduler runs without a manager");
  }
  loaded.config = std::move(config);
  return loaded;
}

}  // namespace

absl::StatusOr<LoadedSchedulerConfig> LoadSchedulerConfig(const std::string& path) {
  SchedulerConfig config;
  DF_ASSIGN_OR_RETURN(config::LoadResult result,
                      config::LoadFile(path, config::Dialect::kGo, [&](Section& root) { Read(root, &config); }));
  return WithWarnings(std::move(config), std::move(result));
}

absl::StatusOr<LoadedSchedulerConfig> ParseSchedulerConfig(std::string_view text, std::string_view file_name) {
  SchedulerConfig config;
  DF_ASSIGN_OR_RETURN(config::LoadResult result, config::LoadText(text, file_name, config::Dialect::kGo,
                                                                  [&](Section& root) { Read(root, &config); }));
  return WithWarnings(std::move(config), std::move(result));
}

}  // namespace dragonfly::scheduler
