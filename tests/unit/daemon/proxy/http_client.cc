// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/daemon/proxy/http_client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <cstdlib>
#include <stdexcept>

#include "base/text.h"

namespace dragonfly::daemon::proxy::test {

const std::string& Answer::operator[](const std::string& name) const {
  static const std::string kNone;
  const auto it = fields.find(name);
  return it == fields.end() ? kNone : it->second;
}

HttpClient::HttpClient(uint16_t port) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  const timeval patience{20, 0};
  ::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(fd_.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) {
    throw std::runtime_error("connect failed");
  }
}

void HttpClient::Send(std::string_view bytes) const {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return;  // the server has said its last word
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
}

bool HttpClient::Fill() {
  char bytes[64 << 10];
  const ssize_t got = ::recv(fd_.get(), bytes, sizeof(bytes), 0);
  if (got <= 0) {
    ended_ = true;
    return false;
  }
  pending_.append(bytes, static_cast<size_t>(got));
  return true;
}

std::string HttpClient::ReadSome() {
  if (pending_.empty()) Fill();
  return std::exchange(pending_, "");
}

bool HttpClient::AtEnd() { return pending_.empty() && !Fill(); }

Answer HttpClient::ReadHead() {
  Answer answer;
  size_t end = 0;
  while ((end = pending_.find("\r\n\r\n")) == std::string::npos) {
    if (!Fill()) {
      answer.closed = true;
      return answer;
    }
  }
  std::string_view head = std::string_view(pending_).substr(0, end + 2);
  answer.status = ParseDecimal<int>(head.substr(9, 3)).value_or(0);
  head.remove_prefix(head.find("\r\n") + 2);
  while (!head.empty()) {
    const std::string_view line = head.substr(0, head.find("\r\n"));
    const size_t colon = line.find(':');
    answer.fields[ToLowerAscii(line.substr(0, colon))] = std::string(TrimSpace(line.substr(colon + 1)));
    head.remove_prefix(line.size() + 2);
  }
  pending_.erase(0, end + 4);
  return answer;
}

Answer HttpClient::Read(std::string_view method) {
  Answer answer = ReadHead();
  if (answer.status == 0) return answer;
  if (method == "HEAD" || answer.status == 204 || answer.status == 304 || answer.status / 100 == 1) {
    answer.whole = true;
  } else if (EqualsIgnoreCase(answer["transfer-encoding"], "chunked")) {
    for (;;) {
      size_t line = 0;
      while ((line = pending_.find("\r\n")) == std::string::npos && Fill()) {
      }
      if (line == std::string::npos) break;
      const size_t size = std::strtoul(pending_.c_str(), nullptr, 16);
      while (pending_.size() < line + 2 + size + 2 && Fill()) {
      }
      if (pending_.size() < line + 2 + size + 2) break;
      answer.body.append(pending_, line + 2, size);
      pending_.erase(0, line + 2 + size + 2);
      if (size == 0) {
        answer.whole = true;
        break;
      }
    }
  } else if (!answer["content-length"].empty()) {
    const size_t length = std::strtoul(answer["content-length"].c_str(), nullptr, 10);
    while (pending_.size() < length && Fill()) {
    }
    answer.whole = pending_.size() >= length;
    answer.body = pending_.substr(0, length);
    pending_.erase(0, answer.body.size());
  } else {
    while (Fill()) {
    }
    answer.whole = true;
    answer.body = std::exchange(pending_, "");
  }
  answer.closed = ended_;
  return answer;
}

std::string RequestText(const std::string& method, const std::string& target, const std::vector<std::string>& fields) {
  std::string text = method + " " + target + " HTTP/1.1\r\nHost: client.example\r\n";
  for (const std::string& field : fields) text += field + "\r\n";
  return text + "\r\n";
}

Answer HttpClient::Get(const std::string& target, const std::vector<std::string>& fields, const std::string& method) {
  Send(RequestText(method, target, fields));
  return Read(method);
}

}  // namespace dragonfly::daemon::proxy::test
