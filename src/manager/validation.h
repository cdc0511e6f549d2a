// SPDX-License-Identifier: Apache-2.0
// Checks of what schedulers and peers send. Rules: API 2.1.40, manager/v2. Only .cc files include this (it names
// messages).
#pragma once

#include "absl/status/status.h"

namespace manager::v2 {
class GetSeedPeerRequest;
class ListSeedPeersRequest;
class UpdateSeedPeerRequest;
class DeleteSeedPeerRequest;
class GetSchedulerRequest;
class UpdateSchedulerRequest;
class ListSchedulersRequest;
class ListApplicationsRequest;
class KeepAliveRequest;
}  // namespace manager::v2

namespace dragonfly::manager {

namespace v2 = ::manager::v2;

// Each returns INVALID_ARGUMENT "invalid <Message>.<Field>: <reason>" for the first violation.
absl::Status Validate(const v2::GetSeedPeerRequest& request);
absl::Status Validate(const v2::ListSeedPeersRequest& request);
absl::Status Validate(const v2::UpdateSeedPeerRequest& request);
absl::Status Validate(const v2::DeleteSeedPeerRequest& request);
absl::Status Validate(const v2::GetSchedulerRequest& request);
absl::Status Validate(const v2::UpdateSchedulerRequest& request);
absl::Status Validate(const v2::ListSchedulersRequest& request);
absl::Status Validate(const v2::ListApplicationsRequest& request);
absl::Status Validate(const v2::KeepAliveRequest& request);

}  // namespace dragonfly::manager
