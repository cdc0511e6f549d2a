// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/daemon/test_origin.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <utility>

#include "absl/time/time.h"
#include "base/byte_range.h"
#include "base/text.h"

namespace dragonfly::daemon::test {
namespace {

constexpr size_t kStep = 256 << 10;

bool SendAll(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return true;
}

// The value of the header `name` in a request's head; nullopt without it.
std::optional<std::string> Header(const std::string& head, std::string_view name) {
  const std::string lower = ToLowerAscii(head);
  const size_t at = lower.find(StrCat("\r\n", name, ":"));
  if (at == std::string::npos) return std::nullopt;
  const size_t begin = at + 2 + name.size() + 1;
  return std::string(TrimSpace(std::string_view(head).substr(begin, head.find("\r\n", begin) - begin)));
}

}  // namespace

TestOrigin::TestOrigin(std::string content) : content_(std::move(content)) {
  listener_ = UniqueFd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(address);
  if (::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), length) != 0 ||
      ::listen(listener_.get(), 128) != 0 ||
      ::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &length) != 0) {
    std::abort();
  }
  port_ = ntohs(address.sin_port);
  acceptor_ = std::thread([this] { Accept(); });
}

TestOrigin::~TestOrigin() {
  {
    const absl::MutexLock lock(&mutex_);
    stopping_ = true;
    for (const int fd : connections_) ::shutdown(fd, SHUT_RDWR);
  }
  ::shutdown(listener_.get(), SHUT_RDWR);
  acceptor_.join();
  for (std::thread& thread : threads_) thread.join();
}

std::string TestOrigin::Url(const std::string& name) const { return StrCat("http://127.0.0.1:", port_, "/", name); }

uint64_t TestOrigin::body_bytes() const {
  const absl::MutexLock lock(&mutex_);
  return sent_;
}

void TestOrigin::HoldAfter(uint64_t bytes) {
  const absl::MutexLock lock(&mutex_);
  limit_ = sent_ + bytes;
}

bool TestOrigin::WaitUntilHeld() const {
  const absl::MutexLock lock(&mutex_);
  return mutex_.AwaitWithTimeout(absl::Condition(&held_), absl::Seconds(10));
}

void TestOrigin::Release() {
  const absl::MutexLock lock(&mutex_);
  limit_ = UINT64_MAX;
}

uint64_t TestOrigin::Budget(uint64_t wanted) {
  const absl::MutexLock lock(&mutex_);
  const auto may_go = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return stopping_ || sent_ < limit_; };
  if (!may_go()) held_ = true;
  mutex_.Await(absl::Condition(&may_go));
  if (stopping_) return 0;
  const uint64_t granted = std::min(wanted, limit_ - sent_);
  sent_ += granted;
  return granted;
}

void TestOrigin::Accept() {
  for (;;) {
    const int fd = ::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) return;
    const int on = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    {
      const absl::MutexLock lock(&mutex_);
      if (stopping_) {
        ::close(fd);
        return;
      }
      connections_.push_back(fd);
    }
    threads_.emplace_back([this, fd] { Serve(fd); });
  }
}

void TestOrigin::Serve(int fd) {
  std::string pending;
  std::string chunk(16 << 10, '\0');
  for (;;) {
    const size_t end = pending.find("\r\n\r\n");
    if (end == std::string::npos) {
      const ssize_t n = ::recv(fd, chunk.data(), chunk.size(), 0);
      if (n <= 0) break;
      pending.append(chunk, 0, static_cast<size_t>(n));
      continue;
    }
    const std::string head = pending.substr(0, end + 2);
    pending.erase(0, end + 4);
    if (!Answer(fd, head)) break;
  }
  const absl::MutexLock lock(&mutex_);
  connections_.remove(fd);
  ::close(fd);
}

bool TestOrigin::Answer(int fd, const std::string& head) {
  ByteRange range{.offset = 0, .length = content_.size()};
  const auto range_header = Header(head, "range");
  if (range_header) {
    const auto parsed = ParseHttpRange(*range_header, content_.size());
    if (!parsed.ok()) {
      return SendAll(fd, StrCat("HTTP/1.1 416 Range Not Satisfiable\r\nContent-Range: bytes */", content_.size(),
                                "\r\nContent-Length: 0\r\n\r\n"));
    }
    range = *parsed;
  }
  std::string answer = range_header ? "HTTP/1.1 206 Partial Content\r\n" : "HTTP/1.1 200 OK\r\n";
  if (range_header) {
    answer += StrCat("Content-Range: bytes ", range.offset, "-", range.end() - 1, "/", content_.size(), "\r\n");
  }
  answer += StrCat("ETag: \"one\"\r\nAccept-Ranges: bytes\r\nContent-Length: ", range.length, "\r\n\r\n");
  if (!SendAll(fd, answer)) return false;
  if (head.starts_with("HEAD ")) return true;
  std::string_view body = std::string_view(content_).substr(range.offset, range.length);
  if (range_header == "bytes=0-0") return SendAll(fd, body);
  while (!body.empty()) {
    const uint64_t step = Budget(std::min(body.size(), kStep));
    if (step == 0 || !SendAll(fd, body.substr(0, step))) return false;
    body.remove_prefix(step);
  }
  return true;
}

}  // namespace dragonfly::daemon::test
