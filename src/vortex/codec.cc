// SPDX-License-Identifier: Apache-2.0
#include "vortex/codec.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <type_traits>

#include "absl/status/status.h"
#include "base/status.h"
#include "base/text.h"

namespace dragonfly::vortex {

namespace {

constexpr size_t kTaskIdSize = 64;
// number, offset, length, digest length, parent id length, traffic type, cost, created at.
constexpr size_t kMetadataFixedSize = 4 + 8 + 8 + 4 + 4 + 1 + 8 + 8;

// Whole seconds that the reference's calendar type holds, about 262 thousand years around 1970. A reference child
// refuses a piece whose date lies outside, so such a date must not spread.
constexpr int64_t kCreatedAtMin = -8'334'601'228'800;
constexpr int64_t kCreatedAtMax = 8'210'266'876'799;

// Reads integers and strings from the front of a bounded run of bytes. After a read beyond the end ok() is false, and
// every further read gives 0 or nothing.
class Reader {
 public:
  explicit Reader(std::span<const std::byte> bytes) : rest_(bytes) {}

  template <typename T>
  T Integer() {
    std::make_unsigned_t<T> value = 0;
    for (const std::byte b : Take(sizeof(T))) {
      value = static_cast<std::make_unsigned_t<T>>((static_cast<uint64_t>(value) << 8) | std::to_integer<uint64_t>(b));
    }
    return static_cast<T>(value);
  }

  std::string_view Text(size_t size) {
    const std::span<const std::byte> bytes = Take(size);
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }

  bool ok() const { return ok_; }

 private:
  std::span<const std::byte> Take(size_t size) {
    if (size > rest_.size()) {
      ok_ = false;
      rest_ = {};
      return {};
    }
    const std::span<const std::byte> taken = rest_.first(size);
    rest_ = rest_.subspan(size);
    return taken;
  }

  std::span<const std::byte> rest_;
  bool ok_ = true;
};

// Writes integers and strings one behind the other into memory that is large enough.
class Writer {
 public:
  explicit Writer(std::span<std::byte> out) : at_(out.data()) {}

  template <typename T>
  void Integer(T value) {
    const auto bits = static_cast<std::make_unsigned_t<T>>(value);
    for (size_t i = sizeof(T); i-- > 0;)
      *at_++ = static_cast<std::byte>((static_cast<uint64_t>(bits) >> (8 * i)) & 0xff);
  }

  void Text(std::string_view text) {
    std::memcpy(at_, text.data(), text.size());
    at_ += text.size();
  }

 private:
  std::byte* at_;
};

// RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF.
bool IsUtf8(std::string_view text) {
  size_t i = 0;
  while (i < text.size()) {
    const auto lead = static_cast<unsigned char>(text[i]);
    size_t more = 0;
    unsigned char low = 0x80;  // bounds of the second byte
    unsigned char high = 0xbf;
    if (lead < 0x80) {
      ++i;
      continue;
    }
    if (lead >= 0xc2 && lead <= 0xdf) {
      more = 1;
    } else if (lead >= 0xe0 && lead <= 0xef) {
      more = 2;
      if (lead == 0xe0) low = 0xa0;
      if (lead == 0xed) high = 0x9f;
    } else if (lead >= 0xf0 && lead <= 0xf4) {
      more = 3;
      if (lead == 0xf0) low = 0x90;
      if (lead == 0xf4) high = 0x8f;
    } else {
      return false;
    }
    if (text.size() - i <= more) return false;
    for (size_t k = 1; k <= more; ++k) {
      const auto next = static_cast<unsigned char>(text[i + k]);
      if (next < low || next > high) return false;
      low = 0x80;
      high = 0xbf;
    }
    i += more + 1;
  }
  return true;
}

}  // namespace

Header DecodeHeader(std::span<const std::byte, kHeaderSize> bytes) {
  Reader reader(bytes);
  Header header;
  header.id = reader.Integer<uint8_t>();
  header.tag = static_cast<Tag>(reader.Integer<uint8_t>());
  header.length = reader.Integer<uint32_t>();
  return header;
}

void EncodeHeader(const Header& header, std::span<std::byte, kHeaderSize> out) {
  Writer writer(out);
  writer.Integer(header.id);
  writer.Integer(static_cast<uint8_t>(header.tag));
  writer.Integer(header.length);
}

absl::StatusOr<Request> DecodeRequest(std::span<const std::byte> value) {
  if (value.size() != kRequestValueSize) {
    return absl::InvalidArgumentError(
        StrCat("a piece request has ", kRequestValueSize, " bytes, this one has ", value.size()));
  }
  Reader reader(value);
  const std::string_view id = reader.Text(kTaskIdSize);
  const uint32_t number = reader.Integer<uint32_t>();
  DF_ASSIGN_OR_RETURN(TaskId task_id, TaskId::Parse(id));
  if (number >= kPieceCountMax) return absl::InvalidArgumentError(StrCat("no task has a piece number ", number));
  return Request{std::move(task_id), PieceNumber(number)};
}

absl::StatusOr<std::array<std::byte, kRequestSize>> EncodeRequest(uint8_t packet_id, Tag tag, const Request& request) {
  if (!request.task_id.is_sha256()) {
    return absl::InvalidArgumentError(
        StrCat("a piece request cannot carry the task id ", request.task_id.str(), ", which has not 64 digits"));
  }
  std::array<std::byte, kRequestSize> packet;
  EncodeHeader({.id = packet_id, .tag = tag, .length = kRequestValueSize}, std::span(packet).first<kHeaderSize>());
  Writer writer(std::span(packet).subspan<kHeaderSize>());
  writer.Text(request.task_id.str());
  writer.Integer(request.number.value());
  return packet;
}

absl::StatusOr<ContentMetadata> DecodeContentMetadata(std::span<const std::byte> value) {
  if (value.size() > kMetadataSizeMax) {
    return absl::InvalidArgumentError(StrCat("content metadata of ", value.size(), " bytes"));
  }
  Reader reader(value);
  const uint32_t metadata_length = reader.Integer<uint32_t>();
  if (!reader.ok() || metadata_length != value.size() - sizeof(metadata_length)) {
    return absl::InvalidArgumentError(
        StrCat("content metadata names a length of ", metadata_length, " in a value of ", value.size(), " bytes"));
  }
  ContentMetadata metadata;
  metadata.number = PieceNumber(reader.Integer<uint32_t>());
  metadata.range.offset = reader.Integer<uint64_t>();
  metadata.range.length = reader.Integer<uint64_t>();
  metadata.digest = reader.Text(reader.Integer<uint32_t>());
  metadata.parent_id = reader.Text(reader.Integer<uint32_t>());
  metadata.traffic_type = reader.Integer<uint8_t>();
  metadata.cost_seconds = reader.Integer<uint64_t>();
  metadata.created_at = reader.Integer<int64_t>();
  // Bytes behind the last field are left to later versions.
  if (!reader.ok()) return absl::InvalidArgumentError("content metadata ends inside a field");
  if (!IsUtf8(metadata.digest)) return absl::InvalidArgumentError("the digest in content metadata is not UTF-8");
  if (!IsUtf8(metadata.parent_id)) return absl::InvalidArgumentError("the parent id in content metadata is not UTF-8");
  if (metadata.range.length > std::numeric_limits<uint64_t>::max() - metadata.range.offset) {
    return absl::InvalidArgumentError("the range in content metadata ends beyond 2^64");
  }
  if (metadata.created_at < kCreatedAtMin || metadata.created_at > kCreatedAtMax) {
    return absl::InvalidArgumentError("the date in content metadata is out of range");
  }
  return metadata;
}

std::vector<std::byte> EncodeContent(uint8_t packet_id, Tag tag, const ContentMetadata& metadata) {
  const size_t metadata_length = kMetadataFixedSize + metadata.digest.size() + metadata.parent_id.size();
  const size_t value_length = sizeof(uint32_t) + metadata_length;
  std::vector<std::byte> packet(kHeaderSize + value_length);
  EncodeHeader({.id = packet_id, .tag = tag, .length = static_cast<uint32_t>(value_length)},
               std::span(packet).first<kHeaderSize>());
  Writer writer(std::span(packet).subspan(kHeaderSize));
  writer.Integer(static_cast<uint32_t>(metadata_length));
  writer.Integer(metadata.number.value());
  writer.Integer(metadata.range.offset);
  writer.Integer(metadata.range.length);
  writer.Integer(static_cast<uint32_t>(metadata.digest.size()));
  writer.Text(metadata.digest);
  writer.Integer(static_cast<uint32_t>(metadata.parent_id.size()));
  writer.Text(metadata.parent_id);
  writer.Integer(metadata.traffic_type);
  writer.Integer(metadata.cost_seconds);
  writer.Integer(metadata.created_at);
  return packet;
}

absl::StatusOr<Error> DecodeError(std::span<const std::byte> value) {
  if (value.empty()) return absl::InvalidArgumentError("an error packet without a code");
  if (value.size() > kErrorSizeMax) return absl::InvalidArgumentError(StrCat("an error of ", value.size(), " bytes"));
  Reader reader(value);
  Error error;
  error.code = static_cast<ErrorCode>(reader.Integer<uint8_t>());
  error.message = reader.Text(value.size() - 1);
  if (!IsUtf8(error.message)) return absl::InvalidArgumentError("the message of an error packet is not UTF-8");
  return error;
}

std::vector<std::byte> EncodeError(uint8_t packet_id, const Error& error) {
  std::string_view message(error.message);
  if (message.size() > kErrorSizeMax - 1) {
    // Cut in front of a character, not inside one: the receiver refuses half a character.
    size_t size = kErrorSizeMax - 1;
    while (size > 0 && (static_cast<unsigned char>(message[size]) & 0xc0) == 0x80) --size;
    message = message.substr(0, size);
  }
  std::vector<std::byte> packet(kHeaderSize + 1 + message.size());
  EncodeHeader({.id = packet_id, .tag = Tag::kError, .length = static_cast<uint32_t>(1 + message.size())},
               std::span(packet).first<kHeaderSize>());
  Writer writer(std::span(packet).subspan(kHeaderSize));
  writer.Integer(static_cast<uint8_t>(error.code));
  writer.Text(message);
  return packet;
}

std::optional<Tag> ContentTagOf(Tag request) {
  switch (request) {
    case Tag::kDownloadPiece:
      return Tag::kPieceContent;
    case Tag::kDownloadPersistentPiece:
      return Tag::kPersistentPieceContent;
    case Tag::kDownloadPersistentCachePiece:
      return Tag::kPersistentCachePieceContent;
    case Tag::kDownloadCachePiece:
      return Tag::kCachePieceContent;
    default:
      return std::nullopt;
  }
}

std::string_view ErrorCodeName(ErrorCode code) {
  switch (code) {
    case ErrorCode::kUnknown:
      return "Unknown";
    case ErrorCode::kInvalidArgument:
      return "InvalidArgument";
    case ErrorCode::kNotFound:
      return "NotFound";
    case ErrorCode::kInternal:
      return "Internal";
  }
  return "Reserved";
}

}  // namespace dragonfly::vortex
