// SPDX-License-Identifier: Apache-2.0
#include "manager/seed.h"

#include <array>

#include "absl/strings/escaping.h"
#include "base/status.h"
#include "base/text.h"
#include "manager/secret.h"

namespace dragonfly::manager {
namespace {

using db::Connection;
using db::Values;

constexpr std::array<std::string_view, 18> kResources = {"users",
                                                         "roles",
                                                         "permissions",
                                                         "oauth",
                                                         "clusters",
                                                         "scheduler-clusters",
                                                         "schedulers",
                                                         "scheduler-features",
                                                         "seed-peer-clusters",
                                                         "seed-peers",
                                                         "peers",
                                                         "buckets",
                                                         "configs",
                                                         "jobs",
                                                         "applications",
                                                         "personal-access-tokens",
                                                         "persistent-cache-tasks",
                                                         "audits"};

// Times of one week and of six hours, in nanoseconds.
constexpr char kGcConfig[] = R"({"audit":{"ttl":604800000000000},"job":{"ttl":21600000000000}})";

absl::StatusOr<bool> IsEmpty(Connection& connection, std::string_view table) {
  DF_ASSIGN_OR_RETURN(const db::Rows rows,
                      connection.Select({"id"}, StrCat("FROM ", table, " WHERE is_del = 0 LIMIT 1")));
  return rows.empty();
}

// The original gave the first cluster its number without telling PostgreSQL, which would then give it again.
absl::Status AdvanceSequence(Connection& connection, const std::string& table) {
  if (connection.engine() != db::Engine::kPostgres) return absl::OkStatus();
  const std::string sequence = StrCat("pg_get_serial_sequence('", table, "', 'id')");
  return connection
      .Select({StrCat("setval(", sequence, ", GREATEST((SELECT COALESCE(MAX(id), 0) FROM ", table, ") + 1, nextval(",
                      sequence, ")), false)")},
              "")
      .status();
}

absl::Status SeedClusters(Connection& connection, const std::string& now) {
  DF_RETURN_IF_ERROR(AdvanceSequence(connection, "scheduler_cluster"));
  DF_RETURN_IF_ERROR(AdvanceSequence(connection, "seed_peer_cluster"));
  DF_ASSIGN_OR_RETURN(const bool no_scheduler_cluster, IsEmpty(connection, "scheduler_cluster"));
  if (no_scheduler_cluster) {
    const Values values = {now,
                           now,
                           std::string("cluster-1"),
                           std::string(R"({"candidate_parent_limit":4,"filter_parent_limit":15,"job_rate_limit":10})"),
                           std::string(R"({"load_limit":200})"),
                           std::string("{}"),
                           std::string("{}"),
                           int64_t{1}};
    DF_RETURN_IF_ERROR(connection
                           .Insert("INSERT INTO scheduler_cluster (created_at, updated_at, is_del, name, bio, config, "
                                   "client_config, seed_client_config, scopes, is_default) "
                                   "VALUES (?, ?, 0, ?, '', ?, ?, ?, ?, ?)",
                                   values)
                           .status());
  }
  DF_ASSIGN_OR_RETURN(const bool no_seed_peer_cluster, IsEmpty(connection, "seed_peer_cluster"));
  if (!no_seed_peer_cluster) return absl::OkStatus();
  DF_ASSIGN_OR_RETURN(const int64_t seed_peer_cluster,
                      connection.Insert("INSERT INTO seed_peer_cluster (created_at, updated_at, is_del, name, bio, "
                                        "config) VALUES (?, ?, 0, ?, '', ?)",
                                        {now, now, std::string("cluster-1"), std::string(R"({"load_limit":2000})")}));
  DF_ASSIGN_OR_RETURN(const db::Rows first,
                      connection.Select({"id"}, "FROM scheduler_cluster WHERE is_del = 0 ORDER BY id LIMIT 1"));
  return connection
      .Execute(
          "INSERT INTO seed_peer_cluster_scheduler_cluster (seed_peer_cluster_id, scheduler_cluster_id) "
          "VALUES (?, ?)",
          {seed_peer_cluster, first.front().Int(0)})
      .status();
}

absl::Status SeedPolicies(Connection& connection) {
  DF_ASSIGN_OR_RETURN(const db::Rows rows, connection.Select({"v0", "v1", "v2"}, "FROM casbin_rule WHERE ptype = 'p'"));
  const auto has = [&rows](std::string_view role, std::string_view resource, std::string_view action) {
    for (const db::Row& row : rows) {
      if (row.Text(0) == role && row.Text(1) == resource && row.Text(2) == action) return true;
    }
    return false;
  };
  for (const auto& [role, action] : {std::pair{"root", "*"}, {"guest", "read"}}) {
    for (const std::string_view resource : kResources) {
      if (has(role, resource, action)) continue;
      DF_RETURN_IF_ERROR(connection
                             .Execute("INSERT INTO casbin_rule (ptype, v0, v1, v2, v3, v4, v5) "
                                      "VALUES ('p', ?, ?, ?, '', '', '')",
                                      {std::string(role), std::string(resource), std::string(action)})
                             .status());
    }
  }
  return absl::OkStatus();
}

}  // namespace

std::span<const std::string_view> ResourceNames() { return kResources; }

absl::StatusOr<bool> LacksUsers(Connection& connection) { return IsEmpty(connection, "\"user\""); }

absl::StatusOr<bool> SeedRows(Connection& connection, const std::string& root_password_hash) {
  const std::string now = db::TimeText(absl::Now());
  DF_RETURN_IF_ERROR(SeedClusters(connection, now));
  DF_RETURN_IF_ERROR(connection
                         .Execute("UPDATE scheduler SET features = ? WHERE features IS NULL",
                                  {std::string(R"(["schedule","preheat"])")})
                         .status());
  DF_ASSIGN_OR_RETURN(const db::Rows gc, connection.Select({"id"}, "FROM config WHERE name = 'gc'"));
  if (gc.empty()) {
    DF_RETURN_IF_ERROR(connection
                           .Insert("INSERT INTO config (created_at, updated_at, is_del, name, value, bio, user_id) "
                                   "VALUES (?, ?, 0, 'gc', ?, '', 0)",
                                   {now, now, std::string(kGcConfig)})
                           .status());
  }
  DF_RETURN_IF_ERROR(SeedPolicies(connection));
  DF_ASSIGN_OR_RETURN(const bool nobody, LacksUsers(connection));
  if (!nobody || root_password_hash.empty()) return false;
  DF_ASSIGN_OR_RETURN(const int64_t root,
                      connection.Insert("INSERT INTO \"user\" (created_at, updated_at, is_del, email, name, "
                                        "encrypted_password, avatar, phone, private_token, state, location, bio) "
                                        "VALUES (?, ?, 0, '', 'root', ?, '', '', '', 'enable', '', '')",
                                        {now, now, root_password_hash}));
  DF_RETURN_IF_ERROR(connection
                         .Execute("INSERT INTO casbin_rule (ptype, v0, v1, v2, v3, v4, v5) "
                                  "VALUES ('g', ?, 'root', '', '', '', '')",
                                  {std::to_string(root)})
                         .status());
  return true;
}

absl::StatusOr<std::string> SharedSecret(Connection& connection, const std::string& name) {
  for (int attempt = 0; attempt < 2; ++attempt) {
    DF_ASSIGN_OR_RETURN(const db::Rows rows,
                        connection.Select({"value"}, "FROM dragonfly_secret WHERE name = ?", {name}));
    if (!rows.empty()) return rows.front().Text(0);
    const std::string value = absl::BytesToHexString(RandomBytes(32));
    const absl::Status added =
        connection.Execute("INSERT INTO dragonfly_secret (name, value) VALUES (?, ?)", {name, value}).status();
    if (added.ok()) return value;
    // Another manager was faster: its value counts.
    if (!absl::IsAlreadyExists(added)) return added;
  }
  return absl::AbortedError(StrCat("the secret ", name, " changes"));
}

}  // namespace dragonfly::manager
