// SPDX-License-Identifier: Apache-2.0
#include "manager/resource.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "absl/strings/str_join.h"
#include "base/status.h"
#include "base/text.h"
#include "manager/json_body.h"

namespace dragonfly::manager {
namespace {

namespace asio = boost::asio;
using json = nlohmann::ordered_json;

constexpr size_t kIdsPerQuery = 500;

absl::Status RecordNotFound() { return absl::NotFoundError("record not found"); }

absl::Status Violation(const char* field, std::string_view tag) {
  return absl::InvalidArgumentError(
      StrCat("Key: '", field, "' Error:Field validation for '", field, "' failed on the '", tag, "' tag"));
}

absl::Status CheckField(const Field& field, const db::Value& value) {
  if (const auto* const text = std::get_if<std::string>(&value)) {
    if (!field.one_of.empty() && std::find(field.one_of.begin(), field.one_of.end(), *text) == field.one_of.end()) {
      return Violation(field.name, "oneof");
    }
    if (field.kind == FieldKind::kText && field.max != INT64_MAX && text->size() > static_cast<size_t>(field.max)) {
      return Violation(field.name, "max");
    }
    if (field.check != nullptr) {
      if (const auto wrong = field.check(*text)) return absl::InvalidArgumentError(StrCat(field.name, ": ", *wrong));
    }
  }
  if (const auto* const number = std::get_if<int64_t>(&value)) {
    if (*number < field.min) return Violation(field.name, "gte");
    if (*number > field.max) return Violation(field.name, "lte");
  }
  return absl::OkStatus();
}

bool IsZero(const db::Value& value) {
  if (const auto* const text = std::get_if<std::string>(&value)) return text->empty();
  if (const auto* const number = std::get_if<int64_t>(&value)) return *number == 0;
  return true;
}

absl::StatusOr<db::Value> FromBody(const Field& field, const nlohmann::json& value) {
  db::Value result;
  switch (field.kind) {
    case FieldKind::kText: {
      DF_ASSIGN_OR_RETURN(result, TextOf(field.name, value));
      break;
    }
    case FieldKind::kInt: {
      DF_ASSIGN_OR_RETURN(result, NumberOf(field.name, value));
      break;
    }
    case FieldKind::kBool:
      if (!value.is_boolean()) return absl::InvalidArgumentError(StrCat(field.name, ": is not true or false"));
      result = int64_t{value.get<bool>() ? 1 : 0};
      break;
    case FieldKind::kTime: {
      DF_ASSIGN_OR_RETURN(const std::string text, TextOf(field.name, value));
      absl::Time time;
      if (!ParseTimeOf(text, &time)) {
        return absl::InvalidArgumentError(StrCat(field.name, ": ", Quoted(text), " is no time as of RFC 3339"));
      }
      result = db::TimeText(time);
      break;
    }
    case FieldKind::kJson: {
      if (!value.is_object() && !value.is_array()) {
        return absl::InvalidArgumentError(StrCat(field.name, ": is no object or list"));
      }
      result = DumpJson(value);
      break;
    }
  }
  DF_RETURN_IF_ERROR(CheckField(field, result));
  return result;
}

absl::StatusOr<db::Value> FromQuery(const Field& field, const std::string& text) {
  db::Value result = text;
  if (field.kind == FieldKind::kInt) {
    const auto number = ParseDecimal<int64_t>(text);
    if (!number.has_value()) return absl::InvalidArgumentError(StrCat(field.name, ": ", Quoted(text), " is no number"));
    result = *number;
  } else {
    DF_RETURN_IF_ERROR(CheckText(field.name, text));
  }
  if (!field.one_of.empty() && std::find(field.one_of.begin(), field.one_of.end(), text) == field.one_of.end()) {
    return Violation(field.name, "oneof");
  }
  return result;
}

std::string TimeOf(const db::Row& row, size_t column) {
  const auto time = row.Time(column);
  return time.has_value() ? absl::FormatTime("%Y-%m-%dT%H:%M:%E*SZ", *time, absl::UTCTimeZone())
                          : "0001-01-01T00:00:00Z";
}

constexpr const char* kBaseColumns[] = {"id", "created_at", "updated_at", "is_del"};
constexpr size_t kBaseCount = 4;

std::vector<std::string> ColumnsOf(const Resource& resource) {
  std::vector<std::string> columns(std::begin(kBaseColumns), std::end(kBaseColumns));
  for (const Field& field : resource.fields) columns.emplace_back(field.name);
  return columns;
}

json Show(const Resource& resource, const db::Row& row, bool created) {
  json object = {
      {"id", row.Int(0)}, {"created_at", TimeOf(row, 1)}, {"updated_at", TimeOf(row, 2)}, {"is_del", row.Int(3)}};
  for (size_t i = 0; i < resource.fields.size(); ++i) {
    const Field& field = resource.fields[i];
    const size_t column = kBaseCount + i;
    if ((field.use & kHidden) != 0) continue;
    if ((field.use & kShownOnce) != 0 && !created) {
      object[field.name] = "";
      continue;
    }
    switch (field.kind) {
      case FieldKind::kText:
        object[field.name] = row.Text(column);
        break;
      case FieldKind::kInt:
        object[field.name] = row.Int(column);
        break;
      case FieldKind::kBool:
        object[field.name] = row.Bool(column);
        break;
      case FieldKind::kTime:
        object[field.name] = TimeOf(row, column);
        break;
      case FieldKind::kJson:
        object[field.name] = json::parse(row.IsNull(column) ? "null" : row.Text(column), nullptr, false);
        if (object[field.name].is_discarded()) object[field.name] = nullptr;
        break;
    }
  }
  for (const char* const name : resource.nulls) object[name] = nullptr;
  return object;
}

std::string Dump(const json& value) { return value.dump(-1, ' ', false, json::error_handler_t::replace); }

// The rows of `resource` with these ids.
absl::StatusOr<std::map<int64_t, json>> ShowByIds(db::Connection& connection, const Resource& resource,
                                                  const std::set<int64_t>& ids) {
  std::map<int64_t, json> shown;
  std::vector<int64_t> all(ids.begin(), ids.end());
  for (size_t begin = 0; begin < all.size(); begin += kIdsPerQuery) {
    const size_t count = std::min(kIdsPerQuery, all.size() - begin);
    const std::vector<std::string> marks(count, "?");
    db::Values values(all.begin() + static_cast<std::ptrdiff_t>(begin),
                      all.begin() + static_cast<std::ptrdiff_t>(begin + count));
    DF_ASSIGN_OR_RETURN(
        const db::Rows rows,
        connection.Select(
            ColumnsOf(resource),
            StrCat("FROM ", resource.table, " WHERE is_del = 0 AND id IN (", absl::StrJoin(marks, ", "), ")"), values));
    for (const db::Row& row : rows) shown.emplace(row.Int(0), Show(resource, row, false));
  }
  return shown;
}

absl::Status Embed(db::Connection& connection, const Resource& resource, json& rows) {
  for (const Embedded& embedded : resource.embedded) {
    const Resource* const other = FindResource(embedded.of);
    std::set<int64_t> ids;
    for (const json& row : rows) ids.insert(row.at(embedded.column).get<int64_t>());
    std::map<int64_t, json> shown;
    DF_ASSIGN_OR_RETURN(shown, ShowByIds(connection, *other, ids));
    for (json& row : rows) {
      const auto found = shown.find(row.at(embedded.column).get<int64_t>());
      row[embedded.name] = found == shown.end() ? json(nullptr) : found->second;
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<json> FindRow(db::Connection& connection, const Resource& resource, int64_t id, bool created) {
  DF_ASSIGN_OR_RETURN(
      const db::Rows rows,
      connection.Select(ColumnsOf(resource), StrCat("FROM ", resource.table, " WHERE id = ? AND is_del = 0"), {id}));
  if (rows.empty()) return RecordNotFound();
  json shown = json::array();
  shown.push_back(Show(resource, rows.front(), created));
  DF_RETURN_IF_ERROR(Embed(connection, resource, shown));
  return shown.front();
}

using Assignments = std::vector<std::pair<const char*, db::Value>>;

absl::StatusOr<Assignments> ForCreate(const Resource& resource, const nlohmann::json& body) {
  Assignments assignments;
  for (const Field& field : resource.fields) {
    db::Value value;
    const nlohmann::json* const given = (field.use & kInCreate) != 0 ? FindKey(body, field.name) : nullptr;
    if (given != nullptr) {
      DF_ASSIGN_OR_RETURN(value, FromBody(field, *given));
    }
    const bool missing = given == nullptr || (IsZero(value) && field.min > 0);
    if (missing && (field.use & kRequired) != 0) return Violation(field.name, "required");
    if ((field.use & kRequired) != 0 && field.kind == FieldKind::kText && IsZero(value)) {
      return Violation(field.name, "required");
    }
    if (given == nullptr) {
      value = field.otherwise;
      if (field.kind == FieldKind::kInt || field.kind == FieldKind::kBool) value = int64_t{0};
      if (field.kind == FieldKind::kTime) value = db::Null();
      if (field.kind == FieldKind::kJson && field.otherwise.empty()) value = std::string("{}");
    }
    assignments.emplace_back(field.name, std::move(value));
  }
  return assignments;
}

absl::StatusOr<Assignments> ForPatch(const Resource& resource, const nlohmann::json& body) {
  Assignments assignments;
  for (const Field& field : resource.fields) {
    if ((field.use & kInPatch) == 0) continue;
    const nlohmann::json* const given = FindKey(body, field.name);
    if (given == nullptr) {
      if ((field.use & kRequiredInPatch) != 0) return Violation(field.name, "required");
      continue;
    }
    DF_ASSIGN_OR_RETURN(db::Value value, FromBody(field, *given));
    assignments.emplace_back(field.name, std::move(value));
  }
  return assignments;
}

absl::StatusOr<int64_t> InsertRow(db::Connection& connection, const Resource& resource,
                                  const Assignments& assignments) {
  const std::string now = db::TimeText(absl::Now());
  std::string columns = "created_at, updated_at, is_del";
  std::string marks = "?, ?, 0";
  db::Values values = {now, now};
  for (const auto& [column, value] : assignments) {
    columns += StrCat(", ", column);
    marks += ", ?";
    values.push_back(value);
  }
  return connection.Insert(StrCat("INSERT INTO ", resource.table, " (", columns, ") VALUES (", marks, ")"), values);
}

absl::Status UpdateRow(db::Connection& connection, const Resource& resource, int64_t id,
                       const Assignments& assignments) {
  std::string set = "updated_at = ?";
  db::Values values = {db::TimeText(absl::Now())};
  for (const auto& [column, value] : assignments) {
    set += StrCat(", ", column, " = ?");
    values.push_back(value);
  }
  values.emplace_back(id);
  return connection.Execute(StrCat("UPDATE ", resource.table, " SET ", set, " WHERE id = ? AND is_del = 0"), values)
      .status();
}

struct Listing {
  std::string body;
  int64_t total = 0;
};

// Of a value that is compared, as a part of a key.
std::string KeyOf(const db::Value& value) {
  if (const auto* const text = std::get_if<std::string>(&value)) return StrCat(text->size(), ":", *text);
  if (const auto* const number = std::get_if<int64_t>(&value)) return std::to_string(*number);
  return "";
}

absl::StatusOr<Listing> ListRows(db::Connection& connection, const Resource& resource, const Assignments& filters,
                                 const Page& page, RowCounts& counts) {
  std::string where = " WHERE is_del = 0";
  db::Values values;
  std::string key = resource.table;
  for (const auto& [column, value] : filters) {
    where += StrCat(" AND ", column, " = ?");
    key += StrCat(" ", column, "=", KeyOf(value));
    values.push_back(value);
  }
  const int64_t offset = (page.page - 1) * page.per_page;
  db::Values paged = values;
  paged.emplace_back(page.per_page);
  paged.emplace_back(offset);
  const char* const order = resource.newest_first ? " ORDER BY created_at DESC, id DESC" : " ORDER BY id";
  DF_ASSIGN_OR_RETURN(const db::Rows rows,
                      connection.Select(ColumnsOf(resource),
                                        StrCat("FROM ", resource.table, where, order, " LIMIT ? OFFSET ?"), paged));
  Listing listing;
  const TimePoint now = Clock::now();
  const auto shown_rows = static_cast<int64_t>(rows.size());
  if (shown_rows < page.per_page && (shown_rows > 0 || offset == 0)) {
    // The last page tells how many there are.
    listing.total = offset + shown_rows;
  } else if (const auto known = counts.Find(key, now)) {
    listing.total = *known;
  } else {
    DF_ASSIGN_OR_RETURN(const db::Rows count,
                        connection.Select({"COUNT(*)"}, StrCat("FROM ", resource.table, where), values));
    listing.total = count.front().Int(0);
    counts.Keep(key, listing.total, now);
  }
  json shown = json::array();
  for (const db::Row& row : rows) shown.push_back(Show(resource, row, false));
  DF_RETURN_IF_ERROR(Embed(connection, resource, shown));
  listing.body = Dump(shown);
  return listing;
}

asio::awaitable<RestAnswer> List(const Resource& resource, RestContext& context, RestCall call) {
  DF_CO_ASSIGN_OR_RETURN(const Page page, PageOf(call));
  Assignments filters;
  for (const Field& field : resource.fields) {
    const auto given = call.query.find(field.name);
    if ((field.use & kAsFilter) == 0 || given == call.query.end() || given->second.empty()) continue;
    DF_CO_ASSIGN_OR_RETURN(db::Value value, FromQuery(field, given->second));
    filters.emplace_back(field.name, std::move(value));
  }
  const db::Database::Work<Listing> list = [&resource, filters, page,
                                            &counts = context.counts](db::Connection& connection) {
    return ListRows(connection, resource, filters, page, counts);
  };
  DF_CO_ASSIGN_OR_RETURN(Listing listing,
                         co_await context.database.Run<Listing>(list, Clock::now() + std::chrono::seconds(30)));
  http::Response response = JsonResponse(std::move(listing.body));
  AddLinks(call, page, listing.total, response);
  co_return response;
}

asio::awaitable<RestAnswer> Get(const Resource& resource, RestContext& context, RestCall call) {
  DF_CO_ASSIGN_OR_RETURN(const int64_t id, call.Id());
  const db::Database::Work<std::string> get = [&resource, id](db::Connection& connection) {
    return ShowRow(connection, resource, id);
  };
  DF_CO_ASSIGN_OR_RETURN(std::string body,
                         co_await context.database.Run<std::string>(get, Clock::now() + std::chrono::seconds(30)));
  co_return JsonResponse(std::move(body));
}

asio::awaitable<RestAnswer> Create(const Resource& resource, RestContext& context, RestCall call) {
  DF_CO_ASSIGN_OR_RETURN(nlohmann::json body, ParseBody(call.body));
  DF_CO_ASSIGN_OR_RETURN(Assignments assignments, ForCreate(resource, body));
  const db::Database::Work<std::string> create =
      [&resource, assignments](db::Connection& connection) -> absl::StatusOr<std::string> {
    DF_ASSIGN_OR_RETURN(const int64_t id, InsertRow(connection, resource, assignments));
    if (resource.after_write != nullptr) DF_RETURN_IF_ERROR(resource.after_write(connection, id));
    DF_ASSIGN_OR_RETURN(const json shown, FindRow(connection, resource, id, true));
    return Dump(shown);
  };
  DF_CO_ASSIGN_OR_RETURN(std::string shown, co_await context.Do<std::string>(create));
  co_return JsonResponse(std::move(shown));
}

asio::awaitable<RestAnswer> Patch(const Resource& resource, RestContext& context, RestCall call) {
  DF_CO_ASSIGN_OR_RETURN(const int64_t id, call.Id());
  DF_CO_ASSIGN_OR_RETURN(nlohmann::json body, ParseBody(call.body));
  DF_CO_ASSIGN_OR_RETURN(Assignments assignments, ForPatch(resource, body));
  const db::Database::Work<std::string> patch =
      [&resource, id, assignments](db::Connection& connection) -> absl::StatusOr<std::string> {
    // Whether the row is there: an update that changes nothing says 0 on MySQL, too.
    DF_RETURN_IF_ERROR(ShowRow(connection, resource, id).status());
    DF_RETURN_IF_ERROR(UpdateRow(connection, resource, id, assignments));
    if (resource.after_write != nullptr) DF_RETURN_IF_ERROR(resource.after_write(connection, id));
    return ShowRow(connection, resource, id);
  };
  DF_CO_ASSIGN_OR_RETURN(std::string shown, co_await context.Do<std::string>(patch));
  co_return JsonResponse(std::move(shown));
}

asio::awaitable<RestAnswer> Delete(const Resource& resource, RestContext& context, RestCall call) {
  DF_CO_ASSIGN_OR_RETURN(const int64_t id, call.Id());
  const db::Database::Work<bool> remove = [&resource, id](db::Connection& connection) -> absl::StatusOr<bool> {
    DF_RETURN_IF_ERROR(ShowRow(connection, resource, id).status());
    if (resource.before_delete != nullptr) DF_RETURN_IF_ERROR(resource.before_delete(connection, id));
    DF_RETURN_IF_ERROR(connection.Execute(StrCat("DELETE FROM ", resource.table, " WHERE id = ?"), {id}).status());
    return true;
  };
  DF_CO_RETURN_IF_ERROR((co_await context.Do<bool>(remove)).status());
  co_return EmptyResponse();
}

}  // namespace

const Resource* FindResource(std::string_view path) {
  for (const Resource& resource : Resources()) {
    if (resource.path == path) return &resource;
  }
  return nullptr;
}

absl::StatusOr<std::string> ShowRow(db::Connection& connection, const Resource& resource, int64_t id) {
  DF_ASSIGN_OR_RETURN(const json shown, FindRow(connection, resource, id, false));
  return Dump(shown);
}

RestHandler ListHandler(const Resource& resource) {
  return [&resource](RestContext& context, RestCall call) { return List(resource, context, std::move(call)); };
}
RestHandler GetHandler(const Resource& resource) {
  return [&resource](RestContext& context, RestCall call) { return Get(resource, context, std::move(call)); };
}
RestHandler CreateHandler(const Resource& resource) {
  return [&resource](RestContext& context, RestCall call) { return Create(resource, context, std::move(call)); };
}
RestHandler PatchHandler(const Resource& resource) {
  return [&resource](RestContext& context, RestCall call) { return Patch(resource, context, std::move(call)); };
}
RestHandler DeleteHandler(const Resource& resource) {
  return [&resource](RestContext& context, RestCall call) { return Delete(resource, context, std::move(call)); };
}

}  // namespace dragonfly::manager
