// SPDX-License-Identifier: Apache-2.0
// SQL for coroutines: a bounded pool of threads, each with a connection of its own.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "db/connection.h"
#include "runtime/clock.h"

namespace dragonfly::db {

struct DatabaseOptions {
  DatabaseOptions() = default;
  Engine engine = Engine::kSqlite;
  std::string path;  // of SQLite's file; it is made when it is missing, for its owner alone

  // Of the others.
  std::string host;
  uint16_t port = 0;
  std::string user;
  std::string password;
  std::string name;  // of the database, which must exist
  // PostgreSQL: libpq's sslmode. MySQL: "" and "false" for plaintext, "true" for a verified server.
  std::string tls_mode;
  // PostgreSQL: no statement is prepared, since a pooler in between gives each transaction another session.
  bool simple_protocol = false;
  // PEM files; `ca_cert` alone verifies the server, the others prove who we are.
  std::string ca_cert, cert, key;
  bool verify_server = true;  // MySQL: false takes any certificate; true, with `ca_cert`, one of it for `host` alone

  size_t connections = 8;
  size_t waiting_max = 4096;  // calls that wait for a connection
  std::chrono::milliseconds connect_timeout{10'000};
  std::chrono::milliseconds statement_timeout{60'000};  // the database gives up then
};

// Thread rule: any thread, except where a method says that it blocks.
class Database {
 public:
  // What is done with a connection. It may still run after a call has given up at its deadline: it owns what it uses.
  // It may be run again from its beginning when the connection turns out to be lost before its first statement has
  // succeeded.
  template <typename T>
  using Work = std::function<absl::StatusOr<T>(Connection&)>;

  // Makes the first connection. Blocks.
  static absl::StatusOr<std::unique_ptr<Database>> Open(const DatabaseOptions& options);
  // Waits for what runs. Nothing may await any more.
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  Engine engine() const;

  // Runs `work` on a thread of the pool. Errors: those of the work and of connecting; RESOURCE_EXHAUSTED when too many
  // wait; DEADLINE_EXCEEDED when `deadline` passes first: the work may be done all the same.
  template <typename T>
  boost::asio::awaitable<absl::StatusOr<T>> Run(Work<T> work, TimePoint deadline) {
    const auto result = std::make_shared<std::optional<absl::StatusOr<T>>>();
    const absl::Status status = co_await Await(Erase<T>(std::move(work), result), deadline);
    if (!status.ok()) co_return status;
    co_return *std::move(*result);
  }

  // The same within a transaction, which is repeated when others were in the way (ABORTED), at most kAttempts times.
  template <typename T>
  boost::asio::awaitable<absl::StatusOr<T>> Transact(Work<T> work, TimePoint deadline) {
    return Run<T>([work = std::move(work)](Connection& connection) { return InTransaction<T>(connection, work); },
                  deadline);
  }

  // The same two on the calling thread, for what starts and stops a program. They block.
  template <typename T>
  absl::StatusOr<T> RunHere(Work<T> work) {
    const auto result = std::make_shared<std::optional<absl::StatusOr<T>>>();
    const absl::Status status = Use(Erase<T>(std::move(work), result));
    if (!status.ok()) return status;
    return *std::move(*result);
  }
  template <typename T>
  absl::StatusOr<T> TransactHere(Work<T> work) {
    return RunHere<T>([work = std::move(work)](Connection& connection) { return InTransaction<T>(connection, work); });
  }

 private:
  using Erased = std::function<absl::Status(Connection&)>;
  struct State;

  explicit Database(std::unique_ptr<State> state);

  // Its status is that of the connection: the work's own stands in `result`, unless it says UNAVAILABLE.
  template <typename T>
  static Erased Erase(Work<T> work, std::shared_ptr<std::optional<absl::StatusOr<T>>> result) {
    return [work = std::move(work), result = std::move(result)](Connection& connection) {
      result->emplace(work(connection));
      return (*result)->status();
    };
  }

  template <typename T>
  static absl::StatusOr<T> InTransaction(Connection& connection, const Work<T>& work) {
    std::optional<absl::StatusOr<T>> result;
    const absl::Status status = Repeat(connection, [&] {
      result.emplace(work(connection));
      return result->status();
    });
    if (!status.ok()) return status;
    return *std::move(result);
  }

  static absl::Status Repeat(Connection& connection, const std::function<absl::Status()>& work);
  boost::asio::awaitable<absl::Status> Await(Erased work, TimePoint deadline);
  absl::Status Use(const Erased& work);

  std::unique_ptr<State> state_;
};

}  // namespace dragonfly::db
