// SPDX-License-Identifier: Apache-2.0
#include "manager/peer_table.h"

#include <map>
#include <string>
#include <utility>

#include "base/status.h"
#include "base/text.h"
#include "db/value.h"

namespace dragonfly::manager {
namespace {

// Of the columns, in the order of kColumns.
db::Values ValuesOf(const jobs::HostEntry& host) {
  return {host.hostname,
          std::string(jobs::HostTypeName(host.type)),
          host.idc,
          host.location,
          host.ip,
          host.port,
          host.download_port,
          int64_t{0},
          host.proxy_port,
          std::string("active"),
          host.os,
          host.platform,
          host.platform_family,
          host.platform_version,
          host.kernel_version,
          host.git_version,
          host.git_commit,
          host.build_platform};
}

constexpr char kInsert[] =
    "INSERT INTO peer (created_at, updated_at, is_del, scheduler_cluster_id, host_name, type, idc, location, ip, port, "
    "download_port, object_storage_port, proxy_port, state, os, platform, platform_family, platform_version, "
    "kernel_version, git_version, git_commit, build_platform) "
    "VALUES (?, ?, 0, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
constexpr char kUpdate[] =
    "UPDATE peer SET updated_at = ?, host_name = ?, type = ?, idc = ?, location = ?, ip = ?, port = ?, "
    "download_port = ?, object_storage_port = ?, proxy_port = ?, state = ?, os = ?, platform = ?, platform_family = ?, "
    "platform_version = ?, kernel_version = ?, git_version = ?, git_commit = ?, build_platform = ? WHERE id = ?";

}  // namespace

absl::Status MergePeers(db::Connection& connection, uint64_t cluster_id, const std::vector<jobs::HostEntry>& hosts) {
  const auto cluster = static_cast<int64_t>(cluster_id);
  const std::string now = db::TimeText(absl::Now());
  // What the table's key names.
  std::map<std::pair<std::string, std::string>, const jobs::HostEntry*> wanted;
  for (const jobs::HostEntry& host : hosts) {
    if (host.cluster_id == 0) continue;
    wanted[{host.hostname, host.ip}] = &host;
  }
  DF_ASSIGN_OR_RETURN(const db::Rows rows,
                      connection.Select({"id", "host_name", "ip"},
                                        "FROM peer WHERE scheduler_cluster_id = ? AND is_del = 0", {cluster}));
  for (const db::Row& row : rows) {
    const auto found = wanted.find({row.Text(1), row.Text(2)});
    if (found == wanted.end()) {
      DF_RETURN_IF_ERROR(connection.Execute("DELETE FROM peer WHERE id = ?", {row.Int(0)}).status());
      continue;
    }
    db::Values values = {now};
    for (db::Value& value : ValuesOf(*found->second)) values.push_back(std::move(value));
    values.emplace_back(row.Int(0));
    DF_RETURN_IF_ERROR(connection.Execute(kUpdate, values).status());
    wanted.erase(found);
  }
  for (const auto& [key, host] : wanted) {
    db::Values values = {now, now, cluster};
    for (db::Value& value : ValuesOf(*host)) values.push_back(std::move(value));
    DF_RETURN_IF_ERROR(connection.Insert(kInsert, values).status());
  }
  return absl::OkStatus();
}

}  // namespace dragonfly::manager
