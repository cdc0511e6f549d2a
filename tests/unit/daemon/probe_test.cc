// SPDX-License-Identifier: Apache-2.0
#include "daemon/probe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <regex>
#include <set>
#include <sstream>
#include <string>

#include "base/text.h"
#include "daemon/host_gauges.h"

namespace dragonfly::daemon {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

TaskLabels Labels(std::string tag = "tag", std::string application = "app") {
  TaskLabels labels;
  labels.tag = std::move(tag);
  labels.application = std::move(application);
  labels.priority = 3;
  return labels;
}

// Lets every counter count once.
void UseAll(Probe& probe) {
  const TaskLabels labels = Labels();
  probe.DownloadStarted(labels);
  probe.DownloadFinished(labels, 5 << 20, absl::Milliseconds(3));
  probe.DownloadStarted(labels);
  probe.DownloadFailed(labels);
  probe.Traffic(storage::TrafficType::kRemotePeer, TaskType::kStandard, 7);
  probe.UploadStarted();
  probe.UploadFinished(TaskType::kStandard, 8);
  probe.UploadStarted();
  probe.UploadFailed();
  probe.UploadTaskStarted(labels);
  probe.UploadTaskFinished(labels, 0, absl::Milliseconds(1));
  probe.UploadTaskStarted(labels);
  probe.UploadTaskFailed(labels);
  probe.ProxyRequestStarted();
  probe.ProxyRequestFailed();
  probe.ProxyRequestViaDfdaemon();
  probe.BackendStarted("http", "GET");
  probe.BackendFinished("http", "GET", absl::Milliseconds(2));
  probe.BackendFailed("http", "HEAD");
  const TaskType type = TaskType::kStandard;
  probe.StatTaskStarted(type);
  probe.StatTaskFailed(type);
  probe.DeleteTaskStarted(type);
  probe.DeleteTaskFailed(type);
  probe.UpdateTaskStarted(type);
  probe.UpdateTaskFailed(type);
  probe.StatLocalTaskStarted(type);
  probe.StatLocalTaskFailed(type);
  probe.DeleteLocalTaskStarted(type);
  probe.DeleteLocalTaskFailed(type);
  probe.ListLocalTasksStarted(type);
  probe.ListLocalTasksFailed(type);
  probe.ListTaskEntriesStarted(type);
  probe.ListTaskEntriesFailed(type);
  probe.DeleteHostStarted();
  probe.DeleteHostFailed();
}

TEST(Probe, CountsUnderTheNamesOfTheOriginal) {
  telemetry::Metrics metrics;
  Probe probe(metrics);
  HostGauges gauges(metrics, "/");
  gauges.Refresh();
  UseAll(probe);
  const std::string page = metrics.Render();
  for (const char* line : {
           "download_task_total{app=\"app\",priority=\"3\",tag=\"tag\",type=\"0\"} 2\n",
           "download_task_failure_total{app=\"app\",priority=\"3\",tag=\"tag\",type=\"0\"} 1\n",
           "concurrent_download_task_total{app=\"app\",priority=\"3\",tag=\"tag\",type=\"0\"} 0\n",
           "download_task_duration_milliseconds_count{task_size_level=\"3\",task_type=\"0\"} 1\n",
           "download_task_duration_milliseconds_bucket{task_size_level=\"3\",task_type=\"0\",le=\"2\"} 0\n",
           "download_task_duration_milliseconds_bucket{task_size_level=\"3\",task_type=\"0\",le=\"4\"} 1\n",
           "download_task_duration_milliseconds_bucket{task_size_level=\"3\",task_type=\"0\",le=\"8388608\"} 1\n",
           "download_traffic{task_type=\"0\",type=\"REMOTE_PEER\"} 7\n",
           "upload_traffic{task_type=\"0\"} 8\n",
           "upload_task_total{app=\"app\",tag=\"tag\",type=\"0\"} 2\n",
           "upload_task_failure_total{app=\"app\",tag=\"tag\",type=\"0\"} 1\n",
           "concurrent_upload_task_total{app=\"app\",tag=\"tag\",type=\"0\"} 0\n",
           "upload_task_duration_milliseconds_count{task_size_level=\"0\",task_type=\"0\"} 1\n",
           "concurrent_upload_piece_total 0\n",
           "upload_piece_failure_total 1\n",
           "proxy_request_total 1\n",
           "proxy_request_failure_total 1\n",
           "proxy_request_via_dfdaemon_total 1\n",
           "backend_request_total{method=\"GET\",scheme=\"http\"} 1\n",
           "backend_request_failure_total{method=\"HEAD\",scheme=\"http\"} 1\n",
           "backend_request_duration_milliseconds_count{method=\"GET\",scheme=\"http\"} 1\n",
           "stat_task_total{type=\"0\"} 1\n",
           "stat_task_failure_total{type=\"0\"} 1\n",
           "delete_task_total{type=\"0\"} 1\n",
           "delete_task_failure_total{type=\"0\"} 1\n",
           "update_task_total{type=\"0\"} 1\n",
           "update_task_failure_total{type=\"0\"} 1\n",
           "stat_local_task_total{type=\"0\"} 1\n",
           "stat_local_task_failure_total{type=\"0\"} 1\n",
           "delete_local_task_total{type=\"0\"} 1\n",
           "delete_local_task_failure_total{type=\"0\"} 1\n",
           "list_local_tasks_total{type=\"0\"} 1\n",
           "list_tasks_failure_total{type=\"0\"} 1\n",
           "list_task_entries_total{type=\"0\"} 1\n",
           "list_task_entries_failure_total{type=\"0\"} 1\n",
           "delete_host_total 1\n",
           "delete_host_failure_total 1\n",
           "disk_space_total ",
           "disk_usage_space_total ",
           "version{",
       }) {
    EXPECT_THAT(page, HasSubstr(StrCat("\ndragonfly_client_", line)));
  }
}

TEST(Probe, DocumentsWhatItCounts) {
  std::ifstream file(DF_SOURCE_DIR "/docs/telemetry.md");
  std::stringstream text;
  text << file.rdbuf();
  const std::string page = text.str();
  const std::string table = page.substr(page.find("## Metrics"), page.find("## Traces") - page.find("## Metrics"));
  std::set<std::string> documented;
  const std::regex row("\\n\\|([^|]*)\\|");
  const std::regex name("`([a-z_]+)`");
  for (std::sregex_iterator at(table.begin(), table.end(), row), end; at != end; ++at) {
    const std::string first = (*at)[1];
    for (std::sregex_iterator in(first.begin(), first.end(), name); in != end; ++in) documented.insert((*in)[1]);
  }
  telemetry::Metrics metrics;
  Probe probe(metrics);
  HostGauges gauges(metrics, "/");
  UseAll(probe);
  const std::string rendered = metrics.Render();
  const std::regex family("# TYPE dragonfly_client_([a-z_]+) ");
  size_t families = 0;
  for (std::sregex_iterator at(rendered.begin(), rendered.end(), family), end; at != end; ++at, ++families) {
    EXPECT_THAT(documented, Contains(std::string((*at)[1])));
  }
  EXPECT_GT(families, 30u);
}

TEST(Probe, StrangersCannotMakeSeriesWithoutEnd) {
  telemetry::Metrics metrics;
  Probe probe(metrics);
  for (size_t i = 0; i < 2 * Probe::kLabelPairsMax; ++i) probe.DownloadStarted(Labels(StrCat("tag-", i)));
  probe.DownloadStarted(Labels("tag-0"));
  const std::string page = metrics.Render();
  EXPECT_THAT(page, HasSubstr("download_task_total{app=\"app\",priority=\"3\",tag=\"tag-0\",type=\"0\"} 2\n"));
  EXPECT_THAT(page, HasSubstr(StrCat("download_task_total{app=\"other\",priority=\"3\",tag=\"other\",type=\"0\"} ",
                                     Probe::kLabelPairsMax, "\n")));
  EXPECT_THAT(page, Not(HasSubstr(StrCat("tag=\"tag-", Probe::kLabelPairsMax, "\""))));

  Probe other(metrics);
  other.DownloadStarted(Labels(std::string(1000, 'x') + "end", "a\xff\nb"));
  EXPECT_THAT(metrics.Render(), HasSubstr(StrCat("app=\"a??b\",priority=\"3\",tag=\"", std::string(128, 'x'), "\"")));
}

TEST(Probe, WithoutATracerNothingIsRecorded) {
  telemetry::Metrics metrics;
  const Probe probe(metrics);
  EXPECT_FALSE(probe.tracing());
  EXPECT_FALSE(probe.Root().Start("x").recording());
}

}  // namespace
}  // namespace dragonfly::daemon
