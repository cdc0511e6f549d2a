// SPDX-License-Identifier: Apache-2.0
// One caller of TaskManager::Download(): its checked request, its view of the content, its end.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "base/byte_range.h"
#include "base/digest.h"
#include "daemon/output.h"
#include "daemon/range_request.h"
#include "daemon/task_download.h"
#include "daemon/task_manager.h"

namespace dragonfly::daemon {

// Smallest and largest piece length that a request may name, in bytes.
inline constexpr uint64_t kRequestedPieceLengthMin = 4 << 10;
inline constexpr uint64_t kRequestedPieceLengthMax = 1 << 30;

// Thread rule: the executor of the caller.
class Caller {
 public:
  // `observer` and `parts` must outlive it.
  Caller(TaskId id, DownloadRequest request, DownloadObserver& observer, const TaskManagerParts& parts);
  ~Caller();
  Caller(const Caller&) = delete;
  Caller& operator=(const Caller&) = delete;

  // Errors: INVALID_ARGUMENT naming the field.
  absl::Status Check();

  // Whether the output may be made, as far as can be told without the content; `here`: what is on this host of it.
  // Errors: as storage::CheckOutput().
  boost::asio::awaitable<absl::Status> CheckOutput(std::shared_ptr<storage::TaskContent> here) const;

  const std::shared_ptr<const common::v2::Download>& wire() const { return request_.wire; }
  const OriginTerms& origin() const { return request_.origin; }
  const telemetry::SpanContext& trace() const { return request_.trace; }
  // A part of the file is asked for, by the field or by a Range header.
  bool wants_range() const { return range_request_.any(); }
  bool reads_in_order() const { return observer_.reads_in_order(); }
  // The origin has accepted this very caller's request.
  void OriginAccepts() { accepted_ = true; }
  bool accepted() const { return accepted_; }
  // The observer was told of the task.
  bool started() const { return started_; }
  // Turns that into bytes of the file. Errors: FAILED_PRECONDITION for one that cannot be satisfied.
  absl::Status ResolveRange(const PieceLayout& layout);
  const std::optional<ByteRange>& range() const { return range_; }
  // The pieces that are wanted, after ResolveRange(); nullopt for an empty file.
  std::optional<PieceLayout::Interval> WantedOf(const PieceLayout& layout) const;

  // The first `before` pieces that were finished in `content` (all by now, when there are fewer) count as found on this
  // host, those behind them as news.
  void SeeContent(std::shared_ptr<storage::TaskContent> content, size_t before = SIZE_MAX);
  // Returns when the length of the content is known. Errors: the outcome of `download`.
  boost::asio::awaitable<absl::Status> WaitForLength(const TaskDownload& download);
  // Tells the observer of everything until all wanted pieces are there, then makes the output. `download`: null when
  // all is there already.
  boost::asio::awaitable<absl::Status> Follow(uint64_t piece_length, const TaskDownload* download);

  // Counts the end; returns `status`.
  absl::Status End(absl::Status status);

 private:
  TaskLabels Labels() const;
  DownloadStarted MakeStarted(const std::optional<PieceLayout>& layout, uint64_t piece_length,
                              const TaskDownload* download) const;
  boost::asio::awaitable<absl::Status> FollowPieces(const TaskDownload& download, uint32_t told);
  boost::asio::awaitable<absl::Status> MakeOutputOrGiveUp(OutputRequest output);

  const TaskId id_;
  const DownloadRequest request_;
  DownloadObserver& observer_;
  const TaskManagerParts& parts_;
  const TimePoint begin_ = Clock::now();
  const RangeRequest range_request_;
  std::optional<ByteRange> range_;
  OutputRequest output_;
  // The digest that the task is named by, whatever the origin. Nobody else would see that an origin sent something else
  // under this name, and every other origin's clients would get it.
  std::optional<Digest> name_;
  std::shared_ptr<storage::TaskContent> content_;
  std::vector<storage::PieceRecord> present_;
  size_t seen_ = 0;  // entries of FinishedSince() that were looked at
  bool accepted_ = false;
  bool started_ = false;
  bool ended_ = false;
};

}  // namespace dragonfly::daemon
