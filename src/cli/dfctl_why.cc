// SPDX-License-Identifier: Apache-2.0
// `dfctl why`: where the pieces of a task came from, and what was waited for.
#include "cli/dfctl_why.h"

#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <cstdio>
#include <iostream>

#include "base/status.h"
#include "base/text.h"
#include "cli/dfctl_calls.h"
#include "cli/table.h"

namespace dragonfly::cli {
namespace {

namespace wire = dragonfly::ext::v1;

constexpr char kExplainTask[] = "/dragonfly.ext.v1.Diagnosis/ExplainTask";
constexpr std::chrono::seconds kTimeout{15};
// A limit that was used to this share is taken for one that held the download back.
constexpr double kNearLimit = 0.9;

std::string Milliseconds(double milliseconds) {
  std::array<char, 48> buffer{};
  if (milliseconds < 10'000) {
    std::snprintf(buffer.data(), buffer.size(), "%.1f ms", milliseconds);
  } else {
    std::snprintf(buffer.data(), buffer.size(), "%.1f s", milliseconds / 1000);
  }
  return buffer.data();
}

std::string Percent(double part) { return StrCat(static_cast<int>(part * 100 + 0.5), "%"); }

std::string NameOf(const wire::PieceSource& source) {
  if (source.peer_id().empty()) return "origin";
  return source.host_id().empty() ? source.peer_id() : source.host_id();
}

struct Sums {
  explicit Sums(const wire::ExplainedDownload& download) {
    for (const wire::PieceSource& source : download.sources()) {
      pieces += source.pieces();
      cost += source.cost_milliseconds();
      (source.peer_id().empty() ? origin_bytes : peer_bytes) += source.bytes();
    }
  }
  uint64_t pieces = 0;
  uint64_t origin_bytes = 0;
  uint64_t peer_bytes = 0;
  double cost = 0;  // milliseconds
};

// Which limits were used up, judged by what was moved in the time in which pieces moved.
std::string LimitLines(const wire::ExplainedDownload& download, const wire::Limits& limits) {
  const Sums sums(download);
  const double seconds = (download.total_milliseconds() - download.first_asked_milliseconds()) / 1000;
  if (sums.pieces == 0 || seconds <= 0) return "";
  std::string lines;
  const auto rate = [&](uint64_t bytes, uint64_t limit, std::string_view key) {
    const double share = limit == 0 ? 0 : static_cast<double>(bytes) / seconds / static_cast<double>(limit);
    if (share >= kNearLimit)
      lines += StrCat("  held back by ", key, ": ", Percent(share), " of ", ByteText(limit), "/s was used\n");
  };
  rate(sums.peer_bytes, limits.download_bytes_per_second(), "download.bandwidthLimit");
  rate(sums.origin_bytes, limits.back_to_source_bytes_per_second(), "download.backToSourceBandwidthLimit");
  const double together = sums.cost / (seconds * 1000);
  if (limits.concurrent_pieces() > 0 && together >= kNearLimit * static_cast<double>(limits.concurrent_pieces()))
    lines += StrCat("  all of download.concurrentPieceCount (", limits.concurrent_pieces(), ") were in use\n");
  return lines;
}

std::string Summary(const wire::ExplainedDownload& download, const wire::Limits& limits) {
  const Sums sums(download);
  const uint64_t bytes = sums.origin_bytes + sums.peer_bytes;
  std::string text =
      StrCat("  url: ", download.url(), "\n  ",
             download.running()           ? "running for "
             : download.failure().empty() ? "took "
                                          : "failed after ",
             Milliseconds(download.total_milliseconds()), ": ", ByteText(bytes), " in ", sums.pieces, " pieces; ",
             ByteText(sums.peer_bytes), " from peers, ", ByteText(sums.origin_bytes), " from the origin\n");
  if (!download.failure().empty()) text += StrCat("  failure: ", download.failure(), "\n");
  text += StrCat("  scheduler: ", download.scheduler().empty() ? "none answered" : download.scheduler(), ", waited ",
                 Milliseconds(download.scheduler_wait_milliseconds()), " for it\n");
  if (download.has_first_piece_milliseconds())
    text += StrCat("  first piece: asked for after ", Milliseconds(download.first_asked_milliseconds()),
                   ", here after ", Milliseconds(download.first_piece_milliseconds()), "\n");
  return text + LimitLines(download, limits);
}

Table SourceTable(const wire::ExplainedDownload& download) {
  Table table({"SOURCE", "ADDRESS", "PEER", "PIECES", "BYTES", "MEAN", "LONGEST", "FAILED"});
  for (const wire::PieceSource& source : download.sources()) {
    const double mean = source.pieces() == 0 ? 0 : source.cost_milliseconds() / static_cast<double>(source.pieces());
    table.AddRow({NameOf(source), source.address().empty() ? "-" : source.address(),
                  source.peer_id().empty() ? "-" : source.peer_id(), StrCat(source.pieces()), ByteText(source.bytes()),
                  source.pieces() == 0 ? "-" : Milliseconds(mean),
                  source.pieces() == 0 ? "-" : Milliseconds(source.max_cost_milliseconds()),
                  StrCat(source.failures())});
  }
  return table;
}

std::string PieceText(const wire::ExplainedDownload& download) {
  Table table({"PIECE", "LENGTH", "SOURCE", "BEGAN", "TOOK"});
  for (const wire::ExplainedPiece& piece : download.pieces()) {
    const bool known = piece.source() < static_cast<uint32_t>(download.sources_size());
    table.AddRow({StrCat(piece.number()), ByteText(piece.length()),
                  known ? NameOf(download.sources(static_cast<int>(piece.source()))) : "-",
                  Milliseconds(piece.begin_milliseconds()), Milliseconds(piece.cost_milliseconds())});
  }
  std::string text = table.ToString();
  if (download.pieces_not_kept() > 0) text += StrCat("  and ", download.pieces_not_kept(), " more without a row\n");
  return text;
}

bool IsTaskId(std::string_view text) { return text.find("://") == std::string_view::npos; }

wire::ExplainTaskRequest MakeRequest(const WhyOptions& options) {
  wire::ExplainTaskRequest request;
  request.set_with_pieces(options.pieces);
  if (IsTaskId(options.what)) {
    request.set_task_id(options.what);
    return request;
  }
  common::v2::Download& download = *request.mutable_download();
  download.set_url(options.what);
  download.set_tag(options.tag);
  download.set_application(options.application);
  for (const std::string& name : options.filtered_query_params) download.add_filtered_query_params(name);
  if (options.piece_length) download.set_piece_length(*options.piece_length);
  if (options.content_for_calculating_task_id)
    download.set_content_for_calculating_task_id(*options.content_for_calculating_task_id);
  return request;
}

}  // namespace

std::string ExplanationText(const wire::ExplainTaskResponse& response, bool with_pieces) {
  std::string text = StrCat("task ", response.task_id(), "\n");
  for (const wire::ExplainedDownload& download : response.downloads()) {
    const absl::Time begun =
        absl::FromUnixSeconds(download.begun_at().seconds()) + absl::Nanoseconds(download.begun_at().nanos());
    text += StrCat("\ndownload of ", LocalTimeText(begun), ", peer ", download.peer_id(), "\n");
    text += Summary(download, response.limits());
    if (!download.events().empty()) text += "\n";
    for (const wire::DownloadEvent& event : download.events()) {
      text += StrCat("  at ", Milliseconds(event.at_milliseconds()), ": ", event.text());
      if (event.waited_milliseconds() > 0) text += StrCat(" (waited ", Milliseconds(event.waited_milliseconds()), ")");
      text += "\n";
    }
    for (const std::string& cause : download.causes()) text += StrCat("  trouble: ", cause, "\n");
    if (!download.sources().empty()) text += StrCat("\n", SourceTable(download).ToString());
    if (with_pieces) text += StrCat("\n", PieceText(download));
  }
  return text;
}

int ExplainTask(const DfctlOptions& options) {
  const auto client = ConnectDaemon(options);
  if (!client) return 1;
  wire::ExplainTaskResponse response;
  absl::Status called = CallUnary(*client, kExplainTask, MakeRequest(options.why), &response, kTimeout);
  if (absl::IsUnimplemented(called))
    called = absl::UnimplementedError("this dfdaemon does not remember its downloads: it is another implementation");
  if (!called.ok()) {
    PrintFailure(options, "Explaining Task", called);
    return 1;
  }
  if (!options.json) {
    std::cout << ExplanationText(response, options.why.pieces);
    return 0;
  }
  google::protobuf::util::JsonPrintOptions format;
  format.add_whitespace = true;
  format.preserve_proto_field_names = true;
  format.always_print_primitive_fields = true;
  std::string json;
  if (!google::protobuf::util::MessageToJsonString(response, &json, format).ok()) {
    PrintFailure(options, "Explaining Task", absl::InternalError("the answer cannot be written as JSON"));
    return 1;
  }
  std::cout << json;
  return 0;
}

}  // namespace dragonfly::cli
