// SPDX-License-Identifier: Apache-2.0
// What the connections of one proxy share.
#pragma once

#include <memory>
#include <string>

#include "daemon/call_gate.h"
#include "daemon/config.h"
#include "daemon/proxy/access_record.h"
#include "daemon/proxy/basic_auth.h"
#include "daemon/proxy/rules.h"
#include "daemon/proxy/tls_context.h"
#include "daemon/task_manager.h"
#include "http/networks.h"
#include "runtime/token_bucket.h"

namespace dragonfly::daemon::proxy {

// Made once, used by all connections. Thread-safe.
struct Parts {
  Parts(const DaemonConfig& c, TaskManager& t, const CallGate& g)
      : config(c),
        tasks(t),
        gate(g),
        auth(c.proxy.basic_auth),
        rate(c.proxy.request_rate_limit, c.proxy.request_rate_limit) {}

  const DaemonConfig& config;
  TaskManager& tasks;
  const CallGate& gate;  // for its block list
  const BasicAuth auth;
  runtime::TokenBucket rate;  // requests
  AccessRecord access;
  http::Networks forbidden;
  std::unique_ptr<Rules> rules;
  std::unique_ptr<OriginTls> origin_tls;
  std::unique_ptr<TunnelCertificates> certificates;  // null: no tunnel is opened
  std::string via;                                   // the value that this proxy adds to Via, and knows itself by
};

}  // namespace dragonfly::daemon::proxy
