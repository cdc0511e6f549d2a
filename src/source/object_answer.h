// SPDX-License-Identifier: Apache-2.0
// What object storages say in the bodies of their answers: pages of a list, and why they refuse.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "source/object_location.h"

namespace dragonfly::source {

struct ListedObject {
  ListedObject() = default;
  std::string key;
  uint64_t size = 0;          // bytes
  bool is_directory = false;  // a marker: a key that ends in '/', or a directory of Azure's hierarchical accounts
};

struct ListPage {
  ListPage() = default;
  std::vector<ListedObject> objects;
  std::string continuation;  // for ObjectPlace::ListUrl(); empty: this was the last page
};

// A page of ListObjectsV2 (s3, oss), ListObjects (obs, cos), Objects: list (gs) or List Blobs (abs). Markers come with
// size 0 and keep their '/'. Errors: DATA_LOSS for what is no such page, names no size, has more than 16 levels or a
// document type, or promises a page more without saying where it begins.
absl::StatusOr<ListPage> ParseListPage(ObjectVendor vendor, std::string_view body);

// A refusal's code and message, as far as the body, which may be cut, tells them.
struct ObjectError {
  ObjectError() = default;
  std::string code;     // "SignatureDoesNotMatch"
  std::string message;  // for people
  std::string region;   // of the bucket, by S3

  // "Code: message", what there is of it: one line of printable ASCII, not longer than 300 bytes.
  std::string ToString() const;
};
ObjectError ParseObjectError(std::string_view body);

}  // namespace dragonfly::source
