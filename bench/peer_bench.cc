// SPDX-License-Identifier: Apache-2.0
// One peer's whole download path in one process: stat of the origin, registration, news, pieces over Vortex, store. The
// parent has the task, the scheduler answers at once. Two rows: a file of --bytes, to be divided by limit_bench, and
// the time of a task of one byte.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <vector>

#include "base/digest.h"
#include "base/status.h"
#include "bench/transfer.h"
#include "tests/unit/daemon/test_peer.h"

using namespace dragonfly;
using namespace dragonfly::daemon;

namespace {

void Check(const absl::Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "peer_bench: %s\n", status.ToString().c_str());
  std::exit(1);
}

common::v2::Download Wanting(const ScriptedOrigin& origin) {
  common::v2::Download download;
  download.set_url(origin.Url());
  return download;
}

// Puts the origin's content into the store of `peer`, without the way there.
void Fill(TestPeer& peer, const common::v2::Download& wire, const std::string& bytes) {
  storage::ContentShape shape;
  shape.content_length = bytes.size();
  shape.piece_length = PieceLengthFor(bytes.size());
  auto content = peer.store().FindOrCreate(*TaskManager::IdOf(wire), shape);
  Check(content.status());
  const PieceLayout layout = *(*content)->layout();
  for (PieceNumber piece(0); layout.Contains(piece); piece = piece.next()) {
    const ByteRange range = layout.RangeOf(piece);
    auto writer = (*content)->BeginPiece(piece);
    Check(writer.status());
    Check(writer->Append(std::as_bytes(std::span(bytes).subspan(range.offset, range.length))));
    Check(writer->Commit(std::nullopt, "", storage::TrafficType::kBackToSource).status());
  }
}

struct Cost {
  double seconds = 0;
  double cpu_seconds = 0;  // of both peers
};

// One cold download by `child`.
Cost Once(TestPeer& child, const common::v2::Download& wire) {
  RecordingObserver observer;
  const TimePoint begin = Clock::now();
  const double cpu_begin = bench::CpuSeconds();
  Check(child.Download(wire, observer));
  Cost cost;
  cost.cpu_seconds = bench::CpuSeconds() - cpu_begin;
  cost.seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  if (observer.BytesFrom(storage::TrafficType::kRemotePeer) != observer.started->content_length) {
    Check(absl::InternalError("the bytes did not come from the parent"));
  }
  Check(RunOn(child.io(), child.tasks().Delete(*TaskManager::IdOf(wire))));
  return cost;
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

}  // namespace

int main(int argc, char** argv) {
  uint64_t bytes = 1ull << 30;
  int runs = 5;
  CLI::App app("Measures the download path of a peer in one process.");
  app.add_option("--bytes", bytes, "of the large file");
  app.add_option("--runs", runs, "of each row, after one that is not counted");
  CLI11_PARSE(app, argc, argv);

  runtime::IoThreads parent_io(2);
  runtime::IoThreads child_io(2);
  TestPeer parent(parent_io, "parent");
  TestPeer child(child_io, "child");
  child.link.Set({CandidateParents{{parent.AsParent()}}});
  for (const uint64_t size : {uint64_t{1}, bytes}) {
    const ScriptedOrigin origin(TestContent(size));
    const common::v2::Download wire = Wanting(origin);
    Fill(parent, wire, origin.content());
    std::vector<double> seconds;
    std::vector<double> cpu_seconds;
    const int count = size == 1 ? 20 * runs : runs;
    for (int run = 0; run <= count; ++run) {
      const Cost cost = Once(child, wire);
      if (run == 0) continue;
      seconds.push_back(cost.seconds);
      cpu_seconds.push_back(cost.cpu_seconds);
    }
    const double gib = static_cast<double>(size) / static_cast<double>(1ull << 30);
    std::printf(
        "{\"name\": \"peer\", \"bytes\": %llu, \"ms\": %.3f, \"ms_max\": %.3f, \"gib_per_s\": %.3f, \"cpu_s\": %.4f}\n",
        static_cast<unsigned long long>(size), Median(seconds) * 1e3,
        *std::max_element(seconds.begin(), seconds.end()) * 1e3, gib / Median(seconds), Median(cpu_seconds));
  }
}
