// SPDX-License-Identifier: Apache-2.0
#include "cli/dfinit/unified_diff.h"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "base/text.h"

namespace dragonfly::cli {
namespace {

constexpr size_t kContext = 3;
// Above it, what differs is shown as one piece: the table of the longest common subsequence would be too large.
constexpr size_t kTableMax = 16 << 20;

struct Line {
  char sign;
  std::string_view text;  // with its end
};

std::vector<std::string_view> LinesWithEnds(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const size_t length = std::min(text.find('\n'), text.size() - 1) + 1;
    lines.push_back(text.substr(0, length));
    text.remove_prefix(length);
  }
  return lines;
}

using Lines = std::vector<std::string_view>;

// Lines of `a` and `b`, from `begin` to the ends, as kept, taken away and added ones.
void Compare(const Lines& a, const Lines& b, size_t begin, size_t a_end, size_t b_end, std::vector<Line>& result) {
  const size_t rows = a_end - begin;
  const size_t columns = b_end - begin;
  size_t i = 0;
  size_t j = 0;
  if ((rows + 1) * (columns + 1) <= kTableMax) {
    // common[i][j]: lines that the rest of `a` from i and the rest of `b` from j have in common.
    std::vector<uint32_t> common((rows + 1) * (columns + 1));
    const auto at = [&](size_t row, size_t column) -> uint32_t& { return common[row * (columns + 1) + column]; };
    for (size_t row = rows; row-- > 0;) {
      for (size_t column = columns; column-- > 0;) {
        at(row, column) = a[begin + row] == b[begin + column] ? at(row + 1, column + 1) + 1
                                                              : std::max(at(row + 1, column), at(row, column + 1));
      }
    }
    while (i < rows && j < columns) {
      if (a[begin + i] == b[begin + j]) {
        result.push_back({' ', a[begin + i]});
        ++i;
        ++j;
      } else if (at(i + 1, j) >= at(i, j + 1)) {
        result.push_back({'-', a[begin + i++]});
      } else {
        result.push_back({'+', b[begin + j++]});
      }
    }
  }
  while (i < rows) result.push_back({'-', a[begin + i++]});
  while (j < columns) result.push_back({'+', b[begin + j++]});
}

std::vector<Line> Compare(const Lines& a, const Lines& b) {
  size_t begin = 0;
  while (begin < a.size() && begin < b.size() && a[begin] == b[begin]) ++begin;
  size_t a_end = a.size();
  size_t b_end = b.size();
  while (a_end > begin && b_end > begin && a[a_end - 1] == b[b_end - 1]) {
    --a_end;
    --b_end;
  }
  std::vector<Line> result;
  for (size_t i = 0; i < begin; ++i) result.push_back({' ', a[i]});
  Compare(a, b, begin, a_end, b_end, result);
  for (size_t i = a_end; i < a.size(); ++i) result.push_back({' ', a[i]});
  return result;
}

// "3,7", "3" for one line, and the line before for none.
std::string Range(size_t first, size_t count) {
  if (count == 0) return StrCat(first - 1, ",0");
  return count == 1 ? StrCat(first) : StrCat(first, ",", count);
}

}  // namespace

std::string UnifiedDiff(std::string_view path, const std::optional<std::string>& before,
                        const std::optional<std::string>& after) {
  if (before == after) return {};
  const std::string a = before.value_or("");
  const std::string b = after.value_or("");
  const std::vector<Line> lines = Compare(LinesWithEnds(a), LinesWithEnds(b));
  std::string result = StrCat("--- ", before ? path : "/dev/null", "\n+++ ", after ? path : "/dev/null", "\n");

  size_t a_line = 1;  // of lines[i]
  size_t b_line = 1;
  for (size_t i = 0; i < lines.size();) {
    // The next hunk goes from three lines before a change to three lines behind the last one that is near.
    size_t change = i;
    while (change < lines.size() && lines[change].sign == ' ') ++change;
    if (change == lines.size()) break;
    const size_t begin = std::max(i, change - std::min(change, kContext));
    size_t end = change;
    for (size_t k = change; k < lines.size() && k <= end + 2 * kContext; ++k) {
      if (lines[k].sign != ' ') end = k + 1;
    }
    end = std::min(end + kContext, lines.size());
    a_line += begin - i;
    b_line += begin - i;

    std::string hunk;
    size_t a_count = 0;
    size_t b_count = 0;
    for (size_t k = begin; k < end; ++k) {
      a_count += lines[k].sign != '+';
      b_count += lines[k].sign != '-';
      hunk += StrCat(std::string(1, lines[k].sign), lines[k].text);
      if (!lines[k].text.ends_with('\n')) hunk += "\n\\ No newline at end of file\n";
    }
    result += StrCat("@@ -", Range(a_line, a_count), " +", Range(b_line, b_count), " @@\n", hunk);
    a_line += a_count;
    b_line += b_count;
    i = end;
  }
  return result;
}

}  // namespace dragonfly::cli
