// SPDX-License-Identifier: Apache-2.0
// The source of http URLs against real and scripted servers, on an io_context of the test's own.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <cstdlib>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/backend_error.h"
#include "base/text.h"
#include "source/source.h"
#include "tests/support/scripted_server.h"

namespace dragonfly::source {

namespace asio = boost::asio;

class Collector : public ByteSink {
 public:
  absl::Status Append(std::span<const std::byte> bytes) override {
    if (text.size() + bytes.size() > room) return absl::OutOfRangeError("no room");
    text.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    if (on_append) on_append();
    return absl::OkStatus();
  }
  std::string text;
  size_t room = 1 << 30;
  std::function<void()> on_append;
};

inline std::string Pattern(size_t size) {
  std::string text(size, '\0');
  for (size_t i = 0; i < size; ++i) text[i] = static_cast<char>((i * 2654435761u) >> 11);
  return text;
}

inline std::string Ok(const std::string& body, const std::string& more = "") {
  return StrCat("HTTP/1.1 200 OK\r\nContent-Length: ", body.size(), "\r\n", more, "\r\n", body);
}

inline std::string Status(const std::string& line, const std::string& more = "") {
  return StrCat("HTTP/1.1 ", line, "\r\nContent-Length: 0\r\n", more, "\r\n");
}

// The honest 206 to a request for a range of `content`, with `more` header lines; the body cut to `sent` bytes.
inline std::string Partial(const std::string& request, const std::string& content, const std::string& more = "",
                           size_t sent = std::string::npos) {
  const absl::StatusOr<ByteRange> range = ParseHttpRange(testing::HeaderOf(request, "Range"), content.size());
  if (!range.ok()) return Status("500 Internal Server Error");
  return StrCat("HTTP/1.1 206 Partial Content\r\nContent-Range: bytes ", range->offset, "-", range->end() - 1, "/",
                content.size(), "\r\nContent-Length: ", range->length, "\r\n", more, "\r\n",
                content.substr(range->offset, range->length).substr(0, sent));
}

inline std::optional<int> CodeOf(const absl::Status& status) {
  const std::optional<BackendError> error = GetBackendError(status);
  return error.has_value() ? error->status_code : std::nullopt;
}

class HttpSourceTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { ::setenv("no_proxy", "*", 1); }

  HttpSourceTest() {
    options_.backoff_min = std::chrono::milliseconds(1);
    options_.backoff_max = std::chrono::milliseconds(4);
    options_.stall_timeout = std::chrono::milliseconds(5000);
  }

  static OriginRequest Ask(const std::string& url, std::vector<std::pair<std::string, std::string>> header = {}) {
    OriginRequest request;
    request.url = url;
    request.header = std::move(header);
    request.deadline = Clock::now() + std::chrono::seconds(20);
    return request;
  }

  SourceSet& sources() {
    if (sources_ == nullptr) sources_ = MakeSources(io_, options_);
    return *sources_;
  }
  Source& source() { return **sources().For("http://x/"); }

  template <typename T>
  static asio::awaitable<void> Keep(asio::awaitable<T> work, T& outcome) {
    outcome = co_await std::move(work);
  }
  template <typename T>
  T Run(asio::awaitable<T> work) {
    T outcome = absl::UnknownError("did not end");
    asio::co_spawn(io_, Keep(std::move(work), outcome), [](const std::exception_ptr& error) {
      if (error) std::rethrow_exception(error);
    });
    io_.restart();
    io_.run();
    return outcome;
  }

  absl::StatusOr<OriginStat> Stat(OriginRequest request) { return Run(source().Stat(std::move(request))); }
  absl::Status Read(OriginRequest request, ByteRange range, ObjectVersion version = ObjectVersion()) {
    sink_.text.clear();
    return Run(source().Read(std::move(request), range, std::move(version), sink_, limiter_));
  }
  absl::StatusOr<uint64_t> ReadAll(OriginRequest request, ObjectVersion version = ObjectVersion()) {
    sink_.text.clear();
    return Run(source().ReadAll(std::move(request), std::move(version), sink_, limiter_));
  }

  // Opens with what is wanted going to sink_, which opened() says.
  absl::StatusOr<Opening> Open(OriginRequest request, uint64_t first_bytes, bool wanted = true) {
    sink_.text.clear();
    opened_.reset();
    const auto opened = [this, wanted](const OriginStat& stat) -> absl::StatusOr<ByteSink*> {
      EXPECT_FALSE(opened_) << "told twice";
      EXPECT_THAT(sink_.text, ::testing::IsEmpty());
      opened_ = stat;
      return wanted ? &sink_ : nullptr;
    };
    return Run(source().Open(std::move(request), first_bytes, opened, limiter_));
  }

  asio::io_context io_;
  std::optional<OriginStat> opened_;
  SourceOptions options_;
  std::unique_ptr<SourceSet> sources_;
  Collector sink_;
  runtime::TokenBucket limiter_{0};
};

}  // namespace dragonfly::source
