// SPDX-License-Identifier: Apache-2.0
#include "cli/output_tree.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/status.h"
#include "base/text.h"

namespace dragonfly::cli {
namespace {

std::string_view ParentOf(std::string_view path) {
  const size_t slash = path.rfind('/');
  return slash == path.npos ? std::string_view() : path.substr(0, slash);
}

std::string_view NameOf(std::string_view path) { return path.substr(path.rfind('/') + 1); }

}  // namespace

absl::StatusOr<OutputTree> OutputTree::Open(const std::string& root) {
  if (::mkdir(root.c_str(), 0755) != 0 && errno != EEXIST) return ErrnoStatus(errno, StrCat("make directory ", root));
  UniqueFd directory(::open(root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory.valid()) return ErrnoStatus(errno, StrCat("open directory ", root));
  return OutputTree(root, std::move(directory));
}

std::string OutputTree::PathOf(std::string_view path) const { return StrCat(root_, root_ == "/" ? "" : "/", path); }

absl::StatusOr<UniqueFd> OutputTree::Descend(std::string_view path, bool make) const {
  UniqueFd at(::fcntl(directory_.get(), F_DUPFD_CLOEXEC, 0));
  if (!at.valid()) return ErrnoStatus(errno, StrCat("open directory ", root_));
  for (size_t begin = 0; begin < path.size();) {
    const size_t end = std::min(path.find('/', begin), path.size());
    const std::string name(path.substr(begin, end - begin));
    const std::string_view so_far = path.substr(0, end);
    if (make && ::mkdirat(at.get(), name.c_str(), 0755) != 0 && errno != EEXIST) {
      return ErrnoStatus(errno, StrCat("make directory ", PathOf(so_far)));
    }
    UniqueFd next(::openat(at.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!next.valid()) {
      if (errno == ENOTDIR || errno == ELOOP) {
        return absl::FailedPreconditionError(
            StrCat("output path ", PathOf(so_far), " is not a directory, or a symbolic link, which is not followed"));
      }
      return ErrnoStatus(errno, StrCat("open directory ", PathOf(so_far)));
    }
    at = std::move(next);
    begin = end + 1;
  }
  return at;
}

absl::Status OutputTree::MakeDirectories(std::string_view path) const { return Descend(path, true).status(); }

absl::Status OutputTree::MakeParents(std::string_view path) const { return MakeDirectories(ParentOf(path)); }

absl::StatusOr<OutputTree::Existing> OutputTree::Look(std::string_view path) const {
  DF_ASSIGN_OR_RETURN(const UniqueFd parent, Descend(ParentOf(path), false));
  struct stat status{};
  if (::fstatat(parent.get(), std::string(NameOf(path)).c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno == ENOENT) return Existing{};
    return ErrnoStatus(errno, StrCat("look at ", PathOf(path)));
  }
  if (!S_ISREG(status.st_mode)) return Existing{.kind = Kind::kOther};
  return Existing{.kind = Kind::kFile, .length = static_cast<uint64_t>(status.st_size)};
}

}  // namespace dragonfly::cli
