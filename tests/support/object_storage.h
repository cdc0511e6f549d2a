// SPDX-License-Identifier: Apache-2.0
// An object storage on loopback that verifies signatures (object_storage_server.py tells how).
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/unique_fd.h"

namespace dragonfly::testing {

// One process. Stopped by the destructor; ends with the test program, too.
class ObjectStorage {
 public:
  // `config`: the JSON that the server's script describes, without line breaks. Throws std::runtime_error when it does
  // not start.
  explicit ObjectStorage(const std::string& config);
  ~ObjectStorage();
  ObjectStorage(const ObjectStorage&) = delete;
  ObjectStorage& operator=(const ObjectStorage&) = delete;

  uint16_t port() const { return port_; }
  // "http://<host>:<port>"
  std::string Endpoint(const std::string& host = "127.0.0.1") const;

  // Ends the server and returns the requests it has answered, in order: "206 GET /bucket/key".
  std::vector<std::string> Stop();

 private:
  std::string ReadUntil(char end);

  UniqueFd input_;
  UniqueFd output_;
  uint16_t port_ = 0;
  pid_t pid_ = -1;
};

}  // namespace dragonfly::testing
