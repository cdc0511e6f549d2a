// SPDX-License-Identifier: Apache-2.0
// Origins and disks that fail in the middle of a download: the file is right or the error is clear, and the daemon
// goes on.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <future>
#include <string>

#include "absl/strings/str_format.h"
#include "base/byte_range.h"
#include "base/text.h"
#include "tests/e2e/harness/cluster.h"
#include "tests/e2e/harness/process.h"
#include "tests/support/scripted_server.h"

namespace dragonfly::e2e {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;
using testing::HeaderOf;
using testing::ScriptedServer;
using Connection = ScriptedServer::Connection;

constexpr size_t kMiB = 1 << 20;
constexpr auto kPatience = std::chrono::seconds(60);

std::string Content(size_t size, char salt) {
  std::string content(size, '\0');
  for (size_t i = 0; i < size; ++i) content[i] = static_cast<char>(i * 31 + i / 4099 + static_cast<size_t>(salt));
  return content;
}

// Whether the request asks about the file only.
bool IsStat(const std::string& request) {
  return request.starts_with("HEAD") || HeaderOf(request, "Range") == "bytes=0-0";
}

// The head and the bytes that an honest server answers.
struct Answer {
  std::string head;
  std::string_view body;
};
Answer HonestAnswer(const std::string& request, std::string_view content, const std::string& headers = "") {
  const std::string asked = HeaderOf(request, "Range");
  if (!asked.empty()) {
    const absl::StatusOr<ByteRange> range = ParseHttpRange(asked, content.size());
    if (range.ok()) {
      return {StrCat("HTTP/1.1 206 Partial Content\r\nContent-Range: bytes ", range->offset, "-",
                     range->offset + range->length - 1, "/", content.size(), "\r\nContent-Length: ", range->length,
                     "\r\n", headers, "\r\n"),
              content.substr(range->offset, range->length)};
    }
  }
  return {StrCat("HTTP/1.1 200 OK\r\nContent-Length: ", content.size(), "\r\n", headers, "\r\n"), content};
}
void Serve(Connection& connection, const Answer& answer) {
  if (connection.Send(answer.head)) connection.Send(answer.body);
}

class Faults : public ::testing::Test {
 protected:
  explicit Faults(std::string piece_timeout = "120s")
      : scheduler_(dir_.path() + "/scheduler"),
        peer_(dir_.path() + "/peer", scheduler_.port(), {.name = "peer", .piece_timeout = std::move(piece_timeout)}) {}

  // What dfget said when it failed; empty when it succeeded.
  std::string Download(const std::string& url, std::vector<std::string> options = {}) {
    std::filesystem::remove(output());
    Process run = peer_.Dfget(url, output(), std::move(options));
    const std::optional<int> code = run.Wait(kPatience);
    EXPECT_TRUE(code.has_value()) << "dfget does not end: " << run.Log();
    if (code == 0) return "";
    EXPECT_FALSE(std::filesystem::exists(output())) << "a failed download left an output";
    return run.Log();
  }

  std::string Output() const {
    std::ifstream file(output(), std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(file), {});
  }

  void ExpectGoesOn() {
    const std::string content = Content(5 * kMiB + 3, 'g');
    const ScriptedServer good([&](Connection& connection, const std::string& request, int) {
      Serve(connection, HonestAnswer(request, content));
    });
    EXPECT_EQ(Download(good.Url("/good")), "");
    EXPECT_TRUE(Output() == content);
    EXPECT_TRUE(peer_.process().Running());
  }

  std::string output() const { return dir_.path() + "/output"; }

  TempDir dir_;
  SchedulerProcess scheduler_;
  Peer peer_;
};

TEST_F(Faults, AnOriginThatChangesBetweenRangesGivesAnErrorAndThenTheNewFile) {
  const std::string before = Content(80 * kMiB, 'a');
  const std::string after = Content(80 * kMiB, 'b');
  std::atomic<bool> changed = false;
  const ScriptedServer origin([&](Connection& connection, const std::string& request, int) {
    if (changed) return Serve(connection, HonestAnswer(request, after, "ETag: \"after\"\r\n"));
    const bool last_of_before = !IsStat(request);
    Serve(connection, HonestAnswer(request, before, "ETag: \"before\"\r\n"));
    if (last_of_before) changed = true;
  });
  const std::string error = Download(origin.Url());
  if (error.empty()) {
    EXPECT_TRUE(Output() == before || Output() == after) << "pieces of two versions in one file";
  } else {
    EXPECT_THAT(error, HasSubstr("object has changed"));
  }
  EXPECT_EQ(Download(origin.Url()), "");
  EXPECT_TRUE(Output() == after);
  ExpectGoesOn();
}

TEST_F(Faults, AnOriginThatIgnoresRangesGivesTheFile) {
  const std::string content = Content(20 * kMiB + 11, 'i');
  const ScriptedServer origin([&](Connection& connection, const std::string&, int) {
    Serve(connection, HonestAnswer("", content));
    connection.Close();
  });
  EXPECT_EQ(Download(origin.Url()), "");
  EXPECT_TRUE(Output() == content);
  EXPECT_EQ(Download(origin.Url("/part"), {"--range", "bytes=4194000-4195000"}), "");
  EXPECT_TRUE(Output() == content.substr(4194000, 1001));
  ExpectGoesOn();
}

TEST_F(Faults, AnOriginThatBreaksOffOnceGivesTheFile) {
  const std::string content = Content(20 * kMiB + 11, 'o');
  std::atomic<bool> broken = false;
  const ScriptedServer origin([&](Connection& connection, const std::string& request, int) {
    Answer answer = HonestAnswer(request, content, "ETag: \"1\"\r\n");
    if (!IsStat(request) && !broken.exchange(true)) {
      answer.body = answer.body.substr(0, answer.body.size() / 2);
      connection.Close();
    }
    Serve(connection, answer);
  });
  EXPECT_EQ(Download(origin.Url()), "");
  EXPECT_TRUE(Output() == content);
  EXPECT_TRUE(broken);
  ExpectGoesOn();
}

TEST_F(Faults, AnOriginThatAlwaysClosesEarlyGivesAnError) {
  const std::string content = Content(20 * kMiB + 11, 'e');
  const ScriptedServer origin([&](Connection& connection, const std::string& request, int) {
    Answer answer = HonestAnswer(request, content);
    if (!IsStat(request)) answer.body = answer.body.substr(0, std::min<size_t>(answer.body.size() / 2, 100));
    Serve(connection, answer);
    connection.Close();
  });
  EXPECT_THAT(Download(origin.Url()), HasSubstr(StrCat("127.0.0.1:", origin.port())));
  ExpectGoesOn();
}

TEST_F(Faults, AnOriginThatClosesAChunkedBodyEarlyGivesAnError) {
  const ScriptedServer origin([&](Connection& connection, const std::string&, int) {
    connection.Send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n100000\r\nbegins and stops");
    connection.Close();
  });
  EXPECT_NE(Download(origin.Url()), "");
  ExpectGoesOn();
}

class ImpatientFaults : public Faults {
 protected:
  ImpatientFaults() : Faults("1s") {}
};

TEST_F(ImpatientFaults, AnOriginThatIsSlowerThanTheTimeoutGivesAnError) {
  const std::string content = Content(3 * kMiB, 's');
  const ScriptedServer silent([&](Connection& connection, const std::string& request, int) {
    if (IsStat(request)) return Serve(connection, HonestAnswer(request, content));
    connection.Send(HonestAnswer(request, content).head);
    connection.AwaitClientGone();
  });
  EXPECT_THAT(Download(silent.Url()), AnyOf(HasSubstr("deadline"), HasSubstr("timed out"), HasSubstr("timeout")));
  const ScriptedServer mute([&](Connection& connection, const std::string&, int) { connection.AwaitClientGone(); });
  EXPECT_THAT(Download(mute.Url()), AnyOf(HasSubstr("deadline"), HasSubstr("timed out"), HasSubstr("timeout")));
  ExpectGoesOn();
}

TEST_F(Faults, ARedirectToAnotherHostDoesNotCarryCredentials) {
  const std::string content = Content(9 * kMiB, 'r');
  const ScriptedServer target([&](Connection& connection, const std::string& request, int) {
    Serve(connection, HonestAnswer(request, content));
  });
  const ScriptedServer origin([&](Connection& connection, const std::string& request, int) {
    EXPECT_EQ(HeaderOf(request, "Authorization"), "Bearer secret");
    // Another name is another host.
    connection.Send(StrCat("HTTP/1.1 307 Temporary Redirect\r\nLocation: http://localhost:", target.port(),
                           "/moved\r\nContent-Length: 0\r\n\r\n"));
  });
  EXPECT_EQ(Download(origin.Url(), {"--header", "Authorization: Bearer secret", "--header", "Cookie: id=secret",
                                    "--header", "X-Plain: stays"}),
            "");
  EXPECT_TRUE(Output() == content);
  ASSERT_FALSE(target.requests().empty());
  for (const std::string& request : target.requests()) {
    EXPECT_EQ(HeaderOf(request, "Authorization"), "");
    EXPECT_EQ(HeaderOf(request, "Cookie"), "");
    EXPECT_EQ(HeaderOf(request, "X-Plain"), "stays");
  }
  ExpectGoesOn();
}

// A file system of its own, in memory.
class SmallDisk {
 public:
  SmallDisk(std::string path, const std::string& size) : path_(std::move(path)) {
    std::filesystem::create_directories(path_);
    mounted_ = ::mount("tmpfs", path_.c_str(), "tmpfs", 0, StrCat("size=", size).c_str()) == 0;
  }
  ~SmallDisk() {
    if (mounted_) ::umount2(path_.c_str(), MNT_DETACH);
  }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;
  bool mounted() const { return mounted_; }

 private:
  std::string path_;
  bool mounted_ = false;
};

TEST(FullDisk, InTheMiddleOfADownloadIsAnErrorThatNamesItAndPassesWithIt) {
  TempDir dir;
  const SmallDisk disk(dir.path() + "/peer/storage", "48m");
  if (!disk.mounted()) GTEST_SKIP() << "mounting a tmpfs needs root";
  const SchedulerProcess scheduler(dir.path() + "/scheduler");
  Peer peer(dir.path() + "/peer", scheduler.port(), {.name = "peer"});
  const std::string filler = peer.storage() + "/filler";

  // Its length is not told, so that no room can be kept for it.
  const std::string half = Content(12 * kMiB, 'h');
  std::promise<void> filled;
  std::shared_future<void> disk_full = filled.get_future().share();
  ScriptedServer endless([&](Connection& connection, const std::string&, int) {
    const auto chunk = [&] {
      return connection.Send(absl::StrFormat("%x\r\n", half.size())) && connection.Send(half) &&
             connection.Send("\r\n");
    };
    connection.Send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    if (!chunk()) return connection.Close();
    disk_full.wait();
    while (chunk()) {
    }
    connection.Close();
  });
  Process run = peer.Dfget(endless.Url("/endless"), dir.path() + "/endless");
  ASSERT_TRUE(Await([&] { return peer.Metric("dragonfly_client_download_traffic") >= 4 * kMiB; }, kPatience));
  {
    std::ofstream file(filler, std::ios::binary);
    const std::string block(kMiB, 'f');
    while (file.write(block.data(), static_cast<std::streamsize>(block.size())).flush()) {
    }
  }
  filled.set_value();
  EXPECT_NE(run.Wait(kPatience).value_or(0), 0);
  EXPECT_THAT(run.Log(), AnyOf(HasSubstr("no space left"), HasSubstr("No space left")));
  EXPECT_FALSE(std::filesystem::exists(dir.path() + "/endless"));

  // A file that cannot fit is refused before a byte of it is read.
  const std::string content = Content(20 * kMiB, 'c');
  std::atomic<uint64_t> asked = 0;
  const ScriptedServer origin([&](Connection& connection, const std::string& request, int) {
    if (!IsStat(request)) ++asked;
    Serve(connection, HonestAnswer(request, content));
  });
  Process refused = peer.Dfget(origin.Url("/large"), dir.path() + "/large");
  EXPECT_NE(refused.Wait(kPatience).value_or(0), 0);
  EXPECT_THAT(refused.Log(),
              AnyOf(HasSubstr("no space left"), HasSubstr("No space left"), HasSubstr("not enough space")));

  std::filesystem::remove(filler);
  Process passes = peer.Dfget(origin.Url("/large"), dir.path() + "/large");
  EXPECT_EQ(passes.Wait(kPatience), 0) << passes.Log();
  EXPECT_EQ(std::filesystem::file_size(dir.path() + "/large"), content.size());
  EXPECT_TRUE(peer.process().Running());
}

}  // namespace
}  // namespace dragonfly::e2e
