// SPDX-License-Identifier: Apache-2.0
#include "network.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace dragonfly::swarm {
namespace {

// Changes below this are not worth the computing.
constexpr double kTolerance = 0.02;

}  // namespace

Network::Link Network::AddLink(double capacity) {
  LinkState link;
  link.capacity = link.share = capacity;
  links_.push_back(std::move(link));
  return static_cast<Link>(links_.size() - 1);
}

double Network::LimitElsewhere(const FlowState& flow, Link here) const {
  double limit = kNever;
  for (const Link link : flow.hop) {
    if (link != kNone && link != here) limit = std::min(limit, links_[link].share);
  }
  return limit;
}

void Network::MarkDirty(Link link) {
  if (std::exchange(links_[link].dirty, true)) return;
  dirty_.push_back(link);
}

void Network::Share(Link id, double now) {
  LinkState& link = links_[id];
  const double before = link.share;
  if (link.flows.empty()) {
    link.share = link.capacity;
    return;
  }
  // Those that are limited elsewhere take less than an equal share; the rest is shared by the others.
  double share = link.capacity / static_cast<double>(link.flows.size());
  for (int pass = 0; pass < 6; ++pass) {
    double taken = 0;
    double largest = 0;
    size_t open = 0;
    for (const uint32_t flow : link.flows) {
      const double limit = LimitElsewhere(flows_[flow], id);
      if (limit < share) {
        taken += limit;
        largest = std::max(largest, limit);
      } else {
        ++open;
      }
    }
    const double next =
        open > 0 ? (link.capacity - taken) / static_cast<double>(open) : link.capacity - taken + largest;
    if (next <= share * (1 + 1e-6)) break;
    share = next;
    if (open == 0) break;
  }
  link.share = share;
  if (std::abs(share - before) < kTolerance * before) return;
  for (const uint32_t flow : link.flows) {
    for (const Link other : flows_[flow].hop) {
      if (other == kNone || other == id) continue;
      if (std::min(before, share) < links_[other].share * (1 + kTolerance)) MarkDirty(other);
    }
  }
  if (!dirty_.empty()) settle_at_ = std::min(settle_at_, now + kSettle);
}

void Network::SetRate(FlowState& flow, double now) {
  double rate = kNever;
  for (const Link link : flow.hop) {
    if (link != kNone) rate = std::min(rate, links_[link].share);
  }
  if (std::abs(rate - flow.rate) < 0.005 * flow.rate) return;
  const double sent = std::min(flow.left, flow.rate * (now - flow.since));
  flow.left -= sent;
  for (const Link link : flow.hop) {
    if (link != kNone) links_[link].bytes += sent;
  }
  flow.since = now;
  flow.rate = rate;
  ends_changed_.push_back(flow.hop[1]);
}

void Network::SetRates(Link link, double now) {
  for (const uint32_t flow : links_[link].flows) SetRate(flows_[flow], now);
}

void Network::FindNextEnd(Link id) {
  LinkState& link = links_[id];
  double next = kNever;
  for (const uint32_t flow : link.flows) {
    const FlowState& f = flows_[flow];
    next = std::min(next, f.since + f.left / f.rate);
  }
  if (next == link.next_end) return;
  link.next_end = next;
  HeapUpdate(id);
}

Network::Flow Network::Start(Link from, Link to, Link wan_from, Link wan_to, double bytes, uint64_t tag, double now) {
  uint32_t id = 0;
  if (free_.empty()) {
    id = static_cast<uint32_t>(flows_.size());
    flows_.emplace_back();
  } else {
    id = free_.back();
    free_.pop_back();
  }
  FlowState& flow = flows_[id];
  flow = FlowState();
  flow.left = bytes;
  flow.since = now;
  flow.tag = tag;
  const Link hops[kHops] = {from, to, wan_from, wan_to};
  for (int i = 0; i < kHops; ++i) {
    flow.hop[i] = hops[i];
    if (hops[i] == kNone) continue;
    flow.at[i] = static_cast<uint32_t>(links_[hops[i]].flows.size());
    links_[hops[i]].flows.push_back(id);
  }
  for (const Link link : hops) {
    if (link != kNone) Share(link, now);
  }
  for (const Link link : hops) {
    if (link != kNone) SetRates(link, now);
  }
  for (const Link link : std::exchange(ends_changed_, {})) FindNextEnd(link);
  return id;
}

void Network::Remove(uint32_t id) {
  FlowState& flow = flows_[id];
  for (int i = 0; i < kHops; ++i) {
    if (flow.hop[i] == kNone) continue;
    std::vector<uint32_t>& list = links_[flow.hop[i]].flows;
    const uint32_t last = list.back();
    list[flow.at[i]] = last;
    for (int k = 0; k < kHops; ++k) {
      if (flows_[last].hop[k] == flow.hop[i]) flows_[last].at[k] = flow.at[i];
    }
    list.pop_back();
  }
  free_.push_back(id);
}

double Network::Stop(Flow id, double now) {
  FlowState& flow = flows_[id];
  const double sent = std::min(flow.left, flow.rate * (now - flow.since));
  flow.left -= sent;
  const double left = flow.left;
  const FlowState copy = flow;
  for (const Link link : copy.hop) {
    if (link != kNone) links_[link].bytes += sent;
  }
  Remove(id);
  for (const Link link : copy.hop) {
    if (link != kNone) Share(link, now);
  }
  for (const Link link : copy.hop) {
    if (link != kNone) SetRates(link, now);
  }
  ends_changed_.push_back(copy.hop[1]);
  for (const Link link : std::exchange(ends_changed_, {})) FindNextEnd(link);
  return left;
}

double Network::NextEvent() const {
  const double end = heap_.empty() ? kNever : links_[heap_.front()].next_end;
  return std::min(end, settle_at_);
}

std::optional<uint64_t> Network::Advance(double now) {
  if (settle_at_ <= now) {
    settle_at_ = kNever;
    const std::vector<Link> dirty = std::exchange(dirty_, {});
    for (const Link link : dirty) links_[link].dirty = false;
    for (const Link link : dirty) Share(link, now);
    for (const Link link : dirty) SetRates(link, now);
    for (const Link link : std::exchange(ends_changed_, {})) FindNextEnd(link);
  }
  if (heap_.empty() || links_[heap_.front()].next_end > now) return std::nullopt;
  const Link link = heap_.front();
  Flow done = kNoFlow;
  double first = kNever;
  for (const Flow flow : links_[link].flows) {
    const FlowState& f = flows_[flow];
    const double end = f.since + f.left / f.rate;
    if (end < first) {
      first = end;
      done = flow;
    }
  }
  const uint64_t tag = flows_[done].tag;
  Stop(done, now);
  return tag;
}

void Network::HeapPlace(uint32_t at, Link link) {
  heap_[at] = link;
  links_[link].heap_at = at;
}

void Network::HeapUpdate(Link link) {
  uint32_t at = links_[link].heap_at;
  if (at == UINT32_MAX) {
    heap_.push_back(link);
    at = static_cast<uint32_t>(heap_.size() - 1);
    HeapPlace(at, link);
  }
  HeapUp(at);
  HeapDown(links_[link].heap_at);
}

void Network::HeapUp(uint32_t at) {
  const Link link = heap_[at];
  while (at > 0) {
    const uint32_t up = (at - 1) / 4;
    if (links_[heap_[up]].next_end <= links_[link].next_end) break;
    HeapPlace(at, heap_[up]);
    at = up;
  }
  HeapPlace(at, link);
}

void Network::HeapDown(uint32_t at) {
  const Link link = heap_[at];
  for (;;) {
    uint32_t best = at;
    double best_end = links_[link].next_end;
    for (uint32_t child = 4 * at + 1; child <= 4 * at + 4 && child < heap_.size(); ++child) {
      if (links_[heap_[child]].next_end < best_end) {
        best = child;
        best_end = links_[heap_[child]].next_end;
      }
    }
    if (best == at) break;
    HeapPlace(at, heap_[best]);
    at = best;
  }
  HeapPlace(at, link);
}

}  // namespace dragonfly::swarm
