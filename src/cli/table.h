// SPDX-License-Identifier: Apache-2.0
// Tables of the command line tools. Source of their form: client v1.5.1, dragonfly-client/src/bin/dfctl.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"

namespace dragonfly::cli {

// Rows of cells without lines between them: each cell has a blank on both sides and is padded to the width of its
// column, one more blank stands between columns. Everything is left-aligned.
class Table {
 public:
  explicit Table(std::vector<std::string> header);
  // A row with fewer cells than the header is filled up with empty ones.
  void AddRow(std::vector<std::string> cells);
  // The header line alone when there are no rows.
  std::string ToString() const;

 private:
  std::vector<std::vector<std::string>> rows_;  // the header first
};

// "5 B", "1.0 MiB".
std::string ByteText(uint64_t bytes);
// "2025-07-01 10:00:00" in local time.
std::string LocalTimeText(absl::Time time);

}  // namespace dragonfly::cli
