// SPDX-License-Identifier: Apache-2.0
// Resources of the REST API that are rows of one table: described once, served by the same code. Names and bounds:
// dragonfly v2.3.0, manager/types/*.go and manager/models/*.go.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "db/connection.h"
#include "manager/rest_call.h"

namespace dragonfly::manager {

enum class FieldKind { kText, kInt, kBool, kJson, kTime };

// What a field may be used for.
inline constexpr unsigned kInCreate = 1;
inline constexpr unsigned kInPatch = 2;
inline constexpr unsigned kAsFilter = 4;
inline constexpr unsigned kRequired = 8;  // in a create
inline constexpr unsigned kRequiredInPatch = 16;
inline constexpr unsigned kHidden = 32;     // never shown
inline constexpr unsigned kShownOnce = 64;  // in the answer to its create alone

struct Field {
  const char* name;  // in JSON and of the column
  FieldKind kind = FieldKind::kText;
  unsigned use = 0;
  int64_t min = INT64_MIN;
  int64_t max = INT64_MAX;          // of a number; bytes of a text
  std::vector<std::string> one_of;  // of a text
  std::string otherwise;            // in a create that leaves it out; JSON for kJson
  // Of a text, or of a JSON text: what is wrong with it, or nothing.
  std::optional<std::string> (*check)(const std::string& value) = nullptr;
};

// A row of another table that is shown with each row.
struct Embedded {
  const char* name;    // in JSON: "user"
  const char* column;  // that holds its id
  const char* of;      // the path of its resource: "users"
};

struct Resource {
  const char* path;   // below /api/v1
  const char* table;  // quoted where it must be
  std::vector<Field> fields;
  std::vector<Embedded> embedded = {};
  bool newest_first = false;
  // Keys that are shown as null: lists that nothing fills.
  std::vector<const char*> nulls = {};
  // Called in the transaction that has made or changed the row: an error takes it back.
  absl::Status (*after_write)(db::Connection& connection, int64_t id) = nullptr;
  // Called in the transaction that deletes the row.
  absl::Status (*before_delete)(db::Connection& connection, int64_t id) = nullptr;
};

const std::vector<Resource>& Resources();
// Null when there is none.
const Resource* FindResource(std::string_view path);

// Handlers. `resource` must outlive them.
RestHandler ListHandler(const Resource& resource);
RestHandler GetHandler(const Resource& resource);
RestHandler CreateHandler(const Resource& resource);
RestHandler PatchHandler(const Resource& resource);
RestHandler DeleteHandler(const Resource& resource);

// The row as JSON text. Blocks. Errors: NOT_FOUND "record not found".
absl::StatusOr<std::string> ShowRow(db::Connection& connection, const Resource& resource, int64_t id);

}  // namespace dragonfly::manager
