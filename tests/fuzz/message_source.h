// SPDX-License-Identifier: Apache-2.0
// Messages of any type out of a fuzzer's bytes: mostly well formed, with values that handlers look at, so that the
// bytes reach what stands behind the decoder.
#pragma once

#include <google/protobuf/message.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace dragonfly::fuzz {

// The fuzzer's bytes, in order; zeros when they are used up.
class Bytes {
 public:
  explicit Bytes(std::span<const uint8_t> data) : data_(data) {}
  bool empty() const { return data_.empty(); }
  uint8_t Next();
  // Below `bound`, which is at most 256.
  size_t Below(size_t bound) { return bound == 0 ? 0 : Next() % bound; }
  // At most `max` bytes.
  std::string Text(size_t max);

 private:
  std::span<const uint8_t> data_;
};

// A message of `descriptor`'s type as it goes over the wire. One in eight is damaged after it was made. Whatever comes
// out names no address but closed ports of 127.0.0.1, and no file but those below `directory`: a handler that goes
// where it is told to reaches nobody.
std::string MakeMessage(const google::protobuf::Descriptor& descriptor, std::string_view directory, Bytes& bytes);

}  // namespace dragonfly::fuzz
