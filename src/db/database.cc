// SPDX-License-Identifier: Apache-2.0
#include "db/database.h"

#include <atomic>
#include <random>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "base/status.h"
#include "base/text.h"
#include "db/driver.h"
#include "runtime/blocking_pool.h"
#include "runtime/signal.h"

namespace dragonfly::db {
namespace {

namespace asio = boost::asio;

constexpr int kAttempts = 8;

// Two that got into each other's way must not do so again at the same pace.
void WaitBeforeAttempt(int attempt) {
  static thread_local std::minstd_rand random(std::random_device{}());
  const int most = 2 << attempt;
  std::this_thread::sleep_for(std::chrono::milliseconds(1 + static_cast<int>(random()) % most));
}

}  // namespace

struct Database::State {
  explicit State(const DatabaseOptions& given)
      : options(given), pool(std::make_unique<runtime::BlockingPool>(given.connections, given.waiting_max)) {}

  std::unique_ptr<DriverConnection> TakeIdle() {
    absl::MutexLock lock(&mutex);
    if (idle.empty()) return nullptr;
    std::unique_ptr<DriverConnection> connection = std::move(idle.back());
    idle.pop_back();
    return connection;
  }

  void GiveBack(std::unique_ptr<DriverConnection> connection) {
    if (connection->broken()) return;
    absl::MutexLock lock(&mutex);
    if (idle.size() < options.connections) idle.push_back(std::move(connection));
  }

  const DatabaseOptions options;
  absl::Mutex mutex;
  std::vector<std::unique_ptr<DriverConnection>> idle ABSL_GUARDED_BY(mutex);
  std::unique_ptr<runtime::BlockingPool> pool;  // its threads use what stands above
};

Database::Database(std::unique_ptr<State> state) : state_(std::move(state)) {}

Database::~Database() { state_->pool.reset(); }

Engine Database::engine() const { return state_->options.engine; }

absl::StatusOr<std::unique_ptr<Database>> Database::Open(const DatabaseOptions& options) {
  std::unique_ptr<Database> database(new Database(std::make_unique<State>(options)));
  DF_ASSIGN_OR_RETURN(std::unique_ptr<DriverConnection> connection, Connect(options));
  database->state_->GiveBack(std::move(connection));
  return database;
}

absl::Status Database::Use(const Erased& work) {
  for (;;) {
    std::unique_ptr<DriverConnection> connection = state_->TakeIdle();
    const bool fresh = connection == nullptr;
    if (fresh) {
      DF_ASSIGN_OR_RETURN(connection, Connect(state_->options));
    }
    connection->ResetCount();
    absl::Status status = work(*connection);
    const bool lost = connection->broken();
    const bool untouched = connection->count() == 0;
    state_->GiveBack(std::move(connection));
    // The database has closed a connection that lay idle: nothing was done on it yet.
    if (lost && untouched && !fresh) continue;
    return status;
  }
}

absl::Status Database::Repeat(Connection& connection, const std::function<absl::Status()>& work) {
  for (int attempt = 1;; ++attempt) {
    absl::Status status = connection.Transact(work);
    if (!absl::IsAborted(status) || attempt == kAttempts) return status;
    WaitBeforeAttempt(attempt);
  }
}

asio::awaitable<absl::Status> Database::Await(Erased work, TimePoint deadline) {
  struct Call {
    runtime::Signal changed;
    std::atomic<bool> done = false;
    absl::Status status;  // once done
  };
  const auto call = std::make_shared<Call>();
  const auto late = [] { return absl::DeadlineExceededError("database: no answer in time"); };
  const bool queued = state_->pool->Post([this, call, work = std::move(work), deadline, late]() mutable {
    call->status = Clock::now() < deadline ? Use(work) : late();
    // What the work holds goes before its caller does.
    work = nullptr;
    call->done.store(true, std::memory_order_release);
    call->changed.Notify();
  });
  if (!queued) {
    co_return absl::ResourceExhaustedError(
        StrCat("database: ", state_->options.waiting_max, " calls wait for a connection already"));
  }
  for (;;) {
    const uint64_t seen = call->changed.version();
    if (call->done.load(std::memory_order_acquire)) co_return call->status;
    if (!co_await call->changed.Wait(seen, deadline)) co_return late();
  }
}

}  // namespace dragonfly::db
