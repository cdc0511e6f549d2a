// SPDX-License-Identifier: Apache-2.0
// Names that an origin lists, read with suspicion: they become URLs here and paths on the disk of whoever downloads.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "source/source.h"

namespace dragonfly::source {

// Largest answer to one listing request, in bytes.
inline constexpr size_t kListingBodyMax = 64 << 20;

// `text` with everything but unreserved characters (RFC 3986 §2.3) percent-encoded.
std::string PercentEncode(std::string_view text);

// Percent-encodes a relative path as an origin lists it ("a b/c.txt" gives "a%20b/c.txt"); nullopt for one that would
// leave its directory or name nothing: an empty, "." or ".." component, a NUL.
std::optional<std::string> EncodeListedPath(std::string_view path);

// The URL of a directory as its entries begin: as the URL standard writes it, without query and fragment, with a slash
// at its end. Errors: as Url::Parse().
absl::StatusOr<std::string> DirectoryUrl(std::string_view url);

// Collects the entries below one directory, at most so many.
class Listing {
 public:
  // `directory`: a DirectoryUrl().
  Listing(std::string directory, size_t entries_max) : directory_(std::move(directory)), entries_max_(entries_max) {}

  // Adds what the origin lists as `path` below the directory. Errors: FAILED_PRECONDITION naming a path that is not
  // taken (EncodeListedPath); RESOURCE_EXHAUSTED.
  absl::Status AddFile(std::string_view path, uint64_t content_length);
  absl::Status AddDirectory(std::string_view path);

  const std::string& directory() const { return directory_; }
  std::vector<OriginEntry> Take() { return std::move(entries_); }

 private:
  absl::Status Add(std::string_view path, uint64_t content_length, bool is_directory);

  const std::string directory_;
  const size_t entries_max_;
  std::vector<OriginEntry> entries_;
};

// The text of an error for one line of a message: no line breaks, printable ASCII, at most 200 bytes.
std::string OneLine(std::string_view text);

}  // namespace dragonfly::source
