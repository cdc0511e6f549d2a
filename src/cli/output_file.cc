// SPDX-License-Identifier: Apache-2.0
#include "cli/output_file.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/rename.h"
#include "base/status.h"
#include "base/text.h"

namespace dragonfly::cli {

absl::StatusOr<OutputFile> OutputFile::Create(std::string path) {
  std::string temporary = StrCat(path, ".", ::getpid(), ".dfget");
  UniqueFd file(::open(temporary.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644));
  if (!file.valid()) return ErrnoStatus(errno, StrCat("create ", temporary));
  return OutputFile(std::move(path), std::move(temporary), std::move(file));
}

OutputFile::OutputFile(std::string path, std::string temporary, UniqueFd file)
    : path_(std::move(path)), temporary_(std::move(temporary)), file_(std::move(file)) {}

OutputFile::OutputFile(OutputFile&& other) noexcept
    : path_(std::move(other.path_)),
      temporary_(std::exchange(other.temporary_, std::string())),
      file_(std::move(other.file_)),
      window_(other.window_),
      written_(other.written_) {}

OutputFile::~OutputFile() {
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

absl::Status OutputFile::SetWindow(ByteRange window) {
  window_ = window;
  if (window.length == 0) return absl::OkStatus();
  if (::ftruncate(file_.get(), static_cast<off_t>(window.length)) != 0) {
    return ErrnoStatus(errno, StrCat("set the length of ", temporary_));
  }
  // Only ENOSPC tells something; file systems without the call do without the reservation.
  if (::fallocate(file_.get(), FALLOC_FL_KEEP_SIZE, 0, static_cast<off_t>(window.length)) != 0 && errno == ENOSPC) {
    return ErrnoStatus(errno, StrCat("reserve ", window.length, " bytes for ", temporary_));
  }
  return absl::OkStatus();
}

absl::Status OutputFile::Write(uint64_t offset, std::string_view content) {
  if (content.size() > UINT64_MAX - offset) return absl::OutOfRangeError("a piece lies behind every file");
  const uint64_t begin = std::max(offset, window_.offset);
  const uint64_t end = std::min(offset + content.size(), window_.end());
  if (begin >= end) return absl::OkStatus();
  std::string_view part = content.substr(begin - offset, end - begin);
  uint64_t at = begin - window_.offset;
  while (!part.empty()) {
    const ssize_t n = ::pwrite(file_.get(), part.data(), part.size(), static_cast<off_t>(at));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoStatus(errno, StrCat("write ", temporary_));
    part.remove_prefix(static_cast<size_t>(n));
    at += static_cast<uint64_t>(n);
  }
  written_ += end - begin;
  return absl::OkStatus();
}

absl::Status OutputFile::Publish(const std::optional<Digest>& digest, bool overwrite) {
  if (written_ != window_.length) {
    return absl::DataLossError(
        StrCat("unknown download incomplete: ", written_, " of ", window_.length, " bytes came"));
  }
  if (digest) {
    DF_ASSIGN_OR_RETURN(const Digest actual, DigestOfFile(temporary_, digest->algorithm()));
    if (actual != *digest) {
      return absl::DataLossError(
          StrCat("digest mismatch expected: ", digest->ToString(), ", actual: ", actual.ToString()));
    }
  }
  if (!overwrite) {
    const absl::Status renamed = RenameWithoutReplacing(AT_FDCWD, temporary_, path_);
    if (absl::IsAlreadyExists(renamed)) {
      return absl::AlreadyExistsError(StrCat("output path ", path_, " is already exists"));
    }
    DF_RETURN_IF_ERROR(renamed);
  } else if (::rename(temporary_.c_str(), path_.c_str()) != 0) {
    return ErrnoStatus(errno, StrCat("rename ", temporary_, " to ", path_));
  }
  temporary_.clear();
  return absl::OkStatus();
}

}  // namespace dragonfly::cli
