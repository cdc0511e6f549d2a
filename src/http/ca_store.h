// SPDX-License-Identifier: Apache-2.0
// Certificate authorities of a file beside the system's. For the module's .cc files only.
#pragma once

#include <openssl/x509_vfy.h>
#include <sys/stat.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace dragonfly::http {

// Keeps one OpenSSL store per file, since reading the system's bundle takes longer than a handshake. Not thread-safe.
class CaStores {
 public:
  // The store of `ca_file` (PEM; empty: none) and the system's authorities; read again when the file has changed.
  // Blocks for the first read. Errors: INVALID_ARGUMENT when the file cannot be read or holds no certificate.
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

// A store for one request.
struct OwnAuthorities {
  OwnAuthorities() = default;
  std::shared_ptr<X509_STORE> store;
  std::string pem;  // what it has and `base` has not
};

// Those of `base`, which are shared, and `certificates` (X.509 in DER). Errors: INVALID_ARGUMENT, with the index of
// what is no certificate.
absl::StatusOr<OwnAuthorities> AuthoritiesBeside(X509_STORE& base, const std::vector<std::string>& certificates);

}  // namespace dragonfly::http
