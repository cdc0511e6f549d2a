// SPDX-License-Identifier: Apache-2.0
// The import of a file: name it, tell the scheduler, copy it, make it durable, register it. In this order, so that what
// is registered is durable, and what is not registered is removed.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <span>
#include <utility>
#include <vector>

#include "base/digest.h"
#include "base/status.h"
#include "base/task_id.h"
#include "base/text.h"
#include "base/unique_fd.h"
#include "daemon/persistent_state.h"
#include "runtime/timeout.h"
#include "scheduler/v2/scheduler.pb.h"
#include "telemetry/log.h"

namespace dragonfly::daemon {

namespace asio = boost::asio;

namespace {

constexpr size_t kStep = 1 << 20;  // bytes read at once
constexpr uint64_t kReplicasMax = 5;
constexpr int kFinishRetries = 20;
constexpr Clock::duration kFinishPause = std::chrono::milliseconds(500);

// The file as it was when it was named.
struct SourceFile {
  SourceFile() = default;
  UniqueFd fd;
  uint64_t length = 0;
  struct timespec modified{};
};

absl::Status LookAt(const std::string& path, SourceFile& file) {
  struct stat now{};
  if (::fstat(file.fd.get(), &now) != 0) return ErrnoStatus(errno, StrCat("stat ", path));
  if (!S_ISREG(now.st_mode)) return absl::InvalidArgumentError(StrCat("path ", path, " is no regular file"));
  file.length = static_cast<uint64_t>(now.st_size);
  file.modified = now.st_mtim;
  return absl::OkStatus();
}

absl::StatusOr<SourceFile> OpenSource(const std::string& path) {
  if (path.empty() || path.front() != '/') {
    return absl::InvalidArgumentError(StrCat("path ", Quoted(path), " is not absolute"));
  }
  SourceFile file;
  // A FIFO must not hold the daemon up.
  file.fd = UniqueFd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file.fd.valid()) return ErrnoStatus(errno, StrCat("open ", path));
  DF_RETURN_IF_ERROR(LookAt(path, file));
  return file;
}

// Calls `take` with the bytes [begin, end) of the file, in steps.
template <typename Take>
absl::Status ReadRange(const std::string& path, int fd, uint64_t begin, uint64_t end, Take take) {
  std::vector<std::byte> buffer(kStep);
  while (begin < end) {
    const size_t wanted = static_cast<size_t>(std::min<uint64_t>(kStep, end - begin));
    const ssize_t n = ::pread(fd, buffer.data(), wanted, static_cast<off_t>(begin));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoStatus(errno, StrCat("read ", path));
    if (n == 0) return absl::AbortedError(StrCat("path ", path, " became shorter while it was imported"));
    DF_RETURN_IF_ERROR(take(std::span<const std::byte>(buffer.data(), static_cast<size_t>(n))));
    begin += static_cast<uint64_t>(n);
  }
  return absl::OkStatus();
}

absl::StatusOr<TaskId> IdOf(const PersistentImport& request) {
  // The SHA-256 form, of client v1.0.15 and later: 32 bits of CRC are no name for a file that others rely on.
  constexpr auto kForm = PersistentCacheIdForm::kSha256;
  DF_ASSIGN_OR_RETURN(const SourceFile file, OpenSource(request.path));
  if (request.content) return PersistentCacheIdFromContent(kForm, *request.content);
  PersistentCacheIdBuilder builder(kForm);
  DF_RETURN_IF_ERROR(ReadRange(request.path, file.fd.get(), 0, file.length, [&](std::span<const std::byte> bytes) {
    builder.Update(bytes);
    return absl::OkStatus();
  }));
  PersistentCacheKey key;
  key.tag = request.tag;
  key.application = request.application;
  key.piece_length = request.piece_length;
  return builder.Finish(key);
}

absl::Status CopyPiece(const std::string& path, int fd, storage::TaskContent& content, PieceNumber number) {
  if (const std::optional<storage::PieceRecord> there = content.FindPiece(number)) {
    uint32_t crc = 0;
    DF_RETURN_IF_ERROR(
        ReadRange(path, fd, there->range.offset, there->range.end(), [&](std::span<const std::byte> bytes) {
          crc = Crc32(bytes, crc);
          return absl::OkStatus();
        }));
    if (crc == there->crc32) return absl::OkStatus();
    return absl::AlreadyExistsError(StrCat("another content with the id ", content.id().str(), " is on this host"));
  }
  DF_ASSIGN_OR_RETURN(storage::PieceWriter writer, content.BeginPiece(number));
  const ByteRange range = writer.range();
  DF_RETURN_IF_ERROR(ReadRange(path, fd, range.offset, range.end(),
                               [&](std::span<const std::byte> bytes) { return writer.Append(bytes); }));
  return writer.Commit(std::nullopt, "", storage::TrafficType::kLocalPeer).status();
}

absl::Status CopyAll(const PersistentImport& request, const SourceFile& file, storage::TaskContent& content,
                     const std::atomic<bool>& stopped) {
  const uint32_t count = content.layout()->piece_count();
  for (uint32_t number = 0; number < count; ++number) {
    if (stopped) return absl::UnavailableError("the daemon is stopping");
    DF_RETURN_IF_ERROR(CopyPiece(request.path, file.fd.get(), content, PieceNumber(number)));
  }
  return absl::OkStatus();
}

bool Same(const timespec& a, const timespec& b) { return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec; }

absl::Status Check(const PersistentImport& request) {
  if (request.replica_count < 1 || request.replica_count > kReplicasMax) {
    return absl::InvalidArgumentError(
        StrCat("persistent_replica_count ", request.replica_count, " is not in the range from 1 to ", kReplicasMax));
  }
  if (request.ttl <= absl::ZeroDuration()) return absl::InvalidArgumentError("ttl is missing");
  if (request.piece_length && (*request.piece_length < kPieceLengthMin || *request.piece_length > kPieceLengthMax)) {
    return absl::InvalidArgumentError(
        StrCat("piece_length ", *request.piece_length, " is not in the range from 4 MiB to 64 MiB"));
  }
  return absl::OkStatus();
}

}  // namespace

asio::awaitable<absl::StatusOr<std::unique_ptr<common::v2::PersistentCacheTask>>> PersistentTasks::Import(
    PersistentImport request) {
  const std::shared_ptr<State> state = state_;
  DF_CO_RETURN_IF_ERROR(Check(request));
  const std::function<absl::StatusOr<TaskId>()> name = [&request] { return IdOf(request); };
  DF_CO_ASSIGN_OR_RETURN(const TaskId id, co_await state->parts.blocking.Run<TaskId>(name));
  for (;;) {
    bool mine = false;
    const State::Work work = state->Join(id, &mine);
    if (mine) state->groups.For(id.str()).Spawn(state->RunImport(id, request, work));
    for (;;) {
      const uint64_t seen = work->changed.version();
      if (work->Outcome()) break;
      co_await work->changed.Wait(seen);
    }
    // What somebody else was doing with the task is over: now it is our turn.
    if (!mine) continue;
    DF_CO_RETURN_IF_ERROR(*work->Outcome());
    const absl::MutexLock lock(&work->mutex);
    if (!work->imported) co_return absl::InternalError(StrCat("task ", id.str(), " was not imported"));
    co_return std::make_unique<common::v2::PersistentCacheTask>(*work->imported);
  }
}

asio::awaitable<void> PersistentTasks::State::RunImport(TaskId id, PersistentImport request, Work work) {
  TaskLabels labels;
  labels.type = TaskType::kPersistentCache;
  labels.tag = request.tag;
  labels.application = request.application;
  const absl::Time begin = absl::Now();
  parts.probe.UploadTaskStarted(labels);
  const absl::Status status = co_await ImportBody(id, request, work);
  if (status.ok()) {
    const std::shared_ptr<storage::TaskContent> content = store->Find(id);
    parts.probe.UploadTaskFinished(labels, content != nullptr ? content->finished_bytes() : 0, absl::Now() - begin);
    DF_LOG(Info, "persistent cache task {}: imported from {}", id.str(), request.path);
  } else {
    parts.probe.UploadTaskFailed(labels);
    DF_LOG(Error, "persistent cache task {}: import of {}: {}", id.str(), request.path, MessageOf(status));
  }
  EndWork(id, work, status);
}

asio::awaitable<absl::Status> PersistentTasks::State::ImportBody(const TaskId& id, const PersistentImport& request,
                                                                 Work work) {
  std::optional<SourceFile> file;
  const std::function<absl::Status()> open = [&]() -> absl::Status {
    DF_ASSIGN_OR_RETURN(file, OpenSource(request.path));
    return absl::OkStatus();
  };
  DF_CO_RETURN_IF_ERROR(co_await parts.blocking.Run(open));
  const uint64_t piece_length = request.piece_length.value_or(PieceLengthFor(file->length));
  DF_CO_ASSIGN_OR_RETURN(const PieceLayout layout, PieceLayout::Make(file->length, piece_length));

  // Before the scheduler hears of it, so that a full disk is nobody's business but ours.
  const std::optional<PersistentRecord> known_here = records->Find(id);
  const bool had_copy = known_here && !known_here->importing;
  storage::ContentShape shape;
  shape.content_length = file->length;
  shape.piece_length = piece_length;
  absl::StatusOr<std::shared_ptr<storage::TaskContent>> made = store->FindOrCreate(id, shape);
  if (absl::IsResourceExhausted(made.status())) {
    co_return absl::ResourceExhaustedError(StrCat(
        "no space left on device: not enough space to store the persistent cache task: content_length=", file->length));
  }
  DF_CO_RETURN_IF_ERROR(made.status());
  const std::shared_ptr<storage::TaskContent> content = *std::move(made);
  const std::function<absl::Status()> remove = [this, &id, had_copy] {
    return had_copy ? absl::OkStatus() : Remove(id);
  };
  if (content->layout() != layout) {
    co_return absl::AlreadyExistsError(StrCat("another content with the id ", id.str(), " is on this host"));
  }

  scheduler::v2::UploadPersistentCacheTaskStartedRequest started;
  const std::string peer_id = NewPeerId();
  started.set_task_id(id.str());
  started.set_peer_id(peer_id);
  started.set_persistent_replica_count(request.replica_count);
  started.set_tag(request.tag);
  started.set_application(request.application);
  started.set_piece_length(piece_length);
  started.set_content_length(file->length);
  started.set_piece_count(layout.piece_count());
  started.mutable_ttl()->set_seconds(absl::ToInt64Seconds(request.ttl));
  PersistentRecord record(id);
  record.peer_id = peer_id;
  record.persistent = true;
  record.importing = true;
  record.ttl = request.ttl;
  record.created_at = absl::Now();
  record.tag = request.tag;
  record.application = request.application;
  const std::function<absl::Status()> put = [this, &record] { return records->Put(record); };
  if (!had_copy) DF_CO_RETURN_IF_ERROR(co_await parts.blocking.Run(put));
  absl::Status told = co_await parts.link.UploadStarted(id, std::move(started));
  if (absl::IsAlreadyExists(told)) {
    // Two imports of the same content are one task.
    auto known = co_await parts.link.Stat(id);
    if (known.ok() && known->state() == "Succeeded" && known->content_length() == file->length) {
      const absl::MutexLock lock(&work->mutex);
      work->imported = *std::move(known);
      told = absl::OkStatus();
    }
    (co_await parts.blocking.Run(remove)).IgnoreError();
    co_return told;
  }
  if (!told.ok()) {
    // A scheduler that cannot be reached may have heard of it all the same.
    if (!had_copy) co_await Undo(record, told);
    co_return told;
  }

  work->SetContent(peer_id, content);
  record.importing = false;
  const std::function<absl::Status()> copy = [&]() -> absl::Status {
    DF_RETURN_IF_ERROR(CopyAll(request, *file, *content, stopped));
    SourceFile after;
    after.fd = std::move(file->fd);
    DF_RETURN_IF_ERROR(LookAt(request.path, after));
    if (after.length != file->length || !Same(after.modified, file->modified)) {
      return absl::AbortedError(StrCat("path ", request.path, " changed while it was imported"));
    }
    return MakeDurable(*content, record);
  };
  absl::Status status = co_await parts.blocking.Run(copy);
  if (status.ok()) {
    auto finished = co_await parts.link.UploadFinished(id, peer_id);
    // It is all here: a scheduler that is just being restarted is waited for.
    for (int i = 0; i < kFinishRetries && absl::IsUnavailable(finished.status()); ++i) {
      co_await runtime::SleepUntil(Clock::now() + kFinishPause);
      finished = co_await parts.link.UploadFinished(id, peer_id);
    }
    status = finished.status();
    if (finished.ok()) {
      const absl::MutexLock lock(&work->mutex);
      work->imported = *std::move(finished);
      co_return absl::OkStatus();
    }
  }
  if (had_copy) co_return status;
  record.importing = true;
  co_await Undo(record, status);
  co_return status;
}

asio::awaitable<void> PersistentTasks::State::Undo(PersistentRecord record, absl::Status why) {
  const TaskId id = record.id;
  const std::function<absl::Status()> give_up = [this, &record]() -> absl::Status {
    DF_RETURN_IF_ERROR(records->Put(record));
    return store->Delete(record.id);
  };
  (co_await parts.blocking.Run(give_up)).IgnoreError();
  const absl::Status told = co_await parts.link.UploadFailed(id, record.peer_id, std::string(MessageOf(why)));
  if (!told.ok() && !absl::IsNotFound(told)) {
    DF_LOG(Warn, "persistent cache task {}: tell the scheduler that the import has failed: {}", id.str(),
           MessageOf(told));
    co_return;
  }
  const std::function<absl::Status()> remove = [this, &id] { return Remove(id); };
  (co_await parts.blocking.Run(remove)).IgnoreError();
}

}  // namespace dragonfly::daemon
