// SPDX-License-Identifier: Apache-2.0
#include "cli/dfinit/restart.h"

#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <map>
#include <set>

#include "absl/strings/str_split.h"
#include "base/status.h"
#include "base/text.h"
#include "base/unique_fd.h"

extern char** environ;

namespace dragonfly::cli {

std::vector<DueRestart> DueRestarts(const Plan& plan, const std::string& root) {
  const std::set<std::string> needed = plan.Restarts();
  std::map<std::string, DueRestart> due;
  for (const auto& [path, service] : plan.read_at_start) {
    const std::string note = StrCat(root, path, ".dfinit-restart");
    if (due.contains(service) || (!needed.contains(service) && ::access(note.c_str(), F_OK) != 0)) continue;
    due.emplace(service, DueRestart{service, note});
  }
  std::vector<DueRestart> result;
  for (auto& [service, restart] : due) result.push_back(std::move(restart));
  return result;
}

absl::Status NoteRestarts(const std::vector<DueRestart>& due) {
  for (const DueRestart& restart : due) {
    DF_RETURN_IF_ERROR(
        ReplaceFile(restart.note, StrCat("dfinit --restart: ", restart.service, " is to be restarted\n")));
  }
  return absl::OkStatus();
}

absl::Status Restart(const DueRestart& due, const std::string& command, std::chrono::milliseconds timeout) {
  std::vector<std::string> words;
  for (absl::string_view word : absl::StrSplit(command, ' ', absl::SkipEmpty())) words.emplace_back(word);
  if (words.empty()) return absl::InvalidArgumentError("the restart command is empty");
  words.push_back(due.service);
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  const std::string what = StrCat("restart ", due.service, " by ", Quoted(command));

  pid_t pid = -1;
  const int error = ::posix_spawnp(&pid, argv[0], nullptr, nullptr, argv.data(), environ);
  if (error != 0) return ErrnoStatus(error, what);
  const UniqueFd process(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  pollfd ended{.fd = process.get(), .events = POLLIN, .revents = 0};
  const bool in_time = process.valid() && ::poll(&ended, 1, static_cast<int>(timeout.count())) == 1;
  if (!in_time) ::kill(pid, SIGKILL);
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (!in_time) return absl::DeadlineExceededError(StrCat(what, ": not done after ", timeout.count() / 1000, " s"));
  if (WIFSIGNALED(status)) return absl::InternalError(StrCat(what, ": ended by signal ", WTERMSIG(status)));
  if (WEXITSTATUS(status) != 0) return absl::InternalError(StrCat(what, ": exit status ", WEXITSTATUS(status)));
  if (::unlink(due.note.c_str()) != 0 && errno != ENOENT) return ErrnoStatus(errno, StrCat("remove ", due.note));
  return absl::OkStatus();
}

}  // namespace dragonfly::cli
