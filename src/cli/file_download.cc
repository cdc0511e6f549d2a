// SPDX-License-Identifier: Apache-2.0
#include "cli/file_download.h"

#include <unistd.h>

#include <chrono>
#include <utility>

#include "base/status.h"
#include "base/text.h"
#include "cli/dfget_request.h"
#include "cli/output_file.h"
#include "cli/output_stream.h"

namespace dragonfly::cli {
namespace {

constexpr char kDownloadTask[] = "/dfdaemon.v2.DfdaemonDownload/DownloadTask";

// Follows one call: tells its progress and, in transfer mode, writes the content.
class Download {
 public:
  Download(const DfgetOptions& options, const FileJob& job, DownloadReport& report)
      : options_(options), job_(job), reported_(Reported(job)), report_(report) {}

  absl::Status OnMessage(std::string_view bytes) {
    dfdaemon::v2::DownloadTaskResponse response;
    if (!response.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
      return absl::InternalError("dfdaemon sent a message that does not parse");
    }
    if (response.has_download_task_started_response()) {
      figures_.task_id = response.task_id();
      return OnStarted(response.download_task_started_response());
    }
    if (response.has_download_piece_finished_response()) {
      return OnPiece(response.download_piece_finished_response().piece());
    }
    return absl::OkStatus();
  }

  // The call has ended well: the output must be whole.
  absl::Status Finish() {
    if (options_.transfer_from_dfdaemon) {
      DF_ASSIGN_OR_RETURN(const std::optional<Digest> digest, WantedDigest());
      if (stream_) {
        DF_RETURN_IF_ERROR(stream_->Finish(digest));
      } else if (file_) {
        DF_RETURN_IF_ERROR(file_->Publish(digest, options_.overwrite));
      } else {
        return absl::InternalError("unexpected response");
      }
    }
    figures_.bytes = window_.length;
    figures_.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began_).count();
    report_.Finished(reported_, figures_);
    return absl::OkStatus();
  }

 private:
  // Of what dfget writes; a digest of the whole file says nothing about a range.
  absl::StatusOr<std::optional<Digest>> WantedDigest() const {
    std::optional<Digest> digest;
    if (!options_.digest.empty() && !options_.range) {
      DF_ASSIGN_OR_RETURN(digest, Digest::Parse(options_.digest));
    }
    return digest;
  }

  absl::Status OnStarted(const dfdaemon::v2::DownloadTaskStartedResponse& started) {
    window_ = {.offset = 0, .length = started.content_length()};
    if (started.has_range()) window_ = {.offset = started.range().start(), .length = started.range().length()};
    if (!std::exchange(started_, true)) {
      report_.Started(reported_, figures_.task_id, window_.length, job_.content_length.has_value());
    }
    if (!options_.transfer_from_dfdaemon) return absl::OkStatus();
    if (job_.output == "-") {
      if (!stream_) {
        DF_ASSIGN_OR_RETURN(const std::optional<Digest> digest, WantedDigest());
        stream_.emplace(STDOUT_FILENO, digest ? std::optional(digest->algorithm()) : std::nullopt);
      }
      return stream_->SetWindow(window_);
    }
    if (!file_) {
      DF_ASSIGN_OR_RETURN(auto file, OutputFile::Create(job_.output));
      file_.emplace(std::move(file));
    }
    return file_->SetWindow(window_);
  }

  absl::Status OnPiece(const common::v2::Piece& piece) {
    report_.Advance(piece.length());
    const auto source = static_cast<size_t>(piece.traffic_type());
    if (piece.has_traffic_type() && source < figures_.bytes_by_source.size()) {
      figures_.bytes_by_source[source] += piece.length();
    }
    if (!options_.transfer_from_dfdaemon) return absl::OkStatus();
    if (!file_ && !stream_) return absl::InternalError("unexpected response");
    if (piece.content().size() != piece.length()) {
      return absl::DataLossError(
          StrCat("piece ", piece.number(), " came with ", piece.content().size(), " of ", piece.length(), " bytes"));
    }
    return stream_ ? stream_->Write(piece.offset(), piece.content()) : file_->Write(piece.offset(), piece.content());
  }

  const DfgetOptions& options_;
  const FileJob& job_;
  const ReportedFile reported_;
  DownloadReport& report_;
  const std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
  DownloadFigures figures_;
  ByteRange window_;
  bool started_ = false;
  std::optional<OutputFile> file_;
  std::optional<OutputStream> stream_;
};

// Makes room for a directory's file. True when it is here already.
absl::StatusOr<bool> IsHere(const DfgetOptions& options, const FileJob& job) {
  DF_RETURN_IF_ERROR(job.tree->MakeParents(job.path));
  DF_ASSIGN_OR_RETURN(const OutputTree::Existing existing, job.tree->Look(job.path));
  if (existing.kind == OutputTree::Kind::kNothing) return false;
  if (existing.kind == OutputTree::Kind::kOther) {
    return absl::AlreadyExistsError(StrCat("output path ", job.output, " is no file"));
  }
  if (options.overwrite) return false;
  if (job.content_length && existing.length == *job.content_length) return true;
  return absl::AlreadyExistsError(StrCat("output path ", job.output, " is already exist"));
}

FileFailure Failure(absl::Status status, FailureKind kind) {
  FileFailure failure;
  failure.status = std::move(status);
  failure.kind = kind;
  return failure;
}

}  // namespace

ReportedFile Reported(const FileJob& job) {
  ReportedFile file;
  file.url = ReportedUrl(job.url);
  file.output = job.output;
  return file;
}

std::optional<FileFailure> DownloadFile(const DfgetOptions& options, const FileJob& job, rpc::UnixClient& client,
                                        DownloadReport& report) {
  if (job.tree) {
    const absl::StatusOr<bool> here = IsHere(options, job);
    if (!here.ok()) return Failure(here.status(), FailureKind::kLocal);
    if (*here) {
      report.Kept(Reported(job), *job.content_length);
      return std::nullopt;
    }
  }
  Download download(options, job, report);
  absl::Status local;
  const absl::Status called = client.Call(
      kDownloadTask, MakeDownloadRequest(options, job.url, job.output).SerializeAsString(),
      [&](std::string_view message) { return local = download.OnMessage(message); },
      Clock::now() + absl::ToChronoNanoseconds(options.timeout));
  if (called.ok()) local = download.Finish();
  if (!local.ok()) return Failure(std::move(local), FailureKind::kLocal);
  if (!called.ok()) return Failure(called, FailureKind::kCall);
  return std::nullopt;
}

}  // namespace dragonfly::cli
