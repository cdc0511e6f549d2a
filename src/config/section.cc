// SPDX-License-Identifier: Apache-2.0
#include "config/section.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "absl/strings/ascii.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/status.h"
#include "base/text.h"
#include "base/units.h"
#include "config/section_state.h"

namespace dragonfly::config {
namespace {

using Kind = DocumentNode::Kind;

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

}  // namespace

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

}  // namespace dragonfly::config
