// SPDX-License-Identifier: Apache-2.0
// YAML files to structs: unknown keys warn with their path, wrong values stop with file, line, key and reason.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace dragonfly::config {

// How durations and sizes are written in a file.
enum class Dialect { kRust, kGo };

// One mapping of a YAML document, read key by key into variables that hold the defaults. Each Key() call names a key
// that may be absent (then the variable keeps its default) or null (same). `aliases` are other spellings of the key; the
// file may use one of them. After everything was read, keys that nobody asked for are the unknown ones.
//
//   Section root = ...;
//   root.Sub("download", [&](Section& download) {
//     download.Bytes("rateLimit", &config.download.rate_limit, {.aliases = {"bandwidthLimit"}});
//     download.Duration("pieceTimeout", &config.download.piece_timeout);
//   });
class Section {
 public:
  struct Opts {
    Opts() = default;
    Opts(std::vector<std::string> names) : aliases(std::move(names)) {}
    std::vector<std::string> aliases;
    std::optional<double> min;  // inclusive bounds of numbers, bytes, and seconds of durations
    std::optional<double> max;
    std::vector<std::string> one_of;  // allowed texts
  };

  void Bool(std::string_view key, bool* out, const Opts& opts = Opts());
  void Int(std::string_view key, int64_t* out, const Opts& opts = Opts());
  void Uint(std::string_view key, uint64_t* out, const Opts& opts = Opts());
  void Port(std::string_view key, uint16_t* out, const Opts& opts = Opts());
  void Double(std::string_view key, double* out, const Opts& opts = Opts());
  void String(std::string_view key, std::string* out, const Opts& opts = Opts());
  void Bytes(std::string_view key, uint64_t* out, const Opts& opts = Opts());
  void Duration(std::string_view key, absl::Duration* out, const Opts& opts = Opts());
  void Strings(std::string_view key, std::vector<std::string>* out, const Opts& opts = Opts());
  void StringMap(std::string_view key, std::vector<std::pair<std::string, std::string>>* out, const Opts& opts = Opts());
  // A nested mapping; `read` is not called when it is absent.
  void Sub(std::string_view key, const std::function<void(Section&)>& read);
  // A list of mappings; `read` is called for each.
  void List(std::string_view key, const std::function<void(Section&)>& read);
  // Keys that are known but have no effect here: neither read nor reported.
  void Ignore(std::string_view key);
  // Reports a wrong value of `key` found by the caller's own check.
  void Fail(std::string_view key, std::string_view reason);
  bool Has(std::string_view key) const;

  struct State;
  explicit Section(std::shared_ptr<State> state);

 private:
  std::shared_ptr<State> state_;
};

struct LoadResult {
  std::vector<std::string> warnings;  // "dfdaemon.yaml:12: unknown key download.foo"
};

// Parses YAML `text` (named `file_name` in messages) and hands the root mapping to `read`. An empty document is an empty
// mapping. Errors: INVALID_ARGUMENT "<file>:<line>: <key path>: <reason>", all of them, one a line.
absl::StatusOr<LoadResult> LoadText(std::string_view text, std::string_view file_name, Dialect dialect,
                                    const std::function<void(Section&)>& read);
// The same for a file. Errors: NOT_FOUND and others of reading it, too.
absl::StatusOr<LoadResult> LoadFile(const std::string& path, Dialect dialect,
                                    const std::function<void(Section&)>& read);

}  // namespace dragonfly::config
