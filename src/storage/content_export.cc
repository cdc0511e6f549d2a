// SPDX-License-Identifier: Apache-2.0
// Outputs of a content. The order is hard link, reflink, copy: a link costs nothing and shares the page cache. Its
// price is that the user can write into the file that peers are served from; content_recovery.cc notices that.
#include <cerrno>
#include <utility>

#include "base/status.h"
#include "base/text.h"
#include "storage/content_state.h"
#include "storage/output_file.h"

namespace dragonfly::storage {

// Reads what is not trusted among the pieces [first, last]; all must be finished.
absl::Status TaskContent::State::CheckPieces(PieceNumber first, PieceNumber last, int fd) {
  DF_RETURN_IF_ERROR(NoticeForeignChanges(fd));
  for (PieceNumber number = first; number <= last; number = number.next()) {
    std::optional<PieceRecord> record;
    uint64_t generation = 0;
    {
      const absl::MutexLock lock(&mutex);
      if (table.untrusted_count() == 0 && table.HasAll(number, last)) return absl::OkStatus();
      record = table.Find(number);
      generation = file_generation;
    }
    if (!record) return absl::DataLossError(StrCat(Describe(number), " was damaged on disk"));
    DF_RETURN_IF_ERROR(CheckPiece(*record, generation, fd));
  }
  return absl::OkStatus();
}

absl::Status TaskContent::State::LinkTo(const OutputPath& output, bool overwrite, int fd) {
  const absl::MutexLock log_lock(&log_mutex);
  bool exposed_before = false;
  std::optional<FileStamp> trusted_stamp;
  {
    const absl::MutexLock lock(&mutex);
    exposed_before = exposed;
    trusted_stamp = known_stamp;
  }
  DF_ASSIGN_OR_RETURN(const FileStamp before, StampOf(fd));
  // Asked first, so that a content that is only ever copied is not called exposed.
  if (!output.SharesFileSystemWith(store->directory->content_fd()))
    return ErrnoStatus(EXDEV, StrCat("link to output path ", output.path()));
  // Told before it is so: from the moment of the link the file is no longer ours alone.
  if (!exposed_before) DF_RETURN_IF_ERROR(AppendLog(EncodeExposed()));
  const absl::Status linked = output.LinkFrom(fd, overwrite);
  if (!linked.ok()) return linked;

  const absl::StatusOr<FileStamp> after = StampOf(fd);
  const absl::MutexLock lock(&mutex);
  exposed = true;
  known_stamp.reset();
  // Linking changed st_ctim; when nothing else has changed, what was trusted still is.
  const bool ours_alone = after.ok() && after->modified_ns == before.modified_ns && after->size == before.size;
  if (ours_alone && (!exposed_before || trusted_stamp == before)) known_stamp = *after;
  return absl::OkStatus();
}

absl::Status CheckOutput(const std::string& output_path, const ExportOptions& options, const TaskContent* content) {
  DF_ASSIGN_OR_RETURN(const OutputPath output, OutputPath::Open(output_path));
  if (options.overwrite || !output.Occupied()) return absl::OkStatus();
  if (content == nullptr) return output.AlreadyExists();
  DF_ASSIGN_OR_RETURN(const std::shared_ptr<const UniqueFd> file, content->state_->ContentFile());
  DF_ASSIGN_OR_RETURN(const OutputPath::Occupant occupant, output.OccupantFor(file->get()));
  return occupant == OutputPath::Occupant::kOtherFile ? output.AlreadyExists() : absl::OkStatus();
}

absl::StatusOr<ExportMethod> TaskContent::ExportTo(const std::string& output_path, const ExportOptions& options) {
  State& task = *state_;
  const State::Use use(state_);
  DF_ASSIGN_OR_RETURN(const PieceLayout layout, task.CompleteLayout());
  DF_ASSIGN_OR_RETURN(const OutputPath output, OutputPath::Open(output_path));
  DF_ASSIGN_OR_RETURN(const std::shared_ptr<const UniqueFd> file, task.ContentFile());
  const int fd = file->get();
  DF_ASSIGN_OR_RETURN(const OutputPath::Occupant occupant, output.OccupantFor(fd));
  if (occupant == OutputPath::Occupant::kOtherFile && !options.overwrite) return output.AlreadyExists();
  if (layout.piece_count() > 0) {
    DF_RETURN_IF_ERROR(task.CheckPieces(PieceNumber(0), PieceNumber(layout.piece_count() - 1), fd));
  }
  task.Touch();
  if (occupant == OutputPath::Occupant::kSameFile) return ExportMethod::kAlreadyLinked;

  const absl::Status linked = task.LinkTo(output, options.overwrite, fd);
  if (linked.ok()) return ExportMethod::kHardLink;
  if (options.force_hard_link || absl::IsAlreadyExists(linked)) return linked;

  DF_ASSIGN_OR_RETURN(OutputFile made, OutputFile::Create(output));
  ExportMethod method = ExportMethod::kReflink;
  if (!made.Reflink(fd).ok()) {
    method = ExportMethod::kCopy;
    DF_RETURN_IF_ERROR(made.Copy(fd, {0, layout.content_length()}));
  }
  DF_RETURN_IF_ERROR(made.Publish(options.overwrite));
  return method;
}

absl::Status TaskContent::ExportRangeTo(const std::string& output_path, const ByteRange& range,
                                        const ExportOptions& options) {
  State& task = *state_;
  const State::Use use(state_);
  if (options.force_hard_link) return absl::InvalidArgumentError("a range of a file cannot be hard linked");
  {
    const absl::MutexLock lock(&task.mutex);
    if (!task.HasRangeLocked(range)) {
      return absl::FailedPreconditionError(
          StrCat("task ", task.identity.id.str(), ": bytes ", range.offset, "+", range.length, " are not complete"));
    }
  }
  DF_ASSIGN_OR_RETURN(const OutputPath output, OutputPath::Open(output_path));
  DF_ASSIGN_OR_RETURN(const std::shared_ptr<const UniqueFd> file, task.ContentFile());
  DF_ASSIGN_OR_RETURN(const OutputPath::Occupant occupant, output.OccupantFor(file->get()));
  if (occupant != OutputPath::Occupant::kNone && !options.overwrite) return output.AlreadyExists();
  if (range.length > 0) {
    const uint64_t piece_length = task.identity.piece_length;
    DF_RETURN_IF_ERROR(task.CheckPieces(PieceNumber(static_cast<uint32_t>(range.offset / piece_length)),
                                        PieceNumber(static_cast<uint32_t>((range.end() - 1) / piece_length)),
                                        file->get()));
  }
  task.Touch();
  DF_ASSIGN_OR_RETURN(OutputFile made, OutputFile::Create(output));
  DF_RETURN_IF_ERROR(made.Copy(file->get(), range));
  return made.Publish(options.overwrite);
}

}  // namespace dragonfly::storage
