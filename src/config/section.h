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
  // A nested mapping; `read` is not called when it is absent.
  void Sub(std::string_view key, const std::function<void(Section&)>& read);
  // A list of mappings; `read` is called for each.
  void List(std::string_view key, const std::function<void(Section&)>& read);
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
  std::shared_ptr<State> state_;
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

}  // namespace dragonfly::config
