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
#include "source/http_answer.h"
#include "source/origin_header.h"
#include "source/signer.h"

namespace dragonfly::source {

namespace asio = boost::asio;

namespace {

constexpr int kRangeNotSatisfiable = 416;

// What the second question of a stat may take.
constexpr Clock::duration kHeadPatience = std::chrono::seconds(10);

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
    : options_(options), exchange_(io, options) {}

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

asio::awaitable<absl::StatusOr<OriginStat>> HttpSource::Stat(OriginRequest request) {
  DF_CO_ASSIGN_OR_RETURN(const Target target, TargetOf(request));
  Attempts attempts(options_, random_, request.deadline);
  HttpExchange::Renewal renewal;
  bool ranged = true;
  bool accepts_ranges = false;
  for (;;) {
    StatAnswer answer;
    const std::string range = ranged ? "bytes=0-0" : "";
    const absl::StatusOr<http::CurlResponse> response =
        co_await exchange_.Run(target, range, request.deadline, HttpExchange::Redirects::kAsk, renewal, answer);
    if (response.ok() && IsSuccess(response->status)) {
      std::optional<OriginStat> stat = StatOf(*response);
      if (stat.has_value()) {
        stat->accepts_ranges = stat->accepts_ranges || accepts_ranges;
        if (!stat->content_length.has_value()) co_await AskLengthByHead(target, request.deadline, *stat);
        co_return *std::move(stat);
      }
      if (!ranged) co_return UnusableAnswer(*response, "a range that was not asked for");
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
  HttpExchange::Renewal renewal;
  renewal.used = true;
  StatAnswer answer;
  const std::string no_range;
  const TimePoint soon = std::min(deadline, Clock::now() + kHeadPatience);
  const absl::StatusOr<http::CurlResponse> response =
      co_await exchange_.Run(std::move(target), no_range, soon, HttpExchange::Redirects::kAsk, renewal, answer);
  if (!response.ok() || !IsSuccess(response->status)) co_return;
  const std::optional<uint64_t> length = ContentLengthOf(*response);
  if (!length.has_value() || *length == 0 || !CheckVersion(VersionOf(stat), *response, length).ok()) co_return;
  stat.content_length = length;
  stat.header["content-length"] = StrCat(*length);
}

asio::awaitable<absl::StatusOr<HttpDocument>> HttpSource::Fetch(OriginRequest request, size_t body_max) {
  DF_CO_ASSIGN_OR_RETURN(const Target target, TargetOf(request));
  Attempts attempts(options_, random_, request.deadline);
  HttpExchange::Renewal renewal;
  for (;;) {
    DocumentAnswer answer(body_max);
    const std::string no_range;
    const absl::StatusOr<http::CurlResponse> response =
        co_await exchange_.Run(target, no_range, request.deadline, HttpExchange::Redirects::kAsk, renewal, answer);
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
  HttpExchange::Renewal renewal;
  for (;;) {
    OpenAnswer answer(first_bytes, opened, limiter);
    const absl::StatusOr<http::CurlResponse> response =
        co_await exchange_.Run(target, ToHttpRange(ByteRange{0, first_bytes}), request.deadline,
                               HttpExchange::Redirects::kAsk, renewal, answer);
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
  HttpExchange::Renewal renewal;
  for (ByteRange rest = range; rest.length > 0;) {
    RangeAnswer answer(rest, version, sink, limiter);
    const absl::StatusOr<http::CurlResponse> response = co_await exchange_.Run(
        target, ToHttpRange(rest), request.deadline, HttpExchange::Redirects::kRemembered, renewal, answer);
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
  HttpExchange::Renewal renewal;
  for (;;) {
    WholeAnswer answer(version, sink, limiter);
    const std::string no_range;
    const absl::StatusOr<http::CurlResponse> response = co_await exchange_.Run(
        target, no_range, request.deadline, HttpExchange::Redirects::kRemembered, renewal, answer);
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
