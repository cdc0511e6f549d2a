// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/daemon/proxy/http2_client.h"

#include <openssl/err.h>

#include <stdexcept>

#include "base/text.h"

namespace dragonfly::daemon::proxy::test {
namespace {

uint32_t ReadUint32(std::string_view bytes) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4 && i < bytes.size(); ++i) value = value << 8 | static_cast<uint8_t>(bytes[i]);
  return value;
}

// RFC 7541 §5.1, with a prefix of 7 bits that has no flag in front.
std::string Integer(size_t value) {
  if (value < 127) return std::string(1, static_cast<char>(value));
  std::string out(1, '\x7f');
  for (value -= 127; value >= 128; value /= 128) out += static_cast<char>(value % 128 + 128);
  return out + static_cast<char>(value);
}

}  // namespace

std::string Uint32(uint32_t value) {
  return {static_cast<char>(value >> 24), static_cast<char>(value >> 16), static_cast<char>(value >> 8),
          static_cast<char>(value)};
}

std::string FrameBytes(FrameType type, uint8_t flags, uint32_t stream, std::string_view payload,
                       std::optional<uint32_t> length) {
  const std::string head = Uint32(length.value_or(static_cast<uint32_t>(payload.size()))).substr(1) +
                           static_cast<char>(type) + static_cast<char>(flags) + Uint32(stream);
  return StrCat(head, payload);
}

std::string HeaderBlock(const HeaderFields& fields) {
  std::string block;
  for (const auto& [name, value] : fields) {
    block += StrCat(std::string(1, '\0'), Integer(name.size()), name, Integer(value.size()), value);
  }
  return block;
}

HeaderFields GetFields(const std::string& path) {
  return {{":method", "GET"}, {":scheme", "https"}, {":authority", "127.0.0.1"}, {":path", path}};
}

std::string Settings(const std::vector<std::pair<uint16_t, uint32_t>>& settings) {
  std::string payload;
  for (const auto& [name, value] : settings) payload += Uint32(name).substr(2) + Uint32(value);
  return payload;
}

Http2Client::Http2Client(uint16_t proxy_port, uint16_t origin_port, bool preface)
    : tunnel_(proxy_port), context_(SSL_CTX_new(TLS_client_method())), ssl_(SSL_new(context_)) {
  tunnel_.Send(StrCat("CONNECT 127.0.0.1:", origin_port, " HTTP/1.1\r\nHost: x\r\n\r\n"));
  if (tunnel_.ReadHead().status != 200) throw std::runtime_error("no tunnel");
  constexpr unsigned char kH2[] = "\x02h2";
  SSL_set_alpn_protos(ssl_, kH2, sizeof(kH2) - 1);
  SSL_set_fd(ssl_, tunnel_.fd());
  if (SSL_connect(ssl_) != 1) throw std::runtime_error("no TLS in the tunnel");
  if (preface) Send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + FrameBytes(FrameType::kSettings, 0, 0, ""));
}

Http2Client::~Http2Client() {
  SSL_free(ssl_);
  SSL_CTX_free(context_);
}

bool Http2Client::Send(std::string_view bytes) {
  while (!bytes.empty()) {
    ERR_clear_error();
    const int sent = SSL_write(ssl_, bytes.data(), static_cast<int>(bytes.size()));
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
  return true;
}

bool Http2Client::Fill() {
  char bytes[16 << 10];
  ERR_clear_error();
  const int got = SSL_read(ssl_, bytes, sizeof(bytes));
  if (got <= 0) {
    const int error = SSL_get_error(ssl_, got);
    ended_ = error != SSL_ERROR_WANT_READ;
    return false;
  }
  pending_.append(bytes, static_cast<size_t>(got));
  return true;
}

std::optional<Frame> Http2Client::Next() {
  while (pending_.size() < 9) {
    if (!Fill()) return std::nullopt;
  }
  const size_t length = ReadUint32(std::string(1, '\0') + pending_.substr(0, 3));
  while (pending_.size() < 9 + length) {
    if (!Fill()) return std::nullopt;
  }
  Frame frame;
  frame.type = static_cast<FrameType>(pending_[3]);
  frame.flags = static_cast<uint8_t>(pending_[4]);
  frame.stream = ReadUint32(std::string_view(pending_).substr(5));
  frame.payload = pending_.substr(9, length);
  pending_.erase(0, 9 + length);
  return frame;
}

std::optional<Frame> Http2Client::Await(const std::function<bool(const Frame&)>& wanted) {
  std::optional<Frame> frame;
  do {
    frame = Next();
  } while (frame && !wanted(*frame));
  return frame;
}

Http2Error Http2Client::AwaitGoaway() {
  auto error = Http2Error::kNone;
  Await([&](const Frame& frame) {
    if (frame.type == FrameType::kGoaway) {
      error = static_cast<Http2Error>(ReadUint32(std::string_view(frame.payload).substr(4)));
    }
    return false;
  });
  return error;
}

Http2Error Http2Client::AwaitReset(uint32_t stream) {
  const std::optional<Frame> last = Await([stream](const Frame& frame) {
    if (frame.stream != stream) return false;
    const bool ends = frame.type == FrameType::kData || frame.type == FrameType::kHeaders;
    return frame.type == FrameType::kRstStream || (ends && (frame.flags & kEndStream) != 0);
  });
  if (!last || last->type != FrameType::kRstStream) return Http2Error::kNone;
  return static_cast<Http2Error>(ReadUint32(last->payload));
}

std::optional<std::string> Http2Client::AwaitAnswer(uint32_t stream) {
  std::string body;
  const std::optional<Frame> last = Await([&](const Frame& frame) {
    if (frame.type == FrameType::kData && !frame.payload.empty()) {
      const std::string more = Uint32(static_cast<uint32_t>(frame.payload.size()));
      SendFrame(FrameType::kWindowUpdate, 0, 0, more);
      if ((frame.flags & kEndStream) == 0) SendFrame(FrameType::kWindowUpdate, 0, frame.stream, more);
    }
    if (frame.stream != stream) return false;
    if (frame.type == FrameType::kData) body += frame.payload;
    const bool ends = frame.type == FrameType::kData || frame.type == FrameType::kHeaders;
    return frame.type == FrameType::kRstStream || (ends && (frame.flags & kEndStream) != 0);
  });
  if (!last || last->type == FrameType::kRstStream) return std::nullopt;
  return body;
}

}  // namespace dragonfly::daemon::proxy::test
