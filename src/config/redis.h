// SPDX-License-Identifier: Apache-2.0
// The section `database.redis`, which the files of managers and schedulers share. Keys: dragonfly v2.3.0,
// manager/config/config.go and scheduler/config/config.go; `tls` of v2.4.4.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"

namespace dragonfly::config {

class Section;

struct Redis {
  Redis() = default;
  explicit Redis(int64_t connections) : pool_size(connections) {}
  std::vector<std::string> addrs;  // "host:port"; empty: none
  std::string master_name;         // addrs are sentinels then
  std::string username, password;
  std::string sentinel_username, sentinel_password;
  int64_t pool_size = 20;
  absl::Duration pool_timeout = absl::Seconds(10);
  int64_t db = 0;  // of the data
  int64_t broker_db = 1;
  int64_t backend_db = 2;
  struct Tls {
    Tls() = default;
    std::string ca_cert;
    std::string cert, key;  // both or none
    bool verify = true;
  };
  std::optional<Tls> tls;
};

// `section` itself, but for `tls`.
void ReadRedis(Section& section, Redis& redis);
void ReadRedisTls(Section& section, Redis& redis);
// Its `host` and `port`, of former releases, where there are no addresses. After ReadRedis().
void ReadRedisHost(Section& section, Redis& redis);

}  // namespace dragonfly::config
