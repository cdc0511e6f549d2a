// SPDX-License-Identifier: Apache-2.0
// Which files of a directory are wanted: the patterns of --include-files.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace dragonfly::cli {

// A pattern is a relative path whose components may hold '*', '?' and '[...]', which match no slash; a component "**"
// stands for any number of components, none among them; a '/' at the end stands for everything below.
class IncludeGlobs {
 public:
  // Errors: INVALID_ARGUMENT with the text of the original, for a pattern that is no glob or no normal relative path.
  static absl::StatusOr<IncludeGlobs> Parse(const std::vector<std::string>& patterns);

  // True when a pattern matches the path relative to the directory, or when there are no patterns.
  bool Match(std::string_view path) const;

  bool empty() const { return patterns_.empty(); }

  // The paths themselves when every pattern is a plain path of a file, so that no list is needed; else empty.
  std::vector<std::string> PlainPaths() const;

 private:
  std::vector<std::vector<std::string>> patterns_;  // components of each
};

}  // namespace dragonfly::cli
