// SPDX-License-Identifier: Apache-2.0
#include "base/rename.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/status.h"
#include "base/text.h"

namespace dragonfly {
namespace {

bool SameFile(int directory, const std::string& one, const std::string& other) {
  struct stat first;
  struct stat second;
  return ::fstatat(directory, one.c_str(), &first, AT_SYMLINK_NOFOLLOW) == 0 &&
         ::fstatat(directory, other.c_str(), &second, AT_SYMLINK_NOFOLLOW) == 0 && first.st_dev == second.st_dev &&
         first.st_ino == second.st_ino;
}

}  // namespace

absl::Status RenameWithoutReplacing(int directory, const std::string& from, const std::string& to) {
  const auto failed = [&](int error) { return ErrnoStatus(error, StrCat("rename ", from, " to ", to)); };
  if (::renameat2(directory, from.c_str(), directory, to.c_str(), RENAME_NOREPLACE) == 0) return absl::OkStatus();
  if (errno != EINVAL && errno != ENOSYS) return failed(errno);
  // An NFS server whose first answer was lost says EEXIST to the client's second try (open(2), O_EXCL).
  if (::linkat(directory, from.c_str(), directory, to.c_str(), 0) == 0 ||
      (errno == EEXIST && SameFile(directory, from, to))) {
    (void)::unlinkat(directory, from.c_str(), 0);
    return absl::OkStatus();
  }
  const int error = errno;
  if (error != EPERM && error != EOPNOTSUPP && error != ENOSYS && error != EINVAL) return failed(error);
  return absl::UnimplementedError(StrCat("rename ", from, " to ", to,
                                         ": this file system can neither rename without replacing nor link (",
                                         std::strerror(error), "); it works only where overwriting is asked for"));
}

}  // namespace dragonfly
