// SPDX-License-Identifier: Apache-2.0
#include "tests/support/object_storage.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <stdexcept>

namespace dragonfly::testing {

ObjectStorage::ObjectStorage(const std::string& config) {
  int input[2];
  int output[2];
  if (::pipe2(input, O_CLOEXEC) != 0 || ::pipe2(output, O_CLOEXEC) != 0) throw std::runtime_error("pipe");
  const UniqueFd child_input(input[0]);
  const UniqueFd child_output(output[1]);
  input_ = UniqueFd(input[1]);
  output_ = UniqueFd(output[0]);

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, child_input.get(), 0);
  posix_spawn_file_actions_adddup2(&actions, child_output.get(), 1);
  const std::string script = DF_TEST_SUPPORT_DIR "/object_storage_server.py";
  std::array<char*, 3> arguments = {const_cast<char*>("python3"), const_cast<char*>(script.c_str()), nullptr};
  const int error = ::posix_spawnp(&pid_, "python3", &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) throw std::runtime_error("cannot start python3");

  const std::string line = config + "\n";
  for (size_t sent = 0; sent < line.size();) {
    const ssize_t wrote = ::write(input_.get(), line.data() + sent, line.size() - sent);
    if (wrote <= 0) throw std::runtime_error("the object storage does not read its configuration");
    sent += static_cast<size_t>(wrote);
  }
  const std::string port = ReadUntil('\n');
  if (port.empty()) throw std::runtime_error("the object storage does not start: " + config);
  port_ = static_cast<uint16_t>(std::stoi(port));
}

ObjectStorage::~ObjectStorage() { Stop(); }

std::string ObjectStorage::Endpoint(const std::string& host) const {
  return "http://" + host + ":" + std::to_string(port_);
}

std::vector<std::string> ObjectStorage::Stop() {
  std::vector<std::string> requests;
  if (pid_ < 0) return requests;
  input_.Reset();
  for (std::string line = ReadUntil('\n'); !line.empty(); line = ReadUntil('\n')) requests.push_back(line);
  ::waitpid(pid_, nullptr, 0);
  pid_ = -1;
  return requests;
}

std::string ObjectStorage::ReadUntil(char end) {
  std::string text;
  char c = 0;
  while (::read(output_.get(), &c, 1) == 1 && c != end) text.push_back(c);
  return text;
}

}  // namespace dragonfly::testing
