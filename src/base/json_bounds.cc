// SPDX-License-Identifier: Apache-2.0
#include "base/json_bounds.h"

namespace dragonfly {

bool IsBoundedJson(std::string_view text) {
  size_t depth = 0;
  size_t values = 1;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
      continue;
    }
    if (c == '"') in_string = true;
    if (c == '[' || c == '{') {
      if (++depth > kJsonDepthMax) return false;
      ++values;
    }
    if ((c == ']' || c == '}') && depth > 0) --depth;
    if (c == ',') ++values;
    if (values > kJsonValuesMax) return false;
  }
  return true;
}

}  // namespace dragonfly
