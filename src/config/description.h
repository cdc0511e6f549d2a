// SPDX-License-Identifier: Apache-2.0
// What a reader of configuration knows: each key with its kind and value, and a file that says the same.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"

namespace dragonfly::config {

struct KeyOptions;

struct KeyDescription {
  std::string path;                // "proxy.rules[].regex"
  std::string kind;                // what it may be, in words: "whole number, 1 to 1024"
  std::string value;               // as a file would say it
  std::vector<std::string> older;  // paths of earlier names
  bool has_effect = true;
};

struct Description {
  std::vector<KeyDescription> keys;  // in the order of the reads; sections are not listed
  std::string yaml;                  // the values, for a file that loads again; without the keys that have no effect
};

// `text` as a YAML scalar that reads back as this text, quoted where it must be.
std::string YamlText(std::string_view text);

// The bytes with the largest unit that divides them: "50GB", "512KiB", "1500". ParseByteSize reads it back.
std::string ByteSizeText(uint64_t bytes);

// Collects what one mapping says. Internal to Section.
class Describer {
 public:
  Describer(std::vector<KeyDescription>& keys, std::string path, size_t depth)
      : keys_(keys), path_(std::move(path)), depth_(depth) {}

  // A key whose value is `value`, in YAML.
  void Key(std::string_view key, std::string_view kind, std::string_view value, const KeyOptions& opts);
  // A key that is a list of texts, or a mapping of names to texts when `names` is not empty.
  void Lines(std::string_view key, std::string_view kind, const std::vector<std::string>& lines,
             std::string_view when_empty, const KeyOptions& opts);
  // `key: text`, without a description.
  void Line(std::string_view key, std::string_view text);

  // For the mapping that `key` names, and for an element of the list that it names.
  Describer Section(std::string_view key) const;
  Describer Element(std::string_view key) const;
  // Takes what they said into this one's text.
  void AddSection(std::string_view key, const Describer& section);
  void AddElements(std::string_view key, const std::vector<Describer>& elements);
  // For elements after the first: their keys are described already.
  void ForgetKeysSince(size_t count) { keys_.resize(count); }
  size_t key_count() const { return keys_.size(); }

  const std::string& yaml() const { return yaml_; }

 private:
  std::string PathOf(std::string_view key) const;
  std::string Indent(size_t depth) const { return std::string(2 * depth, ' '); }

  std::vector<KeyDescription>& keys_;
  const std::string path_;
  const size_t depth_;
  std::string yaml_;
};

}  // namespace dragonfly::config
