// SPDX-License-Identifier: Apache-2.0
// YAML files to structs: unknown keys warn with their path, wrong values stop with file, line, key and reason.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "config/description.h"

namespace dragonfly::config {

// How durations and sizes are written in a file.
enum class Dialect { kRust, kGo };

// What one key may be.
struct KeyOptions {
  std::vector<std::string> aliases;  // other spellings of the key
  std::vector<std::string> older;    // earlier names of the key; the key itself wins over them, with a warning
  std::optional<double> min;         // inclusive bounds of numbers, bytes, and seconds of durations
  std::optional<double> max;
  std::vector<std::string> one_of;  // allowed texts
  // Of a text, or of each text of a list: says what is wrong, or nothing.
  std::function<std::optional<std::string>(const std::string&)> check;
  std::string kind;       // what the text is, for descriptions: "IP address"
  bool secret = false;    // descriptions show that there is a value, not which
  std::string no_effect;  // why the key does nothing; a file that sets it gets a warning
};

// One mapping of a YAML document, read key by key into variables that hold the defaults. Each Key() call names a key
// that may be absent (then the variable keeps its default) or null (same). Of a key and its aliases the file may use
// one; older names give way to it. A wrong value leaves the variable alone and is reported. After everything was read,
// keys that nobody asked for are the unknown ones.
//
// The dialects: in Go's, keys are found in any case, numbers and booleans may be quoted, a list of strings may be one
// text with commas, the names of a StringMap become lower case, and durations are Go's. In Rust's, keys are exact,
// numbers and booleans must not be quoted, and a duration that is a plain integer counts seconds, with a warning.
// Durations are never negative unless `min` is.
//
//   Section root = ...;
//   root.Sub("download", [&](Section& download) {
//     download.Bytes("rateLimit", &config.download.rate_limit, {.aliases = {"bandwidthLimit"}});
//     download.Duration("pieceTimeout", &config.download.piece_timeout);
//   });
class Section {
 public:
  using Opts = KeyOptions;

  void Bool(std::string_view key, bool* out, const Opts& opts = Opts());
  void Int(std::string_view key, int64_t* out, const Opts& opts = Opts());
  void Uint(std::string_view key, uint64_t* out, const Opts& opts = Opts());
  void Port(std::string_view key, uint16_t* out, const Opts& opts = Opts());
  void Double(std::string_view key, double* out, const Opts& opts = Opts());
  void String(std::string_view key, std::string* out, const Opts& opts = Opts());
  void Bytes(std::string_view key, uint64_t* out, const Opts& opts = Opts());
  void Duration(std::string_view key, absl::Duration* out, const Opts& opts = Opts());
  void Strings(std::string_view key, std::vector<std::string>* out, const Opts& opts = Opts());
  // Names to texts; a list of texts gives one pair each.
  void StringMap(std::string_view key, std::vector<std::pair<std::string, std::string>>* out,
                 const Opts& opts = Opts());
  // The same list, where the absence of the key and its null stay apart from an empty list.
  void Strings(std::string_view key, std::optional<std::vector<std::string>>* out, const Opts& opts = Opts());
  // One of some names, as a value of an enumeration.
  template <typename E>
  void Enum(std::string_view key, E* out, const std::vector<std::pair<std::string, E>>& names);
  // A nested mapping; `read` is not called when it is absent.
  void Sub(std::string_view key, const std::function<void(Section&)>& read);
  // A nested mapping that may be switched off: null takes the value away, a mapping is read into the value or, when
  // there is none, into a new one. `read` is called as read(Section&, T&).
  template <typename T, typename Read>
  void Sub(std::string_view key, std::optional<T>* out, Read read);
  // A list of mappings; `read` is called for each.
  void List(std::string_view key, const std::function<void(Section&)>& read);
  // The same into values: what `out` held is replaced when the key is there. `read` is called as read(Section&, T&).
  template <typename T, typename Read>
  void List(std::string_view key, std::vector<T>* out, Read read);
  // Keys that are known but have no effect here: neither read nor reported.
  void Ignore(std::string_view key);
  // Reports a wrong value of `key` found by the caller's own check.
  void Fail(std::string_view key, std::string_view reason);
  // Reports that the value of `key` does not do what its reader may expect.
  void Warn(std::string_view key, std::string_view text);
  // True when the key is there and not null.
  bool Has(std::string_view key) const;
  // True when the key is there and null.
  bool IsNull(std::string_view key) const;

  struct State;
  explicit Section(std::shared_ptr<State> state);

 private:
  bool describes() const;
  std::string DurationAsWritten(absl::Duration duration) const;
  void DescribeAbsent(std::string_view key, const std::function<void(Section&)>& read);
  void DescribeElements(std::string_view key, size_t count, const std::function<void(Section&, size_t)>& read);
  std::shared_ptr<State> state_;
};

// A value from elsewhere that takes the place of a file's: an environment variable, say.
struct Override {
  std::string source;  // for messages: "SCHEDULER_SERVER_PORT"
  std::string path;    // "server.port"; names with dots between them
  std::string value;   // as a quoted scalar
};

struct LoadResult {
  std::vector<std::string> warnings;  // "dfdaemon.yaml:12: unknown key download.foo"
};

// Parses YAML `text` (named `file_name` in messages) and hands the root mapping to `read`. An empty document is an
// empty mapping. Bounds: 1 MiB, 64 levels, 100 000 values with aliases followed. Errors: INVALID_ARGUMENT
// "<file>:<line>: <key path>: <reason>", all of them, one a line.
absl::StatusOr<LoadResult> LoadText(std::string_view text, std::string_view file_name, Dialect dialect,
                                    const std::function<void(Section&)>& read);
// The same for a file. Errors: NOT_FOUND and others of reading it, too.
absl::StatusOr<LoadResult> LoadFile(const std::string& path, Dialect dialect,
                                    const std::function<void(Section&)>& read);
// The same for a file, or for an empty document when `path` is empty, with `overrides` in it. What is wrong with an
// override is reported as "<source>: <key path>: <reason>".
absl::StatusOr<LoadResult> LoadFile(const std::string& path, const std::vector<Override>& overrides, Dialect dialect,
                                    const std::function<void(Section&)>& read);

struct LoadReport {
  std::vector<std::string> errors;    // "dfdaemon.yaml:12: download.pieceTimeout: <reason>"
  std::vector<std::string> warnings;  // as in LoadResult
};

// LoadFile() for who wants to know everything about a file, good or bad: what it has for errors, one a line, is an
// element of `errors`. The variables of `read` hold what was right.
LoadReport CheckFile(const std::string& path, Dialect dialect, const std::function<void(Section&)>& read);
LoadReport CheckFile(const std::string& path, const std::vector<Override>& overrides, Dialect dialect,
                     const std::function<void(Section&)>& read);

// What `read` asks for and what its variables hold now, instead of reading: they keep their values, every Has() is
// false, and Fail() and Warn() do nothing. Of a list of mappings the keys are described once, with the values of a new
// element when the list is empty. Values are written in `dialect`. User information in URLs and secrets are masked.
Description Describe(const std::function<void(Section&)>& read, Dialect dialect = Dialect::kRust);

template <typename E>
void Section::Enum(std::string_view key, E* out, const std::vector<std::pair<std::string, E>>& names) {
  std::string text;
  Opts opts;
  for (const auto& [name, value] : names) {
    if (value == *out) text = name;
    opts.one_of.push_back(name);
  }
  String(key, &text, opts);
  for (const auto& [name, value] : names) {
    if (name == text) *out = value;
  }
}

template <typename T, typename Read>
void Section::Sub(std::string_view key, std::optional<T>* out, Read read) {
  if (describes() && !out->has_value()) {
    T value;
    return DescribeAbsent(key, [&](Section& section) { read(section, value); });
  }
  if (IsNull(key)) out->reset();
  if (Has(key) && !out->has_value()) *out = T();
  Sub(key, [&](Section& section) { read(section, **out); });
}

template <typename T, typename Read>
void Section::List(std::string_view key, std::vector<T>* out, Read read) {
  if (describes()) {
    T none{};
    return DescribeElements(key, out->size(), [&](Section& section, size_t index) {
      read(section, index < out->size() ? (*out)[index] : none);
    });
  }
  if (Has(key)) out->clear();
  List(key, [&](Section& section) { read(section, out->emplace_back()); });
}

}  // namespace dragonfly::config
