// SPDX-License-Identifier: Apache-2.0
#include "cli/progress_bar.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_format.h"
#include "base/text.h"
#include "base/units.h"

namespace dragonfly::cli {
namespace {

constexpr int kWidth = 60;  // characters between the brackets
constexpr std::chrono::milliseconds kRedrawInterval{50};
constexpr std::chrono::milliseconds kLineInterval{5'000};

uint64_t RateOf(uint64_t done, std::chrono::milliseconds elapsed) {
  return static_cast<uint64_t>(static_cast<double>(done) /
                               std::max(0.001, static_cast<double>(elapsed.count()) / 1000));
}

}  // namespace

std::string FormatProgress(uint64_t done, uint64_t total, std::chrono::milliseconds elapsed) {
  const double seconds = std::max(0.001, static_cast<double>(elapsed.count()) / 1000);
  const double rate = static_cast<double>(done) / seconds;
  const double part = total == 0 ? 0 : std::min(1.0, static_cast<double>(done) / static_cast<double>(total));
  const int filled = static_cast<int>(part * kWidth);
  std::string bar(static_cast<size_t>(filled), '=');
  if (filled < kWidth) bar += '>';
  bar.resize(kWidth, '-');

  const int64_t whole = elapsed.count() / 1000;
  const double left = rate > 0 && total > done ? static_cast<double>(total - done) / rate : 0;
  return absl::StrFormat("[%02d:%02d:%02d] [%s] %3d%% (%s/s, %.1fs)", whole / 3600, whole / 60 % 60, whole % 60, bar,
                         static_cast<int>(part * 100), FormatByteSize(static_cast<uint64_t>(rate)), left);
}

std::string FormatProgressLine(uint64_t done, uint64_t total, std::chrono::milliseconds elapsed) {
  const std::string rate = FormatByteSize(RateOf(done, elapsed));
  if (total == 0) return absl::StrFormat("  ?%% %s (%s/s)", FormatByteSize(done), rate);
  const double part = std::min(1.0, static_cast<double>(done) / static_cast<double>(total));
  return absl::StrFormat("%3d%% %s of %s (%s/s)", static_cast<int>(part * 100), FormatByteSize(done),
                         FormatByteSize(total), rate);
}

std::string TerminalSafe(std::string_view text) {
  std::string safe(text);
  for (char& c : safe) {
    if (absl::ascii_iscntrl(static_cast<unsigned char>(c))) c = '?';
  }
  return safe;
}

ProgressStyle ProgressStyleOfTerminal() {
  if (::isatty(STDERR_FILENO) != 1) return ProgressStyle::kNone;
  const char* const terminal = std::getenv("TERM");
  if (terminal == nullptr || *terminal == '\0' || std::strcmp(terminal, "dumb") == 0) return ProgressStyle::kLines;
  return ProgressStyle::kBar;
}

ProgressBar::ProgressBar(std::string title, ProgressStyle style) : title_(TerminalSafe(title)), style_(style) {}

void ProgressBar::End() {
  if (std::exchange(ended_, true) || style_ == ProgressStyle::kNone || !drawn_) return;
  Draw();
  if (style_ == ProgressStyle::kBar) std::fputc('\n', stderr);
}

void ProgressBar::SetTotal(uint64_t bytes) {
  total_ = bytes;
  DrawWhenDue();
}

void ProgressBar::Advance(uint64_t bytes) {
  done_ += bytes;
  DrawWhenDue();
}

void ProgressBar::SetNote(std::string note) {
  note_ = std::move(note);
  DrawWhenDue();
}

void ProgressBar::DrawWhenDue() {
  if (style_ == ProgressStyle::kNone || ended_) return;
  const auto interval = style_ == ProgressStyle::kBar ? kRedrawInterval : kLineInterval;
  if (!drawn_ || Clock::now() - drawn_at_ >= interval) Draw();
}

void ProgressBar::Draw() {
  const auto elapsed = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - started_);
  const std::string note = note_.empty() ? "" : StrCat(" ", note_);
  std::string out;
  if (style_ == ProgressStyle::kLines) {
    out = StrCat(drawn_ ? "" : title_, drawn_ ? "" : "\n", FormatProgressLine(done_, total_, elapsed), note, "\n");
  } else {
    // Title once, then the second line again and again in its place.
    const bool plain = std::getenv("NO_COLOR") != nullptr;
    if (!drawn_) out += StrCat(plain ? "" : "\x1b[1m", title_, plain ? "" : "\x1b[0m", "\n");
    out += StrCat("\r\x1b[2K", FormatProgress(done_, total_, elapsed), note);
  }
  std::fwrite(out.data(), 1, out.size(), stderr);
  std::fflush(stderr);
  drawn_ = true;
  drawn_at_ = Clock::now();
}

}  // namespace dragonfly::cli
