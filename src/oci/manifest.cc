// SPDX-License-Identifier: Apache-2.0
#include "oci/manifest.h"

#include <nlohmann/json.hpp>
#include <span>
#include <utility>

#include "base/digest.h"
#include "base/json_bounds.h"
#include "base/status.h"
#include "base/text.h"

namespace dragonfly::oci {
namespace {

using nlohmann::json;

std::string TextOf(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

absl::Status Wrong(std::string_view why) {
  return absl::InvalidArgumentError(StrCat("no manifest of an image: ", why));
}

absl::StatusOr<Descriptor> ToDescriptor(const json& object) {
  if (!object.is_object()) return Wrong("a descriptor is no object");
  Descriptor descriptor;
  descriptor.media_type = TextOf(object, "mediaType");
  DF_ASSIGN_OR_RETURN(const Digest digest, Digest::Parse(TextOf(object, "digest")));
  if (digest.algorithm() != DigestAlgorithm::kSha256 && digest.algorithm() != DigestAlgorithm::kSha512) {
    return Wrong(StrCat(digest.ToString(), " is neither sha256 nor sha512"));
  }
  descriptor.digest = digest.ToString();
  const auto size = object.find("size");
  if (size == object.end() || !size->is_number_unsigned()) return Wrong("a descriptor has no size");
  descriptor.size = size->get<uint64_t>();
  if (const auto platform = object.find("platform"); platform != object.end() && platform->is_object()) {
    descriptor.platform = {TextOf(*platform, "os"), TextOf(*platform, "architecture"), TextOf(*platform, "variant")};
  }
  return descriptor;
}

// Layers that stay with their makers (Windows base layers): no registry has them.
bool IsForeign(std::string_view media_type) {
  return media_type.find(".foreign.") != std::string_view::npos ||
         media_type.find(".nondistributable.") != std::string_view::npos;
}

}  // namespace

absl::StatusOr<Platform> Platform::Parse(std::string_view text) {
  Platform platform;
  const size_t first = text.find('/');
  if (first != std::string_view::npos) {
    const size_t second = text.find('/', first + 1);
    platform.os = std::string(text.substr(0, first));
    platform.architecture = std::string(text.substr(first + 1, second - first - 1));
    if (second != std::string_view::npos) platform.variant = std::string(text.substr(second + 1));
  }
  if (platform.os.empty() || platform.architecture.empty() || platform.variant.find('/') != std::string::npos) {
    return absl::InvalidArgumentError(StrCat("platform ", Quoted(text), " is not os/architecture[/variant]"));
  }
  return platform;
}

Platform Platform::Own() {
#if defined(__x86_64__)
  return {"linux", "amd64", ""};
#elif defined(__aarch64__)
  return {"linux", "arm64", ""};
#else
#error "the name of this architecture in image manifests"
#endif
}

bool Platform::Fits(const Platform& wanted) const {
  return os == wanted.os && architecture == wanted.architecture &&
         (wanted.variant.empty() || variant == wanted.variant);
}

std::string Platform::ToString() const { return StrCat(os, "/", architecture, variant.empty() ? "" : "/", variant); }

std::string_view AcceptedManifests() {
  return "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, "
         "application/vnd.docker.distribution.manifest.list.v2+json, "
         "application/vnd.docker.distribution.manifest.v2+json";
}

absl::StatusOr<Manifest> ParseManifest(std::string_view text) {
  if (text.size() > kManifestMax) return Wrong("it is too large");
  if (!IsBoundedJson(text)) return Wrong("it is nested too deeply or has too many values");
  const json root = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!root.is_object()) return Wrong("it is no JSON object");
  if (root.value("schemaVersion", json()) != 2) return Wrong("its schemaVersion is not 2");
  Manifest manifest;
  const auto add = [&](const json& object) -> absl::Status {
    if (manifest.entries.size() == kEntriesMax) return Wrong(StrCat("it names more than ", kEntriesMax, " entries"));
    DF_ASSIGN_OR_RETURN(Descriptor descriptor, ToDescriptor(object));
    if (!IsForeign(descriptor.media_type)) manifest.entries.push_back(std::move(descriptor));
    return absl::OkStatus();
  };
  const auto list = root.find("manifests");
  if (list != root.end() && list->is_array()) {
    manifest.list = true;
    for (const json& entry : *list) DF_RETURN_IF_ERROR(add(entry));
    return manifest;
  }
  const auto config = root.find("config");
  const auto layers = root.find("layers");
  if (config == root.end() || layers == root.end() || !layers->is_array()) return Wrong("it has no config and layers");
  DF_RETURN_IF_ERROR(add(*config));
  for (const json& layer : *layers) DF_RETURN_IF_ERROR(add(layer));
  return manifest;
}

absl::Status CheckDigest(std::string_view bytes, std::string_view digest) {
  DF_ASSIGN_OR_RETURN(const Digest wanted, Digest::Parse(digest));
  Hasher hasher(wanted.algorithm());
  hasher.Update(std::as_bytes(std::span(bytes.data(), bytes.size())));
  if (hasher.Finish() == wanted) return absl::OkStatus();
  return absl::DataLossError(StrCat("what the registry sent for ", digest, " has another digest"));
}

}  // namespace dragonfly::oci
