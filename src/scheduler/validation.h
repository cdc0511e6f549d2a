// SPDX-License-Identifier: Apache-2.0
// Checks of what comes from the network, with the texts that the original's validator gives, and bounds on ids that it
// lacks. Only .cc files include this (it names messages).
#pragma once

#include "absl/status/status.h"

namespace scheduler::v2 {
class AnnouncePeerRequest;
class AnnounceHostRequest;
class StatPeerRequest;
class DeletePeerRequest;
class StatTaskRequest;
class DeleteTaskRequest;
class DeleteHostRequest;
class PreheatImageRequest;
class PreheatFileRequest;
class StatImageRequest;
class StatFileRequest;
}  // namespace scheduler::v2

namespace dragonfly::scheduler {

namespace v2 = ::scheduler::v2;

// Each returns INVALID_ARGUMENT with the first violation:
// "invalid <Message>.<Field>: <reason>[ | caused by: invalid ...]". Rules: API 2.1.40 and 2.2.32.
absl::Status Validate(const v2::AnnouncePeerRequest& request);
absl::Status Validate(const v2::AnnounceHostRequest& request);
absl::Status Validate(const v2::StatPeerRequest& request);
absl::Status Validate(const v2::DeletePeerRequest& request);
absl::Status Validate(const v2::StatTaskRequest& request);
absl::Status Validate(const v2::DeleteTaskRequest& request);
absl::Status Validate(const v2::DeleteHostRequest& request);
absl::Status Validate(const v2::PreheatImageRequest& request);
absl::Status Validate(const v2::PreheatFileRequest& request);
absl::Status Validate(const v2::StatImageRequest& request);
absl::Status Validate(const v2::StatFileRequest& request);

}  // namespace dragonfly::scheduler
