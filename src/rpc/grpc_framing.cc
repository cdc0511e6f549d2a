// SPDX-License-Identifier: Apache-2.0
#include "rpc/grpc_framing.h"

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <chrono>

#include "absl/status/statusor.h"
#include "base/status.h"
#include "base/text.h"

namespace dragonfly::rpc {
namespace {

// How much the prefix announces. Errors: what we do not take.
absl::StatusOr<size_t> ParsePrefix(std::string_view prefix) {
  if (prefix[0] != 0) return absl::InternalError("the server sent a compressed message, which was not offered");
  size_t length = 0;
  for (size_t i = 1; i < kMessagePrefixLength; ++i) length = length << 8 | static_cast<unsigned char>(prefix[i]);
  if (length > kMessageLengthMax)
    return absl::ResourceExhaustedError(StrCat("the server sent a message of ", length, " bytes"));
  return length;
}

}  // namespace

std::string MessagePrefix(size_t length) {
  std::string prefix(kMessagePrefixLength, '\0');
  for (size_t i = 0; i < 4; ++i) prefix[1 + i] = static_cast<char>(length >> (24 - 8 * i));
  return prefix;
}

absl::Status MessageReader::Take(std::string_view data, const OnMessage& on_message) {
  while (!data.empty()) {
    if (begun_.empty() && data.size() >= kMessagePrefixLength) {
      DF_ASSIGN_OR_RETURN(const size_t length, ParsePrefix(data));
      if (data.size() >= kMessagePrefixLength + length) {
        DF_RETURN_IF_ERROR(on_message(data.substr(kMessagePrefixLength, length)));
        data.remove_prefix(kMessagePrefixLength + length);
        continue;
      }
    }
    // The buffer grows with what has arrived, never by what was announced.
    if (begun_.size() < kMessagePrefixLength) {
      const size_t part = std::min(kMessagePrefixLength - begun_.size(), data.size());
      begun_.append(data.substr(0, part));
      data.remove_prefix(part);
      if (begun_.size() < kMessagePrefixLength) return absl::OkStatus();
    }
    DF_ASSIGN_OR_RETURN(const size_t length, ParsePrefix(begun_));
    const size_t part = std::min(kMessagePrefixLength + length - begun_.size(), data.size());
    begun_.append(data.substr(0, part));
    data.remove_prefix(part);
    if (begun_.size() < kMessagePrefixLength + length) return absl::OkStatus();
    DF_RETURN_IF_ERROR(on_message(std::string_view(begun_).substr(kMessagePrefixLength)));
    begun_.clear();
  }
  return absl::OkStatus();
}

std::string TimeoutHeader(Clock::duration left) {
  const int64_t milliseconds = std::max<int64_t>(std::chrono::ceil<std::chrono::milliseconds>(left).count(), 1);
  constexpr int64_t kDigitsMax = 99'999'999;
  if (milliseconds <= kDigitsMax) return StrCat(milliseconds, "m");
  return StrCat(std::min(milliseconds / 1000, kDigitsMax), "S");
}

std::string PercentDecode(std::string_view text) {
  std::string decoded;
  decoded.reserve(text.size());
  const auto digit = [](char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
  };
  for (size_t i = 0; i < text.size(); ++i) {
    // What is no escape stands for itself: a message must reach the user however it was sent.
    if (text[i] == '%' && i + 2 < text.size() && digit(text[i + 1]) >= 0 && digit(text[i + 2]) >= 0) {
      decoded += static_cast<char>(digit(text[i + 1]) * 16 + digit(text[i + 2]));
      i += 2;
    } else {
      decoded += text[i];
    }
  }
  return decoded;
}

absl::StatusCode CodeOfReset(uint32_t error) {
  switch (error) {
    case NGHTTP2_REFUSED_STREAM:
      return absl::StatusCode::kUnavailable;
    case NGHTTP2_CANCEL:
      return absl::StatusCode::kCancelled;
    case NGHTTP2_ENHANCE_YOUR_CALM:
      return absl::StatusCode::kResourceExhausted;
    case NGHTTP2_INADEQUATE_SECURITY:
      return absl::StatusCode::kPermissionDenied;
    default:
      return absl::StatusCode::kInternal;
  }
}

}  // namespace dragonfly::rpc
