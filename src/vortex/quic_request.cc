// SPDX-License-Identifier: Apache-2.0
#include "vortex/quic_request.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "base/status.h"
#include "base/text.h"

namespace dragonfly::vortex {

namespace asio = boost::asio;

namespace {

class QuicAnswerWriter final : public AnswerWriter {
 public:
  explicit QuicAnswerWriter(QuicStream& stream) : stream_(stream) {}

  void SetDeadline(TimePoint deadline) override { deadline_ = deadline; }
  asio::awaitable<absl::Status> Send(std::span<const std::byte> bytes, bool /*more*/) override {
    stream_.Queue(SendChunk::Copy(bytes));
    co_return absl::OkStatus();
  }
  asio::awaitable<absl::StatusOr<uint64_t>> SendFile(const UniqueFd& file, uint64_t offset, uint64_t length) override {
    DF_CO_RETURN_IF_ERROR(co_await stream_.WaitForRoom(deadline_));
    SendChunk chunk = SendChunk::Take();
    const size_t wanted = std::min<uint64_t>(length, chunk.room().size());
    ssize_t n = 0;
    do {
      n = ::pread(file.get(), chunk.room().data(), wanted, static_cast<off_t>(offset));
    } while (n < 0 && errno == EINTR);
    if (n < 0) co_return ErrnoStatus(errno, "read");
    if (n == 0) co_return absl::DataLossError(StrCat("the file ends ", length, " bytes before the piece does"));
    chunk.SetSize(static_cast<size_t>(n));
    stream_.Queue(std::move(chunk));
    co_return static_cast<uint64_t>(n);
  }
  asio::awaitable<absl::Status> Finish() override {
    stream_.QueueEnd();
    co_return co_await stream_.WaitUntilAcknowledged(deadline_);
  }

 private:
  QuicStream& stream_;
  TimePoint deadline_ = kNoDeadline;
};

}  // namespace

QuicRequest::QuicRequest(std::shared_ptr<QuicStream> stream) : stream_(std::move(stream)) { stream_->SetReader(this); }

QuicRequest::~QuicRequest() {
  if (answered_ && half_ended_) {
    stream_->SetReader(nullptr);
  } else if (answered_) {
    stream_->StopReading();
  } else {
    stream_->Abandon();
  }
}

void QuicRequest::Received(std::span<const std::byte> bytes, bool last) {
  // What follows a request is dropped: a stream carries one.
  const std::span<const std::byte> taken = bytes.first(std::min(bytes.size(), packet_.size() - have_));
  std::memcpy(packet_.data() + have_, taken.data(), taken.size());
  have_ += taken.size();
  stream_->Consumed(bytes.size());
  half_ended_ = half_ended_ || last;
  if (last && broken_.ok()) broken_ = absl::UnavailableError("the request ends early");
  changed_.Notify();
}

void QuicRequest::Broken(const absl::Status& why) {
  if (broken_.ok()) broken_ = why;
  changed_.Notify();
}

void QuicRequest::StopReading() { Broken(absl::CancelledError("the server is stopping")); }

// A half that ends, or is reset, when the request is there is none of the server's business: older children drop it.
asio::awaitable<absl::StatusOr<Header>> QuicRequest::ReadHeader(TimePoint deadline) {
  for (;;) {
    const uint64_t seen = changed_.version();
    if (const std::optional<Header> header = RequestHeader(std::span(packet_).first(have_))) co_return *header;
    if (!broken_.ok()) co_return broken_;
    if (!co_await changed_.Wait(seen, deadline)) co_return absl::DeadlineExceededError("no request in time");
  }
}

asio::awaitable<absl::Status> QuicRequest::Serve(const Answerer& answerer, TimePoint request_by) {
  const absl::StatusOr<Header> header = co_await ReadHeader(request_by);
  if (!header.ok()) co_return header.status();
  if (header->tag == Tag::kClose) co_return absl::OkStatus();
  QuicAnswerWriter writer(*stream_);
  const absl::StatusOr<Request> request = ParseRequest(*header, packet_);
  absl::Status sent;
  if (request.ok()) {
    sent = co_await answerer.Answer(writer, *header, *request);
  } else {
    std::string why(MessageOf(request.status()));
    sent = co_await answerer.Refuse(writer, header->id, std::move(why));
  }
  answered_ = sent.ok();
  if (!sent.ok() && request.ok()) co_return Annotate(sent, StrCat("send piece ", PieceId(*request)));
  co_return sent;
}

}  // namespace dragonfly::vortex
