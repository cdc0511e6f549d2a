// SPDX-License-Identifier: Apache-2.0
// Lines that dfinit puts into files of others. They stand between two comment lines, and what they replaced stands
// there as a comment, so that the file itself tells how to bring it back, whatever else was changed since:
//
//   # dfinit-begin: 'dfinit --uninstall' takes the lines up to dfinit-end out again
//   # dfinit-was:   config_path = ""
//     config_path = "/etc/containerd/certs.d"
//   # dfinit-end
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace dragonfly::cli {

// Puts `lines` before line `at` of a text, in place of `replaced` lines from there.
struct LineEdit {
  size_t at;  // counted from 1; one more than there are lines: at the end
  size_t replaced = 0;
  std::vector<std::string> lines;
};

// `text` with the edits, each marked. They must be in the order of their lines and apart from each other. Lines end as
// the first one of `text` does; a last line without an end gets one when something follows.
std::string WithMarked(std::string_view text, const std::vector<LineEdit>& edits);

bool HasMarked(std::string_view text);

// `text` as it was before its marked lines came. Errors: FAILED_PRECONDITION "<name>:<line>: ..." when the two comment
// lines do not pair.
absl::StatusOr<std::string> WithoutMarked(std::string_view text, std::string_view name);

// The lines of `text` without their ends.
std::vector<std::string_view> LinesOf(std::string_view text);

}  // namespace dragonfly::cli
