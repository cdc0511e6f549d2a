// SPDX-License-Identifier: Apache-2.0
#include "cli/include_globs.h"

#include <fnmatch.h>

#include <algorithm>

#include "absl/strings/str_join.h"
#include "base/text.h"

namespace dragonfly::cli {
namespace {

constexpr std::string_view kAnyDepth = "**";

std::vector<std::string> Components(std::string_view path) {
  std::vector<std::string> components;
  for (;;) {
    const size_t slash = path.find('/');
    components.emplace_back(path.substr(0, slash));
    if (slash == path.npos) return components;
    path.remove_prefix(slash + 1);
  }
}

// Every '[' must be closed; "**" stands alone in its component.
bool IsGlob(std::string_view component) {
  if (component.find('\0') != component.npos) return false;
  if (component != kAnyDepth && component.find(kAnyDepth) != component.npos) return false;
  for (size_t at = component.find('['); at != component.npos; at = component.find('[', at)) {
    // A ']' right behind the bracket, or behind its '!', is a member of the set.
    size_t first = at + 1;
    if (first < component.size() && component[first] == '!') ++first;
    const size_t close = first < component.size() ? component.find(']', first + 1) : component.npos;
    if (close == component.npos) return false;
    at = close + 1;
  }
  return true;
}

bool IsPlain(std::string_view component) { return component.find_first_of("*?[") == component.npos; }

bool MatchComponent(const std::string& pattern, const std::string& component) {
  return ::fnmatch(pattern.c_str(), component.c_str(), FNM_NOESCAPE) == 0;
}

// Walks the path once and keeps which prefixes of the pattern have matched so far, so that no pattern is slow.
bool MatchPath(const std::vector<std::string>& pattern, const std::vector<std::string>& path) {
  std::vector<bool> reached(pattern.size() + 1, false);
  const auto skip_any_depth = [&](std::vector<bool>& states) {
    for (size_t i = 0; i < pattern.size(); ++i) {
      if (states[i] && pattern[i] == kAnyDepth) states[i + 1] = true;
    }
  };
  reached[0] = true;
  skip_any_depth(reached);
  for (const std::string& component : path) {
    std::vector<bool> next(reached.size(), false);
    for (size_t i = 0; i < pattern.size(); ++i) {
      if (!reached[i]) continue;
      if (pattern[i] == kAnyDepth) {
        next[i] = true;
      } else if (MatchComponent(pattern[i], component)) {
        next[i + 1] = true;
      }
    }
    skip_any_depth(next);
    reached = std::move(next);
  }
  return reached.back();
}

}  // namespace

absl::StatusOr<IncludeGlobs> IncludeGlobs::Parse(const std::vector<std::string>& patterns) {
  IncludeGlobs globs;
  for (const std::string& pattern : patterns) {
    std::vector<std::string> components = Components(pattern);
    if (!std::all_of(components.begin(), components.end(), IsGlob)) {
      return absl::InvalidArgumentError(StrCat("invalid glob pattern in include_files: '", pattern, "'"));
    }
    if (components.size() > 1 && components.back().empty()) {
      components.back() = kAnyDepth;
      components.emplace_back("*");
    }
    const bool normal = std::none_of(components.begin(), components.end(), [](const std::string& component) {
      return component.empty() || component == "." || component == "..";
    });
    if (!normal) {
      return absl::InvalidArgumentError(StrCat("path is not a normal relative path in include_files: '", pattern,
                                               "'. It must not contain '..', '.', or start with '/'."));
    }
    globs.patterns_.push_back(std::move(components));
  }
  return globs;
}

bool IncludeGlobs::Match(std::string_view path) const {
  if (patterns_.empty()) return true;
  const std::vector<std::string> components = Components(path);
  return std::any_of(patterns_.begin(), patterns_.end(),
                     [&](const std::vector<std::string>& pattern) { return MatchPath(pattern, components); });
}

std::vector<std::string> IncludeGlobs::PlainPaths() const {
  std::vector<std::string> paths;
  for (const std::vector<std::string>& pattern : patterns_) {
    if (!std::all_of(pattern.begin(), pattern.end(), IsPlain)) return {};
    paths.push_back(absl::StrJoin(pattern, "/"));
  }
  std::sort(paths.begin(), paths.end());
  paths.erase(std::unique(paths.begin(), paths.end()), paths.end());
  return paths;
}

}  // namespace dragonfly::cli
