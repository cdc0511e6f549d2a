// SPDX-License-Identifier: Apache-2.0
// The store of a scheduler without Redis: one SQLite file with a record a row, in the same fields as the hashes of
// Redis. A write is on the disk when it returns.
#include <sqlite3.h>
#include <unistd.h>

#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "base/status.h"
#include "base/text.h"
#include "scheduler/persistent_store.h"

namespace dragonfly::scheduler {
namespace {

constexpr int kBusyTimeoutMs = 5000;

constexpr char kSchema[] =
    "PRAGMA journal_mode=WAL;"
    "PRAGMA synchronous=FULL;"
    "CREATE TABLE IF NOT EXISTS tasks(id TEXT PRIMARY KEY, expires_at INTEGER NOT NULL, record BLOB NOT NULL);"
    "CREATE TABLE IF NOT EXISTS peers(id TEXT PRIMARY KEY, task_id TEXT NOT NULL, host_id TEXT NOT NULL,"
    " persistent INTEGER NOT NULL, expires_at INTEGER NOT NULL, record BLOB NOT NULL);"
    "CREATE INDEX IF NOT EXISTS peers_of_task ON peers(task_id);"
    "CREATE TABLE IF NOT EXISTS hosts(id TEXT PRIMARY KEY, record BLOB NOT NULL);";

// Fields as bytes: for each name and each value its length in decimal digits, ':', and its bytes.
std::string Encode(const Fields& fields) {
  std::string bytes;
  const auto add = [&bytes](const std::string& text) {
    bytes += StrCat(text.size(), ":");
    bytes += text;
  };
  for (const auto& [name, value] : fields) {
    add(name);
    add(value);
  }
  return bytes;
}

absl::StatusOr<Fields> Decode(std::string_view bytes) {
  const auto take = [&bytes]() -> absl::StatusOr<std::string> {
    const size_t colon = bytes.find(':');
    const auto length = ParseDecimal<size_t>(bytes.substr(0, colon));
    if (colon == std::string_view::npos || !length || *length > bytes.size() - colon - 1) {
      return absl::InternalError("a record of the persistent cache is damaged");
    }
    std::string text(bytes.substr(colon + 1, *length));
    bytes.remove_prefix(colon + 1 + *length);
    return text;
  };
  Fields fields;
  while (!bytes.empty()) {
    DF_ASSIGN_OR_RETURN(std::string name, take());
    DF_ASSIGN_OR_RETURN(std::string value, take());
    fields.emplace_back(std::move(name), std::move(value));
  }
  return fields;
}

struct CloseDatabase {
  void operator()(sqlite3* database) const { ::sqlite3_close_v2(database); }
};
struct FinalizeStatement {
  void operator()(sqlite3_stmt* statement) const { ::sqlite3_finalize(statement); }
};

class EmbeddedStore final : public PersistentStore {
 public:
  explicit EmbeddedStore(std::string path) : path_(std::move(path)) {}

  absl::Status OpenIfThere() {
    if (::access(path_.c_str(), F_OK) != 0) return absl::OkStatus();
    const absl::MutexLock lock(&mutex_);
    return Open();
  }

  absl::StatusOr<PersistentTask> LoadTask(const std::string& id) override {
    DF_ASSIGN_OR_RETURN(const std::vector<Fields> records,
                        Select("SELECT record FROM tasks WHERE id = ?1 AND expires_at > ?2", {id}, Now()));
    if (records.empty()) return absl::NotFoundError(StrCat("persistent cache task ", id, " not found"));
    return TaskOf(records.front());
  }

  absl::Status Store(const PersistentTask& task) override {
    DF_RETURN_IF_ERROR(Write("DELETE FROM tasks WHERE expires_at <= ?2", {""}, Now()));
    DF_RETURN_IF_ERROR(Write("DELETE FROM peers WHERE expires_at <= ?2", {""}, Now()));
    return Write("INSERT OR REPLACE INTO tasks(id, expires_at, record) VALUES(?1, ?2, ?3)", {task.id}, ExpiryOf(task),
                 Encode(ToFields(task)));
  }

  absl::Status DeleteTask(const std::string& id) override { return Write("DELETE FROM tasks WHERE id = ?1", {id}); }

  absl::StatusOr<std::vector<PersistentTask>> ListTasks() override {
    DF_ASSIGN_OR_RETURN(const std::vector<Fields> records,
                        Select("SELECT record FROM tasks WHERE expires_at > ?2", {""}, Now()));
    std::vector<PersistentTask> tasks;
    for (const Fields& fields : records) {
      DF_ASSIGN_OR_RETURN(PersistentTask task, TaskOf(fields));
      tasks.push_back(std::move(task));
    }
    return tasks;
  }

  absl::StatusOr<PersistentPeer> LoadPeer(const std::string& id) override {
    DF_ASSIGN_OR_RETURN(const std::vector<Fields> records,
                        Select("SELECT record FROM peers WHERE id = ?1 AND expires_at > ?2", {id}, Now()));
    if (records.empty()) return absl::NotFoundError(StrCat("persistent cache peer ", id, " not found"));
    return PeerOf(records.front());
  }

  absl::Status Store(const PersistentPeer& peer, const PersistentTask& task) override {
    return Write(
        "INSERT OR REPLACE INTO peers(id, expires_at, record, task_id, host_id, persistent) "
        "VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
        {peer.id, task.id, peer.host_id, peer.persistent ? "1" : "0"}, ExpiryOf(task), Encode(ToFields(peer)));
  }

  absl::Status Update(const PersistentPeer& peer) override {
    int changed = 0;
    DF_RETURN_IF_ERROR(Write("UPDATE peers SET record = ?3 WHERE id = ?1 AND expires_at > ?2", {peer.id}, Now(),
                             Encode(ToFields(peer)), &changed));
    if (changed > 0) return absl::OkStatus();
    return absl::NotFoundError(StrCat("persistent cache peer ", peer.id, " not found"));
  }

  absl::Status Delete(const PersistentPeer& peer) override {
    return Write("DELETE FROM peers WHERE id = ?1", {peer.id});
  }

  absl::StatusOr<std::vector<PersistentPeer>> PeersOf(const std::string& task_id) override {
    DF_ASSIGN_OR_RETURN(const std::vector<Fields> records,
                        Select("SELECT record FROM peers WHERE task_id = ?1 AND expires_at > ?2", {task_id}, Now()));
    std::vector<PersistentPeer> peers;
    for (const Fields& fields : records) {
      DF_ASSIGN_OR_RETURN(PersistentPeer peer, PeerOf(fields));
      peers.push_back(std::move(peer));
    }
    return peers;
  }

  absl::StatusOr<Counts> CountsOf(const std::string& task_id) override {
    DF_ASSIGN_OR_RETURN(const std::vector<PersistentPeer> peers, PeersOf(task_id));
    Counts counts;
    counts.all = peers.size();
    for (const PersistentPeer& peer : peers) counts.persistent += peer.persistent ? 1 : 0;
    return counts;
  }

  absl::StatusOr<PersistentHost> LoadHost(const std::string& id) override {
    DF_ASSIGN_OR_RETURN(const std::vector<Fields> records, Select("SELECT record FROM hosts WHERE id = ?1", {id}));
    if (records.empty()) return absl::NotFoundError(StrCat("host ", id, " not found"));
    return HostOf(records.front());
  }

  absl::Status Store(const PersistentHost& host) override {
    return Write("INSERT OR REPLACE INTO hosts(id, record) VALUES(?1, ?3)", {host.wire.id()}, 0,
                 Encode(ToFields(host)));
  }

  absl::Status DeleteHost(const std::string& id) override { return Write("DELETE FROM hosts WHERE id = ?1", {id}); }

  absl::StatusOr<std::vector<PersistentHost>> ListHosts() override {
    DF_ASSIGN_OR_RETURN(const std::vector<Fields> records, Select("SELECT record FROM hosts", {}));
    std::vector<PersistentHost> hosts;
    for (const Fields& fields : records) {
      absl::StatusOr<PersistentHost> host = HostOf(fields);
      if (host.ok()) hosts.push_back(*std::move(host));
    }
    return hosts;
  }

  // The file has one scheduler.
  absl::StatusOr<bool> TakeTurn(const std::string&, const std::string&, absl::Duration) override { return true; }

 private:
  static int64_t Now() { return absl::ToUnixSeconds(absl::Now()); }
  static int64_t ExpiryOf(const PersistentTask& task) { return absl::ToUnixSeconds(task.created_at + task.ttl); }

  absl::Status Error(std::string_view what) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const char* const text = database_ == nullptr ? "out of memory" : ::sqlite3_errmsg(database_.get());
    const int code = database_ == nullptr ? SQLITE_NOMEM : ::sqlite3_errcode(database_.get());
    const std::string message = StrCat("persistent cache store ", path_, ": ", what, ": ", text);
    if (code == SQLITE_FULL) return absl::ResourceExhaustedError(message);
    if (code == SQLITE_BUSY || code == SQLITE_CANTOPEN) return absl::UnavailableError(message);
    return absl::InternalError(message);
  }

  absl::Status Open() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (database_ != nullptr) return absl::OkStatus();
    std::error_code error;
    std::filesystem::create_directories(std::filesystem::path(path_).parent_path(), error);
    sqlite3* raw = nullptr;
    const int opened = ::sqlite3_open_v2(path_.c_str(), &raw,
                                         SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, nullptr);
    database_.reset(raw);
    absl::Status status;
    if (opened != SQLITE_OK) status = Error("open");
    if (status.ok()) {
      ::sqlite3_busy_timeout(database_.get(), kBusyTimeoutMs);
      if (::sqlite3_exec(database_.get(), kSchema, nullptr, nullptr, nullptr) != SQLITE_OK) status = Error("prepare");
    }
    if (!status.ok()) database_.reset();
    return status;
  }

  using Statement = std::unique_ptr<sqlite3_stmt, FinalizeStatement>;

  // ?1 is the first text, ?2 the number, ?3 the record, ?4 and on the further texts.
  absl::StatusOr<Statement> Prepare(const char* sql, const std::vector<std::string>& texts, int64_t number,
                                    const std::string& record) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    sqlite3_stmt* raw = nullptr;
    if (::sqlite3_prepare_v2(database_.get(), sql, -1, &raw, nullptr) != SQLITE_OK) return Error("prepare");
    Statement statement(raw);
    const int parameters = ::sqlite3_bind_parameter_count(raw);
    for (size_t i = 0; i < texts.size(); ++i) {
      const int at = i == 0 ? 1 : static_cast<int>(i) + 3;
      if (at > parameters) continue;
      ::sqlite3_bind_text64(raw, at, texts[i].data(), texts[i].size(), SQLITE_TRANSIENT, SQLITE_UTF8);
    }
    if (parameters >= 2) ::sqlite3_bind_int64(raw, 2, number);
    if (parameters >= 3) ::sqlite3_bind_blob64(raw, 3, record.data(), record.size(), SQLITE_TRANSIENT);
    return statement;
  }

  absl::StatusOr<std::vector<Fields>> Select(const char* sql, const std::vector<std::string>& texts,
                                             int64_t number = 0) {
    const absl::MutexLock lock(&mutex_);
    std::vector<Fields> records;
    // Nothing was ever written.
    if (database_ == nullptr) return records;
    DF_ASSIGN_OR_RETURN(const Statement statement, Prepare(sql, texts, number, ""));
    for (;;) {
      const int step = ::sqlite3_step(statement.get());
      if (step == SQLITE_DONE) return records;
      if (step != SQLITE_ROW) return Error("read");
      const auto* const bytes = static_cast<const char*>(::sqlite3_column_blob(statement.get(), 0));
      const int size = ::sqlite3_column_bytes(statement.get(), 0);
      DF_ASSIGN_OR_RETURN(Fields fields, Decode(std::string_view(bytes, static_cast<size_t>(size))));
      records.push_back(std::move(fields));
    }
  }

  absl::Status Write(const char* sql, const std::vector<std::string>& texts, int64_t number = 0,
                     const std::string& record = "", int* changed = nullptr) {
    const absl::MutexLock lock(&mutex_);
    DF_RETURN_IF_ERROR(Open());
    DF_ASSIGN_OR_RETURN(const Statement statement, Prepare(sql, texts, number, record));
    if (::sqlite3_step(statement.get()) != SQLITE_DONE) return Error("write");
    if (changed != nullptr) *changed = ::sqlite3_changes(database_.get());
    return absl::OkStatus();
  }

  const std::string path_;
  absl::Mutex mutex_;
  std::unique_ptr<sqlite3, CloseDatabase> database_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

absl::StatusOr<std::unique_ptr<PersistentStore>> OpenEmbeddedPersistentStore(std::string path) {
  auto store = std::make_unique<EmbeddedStore>(std::move(path));
  DF_RETURN_IF_ERROR(store->OpenIfThere());
  return store;
}

}  // namespace dragonfly::scheduler
