// SPDX-License-Identifier: Apache-2.0
// A file that is appended to line by line and begun anew every hour, and when it is full.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/unique_fd.h"

namespace dragonfly::log {

// `<dir>/<name>.log` is the file of this hour; the earlier ones are `<dir>/<name>-<year>-<month>-<day>-<hour>.log`, in
// local time. What an hour fills before its last file is set aside as
// `<dir>/<name>-<year>-<month>-<day>-<hour>-<number>.log`, so that the names are in the order of time. No thread safety
// of its own.
class HourlyFile {
 public:
  using Time = std::chrono::system_clock::time_point;

  // Makes the directory. At most `files_max` files are kept (at least 1), the current one included. A line that would
  // make the current one larger than `bytes_max` begins another; 0: no bound. A file of an earlier hour is set aside;
  // one of this hour is continued. Errors: of the file system, naming the path.
  static absl::StatusOr<HourlyFile> Open(const std::string& dir, const std::string& name, size_t files_max, Time now,
                                         uint64_t bytes_max = 0);

  // Writes at once, so that a process that is killed has lost no line.
  absl::Status Write(std::string_view text, Time now);

 private:
  HourlyFile(std::string dir, std::string name, size_t files_max, uint64_t bytes_max);
  absl::Status Rotate(Time now);
  // Sets the current file aside under the name of its hour.
  absl::Status SetAside();
  // The same in the midst of the hour.
  absl::Status SetFullAside();
  void DeleteOld() const;
  absl::Status OpenCurrent(Time now);
  std::string CurrentPath() const;

  std::string dir_;
  std::string name_;
  size_t files_max_;
  uint64_t bytes_max_;
  uint64_t bytes_ = 0;  // in the current file
  UniqueFd fd_;
  Time hour_;       // begin of the hour of the current file
  Time next_hour_;  // when the next one is due
};

}  // namespace dragonfly::log
