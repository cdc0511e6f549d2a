// SPDX-License-Identifier: Apache-2.0
#include "scheduler/parent_graph.h"

#include <memory>
#include <random>
#include <set>
#include <vector>

#include "gtest/gtest.h"

namespace dragonfly::scheduler {
namespace {

TEST(ParentGraph, AgreesWithNaiveReachabilityOnRandomGraphs) {
  constexpr size_t kNodes = 60;
  std::mt19937 random(7);
  ParentGraph graph;
  std::vector<std::unique_ptr<GraphNode>> nodes;
  for (size_t i = 0; i < kNodes; ++i) nodes.push_back(std::make_unique<GraphNode>());
  std::vector<std::set<size_t>> children(kNodes);
  const auto naive_reaches = [&](size_t from, size_t to) {
    std::set<size_t> seen = {from};
    std::vector<size_t> stack = {from};
    while (!stack.empty()) {
      const size_t at = stack.back();
      stack.pop_back();
      if (at == to) return true;
      for (const size_t next : children[at]) {
        if (seen.insert(next).second) stack.push_back(next);
      }
    }
    return false;
  };
  int added = 0;
  for (int step = 0; step < 4000; ++step) {
    const size_t parent = random() % kNodes;
    const size_t child = random() % kNodes;
    if (children[parent].contains(child)) {
      EXPECT_TRUE(ParentGraph::HasEdge(*nodes[parent], *nodes[child]));
      ParentGraph::RemoveEdge(*nodes[parent], *nodes[child]);
      children[parent].erase(child);
      continue;
    }
    EXPECT_FALSE(ParentGraph::HasEdge(*nodes[parent], *nodes[child]));
    graph.SearchFrom(*nodes[child]);
    for (size_t i = 0; i < kNodes; ++i) ASSERT_EQ(graph.Reaches(*nodes[i]), naive_reaches(child, i));
    if (graph.Reaches(*nodes[parent])) continue;
    ParentGraph::AddEdge(*nodes[parent], *nodes[child]);
    children[parent].insert(child);
    ++added;
  }
  EXPECT_GT(added, 100);
}

TEST(ParentGraph, AChildReachesItself) {
  ParentGraph graph;
  GraphNode node;
  graph.SearchFrom(node);
  EXPECT_TRUE(graph.Reaches(node));
}

}  // namespace
}  // namespace dragonfly::scheduler
