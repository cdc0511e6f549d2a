// SPDX-License-Identifier: Apache-2.0
#include "daemon/parent_batch.h"

#include <algorithm>
#include <boost/asio/this_coro.hpp>
#include <exception>
#include <utility>

#include "base/status.h"
#include "base/text.h"
#include "daemon/interrupt.h"
#include "daemon/object_tag.h"
#include "daemon/traced.h"
#include "runtime/run_on.h"
#include "telemetry/log.h"

namespace dragonfly::daemon {

namespace asio = boost::asio;

namespace {

DispatcherOptions MakeDispatcherOptions(const ParentBatch::Options& options) {
  DispatcherOptions dispatcher;
  dispatcher.concurrency = options.concurrency;
  dispatcher.seed = options.seed;
  return dispatcher;
}

// Tells the parent's faults from those of the own disk: a sender may send too much, but it cannot fill a disk.
class WriterSink final : public ByteSink {
 public:
  explicit WriterSink(storage::PieceWriter& writer) : writer_(writer) {}
  absl::Status Append(std::span<const std::byte> bytes) override {
    absl::Status status = writer_.Append(bytes);
    if (!status.ok() && !absl::IsOutOfRange(status)) own_error_ = status;
    return status;
  }
  const absl::Status& own_error() const { return own_error_; }

 private:
  storage::PieceWriter& writer_;
  absl::Status own_error_;
};

// A failure of this host, for which no parent is to blame; carried by the code, which no parent's failure has.
constexpr char kOwnFailure[] = "dragonfly.daemon/own-failure";

absl::Status OwnFailure(absl::Status status) {
  status.SetPayload(kOwnFailure, absl::Cord());
  return status;
}
bool IsOwnFailure(const absl::Status& status) { return status.GetPayload(kOwnFailure).has_value(); }

// The connection broke when a part of the piece had come.
constexpr char kBrokeOff[] = "dragonfly.daemon/broke-off";

}  // namespace

ParentBatch::ParentBatch(Lane& lane, std::shared_ptr<storage::TaskContent> content, const PieceLayout& layout,
                         Wishes& wishes, rpc::ChannelPool& channels, Options options, Reports reports)
    : lanes_({&lane}),
      content_(std::move(content)),
      layout_(layout),
      wishes_(wishes),
      channels_(channels),
      options_(std::move(options)),
      reports_(std::move(reports)),
      dispatcher_(layout_, MakeDispatcherOptions(options_)),
      wanted_(layout_.piece_count()),
      group_(lane.executor) {
  lanes_.insert(lanes_.end(), lane.others.begin(), lane.others.end());
  receiving_.resize(lanes_.size());
}

void ParentBatch::AddCause(size_t index, const absl::Status& why) {
  DF_LOG(Debug, "task {}: parent {} at {}: {}", content_->id().str(), parents_[index].candidate.peer_id,
         parents_[index].address.grpc, why.ToString());
  if (causes_.size() < kCausesMax) {
    causes_.push_back(StrCat("parent ", parents_[index].address.grpc, ": ", MessageOf(why)));
  }
}

void ParentBatch::DropParent(size_t index, const absl::Status& why) {
  if (!dispatcher_.live(index)) return;
  AddCause(index, why);
  Forget(index);
}

void ParentBatch::Forget(size_t index) {
  dispatcher_.Drop(index);
  parents_[index].dropped.Notify();
  for (auto& [key, running] : running_) {
    if (key.second == index) running.cancel.Notify();
  }
  events_.Notify();
}

size_t ParentBatch::live_parents() const {
  size_t live = 0;
  for (size_t index = 0; index < parents_.size(); ++index) live += dispatcher_.live(index) ? 1 : 0;
  return live;
}

TimePoint ParentBatch::FirstNewsUntil() const {
  TimePoint until = TimePoint::min();
  for (size_t index = 0; index < parents_.size(); ++index) {
    const Parent& parent = parents_[index];
    if (parent.helper && !parent.heard && dispatcher_.live(index)) {
      until = std::max(until, parent.since + kFirstNewsOfHelper);
    }
  }
  return until;
}

bool ParentBatch::DropIdlestHelper() {
  std::optional<size_t> idlest;
  for (size_t index = 0; index < parents_.size(); ++index) {
    if (!parents_[index].helper || !dispatcher_.live(index) || dispatcher_.outstanding_bytes(index) > 0) continue;
    if (!idlest || parents_[index].useful_at < parents_[*idlest].useful_at) idlest = index;
  }
  if (!idlest) return false;
  Forget(*idlest);
  return true;
}

void ParentBatch::AddParent(CandidateParent candidate, bool helper) {
  for (size_t index = 0; index < parents_.size(); ++index) {
    if (dispatcher_.live(index) && parents_[index].candidate.peer_id == candidate.peer_id) return;
  }
  if (parents_.size() >= kParentsEverMax || (live_parents() >= kParentsMax && !DropIdlestHelper())) return;
  Parent parent;
  parent.address.grpc = rpc::HostPort(candidate.ip, candidate.port);
  parent.address.type = options_.type;
  parent.candidate = std::move(candidate);
  parent.asked = PieceSet(layout_.piece_count());
  parent.helper = helper;
  parent.since = parent.useful_at = Clock::now();
  parents_.push_back(std::move(parent));
  dispatcher_.SetNewsOpen(helper ? dispatcher_.AddHelper() : dispatcher_.AddParent(), false);
}

asio::awaitable<void> ParentBatch::TakeMoreParents() {
  for (;;) {
    absl::StatusOr<std::vector<CandidateParent>> more = co_await options_.more_parents();
    // Those that are there go on without the scheduler.
    if (!more.ok()) co_return;
    for (CandidateParent& candidate : *more) AddParent(std::move(candidate), /*helper=*/true);
    UpdateWishes();
    events_.Notify();
  }
}

// Brings the dispatcher up to what is wanted now, and asks the parents for news of what was not asked for yet.
void ParentBatch::UpdateWishes() {
  PieceSet wanted = wishes_.Missing(*content_, layout_);
  for (auto piece = wanted_.NextFrom(PieceNumber(0)); piece; piece = wanted_.NextFrom(piece->next())) {
    if (!wanted.Contains(*piece)) dispatcher_.Forget(*piece);
  }
  for (auto piece = wanted.NextFrom(PieceNumber(0)); piece; piece = wanted.NextFrom(piece->next())) {
    if (!wanted_.Contains(*piece)) dispatcher_.Want(*piece);
  }
  wanted_ = std::move(wanted);
  dispatcher_.SetReaders(wishes_.InOrder(layout_));
  for (size_t index = 0; index < parents_.size(); ++index) {
    if (!dispatcher_.live(index)) continue;
    std::vector<PieceNumber> numbers;
    for (auto piece = wanted_.NextFrom(PieceNumber(0)); piece; piece = wanted_.NextFrom(piece->next())) {
      if (parents_[index].asked.Insert(*piece)) numbers.push_back(*piece);
    }
    if (numbers.empty()) continue;
    ++parents_[index].open_streams;
    dispatcher_.SetNewsOpen(index, true);
    group_.Spawn(FollowParent(index, std::move(numbers)));
  }
}

asio::awaitable<void> ParentBatch::ForwardWishes(uint64_t seen) {
  for (;;) {
    co_await wishes_.changes().Wait(seen);
    seen = wishes_.changes().version();
    UpdateWishes();
    events_.Notify();
  }
}

// False when the parent contradicts the layout.
bool ParentBatch::TakeNews(size_t index, const PieceNews& news) {
  parents_[index].heard = true;
  if (options_.provisional) {
    // The last piece is shorter than a provisional layout can know, and comes when the length does.
    if (!layout_.Contains(news.number)) return true;
    const ByteRange full = layout_.RangeOf(news.number);
    if (news.range.offset == full.offset && news.range.length < full.length) return true;
  }
  if (!layout_.Contains(news.number) || news.range != layout_.RangeOf(news.number)) return false;
  if (news.endpoint) parents_[index].address.endpoint = news.endpoint;
  if (news.quic) parents_[index].address.quic = news.quic;
  dispatcher_.Announce(index, news.number);
  events_.Notify();
  return true;
}

// Until the stream ends or the parent is dropped.
asio::awaitable<void> ParentBatch::FollowParent(size_t index, std::vector<PieceNumber> numbers) {
  bool news_open = true;
  co_await RunUntil(ReadNews(index, std::move(numbers), news_open), parents_[index].dropped, 0);
  if (news_open) EndNews(index);
}

// One of the parent's streams tells of no more pieces.
void ParentBatch::EndNews(size_t index) {
  parents_[index].heard = true;
  if (--parents_[index].open_streams == 0) dispatcher_.SetNewsOpen(index, false);
  events_.Notify();
}

asio::awaitable<void> ParentBatch::ReadNews(size_t index, std::vector<PieceNumber> numbers, bool& news_open) {
  const std::string address = parents_[index].address.grpc;
  const bool follow = numbers.size() >= kPiecesWorthWatching;
  const std::unique_ptr<PieceNewsStream> stream = OpenPieceNews(
      channels_, address, options_.host_id, content_->id(), numbers, options_.trace.context(), options_.type, follow);
  bool tag_seen = false;
  while (dispatcher_.live(index)) {
    absl::StatusOr<std::optional<PieceNews>> news = co_await stream->Next(Clock::now() + options_.news_timeout);
    if (!news.ok()) {
      if (news_open) AddCause(index, news.status());
      // A broken connection must not be met again by the next task.
      if (absl::IsUnavailable(news.status())) channels_.Drop(address);
      break;
    }
    if (!news->has_value()) break;
    if (!std::exchange(tag_seen, true) && TagsDiffer(stream->object_tag(), options_.object_tag)) {
      DropParent(index, absl::FailedPreconditionError("has another version of the object"));
      break;
    }
    if ((*news)->all_told && std::exchange(news_open, false)) EndNews(index);
    for (const PieceNumber number : (*news)->given) dispatcher_.NoteGiven(index, number, Clock::now());
    if ((*news)->all_told || !(*news)->given.empty()) continue;
    if (!TakeNews(index, **news)) {
      DropParent(index, absl::DataLossError(StrCat("announced piece ", (*news)->number.value(), " at ",
                                                   (*news)->range.offset, " of ", (*news)->range.length,
                                                   " bytes, which is not the layout of the task")));
      break;
    }
  }
}

// The lane that has the least to do: the own one first, since another costs two changes of thread; but it also deals
// out the pieces and records them, so each of its own weighs two.
size_t ParentBatch::IdlestLane() const {
  size_t idlest = 0;
  size_t least = 2 * receiving_[0];
  for (size_t i = 1; i < receiving_.size(); ++i) {
    if (receiving_[i] + 1 >= least) continue;
    idlest = i;
    least = receiving_[i] + 1;
  }
  return idlest;
}

asio::awaitable<absl::StatusOr<std::optional<Digest>>> ParentBatch::Receive(size_t index, PieceNumber number,
                                                                            ByteSink& sink) {
  const size_t chosen = IdlestLane();
  // Counted until the transfer has ended in whatever way.
  struct Count {
    explicit Count(size_t& c) : count(c) { ++count; }
    ~Count() { --count; }
    Count(const Count&) = delete;
    Count& operator=(const Count&) = delete;
    size_t& count;
  };
  const Count count(receiving_[chosen]);
  Lane& lane = *lanes_[chosen];
  asio::awaitable<absl::StatusOr<std::optional<Digest>>> fetch = lane.fetcher->Fetch(
      parents_[index].address, content_->id(), number, layout_.RangeOf(number), sink, options_.limiter);
  if (chosen == 0) co_return co_await std::move(fetch);
  // Cancellation is handed over to the other thread, and the wait lasts until the transfer has ended there.
  co_return co_await runtime::RunOn(lane.executor, std::move(fetch));
}

// Streams one piece from one parent into its place.
asio::awaitable<absl::StatusOr<storage::PieceRecord>> ParentBatch::Move(size_t index, PieceNumber number) {
  absl::StatusOr<storage::PieceWriter> writer = content_->BeginPiece(number);
  while (absl::IsFailedPrecondition(writer.status())) {
    // The transfer that this one takes over is on its way out.
    const absl::Status freed = co_await content_->WhenFinished(number, Clock::now() + std::chrono::seconds(10));
    if (absl::IsDeadlineExceeded(freed)) co_return OwnFailure(freed);
    writer = content_->BeginPiece(number);
  }
  if (absl::IsAlreadyExists(writer.status())) {
    const std::optional<storage::PieceRecord> record = content_->FindPiece(number);
    if (record) co_return *record;
  }
  if (!writer.ok()) co_return OwnFailure(writer.status());

  WriterSink sink(*writer);
  const absl::StatusOr<std::optional<Digest>> digest = co_await Receive(index, number, sink);
  if (!sink.own_error().ok()) co_return OwnFailure(sink.own_error());
  if (!digest.ok()) {
    absl::Status failed = digest.status();
    if (absl::IsUnavailable(failed) && writer->written() > 0) failed.SetPayload(kBrokeOff, absl::Cord());
    co_return failed;
  }
  absl::StatusOr<storage::PieceRecord> record =
      writer->Commit(*digest, parents_[index].candidate.peer_id, storage::TrafficType::kRemotePeer);
  if (record.ok()) {
    reports_.finished(*record);
  } else if (!absl::IsDataLoss(record.status()) && !absl::IsOutOfRange(record.status())) {
    co_return OwnFailure(record.status());
  }
  co_return record;
}

// A reset says nothing about the parent: what lies between may be the reason. All transfers of a moment break together,
// and count as one; who breaks off what began after that is not there any more.
bool ParentBatch::ForgiveBreak(size_t index, PieceNumber number, TimePoint begun, const absl::Status& why) {
  Parent& parent = parents_[index];
  const bool was_there = parent.given > 0 || why.GetPayload(kBrokeOff).has_value();
  if (!absl::IsUnavailable(why) || !was_there || !dispatcher_.live(index)) return false;
  if (parent.broke_at && begun >= *parent.broke_at) return false;
  const TimePoint now = Clock::now();
  if (!dispatcher_.Broke(index, number, now)) return false;
  if (!parent.broke_at) parent.broke_at = now;
  AddCause(index, Annotate(why, StrCat("piece ", number.value())));
  return true;
}

void ParentBatch::BlamePiece(size_t index, PieceNumber number, const absl::Status& why) {
  reports_.failed(number, parents_[index].candidate.peer_id);
  const absl::Status what = Annotate(why, StrCat("piece ", number.value()));
  dispatcher_.Failed(index, number, Clock::now());
  // A piece that was evicted meanwhile is no sin; anything else makes the parent a bad choice for the rest, too.
  if (absl::IsNotFound(why) && ++parents_[index].failures < kFailuresMax) {
    AddCause(index, what);
  } else {
    DropParent(index, what);
  }
}

asio::awaitable<void> ParentBatch::Transfer(PieceDispatcher::Assignment assignment, uint64_t serial,
                                            runtime::Signal cancel) {
  const size_t index = assignment.parent;
  const PieceNumber number = assignment.piece;
  telemetry::Span span = options_.trace.Start("download_from_parent");
  NamePiece(span, content_->id().str(), number.value());
  span.Set("parent_id", parents_[index].candidate.peer_id);
  const TimePoint begun = Clock::now();
  const std::optional<absl::StatusOr<storage::PieceRecord>> record =
      co_await RunUntil(Traced(std::move(span), Move(index, number)), cancel, 0);
  const auto running = running_.find({number.value(), index});
  if (running != running_.end() && running->second.serial == serial) running_.erase(running);
  // Taken over by another parent, or the parent was dropped: the books say so already. A transfer may tell by an error
  // that it was cancelled.
  const bool cancelled = !record || (cancel.version() != 0 && absl::IsCancelled(record->status()));
  if (cancelled) {
    DF_LOG(Debug, "task {}: piece {} is taken from parent {}", content_->id().str(), number.value(),
           parents_[index].candidate.peer_id);
  } else if (record->ok()) {
    ++parents_[index].given;
    parents_[index].broke_at.reset();
    parents_[index].useful_at = Clock::now();
    dispatcher_.Finished(index, number, parents_[index].useful_at);
  } else if (IsOwnFailure(record->status())) {
    if (fatal_.ok()) {
      fatal_ = record->status();
      fatal_.ErasePayload(kOwnFailure);
    }
  } else if (!ForgiveBreak(index, number, begun, record->status())) {
    BlamePiece(index, number, record->status());
  }
  events_.Notify();
}

void ParentBatch::WatchLoads() {
  if (options_.loads == nullptr || parents_.size() < 2 || wanted_.size() < kPiecesWorthWatching) return;
  for (Parent& parent : parents_) parent.load = options_.loads->Begin(parent.address.grpc, options_.peer_id);
}

// What hosts say of themselves counts until their parents have been measured.
void ParentBatch::TakeLoads() {
  for (size_t index = 0; index < parents_.size(); ++index) {
    std::unique_ptr<ParentLoads::Watch>& load = parents_[index].load;
    if (load == nullptr || dispatcher_.rate(index) > 0) continue;
    if (const std::optional<double> free_rate = load->free_rate()) dispatcher_.SetPrior(index, *free_rate);
  }
}

asio::awaitable<void> ParentBatch::Loop() {
  for (;;) {
    const uint64_t seen = events_.version();
    if (!fatal_.ok()) co_return;
    TakeLoads();
    while (const auto assignment = dispatcher_.Next(Clock::now())) {
      if (assignment->instead_of) {
        const auto first = running_.find({assignment->piece.value(), *assignment->instead_of});
        if (first != running_.end()) first->second.cancel.Notify();
        reports_.failed(assignment->piece, parents_[*assignment->instead_of].candidate.peer_id);
        AddCause(*assignment->instead_of,
                 absl::DeadlineExceededError(StrCat("piece ", assignment->piece.value(), " stalled")));
      }
      const Running running{++next_serial_, runtime::Signal()};
      running_.insert_or_assign({assignment->piece.value(), assignment->parent}, running);
      group_.Spawn(Transfer(*assignment, running.serial, running.cancel));
    }
    if (dispatcher_.satisfied()) co_return;
    TimePoint look = dispatcher_.NextLook();
    if (dispatcher_.hopeless()) {
      look = FirstNewsUntil();
      if (look <= Clock::now()) co_return;
    }
    co_await events_.Wait(seen, look);
  }
}

asio::awaitable<absl::Status> ParentBatch::Run(std::vector<CandidateParent> parents) {
  for (CandidateParent& candidate : parents) AddParent(std::move(candidate), /*helper=*/false);
  const uint64_t seen = wishes_.changes().version();
  UpdateWishes();
  WatchLoads();
  group_.Spawn(ForwardWishes(seen));
  if (options_.more_parents) group_.Spawn(TakeMoreParents());
  // The coroutines of the group use this object: they are joined on every way out.
  std::exception_ptr failure;
  try {
    co_await Loop();
  } catch (...) {
    failure = std::current_exception();
  }
  co_await asio::this_coro::throw_if_cancelled(false);
  co_await group_.Stop();
  co_await asio::this_coro::throw_if_cancelled(true);
  if (failure) std::rethrow_exception(failure);
  co_return fatal_;
}

}  // namespace dragonfly::daemon
