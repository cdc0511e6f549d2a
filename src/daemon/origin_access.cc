// SPDX-License-Identifier: Apache-2.0
#include "daemon/origin_access.h"

namespace dragonfly::daemon {
namespace {

template <typename Wire>
source::OriginAccess::Hub HubAccess(const Wire& wire) {
  source::OriginAccess::Hub hub;
  hub.token = wire.token();
  hub.revision = wire.revision();
  hub.base_url = wire.base_url();
  return hub;
}

}  // namespace

source::OriginAccess::ObjectStorage ObjectStorageAccess(const common::v2::ObjectStorage& wire) {
  source::OriginAccess::ObjectStorage storage;
  storage.region = wire.region();
  storage.endpoint = wire.endpoint();
  storage.access_key_id = wire.access_key_id();
  storage.access_key_secret = wire.access_key_secret();
  storage.session_token = wire.session_token();
  storage.security_token = wire.security_token();
  storage.credential_path = wire.credential_path();
  storage.insecure_skip_verify = wire.insecure_skip_verify();
  return storage;
}

source::OriginAccess::Hub HuggingFaceAccess(const common::v2::HuggingFace& wire) { return HubAccess(wire); }
source::OriginAccess::Hub ModelScopeAccess(const common::v2::ModelScope& wire) { return HubAccess(wire); }

}  // namespace dragonfly::daemon
