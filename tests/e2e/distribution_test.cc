// SPDX-License-Identifier: Apache-2.0
// The promise of the system: a file is read from its origin once and reaches every host.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "tests/e2e/harness/cluster.h"
#include "tests/e2e/harness/origin.h"

namespace dragonfly::e2e {
namespace {

constexpr uint64_t kMiB = 1 << 20;
constexpr std::chrono::seconds kDownloadTimeout{120};

class Distribution : public testing::Test {
 protected:
  void StartOrigin(uint64_t rate = 0) {
    std::filesystem::create_directories(dir_.path() + "/origin");
    origin_ = std::make_unique<Origin>(dir_.path() + "/origin", rate);
  }

  // Downloads `url` on every peer at the same moment and checks each copy against the origin's file.
  void DownloadEverywhere(Cluster& cluster, const std::string& url, const std::string& name) {
    std::vector<Process> runs;
    for (size_t i = 0; i < cluster.size(); ++i) {
      runs.push_back(cluster.peer(i).Dfget(url, cluster.Output(name + "." + std::to_string(i))));
    }
    for (size_t i = 0; i < runs.size(); ++i) {
      EXPECT_EQ(runs[i].Wait(kDownloadTimeout), 0) << cluster.peer(i).name() << ": " << runs[i].Log();
      EXPECT_TRUE(SameContent(origin_->root() + "/" + name, cluster.Output(name + "." + std::to_string(i))))
          << "copy of " << cluster.peer(i).name();
    }
  }

  TempDir dir_;
  std::unique_ptr<Origin> origin_;
};

TEST_F(Distribution, ReadsEveryByteOnceFromTheOriginForThreeHosts) {
  StartOrigin();
  Cluster cluster(2);
  for (const uint64_t size : {uint64_t{0}, uint64_t{1}, 4 * kMiB, 4 * kMiB + 1, 100 * kMiB + 12345}) {
    SCOPED_TRACE(size);
    const std::string name = "file-" + std::to_string(size);
    WriteRandomFile(origin_->root() + "/" + name, size, size);
    DownloadEverywhere(cluster, origin_->Url(name), name);
    // The one that reads asks by reading; the other two may ask whether it is still the same.
    if (size <= 4 * kMiB) EXPECT_LE(origin_->Requests(name), 3u);
    // An empty file has no range, and nginx says so in a page.
    if (size > 0) EXPECT_EQ(origin_->BytesSent(name), size);
  }
}

TEST_F(Distribution, HandlesALengthThatTheOriginDoesNotTell) {
  StartOrigin();
  Cluster cluster(2);
  for (const uint64_t size : {uint64_t{1}, 4 * kMiB, 9 * kMiB + 5}) {
    SCOPED_TRACE(size);
    const std::string name = "chunked-" + std::to_string(size);
    WriteRandomFile(origin_->root() + "/" + name, size, size);
    DownloadEverywhere(cluster, origin_->ChunkedUrl(name), name);
    // nginx counts the frames of the chunks, too.
    EXPECT_GE(origin_->BytesSent(name), size);
    EXPECT_LE(origin_->BytesSent(name), size + size / 100 + 64);
  }
}

TEST_F(Distribution, KeepsASparseFileOfTwoAndAHalfGiBRight) {
  StartOrigin();
  Cluster cluster(2);
  const std::string path = origin_->root() + "/sparse";
  constexpr uint64_t kSize = 2560 * kMiB + 77;
  WriteRandomFile(path, kMiB, 5);
  const int file = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
  ASSERT_GE(file, 0);
  ASSERT_EQ(::ftruncate(file, kSize), 0);
  // Marks around piece borders and at the end, so that a piece in the wrong place shows.
  for (uint64_t at = 8 * kMiB - 5; at + 16 < kSize; at += 8 * kMiB) {
    const std::string mark = "mark " + std::to_string(at);
    ASSERT_EQ(::pwrite(file, mark.data(), mark.size(), static_cast<off_t>(at)), static_cast<ssize_t>(mark.size()));
  }
  ::close(file);
  DownloadEverywhere(cluster, origin_->Url("sparse"), "sparse");
  EXPECT_EQ(origin_->BytesSent("sparse"), kSize);
}

TEST_F(Distribution, ServesEightPeersThatStartAtTheSameMoment) {
  StartOrigin();
  Cluster cluster(8);
  const uint64_t size = 200 * kMiB + 1;
  WriteRandomFile(origin_->root() + "/burst", size);
  DownloadEverywhere(cluster, origin_->Url("burst"), "burst");
  EXPECT_EQ(origin_->BytesSent("burst"), size);
  double from_peers = 0;
  for (size_t i = 0; i < cluster.size(); ++i) {
    EXPECT_EQ(cluster.peer(i).Metric("dragonfly_client_download_traffic", "BACK_TO_SOURCE"), 0) << i;
    from_peers += cluster.peer(i).Metric("dragonfly_client_download_traffic", "REMOTE_PEER");
  }
  EXPECT_EQ(static_cast<uint64_t>(from_peers), size * cluster.size());
}

// Nobody who downloads may wait for somebody who waits for it, so parents alone form a graph with an end, where hosts
// give nothing. With the parents that are given on the way everybody gives.
TEST_F(Distribution, EachOfEightPeersGivesToOthersWhileItDownloads) {
  StartOrigin();
  TempDir dir;
  SchedulerProcess scheduler(dir.path() + "/scheduler");
  const std::string limit = "  bandwidthLimit: 16MiB\n";
  PeerSettings of_seed;
  of_seed.name = "seed";
  of_seed.seed = true;
  of_seed.upload = limit;
  Peer seed(dir.path() + "/seed", scheduler.port(), of_seed);
  std::vector<std::unique_ptr<Peer>> peers;
  for (size_t i = 0; i < 8; ++i) {
    PeerSettings settings;
    settings.name = "peer-" + std::to_string(i);
    settings.upload = limit;
    peers.push_back(std::make_unique<Peer>(dir.path() + "/" + settings.name, scheduler.port(), settings));
  }
  const uint64_t size = 96 * kMiB + 1;
  WriteRandomFile(origin_->root() + "/wide", size);
  const auto begin = std::chrono::steady_clock::now();
  std::vector<Process> runs;
  for (size_t i = 0; i < peers.size(); ++i) {
    runs.push_back(peers[i]->Dfget(origin_->Url("wide"), dir.path() + "/copy." + std::to_string(i)));
  }
  for (size_t i = 0; i < runs.size(); ++i) {
    EXPECT_EQ(runs[i].Wait(kDownloadTimeout), 0) << runs[i].Log();
    EXPECT_TRUE(SameContent(origin_->root() + "/wide", dir.path() + "/copy." + std::to_string(i))) << i;
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  RecordProperty("milliseconds", static_cast<int>(took.count() * 1000));
  EXPECT_EQ(origin_->BytesSent("wide"), size);
  // The seed need not send what peers can give each other. Of eight one may come so late that nobody needs it.
  EXPECT_LE(seed.Metric("dragonfly_client_upload_traffic"), 3.0 * static_cast<double>(size));
  const auto gives = [](const auto& peer) { return peer->Metric("dragonfly_client_upload_traffic") >= 8.0 * kMiB; };
  EXPECT_GE(std::ranges::count_if(peers, gives), 7);
}

TEST_F(Distribution, GoesOnWhenTheSeedDiesHalfWay) {
  StartOrigin(/*rate=*/20 * kMiB);
  Cluster cluster(3);
  const uint64_t size = 64 * kMiB;
  WriteRandomFile(origin_->root() + "/orphan", size);
  std::vector<Process> runs;
  for (size_t i = 0; i < cluster.size(); ++i) {
    runs.push_back(cluster.peer(i).Dfget(origin_->Url("orphan"), cluster.Output("orphan." + std::to_string(i))));
  }
  ASSERT_TRUE(Await([&] { return cluster.seed().Metric("dragonfly_client_upload_traffic") > 16.0 * kMiB; },
                    std::chrono::seconds(30)));
  cluster.seed().process().Kill();
  for (size_t i = 0; i < runs.size(); ++i) {
    EXPECT_EQ(runs[i].Wait(kDownloadTimeout), 0) << runs[i].Log();
    EXPECT_TRUE(SameContent(origin_->root() + "/orphan", cluster.Output("orphan." + std::to_string(i)))) << i;
  }
  // What the seed had passed on to somebody is not read again: it passed on 16 MiB to three peers, so at least a third
  // of that is different bytes.
  double again = 0;
  for (size_t i = 0; i < cluster.size(); ++i) {
    again += cluster.peer(i).Metric("dragonfly_client_download_traffic", "BACK_TO_SOURCE");
  }
  EXPECT_LE(again, static_cast<double>(size - 16 * kMiB / 3));
}

// Datagrams that this host's network namespace has received so far.
uint64_t DatagramsReceived() {
  std::ifstream file("/proc/net/snmp");
  std::string names, values;
  while (std::getline(file, names) && !names.starts_with("Udp: ")) {
  }
  std::getline(file, values);
  std::istringstream name_of(names), value_of(values);
  std::string name, value;
  while (name_of >> name && value_of >> value) {
    if (name == "InDatagrams") return std::stoull(value);
  }
  return 0;
}

// Parents of two complete copies, of which a child takes pieces by QUIC.
TEST_F(Distribution, TakesPiecesByQuicAndGoesOnWhenAParentDiesHalfWay) {
  StartOrigin();
  const SchedulerProcess scheduler(dir_.path() + "/scheduler");
  // Slow enough that the child is not done when one of them dies.
  const std::string limit = "  bandwidthLimit: 16MB\n";
  Peer first(dir_.path() + "/first", scheduler.port(), {.name = "first", .upload = limit});
  Peer second(dir_.path() + "/second", scheduler.port(), {.name = "second", .upload = limit});
  // What cannot be had by QUIC would come from the origin, which sends to the first alone.
  Peer child(dir_.path() + "/child", scheduler.port(), {.name = "child", .download = "  protocol: quic\n"});
  const uint64_t size = 96 * kMiB + 77;
  WriteRandomFile(origin_->root() + "/quic", size);
  const std::string url = origin_->Url("quic");
  const auto output = [&](const Peer& peer) { return dir_.path() + "/quic." + peer.name(); };
  for (Peer* parent : {&first, &second}) {
    Process run = parent->Dfget(url, output(*parent));
    ASSERT_EQ(run.Wait(kDownloadTimeout), 0) << run.Log();
  }
  ASSERT_EQ(origin_->BytesSent("quic"), size);

  const uint64_t datagrams_before = DatagramsReceived();
  Process run = child.Dfget(url, output(child));
  ASSERT_TRUE(Await(
      [&] {
        return first.Metric("dragonfly_client_upload_traffic") > 8.0 * kMiB &&
               child.Metric("dragonfly_client_download_traffic", "REMOTE_PEER") > 16.0 * kMiB;
      },
      std::chrono::seconds(30)));
  EXPECT_TRUE(run.Running());
  first.process().Kill();
  EXPECT_EQ(run.Wait(kDownloadTimeout), 0) << run.Log();
  EXPECT_TRUE(SameContent(origin_->root() + "/quic", output(child)));
  // What was under way from the one that died may be read from the origin.
  const auto from_peers = static_cast<uint64_t>(child.Metric("dragonfly_client_download_traffic", "REMOTE_PEER"));
  EXPECT_EQ(origin_->BytesSent("quic") + from_peers, 2 * size);
  EXPECT_GE(from_peers, size - 8 * 4 * kMiB);
  // By TCP there would be none; the kernel moves at most 64 KiB at a time.
  EXPECT_GE(DatagramsReceived() - datagrams_before, from_peers >> 16);
}

TEST_F(Distribution, WorksWithoutASeedAndWithoutAScheduler) {
  StartOrigin();
  Cluster cluster(2, /*with_seed=*/false);
  const uint64_t size = 20 * kMiB + 3;
  WriteRandomFile(origin_->root() + "/noseed", size);
  DownloadEverywhere(cluster, origin_->Url("noseed"), "noseed");
  EXPECT_EQ(origin_->BytesSent("noseed"), size);

  cluster.scheduler().process().Kill();
  WriteRandomFile(origin_->root() + "/alone", size, 2);
  DownloadEverywhere(cluster, origin_->Url("alone"), "alone");
}

TEST_F(Distribution, FetchesOnlyWhatARangeNeeds) {
  StartOrigin();
  Cluster cluster(1);
  WriteRandomFile(origin_->root() + "/ranged", 40 * kMiB);
  Process run =
      cluster.peer(0).Dfget(origin_->Url("ranged"), cluster.Output("part"), {"--range", "bytes=9000000-9999999"});
  ASSERT_EQ(run.Wait(kDownloadTimeout), 0) << run.Log();
  std::ifstream whole(origin_->root() + "/ranged", std::ios::binary);
  std::string expected(1'000'000, '\0');
  whole.seekg(9'000'000);
  whole.read(expected.data(), static_cast<std::streamsize>(expected.size()));
  std::ifstream part(cluster.Output("part"), std::ios::binary);
  const std::string actual{std::istreambuf_iterator<char>(part), {}};
  EXPECT_EQ(actual == expected, true);
}

}  // namespace
}  // namespace dragonfly::e2e
