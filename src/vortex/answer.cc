// SPDX-License-Identifier: Apache-2.0
#include "vortex/answer.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/status.h"
#include "base/text.h"

namespace dragonfly::vortex {

namespace asio = boost::asio;

namespace {

// The reference's words, which its users know from their logs.
Error ErrorFor(const Request& request, const absl::Status& status) {
  if (absl::IsNotFound(status)) return {ErrorCode::kNotFound, StrCat("piece ", PieceId(request), " not found")};
  return {ErrorCode::kInternal, StrCat("failed to get piece ", PieceId(request), " content: ", status.message())};
}

}  // namespace

std::optional<Header> RequestHeader(std::span<const std::byte> received) {
  if (received.size() < kHeaderSize) return std::nullopt;
  const Header header = DecodeHeader(received.first<kHeaderSize>());
  const bool is_request = ContentTagOf(header.tag).has_value() && header.length == kRequestValueSize;
  if (is_request && received.size() < kRequestSize) return std::nullopt;
  return header;
}

absl::StatusOr<Request> ParseRequest(const Header& header, std::span<const std::byte> packet) {
  if (!ContentTagOf(header.tag)) {
    return absl::InvalidArgumentError(StrCat("unsupported tag ", static_cast<unsigned>(header.tag)));
  }
  if (header.length != kRequestValueSize) {
    return absl::InvalidArgumentError(StrCat("a piece request of ", header.length, " bytes"));
  }
  return DecodeRequest(packet.subspan(kHeaderSize));
}

std::string PieceId(const Request& request) { return StrCat(request.task_id.str(), "-", request.number.value()); }

Answerer::Answerer(PieceProvider& provider, runtime::TokenBucket& limiter, Options options)
    : provider_(provider), limiter_(limiter), options_(options) {}

asio::awaitable<absl::Status> Answerer::Answer(AnswerWriter& writer, Header header, Request request) const {
  // The provider keeps its own deadline; the peer owes nothing meanwhile.
  writer.SetDeadline(kNoDeadline);
  absl::StatusOr<ServedPiece> piece =
      co_await provider_.Provide(header.tag, request, Clock::now() + options_.piece_wait_timeout);
  if (!piece.ok()) {
    writer.SetDeadline(Patience());
    const std::vector<std::byte> packet = EncodeError(header.id, ErrorFor(request, piece.status()));
    DF_CO_RETURN_IF_ERROR(co_await writer.Send(packet, /*more=*/false));
    co_return co_await writer.Finish();
  }

  // Reported on every way out, cancellation included.
  struct Report {
    PieceProvider& provider;
    Tag tag;
    const Request& request;
    uint64_t sent = 0;
    bool complete = false;
    ~Report() { provider.Sent(tag, request, sent, complete); }
  };
  Report report{provider_, header.tag, request};
  absl::Status status = co_await SendPiece(writer, header, *std::move(piece), report.sent);
  if (status.ok()) status = co_await writer.Finish();
  report.complete = status.ok();
  co_return status;
}

asio::awaitable<absl::Status> Answerer::SendPiece(AnswerWriter& writer, Header header, ServedPiece piece,
                                                  uint64_t& sent) const {
  const std::vector<std::byte> prefix = EncodeContent(header.id, *ContentTagOf(header.tag), piece.metadata);
  const ByteRange range = piece.metadata.range;
  const runtime::TransferSize size = limiter_.SizeOf(range.length);
  uint64_t granted = 0;
  bool begun = false;
  do {
    const uint64_t remaining = range.length - sent;
    if (granted == 0) {
      granted = limiter_.unlimited() ? remaining : std::min(remaining, limiter_.chunk());
      co_await limiter_.Take(granted, size);
    }
    writer.SetDeadline(Patience());
    if (!begun) {
      DF_CO_RETURN_IF_ERROR(co_await writer.Send(prefix, /*more=*/remaining > 0));
      begun = true;
      continue;
    }
    const absl::StatusOr<uint64_t> moved = co_await writer.SendFile(*piece.file, range.offset + sent, granted);
    if (!moved.ok()) co_return moved.status();
    granted -= *moved;
    sent += *moved;
  } while (sent < range.length);
  writer.SetDeadline(Patience());
  co_return absl::OkStatus();
}

asio::awaitable<absl::Status> Answerer::Refuse(AnswerWriter& writer, uint8_t packet_id, std::string message) const {
  writer.SetDeadline(Patience());
  const std::vector<std::byte> packet = EncodeError(packet_id, {ErrorCode::kInvalidArgument, std::move(message)});
  DF_CO_RETURN_IF_ERROR(co_await writer.Send(packet, /*more=*/false));
  co_return co_await writer.Finish();
}

}  // namespace dragonfly::vortex
