// SPDX-License-Identifier: Apache-2.0
#include "config/section_state.h"

#include <algorithm>

#include "absl/strings/ascii.h"

namespace dragonfly::config {

using Kind = DocumentNode::Kind;

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

std::vector<std::string> Findings::Lines(const ByLine& findings) const {
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

std::vector<size_t> Section::State::IndicesOf(std::string_view key) const {
  std::vector<size_t> indices;
  for (size_t i = 0; i < node->entries.size(); ++i) {
    if (SameKey(node->entries[i].key, key)) indices.push_back(i);
  }
  return indices;
}

const DocumentEntry* Section::State::Find(std::string_view key, const KeyOptions& opts) {
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

const DocumentEntry* Section::State::Find(std::string_view key, const std::vector<std::string>& aliases) {
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

const DocumentEntry* Section::State::FindKind(std::string_view key, Kind kind, const KeyOptions& opts) {
  const DocumentEntry* entry = Find(key, opts);
  if (entry == nullptr || entry->value->kind == kind) return entry;
  WrongKind(*entry, PathOf(entry->key), *entry->value, kind);
  return nullptr;
}

void Section::State::WrongKind(const DocumentEntry& entry, std::string_view at, const DocumentNode& value,
                               Kind wanted) {
  Error(value.kind == Kind::kNull ? entry.line : value.line, at,
        StrCat("must be ", KindName(wanted), ", not ", KindName(value.kind)));
}

bool Section::State::CheckBounds(const DocumentEntry& entry, double value, const KeyOptions& opts,
                                 std::string_view unit) {
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

const std::string* Section::State::LiteralText(const DocumentEntry& entry, std::string_view wanted) {
  if (entry.value->plain || findings->dialect == Dialect::kGo) return &entry.value->text;
  WrongValue(entry, StrCat("must be ", wanted, ", not a text in quotes"));
  return nullptr;
}

std::shared_ptr<Section::State> Section::State::Child(size_t index, std::shared_ptr<const DocumentNode> of,
                                                      std::string at) {
  auto child = std::make_shared<State>(findings, std::move(of), std::move(at));
  uses[index].sections.push_back(child);
  return child;
}

void Section::State::ReportUnknown() {
  for (size_t i = 0; i < uses.size(); ++i) {
    const DocumentEntry& entry = node->entries[i];
    if (!uses[i].asked) findings->warnings.emplace(entry.line, StrCat("unknown key ", PathOf(entry.key)));
    for (const std::shared_ptr<State>& section : uses[i].sections) section->ReportUnknown();
  }
}

}  // namespace dragonfly::config
