// SPDX-License-Identifier: Apache-2.0
#include "http/otlp_exporter.h"

#include <algorithm>
#include <atomic>
#include <chrono>

#include "absl/strings/ascii.h"
#include "base/text.h"
#include "http/curl_handle.h"
#include "http/status_text.h"

namespace dragonfly::http {
namespace {

// A collector answers with a few bytes; of an error page no more is read.
constexpr size_t kAnswerMax = 64 << 10;
constexpr int kPollMilliseconds = 1'000;

size_t TakeBody(char* data, size_t size, size_t count, void* out) {
  auto& body = *static_cast<std::string*>(out);
  const size_t bytes = size * count;
  body.append(data, std::min(bytes, kAnswerMax - std::min(kAnswerMax, body.size())));
  return bytes;
}

// The statuses that OTLP calls retryable.
bool MayHelpAgain(long status) { return status == 429 || status == 502 || status == 503 || status == 504; }

class OtlpExporter final : public telemetry::SpanExporter {
 public:
  OtlpExporter(std::string url, HeaderList header)
      : url_(std::move(url)), shown_(StrCat("collector ", UrlForMessages(url_))), header_(std::move(header)) {
    multi_.reset(curl_multi_init());
    easy_.reset(curl_easy_init());
  }

  bool Prepare() {
    if (multi_ == nullptr || easy_ == nullptr) return false;
    CURL* const easy = easy_.get();
    curl_easy_setopt(easy, CURLOPT_URL, url_.c_str());
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, header_.get());
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, &TakeBody);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, &body_);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, reason_);
    return true;
  }

  absl::StatusOr<std::string> Export(const std::string& request,
                                     std::chrono::steady_clock::time_point deadline) override {
    using std::chrono::milliseconds;
    CURL* const easy = easy_.get();
    const auto patience = std::chrono::duration_cast<milliseconds>(deadline - std::chrono::steady_clock::now()).count();
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, static_cast<long>(std::max<int64_t>(patience, 1)));
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.size()));
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request.data());
    body_.clear();
    reason_[0] = '\0';

    curl_multi_add_handle(multi_.get(), easy);
    const CURLcode code = Perform();
    curl_multi_remove_handle(multi_.get(), easy);

    if (cancelled_) return absl::CancelledError(StrCat(shown_, ": the export was cancelled"));
    if (code != CURLE_OK) {
      const std::string text = reason_[0] != '\0' ? reason_ : curl_easy_strerror(code);
      // Time that has run out leaves none for another try.
      if (code == CURLE_OPERATION_TIMEDOUT) return absl::DeadlineExceededError(StrCat(shown_, ": ", text));
      return absl::UnavailableError(StrCat(shown_, ": ", text));
    }
    long status = 0;
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    if (status >= 200 && status < 300) return std::move(body_);
    const std::string answer = StrCat(shown_, ": ", StatusText(static_cast<int>(status)), " ", Quoted(body_, 200));
    if (MayHelpAgain(status)) return absl::UnavailableError(answer);
    return absl::FailedPreconditionError(answer);
  }

  void Cancel() override {
    cancelled_ = true;
    curl_multi_wakeup(multi_.get());
  }

 private:
  CURLcode Perform() {
    for (int running = 1;;) {
      if (cancelled_ || curl_multi_perform(multi_.get(), &running) != CURLM_OK) return CURLE_ABORTED_BY_CALLBACK;
      if (running == 0) break;
      curl_multi_poll(multi_.get(), nullptr, 0, kPollMilliseconds, nullptr);
    }
    int left = 0;
    const CURLMsg* const message = curl_multi_info_read(multi_.get(), &left);
    return message != nullptr && message->msg == CURLMSG_DONE ? message->data.result : CURLE_RECV_ERROR;
  }

  const std::string url_;
  const std::string shown_;
  const HeaderList header_;
  std::string body_;
  char reason_[CURL_ERROR_SIZE] = {};
  std::atomic<bool> cancelled_ = false;
  MultiHandle multi_;  // keeps the connection
  EasyHandle easy_;    // goes before its multi handle
};

bool IsToken(std::string_view text) {
  constexpr std::string_view kMarks = "!#$%&'*+-.^_`|~";
  return !text.empty() && std::ranges::all_of(text, [&](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || kMarks.find(c) != kMarks.npos;
  });
}

}  // namespace

absl::StatusOr<std::unique_ptr<telemetry::SpanExporter>> MakeOtlpExporter(OtlpExporterOptions options) {
  if (!IsHttpUrl(options.url)) {
    return absl::InvalidArgumentError(StrCat("collector ", Quoted(UrlForMessages(options.url)), " is no http URL"));
  }
  HeaderList list(curl_slist_append(nullptr, "Content-Type: application/x-protobuf"));
  // No "Expect: 100-continue", which costs a round trip.
  list.reset(curl_slist_append(list.release(), "Expect:"));
  for (const auto& [name, value] : options.headers) {
    const bool good = IsToken(name) && value.find_first_of(std::string_view("\r\n\0", 3)) == std::string::npos;
    if (!good) return absl::InvalidArgumentError(StrCat("header ", Quoted(name), " cannot be sent"));
    // An empty value is written with a semicolon.
    const std::string line = value.empty() ? StrCat(name, ";") : StrCat(name, ": ", value);
    list.reset(curl_slist_append(list.release(), line.c_str()));
  }
  auto exporter = std::make_unique<OtlpExporter>(std::move(options.url), std::move(list));
  if (!exporter->Prepare()) return absl::InternalError("libcurl gives no handle");
  return exporter;
}

}  // namespace dragonfly::http
