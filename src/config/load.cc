// SPDX-License-Identifier: Apache-2.0
// Files into sections: reading, overrides, and what is reported.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "absl/strings/str_join.h"
#include "base/status.h"
#include "base/text.h"
#include "base/unique_fd.h"
#include "config/document.h"
#include "config/section_state.h"

namespace dragonfly::config {

using Kind = DocumentNode::Kind;

namespace {

// `root` with `value` at `path`; what is no mapping on the way is left alone for the reader to complain about.
std::shared_ptr<const DocumentNode> WithValue(const std::shared_ptr<const DocumentNode>& root, std::string_view path,
                                              const std::shared_ptr<const DocumentNode>& value, Dialect dialect) {
  if (path.empty()) return value;
  if (root != nullptr && root->kind != Kind::kMap && root->kind != Kind::kNull) return root;
  const size_t dot = path.find('.');
  const std::string_view name = path.substr(0, dot);
  const std::string_view rest = dot == std::string_view::npos ? std::string_view() : path.substr(dot + 1);
  auto map = root == nullptr ? std::make_shared<DocumentNode>() : std::make_shared<DocumentNode>(*root);
  map->kind = Kind::kMap;
  const auto same = [&](const DocumentEntry& entry) {
    return dialect == Dialect::kGo ? EqualsIgnoreCase(entry.key, name) : entry.key == name;
  };
  const auto found = std::ranges::find_if(map->entries, same);
  if (found != map->entries.end()) {
    found->value = WithValue(found->value, rest, value, dialect);
    if (rest.empty()) found->line = value->line;
  } else {
    map->entries.push_back(DocumentEntry{std::string(name), value->line, WithValue(nullptr, rest, value, dialect)});
  }
  return map;
}

// Errors: of a text that is no mapping.
absl::StatusOr<LoadReport> Report(std::string_view text, std::string_view file_name,
                                  const std::vector<Override>& overrides, Dialect dialect,
                                  const std::function<void(Section&)>& read) {
  DF_ASSIGN_OR_RETURN(std::shared_ptr<const DocumentNode> root, ParseDocument(text, file_name));
  auto findings = std::make_shared<Findings>(Findings{.file_name = std::string(file_name), .dialect = dialect});
  if (root->kind != Kind::kMap && root->kind != Kind::kNull) {
    return absl::InvalidArgumentError(
        StrCat(file_name, ":", root->line, ": the file must be a mapping, not ", KindName(root->kind)));
  }
  for (const Override& given : overrides) {
    findings->sources.push_back(given.source);
    auto value = std::make_shared<DocumentNode>();
    value->kind = Kind::kScalar;
    value->line = -static_cast<int>(findings->sources.size());
    value->text = given.value;
    root = WithValue(root, given.path, value, dialect);
  }
  const auto state = std::make_shared<Section::State>(findings, std::move(root), "");
  Section section(state);
  read(section);
  state->ReportUnknown();
  return LoadReport{.errors = findings->Lines(findings->errors), .warnings = findings->Lines(findings->warnings)};
}

absl::StatusOr<std::string> ReadText(const std::string& path) {
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid()) return ErrnoStatus(errno, StrCat("open ", path));
  std::string text(kFileSizeMax + 1, '\0');  // one byte more, to see that it is too large
  size_t size = 0;
  while (size < text.size()) {
    const ssize_t n = ::read(file.get(), text.data() + size, text.size() - size);
    if (n == 0) break;
    if (n < 0 && errno != EINTR) return ErrnoStatus(errno, StrCat("read ", path));
    if (n > 0) size += static_cast<size_t>(n);
  }
  text.resize(size);
  return text;
}

absl::StatusOr<LoadResult> ToResult(absl::StatusOr<LoadReport> report) {
  if (!report.ok()) return report.status();
  if (!report->errors.empty()) return absl::InvalidArgumentError(absl::StrJoin(report->errors, "\n"));
  return LoadResult{.warnings = std::move(report->warnings)};
}

// Also of no file, which is an empty document.
absl::StatusOr<LoadReport> ReportFile(const std::string& path, const std::vector<Override>& overrides, Dialect dialect,
                                      const std::function<void(Section&)>& read) {
  std::string text;
  if (!path.empty()) {
    DF_ASSIGN_OR_RETURN(text, ReadText(path));
  }
  return Report(text, path, overrides, dialect, read);
}

}  // namespace

absl::StatusOr<LoadResult> LoadText(std::string_view text, std::string_view file_name, Dialect dialect,
                                    const std::function<void(Section&)>& read) {
  return ToResult(Report(text, file_name, {}, dialect, read));
}

absl::StatusOr<LoadResult> LoadFile(const std::string& path, Dialect dialect,
                                    const std::function<void(Section&)>& read) {
  DF_ASSIGN_OR_RETURN(const std::string text, ReadText(path));
  return LoadText(text, path, dialect, read);
}

absl::StatusOr<LoadResult> LoadFile(const std::string& path, const std::vector<Override>& overrides, Dialect dialect,
                                    const std::function<void(Section&)>& read) {
  return ToResult(ReportFile(path, overrides, dialect, read));
}

LoadReport CheckFile(const std::string& path, Dialect dialect, const std::function<void(Section&)>& read) {
  const absl::StatusOr<std::string> text = ReadText(path);
  if (!text.ok()) return LoadReport{.errors = {std::string(MessageOf(text.status()))}, .warnings = {}};
  absl::StatusOr<LoadReport> report = Report(*text, path, {}, dialect, read);
  if (report.ok()) return *std::move(report);
  return LoadReport{.errors = {std::string(MessageOf(report.status()))}, .warnings = {}};
}

LoadReport CheckFile(const std::string& path, const std::vector<Override>& overrides, Dialect dialect,
                     const std::function<void(Section&)>& read) {
  absl::StatusOr<LoadReport> report = ReportFile(path, overrides, dialect, read);
  if (report.ok()) return *std::move(report);
  return LoadReport{.errors = {std::string(MessageOf(report.status()))}, .warnings = {}};
}

}  // namespace dragonfly::config
