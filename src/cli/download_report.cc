// SPDX-License-Identifier: Apache-2.0
#include "cli/download_report.h"

#include <nlohmann/json.hpp>
#include <ostream>
#include <utility>

#include "base/backend_error.h"
#include "base/text.h"
#include "base/url.h"
#include "cli/failure_report.h"

namespace dragonfly::cli {
namespace {

using Json = nlohmann::ordered_json;

// Failures that are told in full; a directory of millions must not fill the memory with them.
constexpr size_t kFailuresMax = 1000;

// ASCII only, and text that is no UTF-8 does not break it.
std::string Line(const Json& event) { return event.dump(-1, ' ', true, Json::error_handler_t::replace) + "\n"; }

Json Event(std::string_view name, const ReportedFile* file) {
  Json event;
  event["event"] = name;
  if (file != nullptr) {
    event["url"] = file->url;
    event["output"] = file->output;
  }
  return event;
}

std::string ErrorLine(const ReportedFile* file, const absl::Status& error) {
  Json event = Event("error", file);
  event["code"] = absl::StatusCodeToString(error.code());
  const auto backend = GetBackendError(error);
  event["message"] = backend ? backend->message : std::string(error.message());
  if (backend && backend->status_code) event["status_code"] = *backend->status_code;
  return Line(event);
}

}  // namespace

std::string ReportedUrl(std::string_view text) {
  auto url = Url::Parse(text);
  if (!url.ok()) return std::string(text.substr(0, text.find_first_of("?#")));
  url->username.clear();
  url->password.clear();
  url->has_query = url->has_fragment = false;
  url->query.clear();
  url->fragment.clear();
  return url->ToString();
}

DownloadReport::DownloadReport(ReportOptions options, std::ostream& out)
    : options_(std::move(options)), out_(out), bar_(options_.title, options_.progress) {}

void DownloadReport::Announce(size_t files, uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  files_ += files;
  if (bytes > 0) bar_.AddTotal(bytes);
}

void DownloadReport::Note() {
  if (options_.several) bar_.SetNote(StrCat(finished_ + kept_, " of ", files_, " files"));
}

void DownloadReport::Started(const ReportedFile& file, std::string_view task_id, uint64_t content_length,
                             bool announced) {
  const std::lock_guard lock(mutex_);
  if (!announced) bar_.AddTotal(content_length);
  if (!options_.json) return;
  Json event = Event("started", &file);
  event["task_id"] = task_id;
  event["content_length"] = content_length;
  out_ << Line(event) << std::flush;
}

void DownloadReport::Advance(uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  bar_.Advance(bytes);
}

void DownloadReport::Finished(const ReportedFile& file, const DownloadFigures& figures) {
  const std::lock_guard lock(mutex_);
  ++finished_;
  bytes_ += figures.bytes;
  Note();
  if (!options_.json) return;
  Json event = Event("finished", &file);
  event["task_id"] = figures.task_id;
  event["bytes"] = figures.bytes;
  event["seconds"] = figures.seconds;
  event["bytes_by_source"] = {{"back_to_source", figures.bytes_by_source[0]},
                              {"remote_peer", figures.bytes_by_source[1]},
                              {"local_peer", figures.bytes_by_source[2]}};
  out_ << Line(event) << std::flush;
}

void DownloadReport::Kept(const ReportedFile& file, uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  ++kept_;
  bar_.Advance(bytes);
  Note();
  if (!options_.json) return;
  Json event = Event("kept", &file);
  event["bytes"] = bytes;
  out_ << Line(event) << std::flush;
}

std::string DownloadReport::FailureText(const ReportedFile* file, const absl::Status& error, FailureKind kind) const {
  switch (kind) {
    case FailureKind::kValidation:
      return ValidationReport(StrCat("validate failed: ", error.message()), options_.color);
    case FailureKind::kConnect:
      return ConnectReport(error, options_.endpoint, options_.color);
    case FailureKind::kCall:
    case FailureKind::kLocal:
      break;
  }
  const std::string name =
      file != nullptr && options_.several ? StrCat("File: ", TerminalSafe(file->output), "\n") : std::string();
  return StrCat(name, CallReport("Downloading", error, kind == FailureKind::kLocal, options_.color));
}

void DownloadReport::Failed(const ReportedFile* file, const absl::Status& error, FailureKind kind) {
  const std::lock_guard lock(mutex_);
  failed_at_all_ = true;
  if (file != nullptr) ++failed_;
  if (options_.json) {
    out_ << ErrorLine(file, error) << std::flush;
  } else if (failures_.size() < kFailuresMax) {
    failures_.push_back(FailureText(file, error, kind));
  }
}

int DownloadReport::Finish() {
  const std::lock_guard lock(mutex_);
  bar_.End();
  for (const std::string& failure : failures_) out_ << failure;
  if (options_.several && options_.json) {
    Json event = Event("summary", nullptr);
    event["files"] = files_;
    event["finished"] = finished_;
    event["kept"] = kept_;
    event["failed"] = failed_;
    event["bytes"] = bytes_;
    event["seconds"] = std::chrono::duration<double>(std::chrono::steady_clock::now() - began_).count();
    out_ << Line(event);
  } else if (options_.several && failed_ > 0) {
    out_ << failed_ << " of " << files_ << " files failed\n";
  }
  out_ << std::flush;
  return failed_at_all_ ? 1 : 0;
}

}  // namespace dragonfly::cli
