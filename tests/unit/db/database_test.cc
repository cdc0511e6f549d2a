// SPDX-License-Identifier: Apache-2.0
#include "db/database.h"

#include <sys/stat.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <future>
#include <thread>

#include "base/status.h"
#include "db/migration.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/certificates.h"
#include "tests/support/sql_server.h"
#include "tests/support/temp_dir.h"

namespace dragonfly::db {
namespace {

using dragonfly::testing::SqlServer;
using dragonfly::testing::TempDir;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::UnorderedElementsAre;

// The promises of the module, for each engine with a real server.
class DatabasePromise : public ::testing::TestWithParam<Engine> {
 protected:
  void SetUp() override {
    options_.engine = GetParam();
    options_.path = (dir_.path() / "test.db").string();
    if (GetParam() == Engine::kSqlite) return;
    server_.emplace(GetParam() == Engine::kPostgres ? SqlServer::Kind::kPostgres : SqlServer::Kind::kMariaDb);
    options_.host = "127.0.0.1";
    options_.port = server_->port();
    options_.user = "dragonfly";
    options_.password = SqlServer::kPassword;
    options_.name = "manager";
  }

  std::unique_ptr<Database> Open() {
    auto database = Database::Open(options_);
    EXPECT_TRUE(database.ok()) << database.status();
    return database.ok() ? *std::move(database) : nullptr;
  }

  // A table of things, with one row.
  void MakeTable(Database& database) {
    const char* const id = GetParam() == Engine::kPostgres ? "bigserial PRIMARY KEY"
                           : GetParam() == Engine::kMysql  ? "bigint PRIMARY KEY AUTO_INCREMENT"
                                                           : "integer PRIMARY KEY AUTOINCREMENT";
    const auto made = database.RunHere<int64_t>([id](Connection& connection) -> absl::StatusOr<int64_t> {
      DF_RETURN_IF_ERROR(connection
                             .Execute(std::string("CREATE TABLE \"user\" (id ") + id +
                                      ", name varchar(64) NOT NULL UNIQUE, note text, amount double precision, at " +
                                      (connection.engine() == Engine::kPostgres ? "timestamptz" : "datetime(3)") +
                                      ", flag boolean NOT NULL DEFAULT false)")
                             .status());
      return connection.Insert(
          "INSERT INTO \"user\" (name, note, amount, at, flag) VALUES (?, ?, ?, ?, ?)",
          {std::string("first"), Null(), 2.5, TimeText(absl::FromUnixMillis(1'790'000'000'123)), int64_t{1}});
    });
    ASSERT_TRUE(made.ok()) << made.status();
    EXPECT_EQ(*made, 1);
  }

  template <typename T>
  absl::StatusOr<T> Await(boost::asio::awaitable<absl::StatusOr<T>> work) {
    boost::asio::io_context context;
    std::optional<absl::StatusOr<T>> result;
    boost::asio::co_spawn(context, std::move(work),
                          [&](std::exception_ptr, absl::StatusOr<T> value) { result.emplace(std::move(value)); });
    context.run();
    return *std::move(result);
  }

  TempDir dir_;
  DatabaseOptions options_;
  std::optional<SqlServer> server_;
};

TEST_P(DatabasePromise, KeepsValuesOfEveryKind) {
  const auto database = Open();
  ASSERT_NE(database, nullptr);
  MakeTable(*database);
  const std::string odd = "Robert'); DROP TABLE \"user\";-- \\ ? :name \xc3\xa4\xf0\x9f\x90\x89 %";
  const auto rows = database->RunHere<Rows>([&](Connection& connection) -> absl::StatusOr<Rows> {
    DF_RETURN_IF_ERROR(
        connection.Insert("INSERT INTO \"user\" (name, note) VALUES (?, ?)", {odd, std::string()}).status());
    return connection.Select({"id", "name", "note", "amount", "at", "flag"}, "FROM \"user\" ORDER BY id LIMIT ?",
                             {int64_t{10}});
  });
  ASSERT_TRUE(rows.ok()) << rows.status();
  ASSERT_EQ(rows->size(), 2);
  const Row& first = rows->front();
  EXPECT_EQ(first.Int(0), 1);
  EXPECT_EQ(first.Text(1), "first");
  EXPECT_TRUE(first.IsNull(2));
  EXPECT_EQ(first.Text(3), "2.5");
  EXPECT_EQ(first.Time(4), absl::FromUnixMillis(1'790'000'000'123));
  EXPECT_TRUE(first.Bool(5));
  const Row& second = rows->back();
  EXPECT_EQ(second.Text(1), odd);
  EXPECT_FALSE(second.IsNull(2));
  EXPECT_EQ(second.Text(2), "");
  EXPECT_TRUE(second.IsNull(4));
  EXPECT_FALSE(second.Bool(5));

  const auto changed = database->RunHere<int64_t>([&](Connection& connection) {
    return connection.Execute("UPDATE \"user\" SET note = ? WHERE name = ? OR id = ?",
                              {std::string("n"), odd, int64_t{1}});
  });
  ASSERT_TRUE(changed.ok()) << changed.status();
  EXPECT_EQ(*changed, 2);
}

TEST_P(DatabasePromise, TellsErrorsApartWithoutShowingValues) {
  const auto database = Open();
  ASSERT_NE(database, nullptr);
  MakeTable(*database);
  const auto twice = database->RunHere<int64_t>([](Connection& connection) {
    return connection.Insert("INSERT INTO \"user\" (name) VALUES (?)", {std::string("first")});
  });
  EXPECT_EQ(twice.status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(MessageOf(twice.status()), Not(HasSubstr("first")));
  const auto wrong = database->RunHere<int64_t>([](Connection& connection) {
    return connection.Execute("UPDATE nothing SET a = ?", {std::string("secret-value")});
  });
  EXPECT_EQ(wrong.status().code(), absl::StatusCode::kInternal);
  EXPECT_THAT(MessageOf(wrong.status()), AllOf(HasSubstr("nothing"), Not(HasSubstr("secret-value"))));
}

TEST_P(DatabasePromise, TakesATransactionBackAsAWhole) {
  const auto database = Open();
  ASSERT_NE(database, nullptr);
  MakeTable(*database);
  const auto names = [](Connection& connection) { return connection.Select({"name"}, "FROM \"user\""); };
  const auto failed = database->TransactHere<int64_t>([](Connection& connection) -> absl::StatusOr<int64_t> {
    DF_RETURN_IF_ERROR(connection.Insert("INSERT INTO \"user\" (name) VALUES (?)", {std::string("second")}).status());
    return absl::FailedPreconditionError("changed my mind");
  });
  EXPECT_EQ(failed.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(database->RunHere<Rows>(names)->size(), 1);
  const auto done = database->TransactHere<int64_t>([](Connection& connection) {
    return connection.Insert("INSERT INTO \"user\" (name) VALUES (?)", {std::string("second")});
  });
  ASSERT_TRUE(done.ok()) << done.status();
  EXPECT_EQ(database->RunHere<Rows>(names)->size(), 2);
}

TEST_P(DatabasePromise, LosesNoIncrementOfManyThreads) {
  const auto database = Open();
  ASSERT_NE(database, nullptr);
  MakeTable(*database);
  constexpr int kThreads = 4;
  constexpr int kEach = 25;
  std::vector<std::jthread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      for (int n = 0; n < kEach; ++n) {
        const auto added = database->TransactHere<int64_t>([](Connection& connection) {
          return connection.Execute("UPDATE \"user\" SET amount = amount + 1 WHERE id = 1");
        });
        EXPECT_TRUE(added.ok()) << added.status();
      }
    });
  }
  threads.clear();
  const auto rows =
      database->RunHere<Rows>([](Connection& connection) { return connection.Select({"amount"}, "FROM \"user\""); });
  EXPECT_EQ(rows->front().Text(0), "102.5");
}

TEST_P(DatabasePromise, GivesUpAtTheDeadlineAndGoesOnAfterwards) {
  options_.connections = 1;
  const auto database = Open();
  ASSERT_NE(database, nullptr);
  MakeTable(*database);
  std::promise<void> release;
  const std::shared_future<void> released = release.get_future().share();
  const Database::Work<int64_t> block = [released](Connection&) -> absl::StatusOr<int64_t> {
    released.wait();
    return 7;
  };
  const auto late = Await(database->Run<int64_t>(block, Clock::now() + std::chrono::milliseconds(50)));
  EXPECT_EQ(late.status().code(), absl::StatusCode::kDeadlineExceeded);
  // Behind the one that still runs: dropped without having run.
  const Database::Work<int64_t> insert = [](Connection& connection) {
    return connection.Insert("INSERT INTO \"user\" (name) VALUES (?)", {std::string("late")});
  };
  EXPECT_EQ(Await(database->Run<int64_t>(insert, Clock::now() + std::chrono::milliseconds(50))).status().code(),
            absl::StatusCode::kDeadlineExceeded);
  release.set_value();
  const Database::Work<Rows> names = [](Connection& connection) {
    return connection.Select({"name"}, "FROM \"user\"");
  };
  const auto rows = Await(database->Run<Rows>(names, Clock::now() + std::chrono::seconds(30)));
  ASSERT_TRUE(rows.ok()) << rows.status();
  EXPECT_EQ(rows->size(), 1);
}

TEST_P(DatabasePromise, RefusesMoreThanMayWait) {
  options_.connections = 1;
  options_.waiting_max = 1;
  const auto database = Open();
  ASSERT_NE(database, nullptr);
  std::promise<void> release;
  std::promise<void> running;
  const std::shared_future<void> released = release.get_future().share();
  const auto started = std::make_shared<std::once_flag>();
  const Database::Work<int64_t> block = [&running, started, released](Connection&) -> absl::StatusOr<int64_t> {
    std::call_once(*started, [&] { running.set_value(); });
    released.wait();
    return 7;
  };
  std::jthread first([&] { EXPECT_TRUE(Await(database->Run<int64_t>(block, kNoDeadline)).ok()); });
  running.get_future().wait();
  std::vector<std::jthread> others;
  std::atomic<int> refused = 0;
  std::atomic<int> answered = 0;
  for (int i = 0; i < 2; ++i) {
    others.emplace_back([&] {
      const auto result = Await(database->Run<int64_t>(block, kNoDeadline));
      if (result.status().code() == absl::StatusCode::kResourceExhausted) {
        ++refused;
        release.set_value();
      } else {
        ++answered;
      }
    });
  }
  others.clear();
  EXPECT_EQ(refused, 1);
  EXPECT_EQ(answered, 1);
}

TEST_P(DatabasePromise, AppliesEachMigrationOnceForAllProgramsThatStart) {
  const auto database = Open();
  ASSERT_NE(database, nullptr);
  std::atomic<int> applied = 0;
  const std::vector<Migration> migrations = {{1, "things", [&](Connection& connection) {
                                                ++applied;
                                                return connection.Execute("CREATE TABLE thing (id integer)").status();
                                              }}};
  std::vector<std::jthread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&] {
      const auto migrated = database->RunHere<bool>([&](Connection& connection) -> absl::StatusOr<bool> {
        DF_RETURN_IF_ERROR(Migrate(connection, "dragonfly_migration", migrations));
        return true;
      });
      EXPECT_TRUE(migrated.ok()) << migrated.status();
    });
  }
  threads.clear();
  EXPECT_EQ(applied, 1);
  const auto columns = database->RunHere<std::set<std::string>>(
      [](Connection& connection) { return ColumnsOf(connection, "dragonfly_migration"); });
  EXPECT_THAT(*columns, UnorderedElementsAre("version", "name", "applied_at"));
  const auto none =
      database->RunHere<std::set<std::string>>([](Connection& connection) { return ColumnsOf(connection, "nothing"); });
  EXPECT_THAT(*none, IsEmpty());
}

TEST_P(DatabasePromise, NamesTheMigrationThatFails) {
  const auto database = Open();
  ASSERT_NE(database, nullptr);
  const auto failed = database->RunHere<bool>([](Connection& connection) -> absl::StatusOr<bool> {
    DF_RETURN_IF_ERROR(
        Migrate(connection, "dragonfly_migration",
                {{3, "impossible", [](Connection& c) { return c.Execute("ALTER TABLE no ADD a int").status(); }}}));
    return true;
  });
  EXPECT_THAT(MessageOf(failed.status()), HasSubstr("migration 3 (impossible): "));
}

INSTANTIATE_TEST_SUITE_P(Engines, DatabasePromise,
                         ::testing::Values(Engine::kSqlite, Engine::kPostgres, Engine::kMysql),
                         [](const auto& info) { return std::string(NameOf(info.param)); });

// What only a server can do.
class DatabaseServer : public DatabasePromise {};

TEST_P(DatabaseServer, IsUsedAgainAfterARestart) {
  const auto database = Open();
  ASSERT_NE(database, nullptr);
  MakeTable(*database);
  server_->Restart();
  // The connection that lay idle is lost: the call makes another.
  const auto rows =
      database->RunHere<Rows>([](Connection& connection) { return connection.Select({"name"}, "FROM \"user\""); });
  ASSERT_TRUE(rows.ok()) << rows.status();
  EXPECT_EQ(rows->size(), 1);
}

TEST_P(DatabaseServer, EndsStatementsThatTakeTooLong) {
  options_.statement_timeout = std::chrono::milliseconds(1000);
  const auto database = Open();
  ASSERT_NE(database, nullptr);
  const auto slow = database->RunHere<Rows>([](Connection& connection) {
    if (connection.engine() == Engine::kPostgres) return connection.Select({"CAST(pg_sleep(30) AS text)"}, "");
    return connection.Select({"COUNT(*)"},
                             "FROM information_schema.columns a, information_schema.columns b, "
                             "information_schema.columns c");
  });
  EXPECT_EQ(slow.status().code(), absl::StatusCode::kDeadlineExceeded) << slow.status();
}

TEST_P(DatabaseServer, SaysWhichServerRefusesAndNotThePassword) {
  options_.password = "hunter2";
  const auto refused = Database::Open(options_);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(MessageOf(refused.status()),
              AllOf(HasSubstr("connect to "), HasSubstr("127.0.0.1:"), Not(HasSubstr("hunter2"))));
}

INSTANTIATE_TEST_SUITE_P(Engines, DatabaseServer, ::testing::Values(Engine::kPostgres, Engine::kMysql),
                         [](const auto& info) { return std::string(NameOf(info.param)); });

class MysqlErrors : public DatabasePromise {};
INSTANTIATE_TEST_SUITE_P(Engines, MysqlErrors, ::testing::Values(Engine::kMysql),
                         [](const auto& info) { return std::string(NameOf(info.param)); });

// Errors of servers that are no MariaDB 10.11, as this one can say them.
TEST_P(MysqlErrors, TellsALostConnectionAndAConflictByTheirNumbers) {
  const auto database = Open();
  ASSERT_NE(database, nullptr);
  const auto failing = [&](int number) {
    return database
        ->RunHere<int64_t>([number](Connection& connection) {
          return connection.Execute("SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = " + std::to_string(number) +
                                    ", MESSAGE_TEXT = 'as told'");
        })
        .status()
        .code();
  };
  // MySQL from 8.0.24 on closes an idle connection with it; a node of Galera that is not (any more) part of its
  // cluster.
  for (const int number : {4031, 1047}) EXPECT_EQ(failing(number), absl::StatusCode::kUnavailable) << number;
  // MariaDB from 11.6 on, for a row that another transaction has changed since ours began.
  EXPECT_EQ(failing(1020), absl::StatusCode::kAborted);
  EXPECT_EQ(failing(1644), absl::StatusCode::kInternal);
}

TEST(PostgresDatabase, PreparesStatementsUnlessToldNotTo) {
  const SqlServer server(SqlServer::Kind::kPostgres);
  DatabaseOptions options;
  options.engine = Engine::kPostgres;
  options.host = "127.0.0.1";
  options.port = server.port();
  options.user = "dragonfly";
  options.password = SqlServer::kPassword;
  options.name = "manager";
  options.connections = 1;
  for (const bool simple : {false, true}) {
    options.simple_protocol = simple;
    auto database = Database::Open(options);
    ASSERT_TRUE(database.ok()) << database.status();
    const auto kept = (*database)->RunHere<int64_t>([](Connection& connection) -> absl::StatusOr<int64_t> {
      for (const Value& value : {Value(int64_t{7}), Value(std::string("8")), Value(int64_t{9})}) {
        DF_ASSIGN_OR_RETURN(const Rows rows,
                            connection.Select({"n", "n + 1"}, "FROM generate_series(1, 20) n WHERE n = ?", {value}));
        if (rows.size() != 1 || rows.front().Int(1) != rows.front().Int(0) + 1) return absl::InternalError("wrong row");
      }
      // What fails is given up, and the same text may be right another time.
      for (int i = 0; i < 2; ++i) {
        if (connection.Select({"1 / n"}, "FROM generate_series(0, 5) n WHERE n = ?", {int64_t{0}}).ok()) {
          return absl::InternalError("divided by nothing");
        }
        DF_RETURN_IF_ERROR(
            connection.Select({"1 / n"}, "FROM generate_series(0, 5) n WHERE n = ?", {int64_t{1}}).status());
      }
      // Many of them push one another out.
      for (int i = 1; i < 300; ++i) {
        DF_RETURN_IF_ERROR(connection.Select({std::to_string(i)}, "FROM generate_series(1, 1) n").status());
      }
      DF_ASSIGN_OR_RETURN(const Rows count, connection.Select({"COUNT(*)"}, "FROM pg_prepared_statements"));
      return count.front().Int(0);
    });
    ASSERT_TRUE(kept.ok()) << kept.status();
    if (simple) {
      EXPECT_EQ(*kept, 0);
    } else {
      EXPECT_GT(*kept, 1);
      EXPECT_LE(*kept, 130);
    }
  }
}

// MariaDB with a certificate for `names`.
class MysqlTls {
 public:
  explicit MysqlTls(const std::string& names)
      : certificates_(names),
        server_(SqlServer::Kind::kMariaDb,
                {"--ssl-cert=" + certificates_.server_pem(), "--ssl-key=" + certificates_.server_key(),
                 "--ssl-ca=" + certificates_.ca_file(), "--require-secure-transport=on"}) {}

  DatabaseOptions Options() const {
    DatabaseOptions options;
    options.engine = Engine::kMysql;
    options.host = "127.0.0.1";
    options.port = server_.port();
    options.user = "dragonfly";
    options.password = SqlServer::kPassword;
    options.name = "manager";
    options.connections = 1;
    options.ca_cert = certificates_.ca_file();
    options.cert = certificates_.server_pem();
    options.key = certificates_.server_key();
    return options;
  }

 private:
  testing::Certificates certificates_;
  SqlServer server_;
};

TEST(MysqlDatabase, SpeaksTlsToTheServerThatItsCertificateNames) {
  const MysqlTls server("IP:127.0.0.1");
  const auto database = Database::Open(server.Options());
  ASSERT_TRUE(database.ok()) << database.status();
  const auto cipher = (*database)->RunHere<std::string>([](Connection& connection) -> absl::StatusOr<std::string> {
    DF_ASSIGN_OR_RETURN(const Rows rows, connection.Select({"variable_value"},
                                                           "FROM information_schema.session_status "
                                                           "WHERE variable_name = 'Ssl_cipher'"));
    return rows.empty() ? std::string() : rows.front().Text(0);
  });
  ASSERT_TRUE(cipher.ok()) << cipher.status();
  EXPECT_NE(*cipher, "");
  const testing::Certificates others("IP:127.0.0.1");
  DatabaseOptions options = server.Options();
  options.ca_cert = others.ca_file();
  EXPECT_THAT(MessageOf(Database::Open(options).status()), HasSubstr("certificate"));
  options.verify_server = false;
  const auto unverified = Database::Open(options);
  EXPECT_TRUE(unverified.ok()) << unverified.status();
  options.ca_cert = options.cert = options.key = "";
  options.verify_server = true;
  EXPECT_FALSE(Database::Open(options).ok()) << "the server takes none in the clear";
}

TEST(MysqlDatabase, RefusesTheCertificateOfAnotherServerUnlessToldNotTo) {
  const MysqlTls server("IP:127.0.0.9");
  DatabaseOptions options = server.Options();
  EXPECT_THAT(MessageOf(Database::Open(options).status()), HasSubstr("certificate"));
  options.verify_server = false;
  const auto unverified = Database::Open(options);
  EXPECT_TRUE(unverified.ok()) << unverified.status();
  options.host = "127.0.0.1;ssl-verify-server-cert=0";
  EXPECT_THAT(MessageOf(Database::Open(options).status()), HasSubstr("has one of ;={} in it"));
}

TEST(SqliteDatabase, IsReadableByItsOwnerAlone) {
  const TempDir dir;
  DatabaseOptions options;
  options.path = (dir.path() / "manager.db").string();
  const auto database = Database::Open(options);
  ASSERT_TRUE(database.ok()) << database.status();
  struct stat info{};
  ASSERT_EQ(::stat(options.path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
}

TEST(SqliteDatabase, NamesThePathThatCannotBeOpened) {
  DatabaseOptions options;
  options.path = "/nowhere/manager.db";
  EXPECT_THAT(MessageOf(Database::Open(options).status()), HasSubstr("/nowhere/manager.db"));
}

}  // namespace
}  // namespace dragonfly::db
