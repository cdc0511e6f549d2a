// SPDX-License-Identifier: Apache-2.0
#include "cli/dfget.h"

#include <iostream>
#include <memory>
#include <utility>

#include "base/status.h"
#include "base/text.h"
#include "base/url.h"
#include "cli/dfget_options.h"
#include "cli/dfget_request.h"
#include "cli/directory_listing.h"
#include "cli/download_report.h"
#include "cli/failure_report.h"
#include "cli/file_batch.h"
#include "cli/file_download.h"
#include "cli/output_tree.h"
#include "rpc/unix_client.h"

namespace dragonfly::cli {
namespace {

constexpr char kListTaskEntries[] = "/dfdaemon.v2.DfdaemonDownload/ListTaskEntries";

FileFailure Failure(absl::Status status, FailureKind kind) {
  FileFailure failure;
  failure.status = std::move(status);
  failure.kind = kind;
  return failure;
}

// What is below the directory and wanted.
absl::StatusOr<SelectedFiles> List(const DfgetOptions& options, const std::string& url, rpc::UnixClient& client,
                                   FailureKind& kind) {
  kind = FailureKind::kLocal;
  DF_ASSIGN_OR_RETURN(const IncludeGlobs globs, IncludeGlobs::Parse(options.include_files));
  if (const std::vector<std::string> paths = globs.PlainPaths(); !paths.empty()) {
    return FilesOfPaths(url, paths, options.max_files);
  }
  dfdaemon::v2::ListTaskEntriesResponse response;
  bool parsed = true;
  kind = FailureKind::kCall;
  DF_RETURN_IF_ERROR(client.Call(
      kListTaskEntries, MakeListRequest(options, url).SerializeAsString(),
      [&](std::string_view message) {
        parsed = response.ParseFromArray(message.data(), static_cast<int>(message.size()));
        return parsed ? absl::OkStatus() : absl::InternalError("dfdaemon sent a list that does not parse");
      },
      Clock::now() + absl::ToChronoNanoseconds(options.timeout)));
  kind = FailureKind::kLocal;
  return SelectFiles(url, response, globs, options.max_files);
}

// Lists a directory, makes its directories and appends its files to `jobs`.
std::optional<FileFailure> AddDirectory(const DfgetOptions& options, const DownloadTarget& target,
                                        rpc::UnixClient& client, std::vector<FileJob>& jobs) {
  FailureKind kind{};
  const auto selected = List(options, target.url, client, kind);
  if (!selected.ok()) return Failure(selected.status(), kind);
  auto tree = OutputTree::Open(target.output);
  if (!tree.ok()) return Failure(tree.status(), FailureKind::kLocal);
  const auto shared = std::make_shared<const OutputTree>(*std::move(tree));
  for (const std::string& directory : selected->directories) {
    if (absl::Status made = shared->MakeDirectories(directory); !made.ok())
      return Failure(std::move(made), FailureKind::kLocal);
  }
  for (const ListedFile& listed : selected->files) {
    FileJob job;
    job.url = listed.url;
    job.output = shared->PathOf(listed.path);
    job.tree = shared;
    job.path = listed.path;
    job.content_length = listed.content_length;
    jobs.push_back(std::move(job));
  }
  return std::nullopt;
}

FileJob JobOf(const DownloadTarget& target) {
  FileJob job;
  job.url = target.url;
  job.output = target.output;
  return job;
}

ReportOptions MakeReportOptions(const DfgetOptions& options) {
  ReportOptions report;
  report.json = options.json;
  report.color = ColorWanted();
  report.endpoint = options.endpoint;
  const auto url = Url::Parse(options.urls.front());
  report.title = options.urls.size() > 1 ? StrCat(options.urls.size(), " URLs")
                                         : PercentDecode(url.ok() ? url->path : options.urls.front());
  if (!options.no_progress && !options.json) report.progress = ProgressStyleOfTerminal();
  return report;
}

}  // namespace

int RunDfget(std::vector<std::string> arguments) {
  ParsedDfgetOptions parsed = ParseDfgetOptions(std::move(arguments));
  if (parsed.exit_code) return *parsed.exit_code;
  const DfgetOptions& options = parsed.options;

  const auto targets = ValidateDfgetOptions(options);
  ReportOptions report_options = MakeReportOptions(options);
  report_options.several = targets.ok() && (targets->size() > 1 || targets->front().is_directory);
  // Standard output is the file's.
  DownloadReport report(std::move(report_options), options.output == "-" ? std::cerr : std::cout);
  if (!targets.ok()) {
    report.Failed(nullptr, targets.status(), FailureKind::kValidation);
    return report.Finish();
  }

  auto client = rpc::UnixClient::Connect(options.endpoint);
  if (!client.ok()) {
    report.Failed(nullptr, client.status(), FailureKind::kConnect);
    return report.Finish();
  }
  std::vector<FileJob> jobs;
  for (const DownloadTarget& target : *targets) {
    if (!target.is_directory) {
      jobs.push_back(JobOf(target));
    } else if (const auto failure = AddDirectory(options, target, **client, jobs)) {
      const ReportedFile directory = Reported(JobOf(target));
      if (targets->size() > 1) report.Announce(1, 0);
      report.Failed(targets->size() > 1 ? &directory : nullptr, failure->status, failure->kind);
    }
  }
  uint64_t bytes = 0;
  for (const FileJob& job : jobs) bytes += job.content_length.value_or(0);
  report.Announce(jobs.size(), bytes);
  DownloadFiles(options, jobs, *std::move(client), report);
  return report.Finish();
}

}  // namespace dragonfly::cli
