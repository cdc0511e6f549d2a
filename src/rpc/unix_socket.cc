// SPDX-License-Identifier: Apache-2.0
#include "rpc/unix_socket.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "base/status.h"
#include "base/text.h"
#include "base/unique_fd.h"

namespace dragonfly::rpc {
namespace {

// Whether somebody accepts connections on `path`.
absl::StatusOr<bool> Served(const std::string& path) {
  const UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return ErrnoStatus(errno, "make a Unix socket");
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0) return true;
  // EAGAIN: its backlog is full, so it has one.
  if (errno == EAGAIN || errno == EINPROGRESS) return true;
  if (errno == ECONNREFUSED || errno == ENOENT) return false;
  return ErrnoStatus(errno, StrCat("probe Unix socket ", path));
}

}  // namespace

absl::StatusOr<UnixSocketFile> UnixSocketFile::Prepare(const std::string& path, mode_t mode) {
  static std::atomic<unsigned> count{0};
  UnixSocketFile file;
  file.path_ = path;
  file.mode_ = mode;
  file.bind_path_ = StrCat(path, ".", static_cast<unsigned>(::getpid()), ".", count.fetch_add(1));
  if (file.bind_path_.size() >= sizeof(sockaddr_un::sun_path))
    return absl::InvalidArgumentError(StrCat("Unix socket ", path, ": the path is too long"));

  const std::filesystem::path parent = std::filesystem::path(path).parent_path();
  std::error_code error;
  if (!parent.empty()) std::filesystem::create_directories(parent, error);
  if (error) return ErrnoStatus(error.value(), StrCat("make directory ", parent.string()));

  struct stat state{};
  if (::lstat(path.c_str(), &state) == 0) {
    if (!S_ISSOCK(state.st_mode))
      return absl::AlreadyExistsError(StrCat("Unix socket ", path, ": a file that is no socket is in the way"));
    DF_ASSIGN_OR_RETURN(const bool served, Served(path));
    if (served) return absl::AlreadyExistsError(StrCat("Unix socket ", path, ": another process serves it"));
  }
  return file;
}

absl::Status UnixSocketFile::Publish() {
  struct stat state{};
  if (::lstat(bind_path_.c_str(), &state) != 0 || ::chmod(bind_path_.c_str(), mode_) != 0 ||
      ::rename(bind_path_.c_str(), path_.c_str()) != 0) {
    const absl::Status status = ErrnoStatus(errno, StrCat("publish Unix socket ", path_));
    ::unlink(bind_path_.c_str());
    return status;
  }
  device_ = state.st_dev;
  inode_ = state.st_ino;
  return absl::OkStatus();
}

void UnixSocketFile::Remove() {
  struct stat state{};
  if (inode_ == 0 || ::lstat(path_.c_str(), &state) != 0) return;
  if (state.st_dev == device_ && state.st_ino == inode_) ::unlink(path_.c_str());
}

}  // namespace dragonfly::rpc
