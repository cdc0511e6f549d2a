// SPDX-License-Identifier: Apache-2.0
#include "config/redis.h"

#include "base/text.h"
#include "config/options.h"
#include "config/section.h"

namespace dragonfly::config {
namespace {

constexpr double kDatabaseMax = 1e6;
constexpr double kShortestWait = 0.001;

}  // namespace

void ReadRedis(Section& section, Redis& redis) {
  Section::Opts addresses = Address();
  addresses.kind = "";
  section.Strings("addrs", &redis.addrs, addresses);
  section.String("masterName", &redis.master_name);
  section.String("username", &redis.username);
  section.String("password", &redis.password, Secret());
  section.String("sentinelUsername", &redis.sentinel_username);
  section.String("sentinelPassword", &redis.sentinel_password, Secret());
  section.Int("poolSize", &redis.pool_size, Between(1, 100'000));
  section.Duration("poolTimeout", &redis.pool_timeout, Between(kShortestWait, kDurationMaxSeconds));
  section.Int("db", &redis.db, Between(0, kDatabaseMax));
  section.Int("brokerDB", &redis.broker_db, Between(0, kDatabaseMax));
  section.Int("backendDB", &redis.backend_db, Between(0, kDatabaseMax));
}

void ReadRedisTls(Section& section, Redis& redis) {
  section.Sub("tls", &redis.tls, [](Section& files, Redis::Tls& tls) {
    files.String("caCert", &tls.ca_cert, Path());
    files.String("cert", &tls.cert, Path());
    files.String("key", &tls.key, Path());
    bool insecure = !tls.verify;
    files.Bool("insecureSkipVerify", &insecure);
    tls.verify = !insecure;
    if (tls.verify && tls.ca_cert.empty()) files.Fail("caCert", "caCert or insecureSkipVerify is needed");
    if (tls.cert.empty() != tls.key.empty()) {
      files.Fail(tls.cert.empty() ? "cert" : "key", "cert and key must be given together");
    }
  });
}

void ReadRedisHost(Section& section, Redis& redis) {
  std::string host;
  uint16_t port = 0;
  section.String("host", &host);
  section.Port("port", &port);
  if (!redis.addrs.empty() || host.empty() || port == 0) return;
  const bool ipv6 = host.find(':') != std::string::npos;
  redis.addrs = {StrCat(ipv6 ? "[" : "", host, ipv6 ? "]:" : ":", port)};
}

}  // namespace dragonfly::config
