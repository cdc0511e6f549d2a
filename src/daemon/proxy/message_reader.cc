// SPDX-License-Identifier: Apache-2.0
#include "daemon/proxy/message_reader.h"

#include <algorithm>
#include <cstring>

#include "base/status.h"
#include "base/text.h"
#include "daemon/proxy/http_error.h"

namespace dragonfly::daemon::proxy {

namespace asio = boost::asio;

namespace {

constexpr size_t kFillStep = 16 << 10;
// Interim answers in front of the final one.
constexpr int kInterimMax = 16;

}  // namespace

asio::awaitable<absl::StatusOr<size_t>> MessageReader::Fill() {
  const size_t had = pending_.size();
  // No memory is held for who says nothing.
  if (had == 0) DF_CO_RETURN_IF_ERROR(co_await stream_.WaitReadable());
  pending_.resize(had + kFillStep);
  const std::span<std::byte> room = std::as_writable_bytes(std::span(pending_.data() + had, kFillStep));
  const absl::StatusOr<size_t> got = co_await stream_.ReadSome(room);
  pending_.resize(had + got.value_or(0));
  co_return got;
}

asio::awaitable<absl::StatusOr<size_t>> MessageReader::ReadHead(bool& begun) {
  for (;;) {
    // RFC 9112 §2.2: an empty line in front of a message is no message.
    if (pending_.starts_with("\r\n")) pending_.erase(0, 2);
    DF_CO_ASSIGN_OR_RETURN(const std::optional<size_t> end, FindHeadEnd(pending_));
    if (end) co_return *end;
    const absl::StatusOr<size_t> got = co_await Fill();
    if (absl::IsDeadlineExceeded(got.status()) && !pending_.empty()) {
      co_return HttpError(408, "the head of the message did not come in time");
    }
    if (!got.ok()) co_return got.status();
    if (*got == 0 && pending_.empty()) co_return 0;
    if (*got == 0) co_return HttpError(400, "the connection ends within the head of a message");
    begun = true;
    BeginHead();
  }
}

void MessageReader::BeginHead() {
  if (head_by_ != kNoDeadline || head_time_ == Clock::duration::zero()) return;
  head_by_ = Clock::now() + head_time_;
  stream_.SetDeadline(head_by_);
}

void MessageReader::EndHead() {
  if (head_by_ == kNoDeadline) return;
  head_by_ = kNoDeadline;
  stream_.SetDeadline(kNoDeadline);
}

void MessageReader::BeginBody(const BodyFraming& framing) {
  framing_ = framing;
  left_ = framing.length;
  body_done_ = framing.kind == BodyFraming::Kind::kNone || (framing.kind == BodyFraming::Kind::kLength && left_ == 0);
  chunks_ = framing.kind == BodyFraming::Kind::kChunked ? std::make_unique<ChunkedDecoder>() : nullptr;
  // What a large head has taken is given back.
  if (pending_.empty()) pending_.shrink_to_fit();
}

asio::awaitable<absl::StatusOr<std::optional<RequestHead>>> MessageReader::ReadRequest() {
  bool begun = false;
  if (!pending_.empty()) BeginHead();
  const absl::StatusOr<size_t> read = co_await ReadHead(begun);
  EndHead();
  if (!read.ok()) co_return read.status();
  const size_t end = *read;
  std::optional<RequestHead> request;
  if (end == 0) co_return request;
  DF_CO_ASSIGN_OR_RETURN(request, ParseRequestHead(std::string_view(pending_).substr(0, end)));
  pending_.erase(0, end);
  BeginBody(request->body);
  co_return request;
}

asio::awaitable<absl::StatusOr<ResponseHead>> MessageReader::ReadResponse(std::string method, bool& begun) {
  for (int interim = 0; interim <= kInterimMax; ++interim) {
    const absl::StatusOr<size_t> end = co_await ReadHead(begun);
    if (!end.ok() && HttpStatusOf(end.status()) < 500) {
      const int status = HttpStatusOf(end.status()) == 408 ? 504 : 502;
      co_return HttpError(status, StrCat("read the origin's answer: ", MessageOf(end.status())));
    }
    if (!end.ok()) co_return end.status();
    if (*end == 0) co_return absl::UnavailableError("the origin closed the connection without an answer");
    DF_CO_ASSIGN_OR_RETURN(ResponseHead response,
                           ParseResponseHead(std::string_view(pending_).substr(0, *end), method));
    pending_.erase(0, *end);
    if (response.status / 100 == 1 && response.status != 101) continue;
    BeginBody(response.body);
    co_return response;
  }
  co_return HttpError(502, "the origin sends interim answers without end");
}

asio::awaitable<absl::StatusOr<size_t>> MessageReader::ReadPlain(std::span<std::byte> out) {
  const bool bounded = framing_.kind == BodyFraming::Kind::kLength;
  if (bounded) out = out.first(static_cast<size_t>(std::min<uint64_t>(out.size(), left_)));
  size_t got = std::min(out.size(), pending_.size());
  if (got > 0) {
    std::memcpy(out.data(), pending_.data(), got);
    pending_.erase(0, got);
    if (pending_.empty()) pending_.shrink_to_fit();
  } else {
    DF_CO_ASSIGN_OR_RETURN(got, co_await stream_.ReadSome(out));
    if (got == 0 && bounded) co_return absl::UnavailableError(StrCat("the body ends ", left_, " bytes too early"));
  }
  if (bounded) left_ -= got;
  body_done_ = bounded ? left_ == 0 : got == 0;
  co_return got;
}

asio::awaitable<absl::StatusOr<size_t>> MessageReader::ReadChunked(std::span<std::byte> out) {
  for (;;) {
    DF_CO_ASSIGN_OR_RETURN(const ChunkedDecoder::Step step, chunks_->Decode(pending_, out));
    pending_.erase(0, step.consumed);
    body_done_ = chunks_->done();
    if (step.produced > 0 || body_done_) co_return step.produced;
    if (step.consumed > 0 && !pending_.empty()) continue;
    DF_CO_ASSIGN_OR_RETURN(const size_t got, co_await Fill());
    if (got == 0) co_return absl::UnavailableError("the body ends within a chunk");
  }
}

asio::awaitable<absl::StatusOr<size_t>> MessageReader::ReadBody(std::span<std::byte> out) {
  if (body_done_) co_return 0;
  if (framing_.kind == BodyFraming::Kind::kChunked) co_return co_await ReadChunked(out);
  co_return co_await ReadPlain(out);
}

}  // namespace dragonfly::daemon::proxy
