// SPDX-License-Identifier: Apache-2.0
// Where an image's manifests and blobs are: OCI distribution specification 1.1, "/v2/<name>/manifests/<reference>".
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace dragonfly::oci {

struct ImageUrl {
  std::string registry;   // "https://registry.example:5000"
  std::string name;       // "library/nginx"
  std::string reference;  // a tag, or a digest

  // Errors: INVALID_ARGUMENT for another URL, one with a user or query, and names that the specification does not
  // allow.
  static absl::StatusOr<ImageUrl> Parse(std::string_view url);
  std::string ManifestOf(std::string_view tag_or_digest) const;
  std::string BlobOf(std::string_view digest) const;
};

}  // namespace dragonfly::oci
