// SPDX-License-Identifier: Apache-2.0
// All contents of one daemon, in one directory:
//
//   <dir>/content/tasks/<first 3 of id>/<id>    the bytes, one sparse file a task (path as in client v1.0.0)
//   <dir>/metadata/tasks/<first 3 of id>/<id>   header and append log of finished pieces (docs/storage.md)
//   <dir>/LOCK                                  held while a daemon uses the directory
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/ids.h"
#include "base/piece.h"
#include "storage/task_content.h"

namespace dragonfly::storage {

struct StoreOptions {
  StoreOptions() = default;
  std::string dir;              // absolute; made when missing
  bool keep = false;            // false: wipe what an earlier run left
  uint64_t capacity_bytes = 0;  // 0: what the file system has; else the most that all contents may take together
};

// What a content is created with.
struct ContentShape {
  ContentShape() = default;
  std::optional<uint64_t> content_length;  // nullopt: unknown until FinishLength()
  uint64_t piece_length = kPieceLengthMin;
  // The part that will be downloaded; nullopt: all of it. Space is reserved for its pieces only.
  std::optional<ByteRange> wanted;
  std::map<std::string, std::string> response_header;  // at most 256 KiB and 4096 entries
};

// Frees at least `bytes` by deleting contents that nobody uses, never that of `keep`, and returns how many it freed; 0
// when it cannot free enough. Called on the thread that needs the room, which holds no lock.
using RoomMaker = std::function<uint64_t(const TaskId& keep, uint64_t bytes)>;

// Thread rule: every method from any thread. Deleting unlinks files on the caller's thread.
class ContentStore {
 public:
  // Opens the directory and reads back what is there: finished pieces recorded before a crash are kept, unfinished ones
  // are forgotten, a content without metadata (or the reverse) is removed. Errors: FAILED_PRECONDITION when another
  // daemon holds the directory; INVALID_ARGUMENT when `dir` is not absolute; errors of the file system.
  static absl::StatusOr<std::unique_ptr<ContentStore>> Open(const StoreOptions& options);
  // Contents that are still held refuse to be written afterwards.
  ~ContentStore();
  ContentStore(const ContentStore&) = delete;
  ContentStore& operator=(const ContentStore&) = delete;

  // The content of `id`, or null.
  std::shared_ptr<TaskContent> Find(const TaskId& id);

  // The content of `id`, made when missing. An existing one of another shape that has no writer and no finished piece,
  // or was left incomplete with a different length, is replaced; any other is returned as it is, so look at its
  // layout(). Reserves the bytes still to be written (of an unknown length: as each piece begins). Errors:
  // RESOURCE_EXHAUSTED "no space left on device: ..." when they do not fit; INVALID_ARGUMENT when the shape is no
  // file's.
  // `room`: whether the room maker is asked first when they do not fit.
  enum class Room { kMade, kAsItIs };
  absl::StatusOr<std::shared_ptr<TaskContent>> FindOrCreate(const TaskId& id, const ContentShape& shape,
                                                            Room room = Room::kMade);

  // Removes the content; who reads it keeps its open file, who writes or waits gets CANCELLED.
  // Errors: NOT_FOUND "task <id> not found".
  absl::Status Delete(const TaskId& id);

  std::vector<std::shared_ptr<TaskContent>> List() const;

  // Closes the files that were not used since the last call; they are opened again when they are. To be called every
  // few seconds: what was in use keeps at most 1024 + 256 descriptors otherwise.
  void CloseIdleFiles();
  // How many files are open.
  size_t open_files() const;

  // Who is asked when a download finds the disk or the budget full: before it begins, and in the middle of a piece. An
  // empty one is asked nothing; a call of the one before may still run then.
  void SetRoomMaker(RoomMaker maker);

  struct Usage {
    uint64_t content_bytes = 0;    // finished bytes of all contents
    uint64_t reserved_bytes = 0;   // promised to running downloads, not yet written
    uint64_t available_bytes = 0;  // what a new content may still take
    uint64_t total_bytes = 0;
    size_t tasks = 0;
    bool budget = false;  // the two are those of StoreOptions::capacity_bytes, not of the file system
  };
  Usage usage() const;

 private:
  struct State;
  explicit ContentStore(std::shared_ptr<State> state);
  std::shared_ptr<State> state_;
};

}  // namespace dragonfly::storage
