// SPDX-License-Identifier: Apache-2.0
// Manifests of images and lists of them: OCI image specification 1.1 and Docker image manifest version 2, schema 2.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace dragonfly::oci {

// "linux/arm64/v8"; an empty variant is any.
struct Platform {
  std::string os;
  std::string architecture;
  std::string variant;

  // Errors: INVALID_ARGUMENT for a text that is not "<os>/<architecture>[/<variant>]".
  static absl::StatusOr<Platform> Parse(std::string_view text);
  // Of this machine, by the names of Go.
  static Platform Own();
  bool Fits(const Platform& wanted) const;
  std::string ToString() const;
};

struct Descriptor {
  std::string media_type;
  std::string digest;  // "sha256:<64 hexadecimal digits>" or sha512, checked
  uint64_t size = 0;
  Platform platform;  // of an entry of a list
};

struct Manifest {
  // Of a list: the manifests that it names. Else the configuration, then the layers that the registry has.
  bool list = false;
  std::vector<Descriptor> entries;
};

inline constexpr size_t kManifestMax = 4 << 20;  // bytes; registries take no larger ones
inline constexpr size_t kEntriesMax = 10'000;

// What a client names in Accept to get any of them.
std::string_view AcceptedManifests();

// Errors: INVALID_ARGUMENT for what is no manifest, or one of schema 1, which names no sizes.
absl::StatusOr<Manifest> ParseManifest(std::string_view json);

// OK when `bytes` have the digest. Errors: DATA_LOSS.
absl::Status CheckDigest(std::string_view bytes, std::string_view digest);

}  // namespace dragonfly::oci
