// SPDX-License-Identifier: Apache-2.0
#include "daemon/proxy/content_sender.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/status.h"
#include "base/text.h"

namespace dragonfly::daemon::proxy {

namespace asio = boost::asio;

namespace {

// RFC 9110 §13.1.5: a strong tag, or the very date.
bool IfRangeHolds(const std::string& if_range, const std::map<std::string, std::string>& header) {
  const bool tag = if_range.starts_with('"');
  const auto it = header.find(tag ? "etag" : "last-modified");
  return it != header.end() && it->second == if_range;
}

}  // namespace

Fields StoredFields(const std::map<std::string, std::string>& header) {
  Fields fields;
  for (const auto& [name, value] : header) fields.Add(name, value);
  fields.RemoveHopByHop();
  fields.RemovePrefix("x-dragonfly-");
  for (const char* name : {"content-length", "content-range", "accept-ranges", "set-cookie", "set-cookie2", "date",
                           "age", "via", "alt-svc", "strict-transport-security"}) {
    fields.Remove(name);
  }
  return fields;
}

ContentSender::ContentSender(ClientTurn& turn, std::string if_range, std::string server_ip, Check check)
    : turn_(turn), if_range_(std::move(if_range)), server_ip_(std::move(server_ip)), check_(std::move(check)) {}

ResponseHead ContentSender::MakeHead(const DownloadStarted& started) {
  ResponseHead head;
  head.fields = StoredFields(started.response_header);
  head.status = started.range ? 206 : 200;
  if (started.range) {
    const ByteRange& range = *started.range;
    head.fields.Add("Content-Range", StrCat("bytes ", range.offset, "-", range.end() - 1, "/",
                                            started.content_length ? std::to_string(*started.content_length) : "*"));
    length_ = range.length;
    position_ = range.offset;
    end_ = range.end();
  } else if (started.content_length) {
    length_ = *started.content_length;
    end_ = *started.content_length;
  }
  if (length_) {
    head.fields.Add("Content-Length", std::to_string(*length_));
    head.fields.Add("Accept-Ranges", "bytes");
  } else if (turn_.version >= 11) {
    chunked_ = true;
    head.fields.Add("Transfer-Encoding", "chunked");
  } else {
    turn_.keep_alive = false;
  }
  head.fields.Add("Date", HttpDate());
  head.fields.Add("X-Dragonfly-Task-ID", started.task_id.str());
  head.fields.Add("X-Dragonfly-Server-IP", server_ip_);
  if (started.complete) head.fields.Add("X-Dragonfly-Task-Download-Finished", "true");
  return head;
}

asio::awaitable<absl::Status> ContentSender::Started(const DownloadStarted& started) {
  task_id_ = started.task_id.str();
  peer_id_ = started.peer_id;
  if (!head_sent_) {
    refusal_ = co_await check_(started);
    if (refusal_) co_return absl::AbortedError("the client may not have it");
    if (!if_range_.empty() && started.range && !IfRangeHolds(if_range_, started.response_header)) {
      wants_whole_ = true;
      co_return absl::AbortedError("the client has another version");
    }
    content_ = started.content;
    piece_length_ = std::max<uint64_t>(1, started.piece_length);
    head_sent_ = true;
    co_return co_await SendHead(turn_, MakeHead(started), /*more=*/started.complete && length_ != 0);
  }
  // Begun again because a piece was damaged: what went out must be the beginning of what comes now.
  const bool same = started.content_length.has_value() && length_.has_value() &&
                    started.response_header == content_->response_header() && started.piece_length == piece_length_;
  if (!same) co_return absl::DataLossError("the content has changed while it was sent");
  content_ = started.content;
  co_return absl::OkStatus();
}

asio::awaitable<absl::Status> ContentSender::SendPiece(const storage::PieceRecord& record) {
  DF_CO_ASSIGN_OR_RETURN(storage::PieceBytes piece, content_->OpenPiece(record.number));
  const ByteRange range = piece.record.range;
  const uint64_t end = std::min(end_, range.end());
  if (position_ < range.offset || position_ >= end) co_return absl::InternalError("a piece lies where it should not");
  const uint64_t length = end - position_;
  const bool last = length_ && sent_ + length == *length_;
  if (chunked_) DF_CO_RETURN_IF_ERROR(co_await turn_.stream.Write(absl::StrFormat("%x\r\n", length), true));
  DF_CO_RETURN_IF_ERROR(co_await turn_.stream.SendFile(piece.file->get(), position_, length));
  if (chunked_) DF_CO_RETURN_IF_ERROR(co_await turn_.stream.Write(std::string_view("\r\n"), !last));
  position_ += length;
  sent_ += length;
  held_ = std::move(piece);
  co_return absl::OkStatus();
}

asio::awaitable<absl::Status> ContentSender::PieceReady(const storage::PieceRecord& /*record*/) {
  while (position_ < end_) {
    const PieceNumber next(static_cast<uint32_t>(position_ / piece_length_));
    const std::optional<storage::PieceRecord> ready = content_->FindPiece(next);
    // Of unknown length: a short piece was the last one.
    if (!ready || position_ >= ready->range.end()) break;
    DF_CO_RETURN_IF_ERROR(co_await SendPiece(*ready));
  }
  co_return absl::OkStatus();
}

asio::awaitable<absl::Status> ContentSender::Finish() {
  if (!length_) {
    const std::optional<PieceLayout> layout = content_->layout();
    if (!layout || layout->content_length() != sent_) co_return absl::InternalError("not all of the content was sent");
    if (chunked_) co_return co_await turn_.stream.Write(std::string_view("0\r\n\r\n"));
    co_return absl::OkStatus();
  }
  if (sent_ != *length_) co_return absl::InternalError(StrCat(*length_ - sent_, " bytes of the content are missing"));
  co_return absl::OkStatus();
}

}  // namespace dragonfly::daemon::proxy
