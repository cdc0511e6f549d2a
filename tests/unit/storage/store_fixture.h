// SPDX-License-Identifier: Apache-2.0
// A store in a directory of its own, and short words for what tests do to it.
#pragma once

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/digest.h"
#include "base/text.h"
#include "storage/content_store.h"

namespace dragonfly::storage {

// Removed with all that is in it.
class TempDir {
 public:
  explicit TempDir(const std::string& parent = ::testing::TempDir()) {
    std::string pattern = parent + "/storage-XXXXXX";
    if (::mkdtemp(pattern.data()) == nullptr) std::abort();
    path_ = std::filesystem::canonical(pattern);
  }
  ~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  const std::string& path() const { return path_; }
  std::string operator/(std::string_view name) const { return StrCat(path_, "/", name); }

 private:
  std::string path_;
};

// A valid task id for every number.
inline TaskId IdOf(uint64_t number) { return *TaskId::Parse(Sha256Hex(std::to_string(number))); }

// `size` bytes that differ by `seed`.
inline std::string BytesOf(uint64_t seed, size_t size) {
  std::string bytes(size, '\0');
  uint64_t x = seed * 0x9e3779b97f4a7c15 + 1;
  for (char& c : bytes) {
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    c = static_cast<char>(x >> 32);
  }
  return bytes;
}

inline std::span<const std::byte> AsBytes(std::string_view text) { return std::as_bytes(std::span(text)); }

inline std::string ReadFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(in), {});
}

inline void WriteFile(const std::string& path, std::string_view bytes) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

// The bytes that a reader of the piece gets.
inline std::string ReadPiece(const PieceBytes& piece) {
  std::string bytes(piece.record.range.length, '\0');
  const ssize_t n =
      ::pread(piece.file->get(), bytes.data(), bytes.size(), static_cast<off_t>(piece.record.range.offset));
  bytes.resize(n < 0 ? 0 : static_cast<size_t>(n));
  return bytes;
}

// Begins, appends and commits one piece.
inline absl::StatusOr<PieceRecord> WritePiece(TaskContent& content, uint32_t number, std::string_view bytes,
                                              std::string_view parent = "parent") {
  absl::StatusOr<PieceWriter> writer = content.BeginPiece(PieceNumber(number));
  if (!writer.ok()) return writer.status();
  const absl::Status appended = writer->Append(AsBytes(bytes));
  if (!appended.ok()) return appended;
  return writer->Commit(Digest::OfCrc32(Crc32(bytes)), parent, TrafficType::kRemotePeer);
}

class StoreTest : public ::testing::Test {
 protected:
  static constexpr uint64_t kPiece = 4096;

  void OpenStore(bool keep = true, uint64_t capacity_bytes = 0) {
    store_.reset();
    StoreOptions options;
    options.dir = store_dir_;
    options.keep = keep;
    options.capacity_bytes = capacity_bytes;
    absl::StatusOr<std::unique_ptr<ContentStore>> store = ContentStore::Open(options);
    ASSERT_TRUE(store.ok()) << store.status();
    store_ = *std::move(store);
  }

  static ContentShape Shape(std::optional<uint64_t> content_length, uint64_t piece_length = kPiece) {
    ContentShape shape;
    shape.content_length = content_length;
    shape.piece_length = piece_length;
    return shape;
  }

  std::shared_ptr<TaskContent> Make(uint64_t id, std::optional<uint64_t> content_length) {
    absl::StatusOr<std::shared_ptr<TaskContent>> content = store_->FindOrCreate(IdOf(id), Shape(content_length));
    EXPECT_TRUE(content.ok()) << content.status();
    return content.ok() ? *content : nullptr;
  }

  // A complete content with the bytes BytesOf(id, size).
  std::shared_ptr<TaskContent> MakeComplete(uint64_t id, size_t size) {
    const std::string bytes = BytesOf(id, size);
    std::shared_ptr<TaskContent> content = Make(id, size);
    for (uint32_t n = 0; n < content->layout()->piece_count(); ++n) {
      const ByteRange range = content->layout()->RangeOf(PieceNumber(n));
      const auto piece = WritePiece(*content, n, std::string_view(bytes).substr(range.offset, range.length));
      EXPECT_TRUE(piece.ok()) << piece.status();
    }
    return content;
  }

  std::string MetadataPath(uint64_t id) const {
    const std::string text = IdOf(id).str();
    return StrCat(dir_.path(), "/store/metadata/tasks/", text.substr(0, 3), "/", text);
  }
  std::string ContentPath(uint64_t id) const {
    const std::string text = IdOf(id).str();
    return StrCat(dir_.path(), "/store/content/tasks/", text.substr(0, 3), "/", text);
  }

  TempDir dir_;
  std::string store_dir_ = dir_ / "store";
  std::unique_ptr<ContentStore> store_;
};

}  // namespace dragonfly::storage
