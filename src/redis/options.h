// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"

namespace dragonfly::redis {

struct TlsOptions {
  TlsOptions() = default;
  std::string ca_cert;    // PEM file; empty: the system's
  std::string cert, key;  // PEM files, both or none
  bool verify = true;     // the server's certificate and name
};

struct Options {
  Options() = default;
  // "host:port". Several without a master name are nodes of a Redis Cluster.
  std::vector<std::string> addresses;
  // Not empty: the addresses are sentinels, which are asked for the master of that name.
  std::string master_name;
  std::string username, password;  // empty: none
  std::string sentinel_username, sentinel_password;
  int64_t db = 0;  // a cluster has 0 only
  std::optional<TlsOptions> tls;
  size_t pool_size = 20;                            // connections to one server
  absl::Duration pool_timeout = absl::Seconds(10);  // for a connection to come free
  absl::Duration connect_timeout = absl::Seconds(5);
  absl::Duration command_timeout = absl::Seconds(3);  // of one command or script, writing and reading
};

}  // namespace dragonfly::redis
