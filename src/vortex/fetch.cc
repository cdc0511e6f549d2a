// SPDX-License-Identifier: Apache-2.0
#include "vortex/fetch.h"

#include <utility>

#include "absl/status/statusor.h"
#include "base/status.h"
#include "base/text.h"

namespace dragonfly::vortex {

namespace {

absl::Status StatusOf(const Error& error) {
  const std::string message =
      StrCat("vortex protocol status: code=", ErrorCodeName(error.code), ", message=", error.message);
  switch (error.code) {
    case ErrorCode::kNotFound:
      return absl::NotFoundError(message);
    case ErrorCode::kInvalidArgument:
      return absl::InvalidArgumentError(message);
    default:
      return absl::InternalError(message);
  }
}

}  // namespace

std::string ToString(const Endpoint& endpoint) {
  const bool v6 = endpoint.ip.find(':') != std::string::npos;
  return StrCat(v6 ? "[" : "", endpoint.ip, v6 ? "]:" : ":", endpoint.port);
}

std::string FetchRequest::ToString(const Endpoint& endpoint) const {
  return StrCat("fetch piece ", piece->number.value(), " of task ", piece->task_id.str(), " from ",
                vortex::ToString(endpoint));
}

AnswerHead::AnswerHead(Tag requested, PieceNumber number, ByteRange expected)
    : requested_(requested), number_(number), expected_(expected) {}

std::span<std::byte> AnswerHead::wanted() {
  if (complete_) return {};
  return (in_value_ ? std::span(value_) : std::span<std::byte>(header_bytes_)).subspan(filled_);
}

absl::Status AnswerHead::Filled(size_t n) {
  filled_ += n;
  if (!in_value_) {
    if (filled_ < kHeaderSize) return absl::OkStatus();
    DF_RETURN_IF_ERROR(ReadHeader());
  }
  return filled_ == value_.size() ? ReadValue() : absl::OkStatus();
}

absl::Status AnswerHead::ReadHeader() {
  const Header header = DecodeHeader(header_bytes_);
  is_error_ = header.tag == Tag::kError;
  if (!is_error_ && header.tag != ContentTagOf(requested_)) {
    return absl::DataLossError(StrCat("the parent answers with tag ", static_cast<unsigned>(header.tag)));
  }
  if (header.length > (is_error_ ? kErrorSizeMax : kMetadataSizeMax)) {
    return absl::DataLossError(StrCat("the parent announces a head of ", header.length, " bytes"));
  }
  value_.resize(header.length);
  filled_ = 0;
  in_value_ = true;
  return absl::OkStatus();
}

absl::Status AnswerHead::ReadValue() {
  if (is_error_) {
    const absl::StatusOr<Error> error = DecodeError(value_);
    if (!error.ok()) return absl::DataLossError(error.status().message());
    refused_ = true;
    return StatusOf(*error);
  }
  absl::StatusOr<ContentMetadata> metadata = DecodeContentMetadata(value_);
  if (!metadata.ok()) return absl::DataLossError(metadata.status().message());
  if (metadata->number != number_ || metadata->range != expected_) {
    return absl::DataLossError(StrCat("the parent sends piece ", metadata->number.value(), " at ",
                                      metadata->range.offset, " of ", metadata->range.length, " bytes where ",
                                      number_.value(), " at ", expected_.offset, " of ", expected_.length,
                                      " was asked for"));
  }
  metadata_ = *std::move(metadata);
  complete_ = true;
  return absl::OkStatus();
}

}  // namespace dragonfly::vortex
