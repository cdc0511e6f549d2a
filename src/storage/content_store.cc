// SPDX-License-Identifier: Apache-2.0
#include "storage/content_store.h"

#include <algorithm>
#include <array>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/hash/hash.h"
#include "base/status.h"
#include "base/text.h"
#include "storage/content_state.h"
#include "storage/shortage.h"
#include "telemetry/log.h"

namespace dragonfly::storage {
namespace {

// Making and deleting of one task exclude each other; different tasks rarely meet.
constexpr size_t kTaskLocks = 64;

absl::Status CheckShape(const ContentShape& shape) {
  DF_ASSIGN_OR_RETURN(const PieceLayout layout,
                      PieceLayout::Make(shape.content_length.value_or(0), shape.piece_length));
  if (layout.content_length() > uint64_t{INT64_MAX} || shape.piece_length > uint64_t{INT64_MAX}) {
    return absl::InvalidArgumentError(StrCat("a content of ", layout.content_length(), " bytes in pieces of ",
                                             shape.piece_length, " is longer than any file"));
  }
  if (shape.wanted && shape.content_length) {
    DF_RETURN_IF_ERROR(ClampRange(shape.wanted->offset, shape.wanted->length, layout.content_length()).status());
  }
  size_t bytes = 0;
  for (const auto& [name, value] : shape.response_header) bytes += name.size() + value.size();
  if (bytes > kResponseHeaderBytesMax || shape.response_header.size() > kResponseHeaderCountMax) {
    return absl::InvalidArgumentError(
        StrCat("response header of ", bytes, " bytes and ", shape.response_header.size(), " entries is too large"));
  }
  return absl::OkStatus();
}

// What a content of `shape` may still have to write.
uint64_t BytesOf(const ContentShape& shape) {
  if (!shape.content_length) return shape.piece_length;
  if (!shape.wanted) return *shape.content_length;
  // Whole pieces are reserved.
  return std::min(*shape.content_length, shape.wanted->length + 2 * shape.piece_length);
}

// Errors that say nothing about the task: another start may well read it.
bool IsTrouble(const absl::Status& status) {
  return absl::IsResourceExhausted(status) || absl::IsPermissionDenied(status);
}

}  // namespace

struct ContentStore::State {
  explicit State(std::shared_ptr<StoreContext> store_context) : context(std::move(store_context)) {}

  absl::Mutex& LockOf(const TaskId& id) { return task_mutexes[absl::Hash<TaskId>()(id) % kTaskLocks]; }

  std::shared_ptr<TaskContent> Find(const TaskId& id) {
    const absl::MutexLock lock(&mutex);
    const auto it = contents.find(id);
    return it == contents.end() ? nullptr : it->second;
  }

  absl::StatusOr<std::shared_ptr<TaskContent>> FindOrCreate(const TaskId& id, const ContentShape& shape);
  // The caller holds LockOf(id).
  absl::Status Remove(const TaskId& id, const absl::Status& why);

  const std::shared_ptr<StoreContext> context;
  std::array<absl::Mutex, kTaskLocks> task_mutexes;  // taken before any other
  absl::Mutex mutex;
  absl::flat_hash_map<TaskId, std::shared_ptr<TaskContent>> contents ABSL_GUARDED_BY(mutex);
};

absl::Status ContentStore::State::Remove(const TaskId& id, const absl::Status& why) {
  std::shared_ptr<TaskContent> content;
  {
    const absl::MutexLock lock(&mutex);
    const auto it = contents.find(id);
    if (it == contents.end()) return absl::NotFoundError(StrCat("task ", id.str(), " not found"));
    content = std::move(it->second);
    contents.erase(it);
  }
  content->state_->Close(why, /*pin=*/content.use_count() > 1);
  const absl::Status removed = context->directory->Remove(id);
  context->space.RemoveContent(content->finished_bytes());
  return removed;
}

ContentStore::ContentStore(std::shared_ptr<State> state) : state_(std::move(state)) {}

absl::StatusOr<std::unique_ptr<ContentStore>> ContentStore::Open(const StoreOptions& options) {
  DF_ASSIGN_OR_RETURN(std::unique_ptr<StoreDirectory> directory, StoreDirectory::Open(options.dir, options.keep));
  auto context = std::make_shared<StoreContext>(std::move(directory), options.keep, options.capacity_bytes);
  auto state = std::make_shared<State>(context);
  if (options.keep) {
    const absl::MutexLock lock(&state->mutex);
    for (const TaskId& id : context->directory->ListLogs()) {
      absl::StatusOr<std::shared_ptr<TaskContent::State>> loaded = TaskContent::State::Load(context, id);
      if (loaded.ok()) {
        state->contents.emplace(id, std::shared_ptr<TaskContent>(new TaskContent(*std::move(loaded))));
        continue;
      }
      const absl::Status status = Annotate(loaded.status(), StrCat("storage ", options.dir, ": task ", id.str()));
      if (IsTrouble(status)) return status;
      DF_LOG(Warn, "{}; the task is removed", status.ToString());
      DF_RETURN_IF_ERROR(context->directory->Remove(id));
    }
    for (const TaskId& id : context->directory->ListContents()) {
      if (!state->contents.contains(id)) DF_RETURN_IF_ERROR(context->directory->Remove(id));
    }
    DF_LOG(Info, "storage {}: {} tasks with {} bytes were kept", options.dir, state->contents.size(),
           context->space.content_bytes());
  }
  return std::unique_ptr<ContentStore>(new ContentStore(std::move(state)));
}

ContentStore::~ContentStore() {
  const std::vector<std::shared_ptr<TaskContent>> contents = List();
  state_->context->sync.Stop();
  for (const std::shared_ptr<TaskContent>& content : contents) {
    content->state_->Close(absl::CancelledError("the storage is closed"), /*pin=*/false);
  }
  state_->context->directory->Unlock();
}

std::shared_ptr<TaskContent> ContentStore::Find(const TaskId& id) { return state_->Find(id); }

absl::StatusOr<std::shared_ptr<TaskContent>> ContentStore::FindOrCreate(const TaskId& id, const ContentShape& shape,
                                                                        Room room) {
  DF_RETURN_IF_ERROR(Annotate(CheckShape(shape), StrCat("task ", id.str())));
  absl::StatusOr<std::shared_ptr<TaskContent>> content = state_->FindOrCreate(id, shape);
  if (room == Room::kMade && LacksSpace(content.status()) && state_->context->MakeRoom(id, BytesOf(shape))) {
    content = state_->FindOrCreate(id, shape);
  }
  return content;
}

absl::StatusOr<std::shared_ptr<TaskContent>> ContentStore::State::FindOrCreate(const TaskId& id,
                                                                               const ContentShape& shape) {
  const absl::MutexLock task_lock(&LockOf(id));
  std::shared_ptr<TaskContent> content = Find(id);
  if (content != nullptr && content->state_->ReplaceableBy(shape.content_length, shape.piece_length)) {
    const std::string why = StrCat("task ", id.str(), " was replaced by one of another length");
    DF_RETURN_IF_ERROR(Remove(id, absl::CancelledError(why)));
    content = nullptr;
  }
  if (content != nullptr) {
    DF_RETURN_IF_ERROR(content->state_->ReserveWanted(shape.wanted));
    content->state_->Touch();
    return content;
  }

  TaskLogHeader header;
  header.content_length = shape.content_length;
  header.piece_length = shape.piece_length;
  header.created_at = absl::FromUnixMicros(absl::ToUnixMicros(absl::Now()));  // as precise as it is stored
  header.boot_id = context->boot_id.value_or(BootId{});
  header.response_header = shape.response_header;
  DF_ASSIGN_OR_RETURN(std::shared_ptr<TaskContent::State> made, TaskContent::State::Create(context, id, header));
  const absl::Status reserved = made->ReserveWanted(shape.wanted);
  if (!reserved.ok()) {
    made->Close(reserved, /*pin=*/false);
    if (const absl::Status removed = context->directory->Remove(id); !removed.ok()) {
      DF_LOG(Warn, "storage: task {}, which found no room, left files behind: {}", id.str(), removed.ToString());
    }
    return reserved;
  }
  content = std::shared_ptr<TaskContent>(new TaskContent(std::move(made)));
  const absl::MutexLock lock(&mutex);
  contents[id] = content;
  return content;
}

absl::Status ContentStore::Delete(const TaskId& id) {
  const absl::MutexLock task_lock(&state_->LockOf(id));
  return state_->Remove(id, absl::CancelledError(StrCat("task ", id.str(), " was deleted")));
}

std::vector<std::shared_ptr<TaskContent>> ContentStore::List() const {
  const absl::MutexLock lock(&state_->mutex);
  std::vector<std::shared_ptr<TaskContent>> contents;
  contents.reserve(state_->contents.size());
  for (const auto& [id, content] : state_->contents) contents.push_back(content);
  return contents;
}

void ContentStore::CloseIdleFiles() {
  state_->context->content_files.CloseIdle();
  state_->context->log_files.CloseIdle();
}

size_t ContentStore::open_files() const {
  return state_->context->content_files.size() + state_->context->log_files.size();
}

void ContentStore::SetRoomMaker(RoomMaker maker) {
  auto shared = std::make_shared<const RoomMaker>(std::move(maker));
  const absl::MutexLock lock(&state_->context->room_mutex);
  state_->context->room_maker.swap(shared);
}

ContentStore::Usage ContentStore::usage() const {
  const SpaceAccount& space = state_->context->space;
  Usage usage;
  usage.content_bytes = space.content_bytes();
  usage.reserved_bytes = space.reserved_bytes();
  usage.available_bytes = space.available_bytes();
  usage.total_bytes = space.total_bytes();
  usage.budget = space.has_capacity();
  const absl::MutexLock lock(&state_->mutex);
  usage.tasks = state_->contents.size();
  return usage;
}

}  // namespace dragonfly::storage
