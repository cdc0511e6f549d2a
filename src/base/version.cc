// SPDX-License-Identifier: Apache-2.0
#include "base/version.h"

namespace dragonfly {

std::string_view GitCommit() { return DF_GIT_COMMIT; }
std::string_view BuildDate() { return DF_BUILD_DATE; }

}  // namespace dragonfly
