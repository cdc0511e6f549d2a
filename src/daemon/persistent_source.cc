// SPDX-License-Identifier: Apache-2.0
#include "daemon/persistent_source.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <span>
#include <utility>

#include "base/digest.h"
#include "base/status.h"
#include "base/text.h"

namespace dragonfly::daemon {
namespace {

// Small enough that what was read is still in the processor's cache when it is summed and written.
constexpr size_t kStep = 256 << 10;
// What one step of naming reads at least; progress is told in between.
constexpr uint64_t kNamingStep = 64 << 20;

}  // namespace

absl::StatusOr<std::shared_ptr<PersistentSource>> PersistentSource::Open(const PersistentImport& request) {
  if (request.path.empty() || request.path.front() != '/') {
    return absl::InvalidArgumentError(StrCat("path ", Quoted(request.path), " is not absolute"));
  }
  // A FIFO must not hold the daemon up.
  UniqueFd fd(::open(request.path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd.valid()) return ErrnoStatus(errno, StrCat("open ", request.path));
  struct stat now{};
  if (::fstat(fd.get(), &now) != 0) return ErrnoStatus(errno, StrCat("stat ", request.path));
  if (!S_ISREG(now.st_mode)) return absl::InvalidArgumentError(StrCat("path ", request.path, " is no regular file"));
  const auto length = static_cast<uint64_t>(now.st_size);
  DF_ASSIGN_OR_RETURN(const PieceLayout layout,
                      PieceLayout::Make(length, request.piece_length.value_or(PieceLengthFor(length))));
  std::shared_ptr<PersistentSource> source(new PersistentSource(request.path, layout));
  source->fd_ = std::move(fd);
  source->modified_ = now.st_mtim;
  (void)::posix_fadvise(source->fd_.get(), 0, 0, POSIX_FADV_SEQUENTIAL);
  return source;
}

// Calls `take` with the bytes of `range`, in steps.
template <typename Take>
absl::Status PersistentSource::Read(const ByteRange& range, Take take) const {
  std::vector<std::byte> buffer(kStep);
  for (uint64_t at = range.offset; at < range.end();) {
    const size_t wanted = static_cast<size_t>(std::min<uint64_t>(kStep, range.end() - at));
    const ssize_t n = ::pread(fd_.get(), buffer.data(), wanted, static_cast<off_t>(at));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoStatus(errno, StrCat("read ", path_));
    if (n == 0) return absl::AbortedError(StrCat("path ", path_, " became shorter while it was imported"));
    DF_RETURN_IF_ERROR(take(std::span<const std::byte>(buffer.data(), static_cast<size_t>(n))));
    at += static_cast<uint64_t>(n);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::optional<TaskId>> PersistentSource::NameSome(const PersistentImport& request, uint64_t* named) {
  for (uint64_t begin = *named; crcs_.size() < layout_.piece_count() && *named - begin < kNamingStep;) {
    const ByteRange range = layout_.RangeOf(PieceNumber(static_cast<uint32_t>(crcs_.size())));
    uint32_t crc = 0;
    DF_RETURN_IF_ERROR(Read(range, [&](std::span<const std::byte> bytes) {
      builder_.Update(bytes);
      crc = Crc32(bytes, crc);
      return absl::OkStatus();
    }));
    crcs_.push_back(crc);
    *named += range.length;
  }
  if (crcs_.size() < layout_.piece_count()) return std::nullopt;
  PersistentCacheKey key;
  key.tag = request.tag;
  key.application = request.application;
  key.piece_length = request.piece_length;
  return builder_.Finish(key);
}

absl::Status PersistentSource::CheckUnchanged() const {
  struct stat now{};
  if (::fstat(fd_.get(), &now) != 0) return ErrnoStatus(errno, StrCat("stat ", path_));
  const bool same = static_cast<uint64_t>(now.st_size) == layout_.content_length() &&
                    now.st_mtim.tv_sec == modified_.tv_sec && now.st_mtim.tv_nsec == modified_.tv_nsec;
  return same ? absl::OkStatus() : absl::AbortedError(StrCat("path ", path_, " changed while it was imported"));
}

std::optional<uint32_t> PersistentSource::CrcOf(PieceNumber number) const {
  if (number.value() >= crcs_.size()) return std::nullopt;
  return crcs_[number.value()];
}

absl::Status PersistentSource::CopyPiece(storage::TaskContent& content, PieceNumber number, bool in_place) const {
  if (const std::optional<storage::PieceRecord> there = content.FindPiece(number)) {
    uint32_t crc = 0;
    DF_RETURN_IF_ERROR(Read(there->range, [&](std::span<const std::byte> bytes) {
      crc = Crc32(bytes, crc);
      return absl::OkStatus();
    }));
    if (crc == there->crc32) return absl::OkStatus();
    return absl::AlreadyExistsError(StrCat("another content with the id ", content.id().str(), " is on this host"));
  }
  if (in_place) return content.AddPieceInPlace(number, CrcOf(number)).status();
  DF_ASSIGN_OR_RETURN(storage::PieceWriter writer, content.BeginPiece(number));
  const ByteRange range = writer.range();
  DF_RETURN_IF_ERROR(Read(range, [&](std::span<const std::byte> bytes) { return writer.Append(bytes); }));
  DF_RETURN_IF_ERROR(writer.Commit(std::nullopt, "", storage::TrafficType::kLocalPeer).status());
  content.StartWriteback(range);
  return absl::OkStatus();
}

}  // namespace dragonfly::daemon
