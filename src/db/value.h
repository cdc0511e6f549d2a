// SPDX-License-Identifier: Apache-2.0
// What goes into a statement and what comes out of it, the same for every database.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace dragonfly::db {

struct Null {};

// A parameter. Booleans are the numbers 0 and 1; times are TimeText().
using Value = std::variant<Null, int64_t, double, std::string>;
using Values = std::vector<Value>;

// UTC with milliseconds, which every database's type for times takes: "2026-11-25 17:14:33.120".
std::string TimeText(absl::Time time);
// What the databases give for their types of times: with any number of fractional digits, with or without "+00",
// "+00:00" or "Z"; nullopt for anything else.
std::optional<absl::Time> ParseTimeText(std::string_view text);

// One row of a result, by the position of the column. A NULL reads as the empty text, 0, false, or no time.
class Row {
 public:
  explicit Row(std::vector<std::optional<std::string>> cells) : cells_(std::move(cells)) {}

  size_t size() const { return cells_.size(); }
  bool IsNull(size_t column) const { return !cells_[column].has_value(); }
  std::string Text(size_t column) const { return cells_[column].value_or(""); }
  // What is no number reads as 0: a column's type is known to whoever asks.
  int64_t Int(size_t column) const;
  // 1, t and true.
  bool Bool(size_t column) const;
  std::optional<absl::Time> Time(size_t column) const;

 private:
  std::vector<std::optional<std::string>> cells_;
};

using Rows = std::vector<Row>;

}  // namespace dragonfly::db
