// SPDX-License-Identifier: Apache-2.0
// The scheduler's metrics, by the names of dragonfly v2.3.0, scheduler/metrics/metrics.go.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "absl/status/status.h"
#include "base/ids.h"
#include "runtime/clock.h"

namespace dragonfly::telemetry {
class Metrics;
}
namespace common::v2 {
class Host;
}

namespace dragonfly::scheduler {

class Host;
class Peer;
class Task;
struct HostFacts;
struct PieceReport;

// Counters that are one name each, with `_failure_total` beside `_total`.
enum class Call : uint8_t {
  kAnnouncePeer,
  kStatPeer,
  kDeletePeer,
  kStatTask,
  kDeleteTask,
  kListHosts,
  kDeleteHost,
  kPreheatImage,
  kStatImage,
  kPreheatFile,
  kStatFile
};
// Steps of a download, labelled by priority, task type and host type.
enum class Step : uint8_t { kRegister, kStarted, kBackToSourceStarted, kFinished, kBackToSourceFinished };
enum class Traffic : uint8_t { kBackToSource, kRemotePeer, kLocalPeer };

// Thread-safe. Label sets are looked up once and kept.
class Probe {
 public:
  // `metrics` must outlive the probe. `host_traffic`: also count bytes by host, for `metrics.enableHost`.
  Probe(telemetry::Metrics& metrics, bool host_traffic);
  ~Probe();

  void Count(Call call, const absl::Status& result);
  void CountAnnounceHost(const common::v2::Host& host, const absl::Status& result);
  void Count(Step step, int32_t priority, TaskType type, uint32_t host_type, const absl::Status& result);
  void CountPiece(Traffic traffic, TaskType type, const HostFacts& child, const HostFacts* parent, uint64_t bytes);
  void CountPieceFailure(Traffic traffic, TaskType type, const HostFacts& child);
  void StreamOpened();
  void StreamClosed();
  // From the request for parents to the answer.
  void Scheduled(Clock::duration took);
  void Downloaded(uint64_t content_length, Clock::duration took);
  // A shard was busy with one thing so long that nothing else of it could run: by the clock, and how long its thread
  // had a processor meanwhile.
  void ShardHeld(Clock::duration held, Clock::duration ran);
  // Drops the series of a host that has left.
  void Forget(std::string_view host_id);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// "1" for less than 1 MiB ... "20" for 1 TiB and more; "0" for an unknown or empty file.
std::string_view SizeLevel(uint64_t content_length);

}  // namespace dragonfly::scheduler
