// SPDX-License-Identifier: Apache-2.0
// A TOML file together with the places of its parts, for who changes single lines of it and leaves the others alone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace dragonfly::cli {

// A value or table of a TomlText, or nothing. Valid as long as its TomlText.
class TomlNode {
 public:
  TomlNode() = default;

  explicit operator bool() const { return node_ != nullptr; }
  // Of a table; nothing when there is no such key or this is no table.
  TomlNode operator[](std::string_view key) const;
  // Of an array; nothing when it is shorter.
  TomlNode operator[](size_t index) const;
  // Entries of a table, elements of an array, else 0.
  size_t size() const;
  std::vector<std::string> Keys() const;

  std::optional<std::string> String() const;
  std::optional<int64_t> Integer() const;
  std::optional<bool> Boolean() const;
  // An array of strings only.
  std::optional<std::vector<std::string>> Strings() const;

  bool IsTable() const;
  // True for a table in braces.
  bool IsInline() const;
  // True for [[...]].
  bool IsArrayOfTables() const;

  // Lines count from 1, columns too. Of a value: the part behind "key =". Of a table: its header; a table that has none
  // of its own has the place of the header that brought it.
  size_t first_line() const;
  size_t first_column() const;
  size_t last_line() const;
  size_t end_column() const;  // one behind the last
  // The last line of what stands directly in this table, with dotted keys, without tables that have headers.
  size_t LastOwnLine() const;
  // The last line of all below this table.
  size_t LastLine() const;

 private:
  friend class TomlText;
  explicit TomlNode(const void* node) : node_(node) {}
  const void* node_ = nullptr;
};

class TomlText {
 public:
  // Errors: INVALID_ARGUMENT "<name>:<line>: <reason>".
  static absl::StatusOr<TomlText> Parse(std::string text, std::string_view name);
  TomlText(TomlText&&) noexcept;
  TomlText& operator=(TomlText&&) noexcept;
  ~TomlText();

  const std::string& text() const { return text_; }
  const std::string& name() const { return name_; }
  TomlNode root() const;
  // True when `line` holds a table header of exactly these keys.
  bool IsHeaderOf(size_t line, const std::vector<std::string>& keys) const;
  // `line`, or the first of the comment lines that stand right above it.
  size_t WithComments(size_t line) const;
  size_t line_count() const { return line_count_; }
  // The line itself, without its end.
  std::string_view Line(size_t line) const;

  // Every value that is no table, by its path ("plugins.cri.registry.config_path", "registry[0].prefix").
  std::map<std::string, std::string> Values() const;

 private:
  struct Tree;
  TomlText(std::string text, std::string_view name);

  std::string text_;
  std::string name_;
  size_t line_count_ = 0;
  std::unique_ptr<Tree> tree_;
};

// `text` as a TOML string.
std::string TomlString(std::string_view text);
// `texts` as a TOML array.
std::string TomlStrings(const std::vector<std::string>& texts);

// Checks that an edit did what it should and nothing else: `after` parses, and every value of `before` that stands
// outside of `changed` (a path, and all below it) is there unchanged. Errors: FAILED_PRECONDITION that asks to write
// `wanted` by hand.
absl::StatusOr<TomlText> CheckEdit(const TomlText& before, std::string after, const std::vector<std::string>& changed,
                                   std::string_view wanted);

}  // namespace dragonfly::cli
