// SPDX-License-Identifier: Apache-2.0
#include "runtime/process.h"

#include <signal.h>
#include <sys/resource.h>

#include <initializer_list>

namespace dragonfly::runtime {
namespace {

sigset_t StopSet(bool user_signal) {
  sigset_t set;
  sigemptyset(&set);
  for (const int number : {SIGINT, SIGTERM, SIGQUIT}) sigaddset(&set, number);
  if (user_signal) sigaddset(&set, SIGUSR1);
  return set;
}

}  // namespace

StopSignals::StopSignals(bool user_signal) : user_signal_(user_signal) {
  const sigset_t set = StopSet(user_signal_);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  signal(SIGPIPE, SIG_IGN);
}

int StopSignals::Wait(const std::function<void()>& on_user_signal) {
  const sigset_t set = StopSet(user_signal_);
  int number = 0;
  while (sigwait(&set, &number) != 0 || number == SIGUSR1) {
    if (number == SIGUSR1 && on_user_signal) on_user_signal();
    number = 0;
  }
  // SIGUSR1 stays blocked: it must not end a program that is stopping.
  const sigset_t stop = StopSet(/*user_signal=*/false);
  pthread_sigmask(SIG_UNBLOCK, &stop, nullptr);
  return number;
}

void RaiseFileLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace dragonfly::runtime
