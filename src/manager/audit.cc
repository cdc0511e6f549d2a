// SPDX-License-Identifier: Apache-2.0
#include "manager/audit.h"

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/status.h"
#include "base/text.h"
#include "runtime/timeout.h"
#include "telemetry/log.h"

namespace dragonfly::manager {
namespace {

namespace asio = boost::asio;

constexpr size_t kBatchMax = 500;
constexpr size_t kNameMax = 256;
constexpr size_t kPathMax = 1024;
constexpr std::chrono::seconds kWriteTimeout{30};
constexpr std::chrono::seconds kPause{5};

absl::StatusOr<bool> Write(db::Connection& connection, const std::deque<AuditEntry>& batch) {
  std::string sql =
      "INSERT INTO audit (created_at, updated_at, is_del, actor_type, actor_name, event_type, operation, operated_at, "
      "state, path, status_code, detail) VALUES ";
  db::Values values;
  for (const AuditEntry& entry : batch) {
    if (!values.empty()) sql += ", ";
    sql += "(?, ?, 0, ?, ?, 'API', ?, ?, ?, ?, ?, ?)";
    const std::string at = db::TimeText(entry.at);
    const bool success = entry.status >= 200 && entry.status < 400;
    values.insert(values.end(),
                  {db::Value(at), db::Value(at), db::Value(entry.actor_type), db::Value(entry.actor_name),
                   db::Value(entry.operation), db::Value(at), db::Value(std::string(success ? "SUCCESS" : "FAILURE")),
                   db::Value(entry.path), db::Value(int64_t{entry.status}),
                   db::Value(nlohmann::json{{"client", entry.client}}.dump())});
  }
  DF_RETURN_IF_ERROR(connection.Execute(sql, values).status());
  return true;
}

// Cut to `max` bytes, without what the databases refuse in a text.
std::string Clean(const std::string& text, size_t max) {
  std::string clean;
  for (const char c : text.substr(0, max)) {
    const auto byte = static_cast<unsigned char>(c);
    clean += byte >= 0x20 && byte < 0x7f ? c : '?';
  }
  return clean;
}

}  // namespace

void AuditLog::Add(AuditEntry entry) {
  entry.actor_name = Clean(entry.actor_name, kNameMax);
  entry.path = Clean(entry.path, kPathMax);
  entry.operation = Clean(entry.operation, kNameMax);
  {
    absl::MutexLock lock(&mutex_);
    if (waiting_.size() >= kWaitingMax) {
      if (lost_++ == 0) DF_LOG(Error, "the audit log cannot be written: entries are lost from now on");
      return;
    }
    waiting_.push_back(std::move(entry));
  }
  added_.Notify();
}

std::deque<AuditEntry> AuditLog::Take() {
  absl::MutexLock lock(&mutex_);
  std::deque<AuditEntry> batch;
  while (!waiting_.empty() && batch.size() < kBatchMax) {
    batch.push_back(std::move(waiting_.front()));
    waiting_.pop_front();
  }
  return batch;
}

void AuditLog::GiveBack(std::deque<AuditEntry> batch) {
  absl::MutexLock lock(&mutex_);
  std::move(waiting_.begin(), waiting_.end(), std::back_inserter(batch));
  waiting_ = std::move(batch);
}

asio::awaitable<void> AuditLog::Run() {
  for (;;) {
    const uint64_t seen = added_.version();
    std::deque<AuditEntry> batch = Take();
    if (batch.empty()) {
      co_await added_.Wait(seen);
      continue;
    }
    const db::Database::Work<bool> write = [batch](db::Connection& connection) { return Write(connection, batch); };
    const auto written = co_await database_.Run<bool>(write, Clock::now() + kWriteTimeout);
    if (written.ok()) {
      absl::MutexLock lock(&mutex_);
      if (lost_ > 0) DF_LOG(Error, "the audit log is written again; {} entries were lost", std::exchange(lost_, 0));
      continue;
    }
    DF_LOG(Warn, "write the audit log: {}", MessageOf(written.status()));
    GiveBack(std::move(batch));
    co_await runtime::SleepUntil(Clock::now() + kPause);
  }
}

void AuditLog::Flush() {
  for (std::deque<AuditEntry> batch = Take(); !batch.empty(); batch = Take()) {
    const auto written =
        database_.RunHere<bool>([&batch](db::Connection& connection) { return Write(connection, batch); });
    if (written.ok()) continue;
    // A database that is away takes its time to say so, which a stop has not got for each batch.
    absl::MutexLock lock(&mutex_);
    DF_LOG(Error, "{} entries of the audit log are lost: {}", batch.size() + std::exchange(waiting_, {}).size(),
           MessageOf(written.status()));
    return;
  }
}

}  // namespace dragonfly::manager
