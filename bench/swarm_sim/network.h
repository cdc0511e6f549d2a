// SPDX-License-Identifier: Apache-2.0
// A network of hosts in virtual time: transfers share the capacities of the links that they cross.
//
// Sharing is max-min fair, as many TCP connections tend to be. It is computed as a network would find it: a link that
// a transfer joins or leaves shares anew at once, and what this means for the other ends of its transfers is found
// within kSettle, not in the same instant.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace dragonfly::swarm {

class Network {
 public:
  using Link = uint32_t;
  using Flow = uint32_t;
  static constexpr Flow kNoFlow = UINT32_MAX;
  static constexpr double kSettle = 0.003;  // seconds
  static constexpr double kNever = 1e300;

  // `capacity` in bytes a second.
  Link AddLink(double capacity);

  // `from`: the sender's uplink; `to`: the receiver's downlink; `wan_from`, `wan_to`: shared links in between, or
  // kNone.
  static constexpr Link kNone = UINT32_MAX;
  Flow Start(Link from, Link to, Link wan_from, Link wan_to, double bytes, uint64_t tag, double now);
  // Bytes that were not sent yet.
  double Stop(Flow flow, double now);

  // When Advance() is due.
  double NextEvent() const;
  // To be called at NextEvent(); the tag of a transfer that has ended.
  std::optional<uint64_t> Advance(double now);

  double bytes_through(Link link) const { return links_[link].bytes; }

 private:
  static constexpr int kHops = 4;
  struct LinkState {
    double capacity = 0;
    double share = 0;  // what a transfer that is not limited elsewhere gets
    double bytes = 0;
    std::vector<uint32_t> flows;
    bool dirty = false;
    double next_end = kNever;  // of downlinks: when the first of its transfers ends
    uint32_t heap_at = UINT32_MAX;
  };
  struct FlowState {
    Link hop[kHops] = {kNone, kNone, kNone, kNone};
    uint32_t at[kHops] = {0, 0, 0, 0};  // place in the link's list
    double left = 0;
    double rate = 0;
    double since = 0;
    uint64_t tag = 0;
  };

  double LimitElsewhere(const FlowState& flow, Link here) const;
  void Share(Link link, double now);
  void SetRates(Link link, double now);
  void SetRate(FlowState& flow, double now);
  void FindNextEnd(Link link);
  void MarkDirty(Link link);
  void Remove(uint32_t id);
  // A heap of the downlinks by next_end.
  void HeapUpdate(Link link);
  void HeapUp(uint32_t at);
  void HeapDown(uint32_t at);
  void HeapPlace(uint32_t at, Link link);

  std::vector<LinkState> links_;
  std::vector<FlowState> flows_;
  std::vector<uint32_t> free_;
  std::vector<Link> dirty_;
  std::vector<Link> heap_;
  std::vector<Link> ends_changed_;
  double settle_at_ = kNever;
};

}  // namespace dragonfly::swarm
