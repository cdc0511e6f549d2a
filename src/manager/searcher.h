// SPDX-License-Identifier: Apache-2.0
// Which scheduler clusters fit a peer best. Terms and weights: dragonfly v2.3.0, manager/searcher/searcher.go.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace dragonfly::manager {

// Where a peer is.
struct PeerPlace {
  std::string ip;
  std::string hostname;
  std::string idc;
  std::string location;
};

// The scopes of one cluster, ready to be compared. Thread-safe.
class Scopes {
 public:
  // `json`: {"idc", "location", "cidrs", "hostnames"}, each optional; empty and null have none. Networks and regular
  // expressions that are none are left out. Errors: INVALID_ARGUMENT for what is no such object.
  static absl::StatusOr<std::shared_ptr<const Scopes>> Parse(const std::string& json);
  ~Scopes();

  // 0 to 1: 0.30 for a network, 0.30 for a host name, 0.25 for the idc, up to 0.14 for the location, 0.01 for the
  // default cluster.
  double Score(const PeerPlace& peer, bool is_default) const;

 private:
  struct State;
  explicit Scopes(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

struct Candidate {
  uint64_t id = 0;
  std::shared_ptr<const Scopes> scopes;  // null: they cannot be read, which fits worst
  bool is_default = false;
};

// The places in `candidates`, best first; of equal ones the lower id first.
std::vector<size_t> OrderByScore(const std::vector<Candidate>& candidates, const PeerPlace& peer);

}  // namespace dragonfly::manager
