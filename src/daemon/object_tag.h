// SPDX-License-Identifier: Apache-2.0
// A short name of the version of an origin's object, which peers compare before they share pieces of it.
#pragma once

#include <map>
#include <string>
#include <string_view>

namespace dragonfly::daemon {

// Made of the strong ETag and the time of last modification in `response_header` (lower-case names): "<e>-<m>", each 16
// hexadecimal digits or empty. Empty when neither is there.
std::string ObjectTag(const std::map<std::string, std::string>& response_header);

// True when two tags are of different versions for certain. Servers behind one name often make ETags of their own for
// the same file, so an equal time outweighs them; what one side does not know proves nothing.
bool TagsDiffer(std::string_view a, std::string_view b);

}  // namespace dragonfly::daemon
