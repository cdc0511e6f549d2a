// SPDX-License-Identifier: Apache-2.0
#include "tests/support/nginx.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <stdexcept>
#include <string>
#include <utility>

#include "base/unique_fd.h"
#include "tests/support/loopback.h"

namespace dragonfly::testing {
namespace {

constexpr const char* kBinary = "/usr/sbin/nginx";

std::string WithPorts(std::string text, const std::vector<uint16_t>& ports) {
  for (size_t i = 0; i < ports.size(); ++i) {
    const std::string mark = "@" + std::to_string(i) + "@";
    for (size_t at = text.find(mark); at != text.npos; at = text.find(mark, at)) {
      text.replace(at, mark.size(), std::to_string(ports[i]));
    }
  }
  return text;
}

}  // namespace

Nginx::Nginx(const std::vector<ServerBlock>& servers) {
  std::vector<UniqueFd> listeners;
  std::string inherited = "NGINX=";
  for (const ServerBlock& server : servers) {
    BoundSocket bound = BindOnLoopback(SOCK_NONBLOCK);  // inherited by nginx
    if (::listen(bound.fd.get(), 512) != 0) throw std::runtime_error("cannot listen on loopback");
    ports_.push_back(bound.port);
    listeners.push_back(std::move(bound.fd));
    tls_.push_back(server.tls);
    inherited += std::to_string(listeners.back().get()) + ";";
  }

  const std::string dir = dir_.path().string();
  std::filesystem::create_directories(www());
  std::string config = "daemon off;\nworker_processes 1;\npid " + dir + "/pid;\nerror_log " + dir +
                       "/error.log;\nevents { worker_connections 1024; }\nhttp {\n"
                       "access_log off;\n"
                       "types { text/plain txt; }\ndefault_type application/octet-stream;\nsendfile on;\n";
  for (const char* kind : {"client_body", "proxy", "fastcgi", "uwsgi", "scgi"}) {
    config += std::string(kind) + "_temp_path " + dir + "/" + kind + ";\n";
  }
  for (size_t i = 0; i < servers.size(); ++i) {
    config += "server {\nlisten 127.0.0.1:" + std::to_string(ports_[i]) + (servers[i].tls ? " ssl" : "") + ";\nroot " +
              www() + ";\n" + WithPorts(servers[i].body, ports_) + "\n}\n";
  }
  config += "}\n";
  // A worker that nginx made a lesser user could not read the temporary directory.
  if (::geteuid() == 0) config = "user root;\n" + config;
  const std::string config_file = dir_.Write("nginx.conf", config);
  const std::string error_log = dir + "/error.log";

  pid_ = ::fork();
  if (pid_ < 0) throw std::runtime_error("fork failed");
  if (pid_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);  // the master takes its worker along
    char* const arguments[] = {const_cast<char*>(kBinary),
                               const_cast<char*>("-p"),
                               const_cast<char*>(dir.c_str()),
                               const_cast<char*>("-c"),
                               const_cast<char*>(config_file.c_str()),
                               const_cast<char*>("-e"),
                               const_cast<char*>(error_log.c_str()),
                               nullptr};
    char* const environment[] = {inherited.data(), nullptr};
    ::execve(kBinary, arguments, environment);
    ::_exit(127);
  }
  // A wrong configuration ends it at once; else its pid file says that it runs.
  for (;;) {
    if (std::filesystem::exists(dir + "/pid")) return;
    int status = 0;
    if (::waitpid(pid_, &status, WNOHANG) == pid_) {
      std::ifstream log(error_log);
      const std::string text((std::istreambuf_iterator<char>(log)), std::istreambuf_iterator<char>());
      throw std::runtime_error("nginx did not start: " + text);
    }
    ::usleep(1000);
  }
}

Nginx::~Nginx() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGTERM);
  int status = 0;
  ::waitpid(pid_, &status, 0);
}

std::string Nginx::Url(const std::string& path, size_t server) const {
  return std::string(tls_.at(server) ? "https" : "http") + "://127.0.0.1:" + std::to_string(port(server)) + path;
}

}  // namespace dragonfly::testing
