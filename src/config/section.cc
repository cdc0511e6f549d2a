// SPDX-License-Identifier: Apache-2.0
#include "config/section.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <limits>
#include <map>

#include "absl/strings/ascii.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/status.h"
#include "base/text.h"
#include "base/unique_fd.h"
#include "base/units.h"
#include "config/document.h"

namespace dragonfly::config {
namespace {

using Kind = DocumentNode::Kind;

// What is said about one file: texts by line, those of one line in the order of the reads.
struct Findings {
  using ByLine = std::multimap<int, std::string>;

  std::string file_name;
  Dialect dialect;
  ByLine errors;
  ByLine warnings;
  std::vector<std::string> sources;  // of overrides; line -1 is the first one's

  std::vector<std::string> Lines(const ByLine& findings) const {
    constexpr size_t kLinesMax = 100;
    std::vector<std::string> lines;
    for (const auto& [line, text] : findings) {
      if (lines.size() == kLinesMax) {
        lines.push_back(StrCat(file_name, ": and ", findings.size() - kLinesMax, " more"));
        break;
      }
      lines.push_back(line < 0 ? StrCat(sources[static_cast<size_t>(-line) - 1], ": ", text)
                               : StrCat(file_name, ":", line, ": ", text));
    }
    return lines;
  }
};

// A key as it stands in a path: quoted when it is more than a name.
std::string PathPart(std::string_view key) {
  constexpr size_t kPartMax = 64;
  const bool name = !key.empty() && key.size() <= kPartMax && std::ranges::all_of(key, [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '-';
  });
  return name ? std::string(key) : Quoted(key, kPartMax);
}

std::string_view KindName(Kind kind) {
  switch (kind) {
    case Kind::kNull:
      return "nothing";
    case Kind::kScalar:
      return "a single value";
    case Kind::kList:
      return "a list";
    case Kind::kMap:
      return "a mapping";
  }
  return "";
}

bool IsPlainInteger(const DocumentNode& node) {
  return node.plain && !node.text.empty() &&
         std::ranges::all_of(node.text, [](char c) { return absl::ascii_isdigit(static_cast<unsigned char>(c)); });
}

constexpr std::string_view kListOfTexts = "list of texts";

std::optional<std::string> CheckText(const std::string& text, const KeyOptions& opts) {
  return opts.check ? opts.check(text) : std::nullopt;
}

// What a description shows of a text.
std::string Shown(const std::string& text, const KeyOptions& opts) {
  constexpr std::string_view kMask = "******";
  if (opts.secret) return std::string(text.empty() ? "" : kMask);
  const size_t authority = text.find("://");
  if (authority == std::string::npos) return text;
  const size_t begin = authority + 3;
  const size_t at = text.substr(0, text.find_first_of("/?#", begin)).rfind('@');
  if (at == std::string::npos || at < begin) return text;
  return StrCat(text.substr(0, begin), kMask, text.substr(at));
}

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

}  // namespace

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
  std::vector<size_t> IndicesOf(std::string_view key) const {
    std::vector<size_t> indices;
    for (size_t i = 0; i < node->entries.size(); ++i) {
      if (SameKey(node->entries[i].key, key)) indices.push_back(i);
    }
    return indices;
  }

  // The one entry for the key, an alias or else an older name. Marks all of them as asked for.
  const DocumentEntry* Find(std::string_view key, const KeyOptions& opts) {
    const DocumentEntry* found = Find(key, opts.aliases);
    for (const std::string& older : opts.older) {
      const DocumentEntry* entry = Find(older, std::vector<std::string>());
      if (entry == nullptr) continue;
      if (found == nullptr) {
        found = entry;
      } else {
        findings->warnings.emplace(entry->line, StrCat(PathOf(entry->key), ": has no effect beside its newer name ",
                                                       PathPart(found->key), " in line ", found->line));
      }
    }
    if (found != nullptr && !opts.no_effect.empty()) {
      findings->warnings.emplace(found->line, StrCat(PathOf(found->key), ": has no effect: ", opts.no_effect));
    }
    return found;
  }

  // The one entry for `key` or an alias that is not null, or nullptr. Marks all of them as asked for.
  const DocumentEntry* Find(std::string_view key, const std::vector<std::string>& aliases) {
    std::vector<size_t> found;
    const auto collect = [&](std::string_view spelling) {
      for (const size_t index : IndicesOf(spelling)) {
        uses[index].asked = true;
        if (node->entries[index].value->kind != Kind::kNull) found.push_back(index);
      }
    };
    collect(key);
    for (const std::string& alias : aliases) collect(alias);
    if (found.empty()) return nullptr;
    if (found.size() > 1) {
      const DocumentEntry& first = node->entries[found[0]];
      const DocumentEntry& second = node->entries[found[1]];
      if (SameKey(first.key, second.key)) {
        Error(second.line, PathOf(second.key), StrCat("given twice, also in line ", first.line));
      } else {
        Error(second.line, PathOf(second.key),
              StrCat("another spelling of ", PathPart(first.key), " in line ", first.line));
      }
      return nullptr;
    }
    return &node->entries[found[0]];
  }

  // As Find(), for a key whose value must be of `kind`.
  const DocumentEntry* FindKind(std::string_view key, Kind kind, const KeyOptions& opts = {}) {
    const DocumentEntry* entry = Find(key, opts);
    if (entry == nullptr || entry->value->kind == kind) return entry;
    WrongKind(*entry, PathOf(entry->key), *entry->value, kind);
    return nullptr;
  }

  void WrongKind(const DocumentEntry& entry, std::string_view at, const DocumentNode& value, Kind wanted) {
    Error(value.kind == Kind::kNull ? entry.line : value.line, at,
          StrCat("must be ", KindName(wanted), ", not ", KindName(value.kind)));
  }

  void WrongValue(const DocumentEntry& entry, std::string_view reason) {
    Error(entry.value->line, PathOf(entry.key), reason);
  }

  bool CheckBounds(const DocumentEntry& entry, double value, const KeyOptions& opts, std::string_view unit) {
    if (opts.min && value < *opts.min) {
      WrongValue(entry, StrCat("must be at least ", *opts.min, unit));
      return false;
    }
    if (opts.max && value > *opts.max) {
      WrongValue(entry, StrCat("must be at most ", *opts.max, unit));
      return false;
    }
    return true;
  }

  // The text of a number or boolean; nullptr, and the error reported, when it is quoted where that makes it a text.
  const std::string* LiteralText(const DocumentEntry& entry, std::string_view wanted) {
    if (entry.value->plain || findings->dialect == Dialect::kGo) return &entry.value->text;
    WrongValue(entry, StrCat("must be ", wanted, ", not a text in quotes"));
    return nullptr;
  }

  template <typename T>
  void ReadInteger(std::string_view key, T* out, const KeyOptions& opts, T max = std::numeric_limits<T>::max()) {
    const DocumentEntry* entry = FindKind(key, Kind::kScalar, opts);
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

  std::shared_ptr<State> Child(size_t index, std::shared_ptr<const DocumentNode> of, std::string at) {
    auto child = std::make_shared<State>(findings, std::move(of), std::move(at));
    uses[index].sections.push_back(child);
    return child;
  }

  size_t IndexOf(const DocumentEntry* entry) const { return static_cast<size_t>(entry - node->entries.data()); }

  // Adds a warning for each key below that nobody asked for.
  void ReportUnknown() {
    for (size_t i = 0; i < uses.size(); ++i) {
      const DocumentEntry& entry = node->entries[i];
      if (!uses[i].asked) findings->warnings.emplace(entry.line, StrCat("unknown key ", PathOf(entry.key)));
      for (const std::shared_ptr<State>& section : uses[i].sections) section->ReportUnknown();
    }
  }

  std::shared_ptr<Findings> findings;
  std::shared_ptr<const DocumentNode> node;  // a mapping
  std::string path;
  std::vector<Use> uses;
  Describer* describer = nullptr;  // set: describe instead of reading
};

Section::Section(std::shared_ptr<State> state) : state_(std::move(state)) {}

void Section::Bool(std::string_view key, bool* out, const Opts& opts) {
  if (describes()) return state_->describer->Key(key, "true or false", *out ? "true" : "false", opts);
  const DocumentEntry* entry = state_->FindKind(key, Kind::kScalar, opts);
  if (entry == nullptr) return;
  const std::string* text = state_->LiteralText(*entry, "true or false");
  if (text == nullptr) return;
  const bool go = state_->findings->dialect == Dialect::kGo;
  if (EqualsIgnoreCase(*text, "true") || (go && (*text == "1" || EqualsIgnoreCase(*text, "t")))) {
    *out = true;
  } else if (EqualsIgnoreCase(*text, "false") || (go && (*text == "0" || EqualsIgnoreCase(*text, "f")))) {
    *out = false;
  } else {
    state_->WrongValue(*entry, StrCat("must be true or false, not ", Quoted(*text)));
  }
}

void Section::Int(std::string_view key, int64_t* out, const Opts& opts) {
  if (describes()) return state_->describer->Key(key, "whole number", StrCat(*out), opts);
  state_->ReadInteger(key, out, opts);
}

void Section::Uint(std::string_view key, uint64_t* out, const Opts& opts) {
  if (describes()) return state_->describer->Key(key, "whole number", StrCat(*out), opts);
  state_->ReadInteger(key, out, opts);
}

void Section::Port(std::string_view key, uint16_t* out, const Opts& opts) {
  if (describes()) return state_->describer->Key(key, "port, 0 to 65535", StrCat(*out), opts);
  state_->ReadInteger(key, out, opts);
}

void Section::Double(std::string_view key, double* out, const Opts& opts) {
  if (describes()) return state_->describer->Key(key, "number", StrCat(*out), opts);
  const DocumentEntry* entry = state_->FindKind(key, Kind::kScalar, opts);
  if (entry == nullptr) return;
  const std::string* text = state_->LiteralText(*entry, "a number");
  if (text == nullptr) return;
  double value = 0;
  const auto result = std::from_chars(text->data(), text->data() + text->size(), value);
  if (result.ec != std::errc() || result.ptr != text->data() + text->size() || !std::isfinite(value)) {
    state_->WrongValue(*entry, StrCat("must be a number, not ", Quoted(*text)));
    return;
  }
  if (state_->CheckBounds(*entry, value, opts, "")) *out = value;
}

void Section::String(std::string_view key, std::string* out, const Opts& opts) {
  if (describes()) return state_->describer->Key(key, "text", YamlText(Shown(*out, opts)), opts);
  const DocumentEntry* entry = state_->FindKind(key, Kind::kScalar, opts);
  if (entry == nullptr) return;
  const std::string& text = entry->value->text;
  if (!opts.one_of.empty() && std::ranges::find(opts.one_of, text) == opts.one_of.end()) {
    state_->WrongValue(*entry, StrCat("must be one of ", absl::StrJoin(opts.one_of, ", "), ", not ", Quoted(text)));
    return;
  }
  if (const auto wrong = CheckText(text, opts)) {
    state_->WrongValue(*entry, *wrong);
    return;
  }
  *out = text;
}

void Section::Bytes(std::string_view key, uint64_t* out, const Opts& opts) {
  if (describes()) return state_->describer->Key(key, "size", ByteSizeText(*out), opts);
  const DocumentEntry* entry = state_->FindKind(key, Kind::kScalar, opts);
  if (entry == nullptr) return;
  const absl::StatusOr<uint64_t> value = ParseByteSize(entry->value->text);
  if (!value.ok()) {
    state_->WrongValue(*entry, MessageOf(value.status()));
    return;
  }
  if (state_->CheckBounds(*entry, static_cast<double>(*value), opts, " bytes")) *out = *value;
}

std::string Section::DurationAsWritten(absl::Duration duration) const {
  if (state_->findings->dialect == Dialect::kRust) return DurationText(duration);
  return absl::FormatDuration(duration);
}

void Section::Duration(std::string_view key, absl::Duration* out, const Opts& opts) {
  if (describes()) return state_->describer->Key(key, "duration", DurationAsWritten(*out), opts);
  const DocumentEntry* entry = state_->FindKind(key, Kind::kScalar, opts);
  if (entry == nullptr) return;
  std::string text = entry->value->text;
  const bool go = state_->findings->dialect == Dialect::kGo;
  if (!go && IsPlainInteger(*entry->value) && text != "0") {
    state_->findings->warnings.emplace(
        entry->value->line,
        StrCat(state_->PathOf(entry->key), ": a duration without a unit counts seconds; write ", Quoted(text + "s")));
    text += "s";
  }
  const absl::StatusOr<absl::Duration> value = go ? ParseGoDuration(text) : ParseDuration(text);
  if (!value.ok()) {
    state_->WrongValue(*entry, MessageOf(value.status()));
    return;
  }
  if (*value < absl::ZeroDuration() && opts.min.value_or(0) >= 0) {
    state_->WrongValue(*entry, "must not be negative");
    return;
  }
  if (state_->CheckBounds(*entry, absl::ToDoubleSeconds(*value), opts, " seconds")) *out = *value;
}

void Section::Strings(std::string_view key, std::optional<std::vector<std::string>>* out, const Opts& opts) {
  if (describes() && !out->has_value()) return state_->describer->Key(key, kListOfTexts, "null", opts);
  std::vector<std::string> values = out->value_or(std::vector<std::string>());
  Strings(key, &values, opts);
  if (Has(key)) *out = std::move(values);
}

void Section::Strings(std::string_view key, std::vector<std::string>* out, const Opts& opts) {
  if (describes()) {
    std::vector<std::string> lines;
    for (const std::string& text : *out) lines.push_back(StrCat("- ", YamlText(Shown(text, opts))));
    return state_->describer->Lines(key, kListOfTexts, lines, "[]", opts);
  }
  const DocumentEntry* entry = state_->Find(key, opts);
  if (entry == nullptr) return;
  std::vector<std::string> values;
  if (entry->value->kind == Kind::kScalar && state_->findings->dialect == Dialect::kGo) {
    for (const absl::string_view part : absl::StrSplit(entry->value->text, ',', absl::SkipWhitespace())) {
      values.emplace_back(TrimSpace(ToStd(part)));
    }
  } else if (entry->value->kind != Kind::kList) {
    state_->WrongKind(*entry, state_->PathOf(entry->key), *entry->value, Kind::kList);
    return;
  } else {
    for (const auto& item : entry->value->items) {
      if (item->kind != Kind::kScalar) {
        const std::string at = StrCat(state_->PathOf(entry->key), "[", values.size(), "]");
        state_->WrongKind(*entry, at, *item, Kind::kScalar);
        return;
      }
      values.push_back(item->text);
    }
  }
  for (const std::string& value : values) {
    if (!opts.one_of.empty() && std::ranges::find(opts.one_of, value) == opts.one_of.end()) {
      state_->WrongValue(*entry,
                         StrCat("each must be one of ", absl::StrJoin(opts.one_of, ", "), ", not ", Quoted(value)));
      return;
    }
    if (const auto wrong = CheckText(value, opts)) {
      state_->WrongValue(*entry, *wrong);
      return;
    }
  }
  *out = std::move(values);
}

void Section::StringMap(std::string_view key, std::vector<std::pair<std::string, std::string>>* out, const Opts& opts) {
  if (describes()) {
    std::vector<std::string> lines;
    for (size_t i = 0; i < out->size(); ++i) {
      const auto& [name, text] = (*out)[i];
      const bool again = i > 0 && (*out)[i - 1].first == name;
      if (!again) lines.push_back(StrCat(YamlText(name), ":"));
      lines.push_back(StrCat("  - ", YamlText(Shown(text, opts))));
    }
    return state_->describer->Lines(key, "names to texts", lines, "{}", opts);
  }
  const DocumentEntry* entry = state_->FindKind(key, Kind::kMap, opts);
  if (entry == nullptr) return;
  std::vector<std::pair<std::string, std::string>> pairs;
  for (const DocumentEntry& named : entry->value->entries) {
    const std::string name = state_->findings->dialect == Dialect::kGo ? ToLowerAscii(named.key) : named.key;
    const DocumentNode& value = *named.value;
    const bool list = value.kind == Kind::kList;
    const bool texts =
        list ? std::ranges::all_of(value.items, [](const auto& item) { return item->kind == Kind::kScalar; })
             : value.kind == Kind::kScalar;
    if (!texts) {
      const std::string at = StrCat(state_->PathOf(entry->key), ".", PathPart(named.key));
      state_->Error(named.line, at, "must be a text or a list of texts");
      return;
    }
    if (list) {
      for (const auto& item : value.items) pairs.emplace_back(name, item->text);
    } else {
      pairs.emplace_back(name, value.text);
    }
  }
  *out = std::move(pairs);
}

void Section::Sub(std::string_view key, const std::function<void(Section&)>& read) {
  if (describes()) {
    Describer describer = state_->describer->Section(key);
    Section section(std::make_shared<State>(&describer, state_->findings->dialect));
    read(section);
    return state_->describer->AddSection(key, describer);
  }
  const DocumentEntry* entry = state_->FindKind(key, Kind::kMap);
  if (entry == nullptr) return;
  const size_t index = state_->IndexOf(entry);
  // A section that is read in two turns is one section: what the first does not ask for the second may.
  auto& sections = state_->uses[index].sections;
  Section section(sections.empty() ? state_->Child(index, entry->value, state_->PathOf(entry->key)) : sections.front());
  read(section);
}

void Section::List(std::string_view key, const std::function<void(Section&)>& read) {
  if (describes()) return DescribeElements(key, 0, [&](Section& section, size_t) { read(section); });
  const DocumentEntry* entry = state_->FindKind(key, Kind::kList);
  if (entry == nullptr) return;
  const size_t index = state_->IndexOf(entry);
  for (size_t i = 0; i < entry->value->items.size(); ++i) {
    const std::shared_ptr<const DocumentNode>& item = entry->value->items[i];
    std::string at = StrCat(state_->PathOf(entry->key), "[", i, "]");
    if (item->kind != Kind::kMap) {
      state_->WrongKind(*entry, at, *item, Kind::kMap);
      continue;
    }
    Section section(state_->Child(index, item, std::move(at)));
    read(section);
  }
}

void Section::Ignore(std::string_view key) {
  for (const size_t index : state_->IndicesOf(key)) state_->uses[index].asked = true;
}

void Section::Fail(std::string_view key, std::string_view reason) {
  const std::vector<size_t> indices = state_->IndicesOf(key);
  const int line = indices.empty() ? state_->node->line : state_->node->entries[indices.front()].line;
  state_->Error(line, state_->PathOf(key), reason);
}

void Section::Warn(std::string_view key, std::string_view text) {
  const std::vector<size_t> indices = state_->IndicesOf(key);
  const int line = indices.empty() ? state_->node->line : state_->node->entries[indices.front()].line;
  state_->findings->warnings.emplace(line, StrCat(state_->PathOf(key), ": ", text));
}

bool Section::IsNull(std::string_view key) const {
  const std::vector<size_t> indices = state_->IndicesOf(key);
  return !indices.empty() && !Has(key);
}

bool Section::Has(std::string_view key) const {
  const std::vector<size_t> indices = state_->IndicesOf(key);
  return std::ranges::any_of(indices,
                             [&](size_t index) { return state_->node->entries[index].value->kind != Kind::kNull; });
}

bool Section::describes() const { return state_->describer != nullptr; }

void Section::DescribeAbsent(std::string_view key, const std::function<void(Section&)>& read) {
  Describer describer = state_->describer->Section(key);
  Section section(std::make_shared<State>(&describer, state_->findings->dialect));
  read(section);
  state_->describer->Line(key, "null");
}

void Section::DescribeElements(std::string_view key, size_t count, const std::function<void(Section&, size_t)>& read) {
  Describer& own = *state_->describer;
  std::vector<Describer> elements;
  size_t keys = 0;
  for (size_t i = 0; i < std::max<size_t>(count, 1); ++i) {
    elements.push_back(own.Element(key));
    Section section(std::make_shared<State>(&elements.back(), state_->findings->dialect));
    read(section, i);
    if (i == 0) {
      keys = own.key_count();
    } else {
      own.ForgetKeysSince(keys);
    }
  }
  if (count == 0) elements.clear();
  own.AddElements(key, elements);
}

Description Describe(const std::function<void(Section&)>& read, Dialect dialect) {
  Description description;
  Describer describer(description.keys, "", 0);
  Section section(std::make_shared<Section::State>(&describer, dialect));
  read(section);
  description.yaml = describer.yaml();
  return description;
}

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
