// SPDX-License-Identifier: Apache-2.0
#include "scheduler/probe.h"

#include <fstream>
#include <map>
#include <set>
#include <string>

#include "absl/strings/str_split.h"
#include "base/text.h"
#include "common/v2/common.pb.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "scheduler/host.h"
#include "telemetry/metrics.h"

namespace dragonfly::scheduler {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

const absl::Status kBroken = absl::InternalError("broken");

HostFacts Facts(const std::string& id) {
  HostFacts facts;
  facts.id = facts.hostname = id;
  facts.ip = "10.0.0.1";
  return facts;
}

void CountEverything(Probe& probe) {
  common::v2::Host host;
  host.set_os("linux");
  const HostFacts child = Facts("child"), parent = Facts("parent");
  for (const absl::Status& result : {absl::OkStatus(), kBroken}) {
    for (const Call call :
         {Call::kAnnouncePeer, Call::kStatPeer, Call::kDeletePeer, Call::kStatTask, Call::kDeleteTask, Call::kListHosts,
          Call::kDeleteHost, Call::kPreheatImage, Call::kStatImage, Call::kPreheatFile, Call::kStatFile}) {
      probe.Count(call, result);
    }
    for (const Step step :
         {Step::kRegister, Step::kStarted, Step::kBackToSourceStarted, Step::kFinished, Step::kBackToSourceFinished}) {
      probe.Count(step, /*priority=*/6, TaskType::kStandard, /*host_type=*/1, result);
    }
    probe.CountAnnounceHost(host, result);
  }
  probe.CountPiece(Traffic::kRemotePeer, TaskType::kStandard, child, &parent, 5);
  probe.CountPieceFailure(Traffic::kRemotePeer, TaskType::kStandard, child);
  probe.CountPieceFailure(Traffic::kBackToSource, TaskType::kStandard, child);
  probe.StreamOpened();
  probe.Scheduled(std::chrono::milliseconds(5));
  probe.Downloaded(1 << 20, std::chrono::milliseconds(5));
}

// Name to its labels in the order of the alphabet, of what has our prefix.
std::map<std::string, std::string> NamesOf(const std::string& page) {
  constexpr std::string_view kPrefix = "dragonfly_scheduler_";
  std::map<std::string, std::string> found;
  for (const absl::string_view text : absl::StrSplit(page, '\n')) {
    std::string_view line = ToStd(text);
    if (!line.starts_with(kPrefix)) continue;
    line.remove_prefix(kPrefix.size());
    std::string name(line.substr(0, line.find_first_of("{ ")));
    for (const std::string_view suffix : {"_sum", "_count"}) {
      if (name.ends_with(suffix)) name.resize(name.size() - suffix.size());
    }
    std::set<std::string> labels;
    const size_t open = line.find('{');
    if (open != std::string_view::npos) {
      for (const absl::string_view pair :
           absl::StrSplit(ToAbsl(line.substr(open + 1, line.find('}') - open - 1)), ',')) {
        const std::string label(ToStd(pair).substr(0, pair.find('=')));
        if (!label.empty() && label != "quantile") labels.insert(label);
      }
    }
    std::string joined;
    for (const std::string& label : labels) joined += label + " ";
    found[name] = joined;
  }
  return found;
}

// The rows of docs/compatibility/scheduler-metrics.tsv that name a test of this file.
std::map<std::string, std::string> NamesOfTheTable() {
  std::ifstream file(DF_SOURCE_DIR "/docs/compatibility/scheduler-metrics.tsv");
  std::map<std::string, std::string> found;
  for (std::string line; std::getline(file, line);) {
    if (line.empty() || line[0] == '#') continue;
    const std::vector<std::string> fields = absl::StrSplit(line, '\t');
    if (fields.size() != 3 || !fields[2].starts_with("SchedulerProbe.")) continue;
    std::set<std::string> labels;
    if (fields[1] != "-") labels = absl::StrSplit(fields[1], ',');
    std::string joined;
    for (const std::string& label : labels) joined += label + " ";
    found[fields[0]] = joined;
  }
  return found;
}

TEST(SchedulerProbe, CountsUnderTheNamesAndLabelsOfTheOriginal) {
  telemetry::Metrics metrics;
  Probe probe(metrics, /*host_traffic=*/true);
  CountEverything(probe);
  const auto expected = NamesOfTheTable();
  EXPECT_GT(expected.size(), 30u);
  EXPECT_EQ(NamesOf(metrics.Render()), expected);
}

TEST(SchedulerProbe, CountsWhatHappenedUnderTheTextsOfTheOriginal) {
  telemetry::Metrics metrics;
  Probe probe(metrics, /*host_traffic=*/true);
  CountEverything(probe);
  const std::string page = metrics.Render();
  EXPECT_THAT(page, HasSubstr("dragonfly_scheduler_stat_peer_total 2\n"));
  EXPECT_THAT(page, HasSubstr("dragonfly_scheduler_stat_peer_failure_total 1\n"));
  EXPECT_THAT(page, HasSubstr("dragonfly_scheduler_register_peer_total{host_type=\"super\",priority=\"LEVEL6\","
                              "task_type=\"STANDARD\"} 2\n"));
  EXPECT_THAT(page, HasSubstr("dragonfly_scheduler_traffic{host_type=\"normal\",task_type=\"STANDARD\",type="
                              "\"REMOTE_PEER\"} 5\n"));
  // The original registers it and forgets to count.
  EXPECT_THAT(page, HasSubstr("dragonfly_scheduler_download_piece_back_to_source_finished_failure_total{host_type="
                              "\"normal\",task_type=\"STANDARD\",traffic_type=\"BACK_TO_SOURCE\"} 1\n"));
  EXPECT_THAT(page, HasSubstr("dragonfly_scheduler_concurrent_schedule_total 1\n"));
  EXPECT_THAT(page, HasSubstr("task_size_level=\"2\""));
}

TEST(SchedulerProbe, TellsTheLongestHoldOfAShard) {
  telemetry::Metrics metrics;
  Probe probe(metrics, /*host_traffic=*/false);
  for (const auto& [held, ran] : {std::pair(1, 1), std::pair(12, 2), std::pair(4, 3)}) {
    probe.ShardHeld(std::chrono::milliseconds(held), std::chrono::milliseconds(ran));
  }
  EXPECT_THAT(metrics.Render(), HasSubstr("dragonfly_scheduler_shard_longest_hold_seconds 0.012\n"));
  EXPECT_THAT(metrics.Render(), HasSubstr("dragonfly_scheduler_shard_longest_run_seconds 0.003\n"));
}

TEST(SchedulerProbe, DropsTheTrafficOfAHostThatHasLeft) {
  telemetry::Metrics metrics;
  Probe probe(metrics, /*host_traffic=*/true);
  CountEverything(probe);
  EXPECT_THAT(metrics.Render(), HasSubstr("host_id=\"parent\""));
  probe.Forget("parent");
  EXPECT_THAT(metrics.Render(), Not(HasSubstr("host_id=\"parent\"")));
  EXPECT_THAT(metrics.Render(), HasSubstr("host_id=\"child\""));
}

// What a stranger says of its machine becomes labels: it must not fill the memory.
TEST(SchedulerProbe, BoundsTheKindsOfMachines) {
  telemetry::Metrics metrics;
  Probe probe(metrics, /*host_traffic=*/false);
  common::v2::Host host;
  for (int i = 0; i < 3000; ++i) {
    host.set_os(StrCat("os", i));
    probe.CountAnnounceHost(host, absl::OkStatus());
  }
  const std::string page = metrics.Render();
  EXPECT_THAT(page, HasSubstr("os=\"os999\""));
  EXPECT_THAT(page, Not(HasSubstr("os=\"os1000\"")));
  EXPECT_THAT(page, HasSubstr("os=\"other\",platform=\"other\""));
}

TEST(SizeLevel, FollowsTheBoundsOfTheOriginal) {
  EXPECT_EQ(SizeLevel(0), "0");
  EXPECT_EQ(SizeLevel(1), "1");
  EXPECT_EQ(SizeLevel((1 << 20) - 1), "1");
  EXPECT_EQ(SizeLevel(1 << 20), "2");
  EXPECT_EQ(SizeLevel(4 << 20), "3");
  EXPECT_EQ(SizeLevel(512ull << 20), "10");
  EXPECT_EQ(SizeLevel(1ull << 30), "11");
  EXPECT_EQ(SizeLevel((1ull << 40) - 1), "19");
  EXPECT_EQ(SizeLevel(1ull << 40), "20");
}

}  // namespace
}  // namespace dragonfly::scheduler
