// SPDX-License-Identifier: Apache-2.0
#include "storage/store_directory.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <string_view>
#include <utility>

#include "base/status.h"
#include "base/text.h"
#include "storage/shortage.h"
#include "telemetry/log.h"

namespace dragonfly::storage {
namespace {

constexpr mode_t kDirectoryMode = 0755;
// Outputs are hard links to contents, so contents have the mode that users expect of a downloaded file.
constexpr mode_t kContentMode = 0644;
constexpr const char* kPartNames[] = {"content", "metadata"};

// Deep enough for <part>/tasks/<prefix>/<id> and for what a RocksDB of client v1.0.0 leaves in metadata/.
constexpr int kWipeDepthMax = 16;

std::string_view PrefixOf(const TaskId& id) { return std::string_view(id.str()).substr(0, 3); }

std::string RelativePath(const TaskId& id) { return StrCat(PrefixOf(id), "/", id.str()); }

std::string AsidePath(const TaskId& id) { return StrCat(RelativePath(id), ".link"); }

// The names in a directory, without "." and "..".
std::vector<std::string> NamesIn(int fd) {
  std::vector<std::string> names;
  UniqueFd own(::openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  DIR* const stream = own.valid() ? ::fdopendir(own.get()) : nullptr;
  if (stream == nullptr) return names;
  (void)own.Release();                               // the stream owns it
  while (const dirent* entry = ::readdir(stream)) {  // NOLINT(concurrency-mt-unsafe): the stream is local
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  ::closedir(stream);
  return names;
}

UniqueFd OpenSubdirectory(int at, const std::string& name) {
  return UniqueFd(::openat(at, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
}

// Unlinks everything in the directory. A symbolic link is unlinked, never followed.
absl::Status Wipe(int fd, const std::string& path, int depth) {
  for (const std::string& name : NamesIn(fd)) {
    const std::string entry_path = StrCat(path, "/", name);
    if (::unlinkat(fd, name.c_str(), 0) == 0 || errno == ENOENT) continue;
    if (errno != EISDIR && errno != EPERM) return ErrnoStatus(errno, StrCat("remove ", entry_path));
    if (depth == 0) return absl::FailedPreconditionError(StrCat("remove ", entry_path, ": nested too deep"));
    const UniqueFd sub = OpenSubdirectory(fd, name);
    if (!sub.valid()) return ErrnoStatus(errno, StrCat("remove ", entry_path));
    DF_RETURN_IF_ERROR(Wipe(sub.get(), entry_path, depth - 1));
    if (::unlinkat(fd, name.c_str(), AT_REMOVEDIR) != 0) return ErrnoStatus(errno, StrCat("remove ", entry_path));
  }
  return absl::OkStatus();
}

absl::StatusOr<UniqueFd> MakeDirectory(int at, const std::string& name, const std::string& path) {
  if (::mkdirat(at, name.c_str(), kDirectoryMode) != 0 && errno != EEXIST) {
    return ErrnoStatus(errno, StrCat("make directory ", path));
  }
  UniqueFd fd = OpenSubdirectory(at, name);
  if (fd.valid()) return fd;
  if (errno == ELOOP || errno == ENOTDIR) {
    return absl::FailedPreconditionError(
        StrCat("storage: ", path, " is not a directory (symbolic links are not followed)"));
  }
  return ErrnoStatus(errno, StrCat("open directory ", path));
}

}  // namespace

absl::StatusOr<std::unique_ptr<StoreDirectory>> StoreDirectory::Open(const std::string& dir, bool keep) {
  if (dir.empty() || dir[0] != '/') {
    return absl::InvalidArgumentError(StrCat("storage directory \"", dir, "\" is not an absolute path"));
  }
  std::error_code error;
  std::filesystem::create_directories(dir, error);
  if (error) return ErrnoStatus(error.value(), StrCat("make directory ", dir));
  const UniqueFd root(::open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!root.valid()) return ErrnoStatus(errno, StrCat("open directory ", dir));

  auto opened = std::unique_ptr<StoreDirectory>(new StoreDirectory());
  opened->dir_ = dir;
  opened->lock_ = UniqueFd(::openat(root.get(), "LOCK", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0644));
  if (!opened->lock_.valid()) return ErrnoStatus(errno, StrCat("open ", dir, "/LOCK"));
  if (::flock(opened->lock_.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return ErrnoStatus(errno, StrCat("lock ", dir, "/LOCK"));
    return absl::FailedPreconditionError(StrCat("storage directory ", dir, " is in use by another daemon"));
  }

  for (const Part part : {kContent, kMetadata}) {
    const std::string path = StrCat(dir, "/", kPartNames[part]);
    DF_ASSIGN_OR_RETURN(const UniqueFd top, MakeDirectory(root.get(), kPartNames[part], path));
    if (!keep) DF_RETURN_IF_ERROR(Wipe(top.get(), path, kWipeDepthMax));
    DF_ASSIGN_OR_RETURN(opened->parts_[part], MakeDirectory(top.get(), "tasks", StrCat(path, "/tasks")));
  }
  return opened;
}

StoreDirectory::~StoreDirectory() = default;

void StoreDirectory::Unlock() { lock_.Reset(); }

std::string StoreDirectory::ContentPath(const TaskId& id) const { return Describe(kContent, id); }

std::string StoreDirectory::Describe(Part part, const TaskId& id) const {
  return StrCat(dir_, "/", kPartNames[part], "/tasks/", RelativePath(id));
}

absl::StatusOr<UniqueFd> StoreDirectory::Create(Part part, const TaskId& id, int flags) const {
  const int at = parts_[part].get();
  const std::string name = RelativePath(id);
  // Mostly the directory is there and the file is not, so that is tried first.
  for (int attempt = 0; attempt < 3; ++attempt) {
    UniqueFd fd(::openat(at, name.c_str(), flags | O_CREAT | O_EXCL | O_CLOEXEC, kContentMode));
    if (fd.valid()) return fd;
    if (errno == ENOENT) {
      (void)::mkdirat(at, std::string(PrefixOf(id)).c_str(), kDirectoryMode);
    } else if (errno == EEXIST) {
      (void)::unlinkat(at, name.c_str(), 0);
    } else {
      break;
    }
  }
  return OpenStatus(errno, StrCat("create ", Describe(part, id)));
}

absl::StatusOr<UniqueFd> StoreDirectory::OpenFile(Part part, const TaskId& id, int flags) const {
  UniqueFd fd(::openat(parts_[part].get(), RelativePath(id).c_str(), flags | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  struct stat st;
  if (!fd.valid() || ::fstat(fd.get(), &st) != 0) return OpenStatus(errno, StrCat("open ", Describe(part, id)));
  if (!S_ISREG(st.st_mode)) return absl::DataLossError(StrCat(Describe(part, id), " is not a regular file"));
  return fd;
}

absl::StatusOr<UniqueFd> StoreDirectory::CreateContent(const TaskId& id) const { return Create(kContent, id, O_RDWR); }

absl::StatusOr<UniqueFd> StoreDirectory::OpenContent(const TaskId& id) const { return OpenFile(kContent, id, O_RDWR); }

absl::StatusOr<UniqueFd> StoreDirectory::LinkAside(const TaskId& id, int source) const {
  const int at = parts_[kContent].get();
  const std::string name = AsidePath(id);
  (void)::unlinkat(at, name.c_str(), 0);
  // By the descriptor, so that it is the file that was looked at, whatever has its name by now.
  if (::linkat(AT_FDCWD, StrCat("/proc/self/fd/", source).c_str(), at, name.c_str(), AT_SYMLINK_FOLLOW) != 0) {
    return ErrnoStatus(errno, StrCat("link to ", Describe(kContent, id)));
  }
  UniqueFd fd(::openat(at, name.c_str(), O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (fd.valid()) return fd;
  const absl::Status status = ErrnoStatus(errno, StrCat("open ", Describe(kContent, id)));
  DropAside(id);
  return status;
}

absl::Status StoreDirectory::PublishAside(const TaskId& id) const {
  const int at = parts_[kContent].get();
  if (::renameat(at, AsidePath(id).c_str(), at, RelativePath(id).c_str()) == 0) return absl::OkStatus();
  return ErrnoStatus(errno, StrCat("rename to ", Describe(kContent, id)));
}

void StoreDirectory::DropAside(const TaskId& id) const {
  (void)::unlinkat(parts_[kContent].get(), AsidePath(id).c_str(), 0);
}

absl::StatusOr<UniqueFd> StoreDirectory::CreateLog(const TaskId& id) const {
  return Create(kMetadata, id, O_RDWR | O_APPEND);
}

absl::StatusOr<UniqueFd> StoreDirectory::OpenLog(const TaskId& id) const {
  return OpenFile(kMetadata, id, O_RDWR | O_APPEND);
}

absl::StatusOr<struct stat> StoreDirectory::Stat(Part part, const TaskId& id) const {
  struct stat st;
  if (::fstatat(parts_[part].get(), RelativePath(id).c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0) return st;
  return ErrnoStatus(errno, StrCat("stat ", Describe(part, id)));
}

absl::Status StoreDirectory::Unlink(Part part, const TaskId& id) const {
  if (::unlinkat(parts_[part].get(), RelativePath(id).c_str(), 0) == 0 || errno == ENOENT) return absl::OkStatus();
  return ErrnoStatus(errno, StrCat("remove ", Describe(part, id)));
}

absl::Status StoreDirectory::Remove(const TaskId& id) const {
  const absl::Status metadata = Unlink(kMetadata, id);
  const absl::Status content = Unlink(kContent, id);
  return metadata.ok() ? content : metadata;
}

void StoreDirectory::TouchLog(const TaskId& id) const {
  (void)::utimensat(parts_[kMetadata].get(), RelativePath(id).c_str(), nullptr, AT_SYMLINK_NOFOLLOW);
}

std::vector<TaskId> StoreDirectory::List(Part part) const {
  std::vector<TaskId> ids;
  for (const std::string& prefix : NamesIn(parts_[part].get())) {
    const UniqueFd sub = OpenSubdirectory(parts_[part].get(), prefix);
    if (!sub.valid()) {
      (void)::unlinkat(parts_[part].get(), prefix.c_str(), 0);
      continue;
    }
    for (const std::string& name : NamesIn(sub.get())) {
      absl::StatusOr<TaskId> id = TaskId::Parse(name);
      if (id.ok() && PrefixOf(*id) == prefix) {
        ids.push_back(*std::move(id));
      } else if (::unlinkat(sub.get(), name.c_str(), 0) == 0) {
        DF_LOG(Warn, "storage: removed {}/{}/tasks/{}/{}, which no task owns", dir_, kPartNames[part], prefix, name);
      }
    }
  }
  return ids;
}

std::vector<TaskId> StoreDirectory::ListLogs() const { return List(kMetadata); }

std::vector<TaskId> StoreDirectory::ListContents() const { return List(kContent); }

}  // namespace dragonfly::storage
