// SPDX-License-Identifier: Apache-2.0
#include "cli/progress_bar.h"

#include <algorithm>
#include <cstdio>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/text.h"
#include "base/units.h"

namespace dragonfly::cli {
namespace {

constexpr int kWidth = 60;  // characters between the brackets
constexpr std::chrono::milliseconds kRedrawInterval{50};

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

ProgressBar::ProgressBar(std::string title, bool enabled) : title_(std::move(title)), enabled_(enabled) {}

ProgressBar::~ProgressBar() {
  if (!enabled_ || !drawn_) return;
  Draw();
  std::fputc('\n', stderr);
}

void ProgressBar::SetTotal(uint64_t bytes) {
  total_ = bytes;
  if (enabled_) Draw();
}

void ProgressBar::Advance(uint64_t bytes) {
  done_ += bytes;
  if (enabled_ && Clock::now() - drawn_at_ >= kRedrawInterval) Draw();
}

void ProgressBar::Draw() {
  const auto elapsed = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - started_);
  // Title once, then the second line again and again in its place.
  std::string out;
  if (!drawn_) out += StrCat("\x1b[1m", title_, "\x1b[0m\n");
  out += StrCat("\r\x1b[2K", FormatProgress(done_, total_, elapsed));
  std::fwrite(out.data(), 1, out.size(), stderr);
  std::fflush(stderr);
  drawn_ = true;
  drawn_at_ = Clock::now();
}

}  // namespace dragonfly::cli
