// SPDX-License-Identifier: Apache-2.0
// The resources, as data.
#include <nlohmann/json.hpp>

#include "base/host_port.h"
#include "base/status.h"
#include "base/text.h"
#include "manager/cluster_config.h"
#include "manager/resource.h"
#include "manager/sign_in_provider.h"

namespace dragonfly::manager {
namespace {

using nlohmann::json;
using Wrong = std::optional<std::string>;
using enum FieldKind;

constexpr unsigned kEdit = kInCreate | kInPatch;
constexpr unsigned kAll = kEdit | kAsFilter;
constexpr int64_t kName = 256;
constexpr int64_t kLine = 1024;
constexpr int64_t kProviderName = 64;
constexpr int64_t kText64K = 65'535;  // what a text of MySQL holds

Field Text(const char* name, unsigned use, int64_t max) {
  Field field;
  field.name = name;
  field.use = use;
  field.max = max;
  return field;
}

Field OneOf(const char* name, unsigned use, std::vector<std::string> values, std::string otherwise = "") {
  Field field = Text(name, use, kName);
  field.one_of = std::move(values);
  field.otherwise = std::move(otherwise);
  return field;
}

Field Number(const char* name, unsigned use, int64_t min, int64_t max) {
  Field field;
  field.name = name;
  field.kind = kInt;
  field.use = use;
  field.min = min;
  field.max = max;
  return field;
}

Field Id(const char* name, unsigned use) { return Number(name, use, 1, INT64_MAX); }
Field Port(const char* name, unsigned use) { return Number(name, use, (use & kRequired) != 0 ? 1 : 0, 65'535); }

Field Bool(const char* name, unsigned use) {
  Field field;
  field.name = name;
  field.kind = kBool;
  field.use = use;
  return field;
}

Field Json(const char* name, unsigned use, Wrong (*check)(const std::string&), std::string otherwise = "{}") {
  Field field;
  field.name = name;
  field.kind = kJson;
  field.use = use;
  field.check = check;
  field.otherwise = std::move(otherwise);
  return field;
}

Field Time(const char* name, unsigned use) {
  Field field;
  field.name = name;
  field.kind = kTime;
  field.use = use;
  return field;
}

Field Checked(Field field, Wrong (*check)(const std::string&)) {
  field.check = check;
  return field;
}

Wrong CheckIp(const std::string& text) {
  if (IsIpLiteral(text)) return std::nullopt;
  return StrCat(Quoted(text), " is no IP address");
}

Wrong CheckRedirect(const std::string& text) {
  if (text.empty() || text.starts_with("http://") || text.starts_with("https://")) return std::nullopt;
  return "is no URL";
}

Wrong CheckFeatures(const std::string& text) {
  const json list = json::parse(text, nullptr, false);
  if (!list.is_array()) return "is no list";
  for (const json& feature : list) {
    if (feature != "schedule" && feature != "preheat") return "knows only schedule and preheat";
  }
  return std::nullopt;
}

// Deletes what hangs on a cluster, or refuses while something lives in it.
absl::Status RefuseWhile(db::Connection& connection, const std::string& from, int64_t id, const char* text) {
  DF_ASSIGN_OR_RETURN(const db::Rows rows, connection.Select({"id"}, from, {id}));
  return rows.empty() ? absl::OkStatus() : absl::FailedPreconditionError(text);
}

absl::Status BeforeDeleteSchedulerCluster(db::Connection& connection, int64_t id) {
  DF_RETURN_IF_ERROR(RefuseWhile(connection, "FROM scheduler WHERE scheduler_cluster_id = ? AND is_del = 0 LIMIT 1", id,
                                 "scheduler cluster exists scheduler"));
  for (const char* const table : {"seed_peer_cluster_scheduler_cluster", "job_scheduler_cluster"}) {
    DF_RETURN_IF_ERROR(
        connection.Execute(StrCat("DELETE FROM ", table, " WHERE scheduler_cluster_id = ?"), {id}).status());
  }
  return connection.Execute("DELETE FROM peer WHERE scheduler_cluster_id = ?", {id}).status();
}

absl::Status BeforeDeleteSeedPeerCluster(db::Connection& connection, int64_t id) {
  DF_RETURN_IF_ERROR(RefuseWhile(connection, "FROM seed_peer WHERE seed_peer_cluster_id = ? AND is_del = 0 LIMIT 1", id,
                                 "seedPeer cluster exists seedPeer"));
  for (const char* const table : {"seed_peer_cluster_scheduler_cluster", "job_seed_peer_cluster"}) {
    DF_RETURN_IF_ERROR(
        connection.Execute(StrCat("DELETE FROM ", table, " WHERE seed_peer_cluster_id = ?"), {id}).status());
  }
  return absl::OkStatus();
}

absl::Status BeforeDeleteJob(db::Connection& connection, int64_t id) {
  for (const char* const table : {"job_scheduler_cluster", "job_seed_peer_cluster"}) {
    DF_RETURN_IF_ERROR(connection.Execute(StrCat("DELETE FROM ", table, " WHERE job_id = ?"), {id}).status());
  }
  return absl::OkStatus();
}

// The row that the garbage collection reads must be one that it can read.
absl::Status AfterWriteConfig(db::Connection& connection, int64_t id) {
  DF_ASSIGN_OR_RETURN(const db::Rows rows, connection.Select({"name", "value"}, "FROM config WHERE id = ?", {id}));
  if (rows.empty() || rows.front().Text(0) != "gc") return absl::OkStatus();
  if (const Wrong wrong = CheckGcConfig(rows.front().Text(1)))
    return absl::InvalidArgumentError(StrCat("value: ", *wrong));
  return absl::OkStatus();
}

// A cluster that is named must exist.
absl::Status RequireRow(db::Connection& connection, const std::string& from, int64_t id, const char* text) {
  DF_ASSIGN_OR_RETURN(const db::Rows rows, connection.Select({"1"}, from, {id}));
  return rows.empty() ? absl::InvalidArgumentError(text) : absl::OkStatus();
}

absl::Status AfterWriteOauth(db::Connection& connection, int64_t id) {
  DF_ASSIGN_OR_RETURN(const db::Rows rows, connection.Select({"name", "issuer"}, "FROM oauth WHERE id = ?", {id}));
  if (rows.empty()) return absl::OkStatus();
  SignInProvider provider;
  provider.name = rows.front().Text(0);
  provider.issuer = rows.front().Text(1);
  return CheckProvider(provider);
}

absl::Status AfterWriteScheduler(db::Connection& connection, int64_t id) {
  return RequireRow(connection,
                    "FROM scheduler s JOIN scheduler_cluster c ON c.id = s.scheduler_cluster_id WHERE s.id = ?", id,
                    "scheduler_cluster_id: there is no such cluster");
}
absl::Status AfterWriteSeedPeer(db::Connection& connection, int64_t id) {
  return RequireRow(connection,
                    "FROM seed_peer s JOIN seed_peer_cluster c ON c.id = s.seed_peer_cluster_id WHERE s.id = ?", id,
                    "seed_peer_cluster_id: there is no such cluster");
}

const std::vector<std::string> kStates = {"active", "inactive"};

std::vector<Field> InstanceFields(std::vector<std::string> types) {
  std::vector<Field> fields = {Text("host_name", kInCreate | kAsFilter | kRequired, kName)};
  if (!types.empty()) fields.push_back(OneOf("type", kAll | kRequired, std::move(types)));
  fields.push_back(Text("idc", kAll, kLine));
  fields.push_back(Text("location", kAll, kLine));
  fields.push_back(Checked(Text("ip", kAll | kRequired, kName), CheckIp));
  fields.push_back(Port("port", kAll | kRequired));
  return fields;
}

Resource Users() {
  Resource users{"users", "\"user\"", {}};
  users.fields = {Text("email", kInPatch | kAsFilter, kName),
                  Text("name", kAsFilter, kName),
                  Text("avatar", kInPatch, kName),
                  Text("phone", kInPatch, kName),
                  OneOf("state", kAsFilter, {"enable", "disable"}, "enable"),
                  Text("location", kInPatch | kAsFilter, kName),
                  Text("bio", kInPatch, kName)};
  users.nulls = {"configs"};
  return users;
}

Resource Oauth() {
  Resource oauth{"oauth", "oauth", {}};
  Field secret = Text("client_secret", kEdit | kRequired | kHidden, kLine);
  oauth.fields = {Text("name", kAll | kRequired, kProviderName),
                  Text("bio", kEdit, kLine),
                  Text("client_id", kAll | kRequired, kName),
                  secret,
                  Checked(Text("redirect_url", kEdit, kLine), CheckRedirect),
                  Text("issuer", kEdit, kLine)};
  oauth.after_write = AfterWriteOauth;
  return oauth;
}

Resource SchedulerClusters() {
  Resource clusters{"scheduler-clusters", "scheduler_cluster", {}};
  clusters.fields = {Text("name", kAll | kRequired, kName),
                     Text("bio", kEdit, kLine),
                     Json("config", kEdit | kRequired, CheckSchedulerClusterConfig),
                     Json("client_config", kEdit | kRequired, CheckPeerClusterConfig),
                     Json("seed_client_config", kEdit, CheckSeedPeerClusterConfig),
                     Json("scopes", kEdit, CheckScopes),
                     Bool("is_default", kEdit)};
  clusters.nulls = {"seed_peer_clusters", "schedulers", "peers", "jobs"};
  clusters.before_delete = BeforeDeleteSchedulerCluster;
  return clusters;
}

Resource Schedulers() {
  Resource schedulers{"schedulers", "scheduler", InstanceFields({})};
  schedulers.fields.push_back(OneOf("state", kAsFilter, kStates, "inactive"));
  schedulers.fields.push_back(Json("features", kEdit, CheckFeatures, R"(["schedule","preheat"])"));
  schedulers.fields.push_back(Json("config", 0, nullptr));
  schedulers.fields.push_back(Time("last_keep_alive_at", 0));
  schedulers.fields.push_back(Id("scheduler_cluster_id", kAll | kRequired));
  schedulers.after_write = AfterWriteScheduler;
  schedulers.embedded = {{"scheduler_cluster", "scheduler_cluster_id", "scheduler-clusters"}};
  return schedulers;
}

Resource SeedPeerClusters() {
  Resource clusters{"seed-peer-clusters", "seed_peer_cluster", {}};
  clusters.fields = {Text("name", kAll | kRequired, kName), Text("bio", kEdit, kLine),
                     Json("config", kEdit | kRequired, CheckSeedPeerClusterConfig)};
  clusters.nulls = {"scheduler_clusters", "seed_peer", "jobs"};
  clusters.before_delete = BeforeDeleteSeedPeerCluster;
  return clusters;
}

Resource SeedPeers() {
  Resource seed_peers{"seed-peers", "seed_peer", InstanceFields({"super", "strong", "weak"})};
  seed_peers.fields.push_back(Port("download_port", kAll | kRequired));
  seed_peers.fields.push_back(Port("object_storage_port", kAll));
  seed_peers.fields.push_back(OneOf("state", kAsFilter, kStates, "inactive"));
  seed_peers.fields.push_back(Id("seed_peer_cluster_id", kAll | kRequired));
  seed_peers.after_write = AfterWriteSeedPeer;
  seed_peers.embedded = {{"seed_peer_cluster", "seed_peer_cluster_id", "seed-peer-clusters"}};
  return seed_peers;
}

Resource Peers() {
  Resource peers{"peers", "peer", InstanceFields({"super", "strong", "weak", "normal"})};
  peers.fields.push_back(Port("download_port", kAll | kRequired));
  peers.fields.push_back(Port("object_storage_port", kAll));
  peers.fields.push_back(Port("proxy_port", kAll));
  peers.fields.push_back(OneOf("state", kAll, kStates, "inactive"));
  for (const char* const name : {"os", "platform", "platform_family", "platform_version", "kernel_version",
                                 "git_version", "git_commit", "build_platform"}) {
    peers.fields.push_back(Text(name, kInCreate | kAsFilter, kName));
  }
  peers.fields.push_back(Id("scheduler_cluster_id", kAll | kRequired));
  peers.embedded = {{"scheduler_cluster", "scheduler_cluster_id", "scheduler-clusters"}};
  return peers;
}

Resource Configs() {
  Resource configs{"configs", "config", {}};
  configs.fields = {Text("name", kAll | kRequired, kName), Checked(Text("value", kAll | kRequired, kLine), nullptr),
                    Text("bio", kEdit, kLine), Number("user_id", kAll, 0, INT64_MAX)};
  configs.after_write = AfterWriteConfig;
  configs.embedded = {{"user", "user_id", "users"}};
  return configs;
}

Resource Applications() {
  Resource applications{"applications", "application", {}};
  applications.fields = {Text("name", kAll | kRequired, kName), Text("url", kEdit | kRequired, kText64K),
                         Text("bio", kEdit, kLine), Json("priority", kEdit | kRequired, CheckPriority),
                         Id("user_id", kEdit | kRequired | kRequiredInPatch)};
  applications.embedded = {{"user", "user_id", "users"}};
  return applications;
}

Resource Tokens() {
  Resource tokens{"personal-access-tokens", "personal_access_token", {}};
  tokens.fields = {Text("name", kInCreate | kRequired, kName),
                   Text("bio", kEdit, kLine),
                   Text("token", kShownOnce, kName),
                   Json("scopes", kEdit, CheckTokenScopes, R"(["job","cluster"])"),
                   OneOf("state", kInPatch | kAsFilter, kStates, "active"),
                   Time("expired_at", kEdit | kRequired),
                   Number("user_id", kAsFilter, 0, INT64_MAX)};
  tokens.embedded = {{"user", "user_id", "users"}};
  return tokens;
}

Resource Jobs() {
  Resource jobs{"jobs", "job", {}};
  jobs.fields = {Text("task_id", 0, kName),
                 Text("bio", kInPatch, kLine),
                 Text("type", kAsFilter, kName),
                 OneOf("state", kAsFilter, {"PENDING", "RECEIVED", "STARTED", "RETRY", "SUCCESS", "FAILURE"}),
                 Json("args", 0, nullptr),
                 Json("result", 0, nullptr),
                 Json("task_result", kHidden, nullptr),
                 Number("user_id", kInPatch | kAsFilter, 0, INT64_MAX)};
  jobs.embedded = {{"user", "user_id", "users"}};
  jobs.nulls = {"seed_peer_clusters", "scheduler_clusters"};
  jobs.newest_first = true;
  jobs.before_delete = BeforeDeleteJob;
  return jobs;
}

Resource Audits() {
  Resource audits{"audits", "audit", {}};
  audits.fields = {OneOf("actor_type", kAsFilter, {"UNKNOWN", "USER", "PAT"}),
                   Text("actor_name", kAsFilter, kName),
                   OneOf("event_type", kAsFilter, {"API"}),
                   Text("operation", kAsFilter, kName),
                   Time("operated_at", 0),
                   OneOf("state", kAsFilter, {"SUCCESS", "FAILURE"}),
                   Text("path", kAsFilter, kLine),
                   Number("status_code", kAsFilter, 0, 999),
                   Json("detail", 0, nullptr)};
  audits.newest_first = true;
  return audits;
}

}  // namespace

const std::vector<Resource>& Resources() {
  static const std::vector<Resource> resources = {
      Users(),     Oauth(), SchedulerClusters(), Schedulers(),   SeedPeerClusters(),
      SeedPeers(), Peers(), Configs(),           Applications(), Tokens(),
      Jobs(),      Audits()};
  return resources;
}

}  // namespace dragonfly::manager
