// SPDX-License-Identifier: Apache-2.0
#include "cli/dfinit/host_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <system_error>

#include "base/status.h"
#include "base/text.h"
#include "base/unique_fd.h"

namespace dragonfly::cli {
namespace {

constexpr size_t kFileSizeMax = 16 << 20;  // bytes

absl::StatusOr<std::optional<std::string>> ReadFile(const std::string& path) {
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
  if (!file.valid()) {
    if (errno == ENOENT) return std::nullopt;
    return ErrnoStatus(errno, StrCat("open ", path));
  }
  std::string content;
  char buffer[65536];
  for (;;) {
    const ssize_t n = ::read(file.get(), buffer, sizeof(buffer));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoStatus(errno, StrCat("read ", path));
    if (n == 0) return content;
    content.append(buffer, static_cast<size_t>(n));
    if (content.size() > kFileSizeMax) {
      return absl::InvalidArgumentError(StrCat(path, ": is larger than ", kFileSizeMax, " bytes"));
    }
  }
}

absl::Status WriteAll(int fd, std::string_view content, const std::string& path) {
  while (!content.empty()) {
    const ssize_t n = ::write(fd, content.data(), content.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoStatus(errno, StrCat("write ", path));
    content.remove_prefix(static_cast<size_t>(n));
  }
  return absl::OkStatus();
}

// A security module's label is among them; a file system without attributes has none to lose.
void CopyAttributes(int from, int to) {
  char names[4096];
  const ssize_t length = ::flistxattr(from, names, sizeof(names));
  for (ssize_t at = 0; at < length;) {
    const char* const name = names + at;
    char value[4096];
    const ssize_t size = ::fgetxattr(from, name, value, sizeof(value));
    if (size >= 0) ::fsetxattr(to, name, value, static_cast<size_t>(size), 0);
    at += static_cast<ssize_t>(std::string_view(name).size()) + 1;
  }
}

absl::Status TakeOver(const std::string& old_path, int to, const std::string& new_path) {
  const UniqueFd old_file(::open(old_path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
  if (!old_file.valid()) {
    if (errno != ENOENT) return ErrnoStatus(errno, StrCat("open ", old_path));
    return ::fchmod(to, 0644) == 0 ? absl::OkStatus() : ErrnoStatus(errno, StrCat("set mode of ", new_path));
  }
  struct stat status{};
  if (::fstat(old_file.get(), &status) != 0) return ErrnoStatus(errno, StrCat("stat ", old_path));
  if (!S_ISREG(status.st_mode)) return absl::FailedPreconditionError(StrCat(old_path, ": is no regular file"));
  // Owner first: changing it may take away bits of the mode.
  if (::fchown(to, status.st_uid, status.st_gid) != 0) return ErrnoStatus(errno, StrCat("set owner of ", new_path));
  if (::fchmod(to, status.st_mode & 07777) != 0) return ErrnoStatus(errno, StrCat("set mode of ", new_path));
  CopyAttributes(old_file.get(), to);
  return absl::OkStatus();
}

absl::Status SyncDirectory(const std::string& path) {
  const UniqueFd directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory.valid() || ::fsync(directory.get()) != 0) return ErrnoStatus(errno, StrCat("sync ", path));
  return absl::OkStatus();
}

absl::Status RemoveFile(const std::string& path) {
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return ErrnoStatus(errno, StrCat("remove ", path));
  return absl::OkStatus();
}

}  // namespace

absl::Status ReplaceFile(const std::string& path, std::string_view content, const std::string& like) {
  std::error_code error;
  std::filesystem::path target(path);
  if (std::filesystem::is_symlink(target, error)) {
    target = std::filesystem::weakly_canonical(target, error);
    if (error) return ErrnoStatus(error.value(), StrCat("follow ", path));
  }
  const std::filesystem::path directory = target.parent_path();
  std::filesystem::create_directories(directory, error);
  if (error) return ErrnoStatus(error.value(), StrCat("make directory ", directory.string()));

  // Its name ends as no configuration file's does, so that nobody loads it.
  std::string temporary = StrCat(directory.string(), "/.", target.filename().string(), ".dfinit-XXXXXX");
  const UniqueFd file(::mkostemp(temporary.data(), O_CLOEXEC));
  if (!file.valid()) return ErrnoStatus(errno, StrCat("make ", temporary));
  absl::Status status = WriteAll(file.get(), content, temporary);
  if (status.ok()) status = TakeOver(like.empty() ? target.string() : like, file.get(), temporary);
  if (status.ok() && ::fsync(file.get()) != 0) status = ErrnoStatus(errno, StrCat("sync ", temporary));
  if (status.ok() && ::rename(temporary.c_str(), target.c_str()) != 0) {
    status =
        errno == EBUSY
            ? absl::FailedPreconditionError(StrCat("replace ", path, ": it is a mount of its own; mount its directory"))
            : ErrnoStatus(errno, StrCat("replace ", path));
  }
  if (!status.ok()) {
    ::unlink(temporary.c_str());
    return status;
  }
  return SyncDirectory(directory.string());
}

absl::StatusOr<std::optional<std::string>> HostFiles::Read(const std::string& path) const {
  const auto planned = planned_.find(path);
  if (planned != planned_.end()) return planned->second.after;
  return ReadFile(OnDisk(path));
}

std::vector<std::string> HostFiles::List(const std::string& directory) const {
  std::vector<std::string> names;
  std::error_code error;
  for (std::filesystem::directory_iterator it(OnDisk(directory), error), end; !error && it != end;
       it.increment(error)) {
    names.push_back(it->path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

absl::Status HostFiles::Write(const std::string& path, std::optional<std::string> content) {
  const auto planned = planned_.find(path);
  if (planned != planned_.end()) {
    planned->second.after = std::move(content);
    return absl::OkStatus();
  }
  DF_ASSIGN_OR_RETURN(std::optional<std::string> before, ReadFile(OnDisk(path)));
  order_.push_back(path);
  planned_.emplace(path, Planned{std::move(before), std::move(content)});
  return absl::OkStatus();
}

std::vector<FileChange> HostFiles::Changes() const {
  std::vector<FileChange> changes;
  for (const std::string& path : order_) {
    const Planned& planned = planned_.at(path);
    if (planned.before != planned.after) changes.push_back({path, planned.before, planned.after});
  }
  return changes;
}

absl::Status HostFiles::Apply() const {
  for (const FileChange& change : Changes()) {
    const std::string path = OnDisk(change.path);
    if (!change.after) {
      DF_RETURN_IF_ERROR(RemoveFile(path));
      continue;
    }
    const bool keep = std::find(originals_.begin(), originals_.end(), change.path) != originals_.end();
    const std::string original = OnDisk(OriginalOf(change.path));
    if (keep && change.before && ::access(original.c_str(), F_OK) != 0) {
      DF_RETURN_IF_ERROR(ReplaceFile(original, *change.before, path));
    }
    DF_RETURN_IF_ERROR(ReplaceFile(path, *change.after));
  }
  for (const std::string& directory : directories_) {
    // It stays when something of others is in it.
    ::rmdir(OnDisk(directory).c_str());
  }
  return absl::OkStatus();
}

absl::Status HostFiles::Revert() const {
  absl::Status first;
  for (const FileChange& change : Changes()) {
    const std::string path = OnDisk(change.path);
    first.Update(change.before ? ReplaceFile(path, *change.before) : RemoveFile(path));
  }
  return first;
}

}  // namespace dragonfly::cli
