// SPDX-License-Identifier: Apache-2.0
#include "scheduler/peer.h"

#include <algorithm>

namespace dragonfly::scheduler {

bool Peer::Blocks(std::string_view parent_id) const {
  return std::find(blocked_.begin(), blocked_.end(), parent_id) != blocked_.end();
}

void Peer::Block(std::string_view parent_id) {
  if (Blocks(parent_id)) return;
  if (blocked_.size() == kBlockedMax) blocked_.erase(blocked_.begin());
  blocked_.emplace_back(parent_id);
}

}  // namespace dragonfly::scheduler
