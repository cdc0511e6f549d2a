// SPDX-License-Identifier: Apache-2.0
// A YAML document as a tree, read within bounds: no file can fill memory, overflow the stack or multiply itself by
// aliases.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace dragonfly::config {

inline constexpr size_t kFileSizeMax = 1 << 20;  // bytes
inline constexpr size_t kNestingMax = 64;        // mappings and lists within each other
inline constexpr size_t kNodesMax = 100'000;     // every alias counted as a copy of what it names

struct DocumentNode;

struct DocumentEntry {
  std::string key;
  int line;
  std::shared_ptr<const DocumentNode> value;
};

struct DocumentNode {
  enum class Kind { kNull, kScalar, kList, kMap };

  Kind kind = Kind::kNull;
  int line = 1;
  std::string text;    // of a scalar
  bool plain = false;  // a scalar without quotes and tag: it may be a number or a boolean
  std::vector<std::shared_ptr<const DocumentNode>> items;  // of a list
  std::vector<DocumentEntry> entries;                      // of a mapping, in the order of the file

  // Of the tree below and with this node, aliases followed.
  size_t nodes = 1;
  size_t height = 1;
};

// Errors: INVALID_ARGUMENT "<file_name>:<line>: <reason>" for what is no YAML, holds more than one document, or passes
// a bound.
absl::StatusOr<std::shared_ptr<const DocumentNode>> ParseDocument(std::string_view text, std::string_view file_name);

}  // namespace dragonfly::config
