// SPDX-License-Identifier: Apache-2.0
// Fields that programs of this project add to the messages of the original's API: numbers that the original does not
// use, each a varint. protobuf lets programs that do not know a field pass it over, so each is sent freely or to those
// only who said that they know it. Which message has which: more_parents.h, given_pieces.h, docs/wire.md.
#pragma once

#include <cstdint>
#include <vector>

namespace google::protobuf {
class Message;
}

namespace dragonfly::rpc {

// The original numbers its fields from 1.
inline constexpr int kFirstExtension = 1000;

// Appends `value` to the field `number` (from kFirstExtension on), which is repeated.
void AddExtension(google::protobuf::Message& message, int number, uint64_t value);
// All values of the field `number`, in their order; what is no varint is passed over.
std::vector<uint64_t> ExtensionOf(const google::protobuf::Message& message, int number);
// Whether the field has a value that is not 0.
bool HasExtension(const google::protobuf::Message& message, int number);

}  // namespace dragonfly::rpc
