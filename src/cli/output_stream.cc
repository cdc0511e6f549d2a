// SPDX-License-Identifier: Apache-2.0
#include "cli/output_stream.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <string>
#include <utility>

#include "base/status.h"
#include "base/text.h"

namespace dragonfly::cli {
namespace {

constexpr size_t kCopyLength = 1 << 20;

absl::StatusOr<UniqueFd> UnnamedFile() {
  const char* const named = std::getenv("TMPDIR");
  const std::string directory = named != nullptr && *named != '\0' ? named : "/tmp";
  UniqueFd file(::open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (file.valid()) return file;
  // File systems without O_TMPFILE.
  std::string path = directory + "/dfget.XXXXXX";
  file = UniqueFd(::mkostemp(path.data(), O_CLOEXEC));
  if (!file.valid()) return ErrnoStatus(errno, StrCat("make a file in ", directory));
  ::unlink(path.c_str());
  return file;
}

}  // namespace

OutputStream::OutputStream(int fd, std::optional<DigestAlgorithm> digest) : fd_(fd) {
  if (digest) hasher_.emplace(*digest);
}

absl::Status OutputStream::SetWindow(ByteRange window) {
  if (next_ > window_.offset) return absl::InternalError("unexpected response");
  window_ = window;
  next_ = window.offset;
  return absl::OkStatus();
}

absl::Status OutputStream::Write(uint64_t offset, std::string_view content) {
  if (content.size() > UINT64_MAX - offset) return absl::OutOfRangeError("a piece lies behind every file");
  const uint64_t begin = std::max(offset, next_);
  const uint64_t end = std::min(offset + content.size(), window_.end());
  if (begin >= end) return absl::OkStatus();
  const std::string_view part = content.substr(begin - offset, end - begin);
  if (begin != next_) return Keep(begin, part);
  DF_RETURN_IF_ERROR(Emit(part));
  return EmitKept();
}

absl::Status OutputStream::Emit(std::string_view content) {
  if (hasher_) hasher_->Update(content);
  next_ += content.size();
  while (!content.empty()) {
    const ssize_t n = ::write(fd_, content.data(), content.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoStatus(errno, "write to standard output");
    content.remove_prefix(static_cast<size_t>(n));
  }
  return absl::OkStatus();
}

absl::Status OutputStream::Keep(uint64_t offset, std::string_view content) {
  if (!kept_file_.valid()) {
    DF_ASSIGN_OR_RETURN(kept_file_, UnnamedFile());
  }
  uint64_t& length = kept_[offset];
  length = std::max<uint64_t>(length, content.size());
  for (uint64_t at = offset - window_.offset; !content.empty();) {
    const ssize_t n = ::pwrite(kept_file_.get(), content.data(), content.size(), static_cast<off_t>(at));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoStatus(errno, "keep a piece until its turn");
    content.remove_prefix(static_cast<size_t>(n));
    at += static_cast<uint64_t>(n);
  }
  return absl::OkStatus();
}

absl::Status OutputStream::EmitKept() {
  std::string buffer;
  while (!kept_.empty() && kept_.begin()->first <= next_) {
    const auto [offset, length] = *kept_.begin();
    kept_.erase(kept_.begin());
    while (next_ < offset + length) {
      buffer.resize(static_cast<size_t>(std::min<uint64_t>(kCopyLength, offset + length - next_)));
      const ssize_t n =
          ::pread(kept_file_.get(), buffer.data(), buffer.size(), static_cast<off_t>(next_ - window_.offset));
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return ErrnoStatus(n < 0 ? errno : EIO, "read a piece that was kept");
      DF_RETURN_IF_ERROR(Emit(std::string_view(buffer).substr(0, static_cast<size_t>(n))));
    }
  }
  return absl::OkStatus();
}

absl::Status OutputStream::Finish(const std::optional<Digest>& digest) {
  if (next_ != window_.end()) {
    return absl::DataLossError(
        StrCat("unknown download incomplete: ", next_ - window_.offset, " of ", window_.length, " bytes came"));
  }
  if (!digest || !hasher_) return absl::OkStatus();
  const Digest actual = hasher_->Finish();
  if (actual == *digest) return absl::OkStatus();
  return absl::DataLossError(StrCat("digest mismatch expected: ", digest->ToString(), ", actual: ", actual.ToString()));
}

}  // namespace dragonfly::cli
