// SPDX-License-Identifier: Apache-2.0
// The two-line progress bar of a download on a terminal.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace dragonfly::cli {

// One state of a bar as text, without terminal control; `elapsed` and the mean rate give the time left. `total` 0 means
// that the length is not known.
std::string FormatProgress(uint64_t done, uint64_t total, std::chrono::milliseconds elapsed);

// Draws to standard error, at most 20 times a second. Not thread-safe.
class ProgressBar {
 public:
  // Draws nothing when `enabled` is false.
  ProgressBar(std::string title, bool enabled);
  // Leaves the last state on the screen.
  ~ProgressBar();
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  void SetTotal(uint64_t bytes);
  void Advance(uint64_t bytes);

 private:
  void Draw();

  using Clock = std::chrono::steady_clock;
  const std::string title_;
  const bool enabled_;
  const Clock::time_point started_ = Clock::now();
  Clock::time_point drawn_at_{};
  bool drawn_ = false;
  uint64_t done_ = 0;
  uint64_t total_ = 0;
};

}  // namespace dragonfly::cli
