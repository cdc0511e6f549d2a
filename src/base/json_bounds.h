// SPDX-License-Identifier: Apache-2.0
// Looks at JSON of a stranger before it is parsed: the parser has no limits of its own, a value may take fifty times
// the memory of its text, and values are torn down by recursion.
#pragma once

#include <cstddef>
#include <string_view>

namespace dragonfly {

inline constexpr size_t kJsonDepthMax = 32;        // arrays and objects within each other
inline constexpr size_t kJsonValuesMax = 2 << 20;  // of all arrays and objects; a hundred thousand entries of a listing

// Whether `text` stays within both bounds. Says nothing about whether it is JSON at all.
bool IsBoundedJson(std::string_view text);

}  // namespace dragonfly
