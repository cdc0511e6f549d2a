// SPDX-License-Identifier: Apache-2.0
// What a RESOURCE_EXHAUSTED of the store is about: the disk, or descriptors and memory.
#pragma once

#include <string_view>

#include "absl/status/status.h"

namespace dragonfly::storage {

// ErrnoStatus() of a call that opens or makes a file; LacksSpace() can tell what it lacks.
absl::Status OpenStatus(int error_number, std::string_view context);

// True for an error of this module that says that the disk is full; false for one of OpenStatus() that says that
// descriptors or memory are short, and for all other codes.
bool LacksSpace(const absl::Status& status);

}  // namespace dragonfly::storage
