// SPDX-License-Identifier: Apache-2.0
#include "telemetry/log.h"

#include <spdlog/logger.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/sinks/stdout_sinks.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdio>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "base/status.h"
#include "base/text.h"
#include "telemetry/hourly_file.h"
#include "telemetry/log_level.h"

namespace dragonfly::log {
namespace {

struct LevelName {
  Level level;
  const char* name;
  const char* number;
  spdlog::level::level_enum of_library;
};
constexpr std::array<LevelName, 6> kLevels{{
    {Level::kTrace, "TRACE", "5", spdlog::level::trace},
    {Level::kDebug, "DEBUG", "4", spdlog::level::debug},
    {Level::kInfo, "INFO", "3", spdlog::level::info},
    {Level::kWarn, "WARN", "2", spdlog::level::warn},
    {Level::kError, "ERROR", "1", spdlog::level::err},
    {Level::kOff, "OFF", "0", spdlog::level::off},
}};

spdlog::level::level_enum ToLibrary(Level level) { return kLevels[static_cast<size_t>(level)].of_library; }

class UpperCaseLevel final : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& message, const std::tm& /*time*/, spdlog::memory_buf_t& line) override {
    for (const LevelName& level : kLevels) {
      if (level.of_library != message.level) continue;
      const std::string_view name = level.name;
      line.append(name.data(), name.data() + name.size());
    }
  }
  std::unique_ptr<custom_flag_formatter> clone() const override { return std::make_unique<UpperCaseLevel>(); }
};

std::unique_ptr<spdlog::formatter> MakeFormatter() {
  auto formatter = std::make_unique<spdlog::pattern_formatter>();
  formatter->add_flag<UpperCaseLevel>('*').set_pattern("%Y-%m-%dT%H:%M:%S.%f%z %* %s:%#: %v");
  return formatter;
}

class FileSink final : public spdlog::sinks::base_sink<std::mutex> {
 public:
  explicit FileSink(HourlyFile file) : file_(std::move(file)) {}

 private:
  void sink_it_(const spdlog::details::log_msg& message) override {
    spdlog::memory_buf_t line;
    base_sink::formatter_->format(message, line);
    const absl::Status status = file_.Write(std::string_view(line.data(), line.size()), message.time);
    // The library reports it on standard error, at most once a second.
    if (!status.ok()) throw spdlog::spdlog_ex(std::string(MessageOf(status)));
  }
  void flush_() override {}  // every line is written at once

  HourlyFile file_;
};

// The logger of the process. It is never destroyed, since destructors of other globals may log, and an earlier one is
// kept, since another thread may be inside of it.
struct Current {
  std::atomic<spdlog::logger*> logger;
  std::atomic<Level> level{Level::kWarn};
  std::mutex mutex;
  std::vector<std::unique_ptr<spdlog::logger>> all;

  Current() {
    Use(std::make_unique<spdlog::logger>("", std::make_shared<spdlog::sinks::stderr_sink_mt>()), Level::kWarn);
  }

  void Use(std::unique_ptr<spdlog::logger> next, Level next_level) {
    const std::lock_guard lock(mutex);
    next->set_formatter(MakeFormatter());
    next->set_level(ToLibrary(next_level));
    // Standard output is buffered when it is no terminal.
    next->flush_on(spdlog::level::info);
    logger.store(next.get(), std::memory_order_release);
    level.store(next_level, std::memory_order_relaxed);
    all.push_back(std::move(next));
  }
};

Current& TheCurrent() {
  static Current* const current = new Current;
  return *current;
}

// A message is one line, whatever a stranger put into it.
std::string OneLine(std::string_view text) {
  std::string line;
  line.reserve(text.size() + 8);
  for (const char c : text) {
    if (c == '\n')
      line += "\\n";
    else if (c == '\r')
      line += "\\r";
    else
      line += c;
  }
  return line;
}

}  // namespace

absl::StatusOr<Level> ParseLevel(std::string_view text) {
  for (const LevelName& level : kLevels) {
    if (level.level == Level::kOff) continue;
    if (EqualsIgnoreCase(text, level.name) || text == level.number) return level.level;
  }
  return absl::InvalidArgumentError(
      StrCat("log level ", Quoted(text), " is none of trace, debug, info, warn, error and 5 to 1"));
}

std::optional<Level> ParseFilter(std::string_view filter) {
  constexpr std::string_view kOurs = "dragonfly";
  std::optional<Level> general;
  std::optional<Level> ours;
  bool any = false;
  while (!filter.empty()) {
    const std::string_view directive = TrimSpace(filter.substr(0, filter.find(',')));
    filter.remove_prefix(
        std::min(filter.find(',') == filter.npos ? filter.size() : filter.find(',') + 1, filter.size()));
    const size_t equals = directive.rfind('=');
    const std::string_view name = equals == directive.npos ? directive : directive.substr(equals + 1);
    const absl::StatusOr<Level> parsed = EqualsIgnoreCase(name, "off") ? Level::kOff : ParseLevel(name);
    const std::string_view target = equals == directive.npos ? "" : directive.substr(0, equals);
    // A target alone stands for all of its messages.
    const bool all = !parsed.ok() && equals == directive.npos && directive.starts_with(kOurs);
    if (!parsed.ok() && !all) continue;
    any = true;
    const Level level = all ? Level::kTrace : *parsed;
    if (equals == directive.npos && !all) {
      general = level;
    } else if ((all || target.starts_with(kOurs)) && directive.find('[') == directive.npos) {
      ours = ours ? std::min(*ours, level) : level;
    }
  }
  if (!any) return std::nullopt;
  return ours.value_or(general.value_or(Level::kError));
}

absl::Status Setup(const Options& options) {
  std::vector<spdlog::sink_ptr> sinks;
  if (!options.dir.empty()) {
    DF_ASSIGN_OR_RETURN(HourlyFile file, HourlyFile::Open(options.dir, options.name, options.files_max,
                                                          std::chrono::system_clock::now(), options.file_bytes_max));
    sinks.push_back(std::make_shared<FileSink>(std::move(file)));
  }
  if (options.console) sinks.push_back(std::make_shared<spdlog::sinks::stdout_sink_mt>());
  TheCurrent().Use(std::make_unique<spdlog::logger>(options.name, sinks.begin(), sinks.end()), options.level);
  return absl::OkStatus();
}

Level NextLevel() {
  Current& current = TheCurrent();
  const std::lock_guard lock(current.mutex);
  Level next = Level::kDebug;
  switch (current.level.load(std::memory_order_relaxed)) {
    case Level::kDebug:
      next = Level::kInfo;
      break;
    case Level::kInfo:
      next = Level::kWarn;
      break;
    case Level::kWarn:
      next = Level::kError;
      break;
    default:
      break;
  }
  current.logger.load(std::memory_order_acquire)->set_level(ToLibrary(next));
  current.level.store(next, std::memory_order_relaxed);
  return next;
}

void Flush() { TheCurrent().logger.load(std::memory_order_acquire)->flush(); }

bool Enabled(Level level) {
  return level >= TheCurrent().level.load(std::memory_order_relaxed) && level != Level::kOff;
}

void Write(Level level, const char* file, int line, std::string_view message) {
  spdlog::logger* const logger = TheCurrent().logger.load(std::memory_order_acquire);
  const spdlog::source_loc where(file, line, "");
  if (message.find_first_of("\n\r") == std::string_view::npos) {
    logger->log(where, ToLibrary(level), spdlog::string_view_t(message.data(), message.size()));
    return;
  }
  const std::string one_line = OneLine(message);
  logger->log(where, ToLibrary(level), spdlog::string_view_t(one_line.data(), one_line.size()));
}

}  // namespace dragonfly::log
