// SPDX-License-Identifier: Apache-2.0
#include "redis/configured.h"

#include <algorithm>

namespace dragonfly::redis {

Options OptionsOf(const config::Redis& config) {
  Options options;
  options.addresses = config.addrs;
  options.master_name = config.master_name;
  options.username = config.username;
  options.password = config.password;
  options.sentinel_username = config.sentinel_username;
  options.sentinel_password = config.sentinel_password;
  const bool cluster = config.addrs.size() > 1 && config.master_name.empty();
  options.db = cluster ? 0 : config.db;
  options.pool_size = static_cast<size_t>(std::max<int64_t>(1, config.pool_size));
  options.pool_timeout = config.pool_timeout;
  if (config.tls.has_value()) {
    TlsOptions& tls = options.tls.emplace();
    tls.ca_cert = config.tls->ca_cert;
    tls.cert = config.tls->cert;
    tls.key = config.tls->key;
    tls.verify = config.tls->verify;
  }
  return options;
}

}  // namespace dragonfly::redis
