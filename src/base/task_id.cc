// SPDX-License-Identifier: Apache-2.0
#include "base/task_id.h"

#include <cassert>
#include <utility>

#include "base/digest.h"
#include "base/status.h"
#include "base/text.h"
#include "base/url.h"

namespace dragonfly {
namespace {

// Ids that we computed have a valid form by construction.
TaskId FromComputed(std::string_view text) {
  absl::StatusOr<TaskId> id = TaskId::Parse(text);
  assert(id.ok());
  return *std::move(id);
}

std::string DecimalOrEmpty(std::optional<uint64_t> number) { return number ? StrCat(*number) : std::string(); }

}  // namespace

absl::StatusOr<TaskId> UrlTaskId(const UrlTaskKey& key) {
  if (key.content) return FromComputed(Sha256Hex(*key.content));
  DF_ASSIGN_OR_RETURN(const std::string url, CanonicalUrl(key.url, key.filtered_query_params));
  // No separators: tag "ab" with application "c" meets tag "a" with application "bc". All peers do so.
  return FromComputed(
      Sha256Hex(StrCat(url, key.tag, key.application, key.revision, DecimalOrEmpty(key.piece_length), "STANDARD")));
}

std::optional<TaskId> BlobDigestTaskId(std::string_view url) {
  constexpr std::string_view kBlobs = "/blobs/sha256:";
  const absl::StatusOr<Url> parsed = Url::Parse(url);
  if (!parsed.ok()) return std::nullopt;
  const std::string_view path = parsed->path;
  const size_t at = path.rfind(kBlobs);
  if (!path.starts_with("/v2/") || at == std::string_view::npos) return std::nullopt;
  const absl::StatusOr<TaskId> id = TaskId::Parse(path.substr(at + kBlobs.size()));
  if (!id.ok() || !id->is_sha256()) return std::nullopt;
  return *id;
}

TaskId PersistentTaskId(std::string_view url, std::string_view region, std::string_view endpoint) {
  return FromComputed(Sha256Hex(StrCat(url, region, endpoint, "PERSISTENT")));
}

struct PersistentCacheIdBuilder::State {
  Hasher hasher;
};

PersistentCacheIdBuilder::PersistentCacheIdBuilder(PersistentCacheIdForm form)
    : state_(std::make_unique<State>(
          State{Hasher(form == PersistentCacheIdForm::kCrc32 ? DigestAlgorithm::kCrc32 : DigestAlgorithm::kSha256)})) {}

PersistentCacheIdBuilder::~PersistentCacheIdBuilder() = default;
PersistentCacheIdBuilder::PersistentCacheIdBuilder(PersistentCacheIdBuilder&&) noexcept = default;
PersistentCacheIdBuilder& PersistentCacheIdBuilder::operator=(PersistentCacheIdBuilder&&) noexcept = default;

void PersistentCacheIdBuilder::Update(std::span<const std::byte> bytes) { state_->hasher.Update(bytes); }

TaskId PersistentCacheIdBuilder::Finish(const PersistentCacheKey& key) {
  state_->hasher.Update(StrCat(key.tag, key.application, DecimalOrEmpty(key.piece_length), "PERSISTENT_CACHE"));
  return FromComputed(state_->hasher.Finish().encoded());
}

TaskId PersistentCacheIdFromContent(PersistentCacheIdForm form, std::string_view content) {
  return FromComputed(form == PersistentCacheIdForm::kCrc32 ? StrCat(Crc32(content)) : Sha256Hex(content));
}

}  // namespace dragonfly
