// SPDX-License-Identifier: Apache-2.0
#include "base/ids.h"

#include <sys/random.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdlib>

#include "absl/strings/ascii.h"
#include "base/text.h"

namespace dragonfly {
namespace {

constexpr size_t kSha256HexLength = 64;
constexpr size_t kCrc32DecimalLengthMax = 10;

bool IsLowerHex(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); }

// RFC 9562 §5.4.
std::string MakeUuid4() {
  std::array<uint8_t, 16> bytes;
  // Up to 256 bytes getrandom() neither returns short nor fails once the kernel has seeded its generator, save EINTR.
  while (::getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) {
    if (errno != EINTR) std::abort();
  }
  bytes[6] = static_cast<uint8_t>((bytes[6] & 0x0f) | 0x40);
  bytes[8] = static_cast<uint8_t>((bytes[8] & 0x3f) | 0x80);

  constexpr std::string_view kHex = "0123456789abcdef";
  std::string text;
  text.reserve(36);
  for (size_t i = 0; i < bytes.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text.push_back('-');
    text.push_back(kHex[bytes[i] >> 4]);
    text.push_back(kHex[bytes[i] & 0x0f]);
  }
  return text;
}

}  // namespace

absl::StatusOr<TaskId> TaskId::Parse(std::string_view text) {
  const bool sha256 = text.size() == kSha256HexLength && std::all_of(text.begin(), text.end(), IsLowerHex);
  const bool crc32 = !text.empty() && text.size() <= kCrc32DecimalLengthMax &&
                     std::all_of(text.begin(), text.end(), absl::ascii_isdigit);
  if (!sha256 && !crc32) {
    return absl::InvalidArgumentError(
        StrCat("task id ", Quoted(text), " is neither 64 lower-case hexadecimal digits nor a decimal CRC-32"));
  }
  return TaskId(std::string(text));
}

absl::Status CheckNameId(std::string_view id, std::string_view what) {
  if (id.empty()) return absl::InvalidArgumentError(StrCat(what, " is empty"));
  if (id.size() > kNameIdLengthMax) {
    return absl::InvalidArgumentError(StrCat(what, " ", Quoted(id), " is longer than ", kNameIdLengthMax, " bytes"));
  }
  if (!std::all_of(id.begin(), id.end(), absl::ascii_isprint)) {
    return absl::InvalidArgumentError(StrCat(what, " ", Quoted(id), " holds bytes that are not printable ASCII"));
  }
  return absl::OkStatus();
}

std::string MakeHostId(std::string_view ip, std::string_view hostname, bool seed) {
  return StrCat(ip, "-", hostname, seed ? "-seed" : "");
}

std::string MakePeerId(std::string_view ip, std::string_view hostname, bool seed) {
  return StrCat(ip, "-", hostname, "-", MakeUuid4(), seed ? "-seed" : "");
}

}  // namespace dragonfly
