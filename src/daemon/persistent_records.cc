// SPDX-License-Identifier: Apache-2.0
#include "daemon/persistent_records.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>

#include "base/status.h"
#include "base/text.h"
#include "base/unique_fd.h"
#include "telemetry/log.h"

namespace dragonfly::daemon {
namespace {

using Json = nlohmann::json;

constexpr uintmax_t kRecordBytesMax = 64 << 10;

std::string Encode(const PersistentRecord& record) {
  const Json json = {{"peer_id", record.peer_id},
                     {"persistent", record.persistent},
                     {"ttl_seconds", absl::ToInt64Seconds(record.ttl)},
                     {"created_at", absl::ToUnixNanos(record.created_at)},
                     {"tag", record.tag},
                     {"application", record.application},
                     {"importing", record.importing},
                     {"provisional", record.provisional}};
  return json.dump(-1, ' ', true, Json::error_handler_t::replace);
}

std::optional<PersistentRecord> Decode(const TaskId& id, const std::string& text) {
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return std::nullopt;
  PersistentRecord record(id);
  const auto string = [&json](const char* name) {
    const auto found = json.find(name);
    return found != json.end() && found->is_string() ? found->get<std::string>() : std::string();
  };
  const auto number = [&json](const char* name) {
    const auto found = json.find(name);
    return found != json.end() && found->is_number_integer() ? found->get<int64_t>() : int64_t{0};
  };
  const auto flag = [&json](const char* name) {
    const auto found = json.find(name);
    return found != json.end() && found->is_boolean() && found->get<bool>();
  };
  record.peer_id = string("peer_id");
  record.persistent = flag("persistent");
  record.ttl = absl::Seconds(number("ttl_seconds"));
  record.created_at = absl::FromUnixNanos(number("created_at"));
  record.tag = string("tag");
  record.application = string("application");
  record.importing = flag("importing");
  record.provisional = flag("provisional");
  return record;
}

absl::Status WriteFile(const std::string& path, std::string_view bytes, bool durable) {
  const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd.valid()) return ErrnoStatus(errno, StrCat("create ", path));
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd.get(), bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoStatus(errno, StrCat("write ", path));
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  if (durable && ::fsync(fd.get()) != 0) return ErrnoStatus(errno, StrCat("sync ", path));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<PersistentRecords>> PersistentRecords::Open(const std::string& dir) {
  std::error_code error;
  std::filesystem::create_directories(dir, error);
  if (error) return ErrnoStatus(error.value(), StrCat("make ", dir));
  std::unique_ptr<PersistentRecords> records(new PersistentRecords(dir));
  for (const auto& entry : std::filesystem::directory_iterator(dir, error)) {
    const absl::StatusOr<TaskId> id = TaskId::Parse(entry.path().filename().string());
    std::optional<PersistentRecord> record;
    if (id.ok() && entry.is_regular_file(error) && entry.file_size(error) <= kRecordBytesMax) {
      std::ifstream file(entry.path(), std::ios::binary);
      record = Decode(*id, std::string(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()));
    }
    if (record) {
      const absl::MutexLock lock(&records->mutex_);
      records->records_.emplace(id->str(), *std::move(record));
    } else {
      DF_LOG(Warn, "{} is no record of a persistent cache task and is removed", entry.path().string());
      std::filesystem::remove(entry.path(), error);
    }
  }
  if (error) return ErrnoStatus(error.value(), StrCat("list ", dir));
  return records;
}

std::optional<PersistentRecord> PersistentRecords::Find(const TaskId& id) const {
  const absl::MutexLock lock(&mutex_);
  const auto found = records_.find(id.str());
  if (found == records_.end()) return std::nullopt;
  return found->second;
}

std::vector<PersistentRecord> PersistentRecords::List() const {
  const absl::MutexLock lock(&mutex_);
  std::vector<PersistentRecord> all;
  for (const auto& [id, record] : records_) all.push_back(record);
  return all;
}

absl::Status PersistentRecords::SyncDirectory() const {
  const UniqueFd fd(::open(dir_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid() || ::fsync(fd.get()) != 0) return ErrnoStatus(errno, StrCat("sync ", dir_));
  return absl::OkStatus();
}

absl::Status PersistentRecords::Put(const PersistentRecord& record) {
  const absl::MutexLock lock(&mutex_);
  const std::string path = StrCat(dir_, "/", record.id.str());
  const std::string next = StrCat(path, ".new");
  // A sync of a small file waits for all that the file system has to write just then: gigabytes, after a download.
  const bool durable = record.persistent || record.importing;
  DF_RETURN_IF_ERROR(WriteFile(next, Encode(record), durable));
  if (::rename(next.c_str(), path.c_str()) != 0) return ErrnoStatus(errno, StrCat("rename ", next));
  if (durable) DF_RETURN_IF_ERROR(SyncDirectory());
  records_.insert_or_assign(record.id.str(), record);
  return absl::OkStatus();
}

absl::Status PersistentRecords::Remove(const TaskId& id) {
  const absl::MutexLock lock(&mutex_);
  if (records_.erase(id.str()) == 0) return absl::OkStatus();
  const std::string path = StrCat(dir_, "/", id.str());
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return ErrnoStatus(errno, StrCat("remove ", path));
  return SyncDirectory();
}

}  // namespace dragonfly::daemon
