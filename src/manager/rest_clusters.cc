// SPDX-License-Identifier: Apache-2.0
// Clusters as the console has them: a scheduler cluster and the seed peer cluster that is linked to it. Behaviour:
// dragonfly v2.3.0, manager/service/cluster.go.
#include <nlohmann/json.hpp>
#include <utility>

#include "base/status.h"
#include "base/text.h"
#include "manager/cluster_config.h"
#include "manager/json_body.h"
#include "manager/resource.h"
#include "manager/rest_handlers.h"

namespace dragonfly::manager {
namespace {

namespace asio = boost::asio;
using nlohmann::json;
using OrderedJson = nlohmann::ordered_json;
using Check = std::optional<std::string> (*)(const std::string&);

constexpr size_t kNameMax = 256;
constexpr size_t kLineMax = 1024;

// What a request says; absent where it says nothing.
struct ClusterInput {
  std::optional<std::string> name, bio, scopes, scheduler_config, seed_peer_config, peer_config;
  std::optional<bool> is_default;
};

absl::StatusOr<std::optional<std::string>> TextIn(const json& body, const char* key, size_t max) {
  const json* const value = FindKey(body, key);
  if (value == nullptr) return std::optional<std::string>();
  DF_ASSIGN_OR_RETURN(std::string text, TextOf(key, *value));
  if (text.size() > max) return absl::InvalidArgumentError(StrCat(key, ": is longer than ", max, " bytes"));
  return std::optional<std::string>(std::move(text));
}

absl::StatusOr<std::optional<std::string>> ObjectIn(const json& body, const char* key, Check check) {
  const json* const value = FindKey(body, key);
  if (value == nullptr) return std::optional<std::string>();
  std::string text = DumpJson(*value);
  if (const auto wrong = check(text)) return absl::InvalidArgumentError(StrCat(key, ": ", *wrong));
  return std::optional<std::string>(std::move(text));
}

absl::StatusOr<ClusterInput> ReadInput(const std::string& text) {
  DF_ASSIGN_OR_RETURN(const json body, ParseBody(text));
  ClusterInput input;
  DF_ASSIGN_OR_RETURN(input.name, TextIn(body, "name", kNameMax));
  if (input.name.has_value() && input.name->empty()) return absl::InvalidArgumentError("name: must not be empty");
  DF_ASSIGN_OR_RETURN(input.bio, TextIn(body, "bio", kLineMax));
  DF_ASSIGN_OR_RETURN(input.scopes, ObjectIn(body, "scopes", CheckScopes));
  DF_ASSIGN_OR_RETURN(input.scheduler_config, ObjectIn(body, "scheduler_cluster_config", CheckSchedulerClusterConfig));
  DF_ASSIGN_OR_RETURN(input.seed_peer_config, ObjectIn(body, "seed_peer_cluster_config", CheckSeedPeerClusterConfig));
  DF_ASSIGN_OR_RETURN(input.peer_config, ObjectIn(body, "peer_cluster_config", CheckPeerClusterConfig));
  if (const json* const value = FindKey(body, "is_default")) {
    if (!value->is_boolean()) return absl::InvalidArgumentError("is_default: is not true or false");
    input.is_default = value->get<bool>();
  }
  return input;
}

OrderedJson Parsed(const std::string& text) {
  OrderedJson value = OrderedJson::parse(text.empty() ? "null" : text, nullptr, /*allow_exceptions=*/false);
  return value.is_discarded() ? OrderedJson(nullptr) : value;
}

std::string Time(const db::Row& row, size_t column) {
  const auto time = row.Time(column);
  return time.has_value() ? absl::FormatTime("%Y-%m-%dT%H:%M:%E*SZ", *time, absl::UTCTimeZone())
                          : "0001-01-01T00:00:00Z";
}

const std::vector<std::string> kColumns = {"s.id",         "s.name",       "s.bio",       "s.scopes",
                                           "p.id",         "s.config",     "p.config",    "s.client_config",
                                           "s.created_at", "s.updated_at", "s.is_default"};
// Of several seed peer clusters the first counts, and one without any is shown all the same.
constexpr char kFrom[] =
    "FROM scheduler_cluster s LEFT JOIN seed_peer_cluster p ON p.id = (SELECT MIN(l.seed_peer_cluster_id) FROM "
    "seed_peer_cluster_scheduler_cluster l JOIN seed_peer_cluster c ON c.id = l.seed_peer_cluster_id "
    "WHERE l.scheduler_cluster_id = s.id AND c.is_del = 0)";

OrderedJson Show(const db::Row& row) {
  return {{"id", row.Int(0)},
          {"name", row.Text(1)},
          {"bio", row.Text(2)},
          {"scopes", Parsed(row.Text(3))},
          {"scheduler_cluster_id", row.Int(0)},
          {"seed_peer_cluster_id", row.Int(4)},
          {"scheduler_cluster_config", Parsed(row.Text(5))},
          {"seed_peer_cluster_config", Parsed(row.Text(6))},
          {"peer_cluster_config", Parsed(row.Text(7))},
          {"created_at", Time(row, 8)},
          {"updated_at", Time(row, 9)},
          {"is_default", row.Bool(10)}};
}

std::string Dump(const OrderedJson& value) { return value.dump(-1, ' ', false, OrderedJson::error_handler_t::replace); }

struct Found {
  std::string body;
  int64_t seed_peer_cluster = 0;
};

absl::StatusOr<Found> Find(db::Connection& connection, int64_t id) {
  DF_ASSIGN_OR_RETURN(const db::Rows rows,
                      connection.Select(kColumns, StrCat(kFrom, " WHERE s.id = ? AND s.is_del = 0"), {id}));
  if (rows.empty()) return absl::NotFoundError("record not found");
  return Found{Dump(Show(rows.front())), rows.front().Int(4)};
}

absl::StatusOr<std::string> Create(db::Connection& connection, const ClusterInput& input) {
  const std::string now = db::TimeText(absl::Now());
  const std::string bio = input.bio.value_or("");
  DF_ASSIGN_OR_RETURN(
      const int64_t scheduler_cluster,
      connection.Insert(
          "INSERT INTO scheduler_cluster (created_at, updated_at, is_del, name, bio, config, "
          "client_config, seed_client_config, scopes, is_default) VALUES (?, ?, 0, ?, ?, ?, ?, ?, ?, ?)",
          {now, now, *input.name, bio, *input.scheduler_config, *input.peer_config, *input.seed_peer_config,
           input.scopes.value_or("{}"), int64_t{input.is_default.value_or(false) ? 1 : 0}}));
  DF_ASSIGN_OR_RETURN(const int64_t seed_peer_cluster,
                      connection.Insert("INSERT INTO seed_peer_cluster (created_at, updated_at, is_del, name, bio, "
                                        "config) VALUES (?, ?, 0, ?, ?, ?)",
                                        {now, now, *input.name, bio, *input.seed_peer_config}));
  DF_RETURN_IF_ERROR(connection
                         .Execute("INSERT INTO seed_peer_cluster_scheduler_cluster (seed_peer_cluster_id, "
                                  "scheduler_cluster_id) VALUES (?, ?)",
                                  {seed_peer_cluster, scheduler_cluster})
                         .status());
  DF_ASSIGN_OR_RETURN(Found found, Find(connection, scheduler_cluster));
  return std::move(found.body);
}

// "UPDATE table SET ..." of what is given.
absl::Status Update(db::Connection& connection, const char* table, int64_t id,
                    const std::vector<std::pair<const char*, std::optional<db::Value>>>& columns) {
  std::string set = "updated_at = ?";
  db::Values values = {db::TimeText(absl::Now())};
  for (const auto& [column, value] : columns) {
    if (!value.has_value()) continue;
    set += StrCat(", ", column, " = ?");
    values.push_back(*value);
  }
  values.emplace_back(id);
  return connection.Execute(StrCat("UPDATE ", table, " SET ", set, " WHERE id = ?"), values).status();
}

std::optional<db::Value> AsValue(const std::optional<std::string>& text) {
  return text.has_value() ? std::optional<db::Value>(*text) : std::nullopt;
}

absl::StatusOr<std::string> Patch(db::Connection& connection, int64_t id, const ClusterInput& input) {
  DF_ASSIGN_OR_RETURN(const Found before, Find(connection, id));
  std::optional<db::Value> is_default;
  if (input.is_default.has_value()) is_default = int64_t{*input.is_default ? 1 : 0};
  DF_RETURN_IF_ERROR(Update(connection, "scheduler_cluster", id,
                            {{"name", AsValue(input.name)},
                             {"bio", AsValue(input.bio)},
                             {"config", AsValue(input.scheduler_config)},
                             {"client_config", AsValue(input.peer_config)},
                             {"seed_client_config", AsValue(input.seed_peer_config)},
                             {"scopes", AsValue(input.scopes)},
                             {"is_default", is_default}}));
  if (before.seed_peer_cluster != 0) {
    DF_RETURN_IF_ERROR(Update(
        connection, "seed_peer_cluster", before.seed_peer_cluster,
        {{"name", AsValue(input.name)}, {"bio", AsValue(input.bio)}, {"config", AsValue(input.seed_peer_config)}}));
  }
  DF_ASSIGN_OR_RETURN(Found after, Find(connection, id));
  return std::move(after.body);
}

absl::StatusOr<bool> Delete(db::Connection& connection, int64_t id) {
  DF_ASSIGN_OR_RETURN(const Found found, Find(connection, id));
  const Resource& scheduler_clusters = *FindResource("scheduler-clusters");
  const Resource& seed_peer_clusters = *FindResource("seed-peer-clusters");
  DF_ASSIGN_OR_RETURN(const db::Rows sharers,
                      connection.Select({"l.scheduler_cluster_id"},
                                        "FROM seed_peer_cluster_scheduler_cluster l JOIN scheduler_cluster s ON s.id = "
                                        "l.scheduler_cluster_id WHERE l.seed_peer_cluster_id = ? AND s.id <> ? AND "
                                        "s.is_del = 0 LIMIT 1",
                                        {found.seed_peer_cluster, id}));
  // Seed peers that serve another cluster as well stay with that.
  if (found.seed_peer_cluster != 0 && sharers.empty()) {
    DF_RETURN_IF_ERROR(seed_peer_clusters.before_delete(connection, found.seed_peer_cluster));
    DF_RETURN_IF_ERROR(
        connection.Execute("DELETE FROM seed_peer_cluster WHERE id = ?", {found.seed_peer_cluster}).status());
  }
  DF_RETURN_IF_ERROR(scheduler_clusters.before_delete(connection, id));
  DF_RETURN_IF_ERROR(connection.Execute("DELETE FROM scheduler_cluster WHERE id = ?", {id}).status());
  return true;
}

// Sets `column` of the row `id` of `resource`, when both it and its new cluster exist.
asio::awaitable<RestAnswer> Move(RestContext& context, const char* resource, int64_t id, const char* clusters,
                                 const char* column, int64_t cluster) {
  const Resource& moved = *FindResource(resource);
  const Resource& target = *FindResource(clusters);
  const db::Database::Work<bool> move = [&moved, &target, id, column,
                                         cluster](db::Connection& connection) -> absl::StatusOr<bool> {
    DF_RETURN_IF_ERROR(ShowRow(connection, target, cluster).status());
    DF_RETURN_IF_ERROR(ShowRow(connection, moved, id).status());
    DF_RETURN_IF_ERROR(Update(connection, moved.table, id, {{column, db::Value(cluster)}}));
    return true;
  };
  DF_CO_RETURN_IF_ERROR((co_await context.Do<bool>(move)).status());
  co_return EmptyResponse();
}

}  // namespace

asio::awaitable<RestAnswer> CreateCluster(RestContext& context, RestCall call) {
  DF_CO_ASSIGN_OR_RETURN(const ClusterInput input, ReadInput(call.body));
  for (const auto& [name, value] : {std::pair{"name", &input.name},
                                    {"scheduler_cluster_config", &input.scheduler_config},
                                    {"seed_peer_cluster_config", &input.seed_peer_config},
                                    {"peer_cluster_config", &input.peer_config}}) {
    if (!value->has_value()) {
      co_return absl::InvalidArgumentError(
          StrCat("Key: '", name, "' Error:Field validation for '", name, "' failed on the 'required' tag"));
    }
  }
  const db::Database::Work<std::string> create = [input](db::Connection& connection) {
    return Create(connection, input);
  };
  DF_CO_ASSIGN_OR_RETURN(std::string body, co_await context.Do<std::string>(create));
  co_return JsonResponse(std::move(body));
}

asio::awaitable<RestAnswer> ListClusters(RestContext& context, RestCall call) {
  struct Listing {
    std::string body;
    int64_t total = 0;
  };
  DF_CO_ASSIGN_OR_RETURN(const Page page, PageOf(call));
  const auto given = call.query.find("name");
  const std::string name = given == call.query.end() ? "" : given->second;
  DF_CO_RETURN_IF_ERROR(CheckText("name", name));
  const db::Database::Work<Listing> list = [name, page](db::Connection& connection) -> absl::StatusOr<Listing> {
    db::Values values;
    std::string where = " WHERE s.is_del = 0";
    if (!name.empty()) {
      where += " AND s.name = ?";
      values.emplace_back(name);
    }
    Listing listing;
    DF_ASSIGN_OR_RETURN(const db::Rows count,
                        connection.Select({"COUNT(*)"}, StrCat("FROM scheduler_cluster s", where), values));
    listing.total = count.front().Int(0);
    values.emplace_back(page.per_page);
    values.emplace_back((page.page - 1) * page.per_page);
    DF_ASSIGN_OR_RETURN(const db::Rows rows,
                        connection.Select(kColumns, StrCat(kFrom, where, " ORDER BY s.id LIMIT ? OFFSET ?"), values));
    OrderedJson clusters = OrderedJson::array();
    for (const db::Row& row : rows) clusters.push_back(Show(row));
    listing.body = Dump(clusters);
    return listing;
  };
  DF_CO_ASSIGN_OR_RETURN(Listing listing,
                         co_await context.database.Run<Listing>(list, Clock::now() + std::chrono::seconds(30)));
  http::Response response = JsonResponse(std::move(listing.body));
  AddLinks(call, page, listing.total, response);
  co_return response;
}

asio::awaitable<RestAnswer> GetCluster(RestContext& context, RestCall call) {
  DF_CO_ASSIGN_OR_RETURN(const int64_t id, call.Id());
  const db::Database::Work<Found> find = [id](db::Connection& connection) { return Find(connection, id); };
  DF_CO_ASSIGN_OR_RETURN(Found found,
                         co_await context.database.Run<Found>(find, Clock::now() + std::chrono::seconds(30)));
  co_return JsonResponse(std::move(found.body));
}

asio::awaitable<RestAnswer> PatchCluster(RestContext& context, RestCall call) {
  DF_CO_ASSIGN_OR_RETURN(const int64_t id, call.Id());
  DF_CO_ASSIGN_OR_RETURN(const ClusterInput input, ReadInput(call.body));
  const db::Database::Work<std::string> patch = [id, input](db::Connection& connection) {
    return Patch(connection, id, input);
  };
  DF_CO_ASSIGN_OR_RETURN(std::string body, co_await context.Do<std::string>(patch));
  co_return JsonResponse(std::move(body));
}

asio::awaitable<RestAnswer> DeleteCluster(RestContext& context, RestCall call) {
  DF_CO_ASSIGN_OR_RETURN(const int64_t id, call.Id());
  const db::Database::Work<bool> remove = [id](db::Connection& connection) { return Delete(connection, id); };
  DF_CO_RETURN_IF_ERROR((co_await context.Do<bool>(remove)).status());
  co_return EmptyResponse();
}

asio::awaitable<RestAnswer> MoveScheduler(RestContext& context, RestCall call) {
  DF_CO_ASSIGN_OR_RETURN(const int64_t cluster, call.Id());
  DF_CO_ASSIGN_OR_RETURN(const int64_t scheduler, call.Id("scheduler_id"));
  co_return co_await Move(context, "schedulers", scheduler, "scheduler-clusters", "scheduler_cluster_id", cluster);
}

asio::awaitable<RestAnswer> MoveSeedPeer(RestContext& context, RestCall call) {
  DF_CO_ASSIGN_OR_RETURN(const int64_t cluster, call.Id());
  DF_CO_ASSIGN_OR_RETURN(const int64_t seed_peer, call.Id("seed_peer_id"));
  co_return co_await Move(context, "seed-peers", seed_peer, "seed-peer-clusters", "seed_peer_cluster_id", cluster);
}

asio::awaitable<RestAnswer> LinkSchedulerCluster(RestContext& context, RestCall call) {
  DF_CO_ASSIGN_OR_RETURN(const int64_t seed_peer_cluster, call.Id());
  DF_CO_ASSIGN_OR_RETURN(const int64_t scheduler_cluster, call.Id("scheduler_cluster_id"));
  const db::Database::Work<bool> link = [=](db::Connection& connection) -> absl::StatusOr<bool> {
    DF_RETURN_IF_ERROR(ShowRow(connection, *FindResource("seed-peer-clusters"), seed_peer_cluster).status());
    DF_RETURN_IF_ERROR(ShowRow(connection, *FindResource("scheduler-clusters"), scheduler_cluster).status());
    DF_RETURN_IF_ERROR(connection
                           .Execute("DELETE FROM seed_peer_cluster_scheduler_cluster WHERE scheduler_cluster_id = ?",
                                    {scheduler_cluster})
                           .status());
    DF_RETURN_IF_ERROR(connection
                           .Execute("INSERT INTO seed_peer_cluster_scheduler_cluster (seed_peer_cluster_id, "
                                    "scheduler_cluster_id) VALUES (?, ?)",
                                    {seed_peer_cluster, scheduler_cluster})
                           .status());
    return true;
  };
  DF_CO_RETURN_IF_ERROR((co_await context.Do<bool>(link)).status());
  co_return EmptyResponse();
}

asio::awaitable<RestAnswer> ListSchedulerFeatures(RestContext&, RestCall) {
  co_return JsonResponse(R"(["schedule","preheat"])");
}

}  // namespace dragonfly::manager
