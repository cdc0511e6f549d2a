// SPDX-License-Identifier: Apache-2.0
// The consistent-hash rings by which the programs of a cluster agree who serves a task. Every program must place nodes
// and keys bit for bit alike.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace dragonfly {

// SipHash-2-4 with key (0, 0), 64 bit.
uint64_t SipHash24(std::string_view bytes);

// Peer -> scheduler: one point per scheduler. Source: client v1.0.0, dragonfly-client/src/grpc/scheduler.rs (crate
// hashring 0.3.6 over siphasher 0.3.11).
class SchedulerRing {
 public:
  // `ip` is an IPv4 or IPv6 literal (brackets allowed). Errors: INVALID_ARGUMENT.
  absl::Status Add(std::string_view ip, uint16_t port);
  bool empty() const { return points_.empty(); }
  size_t size() const { return points_.size(); }

  // Index, in order of Add(), of the scheduler of `task_id`: the first point at or behind the hash of the id's first
  // five bytes (the whole id when shorter). nullopt when empty.
  std::optional<size_t> Pick(std::string_view task_id) const;

  // All indices in ring order beginning with Pick(): the order of failover.
  std::vector<size_t> Order(std::string_view task_id) const;

  static absl::StatusOr<uint64_t> NodeHash(std::string_view ip, uint16_t port);
  static uint64_t KeyHash(std::string_view task_id);

 private:
  struct Point {
    uint64_t hash;
    size_t index;
  };
  // Where the walk for `task_id` begins in points_.
  size_t Start(std::string_view task_id) const;

  std::vector<Point> points_;  // sorted by hash
  size_t added_ = 0;
};

// Scheduler -> seed peer: 20 points per member. Source: dragonfly v2.3.0, pkg/balancer/consistent_hashing.go over
// stathat.com/c/consistent v1.0.0.
class SeedRing {
 public:
  SeedRing() = default;
  // The same as Add() of each in their order, in the time of one sort.
  explicit SeedRing(std::span<const std::string> members);
  // `member` is "ip:port:host" (v2.3.0) or "ip:port" (v2.5.1). Of two members on one point the later wins.
  void Add(std::string_view member);
  bool empty() const { return points_.empty(); }
  // Index, in order of Add(), of the member for `task_id`: the first point strictly behind its CRC-32. nullopt when
  // empty.
  std::optional<size_t> Pick(std::string_view task_id) const;
  // All members, each once, in ring order beginning with Pick().
  std::vector<size_t> Order(std::string_view task_id) const;

 private:
  struct Point {
    uint32_t hash;
    size_t index;
  };
  // Where the walk for `task_id` begins in points_.
  size_t Start(std::string_view task_id) const;

  std::vector<Point> points_;  // sorted by hash
  size_t added_ = 0;
};

}  // namespace dragonfly
