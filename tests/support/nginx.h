// SPDX-License-Identifier: Apache-2.0
// A real nginx on loopback, as an honest origin.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "tests/support/temp_dir.h"

namespace dragonfly::testing {

// One process that serves the directory www(). Stopped and removed by the destructor; ends with the test program, too.
class Nginx {
 public:
  // One server on a port of its own: `body` goes into its server block, where "@N@" stands for the port of server N.
  struct ServerBlock {
    std::string body;
    bool tls = false;  // with the certificate that `body` names
  };

  // The ports are bound here and handed over, so that none is taken by somebody else and connections work at once.
  // Throws std::runtime_error when nginx cannot be started.
  explicit Nginx(const std::vector<ServerBlock>& servers);
  ~Nginx();
  Nginx(const Nginx&) = delete;
  Nginx& operator=(const Nginx&) = delete;

  uint16_t port(size_t server = 0) const { return ports_.at(server); }
  // "http://127.0.0.1:<port><path>", https for a TLS server.
  std::string Url(const std::string& path, size_t server = 0) const;

  // Puts a file under the document root of all servers.
  void Put(const std::string& name, std::string_view content) const { dir_.Write("www/" + name, content); }
  std::string www() const { return (dir_.path() / "www").string(); }
  pid_t pid() const { return pid_; }

 private:
  TempDir dir_;
  std::vector<uint16_t> ports_;
  std::vector<bool> tls_;
  pid_t pid_ = -1;
};

}  // namespace dragonfly::testing
