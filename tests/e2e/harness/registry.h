// SPDX-License-Identifier: Apache-2.0
// A real docker-registry, whose access log tells what was read from it, and images to put there.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tests/e2e/harness/process.h"

namespace dragonfly::e2e {

struct RegistrySettings {
  std::string address;  // ip:port
  // With certificate and key it speaks TLS.
  std::string certificate, key;
  // With a user it answers nobody else, by basic authentication or, with a port for their service, by bearer tokens.
  std::string user, password;
  int token_port = 0;
};

class Registry {
 public:
  // `dir` is made. Returns when it accepts connections.
  Registry(const std::string& dir, RegistrySettings settings);

  const std::string& address() const { return settings_.address; }
  std::string url() const;  // scheme and address

  struct Entry {
    std::string method;
    std::string path;  // with its query
    int status = 0;
    uint64_t body_bytes = 0;
  };
  // Finished requests since the last Forget().
  std::vector<Entry> Log() const;
  void Forget();
  // Body bytes that went out for the blob, but for ranges of a single byte, which only ask about it.
  uint64_t BytesSent(const std::string& digest) const;
  // Blobs of which BytesSent() tells anything, by their digests.
  std::vector<std::string> BlobsSent() const;

 private:
  // The lines of its configuration.
  std::string Authentication();

  RegistrySettings settings_;
  std::string dir_;
  size_t forgotten_ = 0;  // bytes of the log
  Process tokens_;
  Process process_;
};

struct Blob {
  std::string digest;  // "sha256:..."
  uint64_t size = 0;
};

// One image in an OCI image layout (github.com/opencontainers/image-spec, image-layout.md), with tar layers of random
// bytes.
struct Image {
  std::string layout;       // directory
  std::string manifest;     // digest
  std::vector<Blob> blobs;  // the layers, then the configuration
};

// A layer of one file of `bytes` random bytes; equal seeds give equal layers.
struct LayerSpec {
  uint64_t bytes;
  uint64_t seed;
};
Image MakeImage(const std::string& layout, const std::vector<LayerSpec>& layers);

}  // namespace dragonfly::e2e
