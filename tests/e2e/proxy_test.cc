// SPDX-License-Identifier: Apache-2.0
// The proxy of real daemons, used by curl as people use it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "base/text.h"
#include "tests/e2e/harness/cluster.h"
#include "tests/e2e/harness/origin.h"
#include "tests/support/nginx.h"

namespace dragonfly::e2e {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr std::chrono::seconds kPatience{180};

std::string ReadText(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream bytes;
  bytes << file.rdbuf();
  return std::move(bytes).str();
}

class ProxyE2e : public ::testing::Test {
 protected:
  ProxyE2e() {
    std::filesystem::create_directories(dir_.path() + "/origin");
    origin_ = std::make_unique<Origin>(dir_.path() + "/origin");
    scheduler_ = std::make_unique<SchedulerProcess>(dir_.path() + "/scheduler");
    for (const char* const name : {"first", "second"}) {
      PeerSettings settings;
      settings.name = name;
      settings.proxy = "  rules:\n    - regex: '/p2p/|\\.bin'\n";
      peers_.push_back(std::make_unique<Peer>(dir_.path() + "/" + name, scheduler_->port(), settings));
    }
  }

  std::string Out(const std::string& name) const { return dir_.path() + "/" + name; }

  struct Curled {
    int exit_code = -1;
    std::string text;  // standard output and error
  };
  // curl through the proxy of `peer`.
  Curled Curl(Peer& peer, std::vector<std::string> arguments) {
    const std::string log = Out(StrCat("curl-", ++runs_));
    std::vector<std::string> argv = {"/usr/bin/curl", "-sS", "-x", StrCat("http://127.0.0.1:", peer.proxy_port())};
    argv.insert(argv.end(), {"--noproxy", ""});
    argv.insert(argv.end(), arguments.begin(), arguments.end());
    Process process(argv, log);
    Curled curled;
    curled.exit_code = process.Wait(kPatience).value_or(-1);
    curled.text = process.Log();
    return curled;
  }
  // The status that `arguments` get.
  int Status(Peer& peer, std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), {"-o", Out("body"), "-w", "%{http_code}"});
    const Curled curled = Curl(peer, arguments);
    return ParseDecimal<int>(curled.text).value_or(-1);
  }

  TempDir dir_;
  std::unique_ptr<Origin> origin_;
  std::unique_ptr<SchedulerProcess> scheduler_;
  std::vector<std::unique_ptr<Peer>> peers_;
  int runs_ = 0;
};

TEST_F(ProxyE2e, TwoHostsReadTheOriginOnce) {
  const std::string file = origin_->root() + "/image.bin";
  WriteRandomFile(file, 200 << 20);
  std::vector<Process> curls;
  for (size_t i = 0; i < peers_.size(); ++i) {
    curls.emplace_back(std::vector<std::string>{"/usr/bin/curl", "-sS", "--noproxy", "", "-x",
                                                StrCat("http://127.0.0.1:", peers_[i]->proxy_port()), "-o",
                                                Out(StrCat("image-", i)), origin_->Url("image.bin")},
                       Out(StrCat("curl-image-", i)));
  }
  for (size_t i = 0; i < curls.size(); ++i) {
    EXPECT_EQ(curls[i].Wait(kPatience), 0) << curls[i].Log();
    EXPECT_TRUE(SameContent(Out(StrCat("image-", i)), file));
  }
  EXPECT_EQ(origin_->BytesSent("image.bin"), 200u << 20) << "each byte left the origin once";
}

TEST_F(ProxyE2e, ResumesAndCutsRanges) {
  const std::string file = origin_->root() + "/large.bin";
  WriteRandomFile(file, 30 << 20);
  const std::string url = origin_->Url("large.bin");
  const std::string half = Out("half");
  std::filesystem::copy_file(file, half);
  std::filesystem::resize_file(half, 13'000'001);
  EXPECT_EQ(Curl(*peers_[0], {"-C", "-", "-o", half, url}).exit_code, 0);
  EXPECT_TRUE(SameContent(half, file));

  const std::string content = ReadText(file);
  EXPECT_EQ(Status(*peers_[0], {"-r", "4194300-4194400", url}), 206);
  EXPECT_TRUE(ReadText(Out("body")) == content.substr(4194300, 101));
  EXPECT_EQ(Status(*peers_[0], {"-r", "-17", url}), 206);
  EXPECT_TRUE(ReadText(Out("body")) == content.substr(content.size() - 17));
  EXPECT_EQ(Status(*peers_[0], {"-r", "99999999-", url}), 416);
}

TEST_F(ProxyE2e, AnswersHeadAndConditions) {
  WriteRandomFile(origin_->root() + "/file.bin", 100'000);
  const std::string url = origin_->Url("file.bin");
  for (int i = 0; i < 2; ++i) {
    const Curled head = Curl(*peers_[0], {"-I", url});
    EXPECT_THAT(head.text, HasSubstr("200 OK"));
    EXPECT_THAT(head.text, HasSubstr("Content-Length: 100000"));
    EXPECT_EQ(Curl(*peers_[0], {"--etag-save", Out("etag"), "-o", Out("body"), url}).exit_code, 0);
    EXPECT_EQ(Status(*peers_[0], {"--etag-compare", Out("etag"), url}), 304);
    EXPECT_EQ(Curl(*peers_[0], {"-R", "-o", Out("dated"), url}).exit_code, 0);
    EXPECT_EQ(Status(*peers_[0], {"-z", Out("dated"), url}), 304);
  }
}

TEST_F(ProxyE2e, TellsWhatTheOriginSays) {
  const dragonfly::testing::Nginx failing({{"location /p2p/500 { return 500; } location /p2p/502 { return 502; }"}});
  EXPECT_EQ(Status(*peers_[0], {origin_->Url("missing.bin")}), 404);
  EXPECT_EQ(Status(*peers_[0], {failing.Url("/p2p/500")}), 500);
  EXPECT_EQ(Status(*peers_[0], {failing.Url("/p2p/502")}), 502);
  EXPECT_EQ(Status(*peers_[0], {StrCat("http://127.0.0.1:", FreePort(), "/x.bin")}), 502);
  EXPECT_THAT(ReadText(Out("body")), HasSubstr("127.0.0.1"));
  EXPECT_EQ(Status(*peers_[0], {origin_->ChunkedUrl("missing")}), 404);
}

TEST_F(ProxyE2e, ServesFilesOfUnknownLength) {
  const std::string file = origin_->root() + "/stream.bin";
  WriteRandomFile(file, 11 << 20);
  for (const auto& peer : peers_) {
    EXPECT_EQ(Curl(*peer, {"-o", Out("stream"), origin_->ChunkedUrl("stream.bin")}).exit_code, 0);
    EXPECT_TRUE(SameContent(Out("stream"), file));
  }
}

TEST_F(ProxyE2e, ServesWhatItHasWhileTheOriginIsAway) {
  const std::string file = Out("kept");
  WriteRandomFile(origin_->root() + "/kept.bin", 9 << 20);
  std::filesystem::copy_file(origin_->root() + "/kept.bin", file);
  const std::string url = origin_->Url("kept.bin");
  EXPECT_EQ(Curl(*peers_[0], {"-o", Out("a"), url}).exit_code, 0);
  origin_.reset();
  EXPECT_EQ(Curl(*peers_[0], {"-o", Out("b"), url}).exit_code, 0);
  EXPECT_TRUE(SameContent(Out("b"), file));
  EXPECT_EQ(Status(*peers_[0], {"-I", url}), 200);
  peers_[0]->Restart();
  EXPECT_EQ(Curl(*peers_[0], {"-o", Out("c"), url}).exit_code, 0) << "also by a daemon that was started anew";
  EXPECT_TRUE(SameContent(Out("c"), file));
}

TEST_F(ProxyE2e, TakesARangeOfAHugeFileWithoutTheRest) {
  const std::string file = origin_->root() + "/huge.bin";
  std::ofstream(file).close();
  ASSERT_EQ(::truncate(file.c_str(), 10LL << 30), 0);
  {
    std::fstream mark(file, std::ios::binary | std::ios::in | std::ios::out);
    mark.seekp(9LL << 30);
    mark << "here it is";
  }
  EXPECT_EQ(Status(*peers_[0], {"-r", "9663676416-9663676425", origin_->Url("huge.bin")}), 206);
  EXPECT_EQ(ReadText(Out("body")), "here it is");
  EXPECT_EQ(Status(*peers_[0], {"-r", "-1", origin_->Url("huge.bin")}), 206);
  EXPECT_LE(origin_->BytesSent("huge.bin"), 128u << 20) << "only the pieces that the ranges touch";
}

TEST_F(ProxyE2e, AHugeFileComesWhole) {
  constexpr off_t kBytes = (10LL << 30) + 7;
  const std::string file = origin_->root() + "/whole.bin";
  std::ofstream(file).close();
  ASSERT_EQ(::truncate(file.c_str(), kBytes), 0);
  // Something in its first piece, behind each border of 32 bits, and at its end.
  std::fstream marks(file, std::ios::binary | std::ios::in | std::ios::out);
  for (const off_t at : {off_t{1}, off_t{1} << 31, off_t{1} << 32, (off_t{9} << 30) + 12345, kBytes - 4}) {
    marks.seekp(at);
    marks << "mark";
  }
  marks.close();
  // Compared as it comes, since it need not be kept a third time.
  const std::string script = StrCat("curl -sS --noproxy '' -x http://127.0.0.1:", peers_[0]->proxy_port(),
                                    " -D \"$0/head\" ", origin_->Url("whole.bin"), " | cmp - ", file);
  Process compared({"/bin/bash", "-o", "pipefail", "-c", script, dir_.path()}, Out("whole.log"));
  ASSERT_EQ(compared.Wait(std::chrono::minutes(10)), 0) << compared.Log();
  EXPECT_THAT(ReadText(Out("head")), HasSubstr(StrCat("Content-Length: ", kBytes, "\r\n")));
  EXPECT_EQ(origin_->BytesSent("whole.bin"), static_cast<uint64_t>(kBytes));
}

TEST_F(ProxyE2e, AThousandSmallFilesGoOverOneConnection) {
  std::ofstream list(Out("list"));
  for (int i = 0; i < 1000; ++i) {
    std::filesystem::create_directories(origin_->root() + "/p2p");
    std::ofstream(origin_->root() + StrCat("/p2p/", i)) << "file " << i;
    list << "url = \"" << origin_->Url(StrCat("p2p/", i)) << "\"\noutput = \"" << Out(StrCat("small-", i)) << "\"\n";
  }
  list.close();
  const Curled curled = Curl(*peers_[0], {"-K", Out("list"), "-w", "%{num_connects}\n"});
  EXPECT_EQ(curled.exit_code, 0) << curled.text;
  size_t connects = 0;
  for (const char c : curled.text) connects += c == '1' ? 1 : 0;
  EXPECT_EQ(connects, 1u) << "one connection to the proxy";
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(ReadText(Out(StrCat("small-", i))), StrCat("file ", i));
}

}  // namespace
}  // namespace dragonfly::e2e
