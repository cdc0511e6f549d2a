// SPDX-License-Identifier: Apache-2.0
#include "db/driver.h"

#include <fcntl.h>
#include <soci/mysql/soci-mysql.h>
#include <soci/postgresql/soci-postgresql.h>
#include <soci/soci.h>
#include <soci/sqlite3/soci-sqlite3.h>

#include <algorithm>
#include <cerrno>
#include <exception>
#include <memory>
#include <unordered_map>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_join.h"
#include "base/status.h"
#include "base/text.h"
#include "base/unique_fd.h"
#include "db/statement_text.h"

namespace dragonfly::db {
namespace {

constexpr char kUniqueText[] = "a row with the same value exists";
constexpr char kRangeText[] = "a value does not fit its column";

// SQLSTATE: PostgreSQL 15, appendix A.
absl::Status FromPostgres(const soci::postgresql_soci_error& error) {
  const std::string state = error.sqlstate();
  std::string text = error.get_error_message();
  if (state == "23505") return absl::AlreadyExistsError(kUniqueText);
  if (state == "40001" || state == "40P01" || state == "55P03") return absl::AbortedError(text);
  if (state == "22001" || state == "22003" || state == "22008") return absl::OutOfRangeError(kRangeText);
  if (state == "57014") return absl::DeadlineExceededError(text);
  // 08: connections; 57P: the server shuts down; 53300: too many connections. The driver has none for a lost one.
  if (state.starts_with("08") || state.starts_with("57P") || state == "53300" || state.front() == ' ' ||
      error.get_error_category() == soci::soci_error::connection_error) {
    return absl::UnavailableError(text);
  }
  return absl::InternalError(text);
}

// Numbers: MariaDB 10.11, error codes; those from 2000 are the client's.
absl::Status FromMysql(const soci::mysql_soci_error& error) {
  std::string text = error.get_error_message();
  switch (error.err_num_) {
    case 1062:
      return absl::AlreadyExistsError(kUniqueText);
    case 1264:
    case 1292:
    case 1406:
      return absl::OutOfRangeError(kRangeText);
    case 1020:  // MariaDB from 11.6 on: changed since our snapshot
    case 1205:
    case 1213:
      return absl::AbortedError(text);
    case 1969:
    case 3024:
      return absl::DeadlineExceededError(text);
    case 1040:
    case 1047:  // a node of Galera outside of its cluster
    case 1053:
    case 1927:
    case 2002:
    case 2003:
    case 2006:
    case 2013:
    case 2055:
    case 4031:  // MySQL from 8.0.24 on: the connection lay idle for too long
      return absl::UnavailableError(text);
    default:
      return absl::InternalError(text);
  }
}

absl::Status FromSqlite(const soci::sqlite3_soci_error& error) {
  constexpr int kBusy = 5;
  constexpr int kLocked = 6;
  std::string text = error.get_error_message();
  const int code = error.result() & 0xff;
  if (text.find("UNIQUE constraint failed") != std::string::npos) return absl::AlreadyExistsError(kUniqueText);
  if (code == kBusy || code == kLocked || text.find("database is locked") != std::string::npos) {
    return absl::AbortedError(text);
  }
  return absl::InternalError(text);
}

// To be called in a catch clause.
absl::Status CurrentError() {
  try {
    throw;
  } catch (const soci::postgresql_soci_error& error) {
    return FromPostgres(error);
  } catch (const soci::mysql_soci_error& error) {
    return FromMysql(error);
  } catch (const soci::sqlite3_soci_error& error) {
    return FromSqlite(error);
  } catch (const soci::soci_error& error) {
    return absl::InternalError(error.get_error_message());
  } catch (const std::exception& error) {
    return absl::InternalError(error.what());
  }
}

class SociConnection final : public DriverConnection {
 public:
  // `prepares`: statements that read are prepared once and kept.
  SociConnection(Engine engine, bool prepares, const soci::connection_parameters& parameters)
      : engine_(engine), prepares_(prepares), session_(parameters) {}

  Engine engine() const override { return engine_; }
  bool broken() const override { return broken_; }
  size_t count() const override { return count_; }
  void ResetCount() override { count_ = 0; }

  absl::StatusOr<Rows> Select(const std::vector<std::string>& columns, std::string_view rest,
                              const Values& values) override {
    const std::string sql = StrCat("SELECT ", absl::StrJoin(columns, ", "), " ", rest);
    Rows rows;
    const absl::Status status = Guarded([&] {
      return prepares_ ? FetchPrepared(sql, values, columns.size(), rows) : Fetch(sql, values, columns.size(), rows);
    });
    if (!status.ok()) return status;
    return rows;
  }

  absl::StatusOr<int64_t> Execute(std::string_view sql, const Values& values) override {
    int64_t affected = 0;
    const absl::Status status = Guarded([&] {
      soci::statement statement(session_);
      Run(statement, sql, values);
      affected = statement.get_affected_rows();
      return absl::OkStatus();
    });
    if (!status.ok()) return status;
    return affected;
  }

  absl::StatusOr<int64_t> Insert(std::string_view sql, const Values& values) override {
    if (engine_ == Engine::kPostgres) {
      Rows rows;
      const absl::Status status = Guarded([&] { return Fetch(StrCat(sql, " RETURNING id"), values, 1, rows); });
      if (!status.ok()) return status;
      if (rows.size() != 1) return absl::InternalError("the INSERT has no id");
      return rows.front().Int(0);
    }
    DF_RETURN_IF_ERROR(Execute(sql, values).status());
    long long id = 0;
    const absl::Status status = Guarded([&] {
      if (session_.get_last_insert_id("", id)) return absl::OkStatus();
      return absl::InternalError("the INSERT has no id");
    });
    if (!status.ok()) return status;
    return id;
  }

 private:
  template <typename Body>
  absl::Status Guarded(Body body) {
    absl::Status status;
    try {
      status = body();
    } catch (...) {
      status = CurrentError();
    }
    if (status.ok()) ++count_;
    if (absl::IsUnavailable(status)) broken_ = true;
    return status;
  }

  // The parameters are referred to until the statement has run.
  struct Parameters {
    std::vector<long long> numbers;
    std::vector<soci::indicator> indicators;
  };

  void Bind(soci::statement& statement, const Values& values, Parameters& parameters) {
    static const std::string kNothing;
    parameters.numbers.reserve(values.size());
    parameters.indicators.reserve(values.size());
    for (const Value& value : values) {
      if (const auto* const number = std::get_if<int64_t>(&value)) {
        statement.exchange(soci::use(parameters.numbers.emplace_back(*number)));
      } else if (const auto* const real = std::get_if<double>(&value)) {
        statement.exchange(soci::use(*real));
      } else if (const auto* const text = std::get_if<std::string>(&value)) {
        statement.exchange(soci::use(*text));
      } else {
        statement.exchange(soci::use(kNothing, parameters.indicators.emplace_back(soci::i_null)));
      }
    }
  }

  void Run(soci::statement& statement, std::string_view sql, const Values& values) {
    Parameters parameters;
    Bind(statement, values, parameters);
    statement.alloc();
    statement.prepare(NameParameters(sql), soci::details::st_one_time_query);
    statement.define_and_bind();
    statement.execute(true);
  }

  // Every column is taken as text: that is how all engines can give all their types.
  struct Cells {
    explicit Cells(size_t columns) : texts(columns), indicators(columns, soci::i_ok) {}
    void Receive(soci::statement& statement) {
      for (size_t i = 0; i < texts.size(); ++i) statement.exchange(soci::into(texts[i], indicators[i]));
    }
    std::vector<std::string> texts;
    std::vector<soci::indicator> indicators;
  };

  static absl::Status ReadRows(soci::statement& statement, const Cells& cells, Rows& rows) {
    const size_t columns = cells.texts.size();
    size_t bytes = 0;
    for (bool found = statement.execute(true); found; found = statement.fetch()) {
      std::vector<std::optional<std::string>> row(columns);
      for (size_t i = 0; i < columns; ++i) {
        if (cells.indicators[i] == soci::i_null) continue;
        row[i] = cells.texts[i];
        bytes += cells.texts[i].size();
      }
      if (bytes > kResultMax) return absl::ResourceExhaustedError("the result is too large");
      rows.emplace_back(std::move(row));
    }
    return absl::OkStatus();
  }

  absl::Status Fetch(const std::string& sql, const Values& values, size_t columns, Rows& rows) {
    Cells cells(columns);
    soci::statement statement(session_);
    cells.Receive(statement);
    Parameters parameters;
    Bind(statement, values, parameters);
    statement.alloc();
    statement.prepare(NameParameters(sql), soci::details::st_one_time_query);
    statement.define_and_bind();
    return ReadRows(statement, cells, rows);
  }

  // The server parses and plans the statement when it comes for the first time.
  absl::Status FetchPrepared(const std::string& sql, const Values& values, size_t columns, Rows& rows) {
    // Out of the map while it runs, so that one that fails is not used again.
    auto node = prepared_.extract(sql);
    std::unique_ptr<soci::statement> statement = node.empty() ? nullptr : std::move(node.mapped());
    const bool fresh = statement == nullptr;
    if (fresh) {
      statement = std::make_unique<soci::statement>(session_);
      statement->alloc();
    }
    Cells cells(columns);
    cells.Receive(*statement);
    Parameters parameters;
    Bind(*statement, values, parameters);
    if (fresh) statement->prepare(NameParameters(sql), soci::details::st_repeatable_query);
    statement->define_and_bind();
    DF_RETURN_IF_ERROR(ReadRows(*statement, cells, rows));
    statement->bind_clean_up();
    // Lists of ids make as many statements as there are lengths.
    if (prepared_.size() >= kPreparedMax) prepared_.clear();
    prepared_.emplace(sql, std::move(statement));
    return absl::OkStatus();
  }

  static constexpr size_t kPreparedMax = 128;

  const Engine engine_;
  const bool prepares_;
  soci::session session_;
  std::unordered_map<std::string, std::unique_ptr<soci::statement>> prepared_;  // of session_
  bool broken_ = false;
  size_t count_ = 0;
};

// A value of SOCI's connection strings for MySQL.
std::string MysqlValue(std::string_view text) {
  std::string quoted = "'";
  for (const char c : text) {
    if (c == '\'' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return quoted + "'";
}

// Everything but letters and digits as %XX: a value that neither libpq nor SOCI, which looks for its own options in
// libpq's text, can take for something else.
std::string PercentEncoded(std::string_view text) {
  static constexpr char kDigits[] = "0123456789ABCDEF";
  std::string encoded;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (absl::ascii_isalnum(byte)) {
      encoded += c;
    } else {
      encoded += {'%', kDigits[byte >> 4], kDigits[byte & 15]};
    }
  }
  return encoded;
}

int64_t Seconds(std::chrono::milliseconds time) {
  return std::max<int64_t>(1, std::chrono::duration_cast<std::chrono::seconds>(time).count());
}

// https://www.postgresql.org/docs/15/libpq-connect.html#LIBPQ-CONNSTRING
std::string PostgresParameters(const DatabaseOptions& options) {
  const std::string session = StrCat("-c statement_timeout=", options.statement_timeout.count(),
                                     " -c timezone=UTC -c client_min_messages=warning");
  std::string text = StrCat("postgresql://", PercentEncoded(options.user), ":", PercentEncoded(options.password), "@/",
                            PercentEncoded(options.name), "?host=", PercentEncoded(options.host),
                            "&port=", options.port, "&connect_timeout=", Seconds(options.connect_timeout),
                            "&client_encoding=UTF8&options=", PercentEncoded(session));
  for (const auto& [key, value] : {std::pair{"sslmode", &options.tls_mode},
                                   {"sslrootcert", &options.ca_cert},
                                   {"sslcert", &options.cert},
                                   {"sslkey", &options.key}}) {
    if (!value->empty()) text += StrCat("&", key, "=", PercentEncoded(*value));
  }
  return text;
}

std::string MysqlParameters(const DatabaseOptions& options) {
  const int64_t limit = Seconds(options.statement_timeout) + 5;  // the server's own limit comes first
  std::string text =
      StrCat("port=", options.port, " charset=utf8mb4 connect_timeout=", Seconds(options.connect_timeout),
             " read_timeout=", limit, " write_timeout=", limit);
  // With an authority, the client checks who has signed the server's certificate; whether it is for this server only
  // when told so. SOCI has no parameter for that, nor for TLS without an authority, but MariaDB's client reads more of
  // them in the place of a host.
  std::string host = options.host;
  const bool tls = !options.ca_cert.empty();
  if (tls && options.verify_server) host = StrCat("host=", host, ";ssl-verify-server-cert=1");
  if (tls && !options.verify_server) host = StrCat("host=", host, ";ssl-cert=", options.cert, ";ssl-key=", options.key);
  const std::string authority = options.verify_server ? options.ca_cert : "";
  for (const auto& [key, value] : {std::pair{"host", &std::as_const(host)},
                                   {"user", &options.user},
                                   {"password", &options.password},
                                   {"db", &options.name},
                                   {"sslca", &authority},
                                   {"sslcert", &options.cert},
                                   {"sslkey", &options.key}}) {
    if (value->empty()) continue;
    text += StrCat(" ", key, "=", MysqlValue(*value));
  }
  return text;
}

// Hashes of passwords stand in it: nobody else reads it. SQLite gives the files beside it the same rights.
absl::Status MakePrivateFile(const std::string& path) {
  const UniqueFd file(::open(path.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600));
  if (!file.valid()) return ErrnoStatus(errno, StrCat("open ", path));
  return absl::OkStatus();
}

absl::Status PrepareSqlite(Connection& connection) {
  for (const char* const sql :
       {"PRAGMA journal_mode = WAL", "PRAGMA synchronous = NORMAL", "PRAGMA foreign_keys = OFF"}) {
    DF_RETURN_IF_ERROR(connection.Execute(sql).status());
  }
  return absl::OkStatus();
}

absl::Status PrepareMysql(Connection& connection, const DatabaseOptions& options) {
  DF_RETURN_IF_ERROR(connection
                         .Execute("SET SESSION sql_mode = 'ANSI_QUOTES,STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO,"
                                  "NO_ENGINE_SUBSTITUTION', time_zone = '+00:00'")
                         .status());
  // The one is MariaDB's, the other MySQL's.
  if (connection.Execute(StrCat("SET SESSION max_statement_time = ", Seconds(options.statement_timeout))).ok()) {
    return absl::OkStatus();
  }
  return connection.Execute(StrCat("SET SESSION max_execution_time = ", options.statement_timeout.count())).status();
}

std::string AddressOf(const DatabaseOptions& options) {
  if (options.engine == Engine::kSqlite) return options.path;
  return StrCat(options.host, ":", options.port);
}

absl::StatusOr<soci::connection_parameters> ParametersOf(const DatabaseOptions& options) {
  switch (options.engine) {
    case Engine::kSqlite:
      // Its connection string knows quotes but nothing that would escape them.
      if (options.path.find('"') != std::string::npos) {
        return absl::InvalidArgumentError(StrCat("database: the path ", Quoted(options.path), " has a quote in it"));
      }
      return soci::connection_parameters(
          soci::sqlite3, StrCat("dbname=\"", options.path, "\" timeout=", Seconds(options.statement_timeout)));
    case Engine::kPostgres:
      return soci::connection_parameters(soci::postgresql, PostgresParameters(options));
    case Engine::kMysql:
      for (const std::string* const text : {&options.host, &options.cert, &options.key}) {
        if (text->find_first_of(";={}") != std::string::npos) {
          return absl::InvalidArgumentError(StrCat("database: ", Quoted(*text), " has one of ;={} in it"));
        }
      }
      return soci::connection_parameters(soci::mysql, MysqlParameters(options));
  }
  return absl::InternalError("unknown database");
}

}  // namespace

absl::StatusOr<std::unique_ptr<DriverConnection>> Connect(const DatabaseOptions& options) {
  const std::string context = StrCat("connect to ", NameOf(options.engine), " ", AddressOf(options));
  DF_ASSIGN_OR_RETURN(const soci::connection_parameters parameters, ParametersOf(options));
  std::unique_ptr<SociConnection> connection;
  if (options.engine == Engine::kSqlite) DF_RETURN_IF_ERROR(MakePrivateFile(options.path));
  absl::Status status;
  try {
    connection = std::make_unique<SociConnection>(
        options.engine, options.engine == Engine::kPostgres && !options.simple_protocol, parameters);
    if (options.engine == Engine::kSqlite) status = PrepareSqlite(*connection);
    if (options.engine == Engine::kMysql) status = PrepareMysql(*connection, options);
  } catch (...) {
    status = CurrentError();
  }
  if (!status.ok()) return absl::UnavailableError(StrCat(context, ": ", MessageOf(status)));
  return connection;
}

}  // namespace dragonfly::db
