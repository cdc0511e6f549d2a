// SPDX-License-Identifier: Apache-2.0
// What a Section holds while a document is read. Of this folder only.
#pragma once

#include <charconv>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/text.h"
#include "config/document.h"
#include "config/section.h"

namespace dragonfly::config {

// What is said about one file: texts by line, those of one line in the order of the reads.
struct Findings {
  using ByLine = std::multimap<int, std::string>;

  std::string file_name;
  Dialect dialect;
  ByLine errors;
  ByLine warnings;
  std::vector<std::string> sources;  // of overrides; line -1 is the first one's

  // What is reported of them, each with the file and the line, or the override; a hundred at most.
  std::vector<std::string> Lines(const ByLine& findings) const;
};

// A key as it stands in a path: quoted when it is more than a name.
std::string PathPart(std::string_view key);
// "a list", ...
std::string_view KindName(DocumentNode::Kind kind);
// The integers of YAML's core schema: decimal with a sign, 0x and 0o.
template <typename T>
std::optional<T> ParseYamlInteger(std::string_view text) {
  int base = 10;
  if (text.starts_with("0x") || text.starts_with("0o")) {
    base = text[1] == 'x' ? 16 : 8;
    text.remove_prefix(2);
    if (text.starts_with('-')) return std::nullopt;
  } else if (text.starts_with('+')) {
    text.remove_prefix(1);
    if (text.starts_with('-')) return std::nullopt;
  }
  T value{};
  const auto result = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (result.ec != std::errc() || result.ptr != text.data() + text.size()) return std::nullopt;
  return value;
}

struct Section::State {
  // Per entry of the mapping: whether somebody asked for it, and the sections that were read from its value.
  struct Use {
    bool asked = false;
    std::vector<std::shared_ptr<State>> sections;
  };

  State(std::shared_ptr<Findings> to, std::shared_ptr<const DocumentNode> of, std::string at)
      : findings(std::move(to)), node(std::move(of)), path(std::move(at)), uses(node->entries.size()) {}
  // Describes into `to` instead of reading.
  State(Describer* to, Dialect dialect)
      : findings(std::make_shared<Findings>(Findings{.file_name = "", .dialect = dialect})),
        node(std::make_shared<const DocumentNode>()),
        describer(to) {}

  bool SameKey(std::string_view a, std::string_view b) const {
    return findings->dialect == Dialect::kGo ? EqualsIgnoreCase(a, b) : a == b;
  }

  std::string PathOf(std::string_view key) const {
    return path.empty() ? PathPart(key) : StrCat(path, ".", PathPart(key));
  }

  void Error(int line, std::string_view at, std::string_view reason) {
    findings->errors.emplace(line, StrCat(at, ": ", reason));
  }

  // The entries spelled `key`, null or not.
  std::vector<size_t> IndicesOf(std::string_view key) const;

  // The one entry for the key, an alias or else an older name. Marks all of them as asked for.
  const DocumentEntry* Find(std::string_view key, const KeyOptions& opts);

  // The one entry for `key` or an alias that is not null, or nullptr. Marks all of them as asked for.
  const DocumentEntry* Find(std::string_view key, const std::vector<std::string>& aliases);

  // As Find(), for a key whose value must be of `kind`.
  const DocumentEntry* FindKind(std::string_view key, DocumentNode::Kind kind, const KeyOptions& opts = {});

  void WrongKind(const DocumentEntry& entry, std::string_view at, const DocumentNode& value, DocumentNode::Kind wanted);

  void WrongValue(const DocumentEntry& entry, std::string_view reason) {
    Error(entry.value->line, PathOf(entry.key), reason);
  }

  bool CheckBounds(const DocumentEntry& entry, double value, const KeyOptions& opts, std::string_view unit);

  // The text of a number or boolean; nullptr, and the error reported, when it is quoted where that makes it a text.
  const std::string* LiteralText(const DocumentEntry& entry, std::string_view wanted);

  template <typename T>
  void ReadInteger(std::string_view key, T* out, const KeyOptions& opts, T max = std::numeric_limits<T>::max()) {
    const DocumentEntry* entry = FindKind(key, DocumentNode::Kind::kScalar, opts);
    if (entry == nullptr) return;
    const std::string* text = LiteralText(*entry, "a whole number");
    if (text == nullptr) return;
    const std::optional<T> value = ParseYamlInteger<T>(*text);
    if (!value || *value > max) {
      const bool negative = std::is_unsigned_v<T> && ParseYamlInteger<int64_t>(*text).value_or(0) < 0;
      WrongValue(*entry, negative ? std::string("must not be negative")
                                  : StrCat("must be a whole number up to ", max, ", not ", Quoted(*text)));
      return;
    }
    if (CheckBounds(*entry, static_cast<double>(*value), opts, "")) *out = *value;
  }

  std::shared_ptr<State> Child(size_t index, std::shared_ptr<const DocumentNode> of, std::string at);

  size_t IndexOf(const DocumentEntry* entry) const { return static_cast<size_t>(entry - node->entries.data()); }

  // Adds a warning for each key below that nobody asked for.
  void ReportUnknown();

  std::shared_ptr<Findings> findings;
  std::shared_ptr<const DocumentNode> node;  // a mapping
  std::string path;
  std::vector<Use> uses;
  Describer* describer = nullptr;  // set: describe instead of reading
};

}  // namespace dragonfly::config
