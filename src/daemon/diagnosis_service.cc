// SPDX-License-Identifier: Apache-2.0
#include "daemon/diagnosis_service.h"

#include <utility>

#include "base/status.h"
#include "base/text.h"
#include "daemon/piece_message.h"
#include "daemon/task_manager.h"
#include "dragonfly/ext/v1/diagnosis.grpc.pb.h"
#include "rpc/status.h"

namespace dragonfly::daemon {

namespace {

namespace wire = ext::v1;

void SetStory(DownloadStory story, wire::ExplainedDownload* out) {
  out->set_url(std::move(story.url));
  out->set_peer_id(std::move(story.peer_id));
  SetTimestamp(story.begun_at, out->mutable_begun_at());
  out->set_total_milliseconds(absl::ToDoubleMilliseconds(story.total));
  out->set_running(story.running);
  if (!story.outcome.ok()) out->set_failure(story.outcome.ToString());
  out->set_scheduler(std::move(story.scheduler));
  out->set_scheduler_wait_milliseconds(absl::ToDoubleMilliseconds(story.scheduler_wait));
  if (story.first_asked) out->set_first_asked_milliseconds(absl::ToDoubleMilliseconds(*story.first_asked));
  if (story.first_piece) out->set_first_piece_milliseconds(absl::ToDoubleMilliseconds(*story.first_piece));
  for (DownloadStory::Source& source : story.sources) {
    wire::PieceSource& row = *out->add_sources();
    row.set_peer_id(std::move(source.peer_id));
    row.set_host_id(std::move(source.host_id));
    row.set_address(std::move(source.address));
    row.set_pieces(source.pieces);
    row.set_bytes(source.bytes);
    row.set_cost_milliseconds(absl::ToDoubleMilliseconds(source.cost));
    row.set_max_cost_milliseconds(absl::ToDoubleMilliseconds(source.max_cost));
    row.set_failures(source.failures);
    row.set_offered(source.offered);
  }
  for (DownloadStory::Event& event : story.events) {
    wire::DownloadEvent& row = *out->add_events();
    row.set_at_milliseconds(absl::ToDoubleMilliseconds(event.at));
    row.set_waited_milliseconds(absl::ToDoubleMilliseconds(event.waited));
    row.set_text(std::move(event.text));
  }
  for (std::string& cause : story.causes) out->add_causes(std::move(cause));
  for (const DownloadStory::Piece& piece : story.pieces) {
    wire::ExplainedPiece& row = *out->add_pieces();
    row.set_number(piece.number);
    row.set_length(piece.length);
    row.set_source(piece.source);
    row.set_begin_milliseconds(piece.begin_ms);
    row.set_cost_milliseconds(piece.cost_ms);
  }
  out->set_pieces_not_kept(story.pieces_not_kept);
}

class DiagnosisService final : public wire::Diagnosis::CallbackService, public Service {
 public:
  DiagnosisService(const TaskHistory& history, const DaemonConfig& config) : history_(history), config_(config) {}

  grpc::Service* grpc() override { return this; }
  // No call outlives its handler.
  boost::asio::awaitable<void> Stop() override { co_return; }

  grpc::ServerUnaryReactor* ExplainTask(grpc::CallbackServerContext* context, const wire::ExplainTaskRequest* request,
                                        wire::ExplainTaskResponse* response) override {
    grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
    reactor->Finish(rpc::ToGrpc(Explain(*request, response)));
    return reactor;
  }

 private:
  absl::Status Explain(const wire::ExplainTaskRequest& request, wire::ExplainTaskResponse* response) const {
    DF_ASSIGN_OR_RETURN(const TaskId id, request.task_id().empty() ? TaskManager::IdOf(request.download())
                                                                   : TaskId::Parse(request.task_id()));
    const auto downloads = history_.Find(id);
    if (downloads.empty()) {
      return absl::NotFoundError(StrCat("no download of task ", id.str(),
                                        " is remembered: it came before this dfdaemon started, or is too long ago, "
                                        "or was whole on this host already"));
    }
    response->set_task_id(id.str());
    for (const auto& download : downloads) SetStory(download->Story(request.with_pieces()), response->add_downloads());
    response->mutable_limits()->set_download_bytes_per_second(config_.download.rate_limit);
    response->mutable_limits()->set_back_to_source_bytes_per_second(config_.download.back_to_source_rate_limit);
    response->mutable_limits()->set_concurrent_pieces(config_.download.concurrent_piece_count);
    return absl::OkStatus();
  }

  const TaskHistory& history_;
  const DaemonConfig& config_;
};

}  // namespace

std::unique_ptr<Service> MakeDiagnosisService(const TaskHistory& history, const DaemonConfig& config) {
  return std::make_unique<DiagnosisService>(history, config);
}

}  // namespace dragonfly::daemon
