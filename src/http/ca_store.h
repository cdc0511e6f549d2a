// SPDX-License-Identifier: Apache-2.0
// Certificate authorities of a file beside the system's. For the module's .cc files only.
#pragma once

#include <openssl/x509_vfy.h>
#include <sys/stat.h>

#include <map>
#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace dragonfly::http {

// Keeps one OpenSSL store per file, since reading the system's bundle takes longer than a handshake. Not thread-safe.
class CaStores {
 public:
  // The store of `ca_file` (PEM) and the system's authorities; read again when the file has changed. Blocks for the
  // first read. Errors: INVALID_ARGUMENT when the file cannot be read or holds no certificate.
  absl::StatusOr<std::shared_ptr<X509_STORE>> For(const std::string& ca_file);

 private:
  struct Entry {
    timespec modified{};
    ino_t inode = 0;
    off_t size = 0;
    std::shared_ptr<X509_STORE> store;
  };
  std::map<std::string, Entry> entries_;
};

}  // namespace dragonfly::http
