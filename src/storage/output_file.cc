// SPDX-License-Identifier: Apache-2.0
#include "storage/output_file.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <random>
#include <utility>

#include "base/rename.h"
#include "base/status.h"
#include "base/text.h"
#include "storage/file_io.h"

namespace dragonfly::storage {
namespace {

constexpr mode_t kOutputMode = 0644;
// One copy_file_range(2); so that a signal, and the eye of an operator, is never far.
constexpr uint64_t kCopyStepMax = 256 << 20;

// The name by which a descriptor can be linked (open(2), O_TMPFILE).
std::string ProcPath(int fd) { return StrCat("/proc/self/fd/", fd); }

std::string TemporaryName() {
  std::random_device random;
  return StrCat(".dragonfly-", random(), "-", random(), ".tmp");
}

int LinkAt(int fd, int directory, const std::string& name) {
  return ::linkat(AT_FDCWD, ProcPath(fd).c_str(), directory, name.c_str(), AT_SYMLINK_FOLLOW) == 0 ? 0 : errno;
}

bool CannotCopyInKernel(int error) {
  return error == EXDEV || error == EINVAL || error == EOPNOTSUPP || error == ENOSYS || error == EPERM ||
         error == EBADF || error == ETXTBSY;
}

}  // namespace

absl::StatusOr<OutputPath> OutputPath::Open(const std::string& path) {
  OutputPath output;
  output.path_ = path;
  const size_t slash = path.rfind('/');
  if (path.empty() || path[0] != '/' || path.find('\0') != std::string::npos) {
    return absl::InvalidArgumentError(StrCat("output path ", Quoted(path), " is not an absolute path"));
  }
  output.name_ = path.substr(slash + 1);
  if (output.name_.empty() || output.name_ == "." || output.name_ == "..") {
    return absl::InvalidArgumentError(StrCat("output path ", Quoted(path), " names no file"));
  }
  const std::string directory = path.substr(0, slash + 1);
  output.directory_ = UniqueFd(::open(directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!output.directory_.valid()) return ErrnoStatus(errno, StrCat("output path ", path, ": open ", directory));
  return output;
}

bool OutputPath::Occupied() const {
  struct stat there;
  return ::fstatat(directory(), name_.c_str(), &there, AT_SYMLINK_NOFOLLOW) == 0;
}

absl::StatusOr<OutputPath::Occupant> OutputPath::OccupantFor(int fd) const {
  struct stat ours;
  struct stat there;
  if (::fstat(fd, &ours) != 0) return ErrnoStatus(errno, "stat");
  if (::fstatat(directory(), name_.c_str(), &there, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno == ENOENT) return Occupant::kNone;
    return ErrnoStatus(errno, StrCat("output path ", path_));
  }
  return ours.st_dev == there.st_dev && ours.st_ino == there.st_ino ? Occupant::kSameFile : Occupant::kOtherFile;
}

bool OutputPath::SharesFileSystemWith(int directory_fd) const {
  struct stat ours;
  struct stat there;
  return ::fstat(directory_fd, &ours) == 0 && ::fstat(directory(), &there) == 0 && ours.st_dev == there.st_dev;
}

absl::Status OutputPath::AlreadyExists() const {
  return absl::AlreadyExistsError(StrCat("output path ", path_, " is already exists"));
}

absl::Status OutputPath::LinkFrom(int fd, bool overwrite) const {
  if (!overwrite) {
    const int error = LinkAt(fd, directory(), name_);
    if (error == EEXIST) return AlreadyExists();
    return error == 0 ? absl::OkStatus() : ErrnoStatus(error, StrCat("link to output path ", path_));
  }
  const std::string temporary = TemporaryName();
  int error = LinkAt(fd, directory(), temporary);
  if (error == 0 && ::renameat(directory(), temporary.c_str(), directory(), name_.c_str()) != 0) error = errno;
  // Still there when the rename failed, or found both names to be the same file already.
  (void)::unlinkat(directory(), temporary.c_str(), 0);
  return error == 0 ? absl::OkStatus() : ErrnoStatus(error, StrCat("link to output path ", path_));
}

absl::StatusOr<OutputFile> OutputFile::Create(const OutputPath& path) {
  OutputFile file(path);
  file.fd_ = UniqueFd(::openat(path.directory(), ".", O_TMPFILE | O_RDWR | O_CLOEXEC, kOutputMode));
  if (!file.fd_.valid()) {
    const std::string name = TemporaryName();
    file.fd_ = UniqueFd(::openat(path.directory(), name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, kOutputMode));
    if (!file.fd_.valid()) return ErrnoStatus(errno, StrCat("create output path ", path.path()));
    file.temporary_name_ = name;
  }
  return file;
}

OutputFile::~OutputFile() {
  if (fd_.valid() && !temporary_name_.empty()) (void)::unlinkat(path_->directory(), temporary_name_.c_str(), 0);
}

absl::Status OutputFile::Reflink(int source) {
  if (::ioctl(fd_.get(), FICLONE, source) == 0) return absl::OkStatus();
  return ErrnoStatus(errno, StrCat("clone to output path ", path_->path()));
}

absl::Status OutputFile::Copy(int source, const ByteRange& range) {
  const std::string context = StrCat("copy to output path ", path_->path());
  if (::ftruncate(fd_.get(), static_cast<off_t>(range.length)) != 0) return ErrnoStatus(errno, context);
  for (uint64_t at = range.offset; at < range.end();) {
    uint64_t data = at;
    uint64_t hole = range.end();
    const off_t found = ::lseek(source, static_cast<off_t>(at), SEEK_DATA);
    if (found < 0 && errno == ENXIO) break;  // nothing but a hole up to the end
    if (found >= 0) {
      data = static_cast<uint64_t>(found);
      if (data >= range.end()) break;
      const off_t found_hole = ::lseek(source, found, SEEK_HOLE);
      if (found_hole > found) hole = std::min(hole, static_cast<uint64_t>(found_hole));
    }
    DF_RETURN_IF_ERROR(Annotate(CopyData(source, data, data - range.offset, hole - data), context));
    at = hole;
  }
  return absl::OkStatus();
}

absl::Status OutputFile::CopyData(int source, uint64_t from, uint64_t to, uint64_t length) {
  while (length > 0 && copies_in_kernel_) {
    auto in = static_cast<off64_t>(from);
    auto out = static_cast<off64_t>(to);
    const ssize_t n =
        ::copy_file_range(source, &in, fd_.get(), &out, static_cast<size_t>(std::min(length, kCopyStepMax)), 0);
    if (n > 0) {
      from += static_cast<uint64_t>(n);
      to += static_cast<uint64_t>(n);
      length -= static_cast<uint64_t>(n);
    } else if (n < 0 && CannotCopyInKernel(errno)) {
      copies_in_kernel_ = false;
    } else if (n == 0) {
      break;  // some file systems say so without a reason; reading tells
    } else if (errno != EINTR) {
      return ErrnoStatus(errno, "copy_file_range");
    }
  }
  return VisitRange(source, {from, length}, [this, &to](std::span<const std::byte> bytes) {
    const absl::Status written = WriteAt(fd_.get(), bytes, to);
    to += bytes.size();
    return written;
  });
}

absl::Status OutputFile::Publish(bool overwrite) {
  if (temporary_name_.empty()) return path_->LinkFrom(fd_.get(), overwrite);
  const int directory = path_->directory();
  if (!overwrite) {
    const absl::Status renamed = RenameWithoutReplacing(directory, temporary_name_, path_->name());
    return absl::IsAlreadyExists(renamed) ? path_->AlreadyExists()
                                          : Annotate(renamed, StrCat("output path ", path_->path()));
  }
  if (::renameat(directory, temporary_name_.c_str(), directory, path_->name().c_str()) == 0) return absl::OkStatus();
  return ErrnoStatus(errno, StrCat("name output path ", path_->path()));
}

}  // namespace dragonfly::storage
