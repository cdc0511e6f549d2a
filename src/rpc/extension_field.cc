// SPDX-License-Identifier: Apache-2.0
#include "rpc/extension_field.h"

#include <google/protobuf/message.h>
#include <google/protobuf/unknown_field_set.h>

#include <algorithm>

namespace dragonfly::rpc {

void AddExtension(google::protobuf::Message& message, int number, uint64_t value) {
  message.GetReflection()->MutableUnknownFields(&message)->AddVarint(number, value);
}

std::vector<uint64_t> ExtensionOf(const google::protobuf::Message& message, int number) {
  const google::protobuf::UnknownFieldSet& fields = message.GetReflection()->GetUnknownFields(message);
  std::vector<uint64_t> values;
  for (int i = 0; i < fields.field_count(); ++i) {
    const google::protobuf::UnknownField& field = fields.field(i);
    if (field.number() == number && field.type() == google::protobuf::UnknownField::TYPE_VARINT) {
      values.push_back(field.varint());
    }
  }
  return values;
}

bool HasExtension(const google::protobuf::Message& message, int number) {
  const std::vector<uint64_t> values = ExtensionOf(message, number);
  return std::any_of(values.begin(), values.end(), [](uint64_t value) { return value != 0; });
}

}  // namespace dragonfly::rpc
