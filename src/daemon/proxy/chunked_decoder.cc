// SPDX-License-Identifier: Apache-2.0
#include "daemon/proxy/chunked_decoder.h"

#include <algorithm>
#include <cstring>

#include "base/text.h"
#include "daemon/proxy/http_error.h"

namespace dragonfly::daemon::proxy {
namespace {

constexpr size_t kDigitsMax = 15;  // below 2^60, far from overflow

int HexValue(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

absl::Status Bad(std::string_view why) { return HttpError(400, StrCat("bad chunked body: ", why)); }

}  // namespace

absl::Status ChunkedDecoder::TakeByte(char c) {
  if (++line_length_ > kLineMax) return Bad("a line is too long");
  const bool control = static_cast<unsigned char>(c) < 0x20 && c != '\t' && c != '\r';
  switch (state_) {
    case State::kSize:
      if (const int value = HexValue(c); value >= 0) {
        if (++digits_ > kDigitsMax) return Bad("a chunk is too large");
        left_ = left_ * 16 + static_cast<uint64_t>(value);
        return absl::OkStatus();
      }
      if (digits_ == 0 || (c != ';' && c != '\r')) return Bad("a size is no hexadecimal number");
      state_ = c == ';' ? State::kExtension : State::kSizeEnd;
      return absl::OkStatus();
    case State::kExtension:
      if (control) return Bad("a control character");
      if (c == '\r') state_ = State::kSizeEnd;
      return absl::OkStatus();
    case State::kSizeEnd:
      if (c != '\n') return Bad("a line does not end with CR LF");
      state_ = left_ > 0 ? State::kData : State::kTrailer;
      digits_ = line_length_ = trailer_ = 0;
      return absl::OkStatus();
    case State::kDataCr:
      if (c != '\r') return Bad("a chunk is longer than its size");
      state_ = State::kDataLf;
      return absl::OkStatus();
    case State::kDataLf:
      if (c != '\n') return Bad("a line does not end with CR LF");
      state_ = State::kSize;
      left_ = digits_ = line_length_ = 0;
      return absl::OkStatus();
    case State::kTrailer:
      if (control) return Bad("a control character");
      if (c == '\r') {
        state_ = State::kTrailerEnd;
      } else {
        ++trailer_;
      }
      return absl::OkStatus();
    case State::kTrailerEnd:
      if (c != '\n') return Bad("a line does not end with CR LF");
      state_ = trailer_ == 0 ? State::kDone : State::kTrailer;
      trailer_ = 0;
      return absl::OkStatus();
    case State::kData:
    case State::kDone:
      break;
  }
  return absl::OkStatus();
}

absl::StatusOr<ChunkedDecoder::Step> ChunkedDecoder::Decode(std::string_view in, std::span<std::byte> out) {
  Step step;
  while (step.consumed < in.size() && !done()) {
    if (state_ != State::kData) {
      if (const absl::Status taken = TakeByte(in[step.consumed]); !taken.ok()) return taken;
      ++step.consumed;
      continue;
    }
    const std::string_view rest = in.substr(step.consumed);
    const size_t room = out.size() - step.produced;
    const auto take = static_cast<size_t>(std::min<uint64_t>(left_, std::min(rest.size(), room)));
    if (take == 0) break;  // `out` is full
    std::memcpy(out.data() + step.produced, rest.data(), take);
    step.consumed += take;
    step.produced += take;
    left_ -= take;
    if (left_ == 0) {
      state_ = State::kDataCr;
      line_length_ = 0;
    }
  }
  return step;
}

}  // namespace dragonfly::daemon::proxy
