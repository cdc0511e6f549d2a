// SPDX-License-Identifier: Apache-2.0
#include "source/http_source.h"

#include <algorithm>
#include <utility>

#include "absl/random/random.h"
#include "absl/time/clock.h"
#include "base/status.h"
#include "base/text.h"
#include "base/url.h"
#include "source/answer.h"
#include "source/attempts.h"
#include "source/signer.h"

namespace dragonfly::source {

namespace asio = boost::asio;

namespace {

constexpr int kPartialContent = 206;
constexpr int kRangeNotSatisfiable = 416;
constexpr size_t kRedirectsRemembered = 1000;

// What the second question of a stat may take.
constexpr Clock::duration kHeadPatience = std::chrono::seconds(10);

// A body nobody wants is read up to here, since the connection can be kept then; a longer one costs more than a new
// connection does.
constexpr size_t kDrainMax = 64 << 10;

bool IsSuccess(int status) { return status >= 200 && status < 300; }

bool IsRedirect(int status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

// A target that was good once may have become bad: its signature has run out, its object has moved.
bool MayBeStale(const absl::StatusOr<http::CurlResponse>& answer) {
  if (!answer.ok()) return absl::IsUnavailable(answer.status());
  return answer->status == 401 || answer->status == 403 || answer->status == 404 || answer->status == 410;
}

bool MayBeMisSigned(const http::CurlResponse& answer) {
  return answer.status == 400 || answer.status == 401 || answer.status == 403;
}

bool ForbidsCaching(const http::CurlResponse& response) {
  const std::string control = ToLowerAscii(response.Find("cache-control").value_or(""));
  return control.find("no-store") != control.npos || control.find("no-cache") != control.npos ||
         control.find("max-age=0") != control.npos;
}

bool SameOrigin(const Url& a, const Url& b) {
  return a.scheme == b.scheme && a.host == b.host && a.effective_port() == b.effective_port();
}

bool IsHttp(const Url& url) { return url.scheme == "http" || url.scheme == "https"; }

// The stat of an empty object by the 416 that a range of it is answered with; nullopt when the 416 says otherwise.
std::optional<OriginStat> EmptyStatOf(const http::CurlResponse& response) {
  const std::optional<ContentRange> told = ParseContentRange(response.Find("content-range").value_or(""));
  if (!told.has_value() || told->range.has_value() || told->total != 0) return std::nullopt;
  // The headers tell of the object, the rest of the page that explains the 416.
  OriginStat stat;
  stat.header = DescribeHeader(response);
  for (const char* of_page : {"content-range", "content-type", "content-encoding"}) stat.header.erase(of_page);
  stat.header["content-length"] = "0";
  stat.content_length = 0;
  return stat;
}

absl::Status RedirectRefusal(const http::CurlResponse& response, std::string_view why) {
  BackendError error;
  error.message = StrCat(response.status_text, ": ", why);
  error.status_code = response.status;
  return MakeBackendErrorStatus(error);
}

}  // namespace

// Receives an answer: what is no object (redirects, refusals) is drained, an object goes to the derived class.
class HttpSource::Answer : public http::CurlSink {
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
  explicit Answer(runtime::TokenBucket* limiter) : limiter_(limiter) {}

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
class HttpSource::StatAnswer : public Answer {
 public:
  StatAnswer() : Answer(nullptr) {}

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
class HttpSource::OpenAnswer : public Answer {
 public:
  OpenAnswer(uint64_t first_bytes, const Opened& opened, runtime::TokenBucket& limiter)
      : Answer(&limiter), first_bytes_(first_bytes), opened_(opened) {}

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
  const Opened& opened_;
  std::optional<OriginStat> stat_;
  std::optional<uint64_t> expected_;
  ByteSink* sink_ = nullptr;
  uint64_t taken_ = 0;
};

// Takes exactly `asked`.
class HttpSource::RangeAnswer : public Answer {
 public:
  RangeAnswer(ByteRange asked, ObjectVersion version, ByteSink& sink, runtime::TokenBucket& limiter)
      : Answer(&limiter), asked_(asked), version_(std::move(version)), sink_(sink) {}

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
class HttpSource::WholeAnswer : public Answer {
 public:
  WholeAnswer(ObjectVersion version, ByteSink& sink, runtime::TokenBucket& limiter)
      : Answer(&limiter), version_(std::move(version)), sink_(sink) {}

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
class HttpSource::DocumentAnswer : public Answer {
 public:
  explicit DocumentAnswer(size_t body_max) : Answer(nullptr), body_max_(body_max) {}

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

namespace {

// How an attempt has failed: for the user, and whether another may help.
struct Failure {
  Failure(absl::Status status_in, bool transient_in) : status(std::move(status_in)), transient(transient_in) {}
  absl::Status status;
  bool transient;
  std::optional<std::chrono::milliseconds> retry_after;
};

Failure FailureOf(const absl::StatusOr<http::CurlResponse>& answer, const Target& asked, std::string_view body) {
  if (answer.ok()) {
    const std::string why = asked.signer == nullptr ? "" : asked.signer->Explain(body);
    Failure refused(RefusalOf(*answer, why), IsTransient(answer->status));
    refused.retry_after = RetryAfter(*answer, absl::Now());
    return refused;
  }
  const absl::Status& status = answer.status();
  if (absl::IsDeadlineExceeded(status) || absl::IsInvalidArgument(status) || absl::IsPermissionDenied(status) ||
      GetBackendError(status).has_value()) {
    return Failure(status, false);
  }
  return Failure(UnreachableOf(status), absl::IsUnavailable(status));
}

}  // namespace

HttpSource::HttpSource(asio::io_context& io, const SourceOptions& options)
    : options_(options),
      client_(io),
      guarded_client_(io, options.forbidden),
      redirects_(kRedirectsRemembered, options.redirect_cache_ttl) {}

absl::StatusOr<Target> HttpSource::TargetOf(const OriginRequest& request) const {
  DF_ASSIGN_OR_RETURN(const Url url, Url::Parse(request.url));
  if (!IsHttp(url)) return absl::InvalidArgumentError(StrCat("unsupported scheme ", Quoted(url.scheme)));
  Target target;
  target.url = url.ToString();
  DF_ASSIGN_OR_RETURN(target.header, MakeOriginHeader(request.header, options_.request_header, options_.user_agent));
  target.signer = request.signer;
  target.verify_tls = options_.verify_tls && !request.insecure_skip_verify;
  target.guarded = request.guarded;
  target.authorities = request.authorities;
  return target;
}

asio::awaitable<absl::StatusOr<http::CurlResponse>> HttpSource::Follow(Target& target, std::string range,
                                                                       TimePoint deadline, bool& may_remember,
                                                                       Answer& answer) {
  for (int hop = 0;; ++hop) {
    http::CurlRequest request;
    request.method = target.method;
    request.url = target.url;
    request.header = target.header;
    if (!range.empty()) request.header.emplace_back("Range", range);
    request.deadline = deadline;
    request.connect_timeout = options_.connect_timeout;
    request.stall_timeout = options_.stall_timeout;
    request.verify_tls = target.verify_tls;
    request.ca_file = options_.ca_file;
    request.authorities = target.authorities;
    if (target.signer != nullptr) DF_CO_RETURN_IF_ERROR(co_await target.signer->Sign(request));
    absl::StatusOr<http::CurlResponse> response =
        co_await (target.guarded ? guarded_client_ : client_).Run(std::move(request), answer);
    if (!response.ok() && answer.ended()) response = answer.response();
    if (!response.ok() || !IsRedirect(response->status) || response->location.empty()) co_return response;

    if (hop >= options_.redirects_max) {
      co_return RedirectRefusal(*response, StrCat("more than ", options_.redirects_max, " redirects"));
    }
    const absl::StatusOr<Url> from = Url::Parse(target.url);
    absl::StatusOr<Url> to = Url::Parse(response->location);
    if (!from.ok() || !to.ok() || !IsHttp(*to)) co_return RedirectRefusal(*response, "its Location cannot be followed");
    to->has_fragment = false;
    to->fragment.clear();
    if (!SameOrigin(*from, *to)) {
      DropCredentials(target.header);
      target.signer = nullptr;
    }
    if (ForbidsCaching(*response)) may_remember = false;
    target.url = to->ToString();
  }
}

asio::awaitable<absl::StatusOr<http::CurlResponse>> HttpSource::Exchange(Target asked, std::string range,
                                                                         TimePoint deadline, Redirects redirects,
                                                                         Renewal& renewal, Answer& answer) {
  bool may_remember = true;
  if (redirects == Redirects::kRemembered) {
    std::optional<Target> known = redirects_.Find(asked, Clock::now());
    if (known.has_value()) {
      known->guarded = asked.guarded;
      known->verify_tls = asked.verify_tls;
      absl::StatusOr<http::CurlResponse> response = co_await Follow(*known, range, deadline, may_remember, answer);
      if (!MayBeStale(response) || !answer.verdict().ok()) co_return response;
      redirects_.Erase(asked);
      // A body that broke off half-way is the caller's to resume; a refusal has cost nothing and the way is asked anew.
      if (!response.ok()) co_return response;
    }
  }
  may_remember = true;
  Target target = asked;
  absl::StatusOr<http::CurlResponse> response = co_await Follow(target, range, deadline, may_remember, answer);
  if (response.ok() && !renewal.used && target.signer != nullptr && MayBeMisSigned(*response)) {
    renewal.used = true;
    if (target.signer->Renew(*response, answer.refusal())) {
      may_remember = true;
      target = asked;
      response = co_await Follow(target, range, deadline, may_remember, answer);
    }
  }
  if (response.ok() && IsSuccess(response->status) && may_remember && target.url != asked.url) {
    redirects_.Put(asked, std::move(target), Clock::now());
  }
  co_return response;
}

asio::awaitable<absl::StatusOr<OriginStat>> HttpSource::Stat(OriginRequest request) {
  DF_CO_ASSIGN_OR_RETURN(const Target target, TargetOf(request));
  Attempts attempts(options_, random_, request.deadline);
  Renewal renewal;
  bool ranged = true;
  bool accepts_ranges = false;
  for (;;) {
    StatAnswer answer;
    const std::string range = ranged ? "bytes=0-0" : "";
    const absl::StatusOr<http::CurlResponse> response =
        co_await Exchange(target, range, request.deadline, Redirects::kAsk, renewal, answer);
    if (response.ok() && IsSuccess(response->status)) {
      std::optional<OriginStat> stat = StatOf(*response);
      if (stat.has_value()) {
        stat->accepts_ranges = stat->accepts_ranges || accepts_ranges;
        if (!stat->content_length.has_value()) co_await AskLengthByHead(target, request.deadline, *stat);
        co_return *std::move(stat);
      }
      if (!ranged) co_return RedirectRefusal(*response, "a range that was not asked for");
      // 206 without a length: the plain request tells it.
      accepts_ranges = true;
      ranged = false;
      continue;
    }
    if (response.ok() && response->status == kRangeNotSatisfiable && ranged) {
      if (std::optional<OriginStat> empty = EmptyStatOf(*response)) co_return *std::move(empty);
      ranged = false;
      continue;
    }
    const Failure failure = FailureOf(response, target, answer.refusal());
    if (!failure.transient) co_return failure.status;
    const bool again = co_await attempts.Next(failure.retry_after);
    if (!again) co_return failure.status;
  }
}

// A chunked answer may have a length all the same, which HEAD tells. Whatever else HEAD says is of no importance: a URL
// may be signed for GET only. 0 is what servers say that do not know HEAD's length.
asio::awaitable<void> HttpSource::AskLengthByHead(Target target, TimePoint deadline, OriginStat& stat) {
  target.method = "HEAD";
  Renewal renewal;
  renewal.used = true;
  StatAnswer answer;
  const std::string no_range;
  const TimePoint soon = std::min(deadline, Clock::now() + kHeadPatience);
  const absl::StatusOr<http::CurlResponse> response =
      co_await Exchange(std::move(target), no_range, soon, Redirects::kAsk, renewal, answer);
  if (!response.ok() || !IsSuccess(response->status)) co_return;
  const std::optional<uint64_t> length = ContentLengthOf(*response);
  if (!length.has_value() || *length == 0 || !CheckVersion(VersionOf(stat), *response, length).ok()) co_return;
  stat.content_length = length;
  stat.header["content-length"] = StrCat(*length);
}

asio::awaitable<absl::StatusOr<HttpDocument>> HttpSource::Fetch(OriginRequest request, size_t body_max) {
  DF_CO_ASSIGN_OR_RETURN(const Target target, TargetOf(request));
  Attempts attempts(options_, random_, request.deadline);
  Renewal renewal;
  for (;;) {
    DocumentAnswer answer(body_max);
    const std::string no_range;
    const absl::StatusOr<http::CurlResponse> response =
        co_await Exchange(target, no_range, request.deadline, Redirects::kAsk, renewal, answer);
    if (!answer.verdict().ok()) co_return answer.verdict();
    if (response.ok() && IsSuccess(response->status)) {
      HttpDocument document;
      document.header = DescribeHeader(*response);
      document.body = std::move(answer.body());
      co_return document;
    }
    const Failure failure = FailureOf(response, target, answer.refusal());
    if (!failure.transient) co_return failure.status;
    const bool again = co_await attempts.Next(failure.retry_after);
    if (!again) co_return failure.status;
  }
}

asio::awaitable<absl::StatusOr<Opening>> HttpSource::Open(OriginRequest request, uint64_t first_bytes, Opened opened,
                                                          runtime::TokenBucket& limiter) {
  DF_CO_ASSIGN_OR_RETURN(const Target target, TargetOf(request));
  Attempts attempts(options_, random_, request.deadline);
  Renewal renewal;
  for (;;) {
    OpenAnswer answer(first_bytes, opened, limiter);
    const absl::StatusOr<http::CurlResponse> response = co_await Exchange(
        target, ToHttpRange(ByteRange{0, first_bytes}), request.deadline, Redirects::kAsk, renewal, answer);
    if (answer.stat()) {
      if (!answer.wanted() && !answer.verdict().ok()) co_return answer.verdict();
      Opening opening;
      opening.stat = *answer.stat();
      opening.bytes = answer.taken();
      if (!answer.wanted()) co_return opening;
      opening.body = !answer.verdict().ok() ? answer.verdict() : response.status();
      if (opening.body.ok() && !answer.whole()) opening.body = absl::DataLossError("the answer ends early");
      co_return opening;
    }
    const bool refused_range = response.ok() && response->status == kRangeNotSatisfiable;
    if (std::optional<OriginStat> empty = refused_range ? EmptyStatOf(*response) : std::nullopt) {
      const absl::StatusOr<ByteSink*> nothing_comes = opened(*empty);
      if (!nothing_comes.ok()) co_return nothing_comes.status();
      Opening opening;
      opening.stat = *std::move(empty);
      co_return opening;
    }
    // An origin that cannot say it in one answer: Stat() knows all the ways.
    if (refused_range || (response.ok() && IsSuccess(response->status))) {
      co_return co_await Source::Open(std::move(request), first_bytes, std::move(opened), limiter);
    }
    const Failure failure = FailureOf(response, target, answer.refusal());
    if (!failure.transient) co_return failure.status;
    const bool again = co_await attempts.Next(failure.retry_after);
    if (!again) co_return failure.status;
  }
}

asio::awaitable<absl::Status> HttpSource::Read(OriginRequest request, ByteRange range, ObjectVersion version,
                                               ByteSink& sink, runtime::TokenBucket& limiter) {
  DF_CO_ASSIGN_OR_RETURN(const Target target, TargetOf(request));
  Attempts attempts(options_, random_, request.deadline);
  Renewal renewal;
  for (ByteRange rest = range; rest.length > 0;) {
    RangeAnswer answer(rest, version, sink, limiter);
    const absl::StatusOr<http::CurlResponse> response =
        co_await Exchange(target, ToHttpRange(rest), request.deadline, Redirects::kRemembered, renewal, answer);
    if (!answer.verdict().ok()) co_return answer.verdict();
    rest.offset += answer.taken();
    rest.length -= answer.taken();
    version = answer.version();
    if (rest.length == 0) break;

    if (response.ok() && response->status == kRangeNotSatisfiable) {
      const std::optional<ContentRange> told = ParseContentRange(response->Find("content-range").value_or(""));
      if (told.has_value()) DF_CO_RETURN_IF_ERROR(CheckVersion(version, *response, told->total));
    }
    const bool ended_early = response.ok() && IsSuccess(response->status);
    Failure failure = ended_early ? Failure(absl::DataLossError("the answer is shorter than the range"), true)
                                  : FailureOf(response, target, answer.refusal());
    if (rest.length < range.length && failure.transient && !(response.ok() && !ended_early)) {
      failure.status = absl::DataLossError(StrCat("origin broke off after ", rest.offset - range.offset, " of ",
                                                  range.length, " bytes: ", failure.status.message()));
    }
    if (!failure.transient) co_return failure.status;
    const bool again = co_await attempts.Next(failure.retry_after);
    if (!again) co_return failure.status;
  }
  co_return absl::OkStatus();
}

asio::awaitable<absl::StatusOr<uint64_t>> HttpSource::ReadAll(OriginRequest request, ObjectVersion version,
                                                              ByteSink& sink, runtime::TokenBucket& limiter) {
  DF_CO_ASSIGN_OR_RETURN(const Target target, TargetOf(request));
  Attempts attempts(options_, random_, request.deadline);
  Renewal renewal;
  for (;;) {
    WholeAnswer answer(version, sink, limiter);
    const std::string no_range;
    const absl::StatusOr<http::CurlResponse> response =
        co_await Exchange(target, no_range, request.deadline, Redirects::kRemembered, renewal, answer);
    if (!answer.verdict().ok()) co_return answer.verdict();
    if (response.ok() && IsSuccess(response->status)) {
      if (version.content_length.has_value() && *version.content_length != answer.taken()) {
        co_return absl::DataLossError(
            StrCat("object has changed: its length was ", *version.content_length, " and is ", answer.taken()));
      }
      co_return answer.taken();
    }
    const Failure failure = FailureOf(response, target, answer.refusal());
    if (answer.taken() > 0 && failure.transient) {
      co_return absl::DataLossError(
          StrCat("origin broke off after ", answer.taken(), " bytes: ", failure.status.message()));
    }
    if (!failure.transient) co_return failure.status;
    const bool again = co_await attempts.Next(failure.retry_after);
    if (!again) co_return failure.status;
  }
}

}  // namespace dragonfly::source
