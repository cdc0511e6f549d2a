// SPDX-License-Identifier: Apache-2.0
// A real nginx as the origin of a test, whose access log tells what was read from it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tests/e2e/harness/process.h"

namespace dragonfly::e2e {

// Serves <dir>/www under /, and the same files of unknown length (chunked, without ranges) under /chunked/.
class Origin {
 public:
  // `dir` must exist. `rate` limits each connection to that many bytes a second; 0: no limit. `ip` is how others reach
  // it; `locations` are further lines of nginx's server block.
  explicit Origin(const std::string& dir, uint64_t rate = 0, std::string ip = "127.0.0.1", std::string locations = "");

  int port() const { return port_; }
  std::string root() const { return dir_ + "/www"; }
  std::string Url(const std::string& name) const;
  Process& process() { return nginx_; }
  std::string ChunkedUrl(const std::string& name) const;

  struct Entry {
    std::string method;
    std::string path;
    std::string range;  // the Range header, empty without
    int status = 0;
    uint64_t body_bytes = 0;
  };
  // Finished requests so far.
  std::vector<Entry> Log() const;
  // Body bytes that were sent for `name`, but for what only asked about it (Range: bytes=0-0, HEAD).
  uint64_t BytesSent(const std::string& name) const;
  // All finished requests for `name`.
  size_t Requests(const std::string& name) const;
  void ClearLog();

 private:
  std::string dir_;
  std::string ip_;
  int port_ = 0;
  Process nginx_;
};

}  // namespace dragonfly::e2e
