// SPDX-License-Identifier: Apache-2.0
#include "manager/job_span.h"

#include <string>
#include <vector>

namespace dragonfly::manager {

telemetry::Span StartJobSpan(const JobRequest& request) {
  const auto named = [&request]() -> const char* {
    switch (request.kind) {
      case JobKind::kPreheat:
        return "preheat";
      case JobKind::kGetTask:
        return "get-task";
      case JobKind::kDeleteTask:
        return "delete-task";
      case JobKind::kSyncPeers:
        return "sync-peers";
      case JobKind::kGetImageDistribution:
        return "get-image-distribution";
      case JobKind::kListTaskEntries:
        return "list-task-entries";
      case JobKind::kGc:
        return "gc";
    }
    return "job";
  };
  telemetry::Span span = request.span.Start(named());
  if (!span.recording()) return span;
  const std::vector<std::string>& urls = request.args.download.urls;
  const std::string url = urls.empty() ? "" : urls.back().substr(0, urls.back().find_first_of("?#"));
  if (request.kind == JobKind::kPreheat) {
    span.Set("d7y.manager.preheat.type", request.args.image ? "image" : "file");
    span.Set("d7y.manager.preheat.url", url);
  }
  if (request.kind == JobKind::kGetTask) span.Set("d7y.manager.get_task.id", request.args.task_id);
  if (request.kind == JobKind::kDeleteTask) span.Set("d7y.manager.delete_task.id", request.args.task_id);
  if (request.kind == JobKind::kListTaskEntries) span.Set("d7y.manager.list_task_entries.url", url);
  return span;
}

}  // namespace dragonfly::manager
