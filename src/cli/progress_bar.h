// SPDX-License-Identifier: Apache-2.0
// The progress of a download on a terminal: two lines that are drawn again and again, or plain lines.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace dragonfly::cli {

// One state of a bar as text, without terminal control; `elapsed` and the mean rate give the time left. `total` 0 means
// that the length is not known.
std::string FormatProgress(uint64_t done, uint64_t total, std::chrono::milliseconds elapsed);

// The same as a plain line: " 50% 50.00 MiB of 100.00 MiB (25.00 MiB/s)".
std::string FormatProgressLine(uint64_t done, uint64_t total, std::chrono::milliseconds elapsed);

// `text` with control characters replaced by '?': a name from an origin must not steer the user's terminal.
std::string TerminalSafe(std::string_view text);

enum class ProgressStyle {
  kNone,
  kBar,    // drawn in place
  kLines,  // a line every few seconds, for terminals that cannot move the cursor
};

// How standard error takes progress: not at all unless it is a terminal, in lines when TERM is dumb or not set.
ProgressStyle ProgressStyleOfTerminal();

// Draws to standard error, at most 20 times a second. Not thread-safe.
class ProgressBar {
 public:
  ProgressBar(std::string title, ProgressStyle style);
  ~ProgressBar() { End(); }
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  void SetTotal(uint64_t bytes);
  void AddTotal(uint64_t bytes) { SetTotal(total_ + bytes); }
  void Advance(uint64_t bytes);
  // Leaves the last state on the screen, on a line of its own; nothing is drawn any more.
  void End();
  // Shown behind the figures: "3 of 10 files".
  void SetNote(std::string note);

 private:
  void Draw();
  void DrawWhenDue();

  using Clock = std::chrono::steady_clock;
  const std::string title_;
  const ProgressStyle style_;
  const Clock::time_point started_ = Clock::now();
  Clock::time_point drawn_at_{};
  bool drawn_ = false;
  bool ended_ = false;
  uint64_t done_ = 0;
  uint64_t total_ = 0;
  std::string note_;
};

}  // namespace dragonfly::cli
