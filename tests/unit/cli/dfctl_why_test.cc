// SPDX-License-Identifier: Apache-2.0
#include "cli/dfctl_why.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace dragonfly::cli {
namespace {

using testing::HasSubstr;
using testing::Not;

// Eight pieces of 1 MiB in a second: six from a parent, two from the origin.
ext::v1::ExplainTaskResponse Response() {
  ext::v1::ExplainTaskResponse response;
  response.set_task_id("0123");
  ext::v1::ExplainedDownload& download = *response.add_downloads();
  download.set_url("http://o/f");
  download.set_peer_id("me");
  download.set_total_milliseconds(1100);
  download.set_scheduler("10.0.0.9:8002");
  download.set_scheduler_wait_milliseconds(42);
  download.set_first_asked_milliseconds(100);
  download.set_first_piece_milliseconds(150);
  ext::v1::PieceSource& parent = *download.add_sources();
  parent.set_peer_id("p1");
  parent.set_host_id("host-1");
  parent.set_address("10.0.0.1:4000");
  parent.set_pieces(6);
  parent.set_bytes(6 << 20);
  parent.set_cost_milliseconds(600);
  parent.set_max_cost_milliseconds(250);
  parent.set_failures(1);
  ext::v1::PieceSource& origin = *download.add_sources();
  origin.set_pieces(2);
  origin.set_bytes(2 << 20);
  origin.set_cost_milliseconds(100);
  ext::v1::DownloadEvent& event = *download.add_events();
  event.set_at_milliseconds(43);
  event.set_waited_milliseconds(42);
  event.set_text("the scheduler offers 1 parents");
  download.add_causes("parent 10.0.0.1:4000: piece 3 stalled");
  ext::v1::ExplainedPiece& piece = *download.add_pieces();
  piece.set_number(3);
  piece.set_length(1 << 20);
  piece.set_source(1);
  piece.set_begin_milliseconds(120);
  piece.set_cost_milliseconds(50);
  download.set_pieces_not_kept(7);
  return response;
}

TEST(DfctlWhy, BeginsWithWhatTookHowLong) {
  const std::string text = ExplanationText(Response(), /*with_pieces=*/false);
  EXPECT_THAT(text, testing::StartsWith("task 0123\n"));
  EXPECT_THAT(text, HasSubstr("took 1100.0 ms: 8.0 MiB in 8 pieces; 6.0 MiB from peers, 2.0 MiB from the origin\n"));
  EXPECT_THAT(text, HasSubstr("scheduler: 10.0.0.9:8002, waited 42.0 ms for it\n"));
  EXPECT_THAT(text, HasSubstr("first piece: asked for after 100.0 ms, here after 150.0 ms\n"));
  EXPECT_THAT(text, HasSubstr("at 43.0 ms: the scheduler offers 1 parents (waited 42.0 ms)\n"));
  EXPECT_THAT(text, HasSubstr("trouble: parent 10.0.0.1:4000: piece 3 stalled\n"));
  EXPECT_THAT(text, HasSubstr(" host-1   10.0.0.1:4000   p1     6        6.0 MiB   100.0 ms   250.0 ms   1      \n"));
  EXPECT_THAT(text, HasSubstr(" origin   -               -      2        2.0 MiB   50.0 ms "));
  EXPECT_THAT(text, Not(HasSubstr("held back")));
  EXPECT_THAT(text, Not(HasSubstr("PIECE  ")));
}

TEST(DfctlWhy, ListsPiecesWhenAsked) {
  const std::string text = ExplanationText(Response(), /*with_pieces=*/true);
  EXPECT_THAT(text, HasSubstr(" 3       1.0 MiB   origin   120.0 ms   50.0 ms \n"));
  EXPECT_THAT(text, HasSubstr("and 7 more without a row\n"));
}

TEST(DfctlWhy, NamesTheLimitsThatHeldItBack) {
  ext::v1::ExplainTaskResponse response = Response();
  response.mutable_limits()->set_download_bytes_per_second(6 << 20);
  response.mutable_limits()->set_back_to_source_bytes_per_second(100 << 20);
  response.mutable_limits()->set_concurrent_pieces(4);
  const std::string text = ExplanationText(response, false);
  EXPECT_THAT(text, HasSubstr("held back by download.bandwidthLimit: 100% of 6.0 MiB/s was used\n"));
  EXPECT_THAT(text, Not(HasSubstr("backToSource")));
  EXPECT_THAT(text, Not(HasSubstr("concurrentPieceCount")));
  response.mutable_downloads(0)->mutable_sources(0)->set_cost_milliseconds(3800);
  EXPECT_THAT(ExplanationText(response, false), HasSubstr("all of download.concurrentPieceCount (4) were in use\n"));
}

TEST(DfctlWhy, TellsOfADownloadThatFailedOrRuns) {
  ext::v1::ExplainTaskResponse response;
  response.add_downloads()->set_failure("INTERNAL: gone");
  response.add_downloads()->set_running(true);
  const std::string text = ExplanationText(response, true);
  EXPECT_THAT(text, HasSubstr("failed after 0.0 ms: 0 B in 0 pieces"));
  EXPECT_THAT(text, HasSubstr("failure: INTERNAL: gone\n"));
  EXPECT_THAT(text, HasSubstr("running for 0.0 ms"));
  EXPECT_THAT(text, HasSubstr("scheduler: none answered"));
}

}  // namespace
}  // namespace dragonfly::cli
