// SPDX-License-Identifier: Apache-2.0
#include "rpc/more_parents.h"

#include <google/protobuf/unknown_field_set.h>

namespace dragonfly::rpc {
namespace {

// Of both messages; the original numbers its fields from 1.
constexpr int kField = 1000;

void Set(google::protobuf::Message& message) {
  message.GetReflection()->MutableUnknownFields(&message)->AddVarint(kField, 1);
}

bool IsSet(const google::protobuf::Message& message) {
  const google::protobuf::UnknownFieldSet& fields = message.GetReflection()->GetUnknownFields(message);
  for (int i = 0; i < fields.field_count(); ++i) {
    const google::protobuf::UnknownField& field = fields.field(i);
    if (field.number() == kField && field.type() == google::protobuf::UnknownField::TYPE_VARINT) {
      return field.varint() != 0;
    }
  }
  return false;
}

}  // namespace

void SetTakesMoreParents(::scheduler::v2::RegisterPeerRequest& request) { Set(request); }
bool TakesMoreParents(const ::scheduler::v2::RegisterPeerRequest& request) { return IsSet(request); }
void SetMore(::scheduler::v2::NormalTaskResponse& response) { Set(response); }
bool IsMore(const ::scheduler::v2::NormalTaskResponse& response) { return IsSet(response); }

}  // namespace dragonfly::rpc
