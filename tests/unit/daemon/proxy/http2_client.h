// SPDX-License-Identifier: Apache-2.0
// A client that says exactly the frames of HTTP/2 (RFC 9113) that a test wants, right or wrong, in a tunnel through the
// proxy.
#pragma once

#include <openssl/ssl.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/unit/daemon/proxy/http_client.h"

namespace dragonfly::daemon::proxy::test {

// RFC 9113 §6 and §7.
enum class FrameType : uint8_t {
  kData,
  kHeaders,
  kPriority,
  kRstStream,
  kSettings,
  kPushPromise,
  kPing,
  kGoaway,
  kWindowUpdate,
  kContinuation
};
inline constexpr uint8_t kEndStream = 0x1, kAck = 0x1, kEndHeaders = 0x4, kPadded = 0x8;
enum class Http2Error : uint32_t {
  kNone,
  kProtocol,
  kInternal,
  kFlowControl,
  kSettingsTimeout,
  kStreamClosed,
  kFrameSize,
  kRefusedStream,
  kCancel,
  kCompression,
  kConnect,
  kEnhanceYourCalm
};

struct Frame {
  FrameType type{};
  uint8_t flags = 0;
  uint32_t stream = 0;
  std::string payload;
};

std::string Uint32(uint32_t value);
// A frame; `length` is claimed in its head when given.
std::string FrameBytes(FrameType type, uint8_t flags, uint32_t stream, std::string_view payload,
                       std::optional<uint32_t> length = std::nullopt);
// A header block of literal fields that are added to no table (RFC 7541 §6.2.2).
using HeaderFields = std::vector<std::pair<std::string, std::string>>;
std::string HeaderBlock(const HeaderFields& fields);
// The pseudo fields of a GET of `path`.
HeaderFields GetFields(const std::string& path);
std::string Settings(const std::vector<std::pair<uint16_t, uint32_t>>& settings);

class Http2Client {
 public:
  // Goes through the proxy at `proxy_port` to 127.0.0.1:`origin_port`, whatever the certificate. `preface`: sends the
  // connection preface with an empty SETTINGS. Throws std::runtime_error.
  Http2Client(uint16_t proxy_port, uint16_t origin_port, bool preface = true);
  ~Http2Client();
  Http2Client(const Http2Client&) = delete;
  Http2Client& operator=(const Http2Client&) = delete;

  // False when the server has ended the connection.
  bool Send(std::string_view bytes);
  bool SendFrame(FrameType type, uint8_t flags, uint32_t stream, std::string_view payload) {
    return Send(FrameBytes(type, flags, stream, payload));
  }
  // A request without a body.
  bool SendHeaders(uint32_t stream, const HeaderFields& fields) {
    return SendFrame(FrameType::kHeaders, kEndStream | kEndHeaders, stream, HeaderBlock(fields));
  }
  // The next frame; nullopt at the end of the connection, or after twenty seconds of silence.
  std::optional<Frame> Next();
  // The next frame that `wanted` wants; others are dropped.
  std::optional<Frame> Await(const std::function<bool(const Frame&)>& wanted);

  // Reads on until the connection ends. The error of the GOAWAY that was seen; kNone without one.
  Http2Error AwaitGoaway();
  // Reads on until the stream is reset, or is answered whole, or the connection ends; the error, kNone without a reset.
  Http2Error AwaitReset(uint32_t stream);
  // Reads on until the stream is answered whole; the body. Windows are kept open. nullopt: it was not.
  std::optional<std::string> AwaitAnswer(uint32_t stream);
  // Whether the server has ended the connection.
  bool ended() const { return ended_; }

 private:
  bool Fill();

  HttpClient tunnel_;
  SSL_CTX* const context_;
  SSL* const ssl_;
  std::string pending_;
  bool ended_ = false;
};

}  // namespace dragonfly::daemon::proxy::test
