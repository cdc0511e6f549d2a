// SPDX-License-Identifier: Apache-2.0
// Bodies of object storages: whatever stands in one, it ends in a page or an error.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "source/object_answer.h"

using dragonfly::source::ListedObject;
using dragonfly::source::ObjectVendor;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  constexpr ObjectVendor kVendors[] = {ObjectVendor::kS3,  ObjectVendor::kGs,  ObjectVendor::kAbs,
                                       ObjectVendor::kOss, ObjectVendor::kObs, ObjectVendor::kCos};
  // The first byte chooses the vendor: '0' to '5' in the seeds.
  const ObjectVendor vendor = kVendors[data[0] % 6];
  const std::string_view body(reinterpret_cast<const char*>(data + 1), size - 1);
  const auto page = dragonfly::source::ParseListPage(vendor, body);
  if (page.ok()) {
    for (const ListedObject& object : page->objects) {
      if (object.key.empty()) std::abort();
      if (object.is_directory != object.key.ends_with('/')) std::abort();
      if (object.is_directory && object.size != 0) std::abort();
    }
  }
  (void)dragonfly::source::ParseObjectError(body);
  return 0;
}
