// SPDX-License-Identifier: Apache-2.0
#include "telemetry/hourly_file.h"

#include <fcntl.h>
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <ctime>
#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "base/status.h"
#include "base/text.h"

namespace dragonfly::log {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kSuffix = ".log";

std::tm LocalTime(HourlyFile::Time time) {
  const std::time_t seconds = std::chrono::system_clock::to_time_t(time);
  std::tm local{};
  ::localtime_r(&seconds, &local);
  return local;
}

// Local hours, since some time zones are off by parts of an hour.
HourlyFile::Time BeginOfHour(HourlyFile::Time time) {
  const std::tm local = LocalTime(time);
  return std::chrono::time_point_cast<std::chrono::seconds>(time) - std::chrono::minutes(local.tm_min) -
         std::chrono::seconds(local.tm_sec);
}

bool HasShape(std::string_view text, std::string_view shape) {
  return text.size() == shape.size() && std::equal(text.begin(), text.end(), shape.begin(), [](char c, char of_shape) {
           return of_shape == 'd' ? c >= '0' && c <= '9' : c == of_shape;
         });
}

// Whether `text` has the shape of "-2026-01-02-03.log" or "-2026-01-02-03-000001.log".
bool IsHourSuffix(std::string_view text) {
  return HasShape(text, "-dddd-dd-dd-dd.log") || HasShape(text, "-dddd-dd-dd-dd-dddddd.log");
}

}  // namespace

HourlyFile::HourlyFile(std::string dir, std::string name, size_t files_max, uint64_t bytes_max)
    : dir_(std::move(dir)), name_(std::move(name)), files_max_(std::max<size_t>(files_max, 1)), bytes_max_(bytes_max) {}

absl::StatusOr<HourlyFile> HourlyFile::Open(const std::string& dir, const std::string& name, size_t files_max, Time now,
                                            uint64_t bytes_max) {
  HourlyFile file(dir, name, files_max, bytes_max);
  std::error_code error;
  fs::create_directories(dir, error);
  if (error) return ErrnoStatus(error.value(), StrCat("make log directory ", dir));

  struct stat state{};
  if (::stat(file.CurrentPath().c_str(), &state) == 0) {
    file.hour_ = BeginOfHour(std::chrono::system_clock::from_time_t(state.st_mtime));
    if (file.hour_ != BeginOfHour(now)) DF_RETURN_IF_ERROR(file.SetAside());
  }
  DF_RETURN_IF_ERROR(file.OpenCurrent(now));
  file.DeleteOld();
  return file;
}

absl::Status HourlyFile::Write(std::string_view text, Time now) {
  // A failed rotation must not lose the line: the old file goes on, and the next line tries again.
  const bool full = bytes_max_ != 0 && bytes_ != 0 && bytes_ + text.size() > bytes_max_;
  const absl::Status rotated = now >= next_hour_ || full ? Rotate(now) : absl::OkStatus();
  while (!text.empty()) {
    const ssize_t written = ::write(fd_.get(), text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return ErrnoStatus(errno, StrCat("write ", CurrentPath()));
    bytes_ += static_cast<uint64_t>(written);
    text.remove_prefix(static_cast<size_t>(written));
  }
  return rotated;
}

absl::Status HourlyFile::Rotate(Time now) {
  DF_RETURN_IF_ERROR(now >= next_hour_ ? SetAside() : SetFullAside());
  DF_RETURN_IF_ERROR(OpenCurrent(now));
  DeleteOld();
  return absl::OkStatus();
}

absl::Status HourlyFile::SetFullAside() {
  const std::string stem = StrCat(name_, fmt::format("-{:%Y-%m-%d-%H}-", LocalTime(hour_)));
  unsigned number = 0;
  std::error_code error;
  for (fs::directory_iterator it(dir_, error), end; !error && it != end; it.increment(error)) {
    const std::string file = it->path().filename().string();
    const std::string_view rest = std::string_view(file).substr(std::min(stem.size(), file.size()));
    unsigned taken = 0;
    if (file.starts_with(stem) && HasShape(rest, "dddddd.log") &&
        std::from_chars(rest.data(), rest.data() + 6, taken).ec == std::errc()) {
      number = std::max(number, taken);
    }
  }
  const std::string path = StrCat(dir_, "/", stem, fmt::format("{:06}", number + 1), kSuffix);
  if (::rename(CurrentPath().c_str(), path.c_str()) != 0 && errno != ENOENT)
    return ErrnoStatus(errno, StrCat("rotate ", CurrentPath()));
  return absl::OkStatus();
}

absl::Status HourlyFile::SetAside() {
  const std::string path = StrCat(dir_, "/", name_, fmt::format("-{:%Y-%m-%d-%H}", LocalTime(hour_)), kSuffix);
  // The hour that comes twice when clocks are set back goes on in its file: it must not overwrite its first half.
  std::error_code error;
  if (fs::exists(path, error)) return absl::OkStatus();
  if (::rename(CurrentPath().c_str(), path.c_str()) != 0 && errno != ENOENT)
    return ErrnoStatus(errno, StrCat("rotate ", CurrentPath()));
  return absl::OkStatus();
}

void HourlyFile::DeleteOld() const {
  std::vector<std::string> earlier;
  std::error_code error;
  for (fs::directory_iterator it(dir_, error), end; !error && it != end; it.increment(error)) {
    const std::string file = it->path().filename().string();
    if (file.starts_with(name_) && IsHourSuffix(std::string_view(file).substr(name_.size()))) earlier.push_back(file);
  }
  if (earlier.size() < files_max_) return;
  std::sort(earlier.begin(), earlier.end());
  earlier.resize(earlier.size() - (files_max_ - 1));
  for (const std::string& file : earlier) ::unlink(StrCat(dir_, "/", file).c_str());
}

absl::Status HourlyFile::OpenCurrent(Time now) {
  UniqueFd fd(::open(CurrentPath().c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
  if (!fd.valid()) return ErrnoStatus(errno, StrCat("open log file ", CurrentPath()));
  struct stat state{};
  bytes_ = ::fstat(fd.get(), &state) == 0 ? static_cast<uint64_t>(state.st_size) : 0;
  fd_ = std::move(fd);
  hour_ = BeginOfHour(now);
  next_hour_ = hour_ + std::chrono::hours(1);
  return absl::OkStatus();
}

std::string HourlyFile::CurrentPath() const { return StrCat(dir_, "/", name_, kSuffix); }

}  // namespace dragonfly::log
