// SPDX-License-Identifier: Apache-2.0
#include "rpc/more_parents.h"

#include "rpc/extension_field.h"

namespace dragonfly::rpc {

void SetTakesMoreParents(::scheduler::v2::RegisterPeerRequest& request) { AddExtension(request, kFirstExtension, 1); }
bool TakesMoreParents(const ::scheduler::v2::RegisterPeerRequest& request) {
  return HasExtension(request, kFirstExtension);
}
void SetMore(::scheduler::v2::NormalTaskResponse& response) { AddExtension(response, kFirstExtension, 1); }
bool IsMore(const ::scheduler::v2::NormalTaskResponse& response) { return HasExtension(response, kFirstExtension); }

}  // namespace dragonfly::rpc
