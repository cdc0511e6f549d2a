// SPDX-License-Identifier: Apache-2.0
// Ids from the network: what is accepted is the text itself and safe as a file name.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/ids.h"
#include "base/task_id.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);

  if (const auto id = dragonfly::TaskId::Parse(text); id.ok()) {
    if (id->str() != text || text.empty() || text.size() > 64) std::abort();
    if (text.find_first_not_of("0123456789abcdef") != std::string_view::npos) std::abort();
    if (id->is_sha256() != (text.size() == 64)) std::abort();
  }
  if (dragonfly::CheckNameId(text, "host_id").ok()) {
    if (text.empty() || text.size() > dragonfly::kNameIdLengthMax) std::abort();
    for (const char c : text) {
      if (c < ' ' || c > '~') std::abort();
    }
  }
  if (const auto id = dragonfly::BlobDigestTaskId(text); id && !id->is_sha256()) std::abort();
  return 0;
}
