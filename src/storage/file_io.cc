// SPDX-License-Identifier: Apache-2.0
#include "storage/file_io.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/digest.h"
#include "base/status.h"

namespace dragonfly::storage {
namespace {

int64_t Nanoseconds(const timespec& time) { return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec; }

}  // namespace

absl::Status WriteAt(int fd, std::span<const std::byte> bytes, uint64_t offset) {
  while (!bytes.empty()) {
    const ssize_t n = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (n < 0) {
      if (errno == EINTR) continue;
      return ErrnoStatus(errno, "write");
    }
    bytes = bytes.subspan(static_cast<size_t>(n));
    offset += static_cast<uint64_t>(n);
  }
  return absl::OkStatus();
}

absl::StatusOr<size_t> ReadAt(int fd, std::span<std::byte> bytes, uint64_t offset) {
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n = ::pread(fd, bytes.data() + done, bytes.size() - done, static_cast<off_t>(offset + done));
    if (n < 0) {
      if (errno == EINTR) continue;
      return ErrnoStatus(errno, "read");
    }
    if (n == 0) break;
    done += static_cast<size_t>(n);
  }
  return done;
}

absl::StatusOr<uint32_t> Crc32OfRange(int fd, const ByteRange& range) {
  uint32_t crc = 0;
  DF_RETURN_IF_ERROR(VisitRange(fd, range, [&crc](std::span<const std::byte> bytes) {
    crc = Crc32(bytes, crc);
    return absl::OkStatus();
  }));
  return crc;
}

absl::StatusOr<FileStamp> StampOf(int fd) {
  struct stat st;
  if (::fstat(fd, &st) != 0) return ErrnoStatus(errno, "stat");
  FileStamp stamp;
  stamp.modified_ns = Nanoseconds(st.st_mtim);
  stamp.changed_ns = Nanoseconds(st.st_ctim);
  stamp.size = static_cast<uint64_t>(st.st_size);
  return stamp;
}

}  // namespace dragonfly::storage
