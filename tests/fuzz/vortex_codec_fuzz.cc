// SPDX-License-Identifier: Apache-2.0
// One packet of the piece protocol from a stranger: header, then the value by its tag. What decodes must encode to the
// same bytes again, but for what later versions may put behind the metadata.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <vector>

#include "vortex/codec.h"

namespace vortex = dragonfly::vortex;

namespace {

void Require(bool condition) {
  if (!condition) std::abort();
}

bool IsPrefix(std::span<const std::byte> prefix, std::span<const std::byte> whole) {
  return prefix.size() <= whole.size() && std::equal(prefix.begin(), prefix.end(), whole.begin());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < vortex::kHeaderSize) return 0;
  const std::span<const std::byte> packet = std::as_bytes(std::span(data, size));
  const vortex::Header header = vortex::DecodeHeader(packet.first<vortex::kHeaderSize>());
  const std::span<const std::byte> value = packet.subspan(vortex::kHeaderSize);

  if (const auto request = vortex::DecodeRequest(value); request.ok()) {
    const auto encoded = vortex::EncodeRequest(header.id, header.tag, *request);
    Require(encoded.ok());
    Require(IsPrefix(value, std::span(*encoded).subspan(vortex::kHeaderSize)));
  }
  if (const auto metadata = vortex::DecodeContentMetadata(value); metadata.ok()) {
    const std::vector<std::byte> encoded = vortex::EncodeContent(header.id, header.tag, *metadata);
    Require(encoded.size() <= packet.size());
    // Behind the header and the metadata length, which cover the extra bytes.
    Require(IsPrefix(std::span(encoded).subspan(vortex::kHeaderSize + 4), value.subspan(4)));
    Require(vortex::DecodeContentMetadata(std::span(encoded).subspan(vortex::kHeaderSize)).ok());
  }
  if (const auto error = vortex::DecodeError(value); error.ok()) {
    const std::vector<std::byte> encoded = vortex::EncodeError(header.id, *error);
    Require(std::equal(value.begin(), value.end(), encoded.begin() + vortex::kHeaderSize, encoded.end()));
  }
  return 0;
}
