// SPDX-License-Identifier: Apache-2.0
#include "cli/dfinit/toml_text.h"

#define TOML_EXCEPTIONS 0
#define TOML_HEADER_ONLY 1
#include <toml++/toml.h>

#include <algorithm>
#include <sstream>
#include <utility>

#include "absl/status/status.h"
#include "base/text.h"
#include "cli/dfinit/marked_text.h"

namespace dragonfly::cli {
namespace {

const toml::node* NodeOf(const void* node) { return static_cast<const toml::node*>(node); }

std::string PathStep(std::string_view key) {
  const bool bare = !key.empty() && std::all_of(key.begin(), key.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
  });
  return bare ? std::string(key) : TomlString(key);
}

void CollectValues(const toml::node& node, const std::string& path, std::map<std::string, std::string>& values) {
  if (const toml::table* const table = node.as_table()) {
    for (const auto& [key, value] : *table) {
      CollectValues(value, StrCat(path, path.empty() ? "" : ".", PathStep(key.str())), values);
    }
  } else if (const toml::array* const array = node.as_array(); array != nullptr && array->is_array_of_tables()) {
    for (size_t i = 0; i < array->size(); ++i) CollectValues((*array)[i], StrCat(path, "[", i, "]"), values);
  } else {
    std::ostringstream text;
    node.visit([&](const auto& value) { text << value; });
    values[path] = text.str();
  }
}

size_t LastLineBelow(const toml::node& node, bool own_only) {
  const toml::table* const table = node.as_table();
  if (table == nullptr || table->is_inline()) {
    const toml::array* const array = node.as_array();
    if (array == nullptr || !array->is_array_of_tables()) return node.source().end.line;
    size_t last = 0;
    for (const toml::node& element : *array) last = std::max(last, LastLineBelow(element, own_only));
    return last;
  }
  size_t last = table->source().begin.line;
  for (const auto& [key, value] : *table) {
    const bool has_header = (value.is_table() && !value.as_table()->is_inline()) || value.is_array_of_tables();
    if (own_only && has_header) continue;
    last = std::max(last, LastLineBelow(value, own_only));
  }
  return last;
}

}  // namespace

TomlNode TomlNode::operator[](std::string_view key) const {
  const toml::table* const table = node_ == nullptr ? nullptr : NodeOf(node_)->as_table();
  return TomlNode(table == nullptr ? nullptr : table->get(key));
}

TomlNode TomlNode::operator[](size_t index) const {
  const toml::array* const array = node_ == nullptr ? nullptr : NodeOf(node_)->as_array();
  return TomlNode(array == nullptr ? nullptr : array->get(index));
}

size_t TomlNode::size() const {
  if (node_ == nullptr) return 0;
  if (const toml::table* const table = NodeOf(node_)->as_table()) return table->size();
  if (const toml::array* const array = NodeOf(node_)->as_array()) return array->size();
  return 0;
}

std::vector<std::string> TomlNode::Keys() const {
  std::vector<std::string> keys;
  if (const toml::table* const table = node_ == nullptr ? nullptr : NodeOf(node_)->as_table()) {
    for (const auto& [key, value] : *table) keys.emplace_back(key.str());
  }
  return keys;
}

std::optional<std::string> TomlNode::String() const {
  return node_ == nullptr ? std::nullopt : NodeOf(node_)->value_exact<std::string>();
}

std::optional<int64_t> TomlNode::Integer() const {
  return node_ == nullptr ? std::nullopt : NodeOf(node_)->value_exact<int64_t>();
}

std::optional<bool> TomlNode::Boolean() const {
  return node_ == nullptr ? std::nullopt : NodeOf(node_)->value_exact<bool>();
}

std::optional<std::vector<std::string>> TomlNode::Strings() const {
  const toml::array* const array = node_ == nullptr ? nullptr : NodeOf(node_)->as_array();
  if (array == nullptr) return std::nullopt;
  std::vector<std::string> texts;
  for (const toml::node& element : *array) {
    auto text = element.value_exact<std::string>();
    if (!text) return std::nullopt;
    texts.push_back(*std::move(text));
  }
  return texts;
}

bool TomlNode::IsTable() const { return node_ != nullptr && NodeOf(node_)->is_table(); }

bool TomlNode::IsInline() const { return IsTable() && NodeOf(node_)->as_table()->is_inline(); }

bool TomlNode::IsArrayOfTables() const {
  if (node_ == nullptr || !NodeOf(node_)->is_array_of_tables()) return false;
  const toml::array& array = *NodeOf(node_)->as_array();
  return std::none_of(array.begin(), array.end(),
                      [](const toml::node& element) { return element.as_table()->is_inline(); });
}

size_t TomlNode::first_line() const { return NodeOf(node_)->source().begin.line; }
size_t TomlNode::first_column() const { return NodeOf(node_)->source().begin.column; }
size_t TomlNode::last_line() const { return NodeOf(node_)->source().end.line; }
size_t TomlNode::end_column() const { return NodeOf(node_)->source().end.column; }
size_t TomlNode::LastOwnLine() const { return LastLineBelow(*NodeOf(node_), true); }
size_t TomlNode::LastLine() const { return LastLineBelow(*NodeOf(node_), false); }

struct TomlText::Tree {
  toml::table root;
};

TomlText::TomlText(std::string text, std::string_view name)
    : text_(std::move(text)), name_(name), tree_(std::make_unique<Tree>()) {}
TomlText::TomlText(TomlText&&) noexcept = default;
TomlText& TomlText::operator=(TomlText&&) noexcept = default;
TomlText::~TomlText() = default;

absl::StatusOr<TomlText> TomlText::Parse(std::string text, std::string_view name) {
  TomlText result(std::move(text), name);
  toml::parse_result parsed = toml::parse(std::string_view(result.text_));
  if (!parsed) {
    const toml::parse_error& error = parsed.error();
    return absl::InvalidArgumentError(StrCat(name, ":", error.source().begin.line, ": ", error.description()));
  }
  result.tree_->root = std::move(parsed).table();
  result.line_count_ = LinesOf(result.text_).size();
  return result;
}

TomlNode TomlText::root() const { return TomlNode(static_cast<const toml::node*>(&tree_->root)); }

std::string_view TomlText::Line(size_t line) const {
  const std::vector<std::string_view> lines = LinesOf(text_);
  return line >= 1 && line <= lines.size() ? lines[line - 1] : std::string_view();
}

bool TomlText::IsHeaderOf(size_t line, const std::vector<std::string>& keys) const {
  if (!TrimSpace(Line(line)).starts_with('[')) return false;
  // The line is a document of its own; only its last table has no entry.
  const toml::parse_result parsed = toml::parse(Line(line));
  if (!parsed) return false;
  const toml::table* table = &parsed.table();
  for (const std::string& key : keys) {
    if (table == nullptr) return false;
    const toml::node* const next = table->get(key);
    table = next == nullptr ? nullptr : next->as_table();
  }
  return table != nullptr && table->empty();
}

size_t TomlText::WithComments(size_t line) const {
  const std::vector<std::string_view> lines = LinesOf(text_);
  while (line > 1 && line <= lines.size() && TrimSpace(lines[line - 2]).starts_with('#')) --line;
  return line;
}

std::map<std::string, std::string> TomlText::Values() const {
  std::map<std::string, std::string> values;
  CollectValues(tree_->root, "", values);
  return values;
}

std::string TomlString(std::string_view text) {
  std::string result = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') result += '\\';
    result += c;
  }
  return result + "\"";
}

std::string TomlStrings(const std::vector<std::string>& texts) {
  std::string result = "[";
  for (const std::string& text : texts) result += StrCat(result.size() > 1 ? ", " : "", TomlString(text));
  return result + "]";
}

absl::StatusOr<TomlText> CheckEdit(const TomlText& before, std::string after, const std::vector<std::string>& changed,
                                   std::string_view wanted) {
  const auto by_hand = [&](std::string_view why) {
    return absl::FailedPreconditionError(
        StrCat(before.name(), ": is written in a way that dfinit does not edit (", why, "); write by hand: ", wanted));
  };
  auto edited = TomlText::Parse(std::move(after), before.name());
  if (!edited.ok()) {
    return by_hand(std::string_view(edited.status().message().data(), edited.status().message().size()));
  }
  const std::map<std::string, std::string> values = edited->Values();
  for (const auto& entry : before.Values()) {
    const std::string& path = entry.first;
    const bool may_change = std::any_of(changed.begin(), changed.end(), [&](const std::string& prefix) {
      return path.starts_with(prefix) &&
             (path.size() == prefix.size() || path[prefix.size()] == '.' || path[prefix.size()] == '[');
    });
    if (may_change) continue;
    const auto found = values.find(path);
    if (found == values.end() || found->second != entry.second) return by_hand(StrCat("the edit would change ", path));
  }
  return edited;
}

}  // namespace dragonfly::cli
