// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/daemon/scripted_origin.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <stdexcept>
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

bool SendAll(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return true;
}

}  // namespace

ScriptedOrigin::ScriptedOrigin(std::string content) : ScriptedOrigin(std::move(content), Behaviour()) {}

ScriptedOrigin::ScriptedOrigin(std::string content, Behaviour behaviour)
    : content_(std::move(content)), behaviour_(std::move(behaviour)), times_read_(content_.size(), 0) {
  listening_ = UniqueFd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  if (::bind(listening_.get(), reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      ::listen(listening_.get(), 128) != 0 ||
      ::getsockname(listening_.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    throw std::runtime_error("the origin cannot listen");
  }
  port_ = ntohs(address.sin_port);
  acceptor_ = std::thread([this] { Accept(); });
}

ScriptedOrigin::~ScriptedOrigin() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
    hold_from_.reset();
    for (const int fd : open_) ::shutdown(fd, SHUT_RDWR);
  }
  ::shutdown(listening_.get(), SHUT_RDWR);
  acceptor_.join();
  for (std::thread& thread : threads_) thread.join();
}

std::string ScriptedOrigin::Url(const std::string& path) const { return StrCat("http://127.0.0.1:", port_, path); }

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

void ScriptedOrigin::Accept() {
  for (;;) {
    UniqueFd connection(::accept4(listening_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!connection.valid()) return;
    const int on = 1;
    ::setsockopt(connection.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    {
      absl::MutexLock lock(&mutex_);
      if (stopping_) return;
      open_.push_back(connection.get());
    }
    threads_.emplace_back([this, fd = std::move(connection)]() mutable { Serve(std::move(fd)); });
  }
}

void ScriptedOrigin::Serve(UniqueFd connection) {
  std::string buffer;
  for (bool more = true; more;) {
    size_t end = buffer.find("\r\n\r\n");
    while (end == std::string::npos) {
      char part[4096];
      const ssize_t n = ::recv(connection.get(), part, sizeof(part), 0);
      if (n <= 0) break;
      buffer.append(part, static_cast<size_t>(n));
      end = buffer.find("\r\n\r\n");
    }
    if (end == std::string::npos) break;
    more = Answer(connection.get(), buffer.substr(0, end + 2));
    buffer.erase(0, end + 4);
  }
  absl::MutexLock lock(&mutex_);
  open_.erase(std::find(open_.begin(), open_.end(), connection.get()));
}

// False when the connection ends with the body.
bool ScriptedOrigin::Answer(int fd, const std::string& request) {
  const std::optional<std::string> range_header = HeaderOf(request, "range");
  const bool stat = range_header == "bytes=0-0" || request.starts_with("HEAD ");
  Behaviour behaviour;
  {
    absl::MutexLock lock(&mutex_);
    ++(stat ? stats_ : reads_);
    behaviour = behaviour_;
  }
  if (behaviour.status != 200) {
    return SendAll(fd,
                   StrCat("HTTP/1.1 ", behaviour.status, " Refused\r\nX-Reason: told so\r\nContent-Length: 0\r\n\r\n"));
  }
  const bool takes_ranges = stat ? behaviour.stat_takes_ranges && behaviour.takes_ranges : behaviour.takes_ranges;
  std::string head;
  ByteRange range{0, content_.size()};
  if (range_header && takes_ranges) {
    const absl::StatusOr<ByteRange> parsed = ParseHttpRange(*range_header, content_.size());
    if (!parsed.ok()) {
      return SendAll(fd, StrCat("HTTP/1.1 416 Range Not Satisfiable\r\nContent-Range: bytes */", content_.size(),
                                "\r\nContent-Length: 0\r\n\r\n"));
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
  if (!SendAll(fd, head + "\r\n")) return false;
  if (request.starts_with("HEAD ")) return behaviour.tells_length;
  return SendBody(fd, range.offset, range.length, !stat) && behaviour.tells_length;
}

bool ScriptedOrigin::SendBody(int fd, uint64_t offset, uint64_t length, bool count) {
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
    if (!SendAll(fd, std::string_view(content_).substr(offset, step))) return false;
    offset += step;
  }
  return true;
}

}  // namespace dragonfly::daemon
