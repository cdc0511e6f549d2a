// SPDX-License-Identifier: Apache-2.0
#include "config/description.h"

#include <algorithm>
#include <array>

#include "absl/strings/ascii.h"
#include "absl/strings/str_join.h"
#include "base/text.h"
#include "base/units.h"
#include "config/section.h"

namespace dragonfly::config {
namespace {

bool NeedsQuotes(std::string_view text) {
  if (text.empty() || !absl::ascii_isalpha(static_cast<unsigned char>(text[0]))) {
    // A path is the only text without a letter in front that no reader takes for something else.
    if (text.size() < 2 || text[0] != '/') return true;
  }
  for (const std::string_view word : {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}) {
    if (EqualsIgnoreCase(text, word)) return true;
  }
  return !std::ranges::all_of(text, [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '-' || c == '.' || c == '/';
  });
}

std::string BoundText(double bound, std::string_view kind) {
  if (kind == "size") return ByteSizeText(static_cast<uint64_t>(bound));
  if (kind == "duration") return DurationText(absl::Seconds(bound));
  return bound == static_cast<double>(static_cast<int64_t>(bound)) ? StrCat(static_cast<int64_t>(bound))
                                                                   : StrCat(bound);
}

std::string KindText(std::string_view kind, const KeyOptions& opts) {
  std::string text(opts.kind.empty() ? kind : opts.kind);
  if (!opts.one_of.empty()) return StrCat("one of ", absl::StrJoin(opts.one_of, ", "));
  if (opts.min && opts.max) {
    text += StrCat(", ", BoundText(*opts.min, kind), " to ", BoundText(*opts.max, kind));
  } else if (opts.min) {
    text += StrCat(", at least ", BoundText(*opts.min, kind));
  } else if (opts.max) {
    text += StrCat(", at most ", BoundText(*opts.max, kind));
  }
  return text;
}

}  // namespace

std::string YamlText(std::string_view text) {
  if (!NeedsQuotes(text)) return std::string(text);
  constexpr std::string_view kHex = "0123456789abcdef";
  std::string quoted = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      quoted += '\\';
      quoted += c;
    } else if (byte < 0x20 || byte == 0x7f) {
      quoted += "\\x";
      quoted += kHex[byte >> 4];
      quoted += kHex[byte & 15];
    } else {
      quoted += c;
    }
  }
  return quoted + "\"";
}

std::string ByteSizeText(uint64_t bytes) {
  struct Unit {
    uint64_t bytes;
    std::string_view name;
  };
  constexpr auto kUnits = std::to_array<Unit>({{1ull << 40, "TiB"},
                                               {1'000'000'000'000, "TB"},
                                               {1ull << 30, "GiB"},
                                               {1'000'000'000, "GB"},
                                               {1ull << 20, "MiB"},
                                               {1'000'000, "MB"},
                                               {1ull << 10, "KiB"},
                                               {1'000, "KB"}});
  for (const Unit& unit : kUnits) {
    if (bytes != 0 && bytes % unit.bytes == 0) return StrCat(bytes / unit.bytes, unit.name);
  }
  return StrCat(bytes);
}

std::string Describer::PathOf(std::string_view key) const {
  return path_.empty() ? std::string(key) : StrCat(path_, ".", key);
}

void Describer::Key(std::string_view key, std::string_view kind, std::string_view value, const KeyOptions& opts) {
  KeyDescription description;
  description.path = PathOf(key);
  description.kind = KindText(kind, opts);
  description.value = std::string(value);
  for (const std::string& older : opts.older) description.older.push_back(PathOf(older));
  description.has_effect = opts.no_effect.empty();
  keys_.push_back(std::move(description));
  if (opts.no_effect.empty()) Line(key, value);
}

void Describer::Lines(std::string_view key, std::string_view kind, const std::vector<std::string>& lines,
                      std::string_view when_empty, const KeyOptions& opts) {
  if (lines.empty()) return Key(key, kind, when_empty, opts);
  const size_t size = yaml_.size();
  Key(key, kind, when_empty, opts);
  if (yaml_.size() == size) return;
  yaml_.resize(size);
  Line(key, "");
  for (const std::string& line : lines) yaml_ += StrCat(Indent(depth_ + 1), line, "\n");
}

void Describer::Line(std::string_view key, std::string_view text) {
  yaml_ += StrCat(Indent(depth_), key, ":", text.empty() ? "" : " ", text, "\n");
}

Describer Describer::Section(std::string_view key) const { return Describer(keys_, PathOf(key), depth_ + 1); }

Describer Describer::Element(std::string_view key) const {
  return Describer(keys_, StrCat(PathOf(key), "[]"), depth_ + 2);
}

void Describer::AddSection(std::string_view key, const Describer& section) {
  if (section.yaml_.empty()) return;
  Line(key, "");
  yaml_ += section.yaml_;
}

void Describer::AddElements(std::string_view key, const std::vector<Describer>& elements) {
  if (elements.empty()) return Line(key, "[]");
  Line(key, "");
  for (const Describer& element : elements) {
    std::string text = element.yaml_;
    if (text.empty()) {
      text = StrCat(Indent(depth_ + 1), "- {}\n");
    } else {
      text[2 * depth_ + 2] = '-';
    }
    yaml_ += text;
  }
}

}  // namespace dragonfly::config
