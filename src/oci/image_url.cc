// SPDX-License-Identifier: Apache-2.0
#include "oci/image_url.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "base/status.h"
#include "base/text.h"
#include "base/url.h"

namespace dragonfly::oci {
namespace {

constexpr std::string_view kManifests = "/manifests/";
constexpr size_t kPartMax = 255;

bool IsNamePart(std::string_view part) {
  return !part.empty() &&
         std::ranges::all_of(part,
                             [](char c) {
                               const auto byte = static_cast<unsigned char>(c);
                               return absl::ascii_islower(byte) || absl::ascii_isdigit(byte) || c == '.' || c == '_' ||
                                      c == '-';
                             }) &&
         part != "." && part != "..";
}

bool IsName(std::string_view name) {
  if (name.empty() || name.size() > kPartMax) return false;
  while (true) {
    const size_t slash = name.find('/');
    if (!IsNamePart(name.substr(0, slash))) return false;
    if (slash == std::string_view::npos) return true;
    name.remove_prefix(slash + 1);
  }
}

bool IsReference(std::string_view reference) {
  return !reference.empty() && reference.size() <= kPartMax && std::ranges::all_of(reference, [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '_' || c == '-' || c == ':';
  });
}

}  // namespace

absl::StatusOr<ImageUrl> ImageUrl::Parse(std::string_view text) {
  DF_ASSIGN_OR_RETURN(Url url, Url::Parse(text));
  const auto wrong = [](std::string_view why) {
    return absl::InvalidArgumentError(
        StrCat("the URL of an image must be <registry>/v2/<name>/manifests/<tag or digest>: ", why));
  };
  if (url.scheme != "http" && url.scheme != "https") return wrong("it is neither http nor https");
  if (!url.username.empty() || !url.password.empty()) return wrong("it has a user or a password");
  if (url.has_query || url.has_fragment) return wrong("it has a query or a fragment");
  std::string_view path = url.path;
  if (!path.starts_with("/v2/")) return wrong("its path does not begin with /v2/");
  path.remove_prefix(4);
  const size_t at = path.rfind(kManifests);
  if (at == std::string_view::npos) return wrong("there is no /manifests/ in it");
  ImageUrl image;
  image.name = std::string(path.substr(0, at));
  image.reference = std::string(path.substr(at + kManifests.size()));
  if (!IsName(image.name)) return wrong("its name is none");
  if (!IsReference(image.reference)) return wrong("its tag or digest is none");
  image.registry = StrCat(url.scheme, "://", url.host, url.port < 0 ? "" : StrCat(":", url.port));
  return image;
}

std::string ImageUrl::ManifestOf(std::string_view tag_or_digest) const {
  return StrCat(registry, "/v2/", name, kManifests, tag_or_digest);
}

std::string ImageUrl::BlobOf(std::string_view digest) const {
  return StrCat(registry, "/v2/", name, "/blobs/", digest);
}

}  // namespace dragonfly::oci
