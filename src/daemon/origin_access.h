// SPDX-License-Identifier: Apache-2.0
// How a request's credentials for its origin come off the wire. Only .cc files include this.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/v2/common.pb.h"
#include "daemon/task_manager.h"
#include "source/source.h"

namespace dragonfly::daemon {

// What `request` (common.v2.Download, dfdaemon.v2.ListTaskEntriesRequest: whatever has the five fields) tells of the
// way into its origin: `access` and `authorities` of `out`. Absent fields are empty. `local`: the caller is on this
// host, so that it may use the keys of the daemon's environment.
template <typename Request>
void SetOriginAccess(const Request& request, bool local, source::OriginRequest& out);

// INVALID_ARGUMENT when `request` names a file of this host without being `local`: what its content is used for would
// be a stranger's choice.
template <typename Request>
absl::Status CheckLocalFiles(const Request& request, bool local) {
  if (local || request.object_storage().credential_path().empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      "object_storage.credential_path names a file of this host and is only taken on the Unix socket");
}

// The request of `wire` to its origin, without a deadline.
source::OriginRequest MakeOriginRequest(const common::v2::Download& wire, const OriginTerms& terms);

// True when the origin may treat the two callers differently: another URL, other credentials, or keys of this host for
// one of them only.
bool DifferentAccess(const common::v2::Download& a, const OriginTerms& a_terms, const common::v2::Download& b,
                     const OriginTerms& b_terms);
// True when the origin may have taken the request for that of somebody in particular: credentials in the headers, the
// fields or the URL, or keys of this host. What it has said to nobody in particular, it says to everybody.
bool BringsCredentials(const common::v2::Download& wire, const OriginTerms& terms);

// Copies one part each; the template above is made of them.
source::OriginAccess::ObjectStorage ObjectStorageAccess(const common::v2::ObjectStorage& wire);
source::OriginAccess::Hub HuggingFaceAccess(const common::v2::HuggingFace& wire);
source::OriginAccess::Hub ModelScopeAccess(const common::v2::ModelScope& wire);

template <typename Request>
void SetOriginAccess(const Request& request, bool local, source::OriginRequest& out) {
  source::OriginAccess& access = out.access;
  if (request.has_object_storage()) access.object_storage = ObjectStorageAccess(request.object_storage());
  access.object_storage.own_key_allowed = local;
  if (request.has_hdfs()) access.hdfs_delegation_token = request.hdfs().delegation_token();
  if (request.has_hugging_face()) access.hugging_face = HuggingFaceAccess(request.hugging_face());
  if (request.has_model_scope()) access.model_scope = ModelScopeAccess(request.model_scope());
  if (request.certificate_chain_size() == 0) return;
  out.authorities = std::make_shared<const std::vector<std::string>>(request.certificate_chain().begin(),
                                                                     request.certificate_chain().end());
}

}  // namespace dragonfly::daemon
