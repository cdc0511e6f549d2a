// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/daemon/scripted_origin.h"

#include <algorithm>
#include <utility>

#include "absl/time/time.h"
#include "base/byte_range.h"
#include "base/text.h"

namespace dragonfly::daemon {
namespace {

std::optional<std::string> HeaderOf(const std::string& request, const std::string& name) {
  const std::string lower = ToLowerAscii(request);
  const size_t at = lower.find("\r\n" + name + ": ");
  if (at == std::string::npos) return std::nullopt;
  const size_t begin = at + name.size() + 4;
  return request.substr(begin, request.find("\r\n", begin) - begin);
}

}  // namespace

ScriptedOrigin::ScriptedOrigin(std::string content) : ScriptedOrigin(std::move(content), Behaviour()) {}

ScriptedOrigin::ScriptedOrigin(std::string content, Behaviour behaviour)
    : content_(std::move(content)),
      behaviour_(std::move(behaviour)),
      times_read_(content_.size(), 0),
      server_([this](Connection& connection, const std::string& request, int) { Answer(connection, request); }) {}

ScriptedOrigin::~ScriptedOrigin() {
  absl::MutexLock lock(&mutex_);
  stopping_ = true;
}

void ScriptedOrigin::Set(Behaviour behaviour) {
  absl::MutexLock lock(&mutex_);
  behaviour_ = std::move(behaviour);
}

void ScriptedOrigin::HoldFrom(uint64_t offset) {
  absl::MutexLock lock(&mutex_);
  hold_from_ = offset;
}

void ScriptedOrigin::Release() {
  absl::MutexLock lock(&mutex_);
  hold_from_.reset();
  behaviour_.holds_refusals = false;
}

bool ScriptedOrigin::AwaitHeld() {
  absl::MutexLock lock(&mutex_);
  const auto held = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return held_ > 0; };
  return mutex_.AwaitWithTimeout(absl::Condition(&held), absl::Seconds(30));
}

int ScriptedOrigin::reads() const {
  absl::MutexLock lock(&mutex_);
  return reads_;
}

int ScriptedOrigin::stats() const {
  absl::MutexLock lock(&mutex_);
  return stats_;
}

uint64_t ScriptedOrigin::bytes_read() const {
  absl::MutexLock lock(&mutex_);
  return bytes_read_;
}

int ScriptedOrigin::reads_of_any_byte() const {
  absl::MutexLock lock(&mutex_);
  return times_read_.empty() ? 0 : *std::max_element(times_read_.begin(), times_read_.end());
}

void ScriptedOrigin::Answer(Connection& connection, const std::string& request) {
  const std::optional<std::string> range_header = HeaderOf(request, "range");
  const bool stat = range_header == "bytes=0-0" || request.starts_with("HEAD ");
  Behaviour behaviour;
  {
    absl::MutexLock lock(&mutex_);
    ++(stat ? stats_ : reads_);
    behaviour = behaviour_;
  }
  const std::vector<std::string>& allowed = behaviour.authorizations;
  const std::string authorization = HeaderOf(request, "authorization").value_or("");
  if (!allowed.empty() && std::find(allowed.begin(), allowed.end(), authorization) == allowed.end()) {
    absl::MutexLock lock(&mutex_);
    const auto free = [this]()
                          ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return stopping_ || !behaviour_.holds_refusals; };
    ++held_;
    mutex_.Await(absl::Condition(&free));
    --held_;
    behaviour.status = 401;
  }
  const int status = behaviour.status != 200 || stat ? behaviour.status : behaviour.read_status;
  if (status != 200) {
    connection.Send(StrCat("HTTP/1.1 ", status, " Refused\r\nX-Reason: told so\r\nContent-Length: 0\r\n\r\n"));
    return;
  }
  const bool takes_ranges = stat ? behaviour.stat_takes_ranges && behaviour.takes_ranges : behaviour.takes_ranges;
  std::string head;
  ByteRange range{0, content_.size()};
  if (range_header && takes_ranges) {
    const absl::StatusOr<ByteRange> parsed = ParseHttpRange(*range_header, content_.size());
    if (!parsed.ok()) {
      connection.Send(StrCat("HTTP/1.1 416 Range Not Satisfiable\r\nContent-Range: bytes */", content_.size(),
                             "\r\nContent-Length: 0\r\n\r\n"));
      return;
    }
    range = *parsed;
    head = StrCat("HTTP/1.1 206 Partial Content\r\nContent-Range: bytes ", range.offset, "-", range.end() - 1, "/",
                  content_.size(), "\r\n");
  } else {
    head = "HTTP/1.1 200 OK\r\n";
  }
  if (!behaviour.etag.empty()) head += "ETag: " + behaviour.etag + "\r\n";
  if (behaviour.tells_length) {
    head += StrCat("Content-Length: ", range.length, "\r\n");
  } else {
    head += "Connection: close\r\n";
  }
  connection.Send(head + "\r\n");
  const bool whole = request.starts_with("HEAD ") || SendBody(connection, range.offset, range.length, !stat);
  if (!whole || !behaviour.tells_length) connection.Close();
}

// False when the origin stops in the middle, or the client has gone.
bool ScriptedOrigin::SendBody(Connection& connection, uint64_t offset, uint64_t length, bool count) {
  constexpr uint64_t kStep = 16 << 10;
  for (const uint64_t end = offset + length; offset < end;) {
    const uint64_t step = std::min(kStep - offset % kStep, end - offset);
    if (count) {
      absl::MutexLock lock(&mutex_);
      const auto free = [this, offset]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
        return stopping_ || !hold_from_ || offset < *hold_from_;
      };
      if (!free()) {
        ++held_;
        mutex_.Await(absl::Condition(&free));
        --held_;
      }
      if (stopping_) return false;
      bytes_read_ += step;
      for (uint64_t at = offset; at < offset + step; ++at) ++times_read_[at];
    }
    if (!connection.Send(std::string_view(content_).substr(offset, step))) return false;
    offset += step;
  }
  return true;
}

}  // namespace dragonfly::daemon
