// SPDX-License-Identifier: Apache-2.0
#include "daemon/piece_provider.h"

#include <utility>

#include "base/digest.h"
#include "base/status.h"
#include "base/text.h"

namespace dragonfly::daemon {

namespace asio = boost::asio;

namespace {

vortex::ContentMetadata MetadataOf(const storage::PieceRecord& record) {
  vortex::ContentMetadata metadata;
  metadata.number = record.number;
  metadata.range = record.range;
  metadata.digest = FormatCrc32Digest(record.crc32);
  metadata.parent_id = record.parent_id;
  metadata.traffic_type = static_cast<uint8_t>(record.traffic_type);
  metadata.cost_seconds = static_cast<uint64_t>(std::max<int64_t>(0, absl::ToInt64Seconds(record.cost)));
  metadata.created_at = absl::ToUnixSeconds(record.created_at);
  return metadata;
}

class StorePieceProvider final : public vortex::PieceProvider {
 public:
  StorePieceProvider(storage::ContentStore& store, storage::ContentStore* persistent, GivenPieces& given, Probe& probe,
                     bool disable_shared)
      : store_(store), persistent_(persistent), given_(given), probe_(probe), disable_shared_(disable_shared) {}

  asio::awaitable<absl::StatusOr<vortex::ServedPiece>> Provide(vortex::Tag tag, vortex::Request request,
                                                               TimePoint deadline) override {
    absl::StatusOr<vortex::ServedPiece> piece = co_await Find(tag, std::move(request), deadline);
    if (piece.ok()) probe_.UploadStarted();
    co_return piece;
  }

  void Sent(vortex::Tag tag, const vortex::Request&, uint64_t sent, bool complete) override {
    if (complete) {
      const bool standard = tag == vortex::Tag::kDownloadPiece;
      probe_.UploadFinished(standard ? TaskType::kStandard : TaskType::kPersistentCache, sent);
    } else {
      probe_.UploadFailed();
    }
  }

 private:
  asio::awaitable<absl::StatusOr<vortex::ServedPiece>> Find(vortex::Tag tag, vortex::Request request,
                                                            TimePoint deadline) {
    const std::string name = StrCat("piece ", request.task_id.str(), "-", request.number.value(), " not found");
    storage::ContentStore* const store = tag == vortex::Tag::kDownloadPiece                  ? &store_
                                         : tag == vortex::Tag::kDownloadPersistentCachePiece ? persistent_
                                                                                             : nullptr;
    if (store == nullptr || disable_shared_) co_return absl::NotFoundError(name);
    const std::shared_ptr<storage::TaskContent> content = store->Find(request.task_id);
    if (!content) co_return absl::NotFoundError(name);
    DF_CO_RETURN_IF_ERROR(co_await content->WhenFinished(request.number, deadline));
    DF_CO_ASSIGN_OR_RETURN(storage::PieceBytes bytes, content->OpenPiece(request.number));
    if (store == &store_) given_.Begun(*content, bytes.record);
    vortex::ServedPiece served;
    served.file = std::move(bytes.file);
    served.metadata = MetadataOf(bytes.record);
    co_return served;
  }

  storage::ContentStore& store_;
  storage::ContentStore* const persistent_;
  GivenPieces& given_;
  Probe& probe_;
  const bool disable_shared_;
};

}  // namespace

std::unique_ptr<vortex::PieceProvider> MakePieceProvider(storage::ContentStore& store, GivenPieces& given, Probe& probe,
                                                         bool disable_shared, storage::ContentStore* persistent) {
  return std::make_unique<StorePieceProvider>(store, persistent, given, probe, disable_shared);
}

}  // namespace dragonfly::daemon
