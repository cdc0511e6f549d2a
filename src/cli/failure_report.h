// SPDX-License-Identifier: Apache-2.0
// How the command line tools tell a user that something failed. Source: client v1.0.0,
// dragonfly-client/src/bin/dfget/main.rs; scripts look for the headlines and labels.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace dragonfly::cli {

// True when standard output is a terminal and NO_COLOR is not set.
bool ColorWanted();

// "Validating Failed!" with the reason.
std::string ValidationReport(std::string_view reason, bool color);

// "Connect Dfdaemon Failed!": nobody serves `socket_path`.
std::string ConnectReport(const absl::Status& error, std::string_view socket_path, bool color);

// "<verb> Failed!" for the status of a call: the origin's status code, message and headers when a BackendError is
// attached, else the gRPC code and message. `local` says that the error did not come from a call.
std::string CallReport(std::string_view verb, const absl::Status& error, bool local, bool color);

}  // namespace dragonfly::cli
