// SPDX-License-Identifier: Apache-2.0
// Several hosts on one machine: network namespaces with addresses of their own on one bridge, each with its own view of
// the directories that container runtimes use. Everything ends with the test program.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "tests/e2e/harness/process.h"

namespace dragonfly::e2e {

// The address of the test program and of what it starts itself.
inline constexpr char kCenter[] = "10.77.0.1";

// Takes the calling program into namespaces of its own, with the bridge. To be called once, before there are threads.
// False without the rights (CAP_SYS_ADMIN, CAP_NET_ADMIN).
bool EnterOwnNetwork();

// Runs a program to its end and returns what it wrote; the test fails when it does not end with `expected_code`.
std::string Output(Process& process, int expected_code = 0);

class Host {
 public:
  // Host number `number`, 2 to 250, has the address 10.77.0.<number>. Its /etc/containers, /etc/containerd,
  // /var/lib/containers, /run/containers and /root are directories below `dir`; the first two begin as this machine's.
  Host(const std::string& dir, int number);
  ~Host();
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;

  const std::string& dir() const { return dir_; }
  const std::string& ip() const { return ip_; }
  // Starts a program on the host; its path is looked up. What it writes goes to <dir>/<log>.
  Process Start(std::vector<std::string> argv, const std::string& log,
                const std::map<std::string, std::string>& environment = {});
  // Runs one to its end and returns what it wrote; the test fails when it does not end with `expected_code`.
  std::string Run(std::vector<std::string> argv, int expected_code = 0);

 private:
  std::string dir_;
  std::string ip_;
  std::string link_;  // its end on the bridge
  int runs_ = 0;
  Process holder_;  // keeps the namespaces
};

}  // namespace dragonfly::e2e
