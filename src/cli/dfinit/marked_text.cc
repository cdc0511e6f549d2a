// SPDX-License-Identifier: Apache-2.0
#include "cli/dfinit/marked_text.h"

#include "absl/status/status.h"
#include "base/text.h"

namespace dragonfly::cli {
namespace {

constexpr std::string_view kBegin = "# dfinit-begin";
constexpr std::string_view kBeginLine =
    "# dfinit-begin: 'dfinit --uninstall' takes the lines up to dfinit-end out again";
constexpr std::string_view kEnd = "# dfinit-end";
constexpr std::string_view kWas = "# dfinit-was: ";

// Calls `each` with every line including its end.
template <typename Each>
void ForEachLine(std::string_view text, Each each) {
  while (!text.empty()) {
    const size_t end = text.find('\n');
    const size_t length = end == std::string_view::npos ? text.size() : end + 1;
    each(text.substr(0, length));
    text.remove_prefix(length);
  }
}

std::string_view WithoutEnd(std::string_view line) {
  if (line.ends_with('\n')) line.remove_suffix(1);
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

std::string_view LineEnd(std::string_view text) {
  const size_t end = text.find('\n');
  return end != std::string_view::npos && end > 0 && text[end - 1] == '\r' ? "\r\n" : "\n";
}

}  // namespace

std::vector<std::string_view> LinesOf(std::string_view text) {
  std::vector<std::string_view> lines;
  ForEachLine(text, [&](std::string_view line) { lines.push_back(WithoutEnd(line)); });
  return lines;
}

std::string WithMarked(std::string_view text, const std::vector<LineEdit>& edits) {
  const std::string_view line_end = LineEnd(text);
  std::string result;
  const auto add = [&](std::string_view prefix, std::string_view line) {
    result.append(prefix);
    result.append(line);
    result.append(line_end);
  };
  auto edit = edits.begin();
  size_t number = 0;
  size_t to_replace = 0;
  const auto begin_edit = [&] {
    if (!result.empty() && !result.ends_with('\n')) result.append(line_end);
    add("", kBeginLine);
    to_replace = edit->replaced;
  };
  const auto end_edit = [&] {
    for (const std::string& line : edit->lines) add("", line);
    add("", kEnd);
    ++edit;
  };
  ForEachLine(text, [&](std::string_view line) {
    ++number;
    while (to_replace == 0 && edit != edits.end() && edit->at == number) {
      begin_edit();
      if (to_replace == 0) end_edit();
    }
    if (to_replace == 0) {
      result.append(line);
      return;
    }
    add(kWas, WithoutEnd(line));
    if (--to_replace == 0) end_edit();
  });
  for (; edit != edits.end();) {
    begin_edit();
    end_edit();
  }
  return result;
}

bool HasMarked(std::string_view text) {
  bool found = false;
  ForEachLine(text, [&](std::string_view line) { found = found || line.starts_with(kBegin); });
  return found;
}

absl::StatusOr<std::string> WithoutMarked(std::string_view text, std::string_view name) {
  std::string result;
  size_t number = 0;
  size_t begun = 0;
  size_t unpaired = 0;
  ForEachLine(text, [&](std::string_view line) {
    ++number;
    if (line.starts_with(kBegin)) {
      if (begun > 0 && unpaired == 0) unpaired = begun;
      begun = number;
    } else if (WithoutEnd(line) == kEnd) {
      if (begun == 0 && unpaired == 0) unpaired = number;
      begun = 0;
    } else if (begun == 0) {
      result.append(line);
    } else if (line.starts_with(kWas)) {
      result.append(line.substr(kWas.size()));
    }
  });
  if (unpaired == 0) unpaired = begun;
  if (unpaired > 0) {
    return absl::FailedPreconditionError(
        StrCat(name, ":", unpaired, ": the comments '", kBegin, "' and '", kEnd, "' do not pair; mend or remove them"));
  }
  return result;
}

}  // namespace dragonfly::cli
