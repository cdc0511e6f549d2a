// SPDX-License-Identifier: Apache-2.0
#include "tests/support/python_server.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sstream>
#include <stdexcept>

namespace dragonfly::testing {

PythonServer::PythonServer(const std::string& script, const std::vector<std::string>& arguments) {
  std::vector<std::string> words = {"python3", std::string(DF_TEST_SUPPORT_DIR) + "/" + script};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> command;
  for (std::string& word : words) command.push_back(word.data());
  command.push_back(nullptr);

  int input[2];
  int output[2];
  if (::pipe2(input, O_CLOEXEC) != 0 || ::pipe2(output, O_CLOEXEC) != 0) throw std::runtime_error("no pipe");
  const UniqueFd child_input(input[0]);
  input_ = UniqueFd(input[1]);
  const UniqueFd told(output[0]);
  UniqueFd child_output(output[1]);
  pid_ = ::fork();
  if (pid_ < 0) throw std::runtime_error("fork failed");
  if (pid_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::dup2(child_input.get(), STDIN_FILENO);
    ::dup2(child_output.get(), STDOUT_FILENO);
    ::execvp(command[0], command.data());
    ::_exit(127);
  }
  child_output = UniqueFd();
  std::string line;
  char c = 0;
  while (::read(told.get(), &c, 1) == 1 && c != '\n') line += c;
  std::istringstream numbers(line);
  for (uint16_t port = 0; numbers >> port;) ports_.push_back(port);
  if (ports_.empty()) throw std::runtime_error(script + " did not start");
}

PythonServer::~PythonServer() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  int status = 0;
  ::waitpid(pid_, &status, 0);
}

}  // namespace dragonfly::testing
