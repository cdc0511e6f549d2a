// SPDX-License-Identifier: Apache-2.0
#include "cli/dfget.h"

#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <iostream>
#include <optional>
#include <utility>

#include "base/status.h"
#include "base/text.h"
#include "base/url.h"
#include "cli/dfget_options.h"
#include "cli/failure_report.h"
#include "cli/output_file.h"
#include "cli/progress_bar.h"
#include "dfdaemon/v2/dfdaemon.pb.h"
#include "rpc/unix_client.h"

namespace dragonfly::cli {
namespace {

constexpr char kDownloadTask[] = "/dfdaemon.v2.DfdaemonDownload/DownloadTask";

dfdaemon::v2::DownloadTaskRequest MakeRequest(const DfgetOptions& options) {
  dfdaemon::v2::DownloadTaskRequest request;
  common::v2::Download& download = *request.mutable_download();
  download.set_url(options.url);
  download.set_type(common::v2::STANDARD);
  // Set even when empty: that is what the scheduler sees from other clients.
  download.set_tag(options.tag);
  download.set_application(options.application);
  download.set_priority(static_cast<common::v2::Priority>(options.priority));
  for (const std::string& name : options.filtered_query_params) download.add_filtered_query_params(name);
  for (const auto& [name, value] : options.header) (*download.mutable_request_header())[name] = value;
  if (options.range) (*download.mutable_request_header())["Range"] = *options.range;
  if (!options.digest.empty()) download.set_digest(options.digest);
  if (options.piece_length) download.set_piece_length(*options.piece_length);
  if (options.content_for_calculating_task_id) {
    download.set_content_for_calculating_task_id(*options.content_for_calculating_task_id);
  }
  const int64_t nanoseconds = absl::ToInt64Nanoseconds(options.timeout);
  download.mutable_timeout()->set_seconds(nanoseconds / 1'000'000'000);
  download.mutable_timeout()->set_nanos(static_cast<int32_t>(nanoseconds % 1'000'000'000));
  download.set_disable_back_to_source(options.disable_back_to_source);
  download.set_force_hard_link(options.force_hard_link);
  download.set_overwrite(options.overwrite);
  if (options.transfer_from_dfdaemon) {
    download.set_need_piece_content(true);
  } else {
    download.set_output_path(options.output);
  }
  return request;
}

// Follows one download: draws its progress and, in transfer mode, writes its content.
class Download {
 public:
  explicit Download(const DfgetOptions& options)
      : options_(options),
        bar_(PercentDecode(PathOf(options.url)), !options.no_progress && ::isatty(STDERR_FILENO) == 1) {}

  absl::Status OnMessage(std::string_view bytes) {
    dfdaemon::v2::DownloadTaskResponse response;
    if (!response.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
      return absl::InternalError("dfdaemon sent a message that does not parse");
    }
    if (response.has_download_task_started_response()) return OnStarted(response.download_task_started_response());
    if (response.has_download_piece_finished_response()) {
      return OnPiece(response.download_piece_finished_response().piece());
    }
    return absl::OkStatus();
  }

  // The call has ended well: the output must be whole.
  absl::Status Finish() {
    if (!options_.transfer_from_dfdaemon) return absl::OkStatus();
    if (!output_) return absl::InternalError("unexpected response");
    std::optional<Digest> digest;
    if (!options_.digest.empty() && !options_.range) {
      DF_ASSIGN_OR_RETURN(digest, Digest::Parse(options_.digest));
    }
    return output_->Publish(digest, options_.overwrite);
  }

 private:
  static std::string PathOf(const std::string& text) {
    const auto url = Url::Parse(text);
    return url.ok() ? url->path : text;
  }

  absl::Status OnStarted(const dfdaemon::v2::DownloadTaskStartedResponse& started) {
    ByteRange window{.offset = 0, .length = started.content_length()};
    if (started.has_range()) window = {.offset = started.range().start(), .length = started.range().length()};
    bar_.SetTotal(window.length);
    if (!options_.transfer_from_dfdaemon) return absl::OkStatus();
    if (!output_) {
      DF_ASSIGN_OR_RETURN(auto output, OutputFile::Create(options_.output));
      output_.emplace(std::move(output));
    }
    return output_->SetWindow(window);
  }

  absl::Status OnPiece(const common::v2::Piece& piece) {
    bar_.Advance(piece.length());
    if (!options_.transfer_from_dfdaemon) return absl::OkStatus();
    if (!output_) return absl::InternalError("unexpected response");
    if (piece.content().size() != piece.length()) {
      return absl::DataLossError(
          StrCat("piece ", piece.number(), " came with ", piece.content().size(), " of ", piece.length(), " bytes"));
    }
    return output_->Write(piece.offset(), piece.content());
  }

  const DfgetOptions& options_;
  ProgressBar bar_;
  std::optional<OutputFile> output_;
};

}  // namespace

int RunDfget(std::vector<std::string> arguments) {
  ParsedDfgetOptions parsed = ParseDfgetOptions(std::move(arguments));
  if (parsed.exit_code) return *parsed.exit_code;
  DfgetOptions& options = parsed.options;
  const bool color = ColorWanted();
  if (const absl::Status valid = ValidateDfgetOptions(options); !valid.ok()) {
    std::cout << ValidationReport(StrCat("validate failed: ", valid.message()), color);
    return 1;
  }

  const TimePoint deadline = Clock::now() + absl::ToChronoNanoseconds(options.timeout);
  auto client = rpc::UnixClient::Connect(options.endpoint);
  if (!client.ok()) {
    std::cout << ConnectReport(client.status(), options.endpoint, color);
    return 1;
  }

  absl::Status called;
  absl::Status finished;
  {
    Download download(options);
    called = (*client)->Call(
        kDownloadTask, MakeRequest(options).SerializeAsString(),
        [&](std::string_view message) { return finished = download.OnMessage(message); }, deadline);
    if (called.ok()) finished = download.Finish();
  }
  if (!finished.ok()) {
    std::cout << CallReport("Downloading", finished, /*local=*/true, color);
    return 1;
  }
  if (!called.ok()) {
    std::cout << CallReport("Downloading", called, /*local=*/false, color);
    return 1;
  }
  return 0;
}

}  // namespace dragonfly::cli
