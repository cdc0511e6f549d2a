// SPDX-License-Identifier: Apache-2.0
#include "source/listing.h"

#include <utility>

#include "absl/strings/ascii.h"
#include "base/status.h"
#include "base/text.h"
#include "base/url.h"

namespace dragonfly::source {
namespace {

constexpr size_t kOneLineMax = 200;

bool IsUnreserved(char c) {
  return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '.' || c == '_' || c == '~';
}

}  // namespace

std::string PercentEncode(std::string_view text) {
  constexpr std::string_view kHex = "0123456789ABCDEF";
  std::string encoded;
  encoded.reserve(text.size());
  for (const char c : text) {
    if (IsUnreserved(c)) {
      encoded += c;
      continue;
    }
    const auto byte = static_cast<unsigned char>(c);
    encoded += '%';
    encoded += kHex[byte >> 4];
    encoded += kHex[byte & 15];
  }
  return encoded;
}

std::optional<std::string> EncodeListedPath(std::string_view path) {
  if (path.find('\0') != path.npos) return std::nullopt;
  std::string encoded;
  for (;;) {
    const size_t slash = path.find('/');
    const std::string_view component = path.substr(0, slash);
    if (component.empty() || component == "." || component == "..") return std::nullopt;
    encoded += PercentEncode(component);
    if (slash == path.npos) return encoded;
    encoded += '/';
    path.remove_prefix(slash + 1);
  }
}

absl::StatusOr<std::string> DirectoryUrl(std::string_view url) {
  DF_ASSIGN_OR_RETURN(Url parsed, Url::Parse(url));
  parsed.has_query = false;
  parsed.query.clear();
  parsed.has_fragment = false;
  parsed.fragment.clear();
  if (!parsed.path.ends_with('/')) parsed.path += '/';
  return parsed.ToString();
}

absl::Status Listing::Add(std::string_view path, uint64_t content_length, bool is_directory) {
  const std::optional<std::string> encoded = EncodeListedPath(path);
  if (!encoded.has_value()) {
    return absl::FailedPreconditionError(StrCat("origin lists a path that is not safe: ", Quoted(path)));
  }
  if (entries_.size() >= entries_max_) {
    return absl::ResourceExhaustedError(StrCat("the directory has more than ", entries_max_, " entries"));
  }
  OriginEntry entry;
  entry.url = StrCat(directory_, *encoded, is_directory ? "/" : "");
  entry.content_length = content_length;
  entry.is_directory = is_directory;
  entries_.push_back(std::move(entry));
  return absl::OkStatus();
}

absl::Status Listing::AddFile(std::string_view path, uint64_t content_length) {
  return Add(path, content_length, false);
}

absl::Status Listing::AddDirectory(std::string_view path) { return Add(path, 0, true); }

std::string OneLine(std::string_view text) {
  std::string line;
  for (const char c : text.substr(0, kOneLineMax)) {
    line += absl::ascii_isprint(static_cast<unsigned char>(c)) ? c : ' ';
  }
  return std::string(TrimSpace(line));
}

}  // namespace dragonfly::source
