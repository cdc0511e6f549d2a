// SPDX-License-Identifier: Apache-2.0
// What schedulers and seed peers say about themselves, written down. All functions block: they are work for a Database.
// Rows are named by host name, address and cluster, which are unique together; the port may change.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "db/connection.h"

namespace dragonfly::manager {

struct Instance {
  std::string hostname;
  std::string ip;
  uint64_t cluster_id = 0;
};

struct SchedulerReport {
  Instance instance;
  std::string idc, location;  // empty: what is known stays
  int64_t port = 0;
  std::string features;  // JSON
  std::string config;    // JSON; empty: unknown
};

struct SeedPeerReport {
  Instance instance;
  std::string type, idc, location;  // empty: what is known stays
  int64_t port = 0;
  int64_t download_port = 0;
};

// Returns the row's id. A new scheduler is inactive until it keeps alive, a new seed peer is active. Errors: NOT_FOUND
// for a cluster that does not exist.
absl::StatusOr<int64_t> RegisterScheduler(db::Connection& connection, const SchedulerReport& report);
absl::StatusOr<int64_t> RegisterSeedPeer(db::Connection& connection, const SeedPeerReport& report);

// Removing nothing is a success. Returns how many rows it were.
absl::StatusOr<int64_t> RemoveSeedPeer(db::Connection& connection, const Instance& instance);

enum class InstanceKind { kScheduler, kSeedPeer };

// Makes it active; of a scheduler notes when. Without an address (older callers) the host name must do. Errors:
// NOT_FOUND.
absl::Status KeepActive(db::Connection& connection, InstanceKind kind, const Instance& instance, absl::Time now);

// Makes it inactive; a scheduler only when it has not been heard of a millisecond or more after `last_heard`, by
// another stream or manager. A seed peer that lives elsewhere is made active again by its next message.
absl::Status MakeInactive(db::Connection& connection, InstanceKind kind, const Instance& instance,
                          absl::Time last_heard);

// Makes schedulers inactive that have kept alive once, but not since `since`: their manager has gone before it could
// see them go. Returns how many.
absl::StatusOr<int64_t> ExpireSchedulers(db::Connection& connection, absl::Time since);

// Deletes at most `most` audits that are older than what the row "gc" of the configs says, the oldest first; a week
// when it says nothing. Returns how many.
absl::StatusOr<int64_t> ExpireAudits(db::Connection& connection, absl::Time now, int64_t most);

// Deletes schedulers and seed peers that have been inactive and unchanged since `before`, at most `most` of each: as
// v2.3.1 and later, they are gone for good; one that comes back registers anew. Returns how many.
absl::StatusOr<int64_t> ForgetInactive(db::Connection& connection, absl::Time before, int64_t most);

struct ApplicationRow {
  uint64_t id = 0;
  std::string name, url, bio;
  std::string priority;  // JSON: {"value", "urls": [{"regex", "value"}]}
};

// Those with a priority, by id.
absl::StatusOr<std::vector<ApplicationRow>> ListApplications(db::Connection& connection);

}  // namespace dragonfly::manager
