// SPDX-License-Identifier: Apache-2.0
// How a request's credentials for its origin come off the wire. Only .cc files include this.
#pragma once

#include "common/v2/common.pb.h"
#include "source/source.h"

namespace dragonfly::daemon {

// What `request` (common.v2.Download, dfdaemon.v2.ListTaskEntriesRequest: whatever has the four fields) tells of the
// way into its origin. Absent fields are empty.
template <typename Request>
source::OriginAccess OriginAccessOf(const Request& request);

// Copies one part each; the template above is made of them.
source::OriginAccess::ObjectStorage ObjectStorageAccess(const common::v2::ObjectStorage& wire);
source::OriginAccess::Hub HuggingFaceAccess(const common::v2::HuggingFace& wire);
source::OriginAccess::Hub ModelScopeAccess(const common::v2::ModelScope& wire);

template <typename Request>
source::OriginAccess OriginAccessOf(const Request& request) {
  source::OriginAccess access;
  if (request.has_object_storage()) access.object_storage = ObjectStorageAccess(request.object_storage());
  if (request.has_hdfs()) access.hdfs_delegation_token = request.hdfs().delegation_token();
  if (request.has_hugging_face()) access.hugging_face = HuggingFaceAccess(request.hugging_face());
  if (request.has_model_scope()) access.model_scope = ModelScopeAccess(request.model_scope());
  return access;
}

}  // namespace dragonfly::daemon
