// SPDX-License-Identifier: Apache-2.0
// The text of `dfctl why`. Only .cc files include this (it pulls in protobuf).
#pragma once

#include <string>

#include "dragonfly/ext/v1/diagnosis.pb.h"

namespace dragonfly::cli {

// Short lines first: what took how long; then the sources, and the pieces when asked.
std::string ExplanationText(const ::dragonfly::ext::v1::ExplainTaskResponse& response, bool with_pieces);

}  // namespace dragonfly::cli
