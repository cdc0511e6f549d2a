// SPDX-License-Identifier: Apache-2.0
#include "cli/download_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "base/backend_error.h"

namespace dragonfly::cli {
namespace {

using nlohmann::json;
using testing::HasSubstr;

ReportedFile File(const std::string& name) {
  ReportedFile file;
  file.url = "http://h/" + name;
  file.output = "/out/" + name;
  return file;
}

absl::Status NotFound() {
  BackendError error;
  error.message = "404 Not Found";
  error.status_code = 404;
  return MakeBackendErrorStatus(error);
}

TEST(DownloadReport, TellsFailuresOfSeveralFilesAtTheEnd) {
  std::ostringstream out;
  ReportOptions options;
  options.several = true;
  DownloadReport report(options, out);
  report.Announce(3, 0);
  const ReportedFile missing = File("missing");
  const ReportedFile evil = File("e\x1b[2Jvil");
  report.Failed(&missing, NotFound(), FailureKind::kCall);
  report.Failed(&evil, absl::InternalError("broken"), FailureKind::kLocal);
  report.Finished(File("good"), {});
  EXPECT_EQ(out.str(), "");
  EXPECT_EQ(report.Finish(), 1);
  const std::string stars(40, '*');
  EXPECT_EQ(out.str(), "File: /out/missing\nDownloading Failed!\n" + stars +
                           "\nBad Status Code: 404\nMessage: 404 Not Found\n" + stars +
                           "\nFile: /out/e?[2Jvil\nDownloading Failed!\n" + stars + "\nMessage: broken\n" + stars +
                           "\n2 of 3 files failed\n");
}

TEST(DownloadReport, TellsNothingOfASuccess) {
  std::ostringstream out;
  DownloadReport report({}, out);
  report.Announce(1, 0);
  report.Started(File("a"), "id", 5, false);
  report.Finished(File("a"), {});
  EXPECT_EQ(report.Finish(), 0);
  EXPECT_EQ(out.str(), "");
}

TEST(DownloadReport, TellsEventsAsLinesOfJson) {
  std::ostringstream out;
  ReportOptions options;
  options.json = options.several = true;
  DownloadReport report(options, out);
  report.Announce(3, 0);
  report.Started(File("a\xff"), "id", 5, false);
  DownloadFigures figures;
  figures.task_id = "id";
  figures.bytes = 5;
  figures.seconds = 0.5;
  figures.bytes_by_source = {1, 2, 3};
  report.Finished(File("a"), figures);
  report.Kept(File("b"), 9);
  const ReportedFile missing = File("c");
  report.Failed(&missing, NotFound(), FailureKind::kCall);
  EXPECT_EQ(report.Finish(), 1);

  std::vector<json> events;
  std::istringstream lines(out.str());
  for (std::string line; std::getline(lines, line);) events.push_back(json::parse(line));
  ASSERT_EQ(events.size(), 5u);
  EXPECT_EQ(events[0]["event"], "started");
  EXPECT_EQ(events[0]["content_length"], 5);
  EXPECT_EQ(events[1], json::parse(R"({"event": "finished", "url": "http://h/a", "output": "/out/a", "task_id": "id",
      "bytes": 5, "seconds": 0.5,
      "bytes_by_source": {"back_to_source": 1, "remote_peer": 2, "local_peer": 3}})"));
  EXPECT_EQ(events[2], json::parse(R"({"event": "kept", "url": "http://h/b", "output": "/out/b", "bytes": 9})"));
  EXPECT_EQ(events[3], json::parse(R"({"event": "error", "url": "http://h/c", "output": "/out/c", "code": "INTERNAL",
      "message": "404 Not Found", "status_code": 404})"));
  EXPECT_EQ(events[4]["event"], "summary");
  EXPECT_EQ(events[4]["files"], 3);
  EXPECT_EQ(events[4]["failed"], 1);
}

TEST(DownloadReport, ShowsNoSecretsOfAUrl) {
  EXPECT_EQ(ReportedUrl("https://user:password@h/a?X-Signature=1#x"), "https://h/a");
  EXPECT_EQ(ReportedUrl("hdfs://user@h:9870/a"), "hdfs://h:9870/a");
}

}  // namespace
}  // namespace dragonfly::cli
