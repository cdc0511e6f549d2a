// SPDX-License-Identifier: Apache-2.0
#include "vortex/codec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

namespace dragonfly::vortex {
namespace {

using ::testing::HasSubstr;

constexpr std::string_view kTaskId = "a46de92fcb9430049cf9e61e267e1c3c9db1f1aa4a8680a048949b06adb625a5";

std::vector<std::byte> FromHex(std::string_view hex) {
  std::vector<std::byte> bytes;
  unsigned digits = 0;
  unsigned value = 0;
  for (const char c : hex) {
    if (c == ' ' || c == '\n') continue;
    value = value * 16 + static_cast<unsigned>(c <= '9' ? c - '0' : c - 'a' + 10);
    if (++digits % 2 == 0) {
      bytes.push_back(static_cast<std::byte>(value));
      value = 0;
    }
  }
  return bytes;
}

std::vector<std::byte> FromText(std::string_view text) {
  std::vector<std::byte> bytes(text.size());
  std::memcpy(bytes.data(), text.data(), text.size());
  return bytes;
}

Header HeaderOf(const std::vector<std::byte>& packet) { return DecodeHeader(std::span(packet).first<kHeaderSize>()); }

std::span<const std::byte> ValueOf(const std::vector<std::byte>& packet) {
  return std::span(packet).subspan(kHeaderSize);
}

// The packets of docs/vortex.md, "Examples".
const std::vector<std::byte> kRequestPacket = FromHex(R"(
    5a 00 00 00 00 44 61 34 36 64 65 39 32 66 63 62 39 34 33 30 30 34 39 63 66 39 65 36 31 65 32 36
    37 65 31 63 33 63 39 64 62 31 66 31 61 61 34 61 38 36 38 30 61 30 34 38 39 34 39 62 30 36 61 64
    62 36 32 35 61 35 00 00 00 07)");
const std::vector<std::byte> kContentPacket = FromHex(R"(
    c3 01 00 00 00 40 00 00 00 3c 00 00 00 07 00 00 00 00 01 c0 00 00 00 00 00 00 00 00 00 1e 00 00
    00 0f 63 72 63 33 32 3a 37 36 31 30 30 35 39 37 32 00 00 00 00 01 00 00 00 00 00 00 00 02 00 00
    00 00 68 63 25 00)");
const std::vector<std::byte> kErrorPacket = FromHex(R"(
    11 ff 00 00 00 53 02 70 69 65 63 65 20 61 34 36 64 65 39 32 66 63 62 39 34 33 30 30 34 39 63 66
    39 65 36 31 65 32 36 37 65 31 63 33 63 39 64 62 31 66 31 61 61 34 61 38 36 38 30 61 30 34 38 39
    34 39 62 30 36 61 64 62 36 32 35 61 35 2d 37 20 6e 6f 74 20 66 6f 75 6e 64)");
const std::vector<std::byte> kClosePacket = FromHex("99 fe 00 00 00 00");

ContentMetadata ExampleMetadata() {
  ContentMetadata metadata;
  metadata.number = PieceNumber(7);
  metadata.range = {.offset = 7 * (4ull << 20), .length = 30};
  metadata.digest = "crc32:761005972";
  metadata.cost_seconds = 2;
  metadata.created_at = 1751328000;
  return metadata;
}

TEST(VortexCodec, RequestIsByteExact) {
  const Request request{TaskId::Parse(kTaskId).value(), PieceNumber(7)};
  const auto packet = EncodeRequest(0x5a, Tag::kDownloadPiece, request).value();
  EXPECT_TRUE(std::equal(packet.begin(), packet.end(), kRequestPacket.begin(), kRequestPacket.end()));

  const Header header = HeaderOf(kRequestPacket);
  EXPECT_EQ(header.id, 0x5a);
  EXPECT_EQ(header.tag, Tag::kDownloadPiece);
  EXPECT_EQ(header.length, kRequestValueSize);
  const Request decoded = DecodeRequest(ValueOf(kRequestPacket)).value();
  EXPECT_EQ(decoded.task_id.str(), kTaskId);
  EXPECT_EQ(decoded.number, PieceNumber(7));
}

TEST(VortexCodec, ContentIsByteExact) {
  EXPECT_EQ(EncodeContent(0xc3, Tag::kPieceContent, ExampleMetadata()), kContentPacket);

  const Header header = HeaderOf(kContentPacket);
  EXPECT_EQ(header.tag, Tag::kPieceContent);
  EXPECT_EQ(header.length, 64u);
  const ContentMetadata decoded = DecodeContentMetadata(ValueOf(kContentPacket)).value();
  EXPECT_EQ(decoded.number, PieceNumber(7));
  EXPECT_EQ(decoded.range, (ByteRange{0x01C00000, 30}));
  EXPECT_EQ(decoded.digest, "crc32:761005972");
  EXPECT_EQ(decoded.parent_id, "");
  EXPECT_EQ(decoded.traffic_type, 1);
  EXPECT_EQ(decoded.cost_seconds, 2u);
  EXPECT_EQ(decoded.created_at, 1751328000);
}

TEST(VortexCodec, ErrorIsByteExact) {
  const std::string message = std::string("piece ").append(kTaskId).append("-7 not found");
  EXPECT_EQ(EncodeError(0x11, {ErrorCode::kNotFound, message}), kErrorPacket);
  const Error decoded = DecodeError(ValueOf(kErrorPacket)).value();
  EXPECT_EQ(decoded.code, ErrorCode::kNotFound);
  EXPECT_EQ(decoded.message, message);
}

TEST(VortexCodec, CloseIsByteExact) {
  std::array<std::byte, kHeaderSize> packet;
  EncodeHeader({.id = 0x99, .tag = Tag::kClose, .length = 0}, packet);
  EXPECT_TRUE(std::equal(packet.begin(), packet.end(), kClosePacket.begin(), kClosePacket.end()));
  EXPECT_EQ(HeaderOf(kClosePacket).tag, Tag::kClose);
}

TEST(VortexCodec, MetadataSurvivesTheWire) {
  ContentMetadata metadata = ExampleMetadata();
  metadata.number = PieceNumber(UINT32_MAX);
  metadata.range = {.offset = UINT64_MAX - 5, .length = 5};
  metadata.digest = "";
  metadata.parent_id = "10.0.0.1-h\xc3\xb6st-7d3a";
  metadata.traffic_type = 255;
  metadata.cost_seconds = UINT64_MAX;
  metadata.created_at = -1;
  const std::vector<std::byte> packet = EncodeContent(1, Tag::kCachePieceContent, metadata);
  const ContentMetadata decoded = DecodeContentMetadata(ValueOf(packet)).value();
  EXPECT_EQ(decoded.number, metadata.number);
  EXPECT_EQ(decoded.range, metadata.range);
  EXPECT_EQ(decoded.digest, metadata.digest);
  EXPECT_EQ(decoded.parent_id, metadata.parent_id);
  EXPECT_EQ(decoded.traffic_type, metadata.traffic_type);
  EXPECT_EQ(decoded.cost_seconds, metadata.cost_seconds);
  EXPECT_EQ(decoded.created_at, metadata.created_at);
}

TEST(VortexCodec, BytesBehindTheMetadataAreLeftToLaterVersions) {
  std::vector<std::byte> packet = kContentPacket;
  packet.push_back(std::byte{0x77});
  packet[9] = std::byte{0x3d};  // metadata_length
  EXPECT_TRUE(DecodeContentMetadata(ValueOf(packet)).ok());
}

TEST(VortexCodec, RefusesMalformedMetadata) {
  struct Case {
    const char* what;
    size_t offset;  // in the value
    std::vector<std::byte> bytes;
    const char* error;
  };
  const Case cases[] = {
      {"metadata length too long", 0, FromHex("00 00 00 3d"), "names a length"},
      {"metadata length too short", 0, FromHex("00 00 00 3b"), "names a length"},
      {"metadata length huge", 0, FromHex("ff ff ff ff"), "names a length"},
      {"range beyond 2^64", 8, FromHex("ff ff ff ff ff ff ff f0"), "beyond 2^64"},
      {"digest longer than the metadata", 24, FromHex("00 00 00 3c"), "inside a field"},
      {"digest length huge", 24, FromHex("ff ff ff ff"), "inside a field"},
      {"digest that leaves no room", 24, FromHex("00 00 00 10"), "inside a field"},
      {"digest not UTF-8", 28, FromHex("ff"), "not UTF-8"},
      {"digest with a surrogate", 28, FromHex("ed a0 80"), "not UTF-8"},
      {"digest in an overlong form", 28, FromHex("c0 af"), "not UTF-8"},
      {"digest beyond Unicode", 28, FromHex("f4 90 80 80"), "not UTF-8"},
      {"digest cut inside a character", 42, FromHex("c3"), "not UTF-8"},
      {"parent id length huge", 43, FromHex("80 00 00 00"), "inside a field"},
      {"date beyond the calendar", 56, FromHex("7f ff ff ff ff ff ff ff"), "out of range"},
      {"date before the calendar", 56, FromHex("80 00 00 00 00 00 00 00"), "out of range"},
  };
  for (const Case& c : cases) {
    std::vector<std::byte> packet = kContentPacket;
    std::copy(c.bytes.begin(), c.bytes.end(), packet.begin() + static_cast<ptrdiff_t>(kHeaderSize + c.offset));
    const absl::StatusOr<ContentMetadata> decoded = DecodeContentMetadata(ValueOf(packet));
    EXPECT_EQ(decoded.status().code(), absl::StatusCode::kInvalidArgument) << c.what;
    EXPECT_THAT(std::string(decoded.status().message()), HasSubstr(c.error)) << c.what;
  }
}

TEST(VortexCodec, RefusesEveryTruncation) {
  const std::span<const std::byte> metadata = ValueOf(kContentPacket);
  for (size_t size = 0; size < metadata.size(); ++size) {
    std::vector<std::byte> value(metadata.begin(), metadata.begin() + static_cast<ptrdiff_t>(size));
    EXPECT_FALSE(DecodeContentMetadata(value).ok()) << size;
    if (size >= 4) {  // The same with a length that fits.
      value[3] = static_cast<std::byte>(size - 4);
      EXPECT_FALSE(DecodeContentMetadata(value).ok()) << size;
    }
  }
  EXPECT_FALSE(DecodeError({}).ok());
  EXPECT_FALSE(DecodeContentMetadata(std::vector<std::byte>(kMetadataSizeMax + 1)).ok());
  EXPECT_FALSE(DecodeError(std::vector<std::byte>(kErrorSizeMax + 1)).ok());
}

TEST(VortexCodec, RefusesMalformedRequests) {
  const std::span<const std::byte> value = ValueOf(kRequestPacket);
  EXPECT_FALSE(DecodeRequest(value.first(67)).ok());
  std::vector<std::byte> longer(value.begin(), value.end());
  longer.push_back(std::byte{0});
  EXPECT_FALSE(DecodeRequest(longer).ok());
  EXPECT_FALSE(DecodeRequest({}).ok());

  struct Case {
    const char* what;
    std::string id;
  };
  const Case cases[] = {
      {"path", std::string("../../../../../../../../etc/passwd").append(30, 'a')},
      {"upper case", std::string(64, 'A')},
      {"NUL", std::string(64, '\0')},
      {"not UTF-8", std::string(64, '\xff')},
      {"short id in padding", std::string("2229733261").append(54, '\0')},
  };
  for (const Case& c : cases) {
    std::vector<std::byte> bytes = FromText(c.id);
    ASSERT_EQ(bytes.size(), 64u) << c.what;
    bytes.resize(kRequestValueSize);
    EXPECT_EQ(DecodeRequest(bytes).status().code(), absl::StatusCode::kInvalidArgument) << c.what;
  }

  std::vector<std::byte> number(value.begin(), value.end());
  number[64] = std::byte{0x01};  // piece 2^24 + 7
  EXPECT_EQ(DecodeRequest(number).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(VortexCodec, ARequestCarriesOnlyIdsOf64Digits) {
  const Request request{TaskId::Parse("2229733261").value(), PieceNumber(0)};
  EXPECT_EQ(EncodeRequest(0, Tag::kDownloadPersistentCachePiece, request).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(VortexCodec, ErrorMessagesAreBoundedAndStayUtf8) {
  std::string message(kErrorSizeMax - 2, 'x');
  message += "\xc3\xb6\xc3\xb6";
  const std::vector<std::byte> packet = EncodeError(0, {ErrorCode::kInternal, message});
  EXPECT_EQ(HeaderOf(packet).length, packet.size() - kHeaderSize);
  EXPECT_EQ(DecodeError(ValueOf(packet)).value().message, std::string(kErrorSizeMax - 2, 'x'));
  EXPECT_EQ(DecodeError(ValueOf(EncodeError(0, {ErrorCode::kUnknown, ""}))).value().message, "");
  EXPECT_FALSE(DecodeError(FromHex("02 ff")).ok());
}

TEST(VortexCodec, KnowsRequestTagsAndTheirAnswers) {
  const std::pair<int, std::optional<Tag>> cases[] = {
      {0, Tag::kPieceContent}, {1, std::nullopt},   {2, Tag::kPersistentPieceContent},
      {3, std::nullopt},       {5, std::nullopt},   {4, Tag::kPersistentCachePieceContent},
      {7, std::nullopt},       {8, std::nullopt},   {6, Tag::kCachePieceContent},
      {253, std::nullopt},     {254, std::nullopt}, {255, std::nullopt},
  };
  for (const auto& [tag, answer] : cases) EXPECT_EQ(ContentTagOf(static_cast<Tag>(tag)), answer) << tag;
}

TEST(VortexCodec, NamesErrorCodes) {
  EXPECT_EQ(ErrorCodeName(ErrorCode::kUnknown), "Unknown");
  EXPECT_EQ(ErrorCodeName(ErrorCode::kInvalidArgument), "InvalidArgument");
  EXPECT_EQ(ErrorCodeName(ErrorCode::kNotFound), "NotFound");
  EXPECT_EQ(ErrorCodeName(ErrorCode::kInternal), "Internal");
  EXPECT_EQ(ErrorCodeName(static_cast<ErrorCode>(77)), "Reserved");
}

}  // namespace
}  // namespace dragonfly::vortex
