// SPDX-License-Identifier: Apache-2.0
// What values of configuration keys may be: the kinds that the files of all programs share.
#pragma once

#include <functional>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/section.h"

namespace dragonfly::config {

// Longest interval or timeout that still fits every clock; also keeps a typing error from switching something off.
inline constexpr double kDurationMaxSeconds = 10.0 * 366 * 24 * 3600;

// What is wrong with a value, as the rest of a sentence; nullopt when nothing is.
using Wrong = std::optional<std::string>;

// A number, size (bytes) or duration (seconds) of [min, max].
Section::Opts Between(double min, double max);
Section::Opts OneOf(std::vector<std::string> allowed);
// A text that `check` accepts; `kind` is how the documentation calls it.
Section::Opts Text(std::string kind, std::function<Wrong(const std::string&)> check);
Section::Opts Path();
// Never shown in messages.
Section::Opts Secret();
// The following may be empty, too.
Section::Opts Ip();             // an IPv4 or IPv6 literal
Section::Opts Address();        // host:port
Section::Opts ListenAddress();  // [ip]:port, where the ip may be missing

// Keys of the original that have no meaning here.
void IgnoreAll(Section& section, std::initializer_list<std::string_view> keys);
// A directory for which the original takes the empty text as its default, which is what `out` holds before.
void Directory(Section& section, std::string_view key, std::string* out);

}  // namespace dragonfly::config
