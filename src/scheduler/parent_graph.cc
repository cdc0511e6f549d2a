// SPDX-License-Identifier: Apache-2.0
#include "scheduler/parent_graph.h"

#include <algorithm>

namespace dragonfly::scheduler {
namespace {

// Order does not matter, so the last takes the place of the removed.
template <typename Nodes>
void Remove(Nodes& nodes, const GraphNode* node) {
  // From the end, where those are that a node drops one after another.
  const auto at = std::find(nodes.rbegin(), nodes.rend(), node);
  if (at == nodes.rend()) return;
  *at = nodes.back();
  nodes.pop_back();
}

}  // namespace

size_t ParentGraph::SearchFrom(GraphNode& child) {
  // A mark of 0 is a node that was never visited; after 2^32 searches old marks could repeat, which at worst refuses a
  // parent once.
  if (++epoch_ == 0) epoch_ = 1;
  child.mark_ = epoch_;
  stack_.assign(1, &child);
  size_t found = 1;
  while (!stack_.empty()) {
    GraphNode* node = stack_.back();
    stack_.pop_back();
    for (GraphNode* next : node->children_) {
      if (next->mark_ == epoch_) continue;
      next->mark_ = epoch_;
      stack_.push_back(next);
      ++found;
    }
  }
  return found;
}

bool ParentGraph::HasEdge(const GraphNode& parent, const GraphNode& child) {
  return std::find(child.parents_.begin(), child.parents_.end(), &parent) != child.parents_.end();
}

void ParentGraph::AddEdge(GraphNode& parent, GraphNode& child) {
  child.parents_.push_back(&parent);
  parent.children_.push_back(&child);
}

void ParentGraph::RemoveEdge(GraphNode& parent, GraphNode& child) {
  Remove(child.parents_, &parent);
  Remove(parent.children_, &child);
}

}  // namespace dragonfly::scheduler
