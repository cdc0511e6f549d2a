// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "absl/status/status.h"

namespace dragonfly {

// Gives the file `from` of the open directory `directory` (AT_FDCWD: the working directory) the name `to` there, unless
// something has that name: in one step, so that two who rename to one name cannot both succeed. Where the file system
// cannot refuse to replace (NFS, SMB, 9p, many of FUSE: renameat2(2) answers EINVAL) the file is linked to `to` first,
// and `from` unlinked.
//
// Blocks. Errors: ALREADY_EXISTS; UNIMPLEMENTED when the file system knows neither; else of rename(2) and link(2).
absl::Status RenameWithoutReplacing(int directory, const std::string& from, const std::string& to);

}  // namespace dragonfly
