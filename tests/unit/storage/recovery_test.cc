// SPDX-License-Identifier: Apache-2.0
// What a start finds after a crash, a power cut, and damage.
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

#include <chrono>
#include <cstdio>
#include <random>
#include <set>

#include "storage/task_log.h"
#include "tests/unit/storage/store_fixture.h"

namespace dragonfly::storage {
namespace {

class RecoveryTest : public StoreTest {
 protected:
  // Rewrites the task's log as if its records came from an earlier run of the kernel.
  void PretendReboot(uint64_t id) {
    store_.reset();
    const BootId boot = *CurrentBootId();
    const std::string now(reinterpret_cast<const char*>(boot.data()), boot.size());
    const auto log = ParseTaskLog(ReadFile(MetadataPath(id)), IdOf(id), boot);
    ASSERT_TRUE(log.ok());
    TaskLogHeader header = log->header;
    header.boot_id = BootId{1, 2, 3};
    std::string bytes = EncodeTaskLogHeader(IdOf(id), header);
    for (const TaskLog::Piece& piece : log->pieces) bytes += EncodePieceFinished(piece.record);
    if (log->synced_ns) bytes += EncodeSynced(bytes.size(), *log->synced_ns);
    WriteFile(MetadataPath(id), bytes);
  }
  // The same, and nothing had reached the disk for sure.
  void PretendPowerCut(uint64_t id) {
    store_.reset();
    const auto log = ParseTaskLog(ReadFile(MetadataPath(id)), IdOf(id), CurrentBootId());
    ASSERT_TRUE(log.ok());
    TaskLogHeader header = log->header;
    header.boot_id = BootId{1, 2, 3};
    std::string bytes = EncodeTaskLogHeader(IdOf(id), header);
    for (const TaskLog::Piece& piece : log->pieces) bytes += EncodePieceFinished(piece.record);
    WriteFile(MetadataPath(id), bytes);
  }
  // Overwrites bytes of the content without moving its time of modification, as a lost write would.
  void Damage(uint64_t id, uint64_t offset, std::string_view bytes) {
    struct stat st;
    ASSERT_EQ(::stat(ContentPath(id).c_str(), &st), 0);
    const UniqueFd fd(::open(ContentPath(id).c_str(), O_WRONLY | O_CLOEXEC));
    ASSERT_EQ(::pwrite(fd.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset)),
              static_cast<ssize_t>(bytes.size()));
    const timespec times[2] = {st.st_atim, st.st_mtim};
    ASSERT_EQ(::futimens(fd.get(), times), 0);
  }
};

TEST_F(RecoveryTest, KeepsContentsFromRunToRun) {
  OpenStore();
  ContentShape shape = Shape(3 * kPiece);
  shape.response_header = {{"etag", "\"1\""}, {"content-type", "text/plain"}};
  const auto made = store_->FindOrCreate(IdOf(1), shape);
  ASSERT_TRUE(made.ok());
  const auto first = WritePiece(**made, 2, BytesOf(2, kPiece), "parent-a");
  const auto second = WritePiece(**made, 0, BytesOf(0, kPiece), "");
  const absl::Time created_at = (*made)->created_at();
  OpenStore();
  const auto content = store_->Find(IdOf(1));
  ASSERT_NE(content, nullptr);
  EXPECT_EQ(content->response_header(), shape.response_header);
  EXPECT_EQ(content->created_at(), created_at);
  EXPECT_EQ(content->layout()->content_length(), 3 * kPiece);
  const std::vector<PieceRecord> pieces = content->FinishedSince(0);
  ASSERT_EQ(pieces.size(), 2u);
  EXPECT_EQ(pieces[0].number, PieceNumber(2));
  EXPECT_EQ(pieces[0].parent_id, "parent-a");
  EXPECT_EQ(pieces[0].created_at, first->created_at);
  EXPECT_EQ(pieces[0].cost, first->cost);
  EXPECT_EQ(pieces[1].crc32, second->crc32);
  EXPECT_EQ(store_->usage().content_bytes, 2 * kPiece);
  ASSERT_TRUE(WritePiece(*content, 1, BytesOf(1, kPiece)).ok());
  EXPECT_TRUE(content->complete());
}

// A child process writes pieces and tells after each commit; it is killed at a random moment.
// Reading a task back opens its two files; nothing of its content is read.
TEST_F(RecoveryTest, ReadsThousandsOfTasksBackWithinSeconds) {
  constexpr uint64_t kTasks = 3000;
  OpenStore();
  for (uint64_t id = 0; id < kTasks; ++id) MakeComplete(id, 100);
  store_.reset();
  const auto begin = std::chrono::steady_clock::now();
  OpenStore();
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  std::printf("%d tasks were read back in %.0f ms\n", static_cast<int>(kTasks), seconds * 1000);
  EXPECT_EQ(store_->usage().tasks, kTasks);
  EXPECT_EQ(store_->usage().content_bytes, kTasks * 100);
  EXPECT_LT(seconds, 10);
}

TEST_F(RecoveryTest, KeepsFinishedPiecesAndForgetsUnfinishedOnesAfterKill) {
  constexpr uint32_t kPieces = 400;
  std::mt19937 random(std::random_device{}());
  for (int round = 0; round < 50; ++round) {
    store_.reset();
    const uint64_t id = static_cast<uint64_t>(round) % 3;  // some rounds go on with what an earlier one left
    int pipe_fds[2];
    ASSERT_EQ(::pipe2(pipe_fds, O_CLOEXEC), 0);
    const uint64_t seed = random();
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      StoreOptions options;
      options.dir = dir_ / "store";
      options.keep = true;
      auto store = ContentStore::Open(options);
      if (!store.ok()) ::_exit(1);
      auto content = (*store)->FindOrCreate(IdOf(id), Shape(kPieces * kPiece));
      if (!content.ok()) ::_exit(2);
      std::mt19937 order(static_cast<uint32_t>(seed));
      for (;;) {
        const uint32_t number = order() % kPieces;
        absl::StatusOr<PieceWriter> writer = (*content)->BeginPiece(PieceNumber(number));
        if (writer.ok()) {
          const std::string bytes = BytesOf(number, kPiece);
          for (size_t at = 0; at < kPiece; at += 1000) {
            if (!writer->Append(AsBytes(std::string_view(bytes).substr(at, 1000))).ok()) ::_exit(3);
          }
          if (!writer->Commit(std::nullopt, "parent", TrafficType::kRemotePeer).ok()) ::_exit(4);
        }
        if (::write(pipe_fds[1], &number, sizeof(number)) != sizeof(number)) ::_exit(5);
      }
    }
    ::close(pipe_fds[1]);
    const uint32_t told_before_kill = random() % 120;
    std::set<uint32_t> committed;
    uint32_t number = 0;
    uint32_t told = 0;
    while (told < told_before_kill && ::read(pipe_fds[0], &number, sizeof(number)) == sizeof(number)) {
      committed.insert(number);
      ++told;
    }
    ::kill(child, SIGKILL);
    while (::read(pipe_fds[0], &number, sizeof(number)) == sizeof(number)) committed.insert(number);
    ::close(pipe_fds[0]);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << "exit " << WEXITSTATUS(status);

    OpenStore();
    const auto content = store_->Find(IdOf(id));
    if (content == nullptr) {
      ASSERT_TRUE(committed.empty());
      continue;
    }
    for (const uint32_t n : committed) ASSERT_TRUE(content->HasPiece(PieceNumber(n))) << "round " << round;
    for (const PieceRecord& record : content->Finished()) {
      const auto piece = content->OpenPiece(record.number);
      ASSERT_TRUE(piece.ok());
      ASSERT_EQ(ReadPiece(*piece), BytesOf(record.number.value(), kPiece)) << "round " << round;
      ASSERT_EQ(record.crc32, Crc32(ReadPiece(*piece)));
    }
    for (uint32_t n = 0; n < kPieces; ++n) {
      if (!content->HasPiece(PieceNumber(n))) ASSERT_TRUE(content->BeginPiece(PieceNumber(n)).ok());
    }
  }
}

TEST_F(RecoveryTest, KeepsWholeRecordsOfALogThatIsTornAnywhere) {
  OpenStore();
  const auto content = Make(1, 3 * kPiece);
  std::vector<uint64_t> ends = {std::filesystem::file_size(MetadataPath(1))};
  for (uint32_t n = 0; n < 3; ++n) {
    ASSERT_TRUE(WritePiece(*content, n, BytesOf(n, kPiece)).ok());
    ends.push_back(std::filesystem::file_size(MetadataPath(1)));
  }
  // The store syncs a complete content in the background; only the records of pieces are looked at here.
  store_.reset();
  const std::string log = ReadFile(MetadataPath(1)).substr(0, ends.back());
  const std::string bytes = ReadFile(ContentPath(1));
  for (uint64_t size = 0; size <= log.size(); ++size) {
    store_.reset();
    WriteFile(MetadataPath(1), std::string_view(log).substr(0, size));
    WriteFile(ContentPath(1), bytes);
    OpenStore();
    const auto found = store_->Find(IdOf(1));
    if (size < ends[0]) {
      ASSERT_EQ(found, nullptr) << size;
      ASSERT_FALSE(std::filesystem::exists(ContentPath(1)));
      ASSERT_FALSE(std::filesystem::exists(MetadataPath(1)));
      std::filesystem::create_directories(std::filesystem::path(ContentPath(1)).parent_path());
      continue;
    }
    ASSERT_NE(found, nullptr) << size;
    uint32_t whole = 0;
    while (whole < 3 && ends[whole + 1] <= size) ++whole;
    ASSERT_EQ(found->finished_piece_count(), whole) << size;
    // What is appended behind the cut is read at the next start.
    if (size % 16 == 0 && whole < 3) {
      ASSERT_TRUE(WritePiece(*found, 2, BytesOf(2, kPiece)).ok());
      OpenStore();
      ASSERT_TRUE(store_->Find(IdOf(1))->HasPiece(PieceNumber(2))) << size;
    }
  }
}

TEST_F(RecoveryTest, NeverServesAWrongPieceFromDamagedMetadata) {
  OpenStore();
  MakeComplete(1, 3 * kPiece);
  store_.reset();
  const std::string log = ReadFile(MetadataPath(1));
  const std::string bytes = ReadFile(ContentPath(1));
  std::mt19937 random(5);
  for (int round = 0; round < 500; ++round) {
    store_.reset();
    std::string damaged = log;
    for (uint32_t flips = 1 + random() % 3; flips > 0; --flips) {
      damaged[random() % damaged.size()] ^= static_cast<char>(1 + random() % 255);
    }
    WriteFile(MetadataPath(1), damaged);
    WriteFile(ContentPath(1), bytes);
    OpenStore();
    const auto content = store_->Find(IdOf(1));
    if (content == nullptr) continue;
    for (const PieceRecord& record : content->Finished()) {
      const auto piece = content->OpenPiece(record.number);
      ASSERT_TRUE(piece.ok());
      ASSERT_EQ(ReadPiece(*piece), std::string_view(bytes).substr(record.number.value() * kPiece, kPiece));
    }
  }
}

TEST_F(RecoveryTest, RemovesHalvesAndStrangers) {
  OpenStore();
  MakeComplete(1, kPiece);
  MakeComplete(2, kPiece);
  MakeComplete(3, kPiece);
  store_.reset();
  std::filesystem::remove(ContentPath(1));
  std::filesystem::remove(MetadataPath(2));
  const std::string stranger = StrCat(std::filesystem::path(ContentPath(3)).parent_path().string(), "/stranger");
  WriteFile(stranger, "x");
  OpenStore();
  EXPECT_EQ(store_->List().size(), 1u);
  EXPECT_FALSE(std::filesystem::exists(MetadataPath(1)));
  EXPECT_FALSE(std::filesystem::exists(ContentPath(2)));
  EXPECT_FALSE(std::filesystem::exists(stranger));
  EXPECT_TRUE(store_->Find(IdOf(3))->complete());
  EXPECT_EQ(store_->usage().content_bytes, kPiece);
}

TEST_F(RecoveryTest, DropsPiecesBehindTheEndOfTheFile) {
  OpenStore();
  MakeComplete(1, 3 * kPiece);
  store_.reset();
  std::filesystem::resize_file(ContentPath(1), 2 * kPiece - 1);
  for (int start = 0; start < 2; ++start) {
    OpenStore();
    const auto content = store_->Find(IdOf(1));
    EXPECT_EQ(content->finished_piece_count(), 1u);
    EXPECT_TRUE(content->HasPiece(PieceNumber(0)));
  }
  const auto content = store_->Find(IdOf(1));
  const std::string bytes = BytesOf(1, 3 * kPiece);
  for (uint32_t n = 1; n < 3; ++n) {
    ASSERT_TRUE(WritePiece(*content, n, std::string_view(bytes).substr(n * kPiece, kPiece)).ok());
  }
  EXPECT_EQ(ReadFile(ContentPath(1)), bytes);
}

TEST_F(RecoveryTest, ChecksWhatAPowerCutMayHaveTaken) {
  OpenStore();
  MakeComplete(1, 3 * kPiece);
  PretendPowerCut(1);
  Damage(1, kPiece, std::string(kPiece, '\0'));
  OpenStore();
  const auto content = store_->Find(IdOf(1));
  ASSERT_EQ(content->finished_piece_count(), 3u);
  EXPECT_TRUE(content->OpenPiece(PieceNumber(0)).ok());
  const absl::Status damaged = content->OpenPiece(PieceNumber(1)).status();
  EXPECT_TRUE(absl::IsDataLoss(damaged)) << damaged;
  EXPECT_FALSE(content->HasPiece(PieceNumber(1)));
  EXPECT_FALSE(content->complete());
  EXPECT_EQ(store_->usage().content_bytes, 2 * kPiece);
  EXPECT_TRUE(absl::IsNotFound(content->OpenPiece(PieceNumber(1)).status()));
  OpenStore();
  EXPECT_FALSE(store_->Find(IdOf(1))->HasPiece(PieceNumber(1)));
  const std::string bytes = BytesOf(1, 3 * kPiece);
  ASSERT_TRUE(WritePiece(*store_->Find(IdOf(1)), 1, std::string_view(bytes).substr(kPiece, kPiece)).ok());
  OpenStore();
  EXPECT_TRUE(store_->Find(IdOf(1))->complete());
  EXPECT_TRUE(store_->Find(IdOf(1))->OpenPiece(PieceNumber(1)).ok());
}

TEST_F(RecoveryTest, NeverExportsWhatAPowerCutHasDamaged) {
  OpenStore();
  MakeComplete(1, 3 * kPiece);
  PretendPowerCut(1);
  Damage(1, 2 * kPiece + 5, "x");
  OpenStore();
  const auto content = store_->Find(IdOf(1));
  EXPECT_TRUE(absl::IsDataLoss(content->ExportTo(dir_ / "output", ExportOptions()).status()));
  EXPECT_FALSE(std::filesystem::exists(dir_ / "output"));
  EXPECT_FALSE(content->complete());
  EXPECT_TRUE(content->ExportRangeTo(dir_ / "output", {0, 2 * kPiece}, ExportOptions()).ok());
}

TEST_F(RecoveryTest, TrustsAfterARebootWhatWasSynced) {
  OpenStore();
  MakeComplete(1, 3 * kPiece);
  PretendReboot(1);   // closing the store made everything durable
  Damage(1, 5, "x");  // so this, which a power cut cannot do, is not looked for
  OpenStore();
  EXPECT_TRUE(store_->Find(IdOf(1))->OpenPiece(PieceNumber(0)).ok());
  PretendReboot(1);
  // A later time of modification than that of the sync: something may have been under way.
  const UniqueFd fd(::open(ContentPath(1).c_str(), O_WRONLY | O_CLOEXEC));
  ASSERT_EQ(::futimens(fd.get(), nullptr), 0);
  OpenStore();
  EXPECT_TRUE(absl::IsDataLoss(store_->Find(IdOf(1))->OpenPiece(PieceNumber(0)).status()));
}

TEST_F(RecoveryTest, RemembersTheLastUse) {
  OpenStore();
  const auto content = MakeComplete(1, kPiece);
  EXPECT_GE(content->updated_at(), content->created_at());
  store_.reset();
  const timespec hour_ago[2] = {{absl::ToTimeT(absl::Now() - absl::Hours(1)), 0},
                                {absl::ToTimeT(absl::Now() - absl::Hours(1)), 0}};
  ASSERT_EQ(::utimensat(AT_FDCWD, MetadataPath(1).c_str(), hour_ago, 0), 0);
  OpenStore();
  const auto kept = store_->Find(IdOf(1));
  EXPECT_LT(kept->updated_at(), absl::Now() - absl::Minutes(59));
  ASSERT_TRUE(kept->OpenPiece(PieceNumber(0)).ok());
  EXPECT_GT(kept->updated_at(), absl::Now() - absl::Minutes(1));
  OpenStore();
  EXPECT_GT(store_->Find(IdOf(1))->updated_at(), absl::Now() - absl::Minutes(1));
}

}  // namespace
}  // namespace dragonfly::storage
