// SPDX-License-Identifier: Apache-2.0
// The Vortex piece protocol's packets. Layout and tags: vortex-protocol v0.1.5 (src/lib.rs, src/tlv/), described in
// docs/vortex.md. All integers big-endian. No function allocates by a number from the wire beyond the limits here.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "base/byte_range.h"
#include "base/ids.h"
#include "base/piece.h"

namespace dragonfly::vortex {

enum class Tag : uint8_t {
  kDownloadPiece = 0,
  kPieceContent = 1,
  kDownloadPersistentPiece = 2,
  kPersistentPieceContent = 3,
  kDownloadPersistentCachePiece = 4,
  kPersistentCachePieceContent = 5,
  kDownloadCachePiece = 6,
  kCachePieceContent = 7,
  kClose = 254,
  kError = 255,
};

enum class ErrorCode : uint8_t { kUnknown = 0, kInvalidArgument = 1, kNotFound = 2, kInternal = 3 };

inline constexpr size_t kHeaderSize = 6;
inline constexpr size_t kRequestValueSize = 68;
inline constexpr size_t kRequestSize = kHeaderSize + kRequestValueSize;
inline constexpr size_t kMetadataSizeMax = 64 << 10;  // longest content metadata accepted
inline constexpr size_t kErrorSizeMax = 64 << 10;     // longest error value accepted

struct Header {
  uint8_t id = 0;
  Tag tag = Tag::kClose;  // any byte; values without a name are reserved tags
  uint32_t length = 0;    // bytes of the value; for content tags without the piece's bytes
};
Header DecodeHeader(std::span<const std::byte, kHeaderSize> bytes);
void EncodeHeader(const Header& header, std::span<std::byte, kHeaderSize> out);

struct Request {
  TaskId task_id;
  PieceNumber number;
};
// `value` is what follows the header. Errors: INVALID_ARGUMENT.
absl::StatusOr<Request> DecodeRequest(std::span<const std::byte> value);
// The whole packet. Errors: INVALID_ARGUMENT when the id is not of the SHA-256 form, the only one a request can carry.
absl::StatusOr<std::array<std::byte, kRequestSize>> EncodeRequest(uint8_t packet_id, Tag tag, const Request& request);

// What a content packet says about the piece that follows it.
struct ContentMetadata {
  PieceNumber number;
  ByteRange range;
  std::string digest;     // "crc32:<decimal>" or empty
  std::string parent_id;  // peer from which the sender got it
  uint8_t traffic_type = 1;
  uint64_t cost_seconds = 0;
  int64_t created_at = 0;  // Unix seconds
};
// `value` is the whole value of a content packet, metadata length included. Errors: INVALID_ARGUMENT.
absl::StatusOr<ContentMetadata> DecodeContentMetadata(std::span<const std::byte> value);
// Header and metadata, ready to be followed by the piece's bytes. `digest` and `parent_id` are of our own making and
// short: together well below kMetadataSizeMax.
std::vector<std::byte> EncodeContent(uint8_t packet_id, Tag tag, const ContentMetadata& metadata);

struct Error {
  ErrorCode code = ErrorCode::kUnknown;
  std::string message;
};
// `value` is what follows the header. Errors: INVALID_ARGUMENT.
absl::StatusOr<Error> DecodeError(std::span<const std::byte> value);
// The whole packet; a message that is too long is cut.
std::vector<std::byte> EncodeError(uint8_t packet_id, const Error& error);

// The content tag that answers a request tag; nullopt for a tag that is no request.
std::optional<Tag> ContentTagOf(Tag request);
// "NotFound" etc., as the reference prints it; "Reserved" for a code without a name.
std::string_view ErrorCodeName(ErrorCode code);

}  // namespace dragonfly::vortex
