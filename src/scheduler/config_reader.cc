// SPDX-License-Identifier: Apache-2.0
#include "scheduler/config_reader.h"

#include <limits>
#include <optional>
#include <string>
#include <utility>

#include "base/status.h"
#include "base/text.h"
#include "config/options.h"
#include "config/sections.h"
#include "http/networks.h"
#include "scheduler/evaluator.h"

namespace dragonfly::scheduler {
namespace {

using config::Address;
using config::Between;
using config::Directory;
using config::IgnoreAll;
using config::Ip;
using config::kDurationMaxSeconds;
using config::ListenAddress;
using config::OneOf;
using config::Path;
using config::ReadRedis;
using config::ReadRedisHost;
using config::ReadRedisTls;
using config::ReadTls;
using config::ReadTracing;
using config::Secret;
using config::Section;
using config::Text;
using config::Wrong;
using Opts = Section::Opts;

constexpr double kShortest = 1e-9;  // "greater than 0", as the original writes it
constexpr double kCountMax = 1e6;

Opts Positive() { return Between(kShortest, kDurationMaxSeconds); }
// Of what costs work each time.
Opts Interval() { return Between(0.001, kDurationMaxSeconds); }

void NotZero(Section& section, std::string_view key, int64_t* out) {
  constexpr double kMin = std::numeric_limits<int32_t>::min();
  constexpr double kMax = std::numeric_limits<int32_t>::max();
  section.Int(key, out, Between(kMin, kMax));
  if (*out == 0) section.Fail(key, "must not be 0");
}

void ReadServer(Section& section, SchedulerConfig::Server& server) {
  section.String("advertiseIP", &server.advertise_ip, Ip());
  section.Port("advertisePort", &server.advertise_port);
  section.String("listenIP", &server.listen_ip, Ip());
  Opts port = Between(1, 65535);
  port.kind = "port";
  section.Port("port", &server.port, port);
  section.String("host", &server.host);
  ReadTls(section, server.tls);
  Directory(section, "cacheDir", &server.cache_dir);
  Directory(section, "logDir", &server.log_dir);
  section.String("logLevel", &server.log_level, OneOf({"debug", "info", "warn", "error", "panic", "fatal", "dpanic"}));
  section.Uint("logMaxSize", &server.log_size_max, Between(1, kCountMax));
  uint64_t log_age_max = 7;
  section.Uint("logMaxAge", &log_age_max);
  section.Uint("logMaxBackups", &server.log_files_max, Between(1, 10'000));
  std::string plugin_dir = "/usr/local/dragonfly/plugins";
  section.String("pluginDir", &plugin_dir, Path());
  std::string data_dir = "/var/lib/dragonfly";
  section.String("dataDir", &data_dir, Path());
  section.Double("requestRateLimit", &server.request_rate_limit, Between(0, 1e9));
  section.Bool("reflection", &server.reflection);
  IgnoreAll(section, {"workHome", "advertiseHost", "listenHost"});
}

void ReadScheduling(Section& section, SchedulerConfig::Scheduling& scheduling) {
  section.String("algorithm", &scheduling.algorithm);
  const auto evaluator = MakeEvaluator(scheduling.algorithm);
  if (!evaluator.ok()) section.Fail("algorithm", MessageOf(evaluator.status()));
  NotZero(section, "backToSourceCount", &scheduling.back_to_source_count);
  NotZero(section, "retryBackToSourceLimit", &scheduling.retry_back_to_source_limit);
  section.Int("retryLimit", &scheduling.retry_limit, Between(1, kCountMax));
  section.Duration("retryInterval", &scheduling.retry_interval, Between(kShortest, 3600));
  section.Sub("gc", [&](Section& gc) {
    gc.Duration("pieceDownloadTimeout", &scheduling.piece_download_timeout, Positive());
    gc.Duration("peerGCInterval", &scheduling.peer_gc_interval, Interval());
    gc.Duration("peerTTL", &scheduling.peer_ttl, Positive());
    gc.Duration("taskGCInterval", &scheduling.task_gc_interval, Interval());
    gc.Duration("hostGCInterval", &scheduling.host_gc_interval, Interval());
    gc.Duration("hostTTL", &scheduling.host_ttl, Positive());
  });
  if (scheduling.retry_back_to_source_limit > scheduling.retry_limit) {
    section.Warn("retryBackToSourceLimit", "is above retryLimit: waiting peers fail before they may use the origin");
  }
  IgnoreAll(section, {"training", "networkTopology"});
}

// database.redis, and job.redis of former releases for what it leaves out.
void ReadRedisOfJobs(Section& section, config::Redis& redis) {
  config::Redis former;
  former.broker_db = redis.broker_db;
  former.backend_db = redis.backend_db;
  ReadRedis(section, former);
  ReadRedisHost(section, former);
  const auto take = [](std::string& text, std::string& from) {
    if (text.empty()) text = std::move(from);
  };
  if (redis.addrs.empty()) redis.addrs = std::move(former.addrs);
  take(redis.master_name, former.master_name);
  take(redis.username, former.username);
  take(redis.password, former.password);
  take(redis.sentinel_username, former.sentinel_username);
  take(redis.sentinel_password, former.sentinel_password);
  // 0 is what the newer section cannot say by its absence.
  if (redis.broker_db == 0) redis.broker_db = former.broker_db;
  if (redis.backend_db == 0) redis.backend_db = former.backend_db;
}

void ReadManager(Section& section, SchedulerConfig::Manager& manager) {
  section.String("addr", &manager.addr, Address());
  ReadTls(section, manager.tls);
  Opts positive;
  positive.min = 1;
  section.Uint("schedulerClusterID", &manager.scheduler_cluster_id, positive);
  section.Sub("keepAlive",
              [&](Section& keep_alive) { keep_alive.Duration("interval", &manager.keep_alive_interval, Interval()); });
}

Opts Network() {
  Opts opts = Text("network", [](const std::string& text) -> Wrong {
    const auto parsed = http::Networks::Parse({text});
    if (parsed.ok()) return std::nullopt;
    return std::string(MessageOf(parsed.status()));
  });
  opts.kind = "";
  return opts;
}

void ReadJob(Section& section, SchedulerConfig::Job& job) {
  section.Bool("enable", &job.enable);
  section.Uint("globalWorkerNum", &job.global_workers, Between(0, kCountMax));
  section.Uint("schedulerWorkerNum", &job.scheduler_workers, Between(0, kCountMax));
  section.Uint("localWorkerNum", &job.local_workers, Between(0, kCountMax));
  section.Sub("preheat", [&](Section& preheat) {
    preheat.Strings("forbiddenNetworks", &job.preheat.forbidden_networks, Network());
    preheat.Strings("allowedNetworks", &job.preheat.allowed_networks, Network());
  });
  if (!job.enable) return;
  for (const auto& [key, count] : {std::pair{"globalWorkerNum", job.global_workers},
                                   {"schedulerWorkerNum", job.scheduler_workers},
                                   {"localWorkerNum", job.local_workers}}) {
    if (count == 0) section.Fail(key, "must not be 0 while jobs are enabled");
  }
}

void ReadMetrics(Section& section, SchedulerConfig::Metrics& metrics) {
  section.Bool("enable", &metrics.enable);
  section.String("addr", &metrics.addr, ListenAddress());
  section.Bool("enableHost", &metrics.enable_host);
  if (metrics.enable && metrics.addr.empty()) section.Fail("addr", "is required when metrics are on");
}

void ReadKeys(Section& root, SchedulerConfig& config) {
  root.Bool("console", &config.console);
  root.Int("pprofPort", &config.pprof_port, Between(-1, 65535));
  root.String("pprofIP", &config.pprof_ip, Ip());
  root.Sub("tracing", [&](Section& section) { ReadTracing(section, config.tracing); });
  root.Sub("server", [&](Section& section) { ReadServer(section, config.server); });
  root.Sub("scheduler", [&](Section& section) { ReadScheduling(section, config.scheduling); });
  root.Sub("database", [&](Section& section) {
    section.Sub("redis", [&](Section& redis) {
      ReadRedis(redis, config.redis);
      ReadRedisTls(redis, config.redis);
    });
  });
  root.Sub("dynConfig", [&](Section& section) {
    section.Duration("refreshInterval", &config.dynconfig.refresh_interval, Interval());
    IgnoreAll(section, {"type", "data"});
  });
  root.Sub("manager", [&](Section& section) { ReadManager(section, config.manager); });
  root.Sub("seedPeer", [&](Section& section) {
    section.Bool("enable", &config.seed_peer.enable);
    ReadTls(section, config.seed_peer.tls);
    section.Duration("taskDownloadTimeout", &config.seed_peer.task_download_timeout, Positive());
  });
  root.Sub("peer", [&](Section& section) { ReadTls(section, config.peer.tls); });
  root.Sub("host", [&](Section& section) {
    section.String("idc", &config.host.idc);
    section.String("location", &config.host.location);
    IgnoreAll(section, {"netTopology"});
  });
  root.Sub("job", [&](Section& section) { ReadJob(section, config.job); });
  root.Sub("metrics", [&](Section& section) { ReadMetrics(section, config.metrics); });
  root.Sub("network", [&](Section& section) { section.Bool("enableIPv6", &config.enable_ipv6); });
}

}  // namespace

void ReadConfig(Section& root, SchedulerConfig& config) {
  ReadKeys(root, config);
  // After the keys that win over them.
  root.Sub("database", [&](Section& section) {
    section.Sub("redis", [&](Section& redis) { ReadRedisHost(redis, config.redis); });
  });
  root.Sub("job", [&](Section& section) {
    section.Sub("redis", [&](Section& redis) { ReadRedisOfJobs(redis, config.redis); });
  });
  IgnoreAll(root, {"resource", "storage", "security", "trainer", "verbose"});
}

void DescribeConfig(Section& root, SchedulerConfig& config) { ReadKeys(root, config); }

}  // namespace dragonfly::scheduler
