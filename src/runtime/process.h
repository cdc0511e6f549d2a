// SPDX-License-Identifier: Apache-2.0
// What a long-running program does with its process: signals that end it, limits that it needs.
#pragma once

#include <functional>

namespace dragonfly::runtime {

// Takes SIGINT, SIGTERM and SIGQUIT for Wait() and ignores SIGPIPE. Make it before the first thread, so that every
// thread leaves the signals alone.
class StopSignals {
 public:
  // With `user_signal`, SIGUSR1 is taken for Wait() as well.
  explicit StopSignals(bool user_signal = false);
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  // Blocks until one of them comes and returns its number. From then on they have their default effect: the next one
  // ends the process at once. At each SIGUSR1 that was asked for `on_user_signal` is called, and it goes on.
  int Wait(const std::function<void()>& on_user_signal = nullptr);

 private:
  const bool user_signal_;
};

// Raises the limit of open files to the most that the system allows this process.
void RaiseFileLimit();

}  // namespace dragonfly::runtime
