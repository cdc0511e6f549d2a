// SPDX-License-Identifier: Apache-2.0
// Sources on an io_context of the test's own.
#pragma once

#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
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
#include "source/source.h"

namespace dragonfly::source {

// Keeps what it is given.
class TextSink : public ByteSink {
 public:
  absl::Status Append(std::span<const std::byte> bytes) override {
    text.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    if (on_append) return on_append();
    return absl::OkStatus();
  }
  std::string text;
  std::function<absl::Status()> on_append;
};

class SourceFixture : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { ::setenv("no_proxy", "*", 1); }

  SourceFixture() {
    options_.backoff_min = std::chrono::milliseconds(1);
    options_.backoff_max = std::chrono::milliseconds(4);
  }

  static std::string Pattern(size_t size) {
    std::string text(size, '\0');
    for (size_t i = 0; i < size; ++i) text[i] = static_cast<char>((i * 2654435761u) >> 11);
    return text;
  }

  // Asked with access_ and header_.
  OriginRequest Ask(const std::string& url) const {
    OriginRequest request;
    request.url = url;
    request.header = header_;
    request.access = access_;
    request.deadline = Clock::now() + std::chrono::seconds(30);
    return request;
  }

  Source& SourceFor(const std::string& url) {
    if (sources_ == nullptr) sources_ = MakeSources(io_, options_);
    const absl::StatusOr<Source*> source = sources_->For(url);
    if (!source.ok()) throw std::runtime_error(source.status().ToString());
    return **source;
  }

  template <typename T>
  static boost::asio::awaitable<void> Keep(boost::asio::awaitable<T> work, T& outcome) {
    outcome = co_await std::move(work);
  }
  template <typename T>
  T Run(boost::asio::awaitable<T> work) {
    T outcome = absl::UnknownError("did not end");
    boost::asio::co_spawn(io_, Keep(std::move(work), outcome), [](const std::exception_ptr& error) {
      if (error) std::rethrow_exception(error);
    });
    io_.restart();
    io_.run();
    return outcome;
  }

  absl::StatusOr<OriginStat> Stat(const std::string& url) { return Run(SourceFor(url).Stat(Ask(url))); }
  absl::Status Read(const std::string& url, ByteRange range, ObjectVersion version = ObjectVersion()) {
    sink_.text.clear();
    return Run(SourceFor(url).Read(Ask(url), range, std::move(version), sink_, limiter_));
  }
  absl::StatusOr<uint64_t> ReadAll(const std::string& url, ObjectVersion version = ObjectVersion()) {
    sink_.text.clear();
    return Run(SourceFor(url).ReadAll(Ask(url), std::move(version), sink_, limiter_));
  }
  absl::StatusOr<std::vector<OriginEntry>> List(const std::string& url, size_t entries_max = 1000) {
    return Run(SourceFor(url).List(Ask(url), entries_max));
  }
  // "<url> <length>" of each, directories without a length; sorted.
  static std::vector<std::string> Described(const std::vector<OriginEntry>& entries) {
    std::vector<std::string> lines;
    for (const OriginEntry& entry : entries) {
      lines.push_back(entry.is_directory ? entry.url : entry.url + " " + std::to_string(entry.content_length));
    }
    std::sort(lines.begin(), lines.end());
    return lines;
  }

  static std::optional<int> CodeOf(const absl::Status& status) {
    const std::optional<BackendError> error = GetBackendError(status);
    return error.has_value() ? error->status_code : std::nullopt;
  }

  boost::asio::io_context io_;
  SourceOptions options_;
  OriginAccess access_;
  std::vector<std::pair<std::string, std::string>> header_;
  std::unique_ptr<SourceSet> sources_;
  TextSink sink_;
  runtime::TokenBucket limiter_{0};
};

}  // namespace dragonfly::source
