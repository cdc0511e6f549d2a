// SPDX-License-Identifier: Apache-2.0
// A child process of a test: its output goes to a file, and it never outlives the test.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace dragonfly::e2e {

class Process {
 public:
  Process() = default;
  // Starts `argv` (argv[0] is the path); standard output and error are appended to `log_path`.
  Process(std::vector<std::string> argv, std::string log_path,
          const std::map<std::string, std::string>& environment = {});
  // Kills it when it still runs.
  ~Process();
  Process(Process&& other) noexcept;
  Process& operator=(Process&& other) noexcept;

  pid_t pid() const { return pid_; }
  bool Running();
  void Signal(int signal);
  // SIGKILL and reaped.
  void Kill();
  // SIGTERM, then waits; the exit code, or nullopt when it had to be killed after `timeout`.
  std::optional<int> Terminate(std::chrono::milliseconds timeout = std::chrono::seconds(20));
  // The exit code (128 + signal when killed by one), or nullopt when it still runs after `timeout`.
  std::optional<int> Wait(std::chrono::milliseconds timeout);
  std::string Log() const;

 private:
  std::optional<int> Reap(int options);

  pid_t pid_ = -1;
  int pidfd_ = -1;
  std::optional<int> exit_code_;
  std::string log_path_;
};

// A TCP port of 127.0.0.1 that nobody uses at the moment, below the range of outgoing connections.
int FreePort();

// Waits until `ready()` is true, looking again whenever a short while has passed; false after `timeout`. For conditions
// of other processes that send no event.
template <typename Ready>
bool Await(Ready ready, std::chrono::milliseconds timeout);

// True when somebody accepts connections on 127.0.0.1:<port>.
bool TcpAccepts(int port);

// GET http://127.0.0.1:<port><path>: the status code, or 0 when nobody answers.
int HttpStatus(int port, const std::string& path);
// The body of the same.
std::string HttpBody(int port, const std::string& path);

void PauseBriefly();

template <typename Ready>
bool Await(Ready ready, std::chrono::milliseconds timeout) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  while (!ready()) {
    if (std::chrono::steady_clock::now() >= deadline) return false;
    PauseBriefly();
  }
  return true;
}

}  // namespace dragonfly::e2e
