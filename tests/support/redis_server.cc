// SPDX-License-Identifier: Apache-2.0
#include "tests/support/redis_server.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <stdexcept>
#include <utility>

#include "base/unique_fd.h"
#include "tests/support/loopback.h"

namespace dragonfly::testing {
namespace {

constexpr const char* kBinary = "/usr/bin/redis-server";

}  // namespace

RedisServer::RedisServer(std::vector<std::string> arguments) : arguments_(std::move(arguments)), port_(FreePort()) {
  Start();
}

RedisServer::~RedisServer() { Kill(); }

void RedisServer::Kill() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  int status = 0;
  ::waitpid(pid_, &status, 0);
  pid_ = -1;
}

void RedisServer::Pause() { ::kill(pid_, SIGSTOP); }

void RedisServer::Resume() { ::kill(pid_, SIGCONT); }

void RedisServer::Restart() {
  Kill();
  Start();
}

void RedisServer::Start() {
  // A configuration file, which a sentinel needs, comes first, and a sentinel has no data.
  const bool sentinel = !arguments_.empty() && !arguments_.front().starts_with("--");
  std::vector<std::string> words = {kBinary};
  if (sentinel) words.insert(words.end(), arguments_.begin(), arguments_.end());
  for (const char* word : {"--daemonize", "no", "--bind", "127.0.0.1", "--dir"}) words.emplace_back(word);
  words.push_back(dir_.path().string());
  words.emplace_back("--port");
  words.push_back(std::to_string(port_));
  if (!sentinel) {
    for (const char* word : {"--save", "", "--appendonly", "yes", "--appendfsync", "always"}) words.emplace_back(word);
    words.insert(words.end(), arguments_.begin(), arguments_.end());
  }
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);

  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) throw std::runtime_error("pipe failed");
  const UniqueFd read_end(ends[0]);
  UniqueFd write_end(ends[1]);
  pid_ = ::fork();
  if (pid_ < 0) throw std::runtime_error("fork failed");
  if (pid_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::dup2(write_end.get(), 1);
    ::dup2(write_end.get(), 2);
    ::execv(kBinary, argv.data());
    ::_exit(127);
  }
  write_end.Reset();
  // It says when it serves. What it says later goes into the pipe's buffer, or nowhere.
  std::string said;
  std::array<char, 4096> buffer;
  while (said.find("eady to accept connections") == std::string::npos &&
         said.find("Sentinel ID is") == std::string::npos) {
    const ssize_t n = ::read(read_end.get(), buffer.data(), buffer.size());
    if (n <= 0) throw std::runtime_error("redis-server did not start: " + said);
    said.append(buffer.data(), static_cast<size_t>(n));
  }
}

}  // namespace dragonfly::testing
