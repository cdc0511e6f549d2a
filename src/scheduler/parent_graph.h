// SPDX-License-Identifier: Apache-2.0
// Who downloads from whom in one task: a directed graph, parent to child, that never closes a circle.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/container/inlined_vector.h"

namespace dragonfly::scheduler {

// A vertex; peers derive from it. Belongs to one graph.
class GraphNode {
 public:
  GraphNode() = default;
  GraphNode(const GraphNode&) = delete;
  GraphNode& operator=(const GraphNode&) = delete;

  const absl::InlinedVector<GraphNode*, 4>& parents() const { return parents_; }
  const std::vector<GraphNode*>& children() const { return children_; }

 private:
  friend class ParentGraph;
  absl::InlinedVector<GraphNode*, 4> parents_;
  std::vector<GraphNode*> children_;
  uint32_t mark_ = 0;
};

// The edges live in the nodes; the graph owns only the marks of its searches.
class ParentGraph {
 public:
  // One search for all candidates of `child`: afterwards Reaches(node) tells whether `node` is `child` itself or one of
  // its descendants, which would close a circle as its parent. A child without children, the usual case, costs nothing.
  // Valid until the next call or the next change of the graph.
  // Returns the number of nodes that were found.
  size_t SearchFrom(GraphNode& child);
  bool Reaches(const GraphNode& node) const { return node.mark_ == epoch_; }

  static bool HasEdge(const GraphNode& parent, const GraphNode& child);
  // The edge must not exist and must not close a circle (checked with SearchFrom by the caller).
  static void AddEdge(GraphNode& parent, GraphNode& child);
  // The edge must exist.
  static void RemoveEdge(GraphNode& parent, GraphNode& child);

 private:
  uint32_t epoch_ = 0;
  std::vector<GraphNode*> stack_;
};

}  // namespace dragonfly::scheduler
