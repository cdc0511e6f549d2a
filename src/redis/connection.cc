// SPDX-License-Identifier: Apache-2.0
#include "redis/connection.h"

#include <hiredis/hiredis.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <limits>
#include <utility>

#include "base/host_port.h"
#include "base/status.h"
#include "base/text.h"
#include "base/unique_fd.h"

namespace dragonfly::redis {
namespace {

// No answer of a store of ours comes near it.
constexpr size_t kReplyBytesMax = 256 << 20;

absl::Status Late() { return absl::DeadlineExceededError("no answer in time"); }

// Waits until `fd` is ready for `events`.
absl::Status Await(int fd, short events, absl::Time deadline) {
  for (;;) {
    const absl::Duration left = deadline - absl::Now();
    if (left <= absl::ZeroDuration()) return Late();
    pollfd entry{fd, events, 0};
    const int64_t milliseconds =
        std::min<int64_t>(absl::ToInt64Milliseconds(left) + 1, std::numeric_limits<int>::max());
    const int ready = ::poll(&entry, 1, static_cast<int>(milliseconds));
    if (ready > 0) return absl::OkStatus();
    if (ready < 0 && errno != EINTR) return ErrnoStatus(errno, "poll");
  }
}

absl::StatusOr<UniqueFd> ConnectTo(const addrinfo& where, absl::Time deadline) {
  UniqueFd fd(::socket(where.ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return ErrnoStatus(errno, "socket");
  if (::connect(fd.get(), where.ai_addr, where.ai_addrlen) != 0) {
    if (errno != EINPROGRESS) return ErrnoStatus(errno, "connect");
    DF_RETURN_IF_ERROR(Await(fd.get(), POLLOUT, deadline));
    int error = 0;
    socklen_t size = sizeof error;
    if (::getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &size) != 0) return ErrnoStatus(errno, "connect");
    if (error != 0) return ErrnoStatus(error, "connect");
  }
  const int on = 1;
  ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  ::setsockopt(fd.get(), SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  return fd;
}

absl::StatusOr<UniqueFd> Connect(const std::string& host, uint16_t port, absl::Time deadline) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* head = nullptr;
  const int error = ::getaddrinfo(host.c_str(), StrCat(port).c_str(), &hints, &head);
  if (error != 0) return absl::UnavailableError(StrCat("resolve: ", ::gai_strerror(error)));
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(head, &::freeaddrinfo);
  absl::Status last = absl::UnavailableError("no address");
  for (const addrinfo* at = head; at != nullptr; at = at->ai_next) {
    absl::StatusOr<UniqueFd> fd = ConnectTo(*at, deadline);
    if (fd.ok()) return fd;
    last = fd.status();
  }
  return last;
}

// hiredis's tree as a value. An error inside of a list is told as a text: no script of ours makes one.
Reply ToReply(const redisReply& from) {
  Reply reply;
  switch (from.type) {
    case REDIS_REPLY_STRING:
    case REDIS_REPLY_STATUS:
    case REDIS_REPLY_ERROR:
      reply.kind = Reply::Kind::kText;
      reply.text.assign(from.str, from.len);
      break;
    case REDIS_REPLY_INTEGER:
      reply.kind = Reply::Kind::kInteger;
      reply.integer = from.integer;
      break;
    case REDIS_REPLY_ARRAY:
      reply.kind = Reply::Kind::kArray;
      reply.array.reserve(from.elements);
      for (size_t i = 0; i < from.elements; ++i) reply.array.push_back(ToReply(*from.element[i]));
      break;
    default:
      break;
  }
  return reply;
}

std::string Encode(const std::vector<Command>& commands) {
  std::string bytes;
  for (const Command& command : commands) {
    bytes += StrCat("*", command.size(), "\r\n");
    for (const std::string& word : command) {
      bytes += StrCat("$", word.size(), "\r\n");
      bytes += word;
      bytes += "\r\n";
    }
  }
  return bytes;
}

}  // namespace

struct Connection::State {
  std::string address;
  UniqueFd fd;
  TlsContext context;  // outlives ssl
  std::unique_ptr<SSL, decltype(&::SSL_free)> ssl{nullptr, &::SSL_free};
  std::unique_ptr<redisReader, decltype(&::redisReaderFree)> reader{::redisReaderCreate(), &::redisReaderFree};

  absl::Status Handshake(const std::string& host, absl::Time deadline);
  // Waits for what OpenSSL wants after it returned `result`.
  absl::Status AwaitTls(int result, absl::Time deadline);
  absl::Status Write(std::string_view bytes, absl::Time deadline);
  absl::StatusOr<size_t> Read(char* out, size_t size, absl::Time deadline);
  absl::StatusOr<absl::StatusOr<Reply>> ReadReply(absl::Time deadline);
};

absl::Status Connection::State::AwaitTls(int result, absl::Time deadline) {
  switch (::SSL_get_error(ssl.get(), result)) {
    case SSL_ERROR_WANT_READ:
      return Await(fd.get(), POLLIN, deadline);
    case SSL_ERROR_WANT_WRITE:
      return Await(fd.get(), POLLOUT, deadline);
    default:
      return absl::UnavailableError(StrCat("TLS: ", TakeTlsError()));
  }
}

absl::Status Connection::State::Handshake(const std::string& host, absl::Time deadline) {
  ssl.reset(::SSL_new(context.get()));
  if (ssl == nullptr || ::SSL_set_fd(ssl.get(), fd.get()) != 1) return absl::InternalError(TakeTlsError());
  if (IsIpLiteral(host)) {
    ::X509_VERIFY_PARAM_set1_ip_asc(::SSL_get0_param(ssl.get()), host.c_str());
  } else {
    ::SSL_set_tlsext_host_name(ssl.get(), host.c_str());
    ::SSL_set1_host(ssl.get(), host.c_str());
  }
  for (;;) {
    ::ERR_clear_error();
    const int result = ::SSL_connect(ssl.get());
    if (result == 1) return absl::OkStatus();
    DF_RETURN_IF_ERROR(AwaitTls(result, deadline));
  }
}

absl::Status Connection::State::Write(std::string_view bytes, absl::Time deadline) {
  while (!bytes.empty()) {
    ssize_t n = 0;
    if (ssl != nullptr) {
      ::ERR_clear_error();
      n = ::SSL_write(ssl.get(), bytes.data(), static_cast<int>(std::min<size_t>(bytes.size(), 1 << 20)));
      if (n <= 0) {
        DF_RETURN_IF_ERROR(AwaitTls(static_cast<int>(n), deadline));
        continue;
      }
    } else {
      n = ::send(fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0 && errno == EAGAIN) {
        DF_RETURN_IF_ERROR(Await(fd.get(), POLLOUT, deadline));
        continue;
      }
      if (n < 0) return absl::UnavailableError(StrCat("send: ", std::strerror(errno)));
    }
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return absl::OkStatus();
}

absl::StatusOr<size_t> Connection::State::Read(char* out, size_t size, absl::Time deadline) {
  for (;;) {
    if (ssl != nullptr) {
      ::ERR_clear_error();
      const int n = ::SSL_read(ssl.get(), out, static_cast<int>(size));
      if (n > 0) return static_cast<size_t>(n);
      DF_RETURN_IF_ERROR(AwaitTls(n, deadline));
      continue;
    }
    const ssize_t n = ::recv(fd.get(), out, size, 0);
    if (n > 0) return static_cast<size_t>(n);
    if (n == 0) return absl::UnavailableError("the server closed the connection");
    if (errno == EAGAIN) {
      DF_RETURN_IF_ERROR(Await(fd.get(), POLLIN, deadline));
    } else if (errno != EINTR) {
      return absl::UnavailableError(StrCat("receive: ", std::strerror(errno)));
    }
  }
}

absl::StatusOr<absl::StatusOr<Reply>> Connection::State::ReadReply(absl::Time deadline) {
  std::array<char, 16 << 10> buffer;
  size_t total = 0;
  for (;;) {
    void* raw = nullptr;
    if (::redisReaderGetReply(reader.get(), &raw) != REDIS_OK) {
      return absl::InternalError(StrCat("what the server sends is not its protocol: ", reader->errstr));
    }
    if (raw != nullptr) {
      const std::unique_ptr<redisReply, decltype(&::freeReplyObject)> reply(static_cast<redisReply*>(raw),
                                                                            &::freeReplyObject);
      if (reply->type == REDIS_REPLY_ERROR) return absl::StatusOr<Reply>(ErrorOf(std::string(reply->str, reply->len)));
      return absl::StatusOr<Reply>(ToReply(*reply));
    }
    DF_ASSIGN_OR_RETURN(const size_t count, Read(buffer.data(), buffer.size(), deadline));
    total += count;
    if (total > kReplyBytesMax) return absl::InternalError("the server's answer is too long");
    if (::redisReaderFeed(reader.get(), buffer.data(), count) != REDIS_OK) {
      return absl::InternalError(StrCat("read the answer: ", reader->errstr));
    }
  }
}

Connection::Connection(std::unique_ptr<State> state) : state_(std::move(state)) {}
Connection::~Connection() = default;

absl::StatusOr<std::unique_ptr<Connection>> Connection::Open(const std::string& address, const TlsContext& tls,
                                                             absl::Time deadline) {
  const auto parts = SplitHostPort(address);
  if (!parts.ok()) return Annotate(parts.status(), StrCat("redis ", address));
  auto state = std::make_unique<State>();
  state->address = address;
  absl::StatusOr<UniqueFd> fd = Connect(parts->first, parts->second, deadline);
  if (!fd.ok()) return Annotate(fd.status(), StrCat("redis ", address));
  state->fd = *std::move(fd);
  state->context = tls;
  if (tls != nullptr) {
    const absl::Status shaken = state->Handshake(parts->first, deadline);
    if (!shaken.ok()) return Annotate(shaken, StrCat("redis ", address));
  }
  return std::unique_ptr<Connection>(new Connection(std::move(state)));
}

absl::StatusOr<std::vector<absl::StatusOr<Reply>>> Connection::Run(const std::vector<Command>& commands,
                                                                   absl::Time deadline) {
  const absl::Status sent = state_->Write(Encode(commands), deadline);
  if (!sent.ok()) return Annotate(sent, StrCat("redis ", state_->address));
  std::vector<absl::StatusOr<Reply>> replies;
  replies.reserve(commands.size());
  for (size_t i = 0; i < commands.size(); ++i) {
    absl::StatusOr<absl::StatusOr<Reply>> reply = state_->ReadReply(deadline);
    if (!reply.ok()) return Annotate(reply.status(), StrCat("redis ", state_->address));
    replies.push_back(*std::move(reply));
  }
  return replies;
}

const std::string& Connection::address() const { return state_->address; }

}  // namespace dragonfly::redis
