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

constexpr size_t kNameMax = 256;
constexpr size_t kLineMax = 1024;

// Cut to `max` bytes between two characters: no host keeps the others out of the table by a long text.
std::string Cut(const std::string& text, size_t max) {
  if (text.size() <= max) return text;
  size_t end = max;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  return text.substr(0, end);
}

// Of the columns, in the order of the statements below.
db::Values ValuesOf(const jobs::HostEntry& host) {
  return {Cut(host.hostname, kNameMax),
          std::string(jobs::HostTypeName(host.type)),
          Cut(host.idc, kLineMax),
          Cut(host.location, kLineMax),
          Cut(host.ip, kNameMax),
          host.port,
          host.download_port,
          int64_t{0},
          host.proxy_port,
          std::string("active"),
          Cut(host.os, kNameMax),
          Cut(host.platform, kNameMax),
          Cut(host.platform_family, kNameMax),
          Cut(host.platform_version, kNameMax),
          Cut(host.kernel_version, kNameMax),
          Cut(host.git_version, kNameMax),
          Cut(host.git_commit, kNameMax),
          Cut(host.build_platform, kNameMax)};
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
    wanted[{Cut(host.hostname, kNameMax), Cut(host.ip, kNameMax)}] = &host;
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
