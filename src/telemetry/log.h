// SPDX-License-Identifier: Apache-2.0
// The log of a program: lines "2026-01-02T03:04:05.678901+00:00 INFO file.cc:12: message" to a rotating file and, when
// asked, to standard output.
#pragma once

#include <fmt/format.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace dragonfly::log {

enum class Level { kTrace, kDebug, kInfo, kWarn, kError, kOff };

// "trace", "debug", "info", "warn", "error" in any case, or "5" (trace) to "1" (error). Errors: INVALID_ARGUMENT.
absl::StatusOr<Level> ParseLevel(std::string_view text);

// The level that a filter of RUST_LOG sets for our programs: directives "level" or "target=level", separated by commas,
// of which the most specific counts. Ours are the targets that begin with "dragonfly"; those of the libraries that the
// originals are built of ("hyper=off") and span conditions ("[...]") have no meaning here. Without a directive for us
// the filter means errors alone, as there. nullopt for a filter without a directive that can be read.
std::optional<Level> ParseFilter(std::string_view filter);

struct Options {
  Options() = default;
  Level level = Level::kInfo;
  std::string dir;                 // empty: no file
  std::string name = "dragonfly";  // file <dir>/<name>.log, rotated hourly
  size_t files_max = 6;
  uint64_t file_bytes_max = 0;  // a full file begins another within the hour; 0: no bound
  bool console = false;         // to standard output
};

// Sets the program's log up; before that, warnings and errors go to standard error. A directory that cannot be written
// is an error. Call once at start; thread-safe against logging.
absl::Status Setup(const Options& options);
// Writes out what is buffered; at exit.
void Flush();

bool Enabled(Level level);
void Write(Level level, const char* file, int line, std::string_view message);

}  // namespace dragonfly::log

// DF_LOG(Info, "task {}: {} pieces", id, n): the arguments are evaluated only when the level is enabled.
#define DF_LOG(level, ...)                                                                                             \
  do {                                                                                                                 \
    if (::dragonfly::log::Enabled(::dragonfly::log::Level::k##level))                                                  \
      ::dragonfly::log::Write(::dragonfly::log::Level::k##level, __FILE_NAME__, __LINE__, ::fmt::format(__VA_ARGS__)); \
  } while (false)
