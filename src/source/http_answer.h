// SPDX-License-Identifier: Apache-2.0
// Where the answers of an HTTP origin go: one kind for each thing that is asked of it. For HttpSource's .cc files only.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/byte_range.h"
#include "base/byte_sink.h"
#include "base/status.h"
#include "base/text.h"
#include "http/curl_client.h"
#include "runtime/token_bucket.h"
#include "source/answer.h"
#include "source/signer.h"
#include "source/source.h"

namespace dragonfly::source {

inline constexpr int kPartialContent = 206;

inline bool IsSuccess(int status) { return status >= 200 && status < 300; }

// A body nobody wants is read up to here, since the connection can be kept then; a longer one costs more than a new
// connection does.
inline constexpr size_t kDrainMax = 64 << 10;

// Receives an answer: what is no object (redirects, refusals) is drained, an object goes to the derived class.
class HttpAnswer : public http::CurlSink {
 public:
  // The error that no further attempt can mend: what the object or the caller's sink said.
  const absl::Status& verdict() const { return verdict_; }
  // The derived class or the drain limit has ended the transfer, which counts as success.
  bool ended() const { return ended_; }
  const http::CurlResponse& response() const { return response_; }
  // The beginning of the body of an answer that is no object.
  const std::string& refusal() const { return refusal_; }

  absl::Status OnHeader(const http::CurlResponse& response) final {
    response_ = response;
    ended_ = false;
    drained_ = 0;
    refusal_.clear();
    is_object_ = IsSuccess(response.status);
    if (is_object_ && limiter_ != nullptr) size_ = limiter_->SizeOf(WantedOf(response));
    if (!is_object_) {
      const std::optional<uint64_t> length = ContentLengthOf(response);
      return length.has_value() && *length > kDrainMax ? End() : absl::OkStatus();
    }
    return Judge(OnObject(response));
  }

  absl::Status OnBody(std::span<const std::byte> bytes) final {
    if (is_object_) return Judge(OnBytes(bytes));
    drained_ += bytes.size();
    const size_t kept = std::min(bytes.size(), kRefusalBodyMax - refusal_.size());
    refusal_.append(reinterpret_cast<const char*>(bytes.data()), kept);
    return drained_ > kDrainMax ? End() : absl::OkStatus();
  }

  Clock::duration PauseFor(size_t bytes) final {
    if (!is_object_ || limiter_ == nullptr || limiter_->unlimited()) return Clock::duration::zero();
    return limiter_->Reserve(bytes, Clock::now(), size_);
  }

 protected:
  explicit HttpAnswer(runtime::TokenBucket* limiter) : limiter_(limiter) {}

  // The headers of a 2xx answer. An error is final, but for that of End().
  virtual absl::Status OnObject(const http::CurlResponse& response) = 0;
  virtual absl::Status OnBytes(std::span<const std::byte> bytes) = 0;
  // Bytes that are expected of the answer; the most when nobody knows.
  virtual uint64_t WantedOf(const http::CurlResponse& response) const {
    return ContentLengthOf(response).value_or(UINT64_MAX);
  }

  absl::Status End() {
    ended_ = true;
    return absl::CancelledError("enough");
  }

 private:
  absl::Status Judge(absl::Status status) {
    if (!status.ok() && !ended_) verdict_ = status;
    return status;
  }

  runtime::TokenBucket* const limiter_;
  runtime::TransferSize size_ = runtime::TransferSize::kLarge;
  http::CurlResponse response_;
  absl::Status verdict_;
  bool is_object_ = false;
  bool ended_ = false;
  size_t drained_ = 0;
  std::string refusal_;
};

// Wants the headers only.
class StatAnswer final : public HttpAnswer {
 public:
  StatAnswer() : HttpAnswer(nullptr) {}

 private:
  absl::Status OnObject(const http::CurlResponse& response) override {
    const std::optional<uint64_t> length = ContentLengthOf(response);
    return length.has_value() && *length <= kDrainMax ? absl::OkStatus() : End();
  }
  absl::Status OnBytes(std::span<const std::byte> bytes) override {
    seen_ += bytes.size();
    return seen_ > kDrainMax ? End() : absl::OkStatus();
  }

  size_t seen_ = 0;
};

// Tells of the object, and takes its beginning to where it is wanted.
class OpenAnswer final : public HttpAnswer {
 public:
  OpenAnswer(uint64_t first_bytes, const Source::Opened& opened, runtime::TokenBucket& limiter)
      : HttpAnswer(&limiter), first_bytes_(first_bytes), opened_(opened) {}

  // Nothing while no usable answer has come.
  const std::optional<OriginStat>& stat() const { return stat_; }
  uint64_t taken() const { return taken_; }
  bool wanted() const { return sink_ != nullptr; }
  // Everything that was to come has come.
  bool whole() const { return !expected_ || taken_ == *expected_; }

 private:
  absl::Status OnObject(const http::CurlResponse& response) override {
    stat_ = StatOf(response, first_bytes_);
    if (!stat_) return End();
    expected_ = stat_->content_length;
    if (response.status == kPartialContent) expected_ = std::min(first_bytes_, *stat_->content_length);
    absl::StatusOr<ByteSink*> sink = opened_(*stat_);
    if (!sink.ok()) return sink.status();
    sink_ = *sink;
    return sink_ == nullptr ? End() : absl::OkStatus();
  }

  absl::Status OnBytes(std::span<const std::byte> bytes) override {
    if (expected_ && bytes.size() > *expected_ - taken_) {
      return absl::FailedPreconditionError("origin sends more bytes than it has announced");
    }
    DF_RETURN_IF_ERROR(sink_->Append(bytes));
    taken_ += bytes.size();
    return absl::OkStatus();
  }

  const uint64_t first_bytes_;
  const Source::Opened& opened_;
  std::optional<OriginStat> stat_;
  std::optional<uint64_t> expected_;
  ByteSink* sink_ = nullptr;
  uint64_t taken_ = 0;
};

// Takes exactly `asked`.
class RangeAnswer final : public HttpAnswer {
 public:
  RangeAnswer(ByteRange asked, ObjectVersion version, ByteSink& sink, runtime::TokenBucket& limiter)
      : HttpAnswer(&limiter), asked_(asked), version_(std::move(version)), sink_(sink) {}

  uint64_t taken() const { return taken_; }
  // With what the answer told.
  const ObjectVersion& version() const { return version_; }

 private:
  absl::Status OnObject(const http::CurlResponse& response) override {
    exact_ = response.status == kPartialContent;
    return CheckRangeAnswer(response, asked_, version_);
  }

  uint64_t WantedOf(const http::CurlResponse&) const override { return asked_.length; }

  absl::Status OnBytes(std::span<const std::byte> bytes) override {
    const uint64_t wanted = asked_.length - taken_;
    const std::span<const std::byte> mine = bytes.first(static_cast<size_t>(std::min<uint64_t>(wanted, bytes.size())));
    if (!mine.empty()) {
      DF_RETURN_IF_ERROR(sink_.Append(mine));
      taken_ += mine.size();
    }
    if (bytes.size() > mine.size() && exact_) {
      return absl::FailedPreconditionError(
          StrCat("origin sends more bytes than the range ", ToHttpRange(asked_), " has"));
    }
    // The rest of a whole object is not of interest.
    return taken_ == asked_.length && !exact_ ? End() : absl::OkStatus();
  }

  const ByteRange asked_;
  ObjectVersion version_;
  ByteSink& sink_;
  uint64_t taken_ = 0;
  bool exact_ = false;
};

// Takes everything.
class WholeAnswer final : public HttpAnswer {
 public:
  WholeAnswer(ObjectVersion version, ByteSink& sink, runtime::TokenBucket& limiter)
      : HttpAnswer(&limiter), version_(std::move(version)), sink_(sink) {}

  uint64_t taken() const { return taken_; }

 private:
  absl::Status OnObject(const http::CurlResponse& response) override {
    if (response.status == kPartialContent) {
      return absl::FailedPreconditionError("origin answers a range that was not asked for");
    }
    return CheckVersion(version_, response, ContentLengthOf(response));
  }
  absl::Status OnBytes(std::span<const std::byte> bytes) override {
    DF_RETURN_IF_ERROR(sink_.Append(bytes));
    taken_ += bytes.size();
    return absl::OkStatus();
  }

  const ObjectVersion version_;
  ByteSink& sink_;
  uint64_t taken_ = 0;
};

// Keeps a body that is small enough.
class DocumentAnswer final : public HttpAnswer {
 public:
  explicit DocumentAnswer(size_t body_max) : HttpAnswer(nullptr), body_max_(body_max) {}

  std::string& body() { return body_; }

 private:
  absl::Status OnObject(const http::CurlResponse&) override {
    body_.clear();
    return absl::OkStatus();
  }
  absl::Status OnBytes(std::span<const std::byte> bytes) override {
    if (bytes.size() > body_max_ - body_.size()) {
      return absl::ResourceExhaustedError(StrCat("the answer is larger than ", body_max_, " bytes"));
    }
    body_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return absl::OkStatus();
  }

  const size_t body_max_;
  std::string body_;
};

}  // namespace dragonfly::source
