// SPDX-License-Identifier: Apache-2.0
#include "tests/e2e/harness/network.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>

#include <cstdlib>
#include <filesystem>
#include <stdexcept>

namespace dragonfly::e2e {
namespace {

constexpr std::chrono::minutes kRunTimeout{5};

bool Shell(const std::string& command) { return std::system(command.c_str()) == 0; }

}  // namespace

bool EnterOwnNetwork() {
  if (::unshare(CLONE_NEWNET | CLONE_NEWNS) != 0) return false;
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return false;
  // With an address of its own: else it would change with each new port, and hosts would talk to the old one.
  return Shell(
      std::string("ip link set lo up && ip link add bridge address 02:00:0a:4d:00:01 type bridge && ip addr add ") +
      kCenter + "/24 dev bridge && ip link set bridge up");
}

std::string Output(Process& process, int expected_code) {
  const std::optional<int> code = process.Wait(kRunTimeout);
  EXPECT_EQ(code, expected_code) << process.Log();
  return process.Log();
}

Host::Host(const std::string& dir, int number)
    : dir_(dir), ip_("10.77.0." + std::to_string(number)), link_("host" + std::to_string(number)) {
  std::filesystem::create_directories(dir_);
  // The script tells by the file that it is done, and then only holds the namespaces.
  const std::string script = R"(
set -e
mount --make-rprivate /
bind() {
  mkdir -p "$DIR/$1" "$2"
  test -z "$3" || cp -a "$2/." "$DIR/$1/"
  mount --bind "$DIR/$1" "$2"
}
bind etc-containers /etc/containers copy
bind etc-containerd /etc/containerd copy
bind var-lib-containers /var/lib/containers
bind run-containers /run/containers
bind root /root
ip link set lo up
ip link set eth0 up
ip addr add "$IP/24" dev eth0
touch "$DIR/ready"
exec sleep infinity
)";
  const std::string wait_for_link = "until ip link show eth0 >/dev/null 2>&1; do sleep 0.01; done\n";
  holder_ = Process({"/usr/bin/unshare", "--net", "--mount", "/bin/sh", "-c", wait_for_link + script},
                    dir_ + "/host.out", {{"DIR", dir_}, {"IP", ip_}});
  const std::string pid = std::to_string(holder_.pid());
  // Until it has unshared, the other end would come into our own namespace, beside the bridge.
  const auto has_own_network = [&] {
    std::error_code error;
    return std::filesystem::read_symlink("/proc/" + pid + "/ns/net", error) !=
           std::filesystem::read_symlink("/proc/self/ns/net", error);
  };
  if (!Await(has_own_network, std::chrono::seconds(10)) ||
      !Shell("ip link add " + link_ + " type veth peer name eth0 netns " + pid + " && ip link set " + link_ +
             " master bridge up && ip neigh flush dev bridge")) {
    throw std::runtime_error("no link to host " + ip_);
  }
  const bool ready = Await([&] { return std::filesystem::exists(dir_ + "/ready"); }, std::chrono::seconds(30));
  EXPECT_TRUE(ready) << holder_.Log();
}

// The name and the address are free at once; the namespace goes when its last process has ended.
Host::~Host() { Shell("ip link delete " + link_); }

Process Host::Start(std::vector<std::string> argv, const std::string& log,
                    const std::map<std::string, std::string>& environment) {
  std::vector<std::string> all = {"/usr/bin/nsenter", "--target", std::to_string(holder_.pid()), "--net", "--mount",
                                  "--wd=" + dir_,     "--"};
  all.insert(all.end(), argv.begin(), argv.end());
  return Process(std::move(all), dir_ + "/" + log, environment);
}

std::string Host::Run(std::vector<std::string> argv, int expected_code) {
  Process process = Start(std::move(argv), "run-" + std::to_string(runs_++) + ".out");
  return Output(process, expected_code);
}

}  // namespace dragonfly::e2e
