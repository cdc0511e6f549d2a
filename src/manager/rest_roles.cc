// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "base/status.h"
#include "base/text.h"
#include "manager/json_body.h"
#include "manager/rest_handlers.h"
#include "manager/seed.h"

namespace dragonfly::manager {
namespace {

namespace asio = boost::asio;
using nlohmann::json;

constexpr size_t kNameMax = 100;
constexpr size_t kPermissionsMax = 1000;

struct Permission {
  std::string object, action;
};

absl::StatusOr<Permission> PermissionOf(const json& value) {
  if (!value.is_object()) return absl::InvalidArgumentError("permissions: has an element that is no object");
  const json* const object = FindKey(value, "object");
  const json* const action = FindKey(value, "action");
  if (object == nullptr || action == nullptr) return absl::InvalidArgumentError("object and action are required");
  Permission permission;
  DF_ASSIGN_OR_RETURN(permission.object, TextOf("object", *object));
  DF_ASSIGN_OR_RETURN(permission.action, TextOf("action", *action));
  const auto names = ResourceNames();
  if (std::find(names.begin(), names.end(), permission.object) == names.end()) {
    return absl::InvalidArgumentError(StrCat("object: there is no ", Quoted(permission.object)));
  }
  if (permission.action != "read" && permission.action != "*") {
    return absl::InvalidArgumentError("action: is neither read nor *");
  }
  return permission;
}

absl::StatusOr<bool> AddPolicy(db::Connection& connection, const std::string& role, const Permission& permission) {
  const db::Values values = {role, permission.object, permission.action};
  DF_ASSIGN_OR_RETURN(
      const db::Rows rows,
      connection.Select({"v0"}, "FROM casbin_rule WHERE ptype = 'p' AND v0 = ? AND v1 = ? AND v2 = ?", values));
  for (const db::Row& row : rows) {
    if (row.Text(0) == role) return false;
  }
  DF_RETURN_IF_ERROR(
      connection
          .Execute("INSERT INTO casbin_rule (ptype, v0, v1, v2, v3, v4, v5) VALUES ('p', ?, ?, ?, '', '', '')", values)
          .status());
  return true;
}

// Deletes the rules that `rest` selects, as far as `column` is exactly `role`: MySQL finds "root" by "ROOT", too.
absl::StatusOr<int64_t> DeleteRules(db::Connection& connection, const char* column, const std::string& role,
                                    std::string_view rest, const db::Values& values) {
  DF_ASSIGN_OR_RETURN(const db::Rows rows, connection.Select({"id", column}, rest, values));
  int64_t deleted = 0;
  for (const db::Row& row : rows) {
    if (row.Text(1) != role) continue;
    DF_ASSIGN_OR_RETURN(const int64_t count, connection.Execute("DELETE FROM casbin_rule WHERE id = ?", {row.Int(0)}));
    deleted += count;
  }
  return deleted;
}

}  // namespace

asio::awaitable<RestAnswer> CreateRole(RestContext& context, RestCall call) {
  DF_CO_ASSIGN_OR_RETURN(const json body, ParseBody(call.body));
  const json* const given = FindKey(body, "role");
  const json* const list = FindKey(body, "permissions");
  if (given == nullptr || list == nullptr) co_return absl::InvalidArgumentError("role and permissions are required");
  DF_CO_ASSIGN_OR_RETURN(const std::string role, TextOf("role", *given));
  if (role.empty() || role.size() > kNameMax) co_return absl::InvalidArgumentError("role: must have 1 to 100 bytes");
  if (!list->is_array() || list->size() > kPermissionsMax)
    co_return absl::InvalidArgumentError("permissions: is no list");
  std::vector<Permission> permissions;
  for (const json& element : *list) {
    DF_CO_ASSIGN_OR_RETURN(Permission permission, PermissionOf(element));
    permissions.push_back(std::move(permission));
  }
  const db::Database::Work<bool> create = [role, permissions](db::Connection& connection) -> absl::StatusOr<bool> {
    for (const Permission& permission : permissions) {
      DF_RETURN_IF_ERROR(AddPolicy(connection, role, permission).status());
    }
    return true;
  };
  DF_CO_RETURN_IF_ERROR((co_await context.Do<bool>(create)).status());
  co_return EmptyResponse();
}

asio::awaitable<RestAnswer> ListRoles(RestContext& context, RestCall) {
  const db::Database::Work<db::Rows> list = [](db::Connection& connection) {
    return connection.Select({"v0"}, "FROM casbin_rule WHERE ptype = 'p' ORDER BY id");
  };
  DF_CO_ASSIGN_OR_RETURN(const db::Rows rows, co_await context.Read<db::Rows>(list));
  json roles = json::array();
  // Not by the database: MySQL takes "ROOT" and "root" for one.
  std::set<std::string> seen;
  for (const db::Row& row : rows) {
    if (seen.insert(row.Text(0)).second) roles.push_back(row.Text(0));
  }
  co_return JsonResponse(DumpJson(roles));
}

asio::awaitable<RestAnswer> GetRole(RestContext& context, RestCall call) {
  const std::string role = call.params.at("role");
  const db::Database::Work<db::Rows> list = [role](db::Connection& connection) {
    return connection.Select({"v0", "v1", "v2"}, "FROM casbin_rule WHERE ptype = 'p' AND v0 = ? ORDER BY id", {role});
  };
  DF_CO_ASSIGN_OR_RETURN(const db::Rows rows, co_await context.Read<db::Rows>(list));
  json policies = json::array();
  for (const db::Row& row : rows) {
    if (row.Text(0) == role) policies.push_back({row.Text(0), row.Text(1), row.Text(2)});
  }
  co_return JsonResponse(DumpJson(policies));
}

asio::awaitable<RestAnswer> DeleteRole(RestContext& context, RestCall call) {
  const std::string role = call.params.at("role");
  // Nobody could give it back.
  if (role == "root") co_return absl::FailedPreconditionError("the role root cannot be deleted");
  const db::Database::Work<int64_t> remove = [role](db::Connection& connection) -> absl::StatusOr<int64_t> {
    DF_ASSIGN_OR_RETURN(const int64_t policies,
                        DeleteRules(connection, "v0", role, "FROM casbin_rule WHERE ptype = 'p' AND v0 = ?", {role}));
    DF_ASSIGN_OR_RETURN(const int64_t users,
                        DeleteRules(connection, "v1", role, "FROM casbin_rule WHERE ptype = 'g' AND v1 = ?", {role}));
    return policies + users;
  };
  DF_CO_ASSIGN_OR_RETURN(const int64_t removed, co_await context.Do<int64_t>(remove));
  if (removed == 0) co_return absl::NotFoundError("record not found");
  co_return EmptyResponse();
}

asio::awaitable<RestAnswer> AddPermission(RestContext& context, RestCall call) {
  DF_CO_ASSIGN_OR_RETURN(const json body, ParseBody(call.body));
  DF_CO_ASSIGN_OR_RETURN(const Permission permission, PermissionOf(body));
  const std::string role = call.params.at("role");
  if (role.size() > kNameMax) co_return absl::InvalidArgumentError("role: must have 1 to 100 bytes");
  const db::Database::Work<bool> add = [role, permission](db::Connection& connection) {
    return AddPolicy(connection, role, permission);
  };
  DF_CO_ASSIGN_OR_RETURN(const bool added, co_await context.Do<bool>(add));
  if (!added) co_return absl::AlreadyExistsError("");
  co_return EmptyResponse();
}

asio::awaitable<RestAnswer> DeletePermission(RestContext& context, RestCall call) {
  DF_CO_ASSIGN_OR_RETURN(const json body, ParseBody(call.body));
  DF_CO_ASSIGN_OR_RETURN(const Permission permission, PermissionOf(body));
  const std::string role = call.params.at("role");
  if (role == "root") co_return absl::FailedPreconditionError("the rights of the role root cannot be taken away");
  const db::Database::Work<int64_t> remove = [role, permission](db::Connection& connection) {
    return DeleteRules(connection, "v0", role, "FROM casbin_rule WHERE ptype = 'p' AND v0 = ? AND v1 = ? AND v2 = ?",
                       {role, permission.object, permission.action});
  };
  DF_CO_ASSIGN_OR_RETURN(const int64_t removed, co_await context.Do<int64_t>(remove));
  if (removed == 0) co_return absl::NotFoundError("record not found");
  co_return EmptyResponse();
}

asio::awaitable<RestAnswer> ListPermissions(RestContext&, RestCall) {
  json permissions = json::array();
  for (const std::string_view name : ResourceNames()) {
    for (const char* const action : {"*", "read"}) {
      permissions.push_back({{"object", std::string(name)}, {"action", action}});
    }
  }
  co_return JsonResponse(DumpJson(permissions));
}

}  // namespace dragonfly::manager
