// SPDX-License-Identifier: Apache-2.0
// What dfget tells while it downloads and at the end: progress on a terminal, failures as text, or events as JSON.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "cli/progress_bar.h"

namespace dragonfly::cli {

// Names a file in reports. Texts of the user's own URLs are shown without user, password, query and fragment, in which
// secrets may stand.
struct ReportedFile {
  ReportedFile() = default;
  std::string url;
  std::string output;
};

// What one download has brought.
struct DownloadFigures {
  DownloadFigures() = default;
  std::string task_id;
  uint64_t bytes = 0;  // of the output
  double seconds = 0;
  // Bytes of whole pieces by where they came from: origin, other hosts, this host. common.v2.TrafficType is the index.
  std::array<uint64_t, 3> bytes_by_source{};
};

// Who made an error.
enum class FailureKind {
  kValidation,  // of the command line
  kConnect,     // nobody serves the socket
  kCall,        // dfdaemon answered it
  kLocal,       // dfget itself
};

struct ReportOptions {
  ReportOptions() = default;
  bool json = false;
  bool color = false;
  bool several = false;  // a directory or several URLs: failures name their file and are told at the end
  std::string endpoint;
  std::string title;  // of the progress
  ProgressStyle progress = ProgressStyle::kNone;
};

// Any thread may call any method.
class DownloadReport {
 public:
  // `out` takes failures and events and must outlive the report.
  DownloadReport(ReportOptions options, std::ostream& out);

  // More files are known, with the bytes that are known of them.
  void Announce(size_t files, uint64_t bytes);
  // `announced`: the length was a part of Announce().
  void Started(const ReportedFile& file, std::string_view task_id, uint64_t content_length, bool announced);
  void Advance(uint64_t bytes);
  void Finished(const ReportedFile& file, const DownloadFigures& figures);
  // The file was here with the right length.
  void Kept(const ReportedFile& file, uint64_t bytes);
  // `file` null: no file in particular.
  void Failed(const ReportedFile* file, const absl::Status& error, FailureKind kind);

  // Tells the failures and how many files are here. Returns the exit code; to be called once.
  int Finish();

 private:
  // Holds mutex_.
  void Note();
  std::string FailureText(const ReportedFile* file, const absl::Status& error, FailureKind kind) const;

  const ReportOptions options_;
  std::ostream& out_;
  const std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
  std::mutex mutex_;
  ProgressBar bar_;
  size_t files_ = 0;
  size_t finished_ = 0;
  size_t kept_ = 0;
  size_t failed_ = 0;
  uint64_t bytes_ = 0;
  bool failed_at_all_ = false;
  std::vector<std::string> failures_;  // texts of the first ones
};

// The URL as reports show it.
std::string ReportedUrl(std::string_view url);

}  // namespace dragonfly::cli
